"""Up to where is each channel of a recording kept, by which rule, and how is that told?"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from einops import rearrange

from audiosr.audio import released
from audiosr.audio.cutoff import rolloff
from audiosr.audio.edge import GUESS, SURE, Edge, find_edges
from audiosr.audio.mel import LogMel, MelSettings
from audiosr.restore.samples import FRAMES_MULTIPLE, SILENT, Samples, mean, pad_zeros, resample_sinc

LEAST_EDGE_HZ = 1000.0
"""A measured edge below this, of a bass note or a hum, is taken as this: it is no cut."""

_SHARED_EDGE = 1.25
"""Edges of two channels that differ by less than this factor are one edge."""


def channel_edges(wave: Samples, rate: int) -> list[Edge]:
    """The edge of each channel of `wave (C, T)`, whatever its level and its constant.

    That of silence, also of a constant, is 0.

    Channels that reach about as far share the edge of which one is surest, and so does one that
    is not sure of its own: a stereo image is not torn apart by chance.
    """
    centred = wave - mean(wave)
    peak = np.abs(centred).max(axis=1)
    silent = peak <= np.maximum(SILENT * np.abs(wave).max(axis=1), 1e-30)
    if silent.all():
        return [Edge(0.0, 1.0)] * len(wave)
    found = find_edges(centred * (released.PEAK / peak.max()), rate)
    found = [
        Edge(0.0, 1.0) if still else replace(edge, hz=max(LEAST_EDGE_HZ, edge.hz))
        for edge, still in zip(found, silent, strict=True)
    ]
    surest = max(
        (edge for edge in found if edge.hz > LEAST_EDGE_HZ),
        default=next(edge for edge in found if edge.hz),
        key=lambda edge: edge.confidence,
    )
    near = math.log(_SHARED_EDGE)
    return [
        surest
        if edge.hz and (edge.confidence < GUESS or abs(math.log(edge.hz / surest.hz)) < near)
        else edge
        for edge in found
    ]


def edge(wave: Samples, rate: int) -> float:
    """The edge of the channel of `wave (C, T)` that reaches highest."""
    return max(each.hz for each in channel_edges(wave, rate)) or LEAST_EDGE_HZ


def paper_rolloff(wave: Samples, rate: int) -> float:
    """The spectral roll-off at 0.99 of the loudest-reaching channel of `wave (C, T)`."""
    mono = rearrange(torch.from_numpy(wave), "c t -> c 1 t")
    return max(LEAST_EDGE_HZ, float(rolloff(mono, rate).max()))


def released_cutoff(wave: Samples, rate: int) -> float:
    """The release's estimate for `wave (C, T)`, on what its networks would see."""
    normal = released.normalise(torch.from_numpy(resample_sinc(wave, rate, 48_000)))
    settings = MelSettings()
    padded = pad_zeros(rearrange(normal, "c t -> c 1 t"), FRAMES_MULTIPLE * settings.hop)
    magnitude = LogMel(settings).magnitude(padded)[..., :-1]
    return released.locate_cutoff(rearrange(magnitude, "c frames bins -> (c frames) bins"))


def tell_edges(edges: Sequence[Edge], full_band_hz: float) -> str:
    """What is done at the edges of the channels, and how sure they are, in plain words."""
    told = []
    for edge in dict.fromkeys(edges):
        sure = "" if math.isnan(edge.confidence) else f" ({edge.confidence:.0%} sure)"
        if edge.hz == 0:
            told.append("silent, unchanged")
        elif edge.hz >= full_band_hz and edge.confidence < SURE:
            told.append(f"nothing to fill above {edge.hz:.0f} Hz{sure}, unchanged")
        elif edge.hz >= full_band_hz:
            told.append(f"full band already{sure}, unchanged")
        elif edge.confidence < GUESS:
            told.append(
                f"kept below {edge.hz:.0f} Hz, a guess{sure}: give the cutoff if you know it"
            )
        else:
            told.append(f"kept below {edge.hz:.0f} Hz{sure}")
    return " and ".join(told)

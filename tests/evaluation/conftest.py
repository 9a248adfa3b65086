from typing import Any

import numpy as np
import pytest

from audiosr.audio.io import RATE
from audiosr.evaluation.aggregate import aggregate
from audiosr.evaluation.protocol import METRICS, Protocol
from audiosr.evaluation.report import Example

DOMAINS = {"effects": 3, "music": 4, "speech": 5}
MEANS = {"unprocessed": 3.0, "model": 1.2, "gt_mel": 0.8}


def file_entries(protocol: Protocol) -> list[dict[str, Any]]:
    """Entries of `files` whose figures depend on system, cutoff and file, with a known order."""
    generator = np.random.default_rng(0)
    entries = []
    for domain, clips in DOMAINS.items():
        for clip in range(clips):
            for cutoff in protocol.cutoffs_hz:
                for system, mean in MEANS.items():
                    level = mean - 1e-4 * cutoff * (system == "unprocessed")
                    values = level * generator.uniform(0.8, 1.2, len(METRICS))
                    entries.append(
                        {
                            "key": f"{domain}_{clip}",
                            "domain": domain,
                            "cutoff_hz": cutoff,
                            "system": system,
                            "metrics": dict(zip(METRICS, values.tolist(), strict=True)),
                        }
                    )
    return entries


def made_results() -> dict[str, Any]:
    """A whole results dictionary with made-up figures."""
    protocol = Protocol()
    files = file_entries(protocol)
    clips = [
        {"key": key, "domain": key.split("_")[0], "seconds": 5.0, "source_rate": 44100}
        for key in dict.fromkeys(f["key"] for f in files)
    ]
    systems = {name: {"kind": name, "model": {"provenance": {"vae": "run 1"}}} for name in MEANS}
    benchmark = {"name": "demo", "root": "outputs/demo/shards", "clips": clips}
    return {
        "schema": 1,
        "protocol": {**protocol.card(), "benchmark": benchmark, "systems": systems},
        "versions": {"audiosr": "0.1.0", "torch": "2.11.0"},
        "seed": 0,
        "files": files,
        "aggregates": aggregate(files),
        "failures": [],
    }


def tone_burst(seconds: float, highest_hz: float, seed: int = 0) -> np.ndarray:
    """Decaying bursts of noise below `highest_hz`, (T,) float32."""
    generator = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum *= (hz < highest_hz) / np.sqrt(1 + (hz / 500) ** 2)
    envelope = np.exp(-4 * (np.arange(samples) / RATE % 0.5))
    wave = np.fft.irfft(spectrum, samples) * envelope
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def made_examples() -> list[Example]:
    """One clip of 1 s per domain: restored is nearly the reference."""
    return [
        Example(
            f"{domain}_0",
            domain,
            RATE,
            reference=tone_burst(1.0, 22_000, seed),
            inputs={c: tone_burst(1.0, c, seed) for c in Protocol().cutoffs_hz},
            restored={c: tone_burst(1.0, 20_000, seed) for c in Protocol().cutoffs_hz},
        )
        for seed, domain in enumerate(DOMAINS)
    ]


@pytest.fixture
def results() -> dict[str, Any]:
    return made_results()

"""What do a restored clip and a training run look like?

Spectrograms are WebP pictures on a dark ground of their own, curves are SVG in the colour of
the page.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import librosa.display
import numpy as np
from einops import rearrange
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from PIL import Image
from scipy.signal.windows import hann

from audiosr.errors import UsageError

RANGE_DB = 90.0
"""Span of the spectrograms' scale below the loudest bin of the reference."""
COLOURMAP = "magma"

Series = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Steps and values."""

_N_FFT, _HOP, _POOLED = 2048, 512, 3
_GROUND, _INK, _LINE = "#14131a", "#d8d6e0", "#5eead4"
_SERIES = (
    *("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#a855f7"),
    *("#0ea5e9", "#ec4899", "#84cc16", "#78716c", "#1e3a8a"),
)
_SMOOTH = 15
_LINE_CHARS = 58
"""Characters of a legend that fit beside each other; six go to each mark."""


def spectrogram(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitude in dB (bins, frames) of a waveform (T,), 0 dB a sine of amplitude 1."""
    padded = np.pad(wave, (0, max(0, _N_FFT - len(wave))))
    # Whole frames only: an end cut in the middle of sound would show as a bright line.
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::_HOP]
    magnitude = np.abs(np.fft.rfft(frames * hann(_N_FFT, sym=False))).T / (_N_FFT / 4)
    return (20 * np.log10(np.maximum(magnitude, 1e-12))).astype(np.float32)


def draw_spectrogram(
    level_db: NDArray[np.float32], rate: int, *, top_db: float, cutoff_hz: float | None, title: str
) -> bytes:
    """WebP picture of a spectrogram with a line at the cutoff.

    Args:
        level_db: (bins, frames) from `spectrogram`.
        rate: sampling rate in Hz of the waveform.
        top_db: level drawn brightest; `RANGE_DB` below it is black.
        cutoff_hz: where the line is drawn, if there is one.
        title: text over the picture.
    """
    figure = Figure(figsize=(4.0, 2.75), dpi=180, facecolor=_GROUND)
    axes = figure.add_axes((0.195, 0.15, 0.785, 0.75), facecolor=_GROUND)
    # The mesh is not smoothed when it is drawn: no more rows than the picture has lines.
    rows = level_db[: len(level_db) // _POOLED * _POOLED]
    power = rearrange(10 ** (rows / 10), "(f n) t -> f n t", n=_POOLED).mean(1)
    hz = (np.arange(len(power)) * _POOLED + (_POOLED - 1) / 2) * rate / _N_FFT
    librosa.display.specshow(
        10 * np.log10(power),
        y_coords=hz,
        sr=rate,
        hop_length=_HOP,
        x_axis="time",
        y_axis="linear",
        cmap=COLOURMAP,
        vmin=top_db - RANGE_DB,
        vmax=top_db,
        ax=axes,
    )
    if cutoff_hz is not None:
        axes.axhline(cutoff_hz, color=_LINE, linewidth=1.2, linestyle=(0, (5, 3)))
    axes.set_title(title, color=_INK, fontsize=12, loc="left")
    axes.set_xlabel("Time (s)", color=_INK, fontsize=10, labelpad=1)
    axes.set_ylabel("Frequency (Hz)", color=_INK, fontsize=10, labelpad=2)
    axes.set_yticks(np.arange(0, rate / 2 + 1, 4000))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(colors=_INK, labelsize=10, length=3)
    axes.spines[:].set_color("#4a4756")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    packed = io.BytesIO()
    # A third of the size of PNG; the report holds dozens of these.
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(
        packed, "webp", quality=82, method=1
    )
    return packed.getvalue()


def read_metrics(run: Path) -> dict[str, Series]:
    """Steps and values of every column that the `metrics.csv` of a run folder holds.

    Raises:
        UsageError: no `metrics.csv` there, or one without the column `step`.
    """
    path = Path(run) / "metrics.csv"
    if not path.is_file():
        raise UsageError(
            f"{run} has no metrics.csv: runs=[...] takes run folders that train.py made"
        )
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and "step" not in rows[0]:
        raise UsageError(f"{path} has no column step: it was not written by train.py")
    series = {}
    for name in rows[0] if rows else ():
        points = [(float(r["step"]), float(r[name])) for r in rows if r[name] and r["step"]]
        kept = [p for p in points if np.isfinite(p).all()]
        if name not in ("step", "epoch") and kept:
            steps, values = np.array(kept).T
            series[name] = steps, values
    return series


def draw_curves(series: dict[str, Series], title: str, *, prefix: str) -> str:
    """SVG with one line per series over the training step; empty text if there is none.

    The axis is logarithmic when all values are positive and span more than a factor of 8. Series of
    more than 60 points are drawn as a running mean over a pale line of the values.

    Args:
        series: name -> (steps, values).
        title: text over the picture.
        prefix: what the SVG's internal names start with; differs between pictures of one page.
    """
    if not series:
        return ""
    figure, axes = _plot()
    for colour, (name, (steps, values)) in zip(_cycle(len(series)), series.items(), strict=True):
        label = name.partition("/")[2] or name
        if len(values) > 60:
            axes.plot(*_thin(steps, values), color=colour, alpha=0.25, linewidth=0.8)
            kernel = np.ones(_SMOOTH) / _SMOOTH
            steps = np.convolve(steps, kernel, mode="valid")
            values = np.convolve(values, kernel, mode="valid")
        steps, values = _thin(steps, values)
        mark = "o" if len(values) < 30 else ""
        axes.plot(
            steps, values, color=colour, linewidth=1.8, label=label, marker=mark, markersize=3.5
        )
    every = np.concatenate([values for _, values in series.values()])
    if every.min() > 0 and every.max() > 8 * every.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return _finished(figure, axes, title, "step", prefix)


def draw_boxes(
    groups: Mapping[str, Mapping[str, Sequence[float]]], label: str, *, prefix: str
) -> str:
    """SVG with a box plot per group and system: quartiles, median, whiskers, single files beyond.

    Args:
        groups: name of a group -> system -> a figure per file; all groups hold the same systems.
        label: what the figures are.
        prefix: as in `draw_curves`.
    """
    systems = list(next(iter(groups.values())))
    figure, axes = _plot()
    width = 0.8 / len(systems)
    for number, (name, colour) in enumerate(zip(systems, _cycle(len(systems)), strict=True)):
        places = np.arange(len(groups)) + (number - (len(systems) - 1) / 2) * width
        boxes = axes.boxplot(
            [list(group[name]) for group in groups.values()],
            positions=places,
            widths=0.8 * width,
            patch_artist=True,
            manage_ticks=False,
            flierprops={"markersize": 3, "markeredgecolor": colour},
            medianprops={"color": "black", "linewidth": 1.4},
        )
        for box in boxes["boxes"]:
            box.set(facecolor=colour, alpha=0.75)
        axes.plot([], [], color=colour, linewidth=6, alpha=0.75, label=name)
    axes.set_xticks(range(len(groups)), list(groups))
    return _finished(figure, axes, f"{label}, each file", "cutoff", prefix)


def draw_by_cutoff(
    means: Mapping[str, Sequence[tuple[float, float, float | None, float | None]]],
    label: str,
    *,
    prefix: str,
) -> str:
    """SVG with a line per system over the cutoff, its interval as a band.

    Args:
        means: system -> cutoff in Hz, mean, lower and upper end of its interval, by cutoff.
        label: what the figures are.
        prefix: as in `draw_curves`.
    """
    figure, axes = _plot()
    for (name, rows), colour in zip(means.items(), _cycle(len(means)), strict=True):
        khz = [row[0] / 1000 for row in rows]
        axes.plot(khz, [row[1] for row in rows], color=colour, marker="o", markersize=4, label=name)
        ends = [(row[0] / 1000, row[2], row[3]) for row in rows if None not in row[2:]]
        if ends:
            places, low, high = zip(*ends, strict=True)
            axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
    return _finished(figure, axes, f"{label}, mean over domains", "cutoff in kHz", prefix)


def draw_variants(
    rows: Mapping[str, tuple[float, float | None, float | None, float | None]],
    title: str,
    *,
    limits: tuple[float, float],
    prefix: str,
) -> str:
    """SVG with a row per variant: a dot at its mean, its interval, a tick at its input's mean.

    Args:
        rows: variant -> mean, lower and upper end of its interval, mean of its input. A dotted line
            goes down from the first.
        title: text over the picture.
        limits: ends of the axis, which pictures side by side share.
        prefix: as in `draw_curves`.
    """
    figure, axes = _plot(0.9 + 0.27 * len(rows))
    means, lows, highs, inputs = zip(*rows.values(), strict=True)
    axes.axvline(means[0], color=_SERIES[0], linewidth=0.8, linestyle=":")
    for place, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=_SERIES[0], linewidth=2, alpha=0.45)
    axes.plot(means, range(len(rows)), "o", color=_SERIES[0], markersize=5, label="model")
    known = [(value, place) for place, value in enumerate(inputs) if value is not None]
    if known:
        axes.plot(
            *zip(*known, strict=True), "|", color=_SERIES[8], markersize=11, markeredgewidth=2.5,
            label="unprocessed",
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(*limits)
    return _finished(figure, axes, title, "", prefix)


def _plot(height: float = 2.8) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, height), layout="constrained")
    return figure, figure.add_subplot()


def _finished(figure: Figure, axes: Axes, title: str, below: str, prefix: str) -> str:
    """The SVG, with title, labels, grid and legend as all pictures of a page have them."""
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(below, fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    _, names = axes.get_legend_handles_labels()
    columns = max(1, min(len(names), _LINE_CHARS // (max(map(len, names)) + 6)))
    figure.set_figheight(figure.get_figheight() + 0.19 * -(-len(names) // columns))
    # Below, where it hides no line and needs no ground of its own on a light or a dark page.
    figure.legend(loc="outside lower left", ncols=columns, fontsize=9, frameon=False)
    return _svg(figure, prefix)


def _cycle(n: int) -> list[str]:
    return [_SERIES[i % len(_SERIES)] for i in range(n)]


def _thin(steps: NDArray[np.float64], values: NDArray[np.float64], limit: int = 400) -> Series:
    """At most about `limit` points, evenly taken, the last among them."""
    stride = -(-len(values) // limit)
    return steps[::-1][::stride][::-1], values[::-1][::stride][::-1]


def _svg(figure: Figure, prefix: str) -> str:
    """SVG text without fixed size, black replaced by the colour of the text around it."""
    target = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix, "font.family": "sans-serif"}):
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    text = target.getvalue()
    text = text[text.index("<svg") :]
    head, rest = text.split(">", 1)
    text = re.sub(r' (?:width|height)="[^"]*"', "", head) + ">" + rest
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{prefix}-", text)
    return re.sub(r"#000000|#262626|\bblack\b", "currentColor", text)

"""How does one page show what a model does?

The report is a single HTML file: figures, sound, style and the switch between sounds are inside,
nothing is loaded from elsewhere.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import yaml
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from audiosr.audio import io
from audiosr.evaluation import figures, tables
from audiosr.evaluation.results import ALL, BASELINE, Example, Results, primary, sees_reference
from audiosr.files import atomic_path

REPORT = "report.html"

Sounds = dict[str, NDArray[np.float32]]
"""Waveforms (T,) by name."""


def write_report(
    folder: Path,
    results: Results,
    examples: Sequence[Example],
    *,
    runs: Sequence[Path] = (),
    seconds: float = 4.0,
) -> Path:
    """Write `report.html` and the sounds that it plays, the latter in `audio/` too.

    Args:
        folder: evaluation folder.
        results: content of `results.json`.
        examples: clips to show.
        runs: run folders of `train.py` whose loss curves are shown.
        seconds: length of what is shown of each clip; decides the size of the file.

    Returns:
        Path of the report.
    """
    metrics = {Path(run): figures.read_metrics(Path(run)) for run in runs}
    shown = [block for example in examples for block in _blocks(folder, results, example, seconds)]
    protocol, benchmark = results.protocol, results.protocol.benchmark
    domains = sorted({clip.domain for clip in benchmark.clips})
    headline = tables.LABELS.get(protocol.headline, protocol.headline)
    page = render_page(
        REPORT,
        title=f"AudioSR evaluation: {benchmark.name}",
        subtitle=f"{len(benchmark.clips)} clips, {len(domains)} domains ({', '.join(domains)})",
        versions=results.versions,
        failures=results.failures,
        left_out=results.left_out,
        headline=f"{headline} ({protocol.headline})",
        higher=protocol.headline in tables.HIGHER,
        bars=_bars(results),
        losses=tables.describe_losses(results),
        plots=_plots(results),
        systems=[(name, card["kind"]) for name, card in protocol.systems.items()],
        tables=tables.tables(results),
        primary=primary(protocol.systems),
        clips=shown,
        seconds=f"{seconds:g}",
        range_db=f"{figures.RANGE_DB:g}",
        gradient=", ".join(
            to_hex(matplotlib.colormaps[figures.COLOURMAP](i / 8)) for i in range(9)
        ),
        runs=[
            {"name": "/".join(run.parts[-2:]), "curves": _curves(series, f"run{index}")}
            for index, (run, series) in enumerate(metrics.items())
        ],
        card=protocol_lines(results),
        details=folded_details(results),
    )
    with atomic_path(folder / REPORT) as partial:
        partial.write_text(page, encoding="utf-8")
    return folder / REPORT


def render_page(template: str, **values: Any) -> str:
    """A page of `templates/`; text among the values is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("audiosr.evaluation"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(values)


def data_uri(content: bytes, kind: str) -> str:
    """An address that holds its content, of a kind such as `image/webp`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def sounds_of(example: Example, seconds: float) -> Sounds:
    """The first `seconds` of each waveform, as `reference`, `CUTOFF-input` and `CUTOFF-SYSTEM`.

    One gain serves all of them, and only if one would clip in 16 bits: levels stay comparable.
    """
    waves = {"reference": example.reference}
    waves |= {f"{cutoff:g}-input": wave for cutoff, wave in example.inputs.items()}
    for system, outputs in example.outputs.items():
        if system != BASELINE:
            waves |= {f"{cutoff:g}-{system}": wave for cutoff, wave in outputs.items()}
    peak = max(float(np.abs(wave).max()) for wave in waves.values())
    gain = np.float32(min(1.0, 0.999 / max(peak, 1e-9)))
    return {name: gain * wave[: round(seconds * example.rate)] for name, wave in waves.items()}


def _blocks(
    folder: Path, results: Results, example: Example, seconds: float
) -> Iterator[dict[str, Any]]:
    """Pictures and sounds of one clip, one block per cutoff; writes the sounds to `audio/`.

    Systems that see the reference are heard alone, not seen.
    """
    waves = sounds_of(example, seconds)
    stem = _file_name(example.name)
    sounds = {}
    for name, wave in waves.items():
        path = folder / "audio" / f"{stem}-{_file_name(name)}.flac"
        io.write_audio(path, wave[None], example.rate, "PCM_16")
        sounds[name] = data_uri(path.read_bytes(), "audio/flac")
    loudest = float(figures.spectrogram(waves["reference"]).max())
    for cutoff_hz in example.inputs:
        systems = [name for name in example.outputs if name != BASELINE]
        roles = {"input": f"{cutoff_hz:g}-input"}
        roles |= {system: f"{cutoff_hz:g}-{system}" for system in systems}
        roles["reference"] = "reference"
        pictures = {
            role: data_uri(
                figures.draw_spectrogram(
                    figures.spectrogram(waves[name]),
                    example.rate,
                    top_db=loudest,
                    cutoff_hz=cutoff_hz,
                    title=role,
                ),
                "image/webp",
            )
            for role, name in roles.items()
            if not sees_reference(role)
        }
        yield {
            "name": f"{example.place}: {example.name}" if example.place else example.name,
            "cutoff": f"cutoff {cutoff_hz / 1000:g} kHz",
            "note": _note(results, example, cutoff_hz),
            "pictures": pictures,
            "sounds": {role: sounds[name] for role, name in roles.items()},
        }


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def _note(results: Results, example: Example, cutoff_hz: float) -> str:
    """The clip's own headline figures: `LSD unprocessed 3.10, model 1.20`."""
    metric = results.protocol.headline
    values = [
        f"{f.system} {value:.2f}"
        for f in results.files
        if (f.key, f.domain, f.cutoff_hz) == (example.key, example.domain, cutoff_hz)
        and (value := f.metrics[metric]) is not None
    ]
    return f"{tables.LABELS.get(metric, metric)} {', '.join(values)}" if values else ""


def _plots(results: Results) -> list[str]:
    """The headline figure of every file, and against the cutoff."""
    metric = results.protocol.headline
    label = tables.LABELS.get(metric, metric)
    systems = list(dict.fromkeys(f.system for f in results.files))
    cutoffs = sorted({f.cutoff_hz for f in results.files})
    groups: dict[str, dict[str, list[float]]] = {
        f"{hz / 1000:g} kHz": {system: [] for system in systems} for hz in cutoffs
    }
    for file in results.files:
        if (value := file.metrics[metric]) is not None:
            groups[f"{file.cutoff_hz / 1000:g} kHz"][file.system].append(value)
    if not groups:
        return []
    plots = [figures.draw_boxes(groups, label, prefix="boxes")]
    if len(cutoffs) > 1:
        chosen = [a for a in results.aggregates if (a.domain, a.metric) == (ALL, metric)]
        by_system = {
            system: sorted(
                (a.cutoff_hz, a.mean, a.low, a.high) for a in chosen if a.system == system
            )
            for system in systems
        }
        plots.append(figures.draw_by_cutoff(by_system, label, prefix="cutoffs"))
    return plots


def _bars(results: Results) -> list[dict[str, Any]]:
    """Per cutoff the headline means of all systems, as lengths relative to the largest of all."""
    means = {
        (a.cutoff_hz, a.system): a.mean
        for a in results.aggregates
        if (a.domain, a.metric) == (ALL, results.protocol.headline)
    }
    longest = max(means.values(), default=0.0) or 1.0
    main = primary(results.protocol.systems)
    cards: dict[float, dict[str, Any]] = {}
    for (cutoff_hz, system), mean in means.items():
        card = cards.setdefault(
            cutoff_hz, {"title": f"{cutoff_hz / 1000:g} kHz cutoff", "note": "", "bars": []}
        )
        percent = f"{100 * mean / longest:.1f}"
        bar = {"name": system, "text": f"{mean:.2f}", "percent": percent, "main": system == main}
        card["bars"].append(bar)
        if system == main and tables.ratio(results, system, cutoff_hz) is not None:
            card["note"] = f"{tables.ratio_text(results, system, cutoff_hz)} of unprocessed"
    return list(cards.values())


def _curves(series: dict[str, figures.Series], prefix: str) -> list[str]:
    """The curves of a run: losses of training, then what validation measured."""
    training = {k: v for k, v in series.items() if k.startswith("train/loss")}
    # Terms that turn negative (adversarial ones) would force a linear axis and flatten all others.
    training = {k: v for k, v in training.items() if v[1].min() > 0} or training
    groups = {
        "training loss": training,
        "validation loss": {k: v for k, v in series.items() if k.startswith("valid/loss")},
        "validation LSD": {k: v for k, v in series.items() if k.startswith("valid/lsd")},
    }
    return [
        figures.draw_curves(group, title, prefix=f"{prefix}{title[:5]}{title[-3:]}")
        for title, group in groups.items()
        if group
    ]


def protocol_lines(results: Results) -> list[tuple[str, str]]:
    """Protocol, seed and versions as lines; what is long is left to `folded_details`."""
    protocol = asdict(results.protocol)
    del protocol["systems"], protocol["benchmark"]["clips"]
    return [
        *_lines(protocol),
        ("seed", str(results.seed)),
        ("versions", _text(results.versions)),
    ]


def _lines(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and text of every entry; an entry of entries of entries takes several lines."""
    for name, value in values.items():
        if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
            yield from _lines(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}".replace("_", " "), _text(value)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_text(v)}" for name, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def folded_details(results: Results) -> list[tuple[str, str]]:
    """Heads and texts of what is folded away: each system's own card, the list of clips."""
    parts = [
        (f"System {name}", yaml.safe_dump(card, sort_keys=False))
        for name, card in results.protocol.systems.items()
    ]
    clips = results.protocol.benchmark.clips
    lines = [f"{c.domain}: {c.key}, {c.seconds:.2f} s, source {c.source_rate} Hz" for c in clips]
    return [*parts, (f"Clips ({len(clips)})", "\n".join(lines))]

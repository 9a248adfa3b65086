import numpy as np
import pytest

from audiosr.audio.io import RATE
from audiosr.evaluation.aggregate import aggregate, compare
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import (
    BenchmarkCard,
    ClipFacts,
    Example,
    FileFigures,
    ProtocolCard,
    Results,
)

DOMAINS = {"effects": 3, "music": 4, "speech": 5}
METRICS = ("lsd_nuwave2", "lsd_hf_nuwave2", "lsd_lf_nuwave2", "snr_below_cutoff_db")
MEANS = {"unprocessed": 3.0, "model": 1.2, "gt_mel": 0.8}


def file_entries(protocol: Protocol) -> list[FileFigures]:
    """Figures that depend on system, cutoff and file, with a known order."""
    generator = np.random.default_rng(0)
    entries = []
    for domain, clips in DOMAINS.items():
        for clip in range(clips):
            for cutoff in protocol.cutoffs_hz:
                for system, mean in MEANS.items():
                    level = mean - 1e-4 * cutoff * (system == "unprocessed")
                    values = level * generator.uniform(0.8, 1.2, len(METRICS))
                    figures: dict[str, float | None] = dict(
                        zip(METRICS, values.tolist(), strict=True)
                    )
                    entries.append(FileFigures(f"{domain}_{clip}", domain, cutoff, system, figures))
    return entries


def made_results() -> Results:
    """Whole results with made-up figures."""
    protocol = Protocol()
    files = file_entries(protocol)
    clips = tuple(
        ClipFacts(key, key.split("_")[0], 5.0, 44_100)
        for key in dict.fromkeys(f.key for f in files)
    )
    card = ProtocolCard(
        benchmark=BenchmarkCard("demo", "outputs/demo/shards", clips),
        metrics={name: "made up" for name in METRICS},
        systems={name: {"kind": name, "model": {"provenance": {"vae": "run 1"}}} for name in MEANS},
        **protocol.card(),
    )
    return Results(
        protocol=card,
        versions={"audiosr": "0.1.0", "torch": "2.11.0"},
        seed=0,
        files=tuple(files),
        aggregates=aggregate(files),
        differences=compare(files, [("model", "unprocessed"), ("gt_mel", "model")]),
        failures=(),
        left_out=(),
    )


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
            outputs={
                system: {c: tone_burst(1.0, 20_000, seed) for c in Protocol().cutoffs_hz}
                for system in MEANS
            },
        )
        for seed, domain in enumerate(DOMAINS)
    ]


@pytest.fixture
def results() -> Results:
    return made_results()

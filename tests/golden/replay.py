"""Does this code compute what the released AudioSR computes?

    python tests/golden/replay.py DIR

replays every case of a folder of golden data: inputs and weights are rebuilt by `recipe.py`, the
results are compared with the stored ones. Prints a line per case with the relative error and the
tolerance, names what is not covered and which files are absent, and exits with 1 if an error is
above its tolerance or a case fails.
"""

import argparse
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from tests.golden.cases import audio, chain, diffusion, lowpass, metrics, networks
from tests.golden.cases.case import Arrays, Case, Cases, Folder, NotCovered

ARRAYS: dict[str, Callable[[Folder, Arrays], Cases]] = {
    "features.npz": audio.feature_cases,
    "vae.npz": networks.vae_cases,
    "unet.npz": networks.unet_cases,
    "vocoder.npz": networks.vocoder_cases,
    "schedule.npz": diffusion.schedule_cases,
    "ddim.npz": diffusion.ddim_cases,
    "lowpass.npz": lowpass.lowpass_cases,
    "mel_replace.npz": audio.replace_cases,
    "postprocess.npz": audio.postprocess_cases,
    "tiny_e2e.npz": chain.chain_cases,
    "base_unet.npz": networks.unet_cases,
    "base_ae.npz": networks.vae_cases,
    "base_vocoder.npz": networks.vocoder_cases,
}
TEXTS: dict[str, Callable[[Folder], Cases]] = {"lsd.json": metrics.lsd_cases}
OUTSIDE = {"long_audio.npz": "the released chunking; recordings of any length are restored anew"}


def replay(folder: Folder) -> Iterator[str]:
    """Replay every file of a folder; yields the verdict on each case: "ok", "FAIL" or "--"."""
    for file, cases in ARRAYS.items():
        if (folder.path / file).is_file():
            yield from _array_file(folder, file, cases)
        else:
            _line("--", file, "absent, skipped")
    for file, text_cases in TEXTS.items():
        if (folder.path / file).is_file():
            yield from _judged(file, text_cases(folder))
        else:
            _line("--", file, "absent, skipped")
    for file, reason in OUTSIDE.items():
        if (folder.path / file).is_file():
            _line("--", file, f"not covered: {reason}")
            yield "--"


def _array_file(
    folder: Folder, file: str, cases: Callable[[Folder, Arrays], Cases]
) -> Iterator[str]:
    arrays = Arrays(folder.path / file)
    yield from _judged(file, cases(folder, arrays))
    for name in arrays.left():
        _line("--", f"{file} {name}", "not covered: nothing of ours is compared with it")
        yield "--"


def _judged(file: str, cases: Cases) -> Iterator[str]:
    """Print and yield the verdict on each case; what breaks the file itself is one, too."""
    try:
        for case in cases:
            yield _judge(case)
    except Exception as error:
        _line("FAIL", file, _reason(error))
        yield "FAIL"


def _judge(case: Case | NotCovered) -> str:
    if isinstance(case, NotCovered):
        _line("--", case.name, f"not covered: {case.reason}")
        return "--"
    try:
        error = case.error(case.got(), case.want)
    except Exception as problem:
        _line("FAIL", case.name, _reason(problem))
        return "FAIL"
    verdict = "ok" if error <= case.tolerance else "FAIL"  # FAIL for NaN, too
    _line(verdict, case.name, f"{error:.1e}  tolerance {case.tolerance:.0e}")
    return verdict


def _reason(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"


def _line(verdict: str, name: str, text: str) -> None:
    print(f"{verdict:<5}{name:<64} {text}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay the folder named on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Replay golden data of the released AudioSR.")
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = Folder(parser.parse_args(arguments).folder)
    with torch.no_grad():
        verdicts = Counter(replay(folder))
    if not verdicts:
        parser.error(f"{folder.path} holds no golden data: name a folder with features.npz etc.")
    print(f"{verdicts['ok']} ok, {verdicts['FAIL']} failed, {verdicts['--']} not covered")
    return 1 if verdicts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""What does the page do with a recording, and what does it show of the result?"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import audiosr
from audiosr.audio import io
from audiosr.audio.decode import open_audio
from audiosr.audio.writer import audio_writer
from audiosr.errors import AudioSRError
from audiosr.evaluation import figures
from audiosr.evaluation.report import data_uri, render_page
from audiosr.restore.files import RestoredFile, restore_files
from audiosr.restore.plan import Job, RestorePlan
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import RestoreSettings

FORMATS: Mapping[str, tuple[str, str]] = {
    "FLAC, 24 bit": (".flac", "PCM_24"),
    "WAV, 24 bit": (".wav", "PCM_24"),
    "WAV, float": (".wav", "FLOAT"),
}
"""What a result can be downloaded as: suffix and libsndfile's name of the sample format."""

SEEN_SECONDS = 30.0
"""Length of what the spectrograms show."""

OnProgress = Callable[[float, str], None]
"""Is told the finished part, up to 1.0, and what is done now."""


@dataclass(frozen=True)
class PageResult:
    """What the page shows after a restoration."""

    account: str
    """What was found and done, in a line."""
    warning: str
    """What is wrong with the recording; empty if nothing is."""
    before: Path
    """The recording as it was decoded, to be heard."""
    after: Path
    """The result, to be heard and downloaded."""
    pictures: dict[str, str]
    """Addresses of the spectrograms, by what they show."""

    def html(self, address: Callable[[Path], str]) -> str:
        """Spectrograms and player, as the report has them.

        Args:
            address: where the browser finds a file.
        """
        sounds = {"recording": address(self.before), "result": address(self.after)}
        return render_page("listen.html", pictures=self.pictures, sounds=sounds)


@lru_cache(maxsize=2)
def page_restorer(model: str, device: str) -> Restorer:
    """The model of that name, kept for the next recording."""
    return audiosr.load(model, device=device)


def number_of(text: str) -> int | float | str | None:
    """What was typed into a field: None if it is empty; settings refuse what stays a text."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text.strip() or None


def restore_on_page(
    restorer: Restorer,
    source: Path,
    folder: Path,
    settings: RestoreSettings,
    form: str,
    on_progress: OnProgress,
) -> PageResult:
    """Restore a recording and draw it before and after.

    Args:
        restorer: the model.
        source: a file of any kind that can be decoded.
        folder: where the results go.
        settings: as for `restore_files`.
        form: one of `FORMATS`.
        on_progress: see `OnProgress`.

    Raises:
        AudioSRError: it cannot be read, restored or written. The sentence names no folder.
    """
    suffix, subtype = FORMATS[form]
    after = folder / f"{source.stem}-restored{suffix}"
    heard, warning = _Heard(on_progress), ""
    plan = RestorePlan((Job(source, after),))
    try:
        restore_files(restorer, plan, settings, subtype=subtype, listener=heard)
    except AudioSRError as error:
        warning = str(error).replace(f"{folder}/", "").replace(f"{source.parent}/", "")
        if heard.file is None:
            raise AudioSRError(warning) from error
    assert heard.file is not None
    on_progress(1.0, "drawing")
    before = folder / f"before{suffix}"
    _copy(source, before, subtype)
    return PageResult(
        heard.file.account, warning, before, after, _draw(before, after, heard.file, restorer)
    )


class _Heard:
    """What `restore_files` tells, for the bar of a page."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.file: RestoredFile | None = None
        self._on_progress, self._label = on_progress, ""

    def begin(self, path: Path, seconds: float) -> None:
        self._label = f"restoring {seconds:.1f} s"
        self._on_progress(0.0, self._label)

    def move(self, path: Path, share: float) -> None:
        self._on_progress(share, self._label)

    def end(self, path: Path) -> None:
        pass

    def tell(self, file: RestoredFile) -> None:
        self.file = file


def _copy(source: Path, target: Path, subtype: str) -> None:
    """Write a recording as it was decoded: few browsers play all that can be read."""
    with (
        open_audio(source) as reader,
        audio_writer(target, reader.rate, reader.channels, subtype=subtype) as writer,
    ):
        for block in reader.blocks():
            writer.write(block)


def _draw(before: Path, after: Path, file: RestoredFile, restorer: Restorer) -> dict[str, str]:
    """Spectrograms of the first `SEEN_SECONDS`, on one scale, with the edge where it is one."""
    levels = {
        "recording": _levels(before, restorer.rate),
        "result": _levels(after, restorer.rate),
    }
    edges = [edge.hz for stretch in file.stretches for edge in stretch.edges]
    loudest = max(float(level.max()) for level in levels.values())
    return {
        name: data_uri(
            figures.draw_spectrogram(
                level,
                restorer.rate,
                top_db=loudest,
                cutoff_hz=max(edges) if len(file.stretches) == 1 else None,
                title=name,
            ),
            "image/webp",
        )
        for name, level in levels.items()
    }


def _levels(path: Path, rate: int) -> NDArray[np.float32]:
    """The spectrogram of the beginning of a file at `rate`, the mean power of its channels."""
    with open_audio(path) as reader:
        limit, blocks, samples = round(SEEN_SECONDS * reader.rate), [], 0
        for block in reader.blocks():
            blocks.append(block)
            samples += block.shape[1]
            if samples >= limit:
                break
        wave = np.concatenate(blocks, axis=1)[:, :limit]
        at_rate = io.resample(wave, reader.rate, rate)
    power = np.mean([10 ** (figures.spectrogram(channel) / 10) for channel in at_rate], axis=0)
    return (10 * np.log10(power)).astype(np.float32)

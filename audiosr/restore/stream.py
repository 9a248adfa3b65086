"""How is a recording of any length restored, window by window, so that no joint is heard?

Windows of the recording, with context on both sides, become log-mels; noise belongs to the place,
so that two windows draw the same where they overlap, and their log-mels are cross-faded there. The
one log-mel that this gives is vocoded in pieces that overlap by more than the vocoder sees, and
spliced into the recording. No more than a few windows are in memory.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from einops import rearrange
from torch import Tensor

from audiosr.model import Model
from audiosr.restore import steps
from audiosr.restore.batches import Answer, MelCall, NetworkCall, RestoreWork, VocoderCall
from audiosr.restore.chain import expanded, filter_low, limit_output_band
from audiosr.restore.expansion import REACH_FRAMES
from audiosr.restore.floor import floor_gain, with_floor
from audiosr.restore.noise_field import NoisePlace, white_noise
from audiosr.restore.recording import SampleSource
from audiosr.restore.samples import FRAMES_MULTIPLE, Samples
from audiosr.restore.settings import RestoreSettings
from audiosr.restore.windows import (
    AROUND_FRAMES,
    FADE_FRAMES,
    LATENT_FRAMES,
    Rolling,
    Windows,
    cross_fade,
)

Emit: TypeAlias = Callable[[Samples], None]
"""Takes the next samples `(C, n)` of the result."""

OnShare: TypeAlias = Callable[[float], None]
"""Called with the finished part of the work, up to 1.0."""


@dataclass(frozen=True)
class Filling:
    """What is to be filled of a recording, and how.

    Attributes:
        source: the recording at the model's rate.
        start: first sample that is restored.
        stop: the one after the last.
        cutoffs: up to where each channel is kept, in Hz, of those that are filled.
        constant: mean of each of these `(n, 1)`.
        gain: what brings each to the networks' level and polarity, `(n, 1)`.
        fields: which noise each has, see `NoisePlace`.
        quiet_second: where its noise is best heard, in seconds.
    """

    source: SampleSource
    start: int
    stop: int
    cutoffs: dict[int, float]
    constant: Tensor
    gain: Tensor
    fields: Sequence[int]
    quiet_second: float

    @property
    def channels(self) -> list[int]:
        """Those that are filled."""
        return list(self.cutoffs)

    def normal(self, wave: Tensor) -> Tensor:
        """Of all channels `(C, T)` the filled ones, as the networks see them, `(n, 1, T)`."""
        return rearrange((wave[self.channels] - self.constant) * self.gain, "c t -> c 1 t")

    def undo(self, rows: Tensor) -> Tensor:
        """Filled channels `(n, 1, T)` at the recording's own level, `(n, T)`."""
        return rearrange(rows, "c 1 t -> c t") / self.gain + self.constant


@dataclass
class Stream:
    """The restoration of one part of a recording.

    Attributes:
        model: for its front end and its settings.
        settings: which steps.
        filling: what is filled, and how.
        batch_seconds: of windows that are asked for at a time.
        device: where the networks are.
        emit: takes the result.
        on_share: told of the progress.
    """

    model: Model
    settings: RestoreSettings
    filling: Filling
    batch_seconds: float
    device: torch.device
    emit: Emit
    on_share: OnShare
    heard: Rolling = field(init=False)
    mel: Rolling = field(init=False)
    low_mel: Rolling = field(init=False)
    windows: Windows = field(init=False)

    def __post_init__(self) -> None:
        filling, settings, features = self.filling, self.settings, self.model.features
        self.hop, self.rate = features.hop, features.rate
        assert settings.window_seconds is not None
        self.windows = Windows.over(
            filling.start,
            filling.stop,
            seconds=settings.window_seconds,
            context_seconds=settings.context_seconds,
            rate=self.rate,
            hop=self.hop,
        )
        self.heard = Rolling(1, self.windows.first)
        self.mel, self.low_mel = (Rolling(2, self.windows.first // self.hop) for _ in range(2))

    def work(self) -> RestoreWork:
        """Restore the part and give its samples, in their order, to `emit`."""
        if not self.filling.cutoffs:
            self._pass_on()
            return
        windows = self.windows
        gains = None
        if self.settings.noise_floor == "continue" and windows.count > 1:
            gains = yield from self._measured_floor()
        for group in self._groups():
            answer = yield self._call(group)
            for index, parts in zip(group, self._by_window(answer), strict=True):
                self._join(index, *parts)
                if index > 0:
                    yield from self._finish(index - 1, gains)
        yield from self._finish(windows.count - 1, gains)

    def _pass_on(self) -> None:
        """Give the part as it is."""
        filling = self.filling
        for start in range(filling.start, filling.stop, self.rate):
            stop = min(filling.stop, start + self.rate)
            self.emit(filling.source.read(start, stop))
            self.on_share((stop - filling.start) / (filling.stop - filling.start))

    def _groups(self) -> list[range]:
        """Numbers of the windows that are asked for together; a shorter last one comes alone."""
        rows = len(self.filling.cutoffs)
        size = max(1, int(self.batch_seconds * self.rate / (self.windows.length * rows)))
        whole = self.windows.count - 1
        groups = [range(start, min(start + size, whole)) for start in range(0, whole, size)]
        return [*groups, range(whole, self.windows.count)]

    def _call(self, group: range) -> MelCall:
        """What the networks are asked for some windows: rows by window, then by channel."""
        rows = []
        for index in group:
            start, stop = self.windows.span(index)
            if self.heard.stop < stop:
                self.heard.append(self._read(self.heard.stop, stop))
            rows.append(self._low(self.heard.read(start, stop)))
        begun, count = group.start, self.windows.count
        return MelCall(
            torch.cat(rows),
            self._cutoffs().repeat(len(group)),
            [place for index in group for place in self._places(index)],
            lambda share: self.on_share((begun + share * len(group)) / count),
        )

    def _read(self, start: int, stop: int) -> Tensor:
        return torch.from_numpy(self.filling.source.read(start, stop)).to(self.device)

    def _places(self, index: int) -> list[NoisePlace]:
        frame = self.windows.span(index)[0] // (self.hop * LATENT_FRAMES)
        return [NoisePlace(frame, number) for number in self.filling.fields]

    def _padded(self, rows: Tensor) -> Tensor:
        return steps.PADDINGS[self.settings.padding](rows, FRAMES_MULTIPLE * self.hop)

    def _low(self, wave: Tensor) -> Tensor:
        """What the networks see of all channels of a window `(C, T)`, `(n, 1, T)`."""
        padded = self._padded(self.filling.normal(wave))
        rows = zip(padded, self.filling.cutoffs.values(), strict=True)
        low = [filter_low(row[None], cutoff, self.settings, self.rate) for row, cutoff in rows]
        return torch.cat(low)

    def _by_window(self, answer: Answer) -> list[tuple[Tensor, Tensor]]:
        """The log-mels `(n, 1, T, F)` of each window, and those of their low bands."""
        mels, low_mels = (part.split(len(self.filling.cutoffs)) for part in answer)
        return list(zip(mels, low_mels, strict=True))

    def _join(self, index: int, mel: Tensor, low_mel: Tensor) -> None:
        """Add the log-mels of a window, cross-faded where it meets the one before."""
        first = self.windows.span(index)[0] // self.hop
        for joined, part in ((self.mel, mel), (self.low_mel, low_mel)):
            if index == 0:
                joined.append(part)
                continue
            start = self.windows.joint(index - 1) // self.hop - FADE_FRAMES // 2
            stop = start + FADE_FRAMES
            faded = cross_fade(joined.read(start, stop), part[:, :, start - first : stop - first])
            joined.replace(start, torch.cat([faded, part[:, :, stop - first :]], dim=2))

    def _finish(self, index: int, gains: Tensor | None) -> Generator[NetworkCall, Answer, None]:
        """Vocode and splice up to the joint behind a window, and give it away."""
        windows, filling, hop = self.windows, self.filling, self.hop
        last = index + 1 == windows.count
        begin = windows.joint(index - 1) if index else filling.start
        end = windows.joint(index)
        first = max(windows.first, (begin // hop - AROUND_FRAMES) * hop)
        stop = min(filling.stop, (math.ceil(end / hop) + AROUND_FRAMES) * hop)
        # The end is continued as the networks saw it.
        frames = first // hop, self.mel.stop if last else math.ceil(stop / hop)
        generated = yield from self._vocoded(self._expanded(*frames), self.low_mel.read(*frames))
        wave = self.heard.read(first, stop)
        rows = filling.normal(wave)
        if self.settings.noise_floor == "continue":
            white = white_noise(self.settings.seed, first, first + generated.shape[-1])
            white = white.to(self.device)
            if gains is None:
                gains = self._gains(generated, self._padded(rows), white)
            generated = with_floor(generated, gains, self.model.log_mel, white)
        generated = limit_output_band(generated[..., : stop - first], self.model, self.settings)
        cutoffs = self._cutoffs()
        full = steps.SPLICES[self.settings.splice](generated, rows, rows, cutoffs, self.rate)
        kept = slice(begin - first, end - first)
        out = wave[:, kept].clone()
        out[filling.channels] = filling.undo(full[..., kept])
        self.emit(out.cpu().numpy())
        if not last:
            self._forget(index)

    def _vocoded(self, mel: Tensor, low_mel: Tensor) -> Generator[NetworkCall, Answer, Tensor]:
        """The waveform `(n, 1, T)` of log-mels with the low bands of the recording."""
        replace_bands = steps.MEL_REPLACEMENTS[self.settings.mel_replacement]
        mel = replace_bands(mel, low_mel, self._cutoffs(), self.model.features)
        (generated,) = yield VocoderCall(mel)
        return generated

    def _expanded(self, start: int, stop: int) -> Tensor:
        """The drawn frames from `start` to `stop`, moved as those around them tell."""
        first = max(self.mel.start, start - REACH_FRAMES)
        around = self.mel.read(first, min(self.mel.stop, stop + REACH_FRAMES))
        moved = expanded(around, self._cutoffs(), self.model, self.settings)
        return moved.narrow(2, start - first, stop - start)

    def _cutoffs(self) -> Tensor:
        return torch.tensor(list(self.filling.cutoffs.values()), device=self.device)

    def _measured_floor(self) -> Generator[NetworkCall, Answer, Tensor]:
        """What is to be added everywhere, `(n, F)`, as the quiet window tells."""
        windows = self.windows
        step = windows.length - 2 * windows.context
        place = round(self.filling.quiet_second * self.rate) - windows.first - windows.context
        index = min(max(0, place // step), windows.count - 2)  # a whole window
        start, stop = windows.span(index)
        wave = self._read(start, stop)
        low = self._low(wave)
        mel, low_mel = yield MelCall(low, self._cutoffs(), self._places(index), lambda _: None)
        mel = expanded(mel, self._cutoffs(), self.model, self.settings)
        generated = yield from self._vocoded(mel, low_mel)
        white = white_noise(self.settings.seed, start, stop).to(self.device)
        return self._gains(generated, self.filling.normal(wave), white)

    def _gains(self, generated: Tensor, recording: Tensor, white: Tensor) -> Tensor:
        rows = zip(generated, recording, self.filling.cutoffs.values(), strict=True)
        return torch.cat(
            [
                floor_gain(made[None], found[None], cutoff, self.model.log_mel, white)
                for made, found, cutoff in rows
            ]
        )

    def _forget(self, index: int) -> None:
        """Let go of what neither the next window nor the next piece needs."""
        following = self.windows.joint(index) - (AROUND_FRAMES + REACH_FRAMES + 1) * self.hop
        self.mel.forget(following // self.hop)
        self.low_mel.forget(following // self.hop)
        self.heard.forget(max(self.windows.first, following))

"""How do the windows of one or many recordings share the networks?

A recording's work is a generator that yields the rows which it wants sent through the networks, and
is sent what became of them. Rows of equal length go together, whichever recording they are from.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from audiosr.restore.chain import NetworkChain
from audiosr.restore.noise_field import FieldNoise, NoisePlace

AHEAD = 32
"""Recordings that are worked on at a time, at most."""


@dataclass(frozen=True)
class MelCall:
    """Low bands `(B, 1, T)` for which full-band log-mels are to be drawn.

    The answer is the log-mels `(B, 1, T / hop, F)` and those of the low bands themselves.
    """

    rows: Tensor
    cutoffs_hz: Tensor
    """Up to where each row is kept `(B,)`."""
    places: Sequence[NoisePlace]
    on_step: Callable[[float], None]


@dataclass(frozen=True)
class VocoderCall:
    """Log-mels `(B, 1, T, F)`; the answer is their waveforms `(B, 1, hop * T)`."""

    rows: Tensor


NetworkCall: TypeAlias = MelCall | VocoderCall
Answer: TypeAlias = tuple[Tensor, ...]
RestoreWork: TypeAlias = Generator[NetworkCall, Answer, None]


@dataclass(frozen=True)
class Batcher:
    """The networks, and how much they are given at once.

    Attributes:
        networks: their way.
        seconds: of audio over all rows of a batch; a longer row goes alone.
        device: where the networks are.
    """

    networks: NetworkChain
    seconds: float
    device: torch.device

    @torch.inference_mode()
    def run(self, works: Iterable[RestoreWork]) -> None:
        """Do all works, some of them at a time."""
        started: list[RestoreWork] = []
        try:
            self._run(works, started)
        finally:  # whatever ended it, no work keeps a file open
            for work in started:
                work.close()

    def _run(self, works: Iterable[RestoreWork], started: list[RestoreWork]) -> None:
        waiting: list[tuple[RestoreWork, NetworkCall]] = []
        coming, more = iter(works), True
        while more or waiting:
            while more and len(waiting) < AHEAD and not self._full(waiting):
                work = next(coming, None)
                more = work is not None
                if work is not None:
                    started.append(work)
                    self._go_on(work, None, waiting)
            if waiting:
                kinds: dict[tuple[type, int], list[tuple[RestoreWork, NetworkCall]]] = {}
                for each in waiting:
                    kinds.setdefault(_kind(each[1]), []).append(each)
                chosen = max(kinds.values(), key=lambda group: sum(len(c.rows) for _, c in group))
                waiting = [each for each in waiting if all(each is not one for one in chosen)]
                self._answer(chosen, waiting)

    def _full(self, waiting: Sequence[tuple[RestoreWork, NetworkCall]]) -> bool:
        """Whether some rows of equal length fill a batch."""
        rows: dict[tuple[type, int], int] = {}
        for _, call in waiting:
            rows[_kind(call)] = rows.get(_kind(call), 0) + len(call.rows)
        return any(count >= self._most(kind) for kind, count in rows.items())

    def _most(self, kind: tuple[type, int]) -> int:
        features = self.networks.model.features
        length = kind[1] / features.rate * (features.hop if kind[0] is VocoderCall else 1)
        return max(1, int(self.seconds / length))

    def _answer(
        self,
        chosen: Sequence[tuple[RestoreWork, NetworkCall]],
        waiting: list[tuple[RestoreWork, NetworkCall]],
    ) -> None:
        """Send the rows of calls of one kind through the networks, and each work its answer."""
        calls = [call for _, call in chosen]
        try:
            answer = self._through(calls)
        except (torch.OutOfMemoryError, MemoryError) as error:
            for work, _ in chosen:
                self._go_on(work, error, waiting)
            return
        counts = [len(call.rows) for call in calls]
        parts = zip(*(each.split(counts) for each in answer), strict=True)
        for (work, _), part in zip(chosen, parts, strict=True):
            self._go_on(work, part, waiting)

    def _go_on(
        self,
        work: RestoreWork,
        answer: Answer | BaseException | None,
        waiting: list[tuple[RestoreWork, NetworkCall]],
    ) -> None:
        """Let a work go on with the answer to its last call, up to its next one or its end."""
        try:
            if answer is None:
                call = next(work)
            elif isinstance(answer, BaseException):
                call = work.throw(answer)
            else:
                call = work.send(answer)
        except StopIteration:
            return
        waiting.append((work, call))

    def _through(self, calls: Sequence[NetworkCall]) -> Answer:
        """The answers to calls of one kind, as one; rows that are equal are computed once."""
        rows: list[Tensor] = [row for call in calls for row in call.rows]
        drawn = [call for call in calls if isinstance(call, MelCall)]
        places = [place for call in drawn for place in call.places]
        cutoffs = torch.cat([call.cutoffs_hz for call in drawn]) if drawn else None
        told = None if cutoffs is None else list(zip(places, cutoffs.tolist(), strict=True))
        same = _first_equal(rows, told)
        kept = list(dict.fromkeys(same))
        answers: list[Answer] = []
        most = self._most(_kind(calls[0]))
        for start in range(0, len(kept), most):
            part = kept[start : start + most]
            batch = torch.stack([rows[index] for index in part]).to(self.device)
            if cutoffs is None:
                answers.append((self.networks.vocode(batch),))
                continue

            def on_step(share: float, done: int = start, count: int = len(part)) -> None:
                for call in drawn:
                    call.on_step((done + share * count) / len(kept))

            noise = FieldNoise(self.networks.settings.seed, [places[index] for index in part])
            answers.append(self.networks.mels(batch, cutoffs[part].to(self.device), noise, on_step))
        joined = [torch.cat(each) for each in zip(*answers, strict=True)]
        order = torch.tensor([kept.index(index) for index in same], device=self.device)
        return tuple(each[order] for each in joined)


def _kind(call: NetworkCall) -> tuple[type, int]:
    """What calls that go together have in common: the network and the length of a row."""
    return type(call), call.rows.shape[2]


def _first_equal(rows: Sequence[Tensor], told: Sequence[object] | None) -> list[int]:
    """For each row the first one that is equal to it, and of which the same is told."""
    first: list[int] = []
    for index, row in enumerate(rows):
        alike = (
            other
            for other in dict.fromkeys(first)
            if (told is None or told[other] == told[index]) and torch.equal(rows[other], row)
        )
        first.append(next(alike, index))
    return first

"""What does a telephone call leave of a clip?

The band of a line, coded at 8 kHz by libsndfile. What a coding adds fills the band to 4 kHz, but
the call ends where the line does.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Literal, get_args

import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

from audiosr.audio.io import resample
from audiosr.errors import UsageError

CALL_RATE = 8_000

Coding = Literal["ULAW", "ALAW", "GSM610", "IMA_ADPCM", "MS_ADPCM", "PCM_16", "PCM_U8"]
"""How samples of a call are kept, as libsndfile names it."""

CODINGS: tuple[Coding, ...] = get_args(Coding)

_PEAK = 0.5
"""How loud a call is coded: mu-law and A-law round the more, the quieter it is."""

_SILENCE = 1e-9


@dataclass(frozen=True)
class Telephone:
    """A line and the coding of its calls."""

    coding: Coding
    low_hz: float = 300.0
    cutoff_hz: float = 3_400.0
    """Its upper edge."""

    def __post_init__(self) -> None:
        if self.coding not in CODINGS:
            raise UsageError(
                f"no coding of calls {self.coding!r}; choose one of {', '.join(CODINGS)}"
            )
        if not 0 < self.low_hz < self.cutoff_hz < CALL_RATE / 2:
            raise UsageError(
                f"no telephone passes {self.low_hz:g} to {self.cutoff_hz:g} Hz; "
                f"keep 0 < lower < upper < {CALL_RATE // 2}"
            )

    def __str__(self) -> str:
        return f"telephone {self.coding} {self.low_hz:.0f} to {self.cutoff_hz:.0f} Hz"


def apply_telephone(
    wave: NDArray[np.float32], telephone: Telephone, rate: int
) -> NDArray[np.float32]:
    """`wave (T,)` as it is heard at the other end, without delay, as long and as loud as before."""
    call = resample(wave[None], rate, CALL_RATE)[0].astype(np.float64)
    call = limit_to_line(call, telephone.low_hz, telephone.cutoff_hz, order=5)
    gain = _PEAK / max(np.abs(call).max(initial=0), _SILENCE)
    coded = code_call(gain * call, CALL_RATE, telephone.coding) / gain
    out = resample(coded[None].astype(np.float32), CALL_RATE, rate)[0, : len(wave)]
    return np.pad(out, (0, len(wave) - len(out)))


def limit_to_line(
    call: NDArray[np.float64], low_hz: float, high_hz: float, *, order: int
) -> NDArray[np.float64]:
    """What a line passes of a call (T,) at 8 kHz: a Butterworth band, without delay."""
    edges = [low_hz, high_hz]
    sections = scipy.signal.butter(order, edges, "bandpass", fs=CALL_RATE, output="sos")
    return scipy.signal.sosfiltfilt(sections, call)


def code_call(call: NDArray[np.float64], rate: int, coding: Coding) -> NDArray[np.float64]:
    """`call (T,)` after coding, as long as before."""
    file = BytesIO()
    soundfile.write(file, np.clip(call, -1, 1), rate, format="WAV", subtype=coding)
    file.seek(0)
    coded = soundfile.read(file, always_2d=True)[0][:, 0].astype(np.float64, copy=False)
    return np.pad(coded[: len(call)], (0, max(0, len(call) - len(coded))))

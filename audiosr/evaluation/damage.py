"""What has happened to a recording besides the loss of its high band?"""

import zlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from audiosr.degrade import codecs
from audiosr.degrade.codecs import Codec, apply_codec
from audiosr.degrade.robust import (
    RESAMPLERS,
    DegradationChain,
    Fir,
    Resample,
    limit_band,
    spoil_wave,
)
from audiosr.degrade.telephone import Coding, Telephone, apply_telephone
from audiosr.errors import UsageError
from audiosr.evaluation.bandlimit import DoubleWave, ZeroPhase


@dataclass(frozen=True)
class Damaged(ZeroPhase):
    """Clipped, noisy, band-limited, coded, and quieter, in this order; each only where it is given.

    The noise of a clip is drawn from its samples, so that it is the same in every run.
    """

    clip_db: float | None = None
    """Level in dB re the peak of the clip above which samples are held."""
    snr_db: float | None = None
    """Power of the clip over that of the white noise added."""
    resampler: str | None = None
    """Of `RESAMPLERS`: the band is limited by going to twice the cutoff and back, no filter."""
    fir_lobes: int | None = None
    """The band is limited by a Hann-windowed sinc of so many zero crossings on each side."""
    telephone: Coding | None = None
    """The band is that of a line, up to the cutoff, and the call is coded so at 8 kHz."""
    codec: codecs.Name | None = None
    """mp3, vorbis or opus."""
    setting: float = 32
    """Of the codec: kbit/s, for Vorbis the quality."""
    gain_db: float = 0.0
    """Gain of the whole input."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resampler is not None and self.resampler not in RESAMPLERS:
            raise UsageError(f"no resampler {self.resampler}: choose from {', '.join(RESAMPLERS)}")
        if self.codec is not None:
            Codec(self.codec, self.setting)
        if self.telephone is not None:
            Telephone(self.telephone)

    def __call__(self, wave: DoubleWave, cutoff_hz: float, rate: int) -> DoubleWave:
        """`wave` (T,) as it would be found."""
        generator = np.random.default_rng(zlib.crc32(wave.tobytes()))
        whole = wave.astype(np.float32)
        fir = Fir("hann", self.fir_lobes or 1, cutoff_hz)
        if self.clip_db is not None or self.snr_db is not None:
            chain = DegradationChain(fir, self.clip_db, self.snr_db)
            wave = spoil_wave(whole, chain, generator).astype(np.float64)
            whole = wave.astype(np.float32)
        if self.resampler is not None:
            low = limit_band(whole, Resample(self.resampler, int(cutoff_hz)), rate)
        elif self.fir_lobes is not None:
            low = limit_band(whole, fir, rate)
        elif self.telephone is not None:
            low = apply_telephone(whole, Telephone(self.telephone, cutoff_hz=cutoff_hz), rate)
        else:
            low = super().__call__(wave, cutoff_hz, rate)
        if self.codec is not None:
            low = apply_codec(low.astype(np.float32), Codec(self.codec, self.setting))
        return low.astype(np.float64) * 10 ** (self.gain_db / 20)

    def card(self) -> dict[str, Any]:
        """What is done, as plain values."""
        return super().card() | {k: v for k, v in asdict(self).items() if v is not None}

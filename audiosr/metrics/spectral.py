"""How far are spectra apart where LSD does not look: in mel, at several resolutions, in energy?"""

from typing import Any

import torch
from torch import Tensor

from audiosr.audio.mel import LogMel
from audiosr.metrics.clip import ClipMetric, paired, per_row
from audiosr.metrics.spectrum import bin_hz, magnitude_pairs, magnitude_spectrogram

_FLOOR = 1e-8
"""Power below which all is silence (the clamp of LSD `nuwave2`)."""


class MelDistance(ClipMetric):
    """Mean absolute difference of log-mels in nats, on the front end that models are trained on.

    Its floor (1e-5 in magnitude) makes silence and rounding to 16 bits cost nothing; a gain g costs
    |ln g|.
    """

    higher_is_better = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(("mel_distance",), **settings)
        self.log_mel = LogMel()

    def update(self, estimate: Tensor, target: Tensor) -> None:
        """Add clips `(B, 1, T)` or `(B, T)`."""
        hop = self.log_mel.settings.hop
        waves = [
            torch.nn.functional.pad(wave[:, None].float(), (0, -wave.shape[-1] % hop))
            for wave in paired(estimate, target)
        ]
        found, wanted = (self.log_mel(wave) for wave in waves)
        self.add((found - wanted).abs().mean((1, 2, 3)))

    def describe(self) -> dict[str, Any]:
        """For a protocol card."""
        settings = self.log_mel.settings
        text = f"L1 of log-mels in nats, {settings.n_mels} bands, {settings.n_fft}/{settings.hop}"
        return {self.names[0]: text}


class MultiResolutionDistance(ClipMetric):
    """Multi-resolution STFT distance (Yamamoto et al., arXiv 1910.11480, eq. 5 to 7).

    Mean over three STFTs of spectral convergence and the L1 of log magnitudes, power floored at
    1e-8. Silence in both counts 0; level counts in both terms.
    """

    higher_is_better = False
    resolutions = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
    """FFT length, hop and window in samples, the paper's."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(("stft_distance",), **settings)

    def update(self, estimate: Tensor, target: Tensor) -> None:
        """Add clips `(B, 1, T)` or `(B, T)`."""
        estimate, target = paired(estimate, target)
        total = estimate.new_zeros(len(estimate))
        for n_fft, hop, window in self.resolutions:
            terms = []
            for pair in magnitude_pairs(estimate, target, n_fft, hop, window=window):
                found, wanted = (magnitude.clamp_min(_FLOOR**0.5) for magnitude in pair)
                error, whole = (wanted - found).norm(dim=(1, 2)), wanted.norm(dim=(1, 2))
                terms.append(error / whole + (wanted.log() - found.log()).abs().mean((1, 2)))
            total += torch.cat(terms)
        self.add(total / len(self.resolutions))

    def describe(self) -> dict[str, Any]:
        """For a protocol card."""
        return {self.names[0]: "spectral convergence + L1 of log magnitudes, mean of 3 STFTs"}


class HighBandEnergy(ClipMetric):
    """Energy from 1.1 times the cutoff up to 18 kHz against the target's, in dB: blur or life?

    `hf_energy_db` is the difference over the whole clip, below 0 for a dull output;
    `hf_envelope_db` the mean absolute difference frame by frame, which grows where the energy is
    right and comes at the wrong time. LSD rewards a blurred high band; these do not. Frames under
    1e-8 of power in both count 0; both follow a wrong level. A cutoff above 16.4 kHz has neither.

    Args:
        rate: sampling rate in Hz.
    """

    top_hz = 18_000.0
    margin = 1.1

    def __init__(self, *, rate: int = 48_000, **settings: Any) -> None:
        self.rate = rate
        super().__init__(("hf_energy_db", "hf_envelope_db"), **settings)

    def update(self, estimate: Tensor, target: Tensor, cutoff_hz: float | Tensor) -> None:
        """Add clips `(B, 1, T)` or `(B, T)` with their cutoff in Hz, one or `(B,)`."""
        estimate, target = paired(estimate, target)
        hz = bin_hz(2048, self.rate, estimate.device)
        band = ((hz >= self.margin * per_row(cutoff_hz, estimate)) & (hz <= self.top_hz)).double()
        band = band.expand(len(estimate), -1)
        powers = (magnitude_spectrogram(w, 2048, 512).square_() for w in (estimate, target))
        found, wanted = ((band[:, None] @ power)[:, 0] for power in powers)

        def level_db(power: Tensor) -> Tensor:
            return 10 * power.clamp_min(_FLOOR).log10()

        energy = level_db(found.sum(1)) - level_db(wanted.sum(1))
        envelope = (level_db(found) - level_db(wanted)).abs().mean(1)
        none = band.sum(1) == 0
        self.add(energy.masked_fill(none, torch.nan), envelope.masked_fill(none, torch.nan))

    def describe(self) -> dict[str, Any]:
        """For a protocol card."""
        band = f"{self.margin:g} x cutoff to {self.top_hz:g} Hz"
        return {
            self.names[0]: f"energy of the output over that of the reference, {band}",
            self.names[1]: f"mean absolute difference of that energy per frame, {band}",
        }

"""How fast are log-mel and low-pass for a batch, beside librosa and scipy clip by clip?

Both sides compute the same thing; the last column is the largest difference. Run:

    python -m bench.features
"""

from statistics import median

import librosa
import numpy as np
import scipy.signal
import torch

from audiosr.audio import lowpass
from audiosr.audio.mel import LogMel, MelSettings
from bench.timing import interleaved, options, ratio, set_threads

CLIPS = 16
SECONDS = 5.12
FILTER = lowpass.Lowpass("cheby1", 8000.0, 8)


def librosa_log_mel(clips: np.ndarray, settings: MelSettings) -> np.ndarray:
    """Log-mels `(B, frames, n_mels)` of `clips (B, T)` by librosa."""
    pad = (settings.n_fft - settings.hop) // 2
    mels = [
        librosa.feature.melspectrogram(
            y=np.pad(clip, pad, mode="reflect"),
            sr=settings.rate,
            n_fft=settings.n_fft,
            hop_length=settings.hop,
            n_mels=settings.n_mels,
            fmin=settings.fmin,
            fmax=settings.fmax,
            center=False,
            power=1.0,
        )
        for clip in clips
    ]
    return np.log(np.maximum(np.stack(mels), settings.floor)).swapaxes(1, 2)


def scipy_lowpass(clips: np.ndarray, rate: int) -> np.ndarray:
    """`clips (B, T)` filtered forward and backward by scipy, clip by clip."""
    sections = scipy.signal.cheby1(
        FILTER.order, lowpass.RIPPLE_DB, FILTER.cutoff_hz, fs=rate, output="sos"
    )
    return np.stack([scipy.signal.sosfiltfilt(sections, clip) for clip in clips])


def main() -> None:
    """Time both sides and print the table."""
    arguments = options(__doc__).parse_args()
    set_threads(arguments.threads)
    settings = MelSettings()
    rng = np.random.default_rng(0)
    shape = (CLIPS, round(SECONDS * settings.rate))
    clips = (0.1 * rng.standard_normal(shape)).astype(np.float32)
    batch = torch.from_numpy(clips)[:, None]
    log_mel = LogMel(settings)

    works = {
        "log-mel, librosa": lambda: librosa_log_mel(clips, settings),
        "log-mel, ours": lambda: log_mel(batch),
        "low-pass, scipy": lambda: scipy_lowpass(clips, settings.rate),
        "low-pass, ours": lambda: lowpass.apply_lowpass(batch, [FILTER] * CLIPS, settings.rate),
    }
    results = {name: np.asarray(work()).reshape(CLIPS, -1) for name, work in works.items()}
    # The two continue a clip's ends in different ways: there they are not comparable.
    inside = {"log-mel": slice(None), "low-pass": slice(lowpass.MARGIN, -lowpass.MARGIN)}
    seconds = interleaved(works, arguments.rounds)

    print(f"{CLIPS} clips of {SECONDS} s\n")
    print("| work | baseline | x real time, baseline | x real time, ours | ratio | difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for work, baseline in (("log-mel", "librosa"), ("low-pass", "scipy")):
        theirs, ours = seconds[f"{work}, {baseline}"], seconds[f"{work}, ours"]
        pair = [results[f"{work}, {who}"][:, inside[work]] for who in (baseline, "ours")]
        difference = np.abs(pair[0] - pair[1]).max()
        speeds = [CLIPS * SECONDS / median(times) for times in (theirs, ours)]
        print(
            f"| {work} | {baseline} | {speeds[0]:.0f} | {speeds[1]:.0f} "
            f"| {ratio(theirs, ours)} | {difference:.1e} |"
        )


if __name__ == "__main__":
    main()

"""What does a model make of test clips that nobody has chosen? Pictures for its card.

Every n-th clip of the test split, ten in all, the first seconds of its first channel: low-passed,
restored, and as it was, below each other in one picture.

    python -m bench.triples --shards /data/open --out docs/compact.webp
"""

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import audiosr
from audiosr.audio.io import RATE
from audiosr.audio.lowpass import Lowpass, apply_lowpass
from audiosr.evaluation.figures import draw_spectrogram, spectrogram
from audiosr.shards.reader import evaluation_clips


def main() -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n    python", 1)[0])
    parser.add_argument("--shards", default="outputs/demo/shards")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--cutoff", type=float, default=4000.0, help="in Hz")
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each clip")
    parser.add_argument("--width", type=int, default=400, help="of a picture, in points")
    parser.add_argument("--out", type=Path, default=Path("outputs/triples.webp"))
    given = parser.parse_args()

    model = audiosr.load(given.model)
    found = list(evaluation_clips(given.shards, "test"))
    every = max(1, len(found) // given.clips)
    rows: list[list[Image.Image]] = []
    for number, clip in enumerate(found[::every][: given.clips]):
        wave = torch.from_numpy(clip.wave[None, :1, : round(given.seconds * RATE)])
        low = apply_lowpass(wave, [Lowpass("cheby1", given.cutoff, 8)], RATE)[0]
        restored = model.restore(low, RATE, cutoff_hz=given.cutoff, seed=number)
        levels = [spectrogram(np.asarray(one[0])) for one in (low, restored, wave[0])]
        titles = (f"{clip.domain}: {clip.key[:28]}", "restored", "as it was")
        rows.append(
            [
                _picture(level, float(levels[-1].max()), given.cutoff, title, given.width)
                for level, title in zip(levels, titles, strict=True)
            ]
        )
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (3 * width, len(rows) * height))
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (column * width, row * height))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(given.out, "WEBP", quality=60)
    print(given.out)


def _picture(
    level: NDArray[np.float32], top_db: float, cutoff_hz: float, title: str, width: int
) -> Image.Image:
    drawn = draw_spectrogram(level, RATE, top_db=top_db, cutoff_hz=cutoff_hz, title=title)
    picture = Image.open(BytesIO(drawn)).convert("RGB")
    return picture.resize((width, width * picture.height // picture.width))


if __name__ == "__main__":
    main()

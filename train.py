"""Train one stage: `python train.py stage=vae|ldm|vocoder [size=...] [key=value ...]`."""

import sys

from audiosr.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

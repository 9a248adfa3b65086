"""Train one stage: `python train.py stage=vae|ldm|vocoder [size=...] [key=value ...]`."""

import sys

from audiosr.cli import train

if __name__ == "__main__":
    sys.exit(train(sys.argv[1:]))

"""Train one stage: `python train.py stage=vae|ldm|vocoder [size=...] [key=value ...]`."""

import sys

from audiosr.entry import run_hydra


def main() -> int:
    """Compose the configuration and train."""
    from audiosr.training.run import train

    overrides = [a for a in sys.argv[1:] if not a.startswith("-")]
    return run_hydra(lambda cfg: train(cfg, overrides), "train")


if __name__ == "__main__":
    sys.exit(main())

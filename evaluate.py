"""Run a benchmark: `python evaluate.py [benchmark= system= protocol= model= cutoffs= ...]`."""

import sys

from audiosr.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))

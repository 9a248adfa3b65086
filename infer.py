"""Restore recordings: `python infer.py input=FILE|DIR|GLOB output=PATH [key=value ...]`."""

import sys

from audiosr.cli import main

if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:]]))

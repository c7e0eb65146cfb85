"""Solve a DMFT problem with any solver: `dmftnet.scripts.dmft`, from a clone."""

from dmftnet.config import run
from dmftnet.scripts.dmft import main

if __name__ == "__main__":
    run(main)

"""Train a network on complex-time spectra: `dmftnet.scripts.train`, from a clone."""

from dmftnet.config import run
from dmftnet.scripts.train import main

if __name__ == "__main__":
    run(main)

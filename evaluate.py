"""Compare models in one report: `dmftnet.scripts.evaluate`, from a clone."""

from dmftnet.config import run
from dmftnet.scripts.evaluate import main

if __name__ == "__main__":
    run(main)

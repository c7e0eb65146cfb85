"""Compare corrections at finite temperature: `dmftnet.scripts.evaluate_thermal`, from a clone."""

from dmftnet.config import run
from dmftnet.scripts.evaluate_thermal import main

if __name__ == "__main__":
    run(main)

"""Make the solver that ships: `dmftnet.scripts.ship`, from a clone."""

from dmftnet.config import run
from dmftnet.scripts.ship import main

if __name__ == "__main__":
    run(main)

"""Make exact impurity data: `dmftnet.scripts.generate`, from a clone."""

from dmftnet.config import run
from dmftnet.scripts.generate import main

if __name__ == "__main__":
    run(main)

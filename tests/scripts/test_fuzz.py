"""A hundred cases of the fuzz test, always the same; tests/fuzz.py runs any number of others."""

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).resolve().parents[1] / "fuzz.py"


def test_a_hundred_bad_inputs_end_as_they_may():
    """In a process of its own, which forks one for each case."""
    done = subprocess.run([sys.executable, str(FUZZ), "100"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 of 100 cases ended as they may" in done.stdout
    wrong = int(done.stdout.partition(" were wrong for certain")[0].rpartition(" ")[2])
    assert wrong >= 50

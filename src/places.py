"""Where what comes with the package lies: in a clone beside ``src``, in an installed one inside it.

The wheel holds ``conf`` and ``weights``; the data ship with the repository alone.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSTALLED = (PACKAGE / "conf").is_dir()
"""Whether this is the wheel's copy, rather than the sources of a clone (editable or not)."""

ROOT = PACKAGE if INSTALLED else PACKAGE.parent
SCRIPTS = PACKAGE / "scripts"
CONF = str(ROOT / "conf")
WEIGHTS = ROOT / "weights"


def command(name: str) -> str:
    """How a user starts a script here: ``python train.py`` in a clone, else ``dmftnet train``."""
    return f"dmftnet {name}" if INSTALLED else f"python {name}.py"


def how_to_get(arguments: str, key: str) -> str:
    """Remedy for a data file that is not there or no good.

    Parameters
    ----------
    arguments : str
        Those with which ``generate`` makes it.
    key : str
        Of the config, which names the file.
    """
    origin = "" if not INSTALLED else ", or take it from data/ of a clone of the repository"
    return f"make it with: {command('generate')} {arguments}{origin}; {key} names the file"

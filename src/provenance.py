"""Where a file came from: versions, commit, config, command; and the hash of a file.

Every HDF5 file, checkpoint and report carries this record.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import scipy
import yaml

import dmftnet
from dmftnet.commit import source_commit
from dmftnet.places import SCRIPTS


def provenance(config: dict[str, Any] | None = None) -> dict[str, str]:
    """Record of the software, the commit and the command that make a file.

    Parameters
    ----------
    config : dict, optional
        The resolved, plain config; recorded as YAML under ``config``.

    Returns
    -------
    dict of str to str
        ``dmftnet, commit, python, numpy, scipy, command`` and, where they apply, ``torch`` and
        ``config``. No absolute paths and no name of the machine.
    """
    record = {
        "dmftnet": dmftnet.__version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "command": command_line(),
    }
    if "torch" in sys.modules:  # recorded where it was used, never imported for the record
        record["torch"] = str(sys.modules["torch"].__version__)
    if config is not None:
        record["config"] = yaml.safe_dump(config, sort_keys=False)
    return record


def command_line() -> str:
    """The running script's name and its arguments, but for Hydra's own: where a run folder lies."""
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("hydra.")]
    script = Path(sys.argv[0])
    started = f"dmftnet {script.stem}" if script.resolve().parent == SCRIPTS else script.name
    return " ".join([started, *arguments]).strip()


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Sequence[str | Path]) -> str:
    """`sha256` of one file; of several, that of their hashes one after the other."""
    hashes = [sha256(path) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

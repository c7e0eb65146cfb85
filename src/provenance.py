"""Where a file came from: versions, commit, config, command; and the hash of a file.

Every HDF5 file, checkpoint and report carries this record.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import scipy
import yaml

import dmftnet


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
        "commit": git_commit(),
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


def git_commit() -> str:
    """Commit of the source tree, ``+dirty`` if tracked files differ, "unknown" outside git.

    Only of a repository that this very file belongs to: an installed package may lie in a virtual
    environment inside somebody else's.
    """
    root = Path(__file__).resolve().parent
    try:
        _git(root, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or no commit yet
        return "unknown"
    return head + ("+dirty" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return run.stdout.strip()


def command_line() -> str:
    """The running script's name and its arguments, but for Hydra's own: where a run folder lies."""
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("hydra.")]
    return " ".join([Path(sys.argv[0]).name, *arguments]).strip()


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Sequence[str | Path]) -> str:
    """`sha256` of one file; of several, that of their hashes one after the other."""
    hashes = [sha256(path) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

"""The commit that this code is: git's in a clone, the recorded one in a wheel or an sdist.

Needs the standard library alone, since ``setup.py`` runs this very file to make the record.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

RECORD = "commit.txt"
"""Beside this file in a wheel or an sdist, never in a clone."""

BUILT = ("src", "conf", "weights")
"""What a wheel is made of."""


def source_commit(building: bool = False) -> str:
    """The commit, ``+dirty`` if files differed from it, "unknown" where nobody can tell.

    Only git's answer for a repository that tracks this very file counts: an installed package may
    lie in a virtual environment inside somebody else's.

    Parameters
    ----------
    building : bool
        Whether files that git does not know, and a wheel would take in, are differences too.
    """
    here = Path(__file__).resolve().parent
    try:
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _git(here, "rev-parse", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
        if building:
            changed += _git(here.parent, "ls-files", "--others", "--exclude-standard", *BUILT)
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or no commit yet
        record = here / RECORD
        return record.read_text(encoding="utf-8").strip() if record.is_file() else "unknown"
    return head + ("+dirty" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return run.stdout.strip()

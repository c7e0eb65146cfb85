"""How the columns of a job file belong together, checked when a file is read.

A file that opens may still hold anything: another program's arrays, or bytes that changed on the
way. What each column is, `dmftnet.data.keys` says; here their row counts are held against those of
the jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import numpy as np

from dmftnet.data.keys import JOBS, OMEGA, rows_of
from dmftnet.errors import StoreError


def check_rows(
    path: Path, columns: Mapping[str, np.ndarray], derived: Mapping[str, str], remedy: str
) -> None:
    """Raise unless the row counts of all jobs add up to the columns.

    Parameters
    ----------
    derived : mapping
        Columns of counts, and those of the offsets that follow from them.

    Raises
    ------
    StoreError
    """
    ids, omega = columns.get(JOBS), columns.get(OMEGA)
    if not _is_vector(ids, "iu") or len(np.unique(ids)) < len(ids) or not _is_vector(omega, "f"):
        raise StoreError(f"file {path} has no ids of jobs, or no grid; {remedy}")
    offsets = set(derived.values())
    for name, values in columns.items():
        group = name.split("/")[0]
        if group in ("rows", "grid"):
            continue
        rows = columns.get(rows_of(group))
        if (
            not (_is_vector(rows, "iu") and rows.shape == ids.shape and np.all(rows >= 0))
            or values.ndim == 0
            or len(values) != rows.sum() + (name in offsets)
        ):
            raise StoreError(f"file {path}: {name} and the rows of its jobs disagree; {remedy}")
    for count, offset in derived.items():
        if count in columns or offset in columns:
            _check_offsets(path, columns, count, offset, remedy)


def _check_offsets(path: Path, columns, count: str, offset: str, remedy: str) -> None:
    counts, found = columns.get(count), columns.get(offset)
    good = _is_vector(counts, "iu") and _is_vector(found, "iu") and np.all(counts >= 0)
    if not good or not np.array_equal(found, np.concatenate([[0], np.cumsum(counts)])):
        raise StoreError(f"file {path}: {offset} does not follow from {count}; {remedy}")


def _is_vector(values: np.ndarray | None, kinds: str) -> TypeGuard[np.ndarray]:
    return isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in kinds

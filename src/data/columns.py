"""What the columns of a job file must look like, checked when a file is read.

A file that opens may still hold anything: another program's arrays, or bytes that changed on the
way. Whoever reads a schema says what each of its columns is, and what is not so is an error that
names the file and the column, before anything is computed from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np

from dmftnet.errors import StoreError

KINDS = {"number": "f", "integer": "iu", "complex": "fc", "text": "U"}


@dataclass(frozen=True)
class Column:
    """One column of a schema.

    Parameters
    ----------
    kind : {"number", "integer", "complex", "text"}
    shape : tuple of int or "n_w"
        Behind the axis of rows; "n_w" is the number of frequencies of the file's grid.
    limits : (low, high), optional
        Of integer codes, both inclusive.
    nan : bool
        Whether a number may be missing.
    """

    kind: str
    shape: tuple[int | str, ...] = ()
    limits: tuple[int, int] | None = None
    nan: bool = False

    def objection(self, values: np.ndarray, n_w: int) -> str:
        """What is wrong with the values of the column; empty if nothing is."""
        shape = tuple(n_w if axis == "n_w" else axis for axis in self.shape)
        if values.dtype.kind not in KINDS[self.kind] or values.shape[1:] != shape:
            wanted = f"{self.kind}s" if self.kind != "text" else "text"
            return (
                f"holds {values.dtype} of shape {values.shape}; {wanted} of shape "
                f"{('n', *shape)} are needed"
            )
        if self.kind in ("number", "complex") and not self.nan and not np.isfinite(values).all():
            return "holds a value that is not finite"
        if self.limits is not None and values.size:
            low, high = self.limits
            if values.min() < low or values.max() > high:
                return f"holds {values.min()} to {values.max()}; {low} to {high} is known"
        return ""


def check_columns(
    path: Path, columns: Mapping[str, np.ndarray], wanted: Mapping[str, Column], remedy: str
) -> None:
    """Raise unless all wanted columns are there and as they should be.

    Raises
    ------
    StoreError
    """
    n_w = columns["grid/omega"].size
    for name, column in wanted.items():
        if name not in columns:
            raise StoreError(f"file {path} lacks the column {name}; {remedy}")
        objection = column.objection(columns[name], n_w)
        if objection:
            raise StoreError(f"file {path}: {name} {objection}; {remedy}")


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
    ids, omega = columns.get("rows/id"), columns.get("grid/omega")
    if not _is_vector(ids, "iu") or len(np.unique(ids)) < len(ids) or not _is_vector(omega, "f"):
        raise StoreError(f"file {path} has no ids of jobs, or no grid; {remedy}")
    offsets = set(derived.values())
    for name, values in columns.items():
        group = name.split("/")[0]
        if group in ("rows", "grid"):
            continue
        rows = columns.get(f"rows/{group}")
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

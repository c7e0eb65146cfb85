"""Curves that a user gives as a file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError


def read_curve(
    path: str | Path, names: tuple[str, str], key: str = "path"
) -> tuple[np.ndarray, np.ndarray]:
    """Two columns of a text file, or the two named arrays of an .npz file; (n,) float64 each.

    Parameters
    ----------
    key : str
        What the user set to `path`, for errors.

    Raises
    ------
    InvalidProblemError
        If the file is missing, unreadable, or holds anything else.
    """
    path = checks.path(key, path, "two columns of text or an .npz file")
    if not path.is_file():
        raise InvalidProblemError(f"file {path} does not exist; give two columns of text or .npz")
    remedy = f"it must hold two columns of numbers, or as .npz the arrays {names[0]} and {names[1]}"
    if path.suffix != ".npz":
        table = read_table(path, remedy)
        if table.shape[1] != 2:
            raise InvalidProblemError(f"file {path} has {table.shape[1]} columns; two are needed")
        return table[:, 0], table[:, 1]
    with checks.reading(path, remedy, InvalidProblemError), warnings.catch_warnings():
        warnings.simplefilter("error")  # complex numbers
        # opened here: np.load leaks the handle of a broken archive
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            curve = [np.asarray(archive[name]).astype(np.float64) for name in names]
    if curve[0].ndim != 1 or curve[0].shape != curve[1].shape:
        raise InvalidProblemError(
            f"file {path}: {names[0]} {curve[0].shape} and {names[1]} {curve[1].shape} must be two "
            "columns of equal length"
        )
    return curve[0], curve[1]


def read_table(path: Path, remedy: str) -> np.ndarray:
    """(n, n_columns) float64 of a text file; comments begin with # or %.

    Raises
    ------
    InvalidProblemError
        If it is empty, or holds what is no number.
    """
    with checks.reading(path, remedy, InvalidProblemError), warnings.catch_warnings():
        warnings.simplefilter("error")  # an empty file, complex numbers
        return np.loadtxt(path, comments=("#", "%"), ndmin=2)

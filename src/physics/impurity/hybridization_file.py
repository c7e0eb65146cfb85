"""A hybridization that a user gives at Matsubara frequencies, as text or HDF5.

Text: the columns w_n, Re Delta, Im Delta, in D; of several orbitals a pair of columns each, or one
pair for all. Lines that begin with # or % are comments. HDF5: the arrays ``matsubara/omega_n``
(n,) and ``matsubara/hybridization`` (n_orb, n) or (n,), complex, as in a solution.h5.

The frequencies are positive, rising, those of the temperature, from pi/beta on; some may be left
out. What the solver sees is a positive measure fitted to them
(`dmftnet.physics.grids.causal_fit`), by which values between, and the tail, follow; `residual` says
how far the file's values lie from it.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.causal_fit import causal_fit
from dmftnet.physics.grids.curve_file import read_table
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization

FREQUENCIES, VALUES = "matsubara/omega_n", "matsubara/hybridization"

REMEDY = (
    f"it must hold the columns w_n, Re Delta, Im Delta, or as HDF5 the arrays {FREQUENCIES} and "
    f"{VALUES}"
)

FEWEST = 8
"""Frequencies of a file: fewer say little of any spectrum."""

REFUSED = 0.1
"""Residual above which a file holds no hybridization."""

SYMMETRIC = 1e-9
"""Share of the largest value up to which Re Delta is none: particle-hole symmetry."""

FIRST, WHOLE = 1e-4, 0.02
"""By what share the first frequency may miss pi/beta, and by how much an index an odd integer."""


def holds_matsubara(path: Path) -> bool:
    """Whether a file is meant for the imaginary axis: three columns or more, or those arrays."""
    if path.suffix in (".h5", ".hdf5"):
        with checks.reading(path, REMEDY, InvalidProblemError), h5py.File(path, "r") as file:
            return "schema" not in file.attrs
    return path.suffix != ".npz" and read_table(path, REMEDY).shape[1] > 2


def read_hybridization(path: Path, axis: ImaginaryAxis, n_orb: int) -> MatsubaraHybridization:
    """Delta(i w_n) of a file, on an axis; see the module.

    Raises
    ------
    InvalidProblemError
        One line, of a file that holds anything else.
    """
    omega_n, values = _arrays(path)
    omega_n = _checked(path, omega_n, values, axis.beta)
    if len(values) not in (1, n_orb):
        raise InvalidProblemError(
            f"file {path} has Delta of {len(values)} orbitals, the problem {n_orb}; give one pair "
            "of columns for all, or one for each"
        )
    fits = [causal_fit(omega_n, row, axis.beta, axis.w_max) for row in values]
    worst = max(range(len(fits)), key=lambda i: fits[i].residual)
    residual = fits[worst].residual
    if residual > REFUSED:
        raise InvalidProblemError(
            f"file {path}: a causal Delta within w_max = {axis.w_max:g} misses the values by "
            f"{100 * residual:.2g} % of the largest, more than {100 * REFUSED:g} %; Delta must "
            "vanish at high frequency (a constant belongs to problem.eps_d) and its spectrum lie "
            "within matsubara.w_max"
        )
    rows = np.array([fit.at(1j * axis.omega_n) for fit in fits])
    even = np.abs(values.real).max(axis=1) <= SYMMETRIC * np.abs(values).max(axis=1)
    rows[even] = 1j * rows[even].imag
    rows = np.broadcast_to(rows, (n_orb, rows.shape[1]))
    return MatsubaraHybridization(axis, rows, residual)


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(n,) frequencies and (n_orb, n) complex128 values as they stand in the file."""
    if path.suffix in (".h5", ".hdf5"):
        with checks.reading(path, REMEDY, InvalidProblemError), h5py.File(path, "r") as file:
            omega_n = np.asarray(file[FREQUENCIES][()]).astype(np.float64)
            values = np.atleast_2d(file[VALUES][()]).astype(np.complex128)
    else:
        table = read_table(path, REMEDY)
        if table.shape[1] % 2 == 0:
            raise InvalidProblemError(
                f"file {path} has {table.shape[1]} columns; give w_n, and Re and Im of Delta, a "
                "pair for each orbital"
            )
        omega_n, values = table[:, 0], (table[:, 1::2] + 1j * table[:, 2::2]).T
    if omega_n.ndim != 1 or values.ndim != 2 or values.shape[1] != omega_n.size:
        raise InvalidProblemError(
            f"file {path}: {FREQUENCIES} {omega_n.shape} and {VALUES} {values.shape} do not match; "
            "give (n,) and (n_orb, n)"
        )
    return omega_n, values


def _checked(path: Path, omega_n: np.ndarray, values: np.ndarray, beta: float) -> np.ndarray:
    """The frequencies without the rounding of a text."""
    if omega_n.size < FEWEST:
        raise InvalidProblemError(
            f"file {path} has {omega_n.size} frequencies; give {FEWEST} at least"
        )
    finite = np.isfinite(omega_n) & np.isfinite(values).all(axis=0)
    if not finite.all():
        raise InvalidProblemError(
            f"file {path}: row {int(np.argmin(finite)) + 1} of the data holds a value that is not "
            "finite"
        )
    if omega_n.min() <= 0:
        raise InvalidProblemError(
            f"file {path}: frequency {omega_n[omega_n <= 0][0]:.6g}; give positive ones alone, "
            "Delta(-iw) is the conjugate"
        )
    if np.any(np.diff(omega_n) <= 0):
        bad = int(np.argmin(np.diff(omega_n) > 0))
        raise InvalidProblemError(
            f"file {path}: frequency {omega_n[bad + 1]:.6g} follows {omega_n[bad]:.6g}; they must "
            "rise"
        )
    lowest = np.pi / beta
    if abs(omega_n[0] / lowest - 1) > FIRST:
        raise InvalidProblemError(
            f"file {path}: the first frequency is {omega_n[0]:.6g}, pi/beta is {lowest:.6g} at "
            f"beta = {beta:g}; the file is of beta = {np.pi / omega_n[0]:.6g}, set problem.beta "
            "(energies in D)"
        )
    odd = omega_n / lowest
    nearest = 2 * np.rint((odd - 1) / 2) + 1
    wrong = np.abs(odd - nearest) > np.maximum(WHOLE, FIRST * odd)
    if wrong.any():
        raise InvalidProblemError(
            f"file {path}: frequency {omega_n[wrong][0]:.6g} is {odd[wrong][0]:.4f} pi/beta; "
            "fermionic frequencies are odd multiples"
        )
    if np.any(values.imag.sum(axis=1) > 0):
        raise InvalidProblemError(
            f"file {path}: Im Delta is {values.imag.max():.6g} at its largest; it must be <= 0 at "
            "positive frequencies (check the sign convention)"
        )
    return nearest * lowest

"""Few complex poles that meet a function on the imaginary axis, and the spectrum they stand for.

``f(z) = sum_p a_p / (z - x_p)`` in the upper half plane, for G, or Sigma without its constant.

Method
    Minimal pole method: exponentials through equidistant Matsubara frequencies, a conformal map of
    the plane without their interval onto the unit disk, and poles there from the moments on its
    edge (library mini_pole, ``pip install 'dmftnet[poles]'``).
Range
    Poles on the axis with positive weights are levels; a continuum is met by poles below it whose
    weights are complex, and nothing keeps the spectrum positive or the poles below: what came out
    is told. The answer is exact in the data's last digits alone: a G that is off by
    1e-4, as with few bath levels, has other poles (`benchmarks/poles.py`, docs/benchmarks.md).
Cost
    A tenth of a second for 60 frequencies.

References: L. Zhang, E. Gull, PRB 110, 035154 (2024); L. Zhang, Y. Yu, E. Gull, PRB 110, 235131
(2024).
"""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.errors import ConvergenceError, SettingError
from dmftnet.physics.grids.matsubara import ImaginaryAxis

NEEDED = ("mini_pole", "kneed")
"""What the library imports, of which it names but the first."""

FEWEST, MOST = 32, 2000
"""Equidistant frequencies: fewer hold no exponentials, more take minutes."""

NEGLIGIBLE = 1e-3
"""Shares, and distances from the axis in D, of which nothing is said."""


@dataclass(frozen=True, eq=False)
class MinimalPoles:
    """Poles of one function.

    Parameters
    ----------
    energies : (n_p,) complex128, in D
    weights : (n_p,) complex128
    residual : float
        Largest deviation at the sampling points of the axis over the largest value.
    """

    energies: np.ndarray
    weights: np.ndarray
    residual: float

    def at(self, z: np.ndarray) -> np.ndarray:
        """(n,) complex128 at complex z, in the upper half plane or on the real axis."""
        return (1 / (np.asarray(z)[:, None] - self.energies)) @ self.weights


@dataclass(frozen=True)
class MinimalPoleFit:
    """How poles are found.

    Parameters
    ----------
    tolerance : float
        To what share of the largest value the function is known.
    cutoff : float, in D
        Largest of the equidistant frequencies; `FEWEST` are taken at least.
    broadening : float, in D
        Distance above the real axis at which the spectrum is drawn.

    Raises
    ------
    SettingError
        If an argument is out of its limits, or the library is not installed.
    """

    tolerance: float = 1e-4
    cutoff: float = 8.0
    broadening: float = 0.01

    def __post_init__(self):
        checks.number("poles.tolerance", self.tolerance, at_least=1e-13, below=1)
        checks.number("poles.cutoff", self.cutoff, above=0, at_most=1e4)
        checks.number("poles.broadening", self.broadening, above=0, at_most=10)
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            raise SettingError(
                f"poles: {' and '.join(missing)} cannot be imported; run pip install "
                "'dmftnet[poles]', or set poles=none"
            )

    def indices(self, beta: float) -> np.ndarray:
        """(n,) odd integers of the equidistant frequencies.

        Raises
        ------
        SettingError
            If there are more than `MOST`.
        """
        number = max(FEWEST, int(self.cutoff * beta / (2 * np.pi)))
        if number > MOST:
            raise SettingError(
                f"poles.cutoff = {self.cutoff:g}: {number} frequencies at beta = {beta:g}, more "
                f"than {MOST}; lower it, or set poles=none"
            )
        return 2 * np.arange(number) + 1

    def fit(self, axis: ImaginaryAxis, values: np.ndarray) -> MinimalPoles:
        """Poles of one function that falls off as 1/z.

        Parameters
        ----------
        axis : ImaginaryAxis
        values : (n_iw,) complex128
            At the sampling points of the axis.

        Raises
        ------
        ConvergenceError
            If the library finds no poles.
        """
        indices, largest = self.indices(axis.beta), float(np.abs(values).max())
        given = axis.at_frequencies(axis.to_coefficients(values), indices)
        try:
            found = _library_fit(given, indices * np.pi / axis.beta, self.tolerance * largest)
            energies, weights = found.pole_location, found.pole_weight[:, 0, 0]
        except Exception as error:  # the library raises almost anything where its ranks break down
            raise ConvergenceError(
                f"mini_pole finds no poles at poles.tolerance = {self.tolerance:g} "
                f"({checks.reason(error)}); raise it, or set poles=none"
            ) from error
        if not energies.size:
            raise ConvergenceError(
                f"mini_pole finds no poles at poles.tolerance = {self.tolerance:g}; lower it, or "
                "set poles=none"
            )
        poles = MinimalPoles(energies, weights, np.nan)
        missed = np.abs(poles.at(1j * axis.omega_n) - values).max()
        return MinimalPoles(energies, weights, float(missed / largest))


def _library_fit(values: np.ndarray, omega_n: np.ndarray, error: float) -> Any:
    """The library's object; what it prints and warns of, the residual measures."""
    from mini_pole import MiniPole

    # n0 = 0: the lowest frequencies, which levels near zero dominate, are met too
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MiniPole(values, omega_n, n0=0, err=error)

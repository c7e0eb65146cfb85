"""Frequency grids and the one representation of a curve: piecewise linear between grid points.

A spectrum on a `FrequencyGrid` is its values at the points ``omega``; between two points it is
linear, outside the grid it is zero. Quadrature, Hilbert transform (Kramers-Kronig), smoothing and
the complex-time rotation (`dmftnet.physics.grids.rotation`) all integrate this same function
exactly, so they agree with each other on any grid, coarse or fine.

The usual grid is symmetric and geometric: fine at low energy, where a Kondo resonance lives, and
coarse in the Hubbard bands. It has no point at zero frequency, where the self-energy of a Mott
insulator diverges; values at zero are read between the two central points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.kramers_kronig import KramersKronig

W_MAX = 1e6
"""Largest frequency of a geometric grid, in D: its square times a fine step still has digits."""


@dataclass(frozen=True, eq=False)
class FrequencyGrid:
    """An increasing set of real frequencies with trapezoidal quadrature weights.

    Parameters
    ----------
    omega : (n_w,) float64, in D
        Strictly increasing, finite, at least three points.

    Raises
    ------
    InvalidProblemError
        If the points are not finite or not strictly increasing.
    """

    omega: np.ndarray
    weights: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        omega = np.array(self.omega, dtype=np.float64)
        if omega.ndim != 1 or omega.size < 3:
            raise InvalidProblemError(
                f"a frequency grid needs one axis of at least 3 points, got shape {omega.shape}"
            )
        if not np.all(np.isfinite(omega)):
            bad = int(np.flatnonzero(~np.isfinite(omega))[0])
            raise InvalidProblemError(
                f"frequency grid point {bad} is {omega[bad]}; every point must be finite"
            )
        step = np.diff(omega)
        if np.any(step <= 0):
            bad = int(np.flatnonzero(step <= 0)[0])
            raise InvalidProblemError(
                f"the frequency grid must increase strictly, but omega[{bad}] = {omega[bad]:.6g} "
                f"is followed by omega[{bad + 1}] = {omega[bad + 1]:.6g}; sort and drop duplicates"
            )
        weights = np.zeros_like(omega)
        weights[:-1] += 0.5 * step
        weights[1:] += 0.5 * step
        omega.setflags(write=False)
        weights.setflags(write=False)
        object.__setattr__(self, "omega", omega)
        object.__setattr__(self, "weights", weights)

    @classmethod
    def geometric(
        cls,
        w_min: float = 1e-3,
        w_max: float = 8.0,
        n_w: int = 800,
        max_memory: float = checks.MAX_MEMORY,
    ) -> FrequencyGrid:
        """Symmetric geometric grid ``+-w_min ... +-w_max`` with `n_w` (even) points.

        Raises
        ------
        InvalidProblemError
            If the numbers make no grid.
        SpaceTooLargeError
            If some dense matrices on it, Kramers-Kronig for one, would exceed `max_memory` GiB.
        """
        n_w = checks.integer("n_w", n_w)
        w_min, w_max = checks.number("w_min", w_min), checks.number("w_max", w_max, at_most=W_MAX)
        if n_w < 4 or n_w % 2:
            raise InvalidProblemError(f"n_w = {n_w}: a geometric grid needs an even number >= 4")
        if not 0 < w_min < w_max:
            raise InvalidProblemError(
                f"w_min = {w_min}, w_max = {w_max}: a geometric grid needs 0 < w_min < w_max"
            )
        if w_min < 1e-12 * w_max:
            raise InvalidProblemError(
                f"w_min = {w_min}, w_max = {w_max}: a geometric grid over more than twelve decades "
                "has no digits left at its inner end; raise w_min"
            )
        checks.memory(
            f"n_w = {checks.shown(n_w)}: matrices on the grid",
            80.0 * n_w**2,
            checks.number("max_memory", max_memory, above=0),
            "grid.max_memory",
            "take fewer points",
        )
        half = np.geomspace(w_min, w_max, n_w // 2)
        return cls(np.concatenate([-half[::-1], half]))

    @property
    def n_w(self) -> int:
        """Number of points."""
        return self.omega.size

    def __eq__(self, other):
        return isinstance(other, FrequencyGrid) and np.array_equal(self.omega, other.omega)

    def __hash__(self):
        return hash(self.omega.tobytes())

    @cached_property
    def is_symmetric(self) -> bool:
        """Whether the grid maps onto itself under ``omega -> -omega``."""
        return bool(np.allclose(self.omega, -self.omega[::-1], rtol=1e-10, atol=0))

    def integrate(self, values: np.ndarray) -> np.ndarray:
        """Integral over the whole grid along the last axis, ``(..., n_w) -> (...)``."""
        return np.asarray(values) @ self.weights

    def moments(self, values: np.ndarray, n_moments: int) -> np.ndarray:
        """(n_moments, ...) ``integral E^m f(E) dE`` of piecewise-linear curves, exactly."""
        node, weight = np.polynomial.legendre.leggauss(n_moments // 2 + 1)
        t, h = 0.5 * (node + 1), np.diff(self.omega)[:, None]
        at, share = self.omega[:-1, None] + h * t, 0.5 * weight * h
        powers = share * at ** np.arange(n_moments)[:, None, None]  # (m, cell, node)
        projected = np.zeros((n_moments, self.n_w))
        projected[:, :-1] += (powers * (1 - t)).sum(axis=-1)
        projected[:, 1:] += (powers * t).sum(axis=-1)
        return np.moveaxis(_curves(values) @ projected.T, -1, 0)

    def cumulative(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """``integral_{-inf}^{at} values`` of the piecewise-linear curve, exactly.

        Parameters
        ----------
        values : (n_w,) float64
        at : (n,) float64, in D; clipped to the grid's range
        """
        x, y = self.omega, np.asarray(values, dtype=np.float64)
        running = np.concatenate([[0.0], np.cumsum(0.5 * np.diff(x) * (y[1:] + y[:-1]))])
        at = np.clip(np.asarray(at, dtype=np.float64), x[0], x[-1])
        cell = np.clip(np.searchsorted(x, at, side="right") - 1, 0, x.size - 2)
        t = at - x[cell]
        slope = (y[cell + 1] - y[cell]) / (x[cell + 1] - x[cell])
        return running[cell] + t * (y[cell] + 0.5 * slope * t)

    def interpolate(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Piecewise-linear values elsewhere, zero outside the grid; ``(..., n_w) -> (..., n)``."""
        values = np.asarray(values)
        at = np.asarray(at, dtype=np.float64)
        cell = np.clip(np.searchsorted(self.omega, at, side="right") - 1, 0, self.n_w - 2)
        t = (at - self.omega[cell]) / (self.omega[cell + 1] - self.omega[cell])
        inside = (at >= self.omega[0]) & (at <= self.omega[-1])
        return np.where(inside, values[..., cell] * (1 - t) + values[..., cell + 1] * t, 0.0)

    def shared(self, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weights at points, each given to its two neighbours: sum and mean are kept.

        A curve of another grid times its quadrature weights comes out with its integral, whatever
        lies between the points of this one; what is outside goes to the ends.

        Parameters
        ----------
        points : (n,) float64, in D
        weights : (..., n) float64

        Returns
        -------
        (..., n_w) float64; over `weights` it is a curve
        """
        at = np.clip(np.asarray(points, dtype=np.float64), self.omega[0], self.omega[-1])
        cell = np.clip(np.searchsorted(self.omega, at, side="right") - 1, 0, self.n_w - 2)
        share = (at - self.omega[cell]) / (self.omega[cell + 1] - self.omega[cell])
        ends = np.concatenate([cell, cell + 1]), np.tile(np.arange(at.size), 2)
        shares = np.concatenate([1 - share, share])
        matrix = csr_array((shares, ends), shape=(self.n_w, at.size))
        return (matrix @ np.asarray(weights).reshape(-1, at.size).T).T.reshape(
            *np.shape(weights)[:-1], self.n_w
        )

    def at_zero(self, values: np.ndarray) -> np.ndarray:
        """Values at zero frequency, ``(..., n_w) -> (...)``."""
        return self.interpolate(values, np.zeros(1))[..., 0]

    @cached_property
    def hilbert(self) -> np.ndarray:
        """(n_w, n_w) matrix ``H`` with ``(H f)_i = P integral f(E) / (omega_i - E) dE``, exactly.

        The principal value of a hat function follows from the primitive ``x ln|x|``; at a grid
        point the logarithms of the two neighbouring cells cancel. O(n_w^2) once a grid; for
        products with curves: `kramers_kronig`.
        """
        x, h = self.omega, np.diff(self.omega)
        u = x[:, None] - x[None, :]
        left, right = u[:, :-1], u[:, 1:]
        apart = (left != 0) & (right != 0)
        ratio = np.divide(h, right, out=np.zeros_like(right), where=apart)
        cell_log = np.log1p(ratio)  # of far cells small, and precise
        cell_log += np.where(right == 0, np.log(h), 0.0) - np.where(left == 0, np.log(h), 0.0)
        matrix = np.zeros((x.size, x.size))
        matrix[:, :-1] += 1.0 - u[:, 1:] * cell_log / h
        matrix[:, 1:] += u[:, :-1] * cell_log / h - 1.0
        return matrix

    @cached_property
    def kramers_kronig(self) -> KramersKronig:
        """``H f`` of curves (..., n_w), `hilbert`, without reading all of the matrix."""
        return KramersKronig(self.omega, self.is_symmetric, self.hilbert)

    def cauchy(self, values: np.ndarray, z: np.ndarray) -> np.ndarray:
        """``integral f(E) / (z - E) dE`` of piecewise-linear curves off the real axis, exactly.

        Parameters
        ----------
        values : (..., n_w) float64 or complex128
        z : (n,) complex128, in D
            Off the real axis.

        Returns
        -------
        (..., n) complex128
        """
        z = np.asarray(z, dtype=np.complex128)
        upper = cauchy_matrix(self.omega, z.real + 1j * np.abs(z.imag))
        return _curves(values) @ np.where(z.imag > 0, upper.T, upper.T.conj())

    def greens_function(self, spectrum: np.ndarray) -> np.ndarray:
        """Retarded ``G = H A - i pi A`` of spectra on this grid, ``(..., n_w) -> (..., n_w)``."""
        spectrum = _curves(spectrum)
        return self.kramers_kronig(spectrum) - 1j * np.pi * spectrum


def _curves(values: np.ndarray) -> np.ndarray:
    """As float64, or complex128 what is off the diagonal of a matrix."""
    values = np.asarray(values)
    return values if np.iscomplexobj(values) else values.astype(np.float64, copy=False)


def cauchy_matrix(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Matrix from values on points to ``integral f(E) / (z - E) dE`` of the curve between them.

    A cell with ``f(E) = f(z) - s (z - E)`` gives ``f(z) [ln(z - x0) - ln(z - x1)] - s h``; the
    logarithms of its two ends belong to two hat functions.

    Parameters
    ----------
    x : (n_w,) float64
        Strictly increasing; outside the curve is zero, a step at either end is allowed.
    z : (n,) complex128
        ``Im z > 0``.

    Returns
    -------
    (n, n_w) complex128
    """
    u, h = z[:, None] - x, np.diff(x)
    cell_log = np.log(u[:, :-1]) - np.log(u[:, 1:])
    matrix = np.zeros_like(u)
    matrix[:, :-1] += 1.0 - u[:, 1:] * cell_log / h
    matrix[:, 1:] += u[:, :-1] * cell_log / h - 1.0
    return matrix

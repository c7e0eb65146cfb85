"""The dynamic part of a self-energy as a positive measure on the real axis.

A causal self-energy of one orbital is

``Sigma(z) = U n + U^2 n (1 - n) t(z)``, ``t(z) = integral s(e) / (z - e) de``, ``s >= 0``, in all 1

with n the density of one spin. Conversely, with any such s and the hybridization of the problem,
Dyson's equation gives a Green function whose norm, boundary condition, convexity and tails are
exact. Here s lives on fixed frequencies: dense about zero, as the imaginary axis resolves them,
``e = T x`` with x the same at every temperature.

`SelfEnergyMeasure.fit` is the nearest measure to values at Matsubara frequencies: a projection onto
a convex set, so it cannot lead away from a causal truth. A measure on the nodes is met to 1e-8, a
pole between them to the square of their spacing, a quarter with twice the nodes
(`tests/models/test_correction_models.py`). A self-energy that is not causal is made so.

Cost: four tenths of a millisecond (`dmftnet.physics.analysis.nonnegative`), a fifth of it where the
values are imaginary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import wofz

from dmftnet import checks
from dmftnet.errors import ConvergenceError
from dmftnet.physics.analysis.nonnegative import nonnegative
from dmftnet.physics.grids.matsubara import UNIVERSAL_SIZE, ImaginaryAxis
from dmftnet.physics.solvers.compiled import compiled

RESOLVED = 40
"""Nodes on each side of zero that the imaginary axis tells apart, about."""

MAX_STEPS = 100
"""Of the least squares, times the number of frequencies."""

SYMMETRIC = 1e-12
"""Share of the largest value up to which the real part is none: as many weights at e as at -e."""

NORM_WEIGHT = 0.1
"""Of the norm in the fit, whose values are of order one; the result is divided by its norm."""

FOUND, NOT_FINITE, NO_END, EMPTY = range(4)
"""What became of a fit."""

NO_MEASURE = {
    NOT_FINITE: "no positive measure of the self-energy was found: its values and weights must be "
    "finite",
    NO_END: "no positive measure of the self-energy was found: the least squares did not end; give "
    "fewer n_nodes, or values of order one",
    EMPTY: "the measure nearest to the self-energy is empty: its values have the wrong sign "
    "(Im Sigma <= 0 at positive frequencies)",
}


@dataclass(frozen=True)
class SelfEnergyMeasure:
    """Non-negative measures on fixed frequencies, and their values at Matsubara frequencies.

    Parameters
    ----------
    size, accuracy : float
        Of the axis, see `ImaginaryAxis.universal`.
    n_nodes : int
        Frequencies on each side of zero, and one at it; `RESOLVED` of them are looked at first.
    even : float, in T
        Below it spacings are even, above it they grow in proportion: the axis resolves nothing
        below pi T.
    """

    size: float = UNIVERSAL_SIZE
    accuracy: float = 1e-7
    n_nodes: int = 160
    even: float = 2.0

    def __post_init__(self):
        checks.integer("n_nodes", self.n_nodes, at_least=4, at_most=400)
        checks.number("even", self.even, above=0, at_most=100)

    @property
    def stride(self) -> int:
        """Of the nodes that are fitted first."""
        return max(1, self.n_nodes // RESOLVED)

    @cached_property
    def axis(self) -> ImaginaryAxis:
        """At ``beta = 1``: frequencies in units of T."""
        return ImaginaryAxis.universal(1.0, self.size, self.accuracy)

    @cached_property
    def nodes(self) -> np.ndarray:
        """(J,) frequencies in units of T, rising, symmetric, up to half the axis' reach."""
        end = np.arcsinh(self.size / 2 / self.even)
        positive = self.even * np.sinh(np.linspace(0, end, self.n_nodes + 1)[1:])
        return np.concatenate([-positive[::-1], [0.0], positive])

    @cached_property
    def kernel(self) -> np.ndarray:
        """(n_iw, J) complex128 ``1 / (i w_n - e)``, in units of 1/T."""
        return 1 / (1j * self.axis.omega_n[:, None] - self.nodes)

    def fit(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The measure nearest to ``t(i w_n)``.

        Parameters
        ----------
        values : (n_iw,) complex128, in 1/T
        weights : (n_iw,) float64
            Of errors; those that make an error of G uniform are ``|G|^2 U^2 n (1 - n)``.

        Returns
        -------
        (J,) float64, non-negative, of sum one

        Raises
        ------
        ConvergenceError
            If the values are not finite, or the least squares do not end.
        """
        found = self.unnormalised(values, weights)
        total = found.sum()
        if not total > 0:
            raise ConvergenceError(NO_MEASURE[EMPTY])
        return found / total

    def unnormalised(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(J,) float64, non-negative, before `fit` divides by its norm: the projection itself."""
        given = (np.asarray(values, dtype=np.complex128), np.asarray(weights, dtype=np.float64))
        found, status = nearest_measure(*given, self.kernel, self.stride)
        if status in (NOT_FINITE, NO_END):
            raise ConvergenceError(NO_MEASURE[status])
        return found

    def at(self, measure: np.ndarray, z: np.ndarray, beta: float) -> np.ndarray:
        """``t(z)`` of (..., J) measures at (n,) complex z, in D: (..., n), in 1/D."""
        return measure @ (1 / (np.asarray(z) - self.nodes[:, None] / beta))

    def smeared(self, measure: np.ndarray, omega: np.ndarray, beta: float) -> np.ndarray:
        """(n,) ``t(w + i0)``, in 1/D, each node a Gaussian as wide as `RESOLVED` nodes' spacing.

        What the imaginary axis says of the real one: bands as broad as it resolves them, no more.
        """
        nodes, width = self.nodes / beta, self.stride * np.gradient(self.nodes) / beta
        x = (np.asarray(omega)[:, None] - nodes) / (np.sqrt(2) * width)
        return -1j * np.sqrt(np.pi / 2) * (wofz(x) / width) @ measure


@compiled
def dressed_by(measure, kernel, omega_n, delta, level, static, weight):
    """Sigma of a measure, and G by Dyson's equation.

    Parameters
    ----------
    measure : (J,) float64
        Of sum one.
    kernel : (n_iw, J) complex128, in 1/T
    omega_n : (n_iw,) float64, in D
    delta : (n_iw,) complex128, in D
    level, static : float, in D
        eps_d and Hartree and Fock's part of Sigma.
    weight : float, in D T
        Of the dynamic part, ``U^2 n (1 - n)`` over the D T that the kernel has.

    Returns
    -------
    sigma, greens : (n_iw,) complex128, in D and 1/D
    """
    sigma, greens, found = np.empty_like(delta), np.empty_like(delta), np.flatnonzero(measure)
    for i in range(omega_n.size):
        real, imag = 0.0, 0.0
        for j in found:
            real += kernel[i, j].real * measure[j]
            imag += kernel[i, j].imag * measure[j]
        sigma[i] = complex(static + weight * real, weight * imag)
        greens[i] = 1 / (complex(-level, omega_n[i]) - delta[i] - sigma[i])
    return sigma, greens


@compiled
def nearest_measure(values, weights, kernel, stride):
    """The projection of `SelfEnergyMeasure.fit`, before the norm, and what became of it.

    Values without a real part, up to `SYMMETRIC`, have as much weight at e as at -e: half the
    unknowns, half the equations.

    Parameters
    ----------
    values : (n_iw,) complex128, in 1/T
    weights : (n_iw,) float64
    kernel : (n_iw, J) complex128, in 1/T
        Of nodes that are symmetric about zero, at the middle one.
    stride : int
        Every so many nodes are looked at first.

    Returns
    -------
    measure : (J,) float64
    status : int
        `FOUND`, `NOT_FINITE`, `NO_END`, `EMPTY`.
    """
    n_iw, n_nodes = kernel.shape
    real, size, largest = 0.0, 0.0, 1e-300
    for i in range(n_iw):
        if not (np.isfinite(values[i].real + values[i].imag) and np.isfinite(weights[i])):
            return np.zeros(n_nodes), NOT_FINITE
        real, size = max(real, abs(values[i].real)), max(size, abs(values[i]))
        largest = max(largest, abs(weights[i]))
    scale, middle = weights / largest, n_nodes // 2
    even = real <= SYMMETRIC * size
    first, parts = (middle, 1) if even else (0, 2)
    columns = np.empty((n_nodes - first, parts * n_iw + 1))
    goal = np.empty(parts * n_iw + 1)
    for i in range(n_iw):
        goal[i] = scale[i] * values[i].imag
        for j in range(first, n_nodes):
            columns[j - first, i] = scale[i] * kernel[i, j].imag
        if not even:
            goal[n_iw + i] = scale[i] * values[i].real
            for j in range(n_nodes):
                columns[j, n_iw + i] = scale[i] * kernel[i, j].real
    goal[-1] = NORM_WEIGHT
    columns[:, -1] = NORM_WEIGHT
    start = (middle - first) % stride
    found, ended = nonnegative(columns, goal, MAX_STEPS * n_nodes, stride, start)
    if not ended:
        return np.zeros(n_nodes), NO_END
    if even:
        measure = np.zeros(n_nodes)
        measure[middle:] = 0.5 * found
        measure[: middle + 1] += 0.5 * found[::-1]
    else:
        measure = found
    return measure, FOUND if measure.sum() > 0 else EMPTY

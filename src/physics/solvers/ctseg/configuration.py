"""Segments on the circle of imaginary time, and what they weigh.

A spin is occupied from a creator to the next annihilator: segments. Both kinds of operators are
kept sorted by time, each for itself; a segment across beta shows as a first annihilator before the
first creator. A spin without operators is empty or full. The weight is

``w = prod_s (-1)^(w_s k_s) det A_s  exp[-eps (L_up + L_dn) - U O]``,  ``A_ij = Delta(s_j - e_i)``

with creators s_j, annihilators e_i, k_s segments, w_s = 1 if one of them crosses beta, total
lengths L and overlap O of the two spins. It is positive for every Delta with a positive spectrum.

Reference: P. Werner et al., PRL 97, 076405 (2006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from dmftnet import checks
from dmftnet.physics.grids.matsubara import ImaginaryAxis, thermal_tau
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.solvers.compiled import compiled

STEP = 0.05
"""Spacing of the points of Delta(tau) over 1/w_max: the spline is then exact to 1e-7 for a level at
w_max, and far better for lower ones."""

MIN_POINTS = 400
ROOM = 16
"""Segments that there is room for at first; doubled whenever one spin has as many."""


@dataclass(eq=False)
class Configuration:
    """One chain's segments; changed in place by `dmftnet.physics.solvers.ctseg.moves`.

    Parameters
    ----------
    creators, annihilators : (2, room) float64, in 1/D
        Times of each spin, rising; the first `order` of them count.
    inverse : (2, room, room) float64
        ``A^-1`` of each spin, creators first.
    order : (2,) int64
        Numbers of segments.
    full : (2,) int64
        Whether a spin without operators is occupied.
    sign : (1,) float64
        Of the weight; 1 unless Delta is not that of a positive spectrum.
    """

    creators: np.ndarray
    annihilators: np.ndarray
    inverse: np.ndarray
    order: np.ndarray
    full: np.ndarray
    sign: np.ndarray

    @classmethod
    def empty(cls, room: int = ROOM) -> Configuration:
        """No electron."""
        return cls(
            np.zeros((2, room)),
            np.zeros((2, room)),
            np.zeros((2, room, room)),
            np.zeros(2, dtype=np.int64),
            np.zeros(2, dtype=np.int64),
            np.ones(1),
        )

    @property
    def room(self) -> int:
        """Segments that there is room for."""
        return self.creators.shape[1]

    def enlarge(self) -> None:
        """Twice the room."""
        for name, axes in (("creators", 1), ("annihilators", 1), ("inverse", 2)):
            values = getattr(self, name)
            larger = [(0, 0)] + [(0, values.shape[1])] * axes
            setattr(self, name, np.pad(values, larger))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All of it, in the order in which the compiled functions take it."""
        return (
            self.creators,
            self.annihilators,
            self.inverse,
            self.order,
            self.full,
            self.sign,
        )


def bath_table(hybridization: Hybridization, axis: ImaginaryAxis, floor: float = 0.0) -> np.ndarray:
    """(n, 4) coefficients of a cubic spline of ``-Delta(beta - l)``, l from 0 to beta, in D^2.

    The floor is added to it.

    Exact at its points for bath levels; else through the intermediate representation.
    """
    n = max(MIN_POINTS, int(np.ceil(axis.beta * axis.w_max / STEP)))
    checks.memory(
        f"beta = {axis.beta:g} and w_max = {axis.w_max:g}: Delta(tau)",
        200.0 * n,
        checks.MAX_MEMORY,
        "the limit",
        "take a higher temperature",
    )
    length = np.linspace(0.0, axis.beta, n + 1)
    if isinstance(hybridization, PoleHybridization):
        weights = np.abs(hybridization.couplings[:, 0]) ** 2
        values = thermal_tau(hybridization.energies, weights, axis.beta - length, axis.beta)
    else:
        coefficients = axis.to_coefficients(hybridization.at(1j * axis.omega_n)[0])
        values = axis.at_tau(coefficients, axis.beta - length)
    return np.ascontiguousarray(CubicSpline(length, floor - values).c.T)


@compiled
def bath(length, beta, table):
    """``A`` at ``annihilator - creator`` in (-beta, beta): antiperiodic; in D^2."""
    sign = 1.0
    if length < 0:
        length += beta
        sign = -1.0
    step = beta / table.shape[0]
    cell = min(int(length / step), table.shape[0] - 1)
    t = length - cell * step
    return sign * (
        ((table[cell, 0] * t + table[cell, 1]) * t + table[cell, 2]) * t + table[cell, 3]
    )


@compiled
def count_below(times, k, tau):
    """Number of the k first times below tau."""
    low, high = 0, k
    while low < high:
        middle = (low + high) // 2
        if times[middle] < tau:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def crosses(creators, annihilators, k):
    """1 if a segment crosses beta, else 0."""
    return 1 if k > 0 and annihilators[0] < creators[0] else 0


@compiled
def occupied(creators, annihilators, k, full, tau):
    """1 where the spin is occupied at tau in [0, beta), else 0."""
    if k == 0:
        return full
    return (
        crosses(creators, annihilators, k)
        + count_below(creators, k, tau)
        - count_below(annihilators, k, tau)
    )


@compiled
def occupied_until(creators, annihilators, k, full, tau):
    """Time that the spin is occupied between 0 and tau <= beta."""
    if k == 0:
        return full * tau
    total, inside = 0.0, crosses(creators, annihilators, k)
    for i in range(k):
        if annihilators[i] >= tau:
            break
        total += annihilators[i]
        inside -= 1
    for j in range(k):
        if creators[j] >= tau:
            break
        total -= creators[j]
        inside += 1
    return total + inside * tau


@compiled
def occupied_during(creators, annihilators, k, full, tau, length, beta):
    """Time that the spin is occupied between tau in [0, beta) and ``tau + length``, around beta."""
    end = tau + length
    before = occupied_until(creators, annihilators, k, full, tau)
    if end <= beta:
        return occupied_until(creators, annihilators, k, full, end) - before
    whole = occupied_until(creators, annihilators, k, full, beta)
    return whole - before + occupied_until(creators, annihilators, k, full, end - beta)


@compiled
def overlap(creators, annihilators, order, full, beta):
    """Time that both spins are occupied."""
    if order[0] == 0:
        return full[0] * occupied_until(creators[1], annihilators[1], order[1], full[1], beta)
    total, k = 0.0, order[0]
    shift = crosses(creators[0], annihilators[0], k)
    for j in range(k):
        start, end = creators[0, j], annihilators[0, (j + shift) % k]
        length = end - start if end > start else end - start + beta
        total += occupied_during(
            creators[1], annihilators[1], order[1], full[1], start, length, beta
        )
    return total


@compiled
def matrix_of(creators, annihilators, k, beta, table):
    """(k, k) matrix A of one spin, annihilators first."""
    matrix = np.empty((k, k))
    for i in range(k):
        for j in range(k):
            matrix[i, j] = bath(annihilators[i] - creators[j], beta, table)
    return matrix

"""``-Im Sigma / pi`` of poles as a curve that keeps the weight of every pole of Sigma.

Where G has a gap, Sigma has a pole at each zero of Re G in it, and one of any width near it. The
symmetric improved estimator at the points of a grid misses what is narrower than a cell, all of it
in a Mott insulator. Here the zeros of Re G are looked for: around each the estimator is integrated
on points as dense as the pole is narrow, and one without width contributes its residue
``-F^2 / (dG/dw)``. The integral of the curve is then ``U^2 n_s (1 - n_s)``, n_s the density of one
spin, whatever the grid.

Cost: one evaluation of the poles on the grid and some hundred points a zero.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.analysis.self_energy import broadened_responses
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.poles import ResponsePoles

WIDE, NARROW = 3.0, 1e-3
"""Half widths of a pole, in cells: above the first the grid resolves it, below the second it has
none."""

N_POINTS, REACH = 121, 4.0
"""Around a pole: points, geometric in the distance, and cells to either side."""

SECTIONS, PASSES = 33, 3
"""Of the cell in which Re G changes sign: 32 parts, three times over."""


def self_energy_density(
    grid: FrequencyGrid, poles: ResponsePoles, eta: float, slope: float
) -> np.ndarray:
    """``-Im Sigma / pi`` on a grid, its integral kept; by the improved estimator.

    Parameters
    ----------
    eta, slope : float
        Width ``eta + slope |E|`` of the poles' Gaussians, in D.

    Returns
    -------
    (n_w,) float64, in D, non-negative
    """
    omega, width = grid.omega, np.diff(grid.omega)

    def responses(points: np.ndarray):
        return broadened_responses(poles, points, eta, slope)

    def density(points: np.ndarray) -> np.ndarray:
        G, F, I = responses(points)
        return np.maximum((F**2 / G - I).imag / np.pi, 0.0)

    real = responses(omega)[0].real
    extra, narrow = [], []
    for cell in np.flatnonzero((real[:-1] > 0) & (real[1:] <= 0)):
        low, high = omega[cell], omega[cell + 1]
        for _ in range(PASSES):
            between = np.linspace(low, high, SECTIONS)
            first = int(np.argmax(responses(between[1:])[0].real <= 0))
            low, high = between[first : first + 2]
        zero, step = 0.5 * (low + high), 1e-3 * width[cell]
        G, F, _ = responses(np.array([zero - step, zero, zero + step]))
        fall = (G[0] - G[2]).real / (2 * step)
        if fall <= 0:
            continue
        half = -G[1].imag / fall
        if half < NARROW * width[cell]:
            narrow.append((zero, (F[1] ** 2).real / fall))
        elif half < WIDE * width[cell]:
            last = np.arcsinh(REACH * width[cell] / half)
            extra.append(zero + half * np.sinh(np.linspace(-last, last, N_POINTS)))
    points = np.unique(np.concatenate([omega, *extra]))
    points = points[(points >= omega[0]) & (points <= omega[-1])]
    fine = FrequencyGrid(points)
    weights = grid.shared(points, fine.weights * density(points))
    for zero, residue in narrow:
        weights += grid.shared(np.array([zero]), np.array([max(residue, 0.0)]))
    return weights / grid.weights

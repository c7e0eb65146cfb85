"""Numbers that physicists read off a solution: filling, double occupancy, gap."""

from __future__ import annotations

import numpy as np

from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem


def filling_from_spectrum(grid: FrequencyGrid, spectrum: np.ndarray) -> float:
    """Occupation of both spins, ``2 integral_{w<0} A``, for one orbital's (n_w,) spectrum."""
    return float(2 * grid.cumulative(spectrum, np.zeros(1))[0])


def double_occupancy_from_curves(problem: ImpurityProblem, spectrum: np.ndarray) -> float:
    """``<n_up n_dn> = (1/U) integral_{w<0} -Im F/pi`` with ``F = (w - eps_d - Delta) G - 1``.

    At U = 0 the spins are independent and it is ``n_s^2``.
    """
    values = []
    for orb in range(problem.n_orb):
        A = spectrum[orb]
        if problem.U == 0:
            values.append((filling_from_spectrum(problem.grid, A) / 2) ** 2)
            continue
        G = problem.grid.greens_function(A)
        delta = problem.grid.greens_function(problem.spectrum[orb])
        F = (problem.grid.omega - problem.eps_d[orb] - delta) * G - 1
        occupied = problem.grid.cumulative(-F.imag / np.pi, np.zeros(1))[0]
        values.append(occupied / problem.U)
    return float(np.mean(values))


def gap_edges(
    grid: FrequencyGrid, spectrum: np.ndarray, threshold: float = 0.01
) -> tuple[float, float] | None:
    """Interval around w = 0 (in D) where A stays below `threshold` (in 1/D); None for a metal."""
    if grid.at_zero(spectrum) >= threshold:
        return None
    above = np.flatnonzero(spectrum >= threshold)
    left, right = above[grid.omega[above] < 0], above[grid.omega[above] > 0]
    low = grid.omega[left[-1]] if left.size else grid.omega[0]
    high = grid.omega[right[0]] if right.size else grid.omega[-1]
    return float(low), float(high)


def gap(grid: FrequencyGrid, spectrum: np.ndarray, threshold: float = 0.01) -> float:
    """Width in D of the interval that `gap_edges` finds; 0 for a metal."""
    edges = gap_edges(grid, spectrum, threshold)
    return 0.0 if edges is None else edges[1] - edges[0]

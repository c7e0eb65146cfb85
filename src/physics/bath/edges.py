"""Where bath intervals begin and end, and the integrals between.

The edges are equal, or finer near zero (sinh, geometric), where a Kondo resonance needs them. The
window follows the bulk of the hybridization's weight on either side of zero; what lies beyond it
goes to the outermost interval, so that the total weight is kept exactly.
"""

from __future__ import annotations

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid

SPACINGS = ("equal", "sinh", "geometric")


def interval_edges(
    n_bath: int,
    window: tuple[float, float],
    spacing: str = "sinh",
    stretch: float = 4.5,
    shift: float = 0.0,
) -> np.ndarray:
    """Edges of the bath intervals.

    Parameters
    ----------
    n_bath : int
    window : (low, high) float, in D
        ``low < 0 < high``.
    spacing : {"equal", "sinh", "geometric"}
    stretch : float
        For "sinh" the argument at the window's end, ``w = W sinh(stretch x) / sinh(stretch)``; for
        "geometric" the natural logarithm of the ratio of the largest to the smallest edge.
    shift : float in [0, 1)
        Moves the edges outward on either side of zero, at the window's ends by this fraction of an
        interval, so that baths of several shifts interleave and a symmetric one stays symmetric.

    Returns
    -------
    (n_bath + 1,) float64, in D, increasing
    """
    low, high = window
    if not low < 0 < high:
        raise InvalidProblemError(f"bath window {window} must contain zero in its inside")
    if n_bath < 2:
        raise InvalidProblemError(f"n_bath = {n_bath}: a bath needs at least 2 sites")
    if not 0 <= shift < 1:
        raise InvalidProblemError(f"bath shift = {shift}: it must lie in [0, 1)")
    x, step = 2 * np.arange(n_bath + 1) / n_bath - 1, 2 / n_bath
    if spacing == "equal":
        edges = low + (high - low) * (x + 1) / 2
        factor = 1 + shift * step
    elif spacing in ("sinh", "geometric"):
        side = np.where(x < 0, -low, high)
        if spacing == "sinh":
            shape = np.sinh(stretch * x) / np.sinh(stretch)
            factor = np.sinh(stretch * (1 + shift * step)) / np.sinh(stretch)
        else:
            inner = 1.0 / n_bath  # half an interval: an odd bath has one interval around zero
            shape = np.sign(x) * np.exp(stretch * (np.abs(x) - 1) / (1 - inner))
            shape[np.abs(x) < 1e-12] = 0.0
            factor = np.exp(stretch * shift * step / (1 - inner))
        edges = side * shape
    else:
        raise InvalidProblemError(
            f"bath spacing '{spacing}' is unknown; use equal, sinh or geometric"
        )
    edges[0], edges[-1] = low, high
    return factor * edges


def weight_window(
    grid: FrequencyGrid, hybridization: np.ndarray, quantile: float = 0.999
) -> tuple[float, float]:
    """Window that leaves ``(1 - quantile)/2`` of the weight outside on either side of zero.

    Between the points of the grid too: edges that snap to them make a step of every small change,
    and a DMFT loop may cycle over it.
    """
    tail = 0.5 * (1 - quantile) * float(grid.integrate(hybridization))
    low = _quantile(grid, hybridization, tail)
    mirror = FrequencyGrid(-grid.omega[::-1])
    high = -_quantile(mirror, hybridization[::-1], tail)  # the same from the right: keeps symmetry
    floor = 0.05 * max(abs(low), abs(high), 1e-3)  # a bath on one side of zero only
    return min(float(low), -floor), max(float(high), floor)


def _quantile(grid: FrequencyGrid, values: np.ndarray, tail: float) -> float:
    """Where the weight below is `tail`; its growth taken linear in the cell."""
    below = grid.cumulative(values, grid.omega)
    k = max(int(np.argmax(below >= tail)), 1)
    share = (tail - below[k - 1]) / max(below[k] - below[k - 1], 1e-300)
    return float(grid.omega[k - 1] + np.clip(share, 0, 1) * (grid.omega[k] - grid.omega[k - 1]))


def interval_integrals(
    grid: FrequencyGrid, values: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and first moment of a curve in each interval, the outermost reaching to its ends.

    Parameters
    ----------
    values : (n_w,) float64, in D
    edges : (n + 1,) float64, in D

    Returns
    -------
    two (n,) float64, in D^2 and D^3
    """
    cuts = np.concatenate([[grid.omega[0]], edges[1:-1], [grid.omega[-1]]])
    weight = np.diff(grid.cumulative(values, cuts))
    return weight, np.diff(_cumulative_first_moment(grid, values, cuts))


def _cumulative_first_moment(grid: FrequencyGrid, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """``integral_{-inf}^{at} E f(E) dE`` of the piecewise-linear curve, exactly."""
    nodes = np.unique(np.concatenate([grid.omega, at]))
    f = grid.interpolate(values, nodes)
    h, f0, f1, x0 = np.diff(nodes), f[:-1], f[1:], nodes[:-1]
    cell = x0 * h * (f0 + f1) / 2 + h**2 * (f0 / 6 + f1 / 3)
    running = np.concatenate([[0.0], np.cumsum(cell)])
    return running[np.searchsorted(nodes, at)]

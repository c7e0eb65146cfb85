"""Between a problem and the network that solves it: unit of energy, grid and resolution.

A hybridization is smoothed with the resolution of the training data and read off at the network's
points. A network of the self-energy sees it in units of its bath's D first; what it puts out is
linear between its points, on the problem's grid as on its own.

The smoothing is a banded matrix, made once a grid: at a millisecond a solve the time to read a
dense one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.physics.analysis.causal_dyson import CausalDyson
from dmftnet.physics.analysis.resolution import gaussian_resolution, scaled_to
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import Banded
from dmftnet.physics.impurity.problem import ImpurityProblem

LARGEST, TINY = 50.0, 1e-12
"""Of a bath that is all but absent the unit of energy is the levels' over this, or in D."""

REFINED = 3
"""Points of a loop's grid for each of the network's, where A follows from the self-energy."""

EDGE = 1e-12
"""Of the ends of a grid, within which a frequency is on it."""


def working_grid(model: SpectralModel) -> FrequencyGrid:
    """The natural grid of a loop: the network's own, or a finer one for a self-energy."""
    own = model.frequency_grid
    if model.corrects == "spectrum":
        return own
    w_min = float(np.abs(own.omega).min())
    return FrequencyGrid.geometric(w_min / REFINED, float(own.omega[-1]), REFINED * own.n_w)


class View:
    """How a network sees problems.

    Parameters
    ----------
    model : SpectralModel
    resolution : (eta, slope), in D
        Gaussian width ``eta + slope |w|`` of the training data.

    Attributes
    ----------
    grid, own : FrequencyGrid
        Of a loop (`working_grid`), and the network's.
    """

    def __init__(self, model: SpectralModel, resolution: Sequence[float]):
        self.grid, self.own = working_grid(model), model.frequency_grid
        self.resolution = tuple(resolution)
        self.in_own_units = model.corrects == "self_energy"

    def unit(self, problem: ImpurityProblem) -> float:
        """D of the problem's bath where the network sees problems in units of it, else 1."""
        if not self.in_own_units:
            return 1.0
        weight = float(problem.grid.integrate(problem.spectrum[0]))
        least = (problem.U + abs(float(problem.eps_d[0]))) / LARGEST
        return max(2 * weight**0.5, least, TINY)

    def hybridization(self, problem: ImpurityProblem, unit: float) -> np.ndarray:
        """(n_w,) hybridization on the network's grid, in units of `unit`."""
        grid, curve = problem.grid, problem.spectrum[0]
        weight = grid.integrate(curve)
        if self.in_own_units:
            weight = weight / unit**2
            grid, curve = self.grid, _interpolated(grid, curve, unit * self.grid.omega)
        elif grid == self.own:
            return curve
        curve = smoothing(grid, self.own, self.resolution)(curve[None])[0]
        return scaled_to(self.own, curve, weight)

    def answer(self, curve: np.ndarray, grid: FrequencyGrid, unit: float = 1.0) -> np.ndarray:
        """(n_w,) what the network puts out -> the same on the problem's grid, not scaled."""
        return _interpolated(self.own, curve, grid.omega / unit)


def _interpolated(grid: FrequencyGrid, curve: np.ndarray, at: np.ndarray) -> np.ndarray:
    """`FrequencyGrid.interpolate` of one curve, in a tenth of the time.

    The ends of the grid are inside, whatever the rounding of a unit makes of them.
    """
    first, last = grid.omega[[0, -1]] * (1 + EDGE)
    return np.where((first <= at) & (at <= last), np.interp(at, grid.omega, curve), 0.0)


@lru_cache(maxsize=8)
def smoothing(fine: FrequencyGrid, own: FrequencyGrid, resolution: tuple[float, float]) -> Banded:
    """(n_w, n_fine) matrix that smooths a curve and reads it off at the network's points."""
    return Banded(fine.interpolate(gaussian_resolution(fine, *resolution).T, own.omega).T)


@lru_cache(maxsize=8)
def dyson_on(grid: FrequencyGrid) -> CausalDyson:
    """Dyson's equation on a grid, made once."""
    return CausalDyson(grid)

"""The Bethe lattice: its semicircle in closed form.

``Delta = (D^2/4) G``: the new hybridization is the impurity's own spectrum, which is non-negative
whatever the solver and asks for no self-energy.
"""

from __future__ import annotations

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution
from dmftnet.physics.lattices.protocol import LocalLattice, lattice_argument, same_kind


class Bethe(LocalLattice):
    """Bethe lattice of infinite coordination: ``rho(e) = 2/(pi D^2) sqrt(D^2 - e^2)``.

    Parameters
    ----------
    half_bandwidth : float
        D, the unit of energy everywhere else.
    """

    name = "bethe"
    particle_hole_symmetric = True

    def __init__(self, half_bandwidth: float = 1.0):
        self.half_bandwidth = checks.number(
            "lattice.half_bandwidth", half_bandwidth, above=0, at_most=1e3
        )

    def local_greens(self, grid: FrequencyGrid, eps_d: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """``G = 2 / (z + sqrt(z - D) sqrt(z + D))``, (n_orb, n_w) complex128."""
        z, D = lattice_argument(grid, eps_d, sigma), self.half_bandwidth
        return 2 / (z + np.sqrt(z - D) * np.sqrt(z + D))

    def hybridization(self, problem: ImpurityProblem, solution: ImpuritySolution) -> Hybridization:
        """``(D^2/4) G``, at self-consistency the same as through the self-energy."""
        return same_kind(
            problem.hybridization,
            spectrum=lambda: self.half_bandwidth**2 / 4 * solution.spectrum(),
            matsubara=lambda axis: self.half_bandwidth**2 / 4 * solution.matsubara_greens(axis),
        )

    def bare_hybridization(self, grid: FrequencyGrid, site: int = 0) -> np.ndarray:
        reach = np.abs(grid.omega[[0, -1]]).min()
        if self.half_bandwidth > reach:
            raise InvalidProblemError(
                f"lattice.half_bandwidth = {self.half_bandwidth:g}: the band reaches beyond the "
                f"grid, which ends at {reach:g}; raise grid.w_max"
            )
        return semicircle(grid, 0.0, self.half_bandwidth, self.half_bandwidth**2 / 4)

    def density_of_states(self) -> tuple[np.ndarray, np.ndarray]:
        x, D = -np.cos(np.linspace(0.0, np.pi, 801)), self.half_bandwidth
        return D * x, 2 / (np.pi * D) * np.sqrt(np.maximum(1 - x**2, 0.0))


def semicircle(grid: FrequencyGrid, centre: float, half_width: float, weight: float) -> np.ndarray:
    """(n_w,) semi-elliptic band of the given weight, centre and half-width (in D) on the grid."""
    x = (grid.omega - centre) / half_width
    band = np.sqrt(np.maximum(1 - x**2, 0.0))
    norm = grid.integrate(band)
    if norm == 0:
        raise InvalidProblemError(
            f"a band at {centre:.4g} of half-width {half_width:.4g} falls between the points of "
            f"the grid or outside [{grid.omega[0]:.4g}, {grid.omega[-1]:.4g}]; widen or refine it"
        )
    return weight / norm * band

"""No lattice: the hybridization stays as it is, and the loop is one impurity solve."""

from __future__ import annotations

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.lattices.protocol import LocalLattice


class Fixed(LocalLattice):
    """No lattice: the hybridization of the problem stays, one impurity solve is the whole loop."""

    name = "fixed"
    self_consistent = False
    particle_hole_symmetric = True  # adds no asymmetry of its own

    def local_greens(self, grid: FrequencyGrid, eps_d: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        raise InvalidProblemError(
            "lattice 'fixed' has no local Green's function; choose bethe, square, cubic or dos"
        )

    def hybridization(self, problem: ImpurityProblem, solution: ImpuritySolution) -> Hybridization:
        return problem.hybridization

    def bare_hybridization(self, grid: FrequencyGrid, site: int = 0) -> np.ndarray:
        """The semicircle ``Delta = (D^2/4) G_semicircle`` with D = 1."""
        return semicircle(grid, 0.0, 1.0, 0.25)

    def density_of_states(self) -> tuple[np.ndarray, np.ndarray]:
        raise InvalidProblemError(
            "lattice 'fixed' has no density of states; choose bethe, square, cubic or dos"
        )

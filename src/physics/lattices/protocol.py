"""What the DMFT loop asks of a lattice.

A lattice enters DMFT through its density of states rho alone (one orbital, or degenerate ones):

``G_loc(w) = integral rho(e) / (z - e) de``, ``z = w - eps_d - Sigma(w)``, ``Delta = z - 1/G_loc``.

Energies are in units of the half-bandwidth D = 1 unless said otherwise; docs/physics, model.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution

_IMAG_FLOOR = 1e-12  # keeps a logarithm at a band edge finite and on its branch, in D


@runtime_checkable
class Lattice(Protocol):
    """What the DMFT loop asks of a lattice.

    Attributes
    ----------
    name : str
    self_consistent : bool
        False where the hybridization never changes, so that one solve is the whole loop.
    particle_hole_symmetric : bool
        Whether ``rho(-e) = rho(e)``, so that ``eps_d = -U/2`` is half filling.
    """

    name: str
    self_consistent: bool
    particle_hole_symmetric: bool

    def local_greens(self, grid: FrequencyGrid, eps_d: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """(n_orb, n_w) complex retarded ``G_loc`` of the self-energy ``sigma (n_orb, n_w)``."""

    def hybridization(self, problem: ImpurityProblem, solution: ImpuritySolution) -> np.ndarray:
        """(n_orb, n_w) new hybridization spectrum ``-Im Delta / pi >= 0`` after one solve."""

    def bare_hybridization(self, grid: FrequencyGrid) -> np.ndarray:
        """(n_w,) hybridization spectrum of the non-interacting lattice, level at zero energy."""

    def density_of_states(self) -> tuple[np.ndarray, np.ndarray]:
        """(n_e,) energies in D and (n_e,) density of states in 1/D, linear between them."""


def lattice_argument(grid: FrequencyGrid, eps_d: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """``z = w - eps_d - Sigma`` on the upper side of the real axis, (n_orb, n_w) complex128."""
    z = grid.omega - np.atleast_1d(eps_d)[:, None] - sigma
    return z.real + 1j * np.maximum(z.imag, _IMAG_FLOOR)

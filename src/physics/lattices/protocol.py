"""What the DMFT loop asks of a lattice.

After each solve a lattice makes new hybridizations from the solutions of all its inequivalent
sites. Where a site enters through a density of states rho alone (`LocalLattice`),

``G_loc(z) = integral rho(e) / (z - eps - Sigma(z) - e) de``, ``Delta = z - eps - Sigma - 1/G_loc``,

matrices in the orbitals where these mix; rho is the same for all of them. It is evaluated where the
problem's hybridization lives: on the real axis, or at Matsubara frequencies.

Energies are in units of the half-bandwidth D = 1 unless said otherwise; docs/physics, model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization

T = TypeVar("T")

_IMAG_FLOOR = 1e-12  # keeps a logarithm at a band edge finite and on its branch, in D


@runtime_checkable
class Lattice(Protocol):
    """What the DMFT loop asks of a lattice.

    Attributes
    ----------
    name : str
    n_sites : int
        Inequivalent sites, each with an impurity problem.
    self_consistent : bool
        False where the hybridization never changes, so that one solve is the whole loop.
    particle_hole_symmetric : bool
        Whether ``rho(-e) = rho(e)``, so that ``eps_d = -U/2`` is half filling.
    """

    @property
    def name(self) -> str: ...

    @property
    def n_sites(self) -> int: ...

    @property
    def self_consistent(self) -> bool: ...

    @property
    def particle_hole_symmetric(self) -> bool: ...

    def update(
        self, problems: Sequence[ImpurityProblem], solutions: Sequence[ImpuritySolution]
    ) -> list[Hybridization]:
        """New hybridizations of all sites, of the kind and on the axis of the problems'."""

    def bare_hybridization(self, grid: FrequencyGrid, site: int = 0) -> np.ndarray:
        """(n_w,) hybridization spectrum of the non-interacting lattice, levels at zero energy."""

    def local_levels(self, site: int = 0) -> np.ndarray | float:
        """(n_orb, n_orb) part of a site's one-body matrix that the lattice brings, in D; or 0."""


class LocalLattice(ABC):
    """Sites that see the lattice through one density of states, each by itself.

    Several sites in one loop are then independent lattices that are solved together.
    """

    name: str
    n_sites = 1
    self_consistent = True

    @property
    @abstractmethod
    def particle_hole_symmetric(self) -> bool:
        """See `Lattice`."""

    def update(
        self, problems: Sequence[ImpurityProblem], solutions: Sequence[ImpuritySolution]
    ) -> list[Hybridization]:
        """See `Lattice`."""
        return [self.hybridization(p, s) for p, s in zip(problems, solutions, strict=True)]

    def local_levels(self, site: int = 0) -> float:
        """None: its density of states is centred."""
        return 0.0

    @abstractmethod
    def hybridization(self, problem: ImpurityProblem, solution: ImpuritySolution) -> Hybridization:
        """That of one site after a solve."""

    @abstractmethod
    def local_greens(self, grid: FrequencyGrid, eps_d: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """(n_orb, n_w) complex retarded ``G_loc`` of the self-energy ``sigma (n_orb, n_w)``."""

    @abstractmethod
    def bare_hybridization(self, grid: FrequencyGrid, site: int = 0) -> np.ndarray:
        """See `Lattice`."""

    @abstractmethod
    def density_of_states(self) -> tuple[np.ndarray, np.ndarray]:
        """(n_e,) energies in D and (n_e,) density of states in 1/D, linear between them."""


def lattice_argument(grid: FrequencyGrid, eps_d: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """``z = w - eps_d - Sigma`` on the upper side of the real axis, (n_orb, n_w) complex128."""
    z = grid.omega - np.atleast_1d(eps_d)[:, None] - sigma
    return z.real + 1j * np.maximum(z.imag, _IMAG_FLOOR)


def site_argument(problem: ImpurityProblem, solution: ImpuritySolution) -> np.ndarray:
    """``z - eps - Sigma(z)`` at the frequencies of the problem's hybridization, in D.

    Returns
    -------
    (n_orb, n) or, where orbitals mix, (n_orb, n_orb, n) complex128
    """

    def real(grid: FrequencyGrid) -> np.ndarray:
        sigma = solution.self_energy()
        if sigma.ndim == 2:
            return lattice_argument(grid, problem.eps_d, sigma)
        return _free(problem, grid.omega + 1j * _IMAG_FLOOR, sigma)

    def imaginary(axis: ImaginaryAxis) -> np.ndarray:
        return _free(problem, 1j * axis.omega_n, solution.matsubara_self_energy(axis))

    return on_axis(problem.hybridization, real, imaginary)


def _free(problem: ImpurityProblem, z: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    if sigma.ndim == 2:
        return z - problem.eps_d[:, None] - sigma
    return z * np.eye(problem.n_orb)[:, :, None] - problem.one_body[:, :, None] - sigma


def on_axis(
    hybridization: Hybridization,
    real: Callable[[FrequencyGrid], T],
    imaginary: Callable[[ImaginaryAxis], T],
) -> T:
    """What holds where a hybridization lives: on its real-frequency grid, or on its axis."""
    if isinstance(hybridization, SpectralHybridization):
        return real(hybridization.grid)
    if isinstance(hybridization, MatsubaraHybridization):
        return imaginary(hybridization.axis)
    raise InvalidProblemError(
        "a DMFT loop needs hybridizations as curves, on the real or the imaginary axis; this one "
        "is given as bath levels"
    )


def same_kind(
    hybridization: Hybridization,
    spectrum: Callable[[], np.ndarray],
    matsubara: Callable[[ImaginaryAxis], np.ndarray],
) -> Hybridization:
    """A hybridization of the same kind, of a new spectrum or of new values, whichever it needs."""
    return on_axis(
        hybridization,
        lambda grid: SpectralHybridization(grid, spectrum()),
        lambda axis: MatsubaraHybridization(axis, matsubara(axis)),
    )

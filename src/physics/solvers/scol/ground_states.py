"""Ground states that operator strings act on, and where they come from.

An `OperatorState` answers what operator Lanczos asks of a ground state: mean values, and the
Hamiltonian projected onto its images under a list of strings. A state known as a vector
(`ExplicitState`) orthonormalises the images themselves; one known determinant by determinant, as
neural states are, has `Amplitudes` and is sampled
(`dmftnet.physics.solvers.scol.sampled_states.SampledState`), so that it is a `ResampledState`.

A `GroundStates` finds them: one state, or several of weight each where the ground state is
degenerate over several sectors. Degenerate states of one sector make one `ExplicitState`: its mean
values are those of the density matrix, whatever the basis of the degenerate level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeGuard, runtime_checkable

import numpy as np
import scipy.sparse as sp

from dmftnet import checks
from dmftnet.physics.fermions.action import expectation, image, target_sector
from dmftnet.physics.fermions.kanamori import KanamoriCluster, Sector
from dmftnet.physics.fermions.operators import Operator, Term
from dmftnet.physics.solvers.krylov.ed import MAX_ORBITALS, check_sectors
from dmftnet.physics.solvers.krylov.ensemble import ensemble
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity, ImpurityChains
from dmftnet.physics.solvers.scol.projection import Projection


class OperatorState(Protocol):
    """A ground state of one sector.

    Attributes
    ----------
    sector : (n_up, n_dn)
    weight : float
        Share of the ground level, the mirror image in spin included.
    energy : float, in D
    variance : float, in D^2
        ``<H^2> - <H>^2``; zero of an eigenstate.
    """

    @property
    def sector(self) -> Sector: ...

    @property
    def weight(self) -> float: ...

    @property
    def energy(self) -> float: ...

    @property
    def variance(self) -> float: ...

    def mean(self, operator: Operator) -> complex:
        """``<O>``."""

    def projection(self, strings: Sequence[Term], threshold: float) -> Projection | None:
        """The span of ``O_j |gs>``, all in one sector; None where there is no such sector."""


class Amplitudes(Protocol):
    """A real state of one sector, known determinant by determinant.

    A determinant is an integer whose bit `mode(site, spin, n_sites)` says whether that mode is
    filled, its creators in rising order of the mode, as in
    `dmftnet.physics.fermions.connections`; at most 31 sites.

    Attributes
    ----------
    cluster : KanamoriCluster
        Its Hamiltonian.
    sector : (n_up, n_dn)
    """

    @property
    def cluster(self) -> KanamoriCluster: ...

    @property
    def sector(self) -> Sector: ...

    def amplitudes(self, codes: np.ndarray) -> np.ndarray:
        """(n,) float64 ``<s|psi>`` of (n,) int64 determinants of the sector, psi of norm one."""

    def draw(self, n_samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Independent draws from ``|<s|psi>|^2``.

        Returns
        -------
        codes : (n_distinct,) int64
            Each determinant once.
        counts : (n_distinct,) int64
            How often it was drawn; `n_samples` in all.
        """


class ResampledState(OperatorState, Protocol):
    """A ground state with noise, from blocks of samples.

    Attributes
    ----------
    n_blocks : int
    energy_error : float, in D
        Standard error of the energy.
    """

    @property
    def n_blocks(self) -> int: ...

    @property
    def energy_error(self) -> float: ...

    def without(self, block: int) -> OperatorState:
        """The same from all blocks but one."""


def is_resampled(state: OperatorState) -> TypeGuard[ResampledState]:
    """Whether a ground state has noise; asks for no number, which may be dear."""
    return hasattr(state, "without")


@runtime_checkable
class GroundStates(Protocol):
    """A way to find ground states.

    Attributes
    ----------
    orbitals : int
        Largest number on the impurity.
    """

    @property
    def orbitals(self) -> int: ...

    def check(self, n_sites: int) -> None:
        """Raise SpaceTooLargeError if so many spatial orbitals are beyond it."""

    def find(self, impurity: DiscreteImpurity) -> tuple[ImpurityChains, Sequence[OperatorState]]:
        """A basis, and the ground states in it; their weights add up to one."""


@dataclass(frozen=True, eq=False)
class ExplicitState:
    """Ground states of one sector as vectors.

    Parameters
    ----------
    cluster : KanamoriCluster
    sector : (n_up, n_dn)
    vectors : (n, k)
        Orthonormal, as in `KanamoriCluster`.
    energies : (k,) float64, in D
    weights : (k,) float64
    max_memory : float, in GiB
        Of the images.
    """

    cluster: KanamoriCluster
    sector: Sector
    vectors: np.ndarray
    energies: np.ndarray
    weights: np.ndarray
    max_memory: float = checks.MAX_MEMORY
    _kept: dict[Sector, sp.csr_matrix] = field(default_factory=dict, init=False, repr=False)

    @property
    def weight(self) -> float:
        return float(self.weights.sum())

    @property
    def energy(self) -> float:
        return float(self.energies @ self.weights) / self.weight

    @property
    def variance(self) -> float:
        H = self._hamiltonian(self.sector)
        residual = H @ self.vectors - self.vectors * self.energies
        squares = (np.abs(residual) ** 2).sum(axis=0)
        return float(squares @ self.weights) / self.weight

    def mean(self, operator: Operator) -> complex:
        values = expectation(operator, self.sector, self.cluster.n_sites, self.vectors)
        return complex(values @ self.weights) / self.weight

    def projection(self, strings: Sequence[Term], threshold: float) -> Projection | None:
        n = self.cluster.n_sites
        target = target_sector(strings[0], self.sector, n)
        if not all(0 <= electrons <= n for electrons in target):
            return None
        n_states = self.vectors.shape[1]
        size = self.cluster.dimension(target)
        checks.memory(  # the images, their basis, and H on it
            f"solver.depth: {len(strings)} strings on {size * n_states:,} determinants",
            4 * self.vectors.itemsize * size * n_states * len(strings),
            self.max_memory,
            "solver.max_memory",
            "take a smaller depth or max_length, or fewer bath sites",
        )
        psi = self.vectors * np.sqrt(self.weights / self.weight)
        images = np.empty((size * n_states, len(strings)), dtype=psi.dtype)
        for j, term in enumerate(strings):
            images[:, j] = image(term, self.sector, n, psi).reshape(-1)
        H = self._hamiltonian(target)

        def apply(x: np.ndarray) -> np.ndarray:
            by_state = x.reshape(size, -1)  # state and direction in one axis
            energies = np.repeat(self.energies, x.shape[1])
            return (H @ by_state - energies * by_state).reshape(x.shape)

        return Projection.of_vectors(images, apply, threshold)

    def _hamiltonian(self, sector: Sector) -> sp.csr_matrix:
        """The last one asked for is kept: one serves all orbitals."""
        if sector not in self._kept:
            self._kept.clear()
            self._kept[sector] = self.cluster.hamiltonian(sector)
        return self._kept[sector]


@dataclass(frozen=True)
class ExactGroundStates:
    """Exact diagonalisation: all sectors of a small cluster, those that count of a large one.

    Parameters
    ----------
    dense : int
        Largest sector that is diagonalised in full.
    max_states : int
        Degenerate ones of a larger sector.
    max_determinants : int
        In one sector; more is refused.
    max_memory : float, in GiB
        Of the excited states.
    """

    max_determinants: int = 2_000_000
    max_memory: float = checks.MAX_MEMORY
    dense: int = 1500
    max_states: int = 120
    orbitals: ClassVar[int] = MAX_ORBITALS

    def check(self, n_sites: int) -> None:
        """See `GroundStates`."""
        check_sectors(n_sites, self.max_determinants)

    def find(self, impurity: DiscreteImpurity) -> tuple[ImpurityChains, list[ExplicitState]]:
        """In the basis of chains; see `GroundStates`."""
        chains = ImpurityChains.of(impurity)
        return chains, self.of_cluster(chains.cluster)

    def of_cluster(self, cluster: KanamoriCluster) -> list[ExplicitState]:
        """In the basis of any cluster."""
        found = ensemble(cluster, np.inf, self.dense, 1e-12, self.max_states)
        return [
            ExplicitState(cluster, s.sector, s.vectors, s.energies, weights, self.max_memory)
            for s, weights in found
        ]

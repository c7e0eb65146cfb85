"""Ground states as matrix-product states, as `mps` has them.

Several orbitals, tens of bath sites each. A string is a product of local operators, so its image
has the bonds of the ground state: S and H are exact for the state, ``(H - E) O psi`` with no use of
it as an eigenstate. They are matrices alone, and singular values below `RESOLVED` are rounding.

The particle number is the mean field's or a neighbour's, whichever ground state lies lowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from dmftnet import checks
from dmftnet.errors import InvalidProblemError, SpaceTooLargeError
from dmftnet.physics.fermions.action import target_sector
from dmftnet.physics.fermions.kanamori import Sector
from dmftnet.physics.fermions.operators import Operator, Term, bits
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity, ImpurityChains
from dmftnet.physics.solvers.scol.projection import Projection
from dmftnet.physics.solvers.tensor.algebra import ANNIHILATE, CREATE, overlap, with_local
from dmftnet.physics.solvers.tensor.impurity import PreparedImpurity
from dmftnet.physics.solvers.tensor.mps import MAX_ORBITALS, MpsSolver
from dmftnet.physics.solvers.tensor.state import memory_estimate
from dmftnet.physics.solvers.tensor.strings import Ladder, string_matrices

RESOLVED = 1e-7
"""Relative singular value of the images that their overlaps, in floats, still show."""


@dataclass(frozen=True, eq=False)
class TensorState:
    """A ground state of one sector.

    Parameters
    ----------
    prepared : PreparedImpurity
    max_memory : float, in GiB
    """

    prepared: PreparedImpurity
    max_memory: float = checks.MAX_MEMORY
    weight: float = 1.0

    @property
    def sector(self) -> Sector:
        return self.prepared.electrons

    @property
    def energy(self) -> float:
        return self.prepared.ground.energy

    @cached_property
    def variance(self) -> float:
        return self.prepared.ground.variance(self.prepared.model)

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Of each mode in the network; modes as in `ImpurityChains`, spin by spin."""
        orbitals = range(len(self.prepared.orbitals))
        sites = [(o, 0) for o in orbitals]
        sites += [(o, i) for o in orbitals for i in range(1, self.prepared.orbitals[o].n_bath + 1)]
        layout = self.prepared.model.layout
        return tuple(layout.position(o, spin, i) for spin in (0, 1) for o, i in sites)

    def mean(self, operator: Operator) -> complex:
        psi, n_sites, total = self.prepared.ground.psi, len(self.positions) // 2, 0.0 + 0.0j
        for term, x in operator.terms.items():
            if target_sector(term, self.sector, n_sites) != self.sector:
                continue
            moved = psi
            for site, creates in self._ladders(term):
                moved = with_local(moved, site, CREATE if creates else ANNIHILATE)
            total += x * overlap(psi, moved)
        return total

    def projection(self, strings: Sequence[Term], threshold: float) -> Projection | None:
        """The span of the images; directions below `RESOLVED` do not count."""
        n_sites = len(self.positions) // 2
        target = target_sector(strings[0], self.sector, n_sites)
        if not all(0 <= electrons <= n_sites for electrons in target):
            return None
        S, H = string_matrices(
            self.prepared.ground.psi,
            self.prepared.model.operator,
            [self._ladders(term) for term in strings],
            self.max_memory,
        )
        return Projection.of_matrices(S, H, max(threshold, RESOLVED))

    def _ladders(self, term: Term) -> list[Ladder]:
        """The operators of a string, the one that acts first in front."""
        C, A = term
        steps = [(bit, False) for bit in bits(A)] + [(bit, True) for bit in reversed([*bits(C)])]
        return [(self.positions[bit.bit_length() - 1], creates) for bit, creates in steps]


@dataclass(frozen=True)
class TensorGroundStates:
    """Density-matrix renormalisation group.

    Parameters
    ----------
    bond_dimension : int
    truncation : float
        Weight that may be dropped at each bond.
    energy_tolerance : float, in D
        Change of the energy in a sweep that ends the search.
    max_sweeps : int
    geometry : {"chain", "natural", "star"}
        Of the bath, for the network and for the strings; see
        `dmftnet.physics.solvers.tensor.layout`.
    max_memory : float, in GiB
    """

    bond_dimension: int = 200
    truncation: float = 1e-12
    energy_tolerance: float = 1e-9
    max_sweeps: int = 30
    geometry: str = "chain"
    max_memory: float = checks.MAX_MEMORY
    orbitals: ClassVar[int] = MAX_ORBITALS

    def check(self, n_sites: int) -> None:
        """See `GroundStates`."""
        needed = memory_estimate(2 * n_sites, self.bond_dimension, 6, 1)
        if needed > self.max_memory:
            raise SpaceTooLargeError(
                f"bond dimension {self.bond_dimension} of ground_state = mps on {n_sites} sites "
                f"may need {needed:.1f} GiB, more than solver.max_memory = {self.max_memory:g} "
                "GiB; lower n_bath, or raise solver.max_memory"
            )

    def find(self, impurity: DiscreteImpurity) -> tuple[ImpurityChains, list[TensorState]]:
        """In the basis of the geometry; see `GroundStates`."""
        interaction = impurity.interaction
        if len(impurity.stars) > 1 and not interaction.is_rotationally_invariant:
            raise InvalidProblemError(
                "ground_state = mps takes the rotationally invariant interaction, U' = U - 2J "
                "with spin flip and pair hopping; use ground_state = exact"
            )
        solver = MpsSolver(
            bond_dimension=self.bond_dimension,
            ground_truncation=self.truncation,
            energy_tolerance=self.energy_tolerance,
            max_sweeps=self.max_sweeps,
            geometry=self.geometry,
            max_memory=self.max_memory,
        )
        stars, levels = list(impurity.stars), impurity.levels
        # mypy wants what a protocol names to be settable, which nothing frozen is
        prepared = PreparedImpurity.of(
            solver,  # type: ignore[arg-type]
            stars, levels, interaction.U, interaction.J, impurity.is_symmetric,
        )  # fmt: skip
        blocks = [orbital.one_body for orbital in prepared.orbitals]
        return ImpurityChains.of_blocks(blocks, interaction), [
            TensorState(prepared, self.max_memory)
        ]

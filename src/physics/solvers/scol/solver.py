"""`scol`: operator Lanczos, excited states as operator strings on a ground state.

Method
    1. Discretise the hybridization (`bath`), bring each orbital's levels into a chain.
    2. Ground states: exact (`ground_states`), in a restricted active space (`restricted_states`),
       or any that know mean values of strings.
    3. For each orbital a set of strings (`sets`): d+, q+ = [d, H_int]+, every bare bath operator,
       nested commutators with pieces of the chains. Their images of the ground state span the
       excited states; the Hamiltonian projected onto them (`projection`) gives the poles and the
       amplitudes of d+ and q+ at once, so G, F, I and the symmetric improved estimator. The
       removal side likewise with the adjoint strings.
Range
    T = 0, Hubbard-Kanamori interactions, orbitals that do not mix. U = 0 is exact, and so is a set
    that spans the whole sector. Norm and first moment are those of the ground state whatever the
    set, and no pole lies below the lowest of its sector. Few strings give few poles: the first is
    good to many digits, Hubbard bands to their moments, so spectra want a broadening.
Cost
    One pass over the ground state a string, and the orthonormalisation: some twenty of either for
    one orbital, hundreds for two. benchmarks/scol.py prints the table.
Otherwise
    Every pole of so small a bath: ``ed``. One orbital, a large bath, all bands: ``ras``.

References
    J. Rigo, M. Schmitt, arXiv 2512.08624; F. Kugler, PRB 105, 245132 (2022).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from dmftnet import checks
from dmftnet.errors import DmftnetWarning
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.protocol import DiscreteBath
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.fermions.kanamori import DOWN, UP
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Capabilities, Solver
from dmftnet.physics.solvers.arguments import check_bath, settle
from dmftnet.physics.solvers.krylov.ed import LEVELS
from dmftnet.physics.solvers.scol.ground_states import GroundStates, is_resampled
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity
from dmftnet.physics.solvers.scol.named import ground_states
from dmftnet.physics.solvers.scol.projection import Projection
from dmftnet.physics.solvers.scol.responses import (
    broken_symmetry,
    densities,
    infrared_cutoff,
    orbital_poles,
    resampled_poles,
)
from dmftnet.physics.solvers.scol.sets import Reach

HALF_FILLED = 1e-6
"""Electrons by which symmetric ground states may miss half filling to be their own mirror image.

A single state of a symmetric impurity with an odd number of sites need not be."""

UNEQUAL = 0.01
"""Relative difference of the occupations of equal orbitals that is worth a word."""

WRONG_WEIGHT = 1e-4
"""Of poles on the wrong side of zero that is worth a word."""


@dataclass(frozen=True)
class ScolSolver(Solver):
    """Operator Lanczos.

    Parameters
    ----------
    depth : int
        Nested commutators; 0 leaves d+, q+ and the bare bath operators.
    n_segments : int
        Pieces of each chain, every one with commutators of its own.
    max_length : int
        Creators and annihilators of a string; longer ones are dropped, those of q+ never.
    threshold : float
        Relative singular value of the excited states from which on a direction counts.
    ground_state : "exact", "mps", "ras" or GroundStates
        "mps": matrix-product states, tens of bath sites an orbital; "ras": a restricted active
        space of natural orbitals, one orbital.
    bath : Intervals or Wilson
        ``n_bath`` is that of each orbital; None: as in ``ed``.
    broadening, estimator
        As in `dmftnet.physics.solvers.krylov.ed.EdSolver`.
    max_strings : int
        Of an orbital; more are refused.
    max_determinants : int
        In one sector of exact ground states, or in the restricted space; more is refused.
    max_memory : float, in GiB

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    SpaceTooLargeError
        If the bath is too large for the ground state; by `solve`, if the excited states would not
        fit into memory.
    """

    depth: int = 3
    n_segments: int = 1
    max_length: int = 5
    threshold: float = 1e-10
    ground_state: str | GroundStates = "exact"
    bath: Intervals | Wilson = Intervals(n_bath=None, stretch=2.0, window_quantile=0.99)
    broadening: tuple = (2e-2, 0.1)
    estimator: str = "improved"
    max_strings: int = 5000
    max_determinants: int = 2_000_000
    max_memory: float = checks.MAX_MEMORY
    name: ClassVar[str] = "scol"
    _finder: GroundStates = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        settle(self, max_memory=checks.number("solver.max_memory", self.max_memory, above=0))
        check_bath(self, self.max_memory, LEVELS[1])
        least = {"depth": 0, "n_segments": 1, "max_length": 1, "max_strings": 1}
        for name, limit in (least | {"max_determinants": 1}).items():
            value = checks.integer(f"solver.{name}", getattr(self, name), at_least=limit)
            settle(self, **{name: value})
        threshold = checks.number("solver.threshold", self.threshold, above=0, below=1)
        settle(self, threshold=threshold)
        finder = ground_states(self.ground_state, self.max_determinants, self.max_memory)
        settle(self, _finder=finder)  # one for all solves: it may remember the last
        if self.bath.n_bath is not None:
            finder.check(self.bath.n_bath + 1)

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """See `ImpuritySolver`; as many orbitals as the ground states take."""
        return Capabilities(orbitals=self._finder.orbitals, poles=True, any_interaction=True)

    def solve(self, problem: ImpurityProblem) -> PoleSolution:
        """Solve one problem; see `ImpuritySolver`."""
        self.require(problem)
        bath = self._bath(problem)
        self._finder.check(problem.n_orb + bath.levels.energies.size)
        impurity = DiscreteImpurity.of(problem, bath)
        chains, states = self._finder.find(impurity)
        reach = Reach(self.depth, self.n_segments, self.max_length, self.max_strings)
        half = problem.interaction.half_filling(problem.n_orb)
        electrons = sum(state.weight * sum(state.sector) for state in states)
        mirrors = impurity.is_symmetric and abs(electrons - chains.cluster.n_sites) < HALF_FILLED
        repulsion = -2 * half if mirrors else None
        greens: list[ResponsePoles] = []
        spans: list[Projection] = []
        n_strings, wrong = 0, 0.0
        noise: dict[str, float] = {}
        sampled = [state for state in states if is_resampled(state)]
        for orbital in range(problem.n_orb):
            twin = chains.equal_orbital(orbital)
            if twin is not None:
                greens.append(greens[twin])
                continue
            sets = [chains.string_set(orbital, spin, reach) for spin in (UP, DOWN)]
            n_strings = max(n_strings, len(sets[UP].strings))
            found = orbital_poles(states, sets, self.threshold, repulsion)
            greens.append(found.poles)
            spans += found.spans
            wrong = max(wrong, found.wrong_weight)
            if sampled:
                cutoff = infrared_cutoff(resampled_poles(sampled, sets, self.threshold, repulsion))
                noise["infrared_cutoff"] = max(cutoff, noise.get("infrared_cutoff", 0.0))
                noise["energy_error"] = max(state.energy_error for state in sampled)
        if wrong > WRONG_WEIGHT:
            warnings.warn(
                f"poles of weight {wrong:.1e} lie on the wrong side of zero, more than "
                f"{WRONG_WEIGHT:g}: the state is not the ground state, or has noise; use a better "
                "one, more samples, or another sector",
                DmftnetWarning,
                stacklevel=2,
            )
        density, doubles = densities(chains, states)
        unequal = broken_symmetry(chains, density, doubles)
        if unequal > UNEQUAL:
            warnings.warn(
                f"orbitals that level and bath make equal have occupations {unequal:.1%} apart, "
                f"more than {UNEQUAL:.0%}: the state is not the ground state, or has noise; use a "
                "better one or more samples, of a neural state more training.steps",
                DmftnetWarning,
                stacklevel=2,
            )
        return PoleSolution(
            problem=problem,
            greens=tuple(greens),
            filling=float(2 * np.trace(density)),
            double_occupancy=float(np.mean(np.diag(doubles))),
            broadening=self.broadening,
            estimator=self.estimator,
            baths=tuple((star,) for star in impurity.stars),
            diagnostics={
                "ground_energy": min(state.energy for state in states),
                "energy_variance": max(state.variance for state in states),
                "n_levels": bath.levels.energies.size,
                "states": len(states),
                "strings": n_strings,
                "rank": min(span.rank for span in spans),
                "smallest_kept": min(span.smallest for span in spans),
                "largest_dropped": max(span.dropped for span in spans),
                "wrong_weight": wrong,
                "broken_symmetry": unequal,
                **noise,
                **bath.diagnostics,
            },
            density=density,
            doubles=doubles,
        )

    def _bath(self, problem: ImpurityProblem) -> DiscreteBath:
        if isinstance(problem.hybridization, PoleHybridization):
            return DiscreteBath.of_levels(problem.hybridization)
        recipe = self.bath
        if recipe.n_bath is None:
            recipe = replace(recipe, n_bath=LEVELS[problem.n_orb])
        return recipe.discretise(problem.hybridization)

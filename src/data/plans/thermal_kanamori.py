"""Degenerate orbitals with a Kanamori interaction, continuous baths; solved exactly.

As `thermal_continuous`, with these differences:

* J over U is drawn from a list; the interaction is the rotationally invariant one.
* Levels: half filling exactly, or evenly about ``-(U' - J)/2``, where an atom holds one
  electron: quarter filling of two orbitals. Other fillings are mirror images.
* Starts see the lower Hubbard band and the gap of the atom at that filling: ``U + (N - 1) J`` at
  half filling, ``U' - J`` beside one electron.
* Loops are driven by one of the approximations, and what becomes a sample is solved exactly: an
  exact solve costs seconds here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.plans.sampling import Trajectory, TrajectorySampler
from dmftnet.data.plans.thermal_continuous import ThermalContinuousPlan
from dmftnet.errors import SettingError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice

STREAM = 10
"""Of random numbers, apart from those of other plans."""

MAX_ORBITALS = 3
LARGEST_J = 1 / 3
"""Of J over U: beyond it electrons of parallel spin attract."""


@dataclass(frozen=True)
class KanamoriTrajectory(Trajectory):
    """Of several orbitals: with a Hund's coupling, and the atom's Hubbard bands.

    Parameters
    ----------
    J : float, in D
    gap, lower : float, in D
        Between the Hubbard bands, and where the lower one stands.
    """

    J: float = 0.0
    gap: float = 0.0
    lower: float = 0.0

    def starting_hybridization(self, lattice: Lattice, grid: FrequencyGrid) -> np.ndarray:
        """(n_w,) first hybridization spectrum, in D, of one orbital."""
        bands = Trajectory(
            self.id, self.gap, self.lower, self.start, self.mixing, self.split, self.seed
        )
        return bands.starting_hybridization(lattice, grid)


class ThermalKanamoriPlan(ThermalContinuousPlan):
    """Loops and single solves; one job is one of them.

    Parameters
    ----------
    sampler : TrajectorySampler
        U, start, mixing and whether half filled.
    approximations : mapping of name to ImpuritySolver
        Such as know their poles.
    n_orb : int
    J_over_U : sequence of float
        Drawn evenly.
    levels : (low, high)
        Of those that are not half filled, beside the middle of the atom's range of one electron,
        in D.
    options
        Those of `ThermalContinuousPlan`.
    """

    def __init__(
        self,
        sampler: TrajectorySampler,
        approximations: Mapping[str, ImpuritySolver],
        n_orb: int = 2,
        J_over_U: Sequence[float] = (0.0, 0.25),
        levels: Sequence[float] = (-0.5, 0.4),
        **options: Any,
    ):
        n_orb = checks.integer("sampling.n_orb", n_orb, at_least=2, at_most=MAX_ORBITALS)
        super().__init__(sampler, approximations, n_orb=n_orb, **options)
        self.ratios = checks.numbers(
            "sampling.J_over_U", J_over_U, at_least_size=1, at_least=0, at_most=LARGEST_J
        )
        self.levels = checks.numbers("sampling.levels", levels, size=2)
        if self.levels[0] > self.levels[1]:
            raise SettingError(f"sampling.levels = {list(self.levels)}: give [lowest, highest]")

    def drawn(self, id: int) -> tuple[Trajectory, bool, float]:
        """As of one orbital, with J and the level of several."""
        one, is_loop, beta = super().drawn(id)
        rng = np.random.default_rng([self.seed, id, STREAM])
        interaction = Interaction(one.U, float(rng.choice(self.ratios)) * one.U)
        if one.half_filled:
            gap = one.U + (self.n_orb - 1) * interaction.J
            eps_d, lower = interaction.half_filling(self.n_orb), -gap / 2
        else:
            gap = interaction.between_orbitals - interaction.J
            low, high = self.levels
            eps_d = lower = float(-gap / 2 + rng.uniform(low, high))
        found = KanamoriTrajectory(
            one.id, one.U, eps_d, one.start, one.mixing, one.split, one.seed,
            interaction.J, gap, lower,
        )  # fmt: skip
        return found, is_loop, beta

    def _of(
        self, trajectory: Trajectory, beta: float, bath: MatsubaraHybridization
    ) -> ImpurityProblem:
        assert isinstance(trajectory, KanamoriTrajectory)
        alike = MatsubaraHybridization(bath.axis, np.tile(bath.values, (self.n_orb, 1)))
        interaction = Interaction(trajectory.U, trajectory.J)
        return ImpurityProblem(np.full(self.n_orb, trajectory.eps_d), interaction, alike, beta)

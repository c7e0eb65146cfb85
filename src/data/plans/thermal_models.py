"""Random Anderson models with a few bath levels, at finite temperature; solved exactly.

Each is a function of (seed, its id) alone. Its family's ranges are in any unit of energy, eV say;
what is solved and stored is in units of its D. Bath levels and couplings are rounded to single
precision first, so that the file holds the very problem that was solved.

* U, D and ``eps_d + U/2`` evenly in their ranges, the temperature evenly from a list;
* bath levels evenly in [-D, D], couplings in a random direction with ``sum V^2 = D^2 / 4``;
* a share exactly particle-hole symmetric: pairs of levels at +-e, ``eps_d = -U/2``.

Splits are by model: of each `block` consecutive ids one is for validation, one for the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.jobfile import Columns
from dmftnet.data.plans.sampling import MAX_BLOCK, split_of
from dmftnet.data.plans.thermal import (
    ACCURACY,
    Beyond,
    Comparison,
    Failed,
    ModelRecord,
    ThermalPlan,
    ThermalProblem,
    UniversalAxes,
    problem_in_D,
)
from dmftnet.errors import SettingError
from dmftnet.physics.grids.matsubara import UNIVERSAL_SIZE
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice

MAX_LEVELS = 6
"""More cannot be diagonalised in full at any temperature."""

STREAM = 7
"""Of random numbers, apart from those that splits are drawn from."""


@dataclass(frozen=True)
class Family:
    """Ranges of one kind of model, energies in any unit.

    Parameters
    ----------
    share : float
        Of all models; the shares of all families sum to 1.
    U, D : (low, high)
        Interaction; half-bandwidth, twice the root of the bath's weight.
    shift : (low, high)
        ``eps_d + U/2``.
    beta : sequence of float
        Inverse temperatures, drawn evenly.
    """

    share: float
    U: Sequence[float]
    D: Sequence[float]
    shift: Sequence[float]
    beta: Sequence[float]

    @classmethod
    def of(cls, where: str, section: Any) -> Family:
        """From a section of the config, checked."""
        checks.mapping(where, section, ("share", "U", "D", "shift", "beta"), complete=True)
        ranges = {
            name: checks.numbers(f"{where}.{name}", section[name], size=2, **limits)
            for name, limits in (("U", {"at_least": 0}), ("D", {"above": 0}), ("shift", {}))
        }
        for name, (low, high) in ranges.items():
            if low > high:
                raise SettingError(f"{where}.{name} = [{low}, {high}]: give [lowest, highest]")
        return cls(
            share=checks.number(f"{where}.share", section["share"], above=0, at_most=1),
            beta=checks.numbers(f"{where}.beta", section["beta"], at_least_size=1, above=0),
            **ranges,
        )


class ThermalModelsPlan(ThermalPlan):
    """Random models; one job is `per_job` of them.

    Parameters
    ----------
    families : sequence of mapping
        Each the arguments of a `Family`.
    approximations : mapping of name to ImpuritySolver
    n_models : int
        A multiple of `per_job`.
    n_bath : int
    symmetric_fraction : float
    per_job : int
        Models of one job; what they are does not depend on it.
    block : int
        One validation and one test model in each `block` (at least 3) consecutive ids.
    seed : int
    size, accuracy : float
        See `UniversalAxes`.
    """

    number = "sampling.n_models"

    def __init__(
        self,
        families: Sequence[Mapping[str, Any]],
        approximations: Mapping[str, ImpuritySolver],
        n_models: int = 10_000,
        n_bath: int = 4,
        symmetric_fraction: float = 0.25,
        per_job: int = 20,
        block: int = 10,
        seed: int = 0,
        size: float = UNIVERSAL_SIZE,
        accuracy: float = ACCURACY,
    ):
        n_bath = checks.integer("sampling.n_bath", n_bath, at_least=1, at_most=MAX_LEVELS)
        super().__init__(approximations, UniversalAxes(size, accuracy), n_bath)
        if not isinstance(families, Sequence) or isinstance(families, str) or not families:
            raise SettingError(
                f"sampling.families = {checks.shown(families)}: give a list of sections"
            )
        self.families = tuple(
            Family.of(f"sampling.families[{i}]", section) for i, section in enumerate(families)
        )
        total = sum(family.share for family in self.families)
        if abs(total - 1) > 1e-9:
            raise SettingError(f"sampling.families: shares sum to {total:g}, and must sum to 1")
        n_models = checks.integer("sampling.n_models", n_models, at_least=1)
        self.per_job = checks.integer("sampling.per_job", per_job, at_least=1)
        if n_models % self.per_job:
            raise SettingError(
                f"sampling.n_models = {n_models}: give a multiple of sampling.per_job = {per_job}"
            )
        self.n_jobs = n_models // self.per_job
        self.symmetric_fraction = checks.number(
            "sampling.symmetric_fraction", symmetric_fraction, at_least=0, at_most=1
        )
        self.block = checks.integer("sampling.block", block, at_least=3, at_most=MAX_BLOCK)
        self.seed = checks.seed("sampling.seed", seed)

    def model(self, id: int) -> ThermalProblem:
        """The model with this id, always the same one."""
        rng = np.random.default_rng([self.seed, id, STREAM])
        shares = np.cumsum([family.share for family in self.families])[:-1]
        family = self.families[int(np.searchsorted(shares, rng.random(), side="right"))]
        symmetric = rng.random() < self.symmetric_fraction
        drawn = (family.D, family.U, family.shift)
        D, U, shift = (rng.uniform(low, high) for low, high in drawn)
        beta = rng.choice(family.beta)
        energies, couplings = random_bath(rng, self.n_levels, symmetric)
        levels = PoleHybridization(energies, couplings[:, None])
        eps_d = (-U / 2 + (0.0 if symmetric else shift)) / D
        return ThermalProblem(id, 0, D, problem_in_D(U / D, eps_d, beta * D, levels))

    @property
    def n_levels(self) -> int:
        """Bath levels of a model."""
        return int(self.n_level or 0)

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """Solve the models of one job; see `dmftnet.data.keys` for the columns."""
        comparison = Comparison(solver, self.approximations, self.axes)
        models = []
        for id in range(job * self.per_job, (job + 1) * self.per_job):
            record = ModelRecord(id, "random", split_of(id, self.seed, self.block))
            try:
                record.add(*comparison.row(self.model(id)))
            except (Beyond, Failed) as error:
                record.end(error)
            models.append(record)
        return self.columns(models)


def random_bath(
    rng: np.random.Generator, n_bath: int, symmetric: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Levels in [-1, 1] and positive couplings with ``sum V^2 = 1/4``, in D.

    Parameters
    ----------
    symmetric : bool
        Pairs ``+-e`` of equal couplings, and a level at zero where `n_bath` is odd.

    Returns
    -------
    energies, couplings : (n_bath,) float64
        Exact in single precision; rising energies.
    """
    energies = rng.uniform(-1, 1, n_bath)
    couplings = np.abs(rng.normal(size=n_bath))
    if symmetric:
        half, odd = divmod(n_bath, 2)
        energies = np.concatenate([energies[:half], np.zeros(odd), -energies[:half]])
        couplings = np.concatenate([couplings[: half + odd], couplings[:half]])
    couplings *= 0.5 / np.linalg.norm(couplings)
    order = np.argsort(energies)
    energies, couplings = (
        part[order].astype(np.float32).astype(np.float64) for part in (energies, couplings)
    )
    return energies, couplings

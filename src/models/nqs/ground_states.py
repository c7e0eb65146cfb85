"""Neural ground states for operator Lanczos (`dmftnet.physics.solvers.scol`).

A neural state is trained by samples, then its amplitudes over the sector are written out, and
strings act on these: energies, mean values and spectra have no noise, only the error of the state.
With `n_samples` strings act on so many samples instead (`scol.sampled_states`), of sectors that
cannot be enumerated.
The excited states are ``(H - E) O psi`` with no use of psi as an eigenstate, so that the poles are
those of H in the span. ``energy_variance`` in the solver's diagnostics says how good the state is.

Range: chains, or one star, whose ground state has known signs (`dmftnet.models.nqs.line`), or
phases that are learned (`dmftnet.models.nqs.phases`). The sector is given; by default it is that of
half filling, where particle-hole symmetry and an even number of sites an orbital make its ground
state the lowest of all. Of several orbitals each chain has the parity of electrons that the mean
field gives it, or, where no pairs hop, their number (`dmftnet.models.nqs.line.Symmetry`).

The weights of one solve are those that the next one starts from, if it has the same sites and
sector: from one iteration of a DMFT loop to the next a state moves little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch

from dmftnet import checks
from dmftnet.errors import ConvergenceError, InvalidProblemError, SettingError
from dmftnet.models.nqs.ansatz import Law
from dmftnet.models.nqs.phases import PhaseMap
from dmftnet.models.nqs.position_nets import PositionNets
from dmftnet.models.nqs.record import TrainingRecord, Watch
from dmftnet.models.nqs.state import NeuralState
from dmftnet.models.nqs.training import ENUMERATED, Trained, Training
from dmftnet.physics.fermions.kanamori import Sector
from dmftnet.physics.solvers.krylov.ed import MAX_ORBITALS, check_sectors
from dmftnet.physics.solvers.scol.ground_states import ExplicitState
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity, ImpurityChains
from dmftnet.physics.solvers.scol.sampled_states import SampledState
from dmftnet.progress import EVERY, check_every, progress

GEOMETRIES = {"chain": ImpurityChains.of, "star": ImpurityChains.of_stars}
"""Bases of the bath."""

N_BLOCKS = 10
"""Of the samples, by which errors are found."""


@runtime_checkable
class Logger(Protocol):
    """What is asked of a logger."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Take a line of figures."""

    def save(self) -> None:
        """Write what it holds back."""


@dataclass(eq=False)
class Memory:
    """The weights of the last solve.

    Parameters
    ----------
    steps : int
        Of all trainings so far.
    of : object
        Sites and sector that the weights belong to.
    weights : dict of str to tensor
    """

    steps: int = 0
    of: tuple | None = None
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def recalled(self, state: NeuralState) -> bool:
        """Whether a new state of the same kind now has the weights."""
        if self.of != _kind(state):
            return False
        state.law.load_state_dict(self.weights)
        return True

    def keep(self, state: NeuralState, trained: Trained) -> None:
        """Remember a trained state."""
        self.steps += trained.n_steps
        self.of = _kind(state)
        self.weights = {name: x.clone() for name, x in state.law.state_dict().items()}


def _kind(state: NeuralState) -> tuple:
    return state.line.order.tolist(), state.sector


@dataclass(frozen=True)
class NeuralGroundStates:
    """A `GroundStates`: one neural state in one sector.

    Parameters
    ----------
    training : Training
    ansatz : callable
        ``ansatz(sector, symmetry, prior, seed=seed)`` is a law: `PositionNets` or `RWKV`, with
        their sizes bound.
    geometry : "chain" or "star"
        Basis of the bath: each orbital's levels as a chain, or as they are, of one orbital.
    phases : PhaseMap, optional
        Phases that are learned; None: the signs that are known.
    seed : int
        Of the initial weights.
    warm_steps : int, optional
        Steps of a training that starts from the solve before; None: every one starts anew.
    sector : (n_up, n_dn), optional
        By default half filling, of impurities that are half filled by symmetry.
    n_samples : int, optional
        Draws that spectra are made of; None: the whole sector.
    max_determinants : int
        In one sector, if it is written out; more is refused.
    max_memory : float, in GiB
        Of the excited states.
    folder : path, optional
        Where each training keeps its table and what it takes to go on
        (`dmftnet.models.nqs.record`).
    loggers : mapping of str to logger, optional
        Lightning's, as of train.py; ``nqs/energy`` and so on, the steps of all solves counted on.
    progress_every : float, optional, in seconds
        Between lines where there is no terminal; None: nothing is shown.

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    """

    training: Training = field(default_factory=Training)
    ansatz: Callable[..., Law] = PositionNets
    geometry: str = "chain"
    phases: PhaseMap | None = None
    seed: int = 0
    warm_steps: int | None = 200
    sector: Sector | None = None
    n_samples: int | None = None
    max_determinants: int = ENUMERATED
    max_memory: float = checks.MAX_MEMORY
    folder: str | Path | None = None
    loggers: Mapping[str, Logger] | None = None
    progress_every: float | None = EVERY
    orbitals: ClassVar[int] = MAX_ORBITALS
    _memory: Memory = field(default_factory=lambda: Memory(), init=False, repr=False, compare=False)

    def __post_init__(self):
        key = "solver.ground_state"
        if not isinstance(self.training, Training):
            raise SettingError(
                f"{key}.training = {checks.shown(self.training)}: give a Training of "
                "dmftnet.models.nqs.training"
            )
        if not callable(self.ansatz):
            raise SettingError(
                f"{key}.ansatz = {checks.shown(self.ansatz)}: give a law of dmftnet.models.nqs, "
                "with _partial_: true in a config"
            )
        if not isinstance(self.phases, PhaseMap | None):
            raise SettingError(
                f"{key}.phases = {checks.shown(self.phases)}: give a PhaseMap of "
                "dmftnet.models.nqs.phases, or null"
            )
        checks.choice(f"{key}.geometry", self.geometry, tuple(GEOMETRIES))
        for name, least in {"max_determinants": 1, "warm_steps": 0, "n_samples": N_BLOCKS}.items():
            if getattr(self, name) is None and name != "max_determinants":
                continue
            value = checks.integer(f"{key}.{name}", getattr(self, name), at_least=least)
            object.__setattr__(self, name, value)
        given = {} if self.loggers is None else self.loggers
        for name, logger in checks.section(f"{key}.loggers", given).items():
            if not isinstance(logger, Logger):
                raise SettingError(
                    f"{key}.loggers.{name} = {checks.shown(logger)}: give a logger of Lightning"
                )
        if self.folder is not None:
            object.__setattr__(self, "folder", checks.path(f"{key}.folder", self.folder))
        check_every(self.progress_every)
        object.__setattr__(self, "seed", checks.seed(f"{key}.seed", self.seed))
        memory = checks.number(f"{key}.max_memory", self.max_memory, above=0)
        object.__setattr__(self, "max_memory", memory)
        if self.sector is not None:
            found = checks.numbers(f"{key}.sector", self.sector, size=2, at_least=0)
            sector = tuple(checks.integer(f"{key}.sector", n) for n in found)
            object.__setattr__(self, "sector", sector)

    def check(self, n_sites: int) -> None:
        """See `GroundStates`."""
        if self.n_samples is None:
            check_sectors(n_sites, self.max_determinants)

    def find(
        self, impurity: DiscreteImpurity
    ) -> tuple[ImpurityChains, list[ExplicitState] | list[SampledState]]:
        """In the basis of the geometry; see `GroundStates`.

        Raises
        ------
        InvalidProblemError
            If the sector or the signs of its ground state are not known.
        ConvergenceError
            If a number was not finite.
        """
        n_orb = len(impurity.stars)
        if self.geometry == "star" and n_orb > 1:
            raise InvalidProblemError(
                f"solver.ground_state.geometry = 'star' takes one orbital, not {n_orb}; use 'chain'"
            )
        chains = GEOMETRIES[self.geometry](impurity)
        state, trained = self.trained(chains, self._sector(impurity, chains))
        if not trained.is_finite:
            kept = "" if self.folder is None else f"; the last good state is kept in {self.folder}"
            raise ConvergenceError(
                "the training of the neural state met a number that is not finite in step "
                f"{trained.n_steps + 1}{kept}; take a smaller training.rate"
            )
        if self.n_samples is None:
            return chains, [self.explicit(state)]
        own = {"n_blocks": N_BLOCKS, "seed": self.seed, "max_memory": self.max_memory}
        return chains, [SampledState(state, self.n_samples, **own)]

    def trained(self, chains: ImpurityChains, sector: Sector) -> tuple[NeuralState, Trained]:
        """A trained state of a sector, and what its training did."""
        state = NeuralState.of(chains, sector, self.ansatz, self.seed, self.phases)
        training = self.training.resolved(state)
        if self.warm_steps is not None and self._memory.recalled(state):
            training = replace(training, steps=self.warm_steps)
        with self._shown(training.steps) as shown:
            loggers = (self.loggers or {}).values()
            watch = (shown, *(self._logged(logger) for logger in loggers))
            folder = None if self.folder is None else Path(self.folder)
            try:
                trained = training.run(state, TrainingRecord(training, state, folder, watch))
            finally:
                for logger in loggers:
                    logger.save()
        self._memory.keep(state, trained)
        return state, trained

    @contextmanager
    def _shown(self, steps: int) -> Iterator[Watch]:
        """A bar on a terminal, lines elsewhere."""
        if self.progress_every is None:
            yield lambda metrics, step: None
            return
        with progress("steps", steps, every=self.progress_every) as update:
            yield lambda metrics, step: update(step, f"E = {metrics['energy']:.6f}")

    def _logged(self, logger: Logger) -> Watch:
        def watch(metrics: Mapping[str, float], step: int) -> None:
            named = {f"nqs/{name}": value for name, value in metrics.items()}
            logger.log_metrics(named, self._memory.steps + step)

        return watch

    def explicit(self, state: NeuralState) -> ExplicitState:
        """A neural state as a vector, with the mean of H as its energy."""
        psi = state.vector()
        psi /= np.linalg.norm(psi)
        energy = psi @ (state.cluster.hamiltonian(state.sector) @ psi)
        return ExplicitState(
            state.cluster,
            state.sector,
            psi[:, None],
            np.array([energy]),
            np.ones(1),
            self.max_memory,
        )

    def _sector(self, impurity: DiscreteImpurity, chains: ImpurityChains) -> Sector:
        if self.sector is not None:
            return self.sector
        even = all((len(sites) + 1) % 2 == 0 for sites in chains.sites)
        if not (impurity.is_symmetric and even):
            raise InvalidProblemError(
                "the sector of the ground state is known at half filling by symmetry with an odd "
                "number of bath sites an orbital; give solver.ground_state.sector = (n_up, n_dn)"
            )
        return (chains.cluster.n_sites // 2,) * 2

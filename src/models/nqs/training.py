"""From a mean field's determinant to the ground state: samples, local energies, natural gradient.

Rate and regularisation fall geometrically from step to step. A block of steps whose mean energy
lies above the best block's, beyond noise, is taken back: the last good state returns, with a
regularisation ten times larger that falls off again. A number that is not finite ends the training
with the last good state.

Steps overshoot on rare determinants: the law may lose all that begin with one prefix. A step that
would change log p of one sample too much is cut. What brings lost ones back are their own local
energies, the larger the smaller an amplitude, so that these are not cut by default; a last
regularisation below the metric's eigenvalues there; and samples of a low power, which finds them
and without which uncut energies make a training run away. In a sector that the samples can hardly
cover a power as low costs more in noise than it brings (docs/nqs.md).

Two trainings with one seed are the same to the last bit on one machine, and so is one that was
broken off and goes on from its file (`dmftnet.models.nqs.record`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from dmftnet import checks
from dmftnet.models.nqs.alignment import align
from dmftnet.models.nqs.energy import Energy, local_energies, normalised_weights
from dmftnet.models.nqs.natural_gradient import Derivatives, move, no_direction, norm, spring
from dmftnet.models.nqs.phases import settled, turned
from dmftnet.models.nqs.sampler import sample
from dmftnet.models.nqs.state import NeuralState

BLOCK = 10
"""Steps that are judged together."""

BEYOND_NOISE = 5.0
"""Standard errors of a block's mean by which it may lie above the best."""

ENUMERATED = 100_000
"""Determinants of the largest sector that is written out by default."""

POWER, POWER_BEYOND = 0.3, 0.5
"""Of the conditionals, up to so many determinants and beyond; both chosen at U / Gamma = 5, with
63,504 and 1.7e8 determinants."""

STEPS, STEPS_BEYOND = 400, 2000
"""Likewise: in large sectors errors fall about as the inverse of the number of steps, and more
in stars (docs/nqs.md)."""

CHANGE, CHANGE_OF_SEVERAL = 1.0, 0.3
"""Largest change of log p in a step, of one orbital and of several. With the former several lose
prefixes (seen on two of five sites each, U / Gamma = 10); with the latter stars, whose small
amplitudes have far to go, converge slowly (U / Gamma = 5 and 10)."""

RAISED = 10.0
"""Factor of the regularisation after a rollback; its root is taken from block to block."""


class Record:
    """What stands beside a training; this one keeps nothing."""

    def resume(self, run: TrainingRun) -> None:
        """Bring a new run to where an earlier one stood."""

    def step(self, run: TrainingRun) -> Step | None:
        """One step of the run."""
        return run.step()

    def block(self, run: TrainingRun) -> None:
        """A block has been judged."""


UNRECORDED = Record()


@dataclass(frozen=True)
class Training:
    """How a neural state is optimised.

    Parameters
    ----------
    steps : int, optional
        None: `STEPS` of chains in sectors of up to `ENUMERATED` determinants, `STEPS_BEYOND` in
        larger ones and of stars.
    n_samples : int
        Draws a step; as many distinct determinants at most.
    power : float in (0, 1], optional
        Of the conditionals that are drawn from; None: `POWER` or `POWER_BEYOND`, likewise.
    rate : (first, last), in 1/D
        Imaginary time of a step.
    momentum : float in [0, 1)
    regularisation : (first, last)
        Added to the eigenvalues of the metric.
    clip : float, optional
        Local energies count up to so many mean absolute deviations from the median; None: all do.
    largest_step : float
        Euclidean length that a step is cut to.
    largest_change : float, optional
        Of log p of a sample, to first order, that a step is cut to; None: `CHANGE` of one orbital,
        `CHANGE_OF_SEVERAL` of more.
    n_final : int
        Draws of the last estimate.
    seed : int
        Of the samples.

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    """

    steps: int | None = None
    n_samples: int = 768
    power: float | None = None
    rate: tuple = (0.3, 0.02)
    momentum: float = 0.95
    regularisation: tuple = (1e-3, 1e-7)
    clip: float | None = None
    largest_step: float = 3.0
    largest_change: float | None = None
    n_final: int = 20_000
    seed: int = 0

    def __post_init__(self):
        def settle(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        key = "training"
        least_of = {"n_samples": 2, "n_final": 2} | ({} if self.steps is None else {"steps": 0})
        for name, least in least_of.items():
            settle(name, checks.integer(f"{key}.{name}", getattr(self, name), at_least=least))
        limits: dict[str, dict[str, float]] = {
            "momentum": {"at_least": 0, "below": 1},
            "largest_step": {"above": 0},
        }
        optional = {"power": {"above": 0, "at_most": 1}, "clip": {"above": 0}}
        optional["largest_change"] = {"above": 0}
        limits |= {k: limit for k, limit in optional.items() if getattr(self, k) is not None}
        for name, limit in limits.items():
            settle(name, checks.number(f"{key}.{name}", getattr(self, name), **limit))
        for name in ("rate", "regularisation"):
            settle(name, checks.numbers(f"{key}.{name}", getattr(self, name), size=2, above=0))
        settle("seed", checks.seed(f"{key}.seed", self.seed))

    def resolved(self, state: NeuralState) -> Training:
        """With what is None chosen by the size of the state's sector, its orbitals and its bath."""
        is_small = state.cluster.dimension(state.sector) <= ENUMERATED
        steps = STEPS if is_small and not state.line.is_star else STEPS_BEYOND
        power = POWER if is_small else POWER_BEYOND
        change = CHANGE if state.cluster.n_orb == 1 else CHANGE_OF_SEVERAL
        return replace(
            self,
            largest_change=change if self.largest_change is None else self.largest_change,
            steps=steps if self.steps is None else self.steps,
            power=power if self.power is None else self.power,
        )

    def run(self, state: NeuralState, record: Record = UNRECORDED) -> Trained:
        """Optimise a state's law in place.

        Parameters
        ----------
        state : NeuralState
            Left with the parameters after the last good block, and as it was where there is none.
        record : Record
            Told of every step and, block by block, given what it takes to go on.
        """
        start = time.perf_counter()
        rng = np.random.default_rng(self.seed)
        resolved = self.resolved(state)
        align(state, self.n_samples, rng, resolved.power)
        run = TrainingRun(resolved, state, rng)
        record.resume(run)
        while run.is_finite and run.n_steps < resolved.steps:
            record.step(run)
            if run.n_steps % BLOCK == 0 and run.is_finite:
                run.judge()
                record.block(run)
        run.restore()
        samples = sample(state.law, self.n_final, rng, resolved.power)
        state.turn(samples.states, settled, normalised_weights(samples))
        energy = Energy.of(samples, local_energies(state, samples.states))
        return Trained(
            energy,
            np.array(run.energies),
            run.n_steps,
            run.rollbacks,
            run.is_finite,
            time.perf_counter() - start,
        )


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training did.

    Parameters
    ----------
    energy : Energy
        Of the state that is left, by samples.
    history : (n,) float64, in D
        Energies before each step, those that were taken back included.
    n_steps, rollbacks : int
    is_finite : bool
        Whether it went on to the end; if not, a number was not finite.
    seconds : float
    """

    energy: Energy
    history: np.ndarray
    n_steps: int
    rollbacks: int
    is_finite: bool
    seconds: float


@dataclass(frozen=True)
class Step:
    """What one step saw and did.

    Parameters
    ----------
    number : int
        From 1.
    energy : Energy
        Before the step.
    rate : float, in 1/D
    regularisation : float
    length : float
        Of the step, before it is cut.
    rollbacks : int
        So far.
    """

    number: int
    energy: Energy
    rate: float
    regularisation: float
    length: float
    rollbacks: int


@dataclass(eq=False)
class TrainingRun:
    """One training under way; all that it takes to go on are its fields and the law's parameters.

    Parameters
    ----------
    training : Training
        Resolved.
    last : Direction
        That of the step before.
    kept : dict of str to tensor
        Parameters after the last good block.
    raised : float
        Factor of the regularisation.
    best : float, in D
        Lowest mean energy of a block.
    """

    training: Training
    state: NeuralState
    rng: np.random.Generator
    energies: list[float] = field(default_factory=list)
    n_steps: int = 0
    rollbacks: int = 0
    is_finite: bool = True
    raised: float = 1.0
    best: float = np.inf

    def __post_init__(self):
        self.last = no_direction(self.state.law)
        self.kept = self._parameters()

    def step(self) -> Step | None:
        """One step; None, and nothing changed, where a number is not finite."""
        training, law = self.training, self.state.law
        samples = sample(law, training.n_samples, self.rng, training.power)
        local = local_energies(self.state, samples.states)
        self.is_finite = bool(np.isfinite(local).all())
        if not self.is_finite:
            return None
        energy = Energy.of(samples, local)
        self.energies.append(energy.mean)
        weights = normalised_weights(samples)
        deviations = centred(local.real, weights, training.clip)
        derivatives = Derivatives.of(law, samples.states, weights)
        rate, regularisation = (
            self._falling(pair, self.n_steps) for pair in (training.rate, training.regularisation)
        )
        direction = spring(
            derivatives, deviations, self.last, training.momentum, regularisation * self.raised
        )
        self.is_finite = direction is not None
        if direction is None:
            return None
        length = rate * norm(direction)
        change = rate * float(derivatives.jacobian.times(direction).abs().max())
        cut = max(1.0, length / training.largest_step, change / training.largest_change)
        move(law, direction, -rate / cut)
        now = (rate, regularisation * self.raised)
        self.state.turn(samples.states, turned, weights, local.imag, *now)
        self.last = direction
        self.n_steps += 1
        return Step(
            self.n_steps, energy, rate, regularisation * self.raised, length, self.rollbacks
        )

    def judge(self) -> None:
        """Keep the state or take the block back."""
        block = self.energies[-BLOCK:]
        noise = np.sqrt(np.mean(np.diff(block) ** 2) / 2)  # of successive differences: no trend
        mean, error = float(np.mean(block)), float(noise) / BLOCK**0.5
        self.raised = max(1.0, self.raised / RAISED**0.5)
        if mean > self.best + BEYOND_NOISE * error:
            self.restore()
            self.rollbacks += 1
            self.raised = RAISED
        else:
            self.best, self.kept = min(mean, self.best), self._parameters()

    def restore(self) -> None:
        """Back to the last good state."""
        self.state.law.load_state_dict(self.kept)
        self.last = no_direction(self.state.law)

    def _falling(self, pair: tuple[float, float], step: int) -> float:
        first, last = pair
        return first * (last / first) ** (step / max(1, self.training.steps - 1))

    def _parameters(self) -> dict[str, torch.Tensor]:
        return {name: x.clone() for name, x in self.state.law.state_dict().items()}


def centred(local: np.ndarray, weights: np.ndarray, limit: float | None) -> np.ndarray:
    """(n,) deviations from the mean of local energies, which may be cut around the weighted median.

    Parameters
    ----------
    local : (n,) float64, in D
    weights : (n,) float64
        Their sum is one.
    limit : float, optional
        In mean absolute deviations from the median; None: nothing is cut.
    """
    if limit is None:
        return local - weights @ local
    order = np.argsort(local)
    middle = local[order][np.searchsorted(np.cumsum(weights[order]), 0.5).clip(0, local.size - 1)]
    width = limit * float(weights @ np.abs(local - middle))
    cut = local.clip(middle - width, middle + width)
    return cut - weights @ cut

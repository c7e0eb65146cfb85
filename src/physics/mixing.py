"""Mixing of a fixed-point iteration ``x = f(x)`` in ask-and-tell form.

The DMFT loop drives many problems at once through one batched solver, so it cannot hand control to
a root finder; a mixer is told the input and the output of each iteration and asked for the next
input. `BroydenMixing` takes its algebra from `scipy.optimize.BroydenFirst` (Broyden's good method,
limited memory; on a fixed point it is Anderson acceleration with one secant condition a step).
Broyden's method is the quicker one and settles where the linear one cycles (the square lattice's
metals); with a first step of 0.5 it found the same branches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import BroydenFirst

from dmftnet.errors import InvalidProblemError


class Mixer(Protocol):
    """State of one fixed-point iteration."""

    def step(self, x: np.ndarray, fx: np.ndarray) -> np.ndarray:
        """Next input after ``f(x) = fx``; all (n,) float64."""


class Mixing(Protocol):
    """A recipe that starts one `Mixer` for each problem."""

    def start(self) -> Mixer:
        """A mixer without a past."""


@dataclass(frozen=True)
class LinearMixing:
    """``x <- (1 - fraction) x + fraction f(x)``.

    Parameters
    ----------
    fraction : float
        In (0, 1]; 0.35 to 0.5 cures limit cycles near the transition.
    """

    fraction: float = 0.7

    def __post_init__(self):
        _check_fraction(self.fraction)

    def start(self) -> LinearMixing:
        return self

    def step(self, x: np.ndarray, fx: np.ndarray) -> np.ndarray:
        return x + self.fraction * (fx - x)


@dataclass(frozen=True)
class BroydenMixing:
    """Broyden's good method on ``f(x) - x = 0``.

    Parameters
    ----------
    fraction : float
        In (0, 1]; the first step is linear mixing with it.
    memory : int
        Number of past steps kept.
    max_step : float
        Longest step, in lengths of the residual ``|f(x) - x|``: a quasi-Newton step extrapolates,
        and close to the transition it would leap to the other solution.
    """

    fraction: float = 0.7
    memory: int = 8
    max_step: float = 3.0

    def __post_init__(self):
        _check_fraction(self.fraction)
        if self.memory < 1 or not self.max_step >= self.fraction:
            raise InvalidProblemError(
                f"Broyden mixing with memory = {self.memory}, max_step = {self.max_step}: needs "
                f"memory >= 1 and max_step >= fraction = {self.fraction}"
            )

    def start(self) -> _BroydenMixer:
        return _BroydenMixer(self)


class _BroydenMixer:
    def __init__(self, recipe: BroydenMixing):
        self._recipe = recipe
        self._jacobian = None

    def step(self, x: np.ndarray, fx: np.ndarray) -> np.ndarray:
        residual = fx - x
        if self._jacobian is None:
            self._jacobian = BroydenFirst(alpha=self._recipe.fraction, max_rank=self._recipe.memory)
            self._jacobian.setup(x, residual, None)
        elif np.any(x != self._jacobian.last_x):  # else there is no secant to learn from
            self._jacobian.update(x, residual)
        step = -self._jacobian.solve(residual)
        longest = self._recipe.max_step * np.linalg.norm(residual)
        length = np.linalg.norm(step)
        return x + (step if length <= longest else step * (longest / length))


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise InvalidProblemError(f"mixing fraction = {fraction}: needs 0 < fraction <= 1")

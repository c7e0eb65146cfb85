"""Mixing of a fixed-point iteration ``x = f(x)`` in ask-and-tell form.

The DMFT loop drives many problems at once through one batched solver, so it cannot hand control to
a root finder; a mixer takes the input and the output of each iteration and returns the next
input.

* `LinearMixing`: a fixed fraction of the new. It cycles where the iteration overshoots by much (the
  metals of the square lattice).
* `AndersonMixing`, the default: the plain iteration, and Anderson acceleration (D. G. Anderson,
  J. ACM 12, 547 (1965)) only along directions in which a plain step overshoots. It never
  extrapolates along slow directions. Close to the end of a branch the iteration creeps past the
  remnant of a solution that no longer exists, ``|f(x) - x|`` has a minimum without a zero, and a
  quasi-Newton step there is as chaotic as Newton's on ``x^2 + 1``: rounding decides how many
  iterations a loop takes and in which phase it ends. A root finder also settles in fixed points
  which the iteration itself leaves. To follow the iteration is as fast, and finds what is stable.

An extrapolation may leave the causal functions. Where a metal dies within a few iterations
``-Im Delta(i w_0)`` shrinks by a factor that is below `max_eigenvalue` and changes from one to the
next; the step that would end a steady decay then overshoots zero. The loop takes `Mixer.plain` in
its place (`Hybridization.accepts`); on the real axis the spectrum is clipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError

RIDGE = 1e-2  # of the least squares over normalised pairs: nearly parallel ones share their weight
RESTART = 2.0  # growth of the residual that says that the pairs belong to another phase


class Mixer(Protocol):
    """State of one fixed-point iteration."""

    def step(self, x: np.ndarray, fx: np.ndarray) -> np.ndarray:
        """Next input after ``f(x) = fx``; all (n,) float64."""

    def plain(self, x: np.ndarray, fx: np.ndarray) -> np.ndarray:
        """A convex combination of the two in its place: what both of them obey it obeys."""


@runtime_checkable
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
        return self.plain(x, fx)

    def plain(self, x: np.ndarray, fx: np.ndarray) -> np.ndarray:
        return x + self.fraction * (fx - x)


@dataclass(frozen=True)
class AndersonMixing:
    """Plain iteration, accelerated along overshooting directions alone; see the module.

    With the residual ``r = f(x) - x``, a step ``s`` that changes it by ``y`` shows the eigenvalue
    ``lambda = 1 + s.y/s.s`` of f. Pairs with ``lambda <= max_eigenvalue`` are kept, and
    ``x <- x + fraction (r - Y g) - S g``, ``g`` the ridge least squares of ``Y g = r``.

    Parameters
    ----------
    fraction : float
        In (0, 1], of the plain steps.
    memory : int
        Number of pairs kept.
    max_eigenvalue : float
        Below 1; larger eigenvalues belong to slow directions, where plain steps are taken.
    max_step : float
        Longest step, in lengths of the residual.
    """

    fraction: float = 1.0
    memory: int = 8
    max_eigenvalue: float = 0.5
    max_step: float = 3.0

    def __post_init__(self):
        _check_fraction(self.fraction)
        object.__setattr__(self, "memory", checks.integer("mixing.memory", self.memory))
        checks.number("mixing.max_eigenvalue", self.max_eigenvalue)
        checks.number("mixing.max_step", self.max_step)
        if self.memory < 1 or not self.max_step >= self.fraction or not self.max_eigenvalue < 1:
            raise InvalidProblemError(
                f"Anderson mixing with memory = {self.memory}, max_step = {self.max_step}, "
                f"max_eigenvalue = {self.max_eigenvalue}: needs memory >= 1, max_step >= fraction "
                f"= {self.fraction} and max_eigenvalue < 1"
            )

    def start(self) -> _AndersonMixer:
        return _AndersonMixer(self)


class _AndersonMixer:
    def __init__(self, recipe: AndersonMixing):
        self._recipe = recipe
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def step(self, x: np.ndarray, fx: np.ndarray) -> np.ndarray:
        residual = fx - x
        self._learn(x, residual)
        step = self._recipe.fraction * residual
        if self._pairs:
            S, Y = (np.stack(part, axis=1) for part in zip(*self._pairs, strict=True))  # (n, m)
            g = np.linalg.solve(Y.T @ Y + RIDGE * np.eye(Y.shape[1]), Y.T @ residual)
            step = self._recipe.fraction * (residual - Y @ g) - S @ g
        longest = self._recipe.max_step * np.linalg.norm(residual)
        length = np.linalg.norm(step)
        return x + (step if length <= longest else step * (longest / length))

    def plain(self, x: np.ndarray, fx: np.ndarray) -> np.ndarray:
        return x + self._recipe.fraction * (fx - x)

    def _learn(self, x: np.ndarray, residual: np.ndarray) -> None:
        """Keep what the last step taught, if it overshot; forget all where the residual jumps."""
        if self._last is not None:
            s, y = x - self._last[0], residual - self._last[1]
            square, scale = s @ s, np.linalg.norm(y)
            if np.linalg.norm(residual) > RESTART * np.linalg.norm(self._last[1]):
                self._pairs = []
            if scale > 0 and s @ y <= (self._recipe.max_eigenvalue - 1) * square:
                self._pairs = [*self._pairs, (s / scale, y / scale)][-self._recipe.memory :]
        self._last = x, residual


def _check_fraction(fraction: float) -> None:
    if not 0 < checks.number("mixing.fraction", fraction) <= 1:
        raise InvalidProblemError(f"mixing fraction = {fraction}: needs 0 < fraction <= 1")

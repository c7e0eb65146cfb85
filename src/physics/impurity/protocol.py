"""What stands between the DMFT loop and every solver, exact or learned.

A problem goes in, a solution comes out, and the loop never knows who solved it. A solver keeps to
`ImpuritySolver`, what it returns to `ImpuritySolution`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem


@runtime_checkable
class ImpuritySolution(Protocol):
    """What every solver returns.

    Attributes
    ----------
    problem : ImpurityProblem
    greens : tuple of ResponsePoles (one an orbital), or None where the solver has only a curve
    filling : float
        Occupation, both spins, all orbitals.
    double_occupancy : float
        ``<n_up n_dn>``, averaged over orbitals.
    resolution : (eta, slope) or None
        Gaussian width ``eta + slope |w|`` of the spectrum, in D, where it has one.
    diagnostics : dict of str to int, float, bool, str or None
        What a user should know: sizes, residuals, clipped weight, spread, warnings.
    """

    problem: ImpurityProblem
    greens: tuple[ResponsePoles, ...] | None
    filling: float
    double_occupancy: float
    resolution: tuple[float, float] | None
    diagnostics: dict[str, Any]

    def self_energy(self, grid: FrequencyGrid | None = None) -> np.ndarray:
        """(n_orb, n_w) complex128 retarded self-energy, in D, on the problem's grid by default."""

    def spectrum(self, grid: FrequencyGrid | None = None, angle: float = 0.0) -> np.ndarray:
        """(n_orb, n_w) float64 spectral function ``A(w, alpha)`` of one spin, in 1/D."""


@runtime_checkable
class ImpuritySolver(Protocol):
    """A method that solves impurity problems."""

    name: str

    def solve(self, problem: ImpurityProblem) -> ImpuritySolution:
        """Solve one problem."""

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> list[ImpuritySolution]:
        """Solve several problems, in order; a solver that gains from it overrides this."""


class SerialBatch:
    """Mixin for solvers that gain nothing from a batch."""

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> list[ImpuritySolution]:
        return [self.solve(problem) for problem in problems]


def require_one_orbital(problem: ImpurityProblem, solver: str) -> None:
    """Raise a clear error in solvers that treat a single orbital."""
    if problem.n_orb != 1:
        raise InvalidProblemError(
            f"solver '{solver}' treats one orbital, the problem has {problem.n_orb}; "
            "use a multi-orbital solver"
        )

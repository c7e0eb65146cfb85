"""`nca`: the non-crossing approximation, self-consistent lowest order in the hybridization.

Method: propagators of the empty, singly and doubly occupied atom in the bath
(`dmftnet.physics.solvers.perturbative.propagators`), at finite U and temperature; then

``G(tau) = -[P_0(beta - tau) P_s(tau) + P_s(beta - tau) P_2(tau)] / Z``, ``n = (P_s + P_2) / Z`` and
``<n_up n_dn> = P_2 / Z`` at beta, and Sigma from G(iw) by Dyson's equation.
Range
    Exact in the atomic limit; the norm holds. Not exact at U = 0; at low temperature and weak
    coupling Im Sigma > 0 near zero frequency, which is warned of. Away from half filling
    ``Sigma(i inf)`` is not U n (A. Rueegg, E. Gull, G. Fiete, A. Millis, PRB 87, 075124 (2013)),
    which is warned of too.
Cost
    A few milliseconds (benchmarks/cheap_solvers.py); the first at a temperature some seconds, for
    the basis.
Otherwise
    ``ipt`` at weak coupling, ``ed`` for the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmftnet import checks
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Capabilities
from dmftnet.physics.impurity.solutions import MatsubaraSolution
from dmftnet.physics.solvers.arguments import settle
from dmftnet.physics.solvers.perturbative.propagators import (
    Propagators,
    convolution,
    propagators,
)
from dmftnet.physics.solvers.perturbative.thermal import (
    NORM_ERROR,
    THERMAL,
    Batch,
    ThermalSolver,
    solutions,
    time_maps,
)

MOMENT_ERROR = 1e-2
"""Of ``Sigma(i inf) = U n``, in D; more is warned of."""


@dataclass(frozen=True)
class NcaSolver(ThermalSolver):
    """Impurity solver in the non-crossing approximation.

    Parameters
    ----------
    tolerance : float
        On the propagators, which are at most one, from one iteration to the next.
    max_iterations : int

    Raises
    ------
    SettingError
        If one of them is out of its limits.
    """

    tolerance: float = 1e-10
    max_iterations: int = 300
    name: ClassVar[str] = "nca"
    capabilities: ClassVar[Capabilities] = THERMAL
    together: ClassVar[int] = 32
    """So that the matrices of a batch stay within a few megabytes."""

    def __post_init__(self):
        tolerance = checks.number("solver.tolerance", self.tolerance, above=0, at_most=1e-2)
        steps = checks.integer("solver.max_iterations", self.max_iterations, at_least=1)
        settle(self, tolerance=tolerance, max_iterations=steps)

    def solve(self, problem: ImpurityProblem) -> MatsubaraSolution:
        """Solve one problem."""
        return self.solve_batch([problem])[0]

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> list[MatsubaraSolution]:
        """Solve several problems, in order, all together."""
        for problem in problems:
            self.require(problem)
        return self.in_batches(problems)

    def self_energies_of(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        _, _, greens, sigma = self._found(batch)
        return sigma, time_maps(batch.axis).occupation(greens)

    def solutions_of(
        self, batch: Batch, problems: Sequence[ImpurityProblem]
    ) -> list[MatsubaraSolution]:
        found, Z, greens, sigma = self._found(batch)
        n = (found.at_beta[:, 1] + found.at_beta[:, 2]) / Z
        moments = high_frequency(batch.axis.omega_n, sigma) - batch.U * n
        said = [self._said(found, i, float(moment)) for i, moment in enumerate(moments)]
        doubles = found.at_beta[:, 2] / Z
        return solutions(batch, problems, greens, sigma, doubles, said, self.name)

    def _found(self, batch: Batch) -> tuple[Propagators, np.ndarray, np.ndarray, np.ndarray]:
        """Propagators, what they are normalised by, G in 1/T and Sigma in T."""
        found = propagators(batch, self.tolerance, self.max_iterations)
        maps, conv = time_maps(batch.axis), convolution(batch.axis)
        empty, single, double = found.values.swapaxes(0, 1)
        greens_tau = -((empty @ conv.reversal) * single + (single @ conv.reversal) * double)
        Z = found.at_beta.sum(axis=1) + found.at_beta[:, 1]
        greens = maps.to_frequencies(greens_tau / Z[:, None])
        return found, Z, greens, 1 / batch.greens(0.0) - 1 / greens

    def _said(self, found: Propagators, i: int, moment: float) -> dict:
        change, lost = float(found.change[i]), float(np.abs(found.at_zero[i] - 1).max())
        warning = ""
        if change > self.tolerance:
            warning = (
                f"the propagators still change by {change:.1e} after {found.iterations[i]} "
                "iterations; raise solver.max_iterations"
            )
        elif lost > NORM_ERROR:
            warning = (
                f"the axis misses the propagators by {lost:.1e}; raise its w_max (matsubara.w_max)"
            )
        elif abs(moment) > MOMENT_ERROR:
            warning = f"Sigma(i inf) is off U n by {moment:+.2g} D"
        return {
            "iterations": int(found.iterations[i]),
            "change": change,
            "moment_error": moment,
            "warning": warning,
        }


def high_frequency(omega_n: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """(B,) Re Sigma(i inf) from the last two frequencies: the next term falls with the square."""
    squares = omega_n[-2:] ** 2
    return np.diff(squares * sigma[:, -2:].real)[:, 0] / np.diff(squares)

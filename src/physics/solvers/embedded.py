"""`embedded`: a few bath levels exactly, what they miss of the bath by a cheap approximation.

Method: self-energy embedding (Kananenka, Gull, Zgid, PRB 91, 121111 (2015)) in the space of baths.
With ``Sigma = U n + U^2 n (1 - n) t`` of each solver,

``t = t_strong[levels] + t_weak[Delta] - t_weak[levels]``,

``levels`` the few that the strong solver fits to Delta. The weak solver answers to what the fit
leaves over, and its own error cancels to first order. n is the density of G itself, by Dyson's
equation with the bath as given; the double occupancy is Galitskii and Migdal's.
Range
    One orbital, finite temperature, imaginary axis. Exact at U = 0, in the atomic limit and for
    baths of as few levels; with perturbation theory as the weak solver to order U^2 for any bath.
    The norm and the first moments of G and Sigma hold. Causal where the strong solver's part
    outweighs a difference: ``Im Sigma > 0`` is warned of.
Cost
    One solve of the strong solver, two of the weak one. With three levels within perturbation
    theory G is up to five times nearer to the exact one than with the levels alone, in the median
    of a file's temperatures; the least gain, none, is in continuous baths at ``beta = 20`` to 50
    (docs/thermal.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmftnet import checks
from dmftnet.errors import SettingError
from dmftnet.physics.analysis.consistent_density import consistent_densities
from dmftnet.physics.analysis.self_energy import bath_misfit
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Capabilities, ImpuritySolution, ImpuritySolver, Solver
from dmftnet.physics.impurity.solutions import MatsubaraSolution
from dmftnet.physics.solvers.perturbative.thermal import THERMAL, Batch, answered, time_maps

SMALLEST = 1e-6
"""Of ``n (1 - n)``: of a level that is all but empty or full t is rounding, and does not matter."""


@dataclass(frozen=True)
class EmbeddedSolver(Solver):
    """A strong solver for a few levels within a weak one for the whole bath.

    Parameters
    ----------
    strong, weak : ImpuritySolver
        Both for one orbital at finite temperature. The strong one answers for the bath that it
        fits, as `dmftnet.physics.solvers.krylov.ed` does.

    Raises
    ------
    SettingError
        If one of them is no such solver.
    """

    strong: ImpuritySolver
    weak: ImpuritySolver
    name: ClassVar[str] = "embedded"
    capabilities: ClassVar[Capabilities] = THERMAL

    def __post_init__(self):
        for role in ("strong", "weak"):
            solver = getattr(self, role)
            if not isinstance(solver, ImpuritySolver):
                raise SettingError(
                    f"solver.{role} = {checks.shown(solver)}: give a solver, see conf/solver"
                )
            if not solver.capabilities.finite_temperature:
                raise SettingError(
                    f"solver.{role} = {solver.name}: give a solver for finite temperature, e.g. "
                    + ("ed" if role == "strong" else "ipt")
                )

    def solve(self, problem: ImpurityProblem) -> MatsubaraSolution:
        """Solve one problem."""
        return self.solve_both(problem)[1]

    def solve_both(self, problem: ImpurityProblem) -> tuple[ImpuritySolution, MatsubaraSolution]:
        """What the strong solver says alone, and the answer."""
        self.require(problem)
        axis = problem.axis
        strong = self.strong.solve(problem)
        values = problem.hybridization.at(1j * axis.omega_n)
        delta = values + bath_misfit(strong, axis)
        delta.imag = np.minimum(delta.imag, 0.0)  # of rounding: levels are causal
        given, levels = (
            problem.moved(MatsubaraHybridization(axis, each)) for each in (values, delta)
        )
        whole, part = self.weak.solve_batch([given, levels])
        batch = Batch.of_one(given)
        t = _dynamic(strong, problem) + _dynamic(whole, given) - _dynamic(part, levels)
        t = t[None] / problem.beta  # in 1/T
        even = batch.even
        if even.all():
            t = 1j * t.imag
        n, _ = consistent_densities(
            1 / batch.greens(0.0),
            (batch.U**2)[:, None] * t,
            batch.U,
            time_maps(batch.axis).density_weights[None],
        )
        said = {
            "fit_residual": strong.diagnostics.get("fit_residual"),
            "warning": strong.diagnostics.get("warning", ""),
        }
        return strong, answered(batch, [problem], np.where(even, 0.5, n), t, [said], self.name)[0]


def _dynamic(solution: ImpuritySolution, problem: ImpurityProblem) -> np.ndarray:
    """(n_iw,) complex128 t of a solution, in 1/D."""
    U, n = problem.U, solution.filling / 2
    if U == 0:
        return np.zeros(problem.axis.omega_n.size, dtype=complex)
    sigma = solution.matsubara_self_energy(problem.axis)[0]
    return (sigma - U * n) / (U**2 * max(n * (1 - n), SMALLEST))

"""A cheap exact solver for tests: mean-field level on a bath of a few sites, poles and all.

Imports nothing of the solvers it stands in for. With ``q = U <n_-s> d`` the Hartree self-energy is
``Sigma = U <n_-s>``, which the improved estimator must return exactly.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

import numpy as np

from dmftnet.errors import ConvergenceError
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Solver


@dataclass(frozen=True)
class ToySolver(Solver):
    """Hartree mean field on a discretised bath; `seconds` of sleep make a solve last.

    `fault` makes every solve with U above 2 go wrong: "norm", "sector", "error" or "crash".
    """

    n_bath: int = 12
    seconds: float = 0.0
    fault: str = ""
    name: str = "toy"

    def solve(self, problem: ImpurityProblem) -> PoleSolution:
        time.sleep(self.seconds)
        fault = self.fault if problem.U > 2 else ""
        if fault == "error":
            raise ConvergenceError("the toy solver was told to fail")
        if fault == "crash":
            os._exit(1)
        energies, couplings = self._bath(problem)
        filling = 1.0
        for _ in range(100):  # n -> level -> n, damped
            level = problem.eps_d[0] + problem.U * filling / 2
            H = np.diag(np.concatenate([[level], energies]))
            H[0, 1:] = H[1:, 0] = couplings
            poles, vectors = np.linalg.eigh(H)
            a_d = vectors[0]
            filling = 0.7 * filling + 0.3 * 2 * (a_d[poles < 0] ** 2).sum()
        filling = 2 * (a_d[poles < 0] ** 2).sum()
        a_d = a_d * (1.2 if fault == "norm" else 1.0)
        amplitudes = np.stack([a_d, problem.U * filling / 2 * a_d], axis=1)
        return PoleSolution(
            problem=problem,
            greens=(ResponsePoles(poles, amplitudes),),
            filling=float(filling),
            double_occupancy=float(filling**2 / 4),
            broadening=(0.02, 0.05),
            diagnostics={"sector_verified": fault != "sector"},
        )

    def _bath(self, problem: ImpurityProblem) -> tuple[np.ndarray, np.ndarray]:
        """Sites of equal weight: every quantile of the hybridization spectrum gives one."""
        weight = problem.spectrum[0] * problem.grid.weights
        share = (np.cumsum(weight) - weight / 2) / weight.sum()  # mirrored where the curve is
        at = (np.arange(self.n_bath) + 0.5) / self.n_bath
        energies = np.interp(at, share, problem.grid.omega)
        return energies, np.full(self.n_bath, np.sqrt(weight.sum() / self.n_bath))


@dataclass(frozen=True)
class TiringSolver(ToySolver):
    """Fails from its third solve on."""

    solved: list[ImpurityProblem] = field(default_factory=list)

    def solve(self, problem: ImpurityProblem) -> PoleSolution:
        if len(self.solved) == 2:
            raise ConvergenceError("stopped at a residual")
        self.solved.append(problem)
        return super().solve(problem)

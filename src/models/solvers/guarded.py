"""A network where it can be trusted, the exact solver for all other problems.

`GuardedSolver` tries the network first. A problem whose parameters, distance to the training data
or ensemble spread exceed the network's calibrated limits (`dmftnet.models.solvers.applicability`)
goes to the exact solver, so that only those iterations of a DMFT loop cost an exact solve.
Diagnostics count them (``fallback``). The problems can be collected with their exact poles as
training data (`dmftnet.data.plans.collected`).

Grid
    Loops run on the network's grid. The exact solver integrates the piecewise-linear hybridization
    exactly; the coarse grid costs only the interpolation of its answers. Half-filled Bethe loops,
    all iterations by ``ras``, on 160 points from 3e-3 to 6 D against 800 from 1e-3 to 8 D (KL at
    the data's resolution):

    ===================  ==============  ================  ================  ======
    loop                 A(0) pi D/2     Z                 double occupancy  KL
    ===================  ==============  ================  ================  ======
    U = 2, metal         1.000 (1.000)   0.2639 (0.2626)   0.0853 (0.0853)   2.8e-4
    U = 2.7, metal       0.999 (0.998)   0.0551 (0.0567)   0.0323 (0.0325)   1.6e-3
    U = 4, insulator     0.001 (0.000)   0                 0.0082 (0.0082)   2.0e-3
    ===================  ==============  ================  ================  ======
Range
    That of the exact solver, at worst at its cost. Near a limit a loop may alternate between the
    two and stop at the difference of their answers instead of its tolerance. The loop's reason
    says so; a smaller ``limits.spread`` prevents it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmftnet import checks
from dmftnet.data.plans.collected import ProblemCollector
from dmftnet.errors import DmftnetError, SettingError
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver, Solver


class GuardedSolver(Solver):
    """Network first, exact solver beyond its limits.

    Parameters
    ----------
    network : NetworkSolver
        With limits, as ``ship.py`` calibrates them.
    exact : ImpuritySolver
    collect : path, optional
        File to which every problem of the exact solver is appended with its poles. One process at
        a time writes it.

    Raises
    ------
    DmftnetError
        If the network has no limits: nothing would ever be guarded.

    Notes
    -----
    `close` completes the collected file; without it (a killed process) the file's next writer does.
    """

    name = "guarded"

    def __init__(
        self, network: NetworkSolver, exact: ImpuritySolver, collect: str | Path | None = None
    ):
        for name, solver, kind in (
            ("network", network, NetworkSolver),
            ("exact", exact, ImpuritySolver),
        ):
            if not isinstance(solver, kind):
                raise SettingError(
                    f"solver.{name} = {checks.shown(solver)}: give a {kind.__name__}, see "
                    "conf/solver/guarded.yaml"
                )
        if not network.applicability.limits:
            raise DmftnetError(
                f"solver.network: '{network.label}' has no limits to guard; use a folder that "
                "ship.py wrote, or give limits.distance and limits.spread"
            )
        self.network, self.exact = network, exact
        self.grid, self.capabilities = network.grid, network.capabilities
        self._collector = None
        if collect is not None:
            checks.path("solver.collect", collect, "the path of a file, or null")
            self._collector = ProblemCollector(collect, network.grid, network.resolution)

    def notice(self) -> str:
        """That of the exact solver."""
        return self.exact.notice()

    def solve(self, problem: ImpurityProblem) -> ImpuritySolution:
        """Solve one problem."""
        return self.solve_batch([problem])[0]

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> list[ImpuritySolution]:
        """Solve all: the network in one pass, then the exact solver the rest."""
        for problem in problems:
            self.require(problem)
        solutions = self.network.solve_batch(problems)
        for solution in solutions:
            solution.diagnostics["fallback"] = False
        beyond = [i for i, s in enumerate(solutions) if s.diagnostics["warning"]]
        answers = self.exact.solve_batch([problems[i] for i in beyond])
        for i, answer in zip(beyond, answers, strict=True):
            said = solutions[i].diagnostics
            answer.diagnostics.update(
                {key: said[key] for key in ("checkpoint", "extrapolating", "spread", "distance")},
                fallback=True,
                fallback_reason=said["warning"],
            )
            if self._collector is not None:
                self._collector.add(problems[i], answer, said["warning"])
            solutions[i] = answer
        return solutions

    def close(self, failed: bool = False) -> None:
        """Complete the collected file, if there is one; one that holds nothing is not left."""
        self.exact.close(failed)
        if self._collector is not None:
            (self._collector.abandon if failed else self._collector.close)()
            self._collector = None

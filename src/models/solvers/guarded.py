"""A learned solver where it can be trusted, the exact solver for all other problems.

The learned solver tries first. A problem whose parameters, distance to the training data or
ensemble spread exceed its calibrated limits (`dmftnet.models.solvers.applicability` of networks,
`dmftnet.models.correction.trust` of corrections), or whose answer it cannot complete, goes to the
exact solver, so that only those iterations of a DMFT loop cost an exact solve. Diagnostics count
them (``fallback``). `GuardedSolver` guards networks on the real axis; what it leaves can be
collected with its exact poles as training data (`dmftnet.data.plans.collected`).
`GuardedCorrection` guards corrections at finite temperature.

Grid
    Loops on the real axis run on the network's grid. The exact solver integrates the
    piecewise-linear hybridization exactly; the coarse grid costs only the interpolation of its
    answers. Half-filled Bethe loops, all iterations by ``ras``, on 160 points from 3e-3 to 6 D
    against 800 from 1e-3 to 8 D (KL at the data's resolution):

    ===================  ==============  ================  ================  ======
    loop                 A(0) pi D/2     Z                 double occupancy  KL
    ===================  ==============  ================  ================  ======
    U = 2, metal         1.000 (1.000)   0.2639 (0.2626)   0.0853 (0.0853)   2.8e-4
    U = 2.7, metal       0.999 (0.998)   0.0551 (0.0567)   0.0323 (0.0325)   1.6e-3
    U = 4, insulator     0.001 (0.000)   0                 0.0082 (0.0082)   2.0e-3
    ===================  ==============  ================  ================  ======

    Loops on the imaginary axis have their own frequencies.
Range
    What both solvers take, at worst at the exact one's cost. Near a limit a loop may alternate
    between the two and stop at the difference of their answers instead of its tolerance. The loop's
    reason says so; a smaller ``limits.spread`` prevents it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dmftnet import checks
from dmftnet.data.plans.collected import ProblemCollector
from dmftnet.errors import ConvergenceError, DmftnetError, SettingError
from dmftnet.models.solvers.correction import CorrectionSolver
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver, Solver

SCORES = ("extrapolating", "spread", "distance")
"""Diagnostics of a learned answer, of which ``checkpoint`` and ``warning`` are the others."""


class Learned(ImpuritySolver, Protocol):
    """What can be guarded: a solver whose diagnostics say where not to trust it.

    Every solution's `diagnostics` hold ``checkpoint``, those of `SCORES`, and ``warning``, empty
    within the limits.

    Attributes
    ----------
    label : str
        Of its weights.
    limits : mapping
        Of spread and distance.
    """

    @property
    def label(self) -> str: ...

    @property
    def limits(self) -> Mapping[str, float]: ...


class Guard(Solver):
    """Base of guarded solvers: the learned one first, the exact one beyond its limits.

    Parameters
    ----------
    key : str
        Of the learned solver in the config.
    learned : Learned
        With limits, as ``ship.py`` calibrates them.
    exact : ImpuritySolver

    Raises
    ------
    DmftnetError
        If the learned solver has no limits: nothing would ever be guarded.
    """

    def __init__(self, key: str, learned: Learned, exact: ImpuritySolver):
        if not learned.limits:
            raise DmftnetError(
                f"solver.{key}: '{learned.label}' has no limits to guard; use a folder that "
                "ship.py wrote, or give limits.distance and limits.spread"
            )
        self.learned, self.exact, self.grid = learned, exact, learned.grid
        self.capabilities = learned.capabilities.common(exact.capabilities)

    def notice(self) -> str:
        """That of the exact solver."""
        return self.exact.notice()

    def solve(self, problem: ImpurityProblem) -> ImpuritySolution:
        """Solve one problem."""
        return self.solve_batch([problem])[0]

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> list[ImpuritySolution]:
        """Solve all: the learned solver in one pass, then the exact solver the rest."""
        for problem in problems:
            self.require(problem)
        found = self._tried(problems)
        beyond = [i for i, (_, said) in enumerate(found) if said["warning"]]
        answers = self.exact.solve_batch([problems[i] for i in beyond])
        exact = dict(zip(beyond, answers, strict=True))
        solutions = []
        for i, (solution, said) in enumerate(found):
            if i in exact:
                solution = exact[i]
                solution.diagnostics.update(
                    {key: said[key] for key in ("checkpoint", *SCORES)},
                    fallback=True,
                    fallback_reason=said["warning"],
                )
                self.left(problems[i], solution, said["warning"])
            else:
                assert solution is not None  # without an answer there is a warning
                solution.diagnostics["fallback"] = False
            solutions.append(solution)
        return solutions

    def left(self, problem: ImpurityProblem, solution: ImpuritySolution, reason: str) -> None:
        """What to do with a problem that the exact solver had to solve; nothing by default."""

    def _tried(
        self, problems: Sequence[ImpurityProblem]
    ) -> list[tuple[ImpuritySolution | None, dict[str, Any]]]:
        """Learned answers with their diagnostics; one that cannot be completed is None.

        In a batch one problem's failure is that of all, so each is then tried alone.
        """
        try:
            return [(s, s.diagnostics) for s in self.learned.solve_batch(problems)]
        except ConvergenceError as error:
            if len(problems) > 1:
                return [self._tried([problem])[0] for problem in problems]
            said = {"checkpoint": self.learned.label, "warning": str(error)}
            return [(None, dict.fromkeys(SCORES) | said)]

    def close(self, failed: bool = False) -> None:
        self.exact.close(failed)


class GuardedSolver(Guard):
    """A network first, an exact solver on the real axis beyond its limits.

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
        _require_kind("guarded", "network", network, NetworkSolver)
        _require_kind("guarded", "exact", exact, ImpuritySolver)
        super().__init__("network", network, exact)
        self._collector = None
        if collect is not None:
            checks.path("solver.collect", collect, "the path of a file, or null")
            self._collector = ProblemCollector(collect, network.network_grid, network.resolution)

    def left(self, problem: ImpurityProblem, solution: ImpuritySolution, reason: str) -> None:
        if self._collector is not None:
            self._collector.add(problem, solution, reason)

    def close(self, failed: bool = False) -> None:
        """Complete the collected file, if there is one; one that holds nothing is not left."""
        super().close(failed)
        if self._collector is not None:
            (self._collector.abandon if failed else self._collector.close)()
            self._collector = None


class GuardedCorrection(Guard):
    """A correction at finite temperature first, an exact solver beyond its limits.

    Parameters
    ----------
    correction : CorrectionSolver
        With limits, as ``ship.py`` calibrates them.
    exact : ImpuritySolver
        At finite temperature, on the imaginary axis.

    Raises
    ------
    DmftnetError
        If the correction has no limits: nothing would ever be guarded.
    """

    name = "guarded_correction"

    def __init__(self, correction: CorrectionSolver, exact: ImpuritySolver):
        _require_kind("guarded_correction", "correction", correction, CorrectionSolver)
        _require_kind("guarded_correction", "exact", exact, ImpuritySolver)
        super().__init__("correction", correction, exact)


def _require_kind(config: str, key: str, solver: Any, kind: type) -> None:
    if not isinstance(solver, kind):
        raise SettingError(
            f"solver.{key} = {checks.shown(solver)}: give a {kind.__name__}, see "
            f"conf/solver/{config}.yaml"
        )

"""What a DMFT loop yields: its iterations, its end, and what is left where a solve fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dmftnet.errors import ConvergenceError
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution


class _Sites:
    """What has ``problems`` and ``solutions``, one a site, and often a single one."""

    problems: tuple[ImpurityProblem, ...]
    solutions: tuple[ImpuritySolution, ...]

    @property
    def problem(self) -> ImpurityProblem:
        """That of the first site."""
        return self.problems[0]

    @property
    def solution(self) -> ImpuritySolution:
        """That of the first site."""
        return self.solutions[0]


@dataclass(frozen=True, eq=False)
class DMFTResult(_Sites):
    """The end of one loop, converged or not.

    Parameters
    ----------
    problems : tuple of ImpurityProblem, one a site
        The last that were solved; their hybridizations are the input of the last iteration.
    solutions : tuple of ImpuritySolution
    converged : bool
    iterations : int
    kl_history : tuple of float
        ``KL(new || input)`` of each iteration, or the measure of another kind of hybridization;
        the largest over sites and orbitals.
    reason : str
        Why the loop ended, one line.
    plateau : (float, float), optional, in D
        Range of eps_d with the same filling, where a filling search ended inside a gap.
    diagnostics : tuple of dict
        What the solver said of each iteration's solve.
    note : str
        What a user should know of how the end was judged; empty if nothing.
    """

    problems: tuple[ImpurityProblem, ...]
    solutions: tuple[ImpuritySolution, ...]
    converged: bool
    iterations: int
    kl_history: tuple[float, ...]
    reason: str
    plateau: tuple[float, float] | None = None
    diagnostics: tuple[dict[str, Any], ...] = ()
    note: str = ""

    @property
    def warning(self) -> str:
        """The note, and what the solver warned of on the way, in one line; empty if nothing."""
        said = [step["warning"] for step in self.diagnostics if step.get("warning")]
        if not said:
            return self.note
        last = "the last included" if self.diagnostics[-1].get("warning") else "not the last"
        warned = f"{len(said)} of {len(self.diagnostics)} solves, {last}: {said[-1]}"
        return f"{self.note}; {warned}" if self.note else warned


class SolveFailedError(ConvergenceError):
    """A solve that did not converge within a loop; its text is that of the solver.

    To another process the text alone goes, as a `ConvergenceError`.

    Attributes
    ----------
    result : DMFTResult
        The last iteration that was solved, not converged.
    """

    def __init__(self, text: str, result: DMFTResult):
        super().__init__(text)
        self.result = result

    def __reduce__(self):
        return ConvergenceError, self.args


@dataclass(frozen=True, eq=False)
class Iteration(_Sites):
    """What a progress report sees after each solve: ``index`` counts loops of the batch."""

    index: int
    number: int
    kl: float
    problems: tuple[ImpurityProblem, ...]
    solutions: tuple[ImpuritySolution, ...]

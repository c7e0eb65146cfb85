"""Dynamical mean-field theory: the self-consistency loop for one problem or a batch.

Each iteration solves the impurity problem and asks the lattice for the new hybridization spectrum;
the fixed point is the DMFT solution. Every solver drives through the same loop, and a solver that
gains from batches gets all unfinished problems at once.

Convergence is judged on what the iteration *produces*, before mixing: ``KL(new || input)`` of the
normalised hybridization spectra, in two consecutive iterations at most the tolerance. Small mixing
therefore cannot fake it. Next to it the value at zero frequency must stand still: a quasiparticle
peak that dies slowly above U_c2 weighs too little to show in the KL, and would pass for a metal.
And along its last step the iteration must contract, by an eigenvalue of at most `EIGENVALUE`:
beyond the end of a branch it creeps, for a while as if it stood still, past the remnant of the
solution, and from a fixed point that it does not hold it departs as slowly.
A loop that does not converge is a result with a reason, no exception.

Cost: iterations x one solve; 6 to 10 iterations in a metal or insulator, 20 to 60 near the Mott
transition (U from 2.3 to 3), where both solutions are stable and the start decides.

References: A. Georges, G. Kotliar, W. Krauth, M. Rozenberg, RMP 68, 13 (1996).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.errors import DmftnetWarning, InvalidProblemError, SettingError
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.dmft.mixing import AndersonMixing, Mixer, Mixing
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice

EIGENVALUE = 0.95
"""Largest eigenvalue of the iteration along its last step at which it counts as about to arrive:
the way left to go is then at most 20 residuals."""

NOISE = 1e-3
"""KL, in tolerances, below which a step may be rounding and its eigenvalue is not asked for."""


@dataclass(frozen=True, eq=False)
class DMFTResult:
    """The end of one loop, converged or not.

    Parameters
    ----------
    problem : ImpurityProblem
        The last problem that was solved; its hybridization is the input of the last iteration.
    solution : ImpuritySolution
    converged : bool
    iterations : int
    kl_history : tuple of float
        ``KL(new || input)`` of each iteration, the largest over orbitals.
    reason : str
        Why the loop ended, one line.
    plateau : (float, float), optional, in D
        Range of eps_d with the same filling, where a filling search ended inside a gap.
    diagnostics : tuple of dict
        What the solver said of each iteration's solve.
    note : str
        What a user should know of how the end was judged; empty if nothing.
    """

    problem: ImpurityProblem
    solution: ImpuritySolution
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


@dataclass(frozen=True, eq=False)
class Iteration:
    """What a progress report sees after each solve: ``index`` counts problems of the batch."""

    index: int
    number: int
    kl: float
    problem: ImpurityProblem
    solution: ImpuritySolution


@dataclass
class _Run:
    """One problem on its way through the loop."""

    index: int
    problem: ImpurityProblem
    mixer: Mixer
    symmetric: bool
    kl: list[float] = field(default_factory=list)
    eigenvalue: float = np.inf
    last: tuple[np.ndarray, np.ndarray] | None = None  # input and residual before
    drift: list[float] = field(default_factory=list)
    diagnostics: list[dict[str, Any]] = field(default_factory=list)
    result: DMFTResult | None = None


class DMFTLoop:
    """The self-consistency loop.

    Parameters
    ----------
    solver : ImpuritySolver
    lattice : Lattice
    mixing : Mixing
        Acts on the hybridization spectrum; the mixed spectrum is clipped at zero.
    tolerance : float
        On the KL of the unmixed hybridization, in two consecutive iterations.
    zero_tolerance : float
        On the change of its value at zero frequency, relative to its maximum, in the same two.
    max_iterations : int
    on_iteration : callable, optional
        Called with an `Iteration` after each solve of each problem.
    """

    def __init__(
        self,
        solver: ImpuritySolver,
        lattice: Lattice,
        mixing: Mixing | None = None,
        *,
        tolerance: float = 1e-5,
        zero_tolerance: float = 2e-3,
        max_iterations: int = 60,
        on_iteration: Callable[[Iteration], None] | None = None,
    ):
        tolerance = checks.number("loop.tolerance", tolerance)
        zero_tolerance = checks.number("loop.zero_tolerance", zero_tolerance)
        max_iterations = checks.integer("loop.max_iterations", max_iterations)
        if not (tolerance > 0 and zero_tolerance > 0) or max_iterations < 1:
            raise InvalidProblemError(
                f"DMFT loop with tolerance = {tolerance}, zero_tolerance = {zero_tolerance}, "
                f"max_iterations = {max_iterations}: needs tolerances > 0 and max_iterations >= 1"
            )
        if mixing is not None and not isinstance(mixing, Mixing):
            raise SettingError(f"loop.mixing = {checks.shown(mixing)}: give a Mixing, or nothing")
        self.solver = solver
        self.lattice = lattice
        self.mixing = mixing if mixing is not None else AndersonMixing()
        self.tolerance = float(tolerance)
        self.zero_tolerance = float(zero_tolerance)
        self.max_iterations = int(max_iterations)
        self.on_iteration = on_iteration

    def run(self, problems: Sequence[ImpurityProblem]) -> list[DMFTResult]:
        """Iterate every problem, from its own hybridization, to self-consistency.

        Parameters
        ----------
        problems : sequence of ImpurityProblem
            Their ``filling`` targets are not looked at; see `dmftnet.physics.dmft.filling`.

        Returns
        -------
        list of DMFTResult, in order

        Warns
        -----
        DmftnetWarning
            Once, where the solver warned of any of its solves.
        """
        runs = [
            _Run(i, problem, self.mixing.start(), self._keeps_symmetry(problem))
            for i, problem in enumerate(problems)
        ]
        active = runs
        while active:
            solutions = self.solver.solve_batch([run.problem for run in active])
            for run, solution in zip(active, solutions, strict=True):
                self._advance(run, solution)
            active = [run for run in active if run.result is None]
        warned = [run.result.warning for run in runs if run.result.warning]
        if warned:
            text = (
                warned[-1]
                if len(runs) == 1
                else f"{len(warned)} of {len(runs)} loops; {warned[-1]}"
            )
            warnings.warn(text, DmftnetWarning, stacklevel=2)
        return [run.result for run in runs]

    def run_one(self, problem: ImpurityProblem) -> DMFTResult:
        """The loop for a single problem."""
        return self.run([problem])[0]

    def _keeps_symmetry(self, problem: ImpurityProblem) -> bool:
        """Whether the exact iteration stays particle-hole symmetric; rounding must not break it."""
        return self.lattice.particle_hole_symmetric and problem.is_particle_hole_symmetric()

    def _advance(self, run: _Run, solution: ImpuritySolution) -> None:
        """Judge one solve, and set either the next problem or the result."""
        problem = run.problem
        new = np.array(self.lattice.hybridization(problem, solution))
        if run.symmetric:
            new = 0.5 * (new + new[:, ::-1])
        finite = bool(np.all(np.isfinite(new)))
        kl = hybridization_kl(problem.grid, new, problem.spectrum) if finite else np.inf
        run.kl.append(kl)
        run.diagnostics.append(solution.diagnostics)
        run.drift.append(zero_frequency_drift(problem.grid, new, problem.spectrum))
        if self.on_iteration is not None:
            self.on_iteration(Iteration(run.index, len(run.kl), kl, problem, solution))
        scale = np.sqrt(problem.grid.weights)  # lengths are then integrals
        x, fx = (problem.spectrum * scale).reshape(-1), (new * scale).reshape(-1)
        run.eigenvalue = _eigenvalue(run.last, (x, fx - x))
        run.last = x, fx - x
        ended = self._verdict(run, finite)
        if ended is None:
            mixed = run.mixer.step(x, fx).reshape(new.shape) / scale
            run.problem = problem.replace(spectrum=np.maximum(mixed, 0.0))
            return
        converged, reason = ended
        run.result = DMFTResult(
            problem,
            solution,
            converged,
            len(run.kl),
            tuple(run.kl),
            reason,
            diagnostics=tuple(run.diagnostics),
        )

    def _verdict(self, run: _Run, finite: bool) -> tuple[bool, str] | None:
        if not finite:
            return False, f"the solver's spectrum is not finite in iteration {len(run.kl)}"
        if not self.lattice.self_consistent:
            return True, "one impurity solve, no self-consistency asked for"
        quiet = max(run.kl[-2:]) <= self.tolerance
        still = max(run.drift[-2:]) <= self.zero_tolerance
        arriving = run.eigenvalue <= EIGENVALUE or run.kl[-1] <= NOISE * self.tolerance
        if len(run.kl) >= 2 and quiet and still and arriving:
            return True, f"KL {run.kl[-1]:.2e} <= {self.tolerance:.2e} in two iterations"
        if len(run.kl) < self.max_iterations:
            return None
        measured = f"KL {run.kl[-1]:.2e} against {self.tolerance:.2e}"
        if quiet and still:
            measured = (
                f"the loop creeps: eigenvalue {run.eigenvalue:.3f} along its last step against "
                f"{EIGENVALUE}, KL {run.kl[-1]:.2e}"
            )
        elif quiet:
            measured = f"change at w = 0 of {run.drift[-1]:.2e} against {self.zero_tolerance:.2e}"
        return False, (
            f"{measured} after {len(run.kl)} iterations; raise max_iterations, mix less, or start "
            "from this solution"
        )


def _eigenvalue(before: tuple[np.ndarray, np.ndarray] | None, now) -> float:
    """``1 + s.y / s.s`` of a step s that changed the residual by y; each an (input, residual)."""
    if before is None:
        return np.inf
    s, y = now[0] - before[0], now[1] - before[1]
    square = s @ s
    return float(1 + s @ y / square) if square > 0 else np.inf


def hybridization_kl(grid: FrequencyGrid, new: np.ndarray, old: np.ndarray) -> float:
    """Largest ``KL(new || old)`` over orbitals of (n_orb, n_w) spectra normalised to one."""
    norms = grid.integrate(new)[:, None], grid.integrate(old)[:, None]
    if np.any(norms[0] <= 0) or np.any(norms[1] <= 0):
        return 0.0 if np.array_equal(new, old) else np.inf  # no bath at all: the atomic limit
    return float(np.max(kl_divergence(grid, new / norms[0], old / norms[1])))


def zero_frequency_drift(grid: FrequencyGrid, new: np.ndarray, old: np.ndarray) -> float:
    """Largest ``|new(0) - old(0)| / max(old)`` over orbitals of (n_orb, n_w) spectra."""
    change = np.abs(grid.at_zero(new) - grid.at_zero(old))
    peak = old.max(axis=-1)
    return float(np.max(np.where(change > 0, change / np.where(peak > 0, peak, 1e-300), 0.0)))


def continue_in_U(
    loop: DMFTLoop,
    problem: ImpurityProblem,
    U_values: Sequence[float],
    lost: Callable[[DMFTResult], bool] | None = None,
) -> list[DMFTResult]:
    """Solutions along a path in U, each started from the one before; draws the hysteresis.

    ``eps_d + U/2`` stays constant, so a half-filled path stays half filled.

    Parameters
    ----------
    problem : ImpurityProblem
        Gives the start of the first U and the doping ``eps_d + U/2``.
    U_values : sequence of float, in D
        In the order of the path: rising follows the metal, falling the insulator.
    lost : callable, optional
        Says whether a solution has left the branch; the path ends with the first that has, since
        what follows would only repeat the other branch.
    """
    doping = problem.eps_d + problem.U / 2
    results: list[DMFTResult] = []
    for U in U_values:
        start = results[-1].problem.spectrum if results else problem.spectrum
        results.append(loop.run_one(problem.replace(U=U, eps_d=doping - U / 2, spectrum=start)))
        if lost is not None and lost(results[-1]):
            break
    return results

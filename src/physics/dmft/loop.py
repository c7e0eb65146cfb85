"""Dynamical mean-field theory: the self-consistency loop for one problem or a batch.

Each iteration solves the impurity problems and asks the lattice for the new hybridizations; the
fixed point is the DMFT solution. A lattice of several inequivalent sites has an impurity problem
for each of them, solved together and mixed as one vector; one site is a case of it. Every solver
drives through the same loop, and a solver that gains from batches gets all unfinished problems at
once.

Convergence is judged on what the iteration *produces*, before mixing, by the measure of its
hybridization: on the real axis ``KL(new || input)`` of the normalised spectra, on the imaginary
axis the largest relative change; in two consecutive iterations at most the tolerance. Small mixing
therefore cannot fake it. Next to it the value at zero frequency must stand still: a quasiparticle
peak that dies slowly above U_c2 weighs too little to show in the KL, and would pass for a metal.
And along its last step the iteration must contract, by an eigenvalue of at most `EIGENVALUE`:
beyond the end of a branch it creeps, for a while as if it stood still, past the remnant of the
solution, and from a fixed point that it does not hold it departs as slowly.
A loop that does not converge is a result with a reason, no exception; a solve that does not is an
exception that holds what the loop had reached, `SolveFailedError`.

A statistical solver says its ``noise``, the relative standard error of G. Below `STANDARD_ERRORS`
of it nothing can be judged, so tolerances are at least as large, and the reason says so. Noise
feeds back: what such a loop ends with has about three times the error of a single solve.

Cost: iterations x one solve; 6 to 10 iterations in a metal or insulator, 20 to 60 near the Mott
transition (U from 2.3 to 3), where both solutions are stable and the start decides.

References: A. Georges, G. Kotliar, W. Krauth, M. Rozenberg, RMP 68, 13 (1996).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.errors import (
    ConvergenceError,
    DmftnetWarning,
    InvalidProblemError,
    NotFiniteError,
    SettingError,
)
from dmftnet.physics.dmft.iterations import DMFTResult, Iteration, SolveFailedError
from dmftnet.physics.dmft.mixing import AndersonMixing, Mixer, Mixing
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice

EIGENVALUE = 0.95
"""Largest eigenvalue of the iteration along its last step at which it counts as about to arrive:
the way left to go is then at most 20 residuals."""

NOISE = 1e-3
"""KL, in tolerances, below which a step may be rounding and its eigenvalue is ignored."""


STANDARD_ERRORS = 2.0
"""Of a statistical solver, within which a change is none: the difference of two solves has 1.4."""


@dataclass
class _Run:
    """The sites of one lattice on their way through the loop."""

    index: int
    problems: tuple[ImpurityProblem, ...]
    mixer: Mixer
    symmetric: tuple[bool, ...]
    kl: list[float] = field(default_factory=list)
    eigenvalue: float = np.inf
    last: tuple[np.ndarray, np.ndarray] | None = None  # input and residual before
    drift: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    diagnostics: list[dict[str, Any]] = field(default_factory=list)
    solved: tuple[tuple[ImpurityProblem, ...], tuple[ImpuritySolution, ...]] | None = None
    result: DMFTResult | None = None

    def ended(self, converged: bool, reason: str) -> DMFTResult:
        """With the last iteration that was solved."""
        assert self.solved is not None
        history, said = tuple(self.kl), tuple(self.diagnostics)
        return DMFTResult(*self.solved, converged, len(history), history, reason, diagnostics=said)


class DMFTLoop:
    """The self-consistency loop.

    Parameters
    ----------
    solver : ImpuritySolver
    lattice : Lattice
    mixing : Mixing
        Acts on the hybridizations of all sites. A mixed spectrum is clipped at zero; where mixed
        values on the imaginary axis are not causal, a convex combination takes their place.
    tolerance : float
        On the change of the unmixed hybridization by its own measure, in two consecutive
        iterations; a statistical solver's noise raises it.
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

    def run(
        self, problems: Sequence[ImpurityProblem | Sequence[ImpurityProblem]]
    ) -> list[DMFTResult]:
        """Iterate every problem, from its own hybridization, to self-consistency.

        Parameters
        ----------
        problems : sequence of ImpurityProblem, or of sequences of them
            A sequence holds the inequivalent sites of one lattice. Their ``filling`` targets are
            not looked at; see `dmftnet.physics.dmft.filling`.

        Returns
        -------
        list of DMFTResult, in order

        Raises
        ------
        SolveFailedError
            If the solver does not converge, of a single loop after its first iteration.

        Warns
        -----
        DmftnetWarning
            Once, where the solver warned of any of its solves.
        """
        runs = [self._begin(i, sites) for i, sites in enumerate(problems)]
        active = runs
        while active:
            try:
                found = self.solver.solve_batch([p for run in active for p in run.problems])
            except ConvergenceError as error:
                if len(runs) > 1 or runs[0].solved is None:
                    raise
                reason = f"iteration {len(runs[0].kl) + 1} failed: {error}"
                raise SolveFailedError(str(error), runs[0].ended(False, reason)) from error
            solutions = iter(found)
            for run in active:
                self._advance(run, tuple(islice(solutions, len(run.problems))))
            active = [run for run in active if run.result is None]
        results = [run.result for run in runs if run.result is not None]  # which now all have
        warned = [result.warning for result in results if result.warning]
        if warned:
            text = (
                warned[-1]
                if len(runs) == 1
                else f"{len(warned)} of {len(runs)} loops; {warned[-1]}"
            )
            warnings.warn(text, DmftnetWarning, stacklevel=2)
        return results

    def run_one(self, problem: ImpurityProblem | Sequence[ImpurityProblem]) -> DMFTResult:
        """The loop for a single problem, or for the sites of a single lattice."""
        return self.run([problem])[0]

    def _begin(self, index: int, sites: ImpurityProblem | Sequence[ImpurityProblem]) -> _Run:
        problems = (sites,) if isinstance(sites, ImpurityProblem) else tuple(sites)
        # where the exact iteration stays particle-hole symmetric rounding must not break it
        symmetric = tuple(
            self.lattice.particle_hole_symmetric and problem.is_particle_hole_symmetric()
            for problem in problems
        )
        return _Run(index, problems, self.mixing.start(), symmetric)

    def _advance(self, run: _Run, solutions: tuple[ImpuritySolution, ...]) -> None:
        """Judge one solve, and set either the next problems or the result."""
        problems = run.problems
        run.solved = problems, solutions
        old = [problem.hybridization for problem in problems]
        new = self._update(run, solutions)
        both = list(zip(old, new, strict=True)) if new is not None else []
        kl = max(a.change(b) for a, b in both) if new is not None else np.inf
        run.kl.append(kl)
        run.drift.append(max((a.drift(b) for a, b in both), default=np.inf))
        run.noise.append(max(s.diagnostics.get("noise", 0.0) for s in solutions))
        run.diagnostics.append(_joined([solution.diagnostics for solution in solutions]))
        if self.on_iteration is not None:
            self.on_iteration(Iteration(run.index, len(run.kl), kl, problems, solutions))
        if new is not None:
            before, after = ([h.vector() for h in each] for each in (old, new))
            x, fx = np.concatenate(before), np.concatenate(after)
            run.eigenvalue = _eigenvalue(run.last, (x, fx - x))
            run.last = x, fx - x
        ended = self._verdict(run, new is not None)
        if ended is None:
            ends = np.cumsum([part.size for part in before])[:-1]
            parts = np.split(run.mixer.step(x, fx), ends)
            if not all(bath.accepts(part) for bath, part in zip(old, parts, strict=True)):
                parts = np.split(run.mixer.plain(x, fx), ends)
            run.problems = _moved(problems, parts)
            return
        run.result = run.ended(*ended)

    def _update(
        self, run: _Run, solutions: tuple[ImpuritySolution, ...]
    ) -> list[Hybridization] | None:
        """The lattice's answer; None if it holds a value that is no number."""
        try:
            new = self.lattice.update(run.problems, solutions)
        except NotFiniteError:
            return None
        return [
            h.averaged(h.particle_hole()) if symmetric else h
            for h, symmetric in zip(new, run.symmetric, strict=True)
        ]

    def _verdict(self, run: _Run, finite: bool) -> tuple[bool, str] | None:
        if not finite:
            return False, f"the solver's spectrum is not finite in iteration {len(run.kl)}"
        if not self.lattice.self_consistent:
            return True, "one impurity solve, no self-consistency asked for"
        measure = run.problems[0].hybridization.measure
        unseen = STANDARD_ERRORS * max(run.noise[-2:])
        quiet = max(run.kl[-2:]) <= max(self.tolerance, unseen)
        still = max(run.drift[-2:]) <= max(self.zero_tolerance, unseen)
        arriving = run.eigenvalue <= EIGENVALUE or run.kl[-1] <= NOISE * self.tolerance
        if len(run.kl) >= 2 and quiet and still and arriving:
            if max(run.kl[-2:]) > self.tolerance:
                return True, (
                    f"{measure} {run.kl[-1]:.2e} in two iterations within {STANDARD_ERRORS:g} "
                    f"standard errors of the solver, {run.noise[-1]:.1e} each"
                )
            return True, f"{measure} {run.kl[-1]:.2e} <= {self.tolerance:.2e} in two iterations"
        if len(run.kl) < self.max_iterations:
            return None
        measured = f"{measure} {run.kl[-1]:.2e} against {self.tolerance:.2e}"
        if quiet and still:
            measured = (
                f"the loop creeps: eigenvalue {run.eigenvalue:.3f} along its last step against "
                f"{EIGENVALUE}, {measure} {run.kl[-1]:.2e}"
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


def _moved(
    problems: tuple[ImpurityProblem, ...], parts: list[np.ndarray]
) -> tuple[ImpurityProblem, ...]:
    """The problems with the hybridizations that vectors hold."""
    return tuple(
        problem.moved(problem.hybridization.with_vector(part))
        for problem, part in zip(problems, parts, strict=True)
    )


def _joined(diagnostics: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several sites: those of the first, and the warnings of all."""
    if len(diagnostics) == 1:
        return diagnostics[0]
    said = [
        f"site {i}: {each['warning']}" for i, each in enumerate(diagnostics) if each.get("warning")
    ]
    return diagnostics[0] | {"warning": "; ".join(said)}


def continue_in_U(
    loop: DMFTLoop,
    problem: ImpurityProblem,
    U_values: Sequence[float],
    lost: Callable[[DMFTResult], bool] | None = None,
) -> list[DMFTResult]:
    """Solutions along a path in U, each started from the one before; draws the hysteresis.

    The distance of the levels from half filling, ``eps_d + U/2`` for one orbital, stays constant.

    Parameters
    ----------
    problem : ImpurityProblem
        Gives the start of the first U and that distance.
    U_values : sequence of float, in D
        In the order of the path: rising follows the metal, falling the insulator.
    lost : callable, optional
        Says whether a solution has left the branch; the path ends with the first that has, since
        what follows would only repeat the other branch.
    """
    doping = problem.eps_d - problem.interaction.half_filling(problem.n_orb)
    results: list[DMFTResult] = []
    for U in U_values:
        start = results[-1].problem if results else problem
        following = problem.replace(U=U, hybridization=start.hybridization)
        half = following.interaction.half_filling(problem.n_orb)
        results.append(loop.run_one(following.replace(eps_d=doping + half)))
        if lost is not None and lost(results[-1]):
            break
    return results

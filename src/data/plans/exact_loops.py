"""The reference loops of the exact solver; a plan for `generate`.

Three kinds of series, distinguished by their keys, on the lattice of the run or a named one:

* ``shift``: independent loops at every combination of U, ``eps_d + U/2`` and start;
* ``filling``: searches for the level (`dmftnet.physics.dmft.filling`) at every combination;
* ``path``: one continuation in U, each loop started from the previous solution, which follows the
  metal upwards or the insulator downwards until the branch is lost. One path is one job, so that a
  job stays a function of its arguments.

The stored solution of a converged problem is a further solve, averaged over baths with interleaved
levels (``n_shifts``), so that the self-energy does not show the level spacing.

Near the end of the metal the bath and the broadening no longer resolve the resonance, and the loop
ends at a fixed point of the discretisation with an A(0) below that of a Fermi liquid
(`dmftnet.physics.analysis.phases`). Such a row is kept, marked as not converged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.exact_loops import REFERENCES, SCHEMA, VERSION, lattice_named
from dmftnet.data.jobfile import Columns
from dmftnet.data.keys import KINDS, STARTS, STATUS
from dmftnet.data.keys import References as Keys
from dmftnet.data.plans.trajectories import quality
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis import observables
from dmftnet.physics.analysis.phases import PINNED, phase_of_solution, pinned_share
from dmftnet.physics.dmft.filling import solve_filling
from dmftnet.physics.dmft.iterations import DMFTResult
from dmftnet.physics.dmft.loop import DMFTLoop, continue_in_U
from dmftnet.physics.dmft.starts import starting_hybridization
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice, LocalLattice
from dmftnet.physics.solvers.krylov.ras import RasSolver

KEYS = {"U", "path", "shift", "filling", "start", "lattice", "settings"}
SETTINGS = ("tolerance", "zero_tolerance", "max_iterations")


@dataclass(frozen=True)
class ReferenceJob:
    """One loop, one filling search, or one path.

    Parameters
    ----------
    kind : {"point", "filling", "path"}
    U : tuple of float, in D
        One value, or those of a path in their order.
    shift : float, in D
        ``eps_d + U/2``; of a filling search where it starts.
    start : {"metal", "insulator"}
    target : float
        Target filling, or NaN.
    lattice : str or None
        A name of `lattice_named`; None is the run's own lattice.
    settings : mapping
        Arguments of the loop that differ from the plan's.
    series : int
        Number of the series in the config.
    """

    kind: str
    U: tuple[float, ...]
    shift: float
    start: str
    target: float = float("nan")
    lattice: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    series: int = 0


class ReferencePlan:
    """The reference solutions; a plan for `dmftnet.data.generation.generate`.

    Parameters
    ----------
    series : sequence of dict
        Each with ``start`` and either lists ``U`` and ``shift`` (``eps_d + U/2``, in D), lists
        ``U`` and ``filling``, or a list ``path`` of U; optionally ``lattice`` (a name) and
        ``settings`` (arguments of the loop, such as ``max_iterations``).
    loop : callable
        ``(solver, lattice, **settings) -> DMFTLoop``.
    n_shifts : int
        Baths in the mean that is stored; more than one needs a solver with that setting (``ras``).

    Raises
    ------
    InvalidProblemError
        If a start, a lattice or a key is unknown, or the solver cannot average.
    """

    schema = SCHEMA
    version = VERSION

    def __init__(
        self,
        series: Sequence[dict],
        loop: Callable[..., DMFTLoop] = DMFTLoop,
        n_shifts: int = 1,
    ):
        if not isinstance(series, Sequence) or isinstance(series, str) or not series:
            raise InvalidProblemError(
                f"sampling.series = {checks.shown(series)}: give a list of sections"
            )
        self.jobs = [job for number, part in enumerate(series) for job in _jobs(part, number)]
        self.n_jobs = len(self.jobs)
        self.loop = loop
        self.n_shifts = checks.integer("sampling.n_shifts", n_shifts, at_least=1)

    def run(
        self, job: int, solver: ImpuritySolver, lattice: Lattice, grid: FrequencyGrid
    ) -> Columns:
        """Close the loop at one point, or along one path."""
        task = self.jobs[job]
        if task.lattice is not None:
            lattice = lattice_named(task.lattice)
        if not isinstance(lattice, LocalLattice):
            raise InvalidProblemError(
                f"lattice '{lattice.name}' has no density of states, which tells metal from "
                "insulator; use bethe, square, cubic or dos"
            )
        loop = self.loop(solver, lattice, **task.settings)
        U, eps_d = task.U[0], -task.U[0] / 2 + task.shift
        start = starting_hybridization(lattice, grid, U, eps_d, task.start)
        problem = ImpurityProblem.on_grid(U, eps_d, grid, start)
        if task.kind == "filling":
            results = [solve_filling(loop, problem, task.target)]
        elif task.kind == "path":
            results = continue_in_U(loop, problem, task.U, _branch_lost(lattice, task.start))
        else:
            results = [loop.run_one(problem)]
        rows = [_row(task, lattice, self._averaged(solver, result)) for result in results]
        return {f"{REFERENCES}/{name}": np.array([row[name] for row in rows]) for name in rows[0]}

    def _averaged(self, solver: ImpuritySolver, result: DMFTResult) -> DMFTResult:
        """The last problem solved with several baths."""
        if self.n_shifts == 1:
            return result
        if not isinstance(solver, RasSolver):
            raise InvalidProblemError(
                f"sampling.n_shifts = {self.n_shifts}: solver '{solver.name}' cannot average over "
                "baths; use solver=ras or sampling.n_shifts=1"
            )
        several = replace(solver, n_shifts=self.n_shifts)
        return replace(result, solutions=(several.solve(result.problem),))

    def describe(self, columns: Columns) -> tuple[int, str | None]:
        iterations = columns[Keys.ITERATIONS]
        failed = np.flatnonzero(columns[Keys.CONVERGED] == 0)
        remarks = [f"U = {columns[Keys.U][i]:g}: {columns[Keys.REASON][i]}" for i in failed]
        return int(iterations.sum()), f"did not converge: {'; '.join(remarks)}" if remarks else None


def _jobs(part: Mapping[str, Any], number: int) -> list[ReferenceJob]:
    """The jobs of one series."""
    where = f"sampling.series[{number}]"
    unknown = sorted(set(checks.section(where, part)) - KEYS)
    kinds = [name for name in ("shift", "filling", "path") if name in part]
    if unknown or len(kinds) != 1 or ("U" in part) == ("path" in part) or "start" not in part:
        raise InvalidProblemError(
            f"sampling.series, entry {number} has keys {sorted(part)}; give start and U with "
            "shift, U with filling, or path; lattice and settings may be added"
        )
    starts = [part["start"]] if isinstance(part["start"], str) else part["start"]
    if not isinstance(starts, Sequence) or not starts:
        raise InvalidProblemError(f"{where}.start = {checks.shown(starts)}: give one or a list")
    for start in starts:
        if start not in STARTS[:2]:
            raise InvalidProblemError(
                f"sampling.series: start '{start}' is unknown; use metal or insulator"
            )
    if part.get("lattice") is not None:
        lattice_named(part["lattice"])
    common: dict[str, Any] = {
        "lattice": part.get("lattice"),
        "settings": checks.mapping(f"{where}.settings", part.get("settings") or {}, SETTINGS),
        "series": number,
    }
    if kinds[0] == "path":
        path = checks.numbers(f"{where}.path", part["path"], at_least_size=1, at_least=0)
        return [ReferenceJob("path", path, 0.0, start, **common) for start in starts]
    jobs = []
    of_U = checks.numbers(f"{where}.U", part["U"], at_least_size=1, at_least=0)
    limits = {"above": 0, "below": 2} if kinds[0] == "filling" else {}
    values = checks.numbers(f"{where}.{kinds[0]}", part[kinds[0]], at_least_size=1, **limits)
    for U, value, start in product(of_U, values, starts):
        if kinds[0] == "shift":
            job = ReferenceJob("point", (float(U),), float(value), start, **common)
        else:
            # a doped insulator lies beyond the gap's edge, about (U - 1)/2 away from half filling
            shift = float(np.sign(1 - value) * max(U - 1, 0.0) / 2)
            job = ReferenceJob("filling", (float(U),), shift, start, float(value), **common)
        jobs.append(job)
    return jobs


def _branch_lost(lattice: LocalLattice, branch: str) -> Callable[[DMFTResult], bool]:
    """Whether a half-filled solution is no longer on the branch that its path follows.

    A loop that stays on the branch without converging is marked, and its path continues.
    """

    def lost(result: DMFTResult) -> bool:
        return phase_of_solution(result.solution, lattice) != branch

    return lost


def _row(task: ReferenceJob, lattice: LocalLattice, result: DMFTResult) -> dict[str, Any]:
    problem, solution = result.problem, result.solution
    grid, A, sigma = problem.grid, solution.spectrum()[0], solution.self_energy()[0]
    converged, reason = _judged(lattice, result)
    return {
        "kind": np.int32(KINDS.index(task.kind)),
        "series": np.int32(task.series),
        "lattice": lattice.name,
        "U": np.float64(problem.U),
        "eps_d": np.float64(problem.eps_d[0]),
        "start": np.int32(STARTS.index(task.start)),
        "target": np.float64(task.target),
        "converged": np.int32(converged),
        "iterations": np.int32(result.iterations),
        "status": np.int32(STATUS.index(quality(problem, solution))),
        "filling": np.float64(solution.filling),
        "double_occupancy": np.float64(solution.double_occupancy),
        "A0": np.float64(grid.at_zero(A)),
        "gap": np.float64(observables.gap(grid, A)),
        "kl_last": np.float64(result.kl_history[-1]),
        "hybridization": problem.spectrum[0].astype(np.float32),
        "spectrum": A.astype(np.float32),
        "self_energy": sigma.astype(np.complex64),
        "reason": reason,
    }


def _judged(lattice: LocalLattice, result: DMFTResult) -> tuple[bool, str]:
    """Whether the loop converged, to a metal or an insulator."""
    if not result.converged or phase_of_solution(result.solution, lattice) != "neither":
        return result.converged, result.reason
    share = pinned_share(
        result.problem.grid, result.solution.spectrum()[0], lattice, result.solution.filling
    )
    return False, (
        f"A(0) is {share:.2f} of the Fermi liquid's value, a metal needs {PINNED}: a resonance "
        f"that the discrete bath does not resolve ({result.reason})"
    )

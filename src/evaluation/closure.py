"""DMFT loops driven by a network, compared with the exact solver's converged solutions.

Three comparisons, one for each kind of reference (`dmftnet.data.exact_loops`): the loop at given U
and eps_d from the same start (`close_loops`), the search for the level of a given filling
(`close_fillings`), and the continuation in U (`dmftnet.evaluation.hysteresis`).

Cost: all loops on one lattice share one batch; 2 to 8 s for 28 loops on one core.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.exact_loops import lattice_named
from dmftnet.evaluation.exact_loops import COMMON, Reference
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.analysis.phases import phase_of_solution
from dmftnet.physics.analysis.resolution import at_resolution
from dmftnet.physics.dmft.filling import solve_filling
from dmftnet.physics.dmft.iterations import DMFTResult
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_hybridization
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.physics.lattices.protocol import Lattice
from dmftnet.report.figures import Panel
from dmftnet.report.html import Table

COLUMNS = (
    "U",
    "eps_d",
    "start",
    "converged",
    "iterations",
    "kl",
    "A0",
    "A0_exact",
    "Z",
    "Z_error",
    "Z_exact",
    "filling",
    "filling_exact",
    "double_occupancy",
    "double_occupancy_exact",
    "gap",
)


SAME_SOLUTION = 0.1
"""KL below which two spectra belong to one solution; metal and insulator differ by more at any U
where both exist."""


@dataclass(frozen=True)
class LoopSettings:
    """How the loops are run.

    Parameters
    ----------
    tolerance : float
        See `DMFTLoop`.
    max_iterations : int
    """

    tolerance: float = 1e-5
    max_iterations: int = 60

    def __post_init__(self):
        checks.number("loop.tolerance", self.tolerance, above=0)
        checks.integer("loop.max_iterations", self.max_iterations, at_least=1)

    def loop(self, solver: ImpuritySolver, lattice: Lattice) -> DMFTLoop:
        """The loop with these settings."""
        return DMFTLoop(
            solver,
            lattice,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )


@dataclass(frozen=True, eq=False)
class Closure:
    """One loop of a solver and its exact reference.

    Parameters
    ----------
    reference : Reference
        The exact converged solution on the solver's grid.
    summary : dict
        Numbers of the solver's last iteration (`dmftnet.physics.dmft.files.summarize`).
    kl : float
        ``KL(A_exact || A)`` of the last iteration, converged or not, at the reference's resolution:
        a spectrum that has none is smoothed first.
    common_kl : float or None
        The same at `COMMON`; none of spectra at another resolution.
    spectrum : (n_w,) float64, in 1/D
    self_energy : (n_w,) complex128, in D
    reason : str
        Why the loop ended.
    branch : {"metal", "insulator", "neither"}
        See `dmftnet.physics.analysis.phases`.
    clipped : float
        Share of Im Sigma that Dyson's equation made positive and that was set to zero.
    grid : FrequencyGrid
        Of the curves.
    """

    reference: Reference
    summary: dict[str, Any]
    kl: float
    common_kl: float | None
    spectrum: np.ndarray = field(repr=False)
    self_energy: np.ndarray = field(repr=False)
    reason: str
    branch: str
    clipped: float
    grid: FrequencyGrid = field(repr=False)

    @property
    def converged(self) -> bool:
        return self.summary["converged"]

    @property
    def right_branch(self) -> bool:
        """Whether it is in the phase of the exact solution and near it.

        A solution that is neither metal nor insulator is wrong; so is one that shares only the
        phase.
        """
        same = self.branch == self.reference.branch != "neither"
        return same and self.kl <= SAME_SOLUTION

    @property
    def Z_error(self) -> float:
        """``|Z / Z_exact - 1|``; 1 if there is no value for Z."""
        found, exact = self.summary["Z"], self.reference.Z
        if found is None or exact == 0:
            return float(found != exact)
        return abs(found / exact - 1)

    @property
    def title(self) -> str:
        """Title of a figure's panel."""
        reference = self.reference
        lattice = "" if reference.lattice == "bethe" else f"{reference.lattice}, "
        if reference.half_filled:
            return f"{lattice}U = {reference.U:g}, {reference.start} start"
        return f"{lattice}U = {reference.U:g}, n = {reference.filling:.2f}"

    def on_grid(self, grid: FrequencyGrid) -> Closure:
        """The same loop with its own curves interpolated to another grid, for drawing."""
        if grid == self.grid:
            return self
        move = self.grid.interpolate
        return replace(
            self,
            spectrum=move(self.spectrum, grid.omega),
            self_energy=move(self.self_energy, grid.omega),
            grid=grid,
        )

    def row(self) -> list:
        """Values of `COLUMNS`."""
        reference, s = self.reference, self.summary
        return [
            reference.U,
            reference.eps_d,
            reference.start,
            s["converged"],
            s["iterations"],
            self.kl,
            s["A0"],
            reference.A0,
            s["Z"],
            s["Z_error"],
            reference.Z,
            s["filling"],
            reference.filling,
            s["double_occupancy"],
            reference.double_occupancy,
            s["gap"],
        ]

    def numbers(self) -> dict[str, Any]:
        """Every number of the loop and of its reference, ready for JSON."""
        r = self.reference
        names = ("A0", "Z", "Z_error", "filling", "eps_d")
        exact = {f"{name}_exact": getattr(r, name) for name in names}
        exact["double_occupancy_exact"] = r.double_occupancy
        own = {k: v for k, v in self.summary.items() if k not in ("U", "solver", "lattice")}
        return {
            "lattice": r.lattice,
            "U": r.U,
            "start": r.start,
            "kl": self.kl,
            "common_kl": self.common_kl,
            **own,
            **exact,
            "Z_resolved": r.resolved[0],
            "Z_relative_error": self.Z_error,
            "branch": self.branch,
            "branch_exact": r.branch,
            "right_branch": bool(self.right_branch),
            "clipped_self_energy": self.clipped,
            "reason": self.reason,
        }


def close_loops(
    solver: ImpuritySolver,
    references: Sequence[Reference],
    settings: LoopSettings,
) -> list[Closure]:
    """Run the DMFT loop of every reference problem with a solver, a batch for each lattice."""
    closures: dict[int, Closure] = {}
    for name in dict.fromkeys(reference.lattice for reference in references):
        lattice = lattice_named(name)
        chosen = [i for i, reference in enumerate(references) if reference.lattice == name]
        problems = [_problem(references[i], lattice, references[i].eps_d) for i in chosen]
        began = time.perf_counter()
        results = settings.loop(solver, lattice).run(problems)
        seconds = (time.perf_counter() - began) / len(results)
        for i, result in zip(chosen, results, strict=True):
            closures[i] = closure_of(result, references[i], solver, lattice, seconds)
    return [closures[i] for i in range(len(references))]


def close_fillings(
    solver: ImpuritySolver, references: Sequence[Reference], settings: LoopSettings
) -> list[tuple[Closure, Closure]]:
    """For each reference of a filling search: the solver's own search, its loop at the exact level.

    The search starts 0.1 D away from the exact level.
    """
    pairs = []
    for reference in references:
        lattice = lattice_named(reference.lattice)
        loop = settings.loop(solver, lattice)
        began = time.perf_counter()
        own = solve_filling(
            loop, _problem(reference, lattice, reference.eps_d + 0.1), reference.target
        )
        half = time.perf_counter()
        same = loop.run_one(_problem(reference, lattice, reference.eps_d))
        end = time.perf_counter()
        pairs.append(
            (
                closure_of(own, reference, solver, lattice, half - began),
                closure_of(same, reference, solver, lattice, end - half),
            )
        )
    return pairs


def _problem(reference: Reference, lattice: Lattice, eps_d: float) -> ImpurityProblem:
    grid, U = reference.grid, reference.U
    start = starting_hybridization(lattice, grid, U, eps_d, reference.start)
    return ImpurityProblem.on_grid(U, eps_d, grid, start)


def closure_of(
    result: DMFTResult,
    reference: Reference,
    solver: ImpuritySolver,
    lattice: Lattice,
    seconds: float,
) -> Closure:
    """The end of a loop and its reference."""
    spectrum, sigma = result.solution.spectrum()[0], result.solution.self_energy()[0]
    grid, own = reference.grid, result.solution.resolution
    compared = common = spectrum
    if own is None:
        compared = at_resolution(grid, spectrum, reference.resolution)
        common = at_resolution(grid, spectrum, COMMON)
    comparable = own is None or tuple(own) == COMMON
    return Closure(
        reference=reference,
        summary=summarize(result, solver.name, lattice.name, seconds),
        kl=float(kl_divergence(grid, reference.spectrum, compared)),
        common_kl=float(kl_divergence(grid, reference.common, common)) if comparable else None,
        spectrum=spectrum,
        self_energy=sigma,
        reason=result.reason,
        branch=phase_of_solution(result.solution, lattice),
        clipped=result.solution.clipped_self_energy,
        grid=grid,
    )


def closure_scalars(closures: Sequence[Closure]) -> dict[str, float]:
    """Share converged and in the right phase, KL, largest errors of A(0), Z (relative), filling.

    The keys with a slash hold the numbers of each loop.
    """
    rows = [dict(zip(COLUMNS, closure.row(), strict=True)) for closure in closures]
    kl = np.array([row["kl"] for row in rows])
    scalars = {
        "converged": float(np.mean([row["converged"] for row in rows])),
        "right_branch": float(np.mean([c.right_branch for c in closures])),
        "iterations": float(np.mean([row["iterations"] for row in rows])),
        "kl_median": float(np.median(kl)),
        "kl_worst": float(kl.max()),
    }
    common = [closure.common_kl for closure in closures]
    if None not in common:
        scalars["common_kl_median"] = float(np.median(common))
    for name in ("A0", "filling"):
        errors = [abs(row[name] - row[f"{name}_exact"]) for row in rows]
        scalars[f"{name}_error"] = float(np.max(errors))
    scalars["Z_error"] = max(closure.Z_error for closure in closures)
    for row in rows:
        where = f"U{row['U']:g}_eps{row['eps_d']:g}_{row['start']}"
        known = {name: row[name] for name in ("kl", "A0", "Z") if row[name] is not None}
        scalars |= {f"{where}/{name}": float(value) for name, value in known.items()}
    return scalars


def closure_table(closures: Sequence[Closure]) -> Table:
    """One row a loop."""
    return Table(COLUMNS, [closure.row() for closure in closures])


def spectra_panels(closures: dict[str, Sequence[Closure]]) -> list[Panel]:
    """Panels of `figures.spectra`: one per reference, the models' curves by label."""
    labels = list(closures)
    panels = []
    for same in zip(*closures.values(), strict=True):
        failed = [k for k, closure in zip(labels, same, strict=True) if not closure.converged]
        curves = {k: closure.spectrum for k, closure in zip(labels, same, strict=True)}
        first = same[0].reference
        exact = first.grid.interpolate(first.spectrum, same[0].grid.omega)
        panels.append(Panel(same[0].title, exact, curves, frozenset(failed)))
    return panels

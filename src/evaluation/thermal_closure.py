"""DMFT loops at finite temperature, compared with the exact solver's (`data/thermal_reference.h5`).

On the Bethe lattice, on the imaginary axis, from metal, insulator and atom starts. What is compared
is what the loops are run for: Z at the lowest Matsubara frequency, the double occupancy, the
filling, and ``-beta G(beta/2)/pi``, which tells metal from insulator.

Two loops have found the same solution where the latter differs by at most `SAME_SOLUTION`. At
finite temperature no sharper rule holds for all: above the critical end point there is one phase.

Cost: all loops share one batch; iterations x the solver's time for one problem.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.loop_keys import THERMAL_STARTS
from dmftnet.data.thermal_loops import ThermalReference, starting_point
from dmftnet.errors import DmftnetError, DmftnetWarning
from dmftnet.evaluation.closure import LoopSettings
from dmftnet.evaluation.thermal_witness import Witness
from dmftnet.physics.analysis.phases import fermi_level_density
from dmftnet.physics.dmft.iterations import DMFTResult
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.lattices.protocol import LocalLattice
from dmftnet.report.figures import Series
from dmftnet.report.html import Table

NUMBERS = ("Z_matsubara", "double_occupancy", "filling", "A_beta_half")
"""What is compared with the reference."""

SAME_SOLUTION = 0.1
"""1/D; of ``-beta G(beta/2)/pi``. Where metal and insulator both exist they differ by more."""

METALLIC, INSULATING = 0.5, 0.1
"""Shares of the density of states at the Fermi level, beyond which a solution is called so."""

COLUMNS = ("U", "eps_d", "beta", "start", "converged", "iterations", "phase", "right_phase")


@dataclass(frozen=True, eq=False)
class ThermalClosure:
    """One loop of a solver and its reference.

    Parameters
    ----------
    reference : ThermalReference
    numbers : dict
        Of the last iteration (`dmftnet.physics.dmft.summary`); empty where the solver failed.
    reason : str
        Why the loop ended, or what the solver said.
    lattice : LocalLattice
    solution : ImpuritySolution, optional
        That of the last iteration; None where the solver failed.
    """

    reference: ThermalReference
    numbers: dict[str, Any]
    reason: str
    lattice: LocalLattice = field(repr=False)
    solution: ImpuritySolution | None = field(default=None, repr=False)

    @property
    def converged(self) -> bool:
        return bool(self.numbers.get("converged", False))

    @property
    def phase(self) -> str:
        """ "metal", "insulator", "crossover", or "failed"."""
        if not self.numbers:
            return "failed"
        return self._phase(self.numbers["A_beta_half"], self.numbers["filling"])

    @property
    def reference_phase(self) -> str:
        """That of the exact solver's loop."""
        return self._phase(self.reference.A_beta_half, self.reference.filling)

    def _phase(self, A_beta_half: float, filling: float) -> str:
        share = A_beta_half / fermi_level_density(self.lattice, filling)
        if share >= METALLIC:
            return "metal"
        return "insulator" if share <= INSULATING else "crossover"

    @property
    def right_phase(self) -> bool:
        """Whether it converged to the exact solver's solution, see the module."""
        return self.converged and self.errors()["A_beta_half"] <= SAME_SOLUTION

    def errors(self) -> dict[str, float]:
        """Absolute errors, that of Z relative; NaN where the solver failed."""
        if not self.numbers:
            return dict.fromkeys(NUMBERS, float("nan"))
        found = {name: abs(self.numbers[name] - getattr(self.reference, name)) for name in NUMBERS}
        found["Z_matsubara"] /= self.reference.Z_matsubara
        return found

    def row(self) -> list[Any]:
        """Values of `COLUMNS`, each of `NUMBERS` beside the reference's, and what went wrong."""
        r = self.reference
        pairs = [(self.numbers.get(name), getattr(r, name)) for name in NUMBERS]
        iterations = self.numbers.get("iterations")
        own = [r.U, r.eps_d, r.beta, r.start, self.converged, iterations, self.phase]
        remark = "" if self.converged else self.reason
        return [*own, self.right_phase, *(value for pair in pairs for value in pair), remark]

    def plain(self) -> dict[str, Any]:
        """Every number, ready for JSON."""
        r = self.reference
        exact = {f"{name}_exact": getattr(r, name) for name in NUMBERS}
        own = {k: v for k, v in self.numbers.items() if k not in ("solver", "lattice")}
        return {
            **own,
            "U": r.U,
            "eps_d": r.eps_d,
            "beta": r.beta,
            "start": r.start,
            "converged": self.converged,
            **exact,
            "iterations_exact": r.iterations,
            "phase": self.phase,
            "phase_exact": self.reference_phase,
            "right_phase": self.right_phase,
            "reason": self.reason,
        }


def close_thermal(
    solver: ImpuritySolver, references: Sequence[ThermalReference], settings: LoopSettings
) -> list[ThermalClosure]:
    """Run the loop of every reference with a solver, all in one batch.

    A loop in which the solver raises an error is a result, "failed": then the others run one by
    one. What a solver warns of stands in the numbers.
    """
    lattice, grid = Bethe(), FrequencyGrid.geometric()
    loop = settings.loop(solver, lattice)
    problems = [
        starting_point(lattice, grid, ImaginaryAxis.universal(r.beta), r.U, r.eps_d, r.start)
        for r in references
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DmftnetWarning)
        began = time.perf_counter()
        try:
            results: list[DMFTResult | str] = list(loop.run(problems))
        except (DmftnetError, np.linalg.LinAlgError):
            results = [_run(loop, problem) for problem in problems]
        seconds = (time.perf_counter() - began) / len(results)
    return [
        ThermalClosure(r, {}, result, lattice)
        if isinstance(result, str)
        else ThermalClosure(
            r,
            summarize(result, solver.name, lattice.name, seconds),
            result.reason,
            lattice,
            result.solution,
        )
        for r, result in zip(references, results, strict=True)
    ]


def _run(loop: DMFTLoop, problem: ImpurityProblem) -> DMFTResult | str:
    """One loop, or why the solver failed."""
    try:
        return loop.run_one(problem)
    except (DmftnetError, np.linalg.LinAlgError) as error:
        return f"failed: {checks.reason(error)}"


def thermal_scalars(closures: Sequence[ThermalClosure]) -> dict[str, float]:
    """Shares that converged, found the exact solution, failed; worst errors of the others.

    Errors are those of loops in the right phase: in the wrong one they say nothing. ``Z_metal`` and
    ``Z_insulator`` are relative, by the phase of the reference; NaN where there is no such loop.
    """
    right = [c for c in closures if c.right_phase]
    steps = [c.numbers["iterations"] for c in closures if c.numbers]
    scalars = {
        "converged": float(np.mean([c.converged for c in closures])),
        "right_phase": float(np.mean([c.right_phase for c in closures])),
        "failed": float(np.mean([not c.numbers for c in closures])),
        "warned": float(np.mean([bool(c.numbers.get("warning")) for c in closures])),
        "iterations": float(np.mean(steps)) if steps else float("nan"),
    }
    found = [(c.reference_phase, c.errors()) for c in right]
    for name in NUMBERS[1:]:
        scalars[f"{name}_error"] = worst([errors[name] for _, errors in found])
    for phase in ("metal", "insulator"):
        own = [errors["Z_matsubara"] for where, errors in found if where == phase]
        scalars[f"Z_{phase}_error"] = worst(own)
    return scalars


def worst(values: Sequence[float]) -> float:
    """The largest; NaN of none."""
    return float(max(values)) if values else float("nan")


def each_scalar(closures: Sequence[ThermalClosure]) -> dict[str, float]:
    """The numbers of each loop, keys with a slash."""
    scalars = {}
    for c in closures:
        r = c.reference
        where = f"beta{r.beta:g}_U{r.U:g}_eps{r.eps_d:g}_{r.start}"
        scalars |= {f"{where}/{name}": float(c.numbers[name]) for name in NUMBERS if c.numbers}
    return scalars


def thermal_table(closures: Sequence[ThermalClosure]) -> Table:
    """One row a loop."""
    pairs = [text for name in NUMBERS for text in (name, f"{name}_exact")]
    return Table((*COLUMNS, *pairs, "remark"), [closure.row() for closure in closures])


def weight_panels(
    closures: Mapping[str, Sequence[ThermalClosure]],
    betas: Sequence[float] | None = None,
    starts: Sequence[str] = THERMAL_STARTS,
    witness: tuple[str, Sequence[Witness]] | None = None,
) -> dict[str, list[Series]]:
    """Panels of `dmftnet.report.figures.weight_curves`: one a temperature and start.

    Parameters
    ----------
    closures : dict of label to closures
        Of the same references.
    betas : sequence of float, optional
        All by default.
    starts : sequence of str
        In the order of the panels.
    witness : (str, sequence of Witness), optional
        Name and answers of a solver with error bars.
    """
    first = next(iter(closures.values()))
    found = sorted({c.reference.beta for c in first})
    wanted = found if betas is None else [b for b in found if np.isclose(b, betas).any()]
    panels: dict[str, list[Series]] = {}
    for beta, start in product(wanted, starts):
        place = (beta, start, True)
        rows = [
            i
            for i, c in enumerate(first)
            if (c.reference.beta, c.reference.start, c.reference.half_filled) == place
        ]
        if not rows:
            continue
        U = np.array([first[i].reference.U for i in rows])
        exact = np.array([first[i].reference.Z_matsubara for i in rows])
        series = [Series("", U, exact)]
        for label, own in closures.items():
            Z = np.array([own[i].numbers.get("Z_matsubara", np.nan) for i in rows])
            series.append(Series(label, U, Z, np.array([own[i].converged for i in rows])))
        if witness is not None:
            name, every = witness
            own = [w for w in every if (w.reference.beta, w.reference.start) == (beta, start)]
            if own:
                columns = np.array([(w.reference.U, w.Z, w.Z_error) for w in own]).T
                series.append(Series(name, columns[0], columns[1], errors=columns[2]))
        panels[rf"$\beta D$ = {beta:g}, {start} start"] = series
    return panels

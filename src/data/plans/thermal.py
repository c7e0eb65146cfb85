"""One problem at finite temperature, its exact answer and every approximation, side by side.

What the plans `thermal_models`, `thermal_continuous` and `thermal_extended` share. Everything is
written in units of ``D = 2 sqrt(m0)``, m0 the weight of the hybridization: the problem is scale
invariant, and the D of the draw stays a column.

Several orbitals are degenerate and do not mix: one of them is written, the mean over all where a
solver tells them apart by rounding. Their Sigma weighs what the two-body density matrix says
(`dmftnet.physics.analysis.self_energy.dynamic_strength`), which is kept beside it.

Sigma of a solver that works on a discrete bath is that of the discrete model (F/G, by the improved
estimator, which is the same and loses no digits at high frequency). G always follows from it by
Dyson's equation with the hybridization that was *given*, so a poor bath spoils Sigma alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.jobfile import Columns
from dmftnet.data.keys import ORIGINS, SEVERAL, SPLITS, THERMAL_STATUS, arrays_of
from dmftnet.data.keys import ThermalModels as Models
from dmftnet.data.keys import ThermalRemarks as Remarks
from dmftnet.data.keys import ThermalSamples as Samples
from dmftnet.data.plans.thermal_answers import (
    OF_APPROXIMATIONS,
    answer_of,
    density_of,
    weight_beyond,
)
from dmftnet.data.thermal import OF_SEVERAL, SCHEMA, VERSION
from dmftnet.errors import DmftnetError, SettingError, SpaceTooLargeError
from dmftnet.physics.analysis.self_energy import dynamic_strength
from dmftnet.physics.grids.matsubara import UNIVERSAL_SIZE, ImaginaryAxis
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver

ACCURACY = 1e-7
"""Of the axis: 21 frequencies, and G(tau) to 2e-7."""

BEYOND = 1e-6
"""Largest weight of G above the axis' w_max: as large an error it makes in G(tau)."""

BATH = (Samples.BATH_ENERGIES, Samples.BATH_COUPLINGS)


@dataclass(frozen=True, eq=False)
class ThermalProblem:
    """A problem in units of its D.

    Parameters
    ----------
    model, iteration : int
    unit : float
        D where it was drawn.
    problem : ImpurityProblem
        Degenerate orbitals; bath levels of one orbital, or values on the axis of `UniversalAxes`.
    change : float
        Of the hybridization in the loop's iteration; NaN where there is none.
    """

    model: int
    iteration: int
    unit: float
    problem: ImpurityProblem
    change: float = float("nan")


@dataclass(frozen=True)
class UniversalAxes:
    """Axes of one ``beta w_max``: the same odd integers at every temperature.

    Parameters
    ----------
    size, accuracy : float
        See `ImaginaryAxis.universal`.
    """

    size: float = UNIVERSAL_SIZE
    accuracy: float = ACCURACY

    def at(self, beta: float) -> ImaginaryAxis:
        """The axis of one temperature."""
        return ImaginaryAxis.universal(beta, self.size, self.accuracy)

    @property
    def odd(self) -> np.ndarray:
        """(n_iw,) float64 odd integers."""
        return self.at(1.0).indices.astype(np.float64)


class Beyond(DmftnetError):
    """G has weight above the axis."""


class Failed(DmftnetError):
    """The exact solver gave no answer."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """The exact solver beside all approximations.

    Parameters
    ----------
    exact : ImpuritySolver
    approximations : mapping of name to ImpuritySolver
    axes : UniversalAxes
    """

    exact: ImpuritySolver
    approximations: Mapping[str, ImpuritySolver]
    axes: UniversalAxes

    def row(self, given: ThermalProblem) -> tuple[dict[str, Any], list[str]]:
        """One row of `ThermalSamples`, and what went wrong in an approximation.

        Raises
        ------
        Beyond, Failed
            If there is no sample.
        """
        problem = given.problem
        refuse(self.exact, problem)
        started = time.perf_counter()
        try:
            solution = self.exact.solve(problem)
        except (SettingError, SpaceTooLargeError):
            raise  # of the solver and not of this problem
        except (DmftnetError, np.linalg.LinAlgError) as error:
            raise Failed(checks.reason(error)) from error
        return self.row_of(given, solution, time.perf_counter() - started)

    def row_of(
        self, given: ThermalProblem, solution: ImpuritySolution, seconds: float
    ) -> tuple[dict[str, Any], list[str]]:
        """The same from an exact solution of ``given.problem`` that is there already."""
        problem = given.problem
        axis = self.axes.at(problem.beta)
        beyond = weight_beyond(solution, axis.w_max)
        if beyond > BEYOND:
            raise Beyond(
                f"a share of {beyond:.1e} of G lies above {axis.w_max:.3g} D, the axis ends there"
            )
        sigma = solution.matsubara_self_energy(axis).mean(axis=0)
        row: dict[str, Any] = {
            Samples.MODEL: given.model,
            Samples.ITERATION: given.iteration,
            Samples.U: problem.U,
            Samples.EPS_D: problem.eps_d[0],
            Samples.BETA: problem.beta,
            Samples.UNIT: given.unit,
            Samples.SELF_ENERGY: sigma,
            Samples.J: problem.J,
            Samples.STRENGTH: dynamic_strength(solution),
            Samples.DENSITY: density_of(solution),
            Samples.DOUBLE_OCCUPANCY: solution.double_occupancy,
            Samples.BEYOND: beyond,
            Samples.RESIDUAL: solution.diagnostics.get("fit_residual", np.nan),
            Samples.CHANGE: given.change,
            Samples.SECONDS: seconds,
        }
        bath = problem.hybridization
        if isinstance(bath, PoleHybridization):
            row |= {BATH[0]: bath.energies, BATH[1]: bath.couplings[:, 0]}
        else:
            row[Samples.HYBRIDIZATION] = bath.at(1j * axis.omega_n)[0]
        more, remarks = self.approximated(problem, sigma)
        return row | more, remarks

    def approximated(
        self, problem: ImpurityProblem, sigma: np.ndarray
    ) -> tuple[dict[str, Any], list[str]]:
        """The columns of the approximations, with the problem's bath on the axis.

        Parameters
        ----------
        sigma : (n_iw,) complex128, in D
            The exact one.
        """
        axis = self.axes.at(problem.beta)
        values = problem.hybridization.at(1j * axis.omega_n)
        continuous = problem.moved(MatsubaraHybridization(axis, values))
        answers, remarks = [], []
        for name, solver in self.approximations.items():
            refuse(solver, continuous, f"sampling.approximations.{name}: ")
            answer, remark = answer_of(solver, continuous, axis, sigma)
            answers.append(answer)
            if remark:
                remarks.append(f"{name}: {remark}")
        columns = map(np.array, zip(*answers, strict=True))
        return dict(zip(OF_APPROXIMATIONS, columns, strict=True)), remarks


def refuse(solver: ImpuritySolver, problem: ImpurityProblem, where: str = "") -> None:
    """Raise if a problem is beyond a solver: so would all the others be."""
    objection = solver.capabilities.objection(problem)
    if objection:
        raise SettingError(f"{where}solver '{solver.name}' {objection}")


def problem_in_D(
    U: float, eps_d: float, beta: float, bath: MatsubaraHybridization | PoleHybridization
) -> ImpurityProblem:
    """One orbital, all values in units of D."""
    return ImpurityProblem(np.array([eps_d]), Interaction(U), bath, beta)


@dataclass(eq=False)
class ModelRecord:
    """What becomes of one model: a row of `ThermalModels`, and those of its samples.

    Parameters
    ----------
    id : int
    origin, split : str
        Of `ORIGINS`, `SPLITS`.
    block : int
    """

    id: int
    origin: str
    split: str
    block: int = -1
    status: str = "finished"
    remarks: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: dict[str, Any], remarks: Sequence[str]) -> None:
        """One more sample."""
        self.rows.append(row)
        self.remarks += [f"sample {len(self.rows) - 1}, {remark}" for remark in remarks]

    def end(self, error: Exception) -> None:
        """No more of them."""
        self.status = "beyond" if isinstance(error, Beyond) else "failed"
        self.remarks.append(checks.reason(error))

    def row(self) -> dict[str, Any]:
        """That of `ThermalModels`."""
        return {
            Models.ID: self.id,
            Models.ORIGIN: ORIGINS.index(self.origin),
            Models.SPLIT: SPLITS.index(self.split),
            Models.BLOCK: self.block,
            Models.STATUS: THERMAL_STATUS.index(self.status),
            Models.N_SAMPLES: len(self.rows),
        }


class ThermalPlan:
    """What all plans of thermal files share.

    Parameters
    ----------
    approximations : mapping of name to ImpuritySolver
        At least one; their names are an attribute of the file.
    axes : UniversalAxes
    n_level : int, optional
        Bath levels of every problem; None: continuous baths.
    n_orb : int
        Degenerate orbitals of every problem.
    """

    schema = SCHEMA
    version = VERSION
    n_jobs: int

    def __init__(
        self,
        approximations: Mapping[str, ImpuritySolver],
        axes: UniversalAxes,
        n_level: int | None = None,
        n_orb: int = 1,
    ):
        self.approximations = checks.section("sampling.approximations", approximations)
        for name, solver in self.approximations.items():
            if not isinstance(solver, ImpuritySolver):
                raise SettingError(
                    f"sampling.approximations.{name} = {checks.shown(solver)}: give a solver, see "
                    "conf/solver"
                )
        if not self.approximations:
            raise SettingError("sampling.approximations is empty: give at least one solver by name")
        self.axes, self.n_level, self.n_orb = axes, n_level, n_orb
        self.frequencies = axes.odd
        self.attributes = {
            "approximations": list(self.approximations),
            "axis_size": axes.size,
            "axis_accuracy": axes.accuracy,
        } | ({SEVERAL: n_orb} if n_orb > 1 else {})

    def columns(self, models: Sequence[ModelRecord]) -> Columns:
        """The tables of one job; the types also hold where it gave no sample."""
        sizes = {"n_iw": self.frequencies.size, "n_approx": len(self.approximations)}
        left_out: tuple[str, ...] = BATH if self.n_level is None else (Samples.HYBRIDIZATION,)
        left_out += OF_SEVERAL if self.n_orb == 1 else ()
        if self.n_level is not None:
            sizes["n_level"] = self.n_level
        tables = (
            (Samples, [row for model in models for row in model.rows]),
            (Models, [model.row() for model in models]),
            (
                Remarks,
                [{Remarks.MODEL: m.id, Remarks.TEXT: said} for m in models for said in m.remarks],
            ),
        )
        columns: Columns = {}
        for keys, rows in tables:
            for key in arrays_of(keys):
                if key not in left_out:
                    values = np.array([row[key] for row in rows], dtype=key.dtype)
                    columns[key] = values.reshape(-1, *key.sized(sizes)[1:])
        return columns

    def describe(self, columns: Columns) -> tuple[int, str | None]:
        """Samples of a finished job, and a remark if something went wrong in it."""
        remarks = zip(columns[Remarks.MODEL], columns[Remarks.TEXT], strict=True)
        said = "; ".join(f"model {number}: {text}" for number, text in remarks)
        return int(columns[Models.N_SAMPLES].sum()), said or None

"""Corrections as one solver: limits from the validation split, scores and cost from the test.

An error is that of causal answers, ``(1/beta) integral |G - G_exact| dtau`` in units of D. The
limits of spread and distance are chosen on the validation split alone
(`dmftnet.models.solvers.limits`); how they do is reported for both splits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.data.thermal_datamodule import ThermalDataModule
from dmftnet.errors import DmftnetError, StoreError
from dmftnet.models.correction.answers import CHUNK, errors
from dmftnet.models.correction.checkpoint import load_correction
from dmftnet.models.correction.ensemble import CorrectionEnsemble, disagreement
from dmftnet.models.correction.model import CorrectionModel, as_problems
from dmftnet.models.correction.scoring import approximation_errors, error_summary
from dmftnet.models.correction.trust import FeatureDistance
from dmftnet.models.solvers.correction import CorrectionSolver, built_solver
from dmftnet.models.solvers.correction_inputs import solved_within
from dmftnet.models.solvers.limits import ErrorPromise, calibration_report, choose_limits
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem

BATCH = 16
"""Problems of the test split by which cost is measured."""

REPEATS = 5
"""Of which the fastest counts."""

Model = CorrectionModel | CorrectionEnsemble


def load_members(checkpoints: Sequence[str | Path]) -> Model:
    """The single model of one run folder, or the ensemble of several.

    Raises
    ------
    DmftnetError
        If members do not belong together, or one is not causal by construction.
    """
    models = [load_correction(checkpoint) for checkpoint in checkpoints]
    for checkpoint, model in zip(checkpoints, models, strict=True):
        if not model.is_projected:
            raise DmftnetError(
                f"'{checkpoint}' is a {type(model).__name__}, which is not causal by construction "
                "and there to compare with; ship runs of model=correction"
            )
    return CorrectionEnsemble(models).eval() if len(models) > 1 else models[0]


def require_inputs(
    data: ThermalDataModule, checkpoints: Sequence[str], records: Sequence[Mapping[str, Any]]
) -> None:
    """Raise StoreError unless all read the same approximations."""
    for checkpoint, record in zip(checkpoints, records, strict=True):
        if list(record["inputs"]) != list(data.inputs):
            raise StoreError(
                f"'{checkpoint}' reads {record['inputs']}, others {list(data.inputs)}; ship "
                "corrections of the same inputs together"
            )


@dataclass(frozen=True, eq=False)
class Examination:
    """A solver's answers on one split.

    Parameters
    ----------
    errors : (n,)
    indicators : dict of str to (n,)
        ``distance``, and ``spread`` of an ensemble, which predict the error.
    """

    errors: np.ndarray
    indicators: dict[str, np.ndarray]


def examine(model: Model, distance: FeatureDistance, arrays: ThermalArrays) -> Examination:
    """Errors on a split, and what predicts them."""
    spreads, distances = [], []
    for start in range(0, len(arrays), CHUNK):
        part = as_problems(arrays.take(np.arange(start, min(start + CHUNK, len(arrays)))))
        distances.append(distance(model, part))
        if isinstance(model, CorrectionEnsemble):
            spreads.append(disagreement(model, part))
    indicators = {"distance": np.concatenate(distances)}
    if spreads:
        indicators = {"spread": np.concatenate(spreads), **indicators}
    return Examination(errors(model, arrays), indicators)


def evidence(
    model: Model, data: ThermalDataModule, promise: ErrorPromise
) -> tuple[dict[str, Any], FeatureDistance]:
    """What the description of a shipped correction adds to those of its members; the points.

    ``test`` (scores by row), ``limits``, ``calibration`` and ``cost``.
    """
    train, validation, test = (data.arrays(split) for split in ("train", "val", "test"))
    distance = FeatureDistance.fit(model, train)
    found = {
        "validation": examine(model, distance, validation),
        "test": examine(model, distance, test),
    }
    chosen = found["validation"]
    groups = {"validation": validation.model, "test": test.model}
    limits = choose_limits(chosen.errors, chosen.indicators, promise, groups["validation"])
    reports = {
        name: calibration_report(own.errors, own.indicators, limits, promise, groups[name])
        for name, own in found.items()
    }
    rows = {"this solver": error_summary(found["test"].errors)}
    if isinstance(model, CorrectionEnsemble):
        rows |= {
            f"member {i}": error_summary(errors(member, test))
            for i, member in enumerate(model.members)
        }
    alone = approximation_errors(model, test)
    rows |= {f"{name} alone": error_summary(values) for name, values in alone.items()}
    record = {
        "test": rows,
        "limits": limits,
        "calibration": asdict(promise) | reports,
        "cost": cost(model, data),
    }
    return record, distance


def cost(model: Model, data: ThermalDataModule) -> dict[str, float]:
    """Milliseconds of one solve and of one in a batch, and of its inputs, CPU time of this process.

    Through the solver, from Delta(i w_n) to the answer, approximations included, what is solved
    within another one once; the fastest of several runs.
    """
    solvers = {name: built_solver(data.solvers[name]) for name in data.inputs}
    shared = solved_within(solvers)
    solver, problems = CorrectionSolver.from_model(model, solvers), held_out_problems(data, BATCH)

    def inputs(batch: Sequence[ImpurityProblem]) -> None:
        for name, approximation in solvers.items():
            if name not in shared:
                approximation.solve_batch(batch)

    return {
        "one_ms": _milliseconds(solver.solve_batch, problems[:1]),
        "one_inputs_ms": _milliseconds(inputs, problems[:1]),
        "batch_ms": _milliseconds(solver.solve_batch, problems),
        "batch_inputs_ms": _milliseconds(inputs, problems),
        "batch": len(problems),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def held_out_problems(data: ThermalDataModule, most: int) -> list[ImpurityProblem]:
    """Of the test split, evenly over it, with the bath at Matsubara frequencies."""
    places = [
        (store, int(i))
        for store in data.stores
        for i in store.indices("test")
        if np.isfinite([store.density(name)[i] for name in data.inputs]).all()
    ]
    chosen = np.unique(np.linspace(0, len(places) - 1, most).astype(int))
    problems = []
    for store, i in (places[k] for k in chosen):
        problem, axis = store.problem(i), store.axis(i)
        values = problem.hybridization.at(1j * axis.omega_n)
        problems.append(problem.moved(MatsubaraHybridization(axis, values)))
    return problems


def _milliseconds(solve: Callable[[Sequence[ImpurityProblem]], Any], batch) -> float:
    best = np.inf
    for _ in range(REPEATS):
        began = time.process_time()
        solve(batch)
        best = min(best, time.process_time() - began)
    return round(1e3 * best / len(batch), 4)

"""Errors of Green functions in figures."""

from __future__ import annotations

import numpy as np

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.models.correction.model import CorrectionModel, as_problems

SUMMARY = ("error_median", "error_90", "error_worst", "error_geometric")
"""Keys of `error_summary`."""

SMALLEST = 1e-9


def error_summary(errors: np.ndarray) -> dict[str, float]:
    """Median, 90 % quantile, worst and geometric mean of ``(1/beta) integral |dG| dtau``."""
    errors = np.asarray(errors, dtype=np.float64)
    values = (
        np.median(errors),
        np.quantile(errors, 0.9),
        errors.max(),
        np.exp(np.log(np.maximum(errors, SMALLEST)).mean()),
    )
    return {name: float(value) for name, value in zip(SUMMARY, values, strict=True)}


def approximation_errors(model: CorrectionModel, arrays: ThermalArrays) -> dict[str, np.ndarray]:
    """(n,) errors of each approximation that a model reads, with Dyson's equation as all."""
    problems = as_problems(arrays)
    exact = model.dyson.greens(problems, problems[Batch.SELF_ENERGY])
    found = {}
    for i, name in enumerate(model.inputs):
        greens = model.dyson.greens(problems, problems[Batch.SELF_ENERGIES][:, i])
        found[name] = model.dyson.distance(greens, exact, problems[Batch.BETA]).numpy()
    return found

"""Error stability: the error of a correction against that of what it corrects.

Both are ``(1/beta) integral |G - G_exact| dtau``. Below the diagonal the correction helps; without
a base what is compared with is the Hartree term alone, ``Sigma = U n``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.evaluation.stability import rank_correlation
from dmftnet.models.correction.answers import errors
from dmftnet.models.correction.model import CorrectionModel, as_problems
from dmftnet.models.correction.scoring import SMALLEST, error_summary
from dmftnet.report.html import Table


@dataclass(frozen=True, eq=False)
class ErrorStability:
    """Errors of one model on one set of samples.

    Parameters
    ----------
    error_base, error_prediction : (n,) float64
    U, eps_d : (n,) float64, in D
    beta : (n,) float64, in 1/D
    model : (n,) int
        Ids of the models or trajectories.
    """

    error_base: np.ndarray
    error_prediction: np.ndarray
    U: np.ndarray
    eps_d: np.ndarray
    beta: np.ndarray
    model: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """(n,) error of the prediction over that of the base."""
        return np.maximum(self.error_prediction, SMALLEST) / np.maximum(self.error_base, SMALLEST)

    def scalars(self) -> dict[str, float]:
        """Summary of the errors, of their ratio, share of samples below the diagonal."""
        return {
            **error_summary(self.error_prediction),
            "base_median": float(np.median(self.error_base)),
            "ratio_median": float(np.median(self.ratio)),
            "ratio_geometric": float(np.exp(np.log(self.ratio).mean())),
            "ratio_worst": float(self.ratio.max()),
            "share_below_base": float(np.mean(self.error_prediction < self.error_base)),
            "rank_correlation": rank_correlation(self.error_base, self.error_prediction),
        }

    def table(self) -> Table:
        """One row per sample, the worst first."""
        columns = ("model", "U", "eps_d", "beta", "error_base", "error_prediction")
        order = np.argsort(-self.error_prediction)
        values = (getattr(self, name)[order].tolist() for name in columns)
        return Table(columns, list(zip(*values, strict=True)))


def error_stability(model: CorrectionModel, arrays: ThermalArrays) -> ErrorStability:
    """Errors of a model on samples; predictions are causal answers, as the solver gives them."""
    return ErrorStability(
        error_base=base_errors(model, arrays),
        error_prediction=errors(model, arrays),
        U=arrays.U,
        eps_d=arrays.eps_d,
        beta=arrays.beta,
        model=arrays.model,
    )


@torch.no_grad()
def base_errors(model: CorrectionModel, arrays: ThermalArrays) -> np.ndarray:
    """(n,) errors of what a model corrects; see the module."""
    problems = as_problems(arrays)
    if model.base is None:
        greens = model.dyson(problems, model.reduced_base(problems)).greens
    else:
        greens = model.dyson.greens(problems, problems[Batch.SELF_ENERGIES][:, model.base])
    exact = model.dyson.greens(problems, problems[Batch.SELF_ENERGY])
    return model.dyson.distance(greens, exact, problems[Batch.BETA]).numpy()

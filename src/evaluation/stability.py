"""KL stability: the error of the predicted spectrum against the error of the input hybridization.

Late in a DMFT loop on the Bethe lattice the input hybridization is nearly the answer, so a small
error there says little. Abscissa ``KL(A_ref || normalised input hybridization)``, ordinate
``KL(A_ref || A_pred)``, both on the real axis: below the diagonal the model improves on its input,
and a model that is stable under iteration bends away from it on the right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from dmftnet.data.labels import SpectralArrays
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.training.scoring import evaluating, hybridization_kl, kl_summary, real_axis_kl
from dmftnet.report.html import Table


@dataclass(frozen=True, eq=False)
class Stability:
    """Errors of one model on one set of samples.

    Parameters
    ----------
    kl_input, kl_prediction : (n,) float64
    U, eps_d : (n,) float64, in D
    trajectory, iteration : (n,) int
    """

    kl_input: np.ndarray
    kl_prediction: np.ndarray
    U: np.ndarray
    eps_d: np.ndarray
    trajectory: np.ndarray
    iteration: np.ndarray

    def scalars(self) -> dict[str, float]:
        """Summary of the KL, share of samples below the diagonal, rank correlation."""
        return {
            **kl_summary(self.kl_prediction),
            "kl_input_median": float(np.median(self.kl_input)),
            "share_below_input": float(np.mean(self.kl_prediction < self.kl_input)),
            "rank_correlation": rank_correlation(self.kl_input, self.kl_prediction),
        }

    def table(self) -> Table:
        """One row per sample, the worst first."""
        columns = ("trajectory", "iteration", "U", "eps_d", "kl_input", "kl_prediction")
        order = np.argsort(-self.kl_prediction)
        return Table(
            columns, list(zip(*(getattr(self, c)[order].tolist() for c in columns), strict=True))
        )


def stability(model: SpectralModel, arrays: SpectralArrays) -> Stability:
    """Errors of a model on the samples of one split."""
    with evaluating(model):
        kl_prediction = real_axis_kl(model, arrays)
    return Stability(
        kl_input=hybridization_kl(model.frequency_grid, arrays),
        kl_prediction=kl_prediction,
        U=np.float64(arrays.params[:, 0]),
        eps_d=np.float64(arrays.params[:, 1]),
        trajectory=np.asarray(arrays.trajectory),
        iteration=np.asarray(arrays.iteration),
    )


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's; 0 where one side is constant and no rank exists."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(spearmanr(x, y).statistic)

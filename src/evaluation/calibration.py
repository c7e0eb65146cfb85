"""Does an ensemble know its own error? Spread of its members against the true KL, sample by sample.

Only the order matters: discarding the answers of widest spread should discard the worst. Hence the
measures: the rank correlation, and the 90 % quantile of the error without the widest fifth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.data.labels import SpectralArrays
from dmftnet.evaluation.stability import rank_correlation
from dmftnet.models.networks.ensemble import Ensemble, disagreement
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.training.scoring import evaluating, predict_members

LEFT_OUT = 0.2


@dataclass(frozen=True, eq=False)
class Calibration:
    """Spread and true error of an ensemble on one split.

    Parameters
    ----------
    spread, kl : (n,) float64
    """

    spread: np.ndarray
    kl: np.ndarray

    @property
    def cut(self) -> float:
        """Spread beyond which the widest fifth lies."""
        return float(np.quantile(self.spread, 1 - LEFT_OUT))

    def scalars(self) -> dict[str, float]:
        """Rank correlation, and the errors with and without the widest fifth."""
        kept = self.kl[self.spread <= self.cut]
        return {
            "rank_correlation": rank_correlation(self.spread, self.kl),
            "spread_median": float(np.median(self.spread)),
            "kl_median": float(np.median(self.kl)),
            "kl_90": float(np.quantile(self.kl, 0.9)),
            "kl_median_kept": float(np.median(kept)),
            "kl_90_kept": float(np.quantile(kept, 0.9)),
            "left_out": LEFT_OUT,
        }


def calibration(model: SpectralModel, arrays: SpectralArrays, kl: np.ndarray) -> Calibration | None:
    """Spread of an ensemble and its errors `kl`; None for a single model."""
    if not isinstance(model, Ensemble):
        return None
    with evaluating(model):
        members = predict_members(model, arrays.hybridization, arrays.params)
    return Calibration(disagreement(model.frequency_grid, members), np.float64(kl))

"""Whether corrections say where they are wrong: their limits on held-out problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.evaluation.thermal_errors import OneShot
from dmftnet.evaluation.thermal_methods import Correction
from dmftnet.models.correction.model import as_problems
from dmftnet.models.correction.trust import ThermalTrust, load_trust

WRONG = 1e-3
"""Error of G that a user should be told of."""


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Of a correction on the samples that it answered.

    Parameters
    ----------
    errors : (n,) float64
        ``(1/beta) integral |G - G_exact| dtau``.
    flagged : (n,) bool
        Beyond the range or a limit.
    """

    errors: np.ndarray
    flagged: np.ndarray

    def summary(self) -> dict[str, float | int]:
        """Shares of all samples; ``wrong_unflagged`` of those that are not flagged."""
        accepted = self.errors[~self.flagged]
        return {
            "samples": int(self.errors.size),
            "flagged": float(self.flagged.mean()),
            "wrong": float((self.errors > WRONG).mean()),
            "wrong_unflagged": float((accepted > WRONG).mean()) if accepted.size else 0.0,
            "worst_unflagged": float(accepted.max()) if accepted.size else float("nan"),
        }


def verdicts(result: OneShot, corrections: Sequence[Correction]) -> dict[str, Verdicts]:
    """Of every correction that has limits, by label."""
    found = {}
    for correction in corrections:
        trust = load_trust(correction.path)
        if trust.limits:
            found[correction.label] = _verdicts(result, correction, trust)
    return found


@torch.no_grad()
def _verdicts(result: OneShot, correction: Correction, trust: ThermalTrust) -> Verdicts:
    model, errors = correction.model, result.errors[correction.label]
    answered = np.isfinite(errors)
    arrays = ThermalArrays.of(result.store, model.inputs).take(result.rows[answered])
    problems = as_problems(arrays)
    spread = model.predict(problems).spread
    spreads = [None] * len(arrays) if spread is None else spread.tolist()
    distances = trust.distances(model, problems)
    flagged = [
        bool(trust.verdict(U, eps_d, beta, {"spread": spread, "distance": distance})[1])
        for U, eps_d, beta, spread, distance in zip(
            arrays.U, arrays.eps_d, arrays.beta, spreads, distances, strict=True
        )
    ]
    return Verdicts(errors[answered], np.array(flagged, dtype=bool))

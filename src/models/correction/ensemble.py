"""Several corrections of the same approximations: their mean, and how far they disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import DmftnetError
from dmftnet.models.correction.model import CorrectionModel
from dmftnet.models.correction.outputs import Prediction, combined, require_finite
from dmftnet.models.correction.thermal import Answer, Problems, repeated


class CorrectionEnsemble(nn.Module):
    """The mean of q over members, and of what else they predict; behaves like one model.

    Parameters
    ----------
    members : sequence of CorrectionModel
        With the same inputs, orbitals and axis.
    """

    is_projected = True

    def __init__(self, members: Sequence[CorrectionModel]):
        super().__init__()
        if not all(member.is_projected for member in members):
            raise DmftnetError("ensemble: a member predicts G itself, which has no mean measure")
        kinds = {(m.inputs, m.n_orb, m.measure, m.n_fixed, type(m).features) for m in members}
        if len(kinds) != 1:
            raise DmftnetError(
                "ensemble: members read different approximations, or are on different axes; train "
                "all with one dataset"
            )
        self.members = nn.ModuleList(members)
        first = members[0]
        self.inputs, self.dyson, self.measure = first.inputs, first.dyson, first.measure
        self.n_orb = first.n_orb

    def features(self, problems: Problems) -> torch.Tensor:
        """(B, n_features) float64, the same for all members."""
        return self.members[0].features(problems)

    def predict(self, problems: Problems, features: torch.Tensor | None = None) -> Prediction:
        """The mean of all that members say; G of the mean and of the members in one solve."""
        known = self.features(problems) if features is None else features
        each = [member.outputs(problems, known) for member in self.members]
        mean = combined(each, lambda parts: torch.stack(parts).mean(0))
        rows = combined([mean, *each], torch.stack)
        require_finite(rows)
        strengths = None if rows.strength is None else rows.strength.flatten()
        count = 1 + len(each)
        answer = self.dyson(repeated(problems, count), rows.q.flatten(0, 1), strengths)
        n, sigma, greens = (part.unflatten(0, (count, -1)) for part in answer)
        distances = self.dyson.distance(greens[1:], greens[0], problems[Batch.BETA])
        return Prediction(mean, Answer(n[0], sigma[0], greens[0]), distances.mean(0))

    def forward(self, problems: Problems) -> Answer:
        """As `CorrectionModel.forward`."""
        return self.predict(problems).answer


@torch.no_grad()
def disagreement(model: CorrectionEnsemble, problems: Problems) -> np.ndarray:
    """(B,) mean of ``(1/beta) integral |G_i - G| dtau`` over members, G that of the mean."""
    return model.predict(problems).spread.cpu().numpy()

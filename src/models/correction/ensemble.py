"""Several corrections of the same approximations: their mean, and how far they disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import DmftnetError
from dmftnet.models.correction.measures import MeasureNetwork
from dmftnet.models.correction.model import CorrectionModel, Prediction, require_finite
from dmftnet.models.correction.thermal import Answer, Problems, repeated


class CorrectionEnsemble(nn.Module):
    """The mean of q over members; behaves like one model.

    Parameters
    ----------
    members : sequence of CorrectionModel
        With the same inputs and axis.
    """

    is_projected = True

    def __init__(self, members: Sequence[CorrectionModel]):
        super().__init__()
        if not all(member.is_projected for member in members):
            raise DmftnetError("ensemble: a member predicts G itself, which has no mean measure")
        kinds = {(m.inputs, m.measure, m.n_fixed, type(m).features) for m in members}
        if len(kinds) != 1:
            raise DmftnetError(
                "ensemble: members read different approximations, or are on different axes; train "
                "all with one dataset"
            )
        self.members = nn.ModuleList(members)
        first = members[0]
        self.inputs, self.dyson, self.measure = first.inputs, first.dyson, first.measure

    def features(self, problems: Problems) -> torch.Tensor:
        """(B, n_features) float64, the same for all members."""
        return self.members[0].features(problems)

    def predict(self, problems: Problems, features: torch.Tensor | None = None) -> Prediction:
        """As `CorrectionModel.predict`; G of the mean and of the members in one solve."""
        measures = None
        if all(isinstance(member, MeasureNetwork) for member in self.members):
            known = self.features(problems) if features is None else features
            all_measures = torch.stack([m.measures(problems, known) for m in self.members])
            measures = all_measures.mean(0)
            each = self.members[0].of_measures(problems, all_measures)
        else:
            each = self.each(problems, features)
        rows = require_finite(torch.cat([each.mean(0, keepdim=True), each]))
        answer = self.dyson(repeated(problems, len(rows)), rows.flatten(0, 1))
        n, sigma, greens = (part.unflatten(0, rows.shape[:2]) for part in answer)
        distances = self.dyson.distance(greens[1:], greens[0], problems[Batch.BETA])
        mean = Answer(n[0], sigma[0], greens[0])
        return Prediction(rows[0], mean, distances.mean(0), measures)

    def reduced(self, problems: Problems, features: torch.Tensor | None = None) -> torch.Tensor:
        """(B, n_iw) complex128 q of the answer."""
        return self.each(problems, features).mean(0)

    def each(self, problems: Problems, features: torch.Tensor | None = None) -> torch.Tensor:
        """(M, B, n_iw) complex128 q of every member."""
        known = self.features(problems) if features is None else features
        bases = {member.base: member for member in self.members}
        reduced = {base: member.reduced_base(problems) for base, member in bases.items()}
        return torch.stack([reduced[m.base] + m.predicted(problems, known) for m in self.members])

    def forward(self, problems: Problems) -> Answer:
        """As `CorrectionModel.forward`."""
        return self.dyson(problems, self.reduced(problems))


@torch.no_grad()
def disagreement(model: CorrectionEnsemble, problems: Problems) -> np.ndarray:
    """(B,) mean of ``(1/beta) integral |G_i - G| dtau`` over members, G that of the mean."""
    return model.predict(problems).spread.cpu().numpy()

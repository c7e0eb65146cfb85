"""Several corrections of the same approximations: their mean, and how far they disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import DmftnetError
from dmftnet.models.correction.model import CorrectionModel, Prediction
from dmftnet.models.correction.thermal import Answer, Problems


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
        kinds = {(m.inputs, m.n_orb, m.measure) for m in members}
        if len(kinds) != 1:
            raise DmftnetError(
                "ensemble: members read different approximations, or are on different axes; train "
                "all with one dataset"
            )
        self.members = nn.ModuleList(members)
        first = members[0]
        self.inputs, self.dyson, self.measure = first.inputs, first.dyson, first.measure
        self.n_orb = first.n_orb

    def predict(self, problems: Problems) -> Prediction:
        """As `CorrectionModel.predict`."""
        return mean_of(self.each(problems))

    def reduced(self, problems: Problems) -> torch.Tensor:
        """(B, n_iw) complex128 q of the answer."""
        return self.predict(problems).q

    def each(self, problems: Problems) -> list[Prediction]:
        """Of every member."""
        return [member.predict(problems) for member in self.members]

    def forward(self, problems: Problems) -> Answer:
        """As `CorrectionModel.forward`."""
        found = self.predict(problems)
        return self.dyson(problems, found.q, found.strength)


def mean_of(predictions: Sequence[Prediction]) -> Prediction:
    """Their mean, part by part."""
    parts = zip(*predictions, strict=True)
    return Prediction(*(None if part[0] is None else torch.stack(part).mean(0) for part in parts))


@torch.no_grad()
def disagreement(model: CorrectionEnsemble, problems: Problems) -> np.ndarray:
    """(B,) mean of ``(1/beta) integral |G_i - G| dtau`` over members, G that of the mean."""
    each = model.each(problems)
    beta = problems[Batch.BETA]
    mean, *greens = (
        model.dyson(problems, found.q, found.strength).greens for found in (mean_of(each), *each)
    )
    distances = [model.dyson.distance(own, mean, beta) for own in greens]
    return torch.stack(distances).mean(0).cpu().numpy()

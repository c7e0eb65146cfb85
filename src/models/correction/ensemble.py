"""Several corrections of the same approximations: their mean, and how far they disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import DmftnetError
from dmftnet.models.correction.model import CorrectionModel
from dmftnet.models.correction.thermal import Answer, Problems


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
        kinds = {(m.inputs, m.measure) for m in members}
        if len(kinds) != 1:
            raise DmftnetError(
                "ensemble: members read different approximations, or are on different axes; train "
                "all with one dataset"
            )
        self.members = nn.ModuleList(members)
        first = members[0]
        self.inputs, self.dyson, self.measure = first.inputs, first.dyson, first.measure

    def reduced(self, problems: Problems) -> torch.Tensor:
        """(B, n_iw) complex128 q of the answer."""
        return self.each(problems).mean(0)

    def each(self, problems: Problems) -> torch.Tensor:
        """(M, B, n_iw) complex128 q of every member."""
        return torch.stack([member.reduced(problems) for member in self.members])

    def forward(self, problems: Problems) -> Answer:
        """As `CorrectionModel.forward`."""
        return self.dyson(problems, self.reduced(problems))


@torch.no_grad()
def disagreement(model: CorrectionEnsemble, problems: Problems) -> np.ndarray:
    """(B,) mean of ``(1/beta) integral |G_i - G| dtau`` over members, G that of the mean."""
    each = model.each(problems)
    mean = model.dyson(problems, each.mean(0)).greens
    beta = problems[Batch.BETA]
    distances = [model.dyson.distance(model.dyson(problems, q).greens, mean, beta) for q in each]
    return torch.stack(distances).mean(0).cpu().numpy()

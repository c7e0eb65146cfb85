"""A network that puts out the measure of the self-energy: causal before any projection.

An approximation that is far from the answer is no base: what is missing is as large as the answer,
and a sum of components that is a little wrong has no positive measure. Here the weights on the
nodes of `SelfEnergyMeasure` are a softmax, whatever the network says. The nodes are in units of T;
Hubbard bands stand at energies in units of D, and wander over the nodes with temperature. So the
logits are sums of two parts, one on the nodes and one on fixed energies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dmftnet import checks
from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import SettingError
from dmftnet.models.correction.model import CorrectionModel
from dmftnet.models.correction.networks import perceptron
from dmftnet.models.correction.outputs import Outputs
from dmftnet.models.correction.thermal import Problems
from dmftnet.physics.analysis.self_energy_measure import RESOLVED, SelfEnergyMeasure

EVEN, FURTHEST = 0.1, 8.0
"""Fixed energies, in D: even spacings below the first, growing ones above, up to the last."""

GAIN = 3.0
"""Logits over what the last layer puts out."""


class MeasureNetwork(CorrectionModel):
    """A multilayer perceptron from the features to the measure; without a base.

    Parameters
    ----------
    inputs, size, accuracy, n_fixed : see `CorrectionModel`
    width, n_layers, dropout : see `CorrectionNetwork`
    n_energies : int
        Of the part of the logits that is a function of energy in D.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        size: float,
        accuracy: float,
        width: int = 256,
        n_layers: int = 3,
        dropout: float = 0.0,
        n_energies: int = 40,
        n_fixed: int = 16,
        **options: Any,
    ):
        if options.setdefault("base", "none") != "none":
            raise SettingError(
                f"model.base = {options['base']}: MeasureNetwork predicts all of Sigma; leave it "
                "out, or use model=correction"
            )
        super().__init__(inputs, size, accuracy, n_fixed=n_fixed, **options)
        self.measure = SelfEnergyMeasure(size, accuracy, n_nodes=RESOLVED)
        if self.n_orb > 1:
            raise SettingError(
                f"model: MeasureNetwork treats one orbital, the data have {self.n_orb}; use "
                "model=correction"
            )
        n_energies = checks.integer("model.n_energies", n_energies, at_least=2, at_most=400)
        end = float(np.arcsinh(FURTHEST / EVEN))
        nodes = torch.as_tensor(self.measure.nodes)
        for name, values in (
            ("nodes", nodes),
            ("kernel", torch.as_tensor(self.measure.kernel)),
            ("centres", torch.linspace(-end, end, n_energies, dtype=torch.float64)),
        ):
            self.register_buffer(name, values, persistent=False)
        n_out = nodes.numel() + n_energies
        self.net = perceptron(self.n_features, n_out, width, n_layers, dropout)

    def coefficients(self, features: torch.Tensor) -> torch.Tensor:
        """(B, n_features) -> (B, J + n_energies) float64, the parts of the logits."""
        return GAIN * self.net(features.float()).double()

    def measures(self, problems: Problems, features: torch.Tensor | None = None) -> torch.Tensor:
        """(B, J) float64 non-negative, of sum one; those of mirror images are mirrored."""
        own = self.features(problems) if features is None else features
        energies = self.nodes / problems[Batch.BETA][:, None]  # (B, J), in D
        width = self.centres[1] - self.centres[0]
        away = (torch.asinh(energies / EVEN)[..., None] - self.centres) / width
        bumps = torch.exp(-0.5 * away**2)
        prior = -3.0 * torch.log1p((energies / 2.0) ** 2)
        here, there = (  # two passes, as in `CorrectionModel.predicted`
            self._weights(rows, bumps, prior) for rows in (own, own * self.mirror)
        )
        return 0.5 * (here + there.flip(-1))

    def _weights(
        self, features: torch.Tensor, bumps: torch.Tensor, prior: torch.Tensor
    ) -> torch.Tensor:
        on_nodes, on_energies = self._coefficients(features).tensor_split(
            [self.nodes.numel()], dim=-1
        )
        logits = prior + on_nodes + (bumps @ on_energies[..., None])[..., 0]
        return torch.softmax(logits, dim=-1)

    def of_measures(self, problems: Problems, measures: torch.Tensor) -> torch.Tensor:
        """(B, J) -> (B, n_iw) complex128 q."""
        beta = problems[Batch.BETA]
        t = measures.to(self.kernel.dtype) @ self.kernel.T
        return self.dyson.frequencies(beta) * beta[:, None] * t

    def outputs(self, problems: Problems, features: torch.Tensor | None = None) -> Outputs:
        measures = self.measures(problems, features)
        return Outputs(self.of_measures(problems, measures), measures=measures)

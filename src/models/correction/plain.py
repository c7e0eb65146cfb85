"""Models that are compared with: G learned outright, as the lectures did, and no learning at all.

Neither is causal by construction: convexity of -G and the sign of Im Sigma hold as far as they were
learned, or as the approximation has them. That is measured, not mended. Laws that are linear in G,
``G(0) + G(beta) = -1`` that is, hold in every sum of components of functions that obey them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.errors import SettingError
from dmftnet.models.correction.model import CorrectionModel
from dmftnet.models.correction.networks import CorrectionNetwork
from dmftnet.models.correction.thermal import Answer, Problems


class PlainNetwork(CorrectionNetwork):
    """A multilayer perceptron from the features to G itself, two hidden layers of 51.

    ``z G(z) = 1 + sum_k c_k v_k(z)`` at the Matsubara frequencies, v_k the principal components in
    the training data; Sigma is what Dyson's equation leaves of it.

    Parameters
    ----------
    inputs, size, accuracy, n_components, width, n_layers, dropout : see `CorrectionNetwork`

    References
    ----------
    E. Sheridan et al., Phys. Rev. B 104, 205120 (2021).
    """

    is_projected = False

    def __init__(
        self,
        inputs: Sequence[str],
        size: float,
        accuracy: float,
        width: int = 51,
        n_layers: int = 2,
        dropout: float = 0.0,
        **options: Any,
    ):
        if options.setdefault("base", "none") != "none":
            raise SettingError(
                f"model.base = {options['base']}: PlainNetwork predicts all of G; leave it out, or "
                "use model=correction"
            )
        super().__init__(inputs, size, accuracy, width, n_layers, dropout, **options)
        if self.n_orb > 1:
            raise SettingError(
                f"model: PlainNetwork treats one orbital, the data have {self.n_orb}; use "
                "model=correction"
            )

    def forward(self, problems: Problems) -> Answer:
        z = self.dyson.frequencies(problems[Batch.BETA])
        greens = (1 + self.predicted(problems)[0]) / z
        bare = z - problems[Batch.EPS_D][:, None] - problems[Batch.HYBRIDIZATION]
        density = -self.dyson.greens_tau(greens, problems[Batch.BETA])[:, -1]
        return Answer(density, bare - 1 / greens, greens)

    def missing(self, problems: Problems) -> tuple[torch.Tensor, torch.Tensor]:
        """Here ``z G - 1``."""
        beta = problems[Batch.BETA]
        z = self.dyson.frequencies(beta)
        greens = self.dyson.greens(problems, problems[Batch.SELF_ENERGY])
        return z * greens - 1, 1 / (z.abs() * beta[:, None])


class Approximation(CorrectionModel):
    """The base alone, its Sigma as it was given, G by Dyson's equation.

    Parameters
    ----------
    inputs, size, accuracy, base : see `CorrectionModel`
    """

    needs_gradient = False
    is_projected = False

    def __init__(
        self,
        inputs: Sequence[str],
        size: float,
        accuracy: float,
        base: str | None = None,
        *,
        n_orb: int = 1,
    ):
        super().__init__(inputs, size, accuracy, base, n_components=1, n_orb=n_orb)
        if self.base is None:
            raise SettingError(
                "model.base = none: an approximation alone is the answer; give one of "
                f"dataset.inputs = {list(self.inputs)}"
            )

    def fit(self, train: ThermalArrays, validation: ThermalArrays) -> None:
        self.prepare(train)

    def coefficients(self, features: torch.Tensor) -> torch.Tensor:
        return features.new_zeros(len(features), self.n_components)

    def forward(self, problems: Problems) -> Answer:
        sigma = problems[Batch.SELF_ENERGIES][:, self.base]
        greens = self.dyson.greens(problems, sigma)
        return Answer(self.dyson.density(greens, problems[Batch.BETA]), sigma, greens)

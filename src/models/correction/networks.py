"""Networks that put out a correction, or, as the lectures did, the Green function itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dmftnet import checks
from dmftnet.models.correction.model import CorrectionModel

LOWEST_SCALE, HIGHEST_SCALE = -12.0, 3.0
"""Of the logarithm of the common factor."""


class CorrectionNetwork(CorrectionModel):
    """A multilayer perceptron from the features to the coefficients, and to their common scale.

    What is missing spans decades over the samples, from a bath that a fit meets to one that it does
    not: the last output is the logarithm of a factor of all others.

    Parameters
    ----------
    inputs, size, accuracy, base, n_components : see `CorrectionModel`
    width : int
    n_layers : int
        Hidden layers.
    dropout : float
    """

    def __init__(
        self,
        inputs: Sequence[str],
        size: float,
        accuracy: float,
        width: int = 192,
        n_layers: int = 3,
        dropout: float = 0.0,
        **options: Any,
    ):
        super().__init__(inputs, size, accuracy, **options)
        self.net = perceptron(self.n_features, self.n_components + 1, width, n_layers, dropout)

    def coefficients(self, features: torch.Tensor) -> torch.Tensor:
        output = self.net(features.float()).double()
        return output[:, :-1] * torch.exp(output[:, -1:].clamp(LOWEST_SCALE, HIGHEST_SCALE))


def perceptron(n_in: int, n_out: int, width: int, n_layers: int, dropout: float) -> nn.Sequential:
    """`n_layers` hidden layers; outputs start close to zero."""
    width = checks.integer("model.width", width, at_least=1, at_most=4096)
    n_layers = checks.integer("model.n_layers", n_layers, at_least=1, at_most=20)
    dropout = checks.number("model.dropout", dropout, at_least=0, below=1)
    layers: list[nn.Module] = []
    for _ in range(n_layers):
        layers += [nn.Linear(n_in, width), nn.SiLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
        n_in = width
    last = nn.Linear(n_in, n_out)
    with torch.no_grad():
        last.weight *= 0.05
        last.bias.zero_()
    return nn.Sequential(*layers, last)

"""`mlp`: a residual multilayer perceptron on the whole hybridization at once.

The simplest network: no tokens, no attention. Cost O(B width (n_w + width)) per layer, an order of
magnitude below the attention networks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dmftnet.models.networks.layers import (
    feed_forward,
)
from dmftnet.models.networks.network import SpectralNetwork


class MLP(SpectralNetwork):
    """All frequencies and parameters in one vector.

    Parameters
    ----------
    inputs : see `SpectralNetwork`
    width : int
        Features per hidden layer.
    n_blocks : int
        Residual blocks of two layers.
    dropout : float
    """

    def __init__(
        self,
        width: int = 256,
        n_blocks: int = 3,
        dropout: float = 0.02,
        **inputs: Any,
    ):
        super().__init__(**inputs)
        self.check_sizes(dropout, n_blocks, 1, width=width)
        n_in = self.n_features * self.n_w
        self.hybridization_net = nn.Linear(n_in, width)
        self.parameter_net = feed_forward(self.n_params, width, width, 3)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), feed_forward(width, width, width, 2), nn.Dropout(dropout)
            )
            for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = self.output_layer(width, self.n_w)

    def embed(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(B, n_w), (B, n_params), (B, n_guess, n_w) -> (B, width)."""
        x = self.hybridization_net(self.tokens(hybridization, guesses).flatten(-2))
        x = x + self.parameter_net(self.parameter_input(params))
        for block in self.blocks:
            x = x + block(x)
        return self.norm(x)

    def project(self, embedding: torch.Tensor) -> torch.Tensor:
        """(B, width) -> (B, n_outputs, n_w)."""
        return self.projection(embedding).unflatten(-1, (self.n_outputs, self.n_w))

"""`crossquery`: frequency tokens are queries, parameter tokens keys and values.

The reverse of `crossattn`. A block is self-attention over the frequencies, which mixes them,
followed by cross-attention to a few parameter tokens, which conditions them.

Cost: O(B n_w^2 width) per block, about that of `crossattn` at equal width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dmftnet import checks
from dmftnet.models.networks.layers import (
    FAN,
    AttentionBlock,
    feed_forward,
    positional_encoding,
)
from dmftnet.models.networks.network import SpectralNetwork


class CrossQuery(SpectralNetwork):
    """Frequencies are queries, parameters keys and values.

    Parameters
    ----------
    inputs : see `SpectralNetwork`
    width, n_heads : int
        Features per token, and attention heads.
    n_blocks : int
        Pairs of self- and cross-attention.
    n_tokens : int
        Parameter tokens.
    periodic, dropout : float
        Share of cosines in the FAN layers; dropout.
    """

    def __init__(
        self,
        width: int = 48,
        n_heads: int = 2,
        n_blocks: int = 2,
        n_tokens: int = 8,
        periodic: float = 0.25,
        dropout: float = 0.02,
        **inputs: Any,
    ):
        super().__init__(**inputs)
        depth = 2 * checks.integer("model.n_blocks", n_blocks, at_least=1)
        sizes = {"width": width, "n_heads": n_heads, "n_tokens": n_tokens}
        self.check_sizes(dropout, depth, self.n_w, **sizes)
        self.n_tokens = n_tokens
        self.parameter_net = feed_forward(self.n_params, 2 * width, n_tokens * width, 3)
        self.hybridization_net = nn.Sequential(
            FAN(self.n_features, width, periodic), FAN(width, width, periodic)
        )
        self.position = positional_encoding(self.grid, width)
        self.mixing = nn.ModuleList(
            AttentionBlock(width, n_heads, dropout, "self", self.fused) for _ in range(n_blocks)
        )
        self.conditioning = nn.ModuleList(
            AttentionBlock(width, n_heads, dropout, "query", self.fused) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = self.output_layer(width, 1)

    def embed(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(B, n_w), (B, n_params), (B, n_guess, n_w) -> (B, n_w, width)."""
        parameters = self.parameter_net(self.parameter_input(params))
        parameters = parameters.unflatten(-1, (self.n_tokens, -1))  # (B, n_tokens, d)
        x = self.hybridization_net(self.tokens(hybridization, guesses)) + self.position
        for condition, mix in zip(self.conditioning, self.mixing, strict=True):
            x = mix(condition(x, parameters))  # (B, n_w, d)
        return self.norm(x)

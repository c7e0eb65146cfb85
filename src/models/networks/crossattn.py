"""`crossattn`: the seed architecture, as far as it is public (arXiv:2511.14505).

Parameters ``[U, eps_d, alpha]`` go through a 5-layer feed-forward net and are spread over the
frequency tokens; ``Delta(w)`` goes through 4 Fourier Analysis layers; both get a learnable
positional encoding. In two cross-attention blocks query and key come from the parameters and the
value from the hybridization, so that attention is a parameter-conditioned mixing matrix over
frequencies; the first block's output is the value of the second. A projection to one number per
frequency follows, made positive by the head. Width, heads, FAN share and normalisation are our
choice.

Cost: O(B n_w^2 width) per block.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import nn

from dmftnet.models.networks.layers import (
    FAN,
    AttentionBlock,
    feed_forward,
    positional_encoding,
)
from dmftnet.models.networks.network import SpectralNetwork


class CrossAttention(SpectralNetwork):
    """Parameters are queries and keys, the hybridization gives the values.

    Parameters
    ----------
    inputs : see `SpectralNetwork`
    width, n_heads : int
        Features per token, and attention heads.
    n_blocks : int
        Cross-attention blocks, 2 in the paper.
    periodic : float
        Share of cosines (and of sines) in a FAN layer.
    dropout : float

    Notes
    -----
    The paper has the angle as an input, and no guesses.
    """

    defaults: ClassVar = {"n_params": 3, "guesses": False, "log_residual": False}
    logarithm = False

    def __init__(
        self,
        width: int = 48,
        n_heads: int = 2,
        n_blocks: int = 2,
        periodic: float = 0.25,
        dropout: float = 0.02,
        **inputs: Any,
    ):
        super().__init__(**{**self.defaults, **inputs})
        self.check_sizes(dropout, n_blocks, self.n_w, width=width, n_heads=n_heads)
        self.parameter_net = feed_forward(self.n_params, width, width, 5)
        sizes = [self.n_features] + [width] * 4
        self.hybridization_net = nn.Sequential(*(FAN(a, b, periodic) for a, b in pairwise(sizes)))
        self.parameter_position = positional_encoding(self.grid, width)
        self.hybridization_position = positional_encoding(self.grid, width)
        self.blocks = nn.ModuleList(
            AttentionBlock(width, n_heads, dropout, "value", self.fused) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = self.output_layer(width, 1)

    def embed(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(B, n_w), (B, n_params), (B, n_guess, n_w) -> (B, n_w, width)."""
        parameters = self.parameter_net(self.parameter_input(params))  # (B, d)
        parameters = parameters.unsqueeze(-2) + self.parameter_position  # (B, n_w, d)
        value = self.hybridization_net(self.tokens(hybridization, guesses))
        value = value + self.hybridization_position  # (B, n_w, d)
        for block in self.blocks:
            value = block(value, parameters)
        return self.norm(value)

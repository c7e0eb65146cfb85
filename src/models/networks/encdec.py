"""`encdec`: an encoder over the hybridization, and frequency queries that read it.

Self-attention encodes the hybridization; one learned query per frequency then attends to the
encoded bath and to the parameter tokens at once. Queries know their frequency but not the bath, so
input and output frequencies need not match, as in translation.

Reference: A. Vaswani et al., NeurIPS 30 (2017). Cost: O(B n_w^2 width) per block, in encoder
and decoder.
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


class EncoderDecoder(SpectralNetwork):
    """Learned frequency queries read an encoded hybridization and the parameters.

    Parameters
    ----------
    inputs : see `SpectralNetwork`
    width, n_heads : int
        Features per token, and attention heads.
    n_encoder, n_decoder : int
        Self-attention blocks over the hybridization; cross-attention blocks of the queries.
    n_tokens : int
        Parameter tokens.
    periodic, dropout : float
        Share of cosines in the FAN layers; dropout.
    """

    def __init__(
        self,
        width: int = 48,
        n_heads: int = 2,
        n_encoder: int = 2,
        n_decoder: int = 2,
        n_tokens: int = 8,
        periodic: float = 0.25,
        dropout: float = 0.02,
        **inputs: Any,
    ):
        super().__init__(**inputs)
        for side, n in (("n_encoder", n_encoder), ("n_decoder", n_decoder)):
            checks.integer(f"model.{side}", n, at_least=1)
        sizes = {"width": width, "n_heads": n_heads, "n_tokens": n_tokens}
        self.check_sizes(dropout, n_encoder + n_decoder, self.n_w, **sizes)
        self.n_tokens = n_tokens
        self.parameter_net = feed_forward(self.n_params, 2 * width, n_tokens * width, 3)
        self.hybridization_net = nn.Sequential(
            FAN(self.n_features, width, periodic), FAN(width, width, periodic)
        )
        self.position = positional_encoding(self.grid, width)
        self.queries = positional_encoding(self.grid, width)
        self.encoder = nn.ModuleList(
            AttentionBlock(width, n_heads, dropout, "self", self.fused) for _ in range(n_encoder)
        )
        self.decoder = nn.ModuleList(
            AttentionBlock(width, n_heads, dropout, "query", self.fused) for _ in range(n_decoder)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = self.output_layer(width, 1)

    def embed(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(B, n_w), (B, n_params), (B, n_guess, n_w) -> (B, n_w, width)."""
        bath = self.hybridization_net(self.tokens(hybridization, guesses)) + self.position
        for block in self.encoder:
            bath = block(bath)
        parameters = self.parameter_net(self.parameter_input(params))
        parameters = parameters.unflatten(-1, (self.n_tokens, -1))  # (B, n_tokens, d)
        memory = torch.cat([bath, parameters], dim=-2)  # (B, n_w + n_tokens, d)
        x = self.queries.expand(*parameters.shape[:-2], -1, -1)
        for block in self.decoder:
            x = block(x, memory)
        return self.norm(x)

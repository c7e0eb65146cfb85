"""`film`: self-attention over frequencies, modulated by the parameters.

A token is a pair of frequencies ``+-w``, or several neighbouring pairs, so that fewer tokens carry
the same information and a frequency sees its mirror image. Blocks of self-attention mix the tokens;
the parameters enter as feature-wise linear modulation (FiLM): a scale and a shift of every
normalised activation, ``(1 + gamma(p)) norm(x) + beta(p)``, from a small net of the parameters.

Reference: E. Perez et al., AAAI 32 (2018). Cost: O(B T width (width + T)) per block of
``T = n_w / (2 pairs)`` tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention

from dmftnet.models.networks.layers import (
    Attention,
    dropout_layer,
    feed_forward,
    n_tokens,
    paired,
    paired_encoding,
    unpaired,
)
from dmftnet.models.networks.network import SpectralNetwork
from dmftnet.models.networks.stacking import StackedLinear, joined


class FilmBlock(nn.Module):
    """Self-attention and a two-layer feed-forward net, both residual and modulated.

    Parameters
    ----------
    width, n_heads : int
    dropout : float
    fused : bool
        See `Attention`.
    """

    def __init__(self, width: int, n_heads: int, dropout: float, fused: bool = False):
        super().__init__()
        self.attention = Attention(width, n_heads, fused)
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.forward_net = feed_forward(width, 2 * width, width, 2)
        self.modulation = nn.Linear(width, 4 * width)
        nn.init.normal_(self.modulation.weight, std=0.02)  # starts near plain layer norms
        nn.init.zeros_(self.modulation.bias)
        self.dropout = dropout_layer(dropout)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(B, T, d) tokens, (B, d) condition -> (B, T, d)."""
        scale, shift, scale_2, shift_2 = self.modulation(condition).unsqueeze(-2).chunk(4, dim=-1)
        y = torch.addcmul(shift, self.norms[0](x), 1.0 + scale)
        x = x + self.dropout(self.attention(y, y, y))
        y = torch.addcmul(shift_2, self.norms[1](x), 1.0 + scale_2)
        return x + self.dropout(self.forward_net(y))

    @staticmethod
    def side_by_side(blocks: Sequence[FilmBlock]) -> nn.Module:
        """See `dmftnet.models.networks.stacking`."""
        return StackedFilmBlock(blocks)


class StackedFilmBlock(nn.Module):
    """`FilmBlock`s of M members for use: the same, to rounding, in half the operations.

    Query, key and value are one product, and nothing is dropped.
    """

    def __init__(self, blocks: Sequence[FilmBlock]):
        super().__init__()
        parts = [block.attention for block in blocks]
        self.n_heads, self.width = parts[0].n_heads, parts[0].output.out_features
        self.mixed = StackedLinear([joined([a.query, a.key, a.value]) for a in parts])
        self.output = StackedLinear([a.output for a in parts])
        self.modulation = StackedLinear([block.modulation for block in blocks])
        self.inner, self.outer = (
            StackedLinear([block.forward_net[i] for block in blocks]) for i in (0, 2)
        )

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(M, B, T, d) tokens, (M, B, d) condition -> (M, B, T, d)."""
        shape = x.shape
        scale, shift, scale_2, shift_2 = self.modulation(condition).unsqueeze(-2).chunk(4, -1)
        y = torch.addcmul(shift, layer_norm(x, shape[-1:]), 1.0 + scale)
        mixed = self.mixed(y.view(shape[0], -1, shape[-1]))  # (M, B T, 3 d)
        q, k, v = mixed.view(-1, shape[2], 3, self.n_heads, self.width // self.n_heads).unbind(2)
        y = scaled_dot_product_attention(*(part.transpose(1, 2) for part in (q, k, v)))
        x = x + self.output(y.transpose(1, 2).reshape(shape[0], -1, shape[-1])).view(shape)
        y = torch.addcmul(shift_2, layer_norm(x, shape[-1:]), 1.0 + scale_2)
        y = gelu(self.inner(y.view(shape[0], -1, shape[-1])))
        return x + self.outer(y).view(shape)


class Film(SpectralNetwork):
    """Self-attention over frequency pairs, modulated by the parameters.

    Parameters
    ----------
    inputs : see `SpectralNetwork`
    width, n_heads : int
        Features per token, and attention heads.
    n_blocks : int
    pairs : int
        Neighbouring frequency pairs per token, a divisor of ``n_w / 2``.
    dropout : float
    """

    def __init__(
        self,
        width: int = 64,
        n_heads: int = 4,
        n_blocks: int = 3,
        pairs: int = 1,
        dropout: float = 0.0,
        **inputs: Any,
    ):
        super().__init__(**inputs)
        n_token = n_tokens(self.n_w, pairs)
        self.check_sizes(dropout, n_blocks, n_token, width=width, n_heads=n_heads)
        self.pairs = pairs
        self.parameter_net = feed_forward(self.n_params, width, width, 3)
        self.token_net = feed_forward(2 * pairs * self.n_features, width, width, 2)
        self.position = paired_encoding(self.grid, width, pairs)
        self.blocks = nn.ModuleList(
            FilmBlock(width, n_heads, dropout, self.fused) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = self.output_layer(width, 2 * pairs)

    def embed(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(B, n_w), (B, n_params), (B, n_guess, n_w) -> (B, n_token, width)."""
        condition = self.parameter_net(self.parameter_input(params))  # (B, d)
        condition = gelu(condition)
        tokens = paired(self.tokens(hybridization, guesses), self.pairs)
        x = self.token_net(tokens) + self.position
        for block in self.blocks:
            x = block(x, condition)
        return self.norm(x)

    def project(self, embedding: torch.Tensor) -> torch.Tensor:
        """(B, n_token, width) -> (B, n_outputs, n_w)."""
        return unpaired(self.projection(embedding), self.n_outputs, self.pairs)

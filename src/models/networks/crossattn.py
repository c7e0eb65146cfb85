"""`crossattn`: the seed architecture, as far as it is public (arXiv:2511.14505).

Parameters ``[U, eps_d, alpha]`` go through a 5-layer feed-forward net, which spreads them over the
tokens; ``Delta(w)`` goes through 4 Fourier Analysis layers; both get a learnable positional
encoding. In two cross-attention blocks query and key come from the parameters and the value from
the hybridization, so that attention is a parameter-conditioned mixing matrix over frequencies; the
first block's output is the value of the second. A projection to the frequencies follows, made
positive by the head.

Our choice: width, heads, FAN share, normalisation, and two things more. A token is a few
neighbouring pairs of frequencies ``+-w``. And the feed-forward net has an output for every token:
with one embedding for all, of which tokens differ by their position alone, scores would depend on
the parameters by little more than a bias of the keys, for what is common to all keys drops out of
the softmax.

The attention matrices depend on the parameters alone, and so on the angle, whose tangent
`CrossAttention.with_slope` writes out.

Cost: O(B T width (width + T)) per block of ``T = n_w / (2 pairs)`` tokens.
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
    n_tokens,
    paired,
    paired_encoding,
    unpaired,
)
from dmftnet.models.networks.network import PARAMETER_SCALES, SpectralNetwork
from dmftnet.models.networks.tangents import push, push_block


class CrossAttention(SpectralNetwork):
    """Parameters are queries and keys, the hybridization gives the values.

    Parameters
    ----------
    inputs : see `SpectralNetwork`
    width, n_heads : int
        Features per token, and attention heads.
    n_blocks : int
        Cross-attention blocks, 2 in the paper.
    pairs : int
        Neighbouring frequency pairs per token, a divisor of ``n_w / 2``.
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
        width: int = 64,
        n_heads: int = 4,
        n_blocks: int = 2,
        pairs: int = 4,
        periodic: float = 0.25,
        dropout: float = 0.02,
        **inputs: Any,
    ):
        super().__init__(**{**self.defaults, **inputs})
        n_token = n_tokens(self.n_w, pairs)
        sizes = {"width": width, "n_heads": n_heads, "n_tokens": n_token}
        self.check_sizes(dropout, n_blocks, n_token, **sizes)
        self.pairs = pairs
        self.parameter_net = feed_forward(self.n_params, width, n_token * width, 5)
        widths = [2 * pairs * self.n_features] + [width] * 4
        self.hybridization_net = nn.Sequential(*(FAN(a, b, periodic) for a, b in pairwise(widths)))
        self.parameter_position = paired_encoding(self.grid, width, pairs)
        self.hybridization_position = paired_encoding(self.grid, width, pairs)
        self.blocks = nn.ModuleList(
            AttentionBlock(width, n_heads, dropout, "value", self.fused) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = self.output_layer(width, 2 * pairs)

    def embed(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(B, n_w), (B, n_params), (B, n_guess, n_w) -> (B, n_token, width)."""
        parameters = self._spread(self.parameter_net(self.parameter_input(params)))
        parameters = parameters + self.parameter_position  # (B, n_token, d)
        value = self._values(hybridization, guesses)
        for block in self.blocks:
            value = block(value, parameters)
        return self.norm(value)

    def project(self, embedding: torch.Tensor) -> torch.Tensor:
        """(B, n_token, width) -> (B, n_outputs, n_w)."""
        return unpaired(self.projection(embedding), self.n_outputs, self.pairs)

    def with_slope(self, hybridization, params, guesses=None):
        """See `SpectralNetwork.with_slope`: the angle enters through query and key alone."""
        if guesses is None and self.guesses is not None:
            guesses = self.guesses(hybridization, params)
        inputs = self.parameter_input(params)
        direction = torch.zeros_like(inputs)
        direction[..., -1] = PARAMETER_SCALES[-1]
        parameters, d_parameters = (
            self._spread(x) for x in push(self.parameter_net, inputs, direction)
        )
        parameters = parameters + self.parameter_position
        value, d_value = self._values(hybridization, guesses), None
        for block in self.blocks:
            value, d_value = push_block(block, value, d_value, parameters, d_parameters)
        rows = push(self.projection, *push(self.norm, value, d_value))
        return tuple(unpaired(x, self.n_outputs, self.pairs) for x in rows)

    def _spread(self, x: torch.Tensor) -> torch.Tensor:
        """(B, n_token d) -> (B, n_token, d) parameters of each token."""
        return x.unflatten(-1, self.parameter_position.shape[-2:])

    def _values(self, hybridization, guesses) -> torch.Tensor:
        """(B, n_token, d) embedding of the hybridization."""
        tokens = paired(self.tokens(hybridization, guesses), self.pairs)
        return self.hybridization_net(tokens) + self.hybridization_position

"""Building blocks of the architectures: FAN layers, positions, explicit attention.

Shapes are for a batch: B samples, T tokens, d channels, h heads. Attention is written out where the
loss differentiates through a forward-mode derivative (`torch.func.jvp`), which fused kernels do not
support. Everything is float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from dmftnet import checks
from dmftnet.errors import DmftnetError
from dmftnet.physics.grids.real_axis import FrequencyGrid


class FAN(nn.Module):
    """Fourier Analysis Network layer ``[cos(W_p x) | sin(W_p x) | GELU(W_g x + b)]``.

    Parameters
    ----------
    n_in, n_out : int
    periodic : float
        Share of the outputs in each of the cosine and the sine part, below 1/2.
    """

    def __init__(self, n_in: int, n_out: int, periodic: float = 0.25):
        super().__init__()
        n_periodic = int(checks.number("model.periodic", periodic) * n_out)
        if not 0 < 2 * n_periodic < n_out:
            raise DmftnetError(
                f"FAN share periodic = {periodic} of width {n_out} leaves no room for one of its "
                "parts; use a share between 1/width and 1/2"
            )
        self.periodic = nn.Linear(n_in, n_periodic, bias=False)
        self.gated = nn.Linear(n_in, n_out - 2 * n_periodic)
        self.activation = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., n_in) -> (..., n_out)."""
        phase = self.periodic(x)
        gated = self.activation(self.gated(x))
        return torch.cat([torch.cos(phase), torch.sin(phase), gated], dim=-1)


def positional_encoding(grid: Mapping, width: int) -> nn.Parameter:
    """(n_w, width) learnable encoding of the frequencies that starts smooth.

    Sines and cosines of ``asinh(w / w_min)``, in which a geometric grid is nearly even, so that
    neighbouring tokens start alike and the spectrum starts smooth.
    """
    w = FrequencyGrid.geometric(**grid).omega
    x = np.arcsinh(w / w[w > 0].min())
    harmonics = np.pi * np.arange(1, (width + 1) // 2 + 1) * (x / x.max())[:, None]
    waves = np.concatenate([np.sin(harmonics), np.cos(harmonics)], axis=1)[:, :width]
    return nn.Parameter(torch.tensor(0.5 * waves, dtype=torch.float32))


def n_tokens(n_w: int, pairs: int) -> int:
    """Number of tokens of `pairs` neighbouring pairs of frequencies each.

    Raises
    ------
    DmftnetError
        If they do not fill the grid.
    """
    half, pairs = n_w // 2, checks.integer("model.pairs", pairs, at_least=1)
    if half % pairs:
        raise DmftnetError(
            f"model.pairs = {pairs} does not divide the grid's {half} pairs of frequencies; "
            "choose a divisor of n_w / 2"
        )
    return half // pairs


def paired(features: torch.Tensor, pairs: int) -> torch.Tensor:
    """(..., n_w, f) features of frequencies -> (..., n_token, 2 pairs f) of neighbouring pairs +-w.

    Tokens run outwards from zero frequency.
    """
    negative, positive = features.chunk(2, dim=-2)
    both = torch.cat([positive, negative.flip(-2)], dim=-1)  # (..., n_w / 2, 2 f)
    return both.unflatten(-2, (-1, pairs)).flatten(-2)


def unpaired(rows: torch.Tensor, n_outputs: int, pairs: int) -> torch.Tensor:
    """(..., n_token, n_outputs 2 pairs) outputs of `paired` tokens -> (..., n_outputs, n_w)."""
    both = rows.unflatten(-1, (n_outputs, 2, pairs)).movedim(-4, -2).flatten(-2)
    positive, negative = both.unbind(-2)  # (..., n_outputs, n_w / 2)
    return torch.cat([negative.flip(-1), positive], dim=-1)


def paired_encoding(grid: Mapping, width: int, pairs: int) -> nn.Parameter:
    """(n_token, width) `positional_encoding` of the tokens of `paired`."""
    positive = positional_encoding(grid, width).data[grid["n_w"] // 2 :]
    return nn.Parameter(positive.unflatten(0, (-1, pairs)).mean(dim=1))


def feed_forward(n_in: int, width: int, n_out: int, n_layers: int) -> nn.Sequential:
    """`n_layers` linear layers with GELU between them."""
    sizes = [n_in] + [width] * (n_layers - 1) + [n_out]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.GELU()]
    return nn.Sequential(*layers[:-1])


def dropout_layer(share: float) -> nn.Module:
    """Dropout of this share; for none nothing at all, which takes no time."""
    return nn.Dropout(share) if share else nn.Identity()


class Attention(nn.Module):
    """Multi-head attention with query, key and value from any three sequences.

    ``softmax(Q K^T / sqrt(d/h)) V``; query and key lengths may differ, key and value lengths not.
    No dropout on the scores: drawing B h T^2 random numbers would cost more than the rest.

    Parameters
    ----------
    width, n_heads : int
    fused : bool
        Use torch's fused kernel, which has no forward-mode derivative: not for the direct head.
    """

    def __init__(self, width: int, n_heads: int, fused: bool = False):
        super().__init__()
        if width % n_heads:
            raise DmftnetError(
                f"width = {width} is no multiple of n_heads = {n_heads}; choose one that is"
            )
        self.n_heads = n_heads
        self.fused = fused
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """(B, T_q, d), (B, T_k, d), (B, T_k, d) -> (B, T_q, d)."""
        q, k, v = (
            self.split(layer(x))
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )  # (B, h, T, d/h)
        if self.fused:
            flat = (x.flatten(0, -4) for x in (q, k, v))  # the kernel knows but one batch axis
            mixed = nn.functional.scaled_dot_product_attention(*flat).unflatten(0, q.shape[:-3])
        else:
            scores = (q * q.shape[-1] ** -0.5) @ k.mT  # (B, h, T_q, T_k)
            mixed = torch.softmax(scores, dim=-1) @ v  # (B, h, T_q, d/h)
        return self.output(self.merged(mixed))

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, d) -> (B, h, T, d/h)."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(-2, -3)

    def merged(self, x: torch.Tensor) -> torch.Tensor:
        """(B, h, T, d/h) -> (B, T, d)."""
        return x.transpose(-2, -3).flatten(-2)


class AttentionBlock(nn.Module):
    """Attention and a two-layer feed-forward net, both residual, with dropout.

    Parameters
    ----------
    width, n_heads : int
    dropout : float
    carried : {"self", "query", "value"}
        The part that the carried (residual) sequence plays: all three; the query, with key and
        value from another sequence; or the value, with query and key from another sequence of the
        same length (the seed architecture, where those are the parameters).
    fused : bool
        See `Attention`.
    """

    def __init__(self, width: int, n_heads: int, dropout: float, carried: str, fused: bool = False):
        super().__init__()
        self.carried = carried
        self.attention = Attention(width, n_heads, fused)
        self.norm_carried = nn.LayerNorm(width)
        self.norm_other = nn.Identity() if carried == "self" else nn.LayerNorm(width)
        self.norm_forward = nn.LayerNorm(width)
        self.forward_net = feed_forward(width, 2 * width, width, 2)
        self.dropout = dropout_layer(dropout)

    def forward(self, x: torch.Tensor, other: torch.Tensor | None = None) -> torch.Tensor:
        """(B, T, d) carried and (B, T', d) other sequence -> (B, T, d)."""
        mine = self.norm_carried(x)
        theirs = mine if self.carried == "self" else self.norm_other(other)
        if self.carried == "value":
            mixed = self.attention(theirs, theirs, mine)
        else:
            mixed = self.attention(mine, theirs, theirs)
        x = x + self.dropout(mixed)
        return x + self.dropout(self.forward_net(self.norm_forward(x)))

"""The paper's ansatz: RWKV, a recurrent network with linear attention, on patches of the line.

A token is a patch of sites. It is embedded, with its place; each layer mixes over the tokens before
(``time``: of every head ``o_t = r_t . (sum_(s < t) w^(t-1-s) k_s v_s + u k_t v_t)``) and over the
channels (``channel``), both as additions to the stream and on inputs that interpolate between a
token and the one before it. The head of a patch gives the logits of its sites one after the other,
each from a table over the states of the sites before it in the patch: any law of the patch.

Sizes of arXiv 2512.08624 (layers, embedding, hidden, heads, patch): 4/32/64/1/2, 4/80/64/1/4 and
4/70/32/1/2 for one, two, three orbitals. Not public and ours: embedded places, the initial weights,
decays that depend on the channel alone.

References: B. Peng et al., arXiv 2305.13048 and 2404.05892; J. Rigo, M. Schmitt, arXiv 2512.08624.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dmftnet import checks
from dmftnet.errors import SettingError
from dmftnet.models.nqs.ansatz import Law
from dmftnet.models.nqs.jacobian import DenseJacobian
from dmftnet.models.nqs.line import Symmetry
from dmftnet.models.nqs.prior import Prior
from dmftnet.physics.fermions.kanamori import Sector


class RWKV(Law):
    """The law; see `dmftnet.models.nqs.ansatz.Law`.

    Parameters
    ----------
    sector, symmetry, prior
        As of `Law`.
    layers, embedding, hidden, heads : int
        Heads divide the embedding.
    patch : int
        Sites of a token; the last one may be shorter.
    seed : int
        Of the initial weights.
    """

    def __init__(
        self,
        sector: Sector,
        symmetry: Symmetry,
        prior: Prior,
        layers: int = 4,
        embedding: int = 32,
        hidden: int = 64,
        heads: int = 1,
        patch: int = 2,
        seed: int = 0,
    ):
        super().__init__(sector, symmetry, prior)
        n_sites = self.n_sites
        sizes = {"layers": layers, "embedding": embedding, "hidden": hidden, "heads": heads}
        for name, value in (sizes | {"patch": patch}).items():
            checks.integer(f"ansatz.{name}", value, at_least=1)
        checks.integer("ansatz.patch", patch, at_most=n_sites)
        if embedding % heads:
            raise SettingError(f"ansatz.heads = {heads}: give a divisor of embedding, {embedding}")
        self.patch, self.n_tokens = patch, -(-n_sites // patch)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.token = nn.Embedding(4**patch + 1, embedding)  # the last: nothing before
            self.place = nn.Parameter(0.5 * torch.randn(self.n_tokens, embedding))
            self.layers = nn.ModuleList(
                Layer(embedding, hidden, heads, self.n_tokens) for _ in range(layers)
            )
            self.norm = nn.LayerNorm(embedding)
            width = sum(4 ** (k + 1) for k in range(patch))
            self.head = nn.Linear(embedding, width)
            nn.init.normal_(self.head.weight, std=0.1 / embedding**0.5)
            nn.init.zeros_(self.head.bias)
        self.double()
        self.constant("digits", 4 ** np.arange(patch))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """`log_prob`."""
        return self.log_prob(states)

    def network(self, states: torch.Tensor, at: slice) -> torch.Tensor:
        """See `Law`."""
        last = (at.stop - 1) // self.patch + 1  # tokens that are needed
        padded = nn.functional.pad(states, (0, self.n_tokens * self.patch - self.n_sites))
        patches = padded.unflatten(1, (self.n_tokens, self.patch))[:, :last]  # (n, T, patch)
        tokens = (patches * self.digits).sum(dim=2)
        begin = torch.full_like(tokens[:, :1], 4**self.patch)
        x = self.token(torch.cat([begin, tokens[:, :-1]], dim=1)) + self.place[:last]
        for layer in self.layers:
            x = layer(x)
        tables = self.head(self.norm(x)).split([4 ** (k + 1) for k in range(self.patch)], dim=2)
        logits = []
        for k, table in enumerate(tables):  # (n, T, 4^k, 4) by the states before in the patch
            before = (patches[:, :, :k] * self.digits[:k]).sum(dim=2)[:, :, None, None]
            rows = table.unflatten(2, (4**k, 4))
            logits.append(rows.gather(2, before.expand(-1, -1, 1, 4))[:, :, 0])
        return torch.stack(logits, dim=2).flatten(1, 2)[:, at]

    def jacobian(self, states: torch.Tensor) -> DenseJacobian:
        """See `Law`."""
        return DenseJacobian.of(self, states)


class Layer(nn.Module):
    """Mixing over the tokens before, then over channels; (n, T, embedding) in and out."""

    def __init__(self, embedding: int, hidden: int, heads: int, n_tokens: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(embedding) for _ in range(2))
        self.time = TimeMixing(embedding, heads, n_tokens)
        self.channel = ChannelMixing(embedding, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.time(self.norms[0](x))
        return x + self.channel(self.norms[1](x))


class TimeMixing(nn.Module):
    """Linear attention with a decay w and a weight u of the token itself, a channel each."""

    def __init__(self, embedding: int, heads: int, n_tokens: int):
        super().__init__()
        self.heads = heads
        size = embedding // heads
        self.mix = nn.Parameter(torch.rand(4, embedding))  # of r, k, v, g
        self.maps = nn.ModuleList(nn.Linear(embedding, embedding, bias=False) for _ in range(4))
        self.decay = nn.Parameter(torch.linspace(-3.0, 1.0, size).repeat(heads, 1))
        self.bonus = nn.Parameter(0.5 * torch.rand(heads, size))
        self.norm = nn.LayerNorm(size)
        self.out = nn.Linear(embedding, embedding, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, T, _ = x.shape
        r, k, v, g = (
            own(x + mix * (shifted(x) - x)) for own, mix in zip(self.maps, self.mix, strict=True)
        )
        r, k, v = (y.reshape(n, T, self.heads, -1) for y in (r, k, v))
        age = (torch.arange(T)[:, None] - torch.arange(T) - 1)[:, :, None, None]  # (t, s)
        w = torch.exp(-torch.exp(self.decay) * age.clamp(min=0)) * (age >= 0)
        w = w + self.bonus * (age == -1)
        strength = torch.einsum("bthc,tshc,bshc->bhts", r, w, k) / k.shape[-1] ** 0.5
        mixed = self.norm(torch.einsum("bhts,bshc->bthc", strength, v)).reshape(n, T, -1)
        return self.out(mixed * nn.functional.silu(g))


class ChannelMixing(nn.Module):
    """``sigmoid(R x) . V relu(K x)^2``."""

    def __init__(self, embedding: int, hidden: int):
        super().__init__()
        self.mix = nn.Parameter(torch.rand(2, embedding))
        self.key = nn.Linear(embedding, hidden, bias=False)
        self.value = nn.Linear(hidden, embedding, bias=False)
        self.receptance = nn.Linear(embedding, embedding, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        back = shifted(x) - x
        k = torch.relu(self.key(x + self.mix[0] * back)) ** 2
        return torch.sigmoid(self.receptance(x + self.mix[1] * back)) * self.value(k)


def shifted(x: torch.Tensor) -> torch.Tensor:
    """Each token's predecessor, zero before the first."""
    return nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]

"""The small ansatz: a network of one hidden layer a position.

The logits of position i are ``W_i tanh(V_i x + a_i) + b_i``, x the occupations before i as -1 and
+1. A network sees one term of the sum of log p alone, so that the derivatives of a batch are
products of small factors (`dmftnet.models.nqs.jacobian`), and no Jacobian is ever stored.
"""

from __future__ import annotations

import numpy as np
import torch

from dmftnet import checks
from dmftnet.models.nqs.ansatz import Law
from dmftnet.models.nqs.jacobian import FactoredJacobian, Factors
from dmftnet.models.nqs.line import Symmetry
from dmftnet.models.nqs.prior import Prior
from dmftnet.physics.fermions.kanamori import Sector


class PositionNets(Law):
    """The law; see `dmftnet.models.nqs.ansatz.Law`.

    Parameters
    ----------
    sector, symmetry, prior
        As of `Law`.
    width : int
        Hidden units of a position.
    seed : int
        Of the initial weights.
    """

    def __init__(
        self,
        sector: Sector,
        symmetry: Symmetry,
        prior: Prior,
        width: int = 24,
        seed: int = 0,
    ):
        super().__init__(sector, symmetry, prior)
        n_sites, width = self.n_sites, checks.integer("ansatz.width", width, at_least=1)
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.V = torch.nn.Parameter(normal(n_sites, width, 2 * n_sites) / (2 * n_sites) ** 0.5)
        self.a = torch.nn.Parameter(normal(n_sites, width) * 0.1)
        self.W = torch.nn.Parameter(normal(n_sites, 4, width) * 0.5 / width**0.5)
        self.b = torch.nn.Parameter(torch.zeros(n_sites, 4, dtype=torch.float64))
        self.constant("seen", np.tile(np.tril(np.ones((n_sites, n_sites)), -1), 2))

    def network(self, states: torch.Tensor, at: slice) -> torch.Tensor:
        """See `Law`."""
        return self._logits(self._hidden(states, at), at)

    def jacobian(self, states: torch.Tensor) -> FactoredJacobian:
        """See `Law`."""
        every = slice(0, self.n_sites)
        with torch.no_grad():
            h = self._hidden(states, every)
            logits = self.constrained(self._logits(h, every), states, every)
            onehot = torch.nn.functional.one_hot(states, 4).to(h.dtype)
            delta = onehot - torch.softmax(logits, dim=2)
            gate = torch.einsum("bis,ish->bih", delta, self.W) * (1 - h**2)
            x = self.encoded(states)
            seen = self.seen.to(x.dtype)
            return FactoredJacobian(
                [Factors(delta[:, i], h[:, i], gate[:, i], x * seen[i]) for i in self.places]
            )

    def _hidden(self, states: torch.Tensor, at: slice) -> torch.Tensor:
        """(n, positions, width) tanh."""
        V = (self.V[at] * self.seen[at, None].to(self.V.dtype)).flatten(0, 1)
        return torch.tanh((self.encoded(states) @ V.T).unflatten(1, self.a[at].shape) + self.a[at])

    def _logits(self, h: torch.Tensor, at: slice) -> torch.Tensor:
        return torch.einsum("bih,ish->bis", h, self.W[at]) + self.b[at]

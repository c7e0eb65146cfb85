"""An autoregressive Born law over determinants: a small network a position, and a determinant.

``p(s) = prod_i p_i(s_i | s_0 .. s_(i-1))`` with the logits ``W_i tanh(V_i x + a_i) + b_i + prior``,
x the occupations before i as -1 and +1, prior the logarithms of a Slater determinant's conditionals
(`dmftnet.models.nqs.prior`). What cannot be completed to the electrons of the sector, or is not
canonical under the symmetries, has probability zero. Electrons of either spin that are left must
fit into the sites that are left: two independent bounds, from two counters.

The network of a position sees one term of the sum of log p alone, so that the derivatives of a
batch are products of small factors (`Factors`), and no Jacobian is ever stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dmftnet.models.networks.constants import Constants
from dmftnet.models.nqs.line import BOTH, EMPTY, SINGLE_DOWN, SINGLE_UP, Symmetry
from dmftnet.physics.fermions.kanamori import DOWN, UP, Sector

PARAMETERS = ("V", "a", "W", "b")


@dataclass(frozen=True, eq=False)
class Factors:
    """Derivatives of ``log p`` by the parameters of one position, for a batch.

    ``dW = delta h^T, db = delta, dV = gate x^T, da = gate``.

    Parameters
    ----------
    delta : (n, 4)
        By the logits.
    h : (n, width)
    gate : (n, width)
        By what tanh is taken of.
    x : (n, 2 n_sites)
        Zero from the position on, as V is there.
    """

    delta: torch.Tensor
    h: torch.Tensor
    gate: torch.Tensor
    x: torch.Tensor


class PositionNets(Constants):
    """The law; rows of states are local states along a line (`dmftnet.models.nqs.line`).

    Parameters
    ----------
    n_sites : int
    sector : (n_up, n_dn)
    symmetry : Symmetry
        Only canonical determinants have a probability, which is that of all their images.
    priors : (up, down) of (2^n_sites,) float64
        As of `dmftnet.models.nqs.prior.conditionals`.
    width : int
        Hidden units of a position.
    seed : int
        Of the initial weights.
    """

    def __init__(
        self,
        n_sites: int,
        sector: Sector,
        symmetry: Symmetry,
        priors: Sequence[np.ndarray],
        width: int = 24,
        seed: int = 0,
    ):
        super().__init__()
        self.n_sites, self.sector, self.symmetry = n_sites, sector, symmetry
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.V = torch.nn.Parameter(normal(n_sites, width, 2 * n_sites) / (2 * n_sites) ** 0.5)
        self.a = torch.nn.Parameter(normal(n_sites, width) * 0.1)
        self.W = torch.nn.Parameter(normal(n_sites, 4, width) * 0.5 / width**0.5)
        self.b = torch.nn.Parameter(torch.zeros(n_sites, 4, dtype=torch.float64))
        before = np.triu(np.ones((n_sites, n_sites)), 1)  # (j, i): j < i
        self.constant("before", before)
        self.constant("binary", before * 2.0 ** np.arange(n_sites)[:, None])
        self.constant("seen", np.tile(before.T, 2))
        self.constant("places", np.arange(n_sites))
        self.constant("fits", np.stack([_fits(n_sites, n) for n in sector]))
        tables = [np.log(np.stack([1 - p, p], axis=1)) for p in priors]
        self.constant("prior", np.stack(tables))  # (spin, prefix, n)

    def log_prob(self, states: torch.Tensor) -> torch.Tensor:
        """(n,) log p of (n, n_sites) int64 canonical states of the sector."""
        logits, _ = self._logits(states, slice(0, self.n_sites))
        return _chosen(torch.log_softmax(logits, dim=2), states).sum(dim=1)

    def next_log_prob(self, prefixes: torch.Tensor, position: int) -> torch.Tensor:
        """(n, 4) log p of the state at a position; of each row only what stands before counts."""
        logits, _ = self._logits(prefixes, slice(position, position + 1))
        return torch.log_softmax(logits[:, 0], dim=1)

    def factors(self, states: torch.Tensor) -> Iterator[Factors]:
        """Position by position; see `Factors`."""
        with torch.no_grad():
            logits, h = self._logits(states, slice(0, self.n_sites))
            onehot = torch.nn.functional.one_hot(states, 4).to(h.dtype)
            delta = onehot - torch.softmax(logits, dim=2)
            gate = torch.einsum("bis,ish->bih", delta, self.W) * (1 - h**2)
            x = self._encoded(states)
            for i in range(self.n_sites):
                yield Factors(delta[:, i], h[:, i], gate[:, i], x * self.seen[i].to(x.dtype))

    def _encoded(self, states: torch.Tensor) -> torch.Tensor:
        """(n, 2 n_sites) occupations of up, then down, as -1 and +1."""
        return 2 * torch.cat([states & 1, states >> 1], dim=1).to(self.V.dtype) - 1

    def _logits(self, states: torch.Tensor, at: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, positions, 4) logits, -inf where forbidden, and (n, positions, width) tanh."""
        V = (self.V[at] * self.seen[at, None].to(self.V.dtype)).flatten(0, 1)
        h = torch.tanh((self._encoded(states) @ V.T).unflatten(1, self.a[at].shape) + self.a[at])
        logits = torch.einsum("bih,ish->bis", h, self.W[at]) + self.b[at]
        spins = torch.stack([states & 1, states >> 1]).to(torch.float64)  # (spin, n, n_sites)
        allowed = self._allowed(states, spins, at)
        prior = self._prior(spins, at).to(logits.dtype)
        return (logits + prior).masked_fill(~allowed, -torch.inf), h

    def _prior(self, spins: torch.Tensor, at: slice) -> torch.Tensor:
        """(n, positions, 4) log P of a determinant's conditionals."""
        heap = (spins @ self.binary[:, at] + 2.0 ** self.places[at]).long()
        up, down = self.prior[UP][heap[UP]], self.prior[DOWN][heap[DOWN]]
        prior = (down[..., :, None] + up[..., None, :]).flatten(2)  # state n_up + 2 n_down
        first = self._first(spins, at)
        prior[..., SINGLE_UP] += np.log(2) * (first[0] if self.symmetry.spin_flip else 0)
        prior[..., BOTH] += np.log(2) * (first[1] if self.symmetry.pair_flip else 0)
        return prior

    def _first(self, spins: torch.Tensor, at: slice) -> torch.Tensor:
        """(2, n, positions) 1 where no site before is singly filled, where all are."""
        single = (spins[UP] != spins[DOWN]).to(torch.float64)
        return (torch.stack([single, 1 - single]) @ self.before[:, at] == 0).to(torch.float64)

    def _allowed(self, states: torch.Tensor, spins: torch.Tensor, at: slice) -> torch.Tensor:
        """(n, positions, 4) whether a state leads to the sector, and is canonical."""
        used = (spins @ self.before[:, at]).long()
        place = self.places[at]
        up, down = self.fits[UP][place, used[UP]], self.fits[DOWN][place, used[DOWN]]
        allowed = (down[..., :, None] & up[..., None, :]).flatten(2)
        first = self._first(spins, at)
        if self.symmetry.spin_flip:
            allowed[..., SINGLE_DOWN] &= first[0] == 0
        if self.symmetry.pair_flip:
            allowed[..., EMPTY] &= first[1] == 0
        return allowed


def _fits(n_sites: int, n: int) -> np.ndarray:
    """(position, electrons before it, n_i) whether n electrons can still be reached."""
    behind = n_sites - 1 - np.arange(n_sites)[:, None, None]
    left = n - np.arange(n_sites + 1)[:, None] - np.arange(2)
    return (left >= 0) & (left <= behind)


def _chosen(values: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """(n, n_sites) of (n, n_sites, 4), at the states."""
    return values.gather(2, states[:, :, None])[:, :, 0]

"""An autoregressive Born law over determinants, whatever network gives its logits.

``p(s) = prod_i p_i(s_i | s_0 .. s_(i-1))``. The logits are those of a network plus the logarithms
of a correlated determinant's conditionals (`dmftnet.models.nqs.prior`), which the law is without
its network. What cannot be completed to the electrons of the sector, or is not canonical under
the symmetries, has probability zero; a canonical determinant has that of all its images. What leads
to the sector is a table over position and the electrons of either spin before it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from dmftnet.models.networks.constants import Constants
from dmftnet.models.nqs.jacobian import Jacobian
from dmftnet.models.nqs.line import BOTH, EMPTY, SINGLE_DOWN, SINGLE_UP, Gate, Symmetry
from dmftnet.models.nqs.prior import Prior
from dmftnet.physics.fermions.kanamori import DOWN, UP, Sector


class Law(Constants):
    """The law; rows of states are local states along a line (`dmftnet.models.nqs.line`).

    Parameters
    ----------
    sector : (n_up, n_dn)
    symmetry : Symmetry
        Only canonical determinants have a probability, which is that of all their images.
    prior : Prior
    """

    def __init__(self, sector: Sector, symmetry: Symmetry, prior: Prior):
        super().__init__()
        n_sites = len(prior.local)
        self.n_sites, self.sector, self.symmetry = n_sites, sector, symmetry
        self.constant("places", np.arange(n_sites))
        self.constant("bits", 2 ** np.arange(n_sites))
        self.constant("leads", leads_to(n_sites, sector, symmetry.gates))
        tables = [np.log(np.stack([1 - p, p], axis=1)) for p in prior.tables]
        self.constant("prior", np.stack(tables))  # (spin, prefix, n)
        self.constant("local", np.log(prior.local))

    @abstractmethod
    def network(self, states: torch.Tensor, at: slice) -> torch.Tensor:
        """(n, positions, 4) logits of (n, n_sites) states; each of what stands before it alone."""

    @abstractmethod
    def jacobian(self, states: torch.Tensor) -> Jacobian:
        """Derivatives of ``log p`` of (n, n_sites) canonical states by the parameters."""

    def log_prob(self, states: torch.Tensor) -> torch.Tensor:
        """(n,) log p of (n, n_sites) int64 canonical states of the sector."""
        return self.log_conditionals(states).sum(dim=1)

    def log_conditionals(self, states: torch.Tensor, first: int = 0) -> torch.Tensor:
        """(n, n_sites - first) log p of each local state from a position on, given those before."""
        at = slice(first, self.n_sites)
        return chosen(self._log_conditionals(states, at), states[:, at])

    def next_log_prob(self, prefixes: torch.Tensor, position: int) -> torch.Tensor:
        """(n, 4) log p of the state at a position; of each row only what stands before counts."""
        return self._log_conditionals(prefixes, slice(position, position + 1))[:, 0]

    def encoded(self, states: torch.Tensor) -> torch.Tensor:
        """(n, 2 n_sites) occupations of up, then down, as -1 and +1."""
        return 2 * torch.cat([states & 1, states >> 1], dim=1).to(self.dtype) - 1

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.parameters()).dtype

    def constrained(self, logits: torch.Tensor, states: torch.Tensor, at: slice) -> torch.Tensor:
        """(n, positions, 4) logits with the prior, -inf where forbidden."""
        spins = torch.stack([states & 1, states >> 1])  # (spin, n, n_sites)
        bits = self.bits[at]
        before = (spins * self.bits).sum(dim=2)[..., None] & (bits - 1)  # (spin, n, positions)
        single = before[UP] ^ before[DOWN]
        # (2, n, positions) whether no site before is singly filled, whether all are
        first = torch.stack([single == 0, single == bits - 1])
        used = (spins.cumsum(dim=2) - spins)[..., at]
        prior = self._prior(before + bits, first, at).to(logits.dtype)
        return (logits + prior).masked_fill(~self._allowed(used, first, at), -torch.inf)

    def _log_conditionals(self, states: torch.Tensor, at: slice) -> torch.Tensor:
        logits = self.network(states, at)
        return torch.log_softmax(self.constrained(logits, states, at), dim=2)

    def _prior(self, heap: torch.Tensor, first: torch.Tensor, at: slice) -> torch.Tensor:
        """(n, positions, 4) log P of the prior's conditionals, of all images together."""
        up, down = self.prior[UP][heap[UP]], self.prior[DOWN][heap[DOWN]]
        # state n_up + 2 n_down
        prior = (down[..., :, None] + up[..., None, :]).flatten(2) + self.local[at]
        if self.symmetry.spin_flip:
            prior[..., SINGLE_UP] += np.log(2) * first[0]
        if self.symmetry.pair_flip:
            prior[..., BOTH] += np.log(2) * first[1]
        return prior

    def _allowed(self, used: torch.Tensor, first: torch.Tensor, at: slice) -> torch.Tensor:
        """(n, positions, 4) whether a state leads to the sector, and is canonical."""
        allowed = self.leads[self.places[at], used[UP], used[DOWN]]
        if self.symmetry.spin_flip:
            allowed[..., SINGLE_DOWN] &= ~first[0]
        if self.symmetry.pair_flip:
            allowed[..., EMPTY] &= ~first[1]
        return allowed


def chosen(values: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """(n, n_sites) of (n, n_sites, 4), at the states."""
    return values.gather(2, states[:, :, None])[:, :, 0]


def leads_to(n_sites: int, sector: Sector, gates: Sequence[Gate]) -> np.ndarray:
    """(position, up before it, down before it, state) whether the sector can still be reached.

    Parameters
    ----------
    gates
        As of `Symmetry`.
    """
    reached = np.zeros((n_sites + 2, n_sites + 2), dtype=bool)
    reached[sector] = True
    table = np.zeros((n_sites, n_sites + 1, n_sites + 1, 4), dtype=bool)
    total = np.add.outer(np.arange(n_sites + 2), np.arange(n_sites + 2))
    for position in reversed(range(n_sites)):
        for sites, electrons, step in gates:
            if position + 1 == sites:
                reached &= (total - electrons) % step == 0
        for state in range(4):
            up, down = state & 1, state >> 1
            table[position, ..., state] = reached[up:, down:][: n_sites + 1, : n_sites + 1]
        reached = np.zeros_like(reached)
        reached[:-1, :-1] = table[position].any(axis=-1)
    return table

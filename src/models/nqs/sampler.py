"""Independent samples of an autoregressive law on a tree of prefixes.

Equal prefixes are one node with a multiplicity, which a multinomial draw shares out among the four
continuations: the cost is that of the distinct determinants. Drawn is from ``q``, the product of
the conditionals to a power and normalised again: a power below one finds rare determinants, whose
local energies are the large ones. Two weights make it an unbiased sum over p: ``count p / (n q)``,
and, of the distinct determinants alone, ``p / (1 - (1 - q)^n)``, over the probability to be found
at all. The latter turns into the exact sum when everything is found.

References: T. Barrett, A. Malyshev, A. Lvovsky, Nat. Mach. Intell. 4, 351 (2022); D. Horvitz,
D. Thompson, J. Am. Stat. Assoc. 47, 663 (1952).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dmftnet.models.nqs.ansatz import Law


@dataclass(frozen=True, eq=False)
class Samples:
    """Distinct determinants.

    Parameters
    ----------
    states : (n, n_sites) int64
        Local states along the line, canonical.
    counts : (n,) int64
        How often each was drawn.
    log_p, log_q : (n,) float64
        Of the law, and of what was drawn from.
    """

    states: np.ndarray
    counts: np.ndarray
    log_p: np.ndarray
    log_q: np.ndarray

    @property
    def n_drawn(self) -> int:
        """Draws, repeated ones included."""
        return int(self.counts.sum())

    @property
    def inclusion(self) -> np.ndarray:
        """(n,) probability of a determinant to be among the samples."""
        q = np.exp(np.minimum(self.log_q, 0.0))
        with np.errstate(divide="ignore"):  # q = 1
            return -np.expm1(self.n_drawn * np.log1p(-q))

    def inclusion_weights(self) -> np.ndarray:
        """(n,) float64; ``sum_s w f`` has the mean ``sum_s p f``."""
        return np.exp(self.log_p) / self.inclusion

    def importance_weights(self) -> np.ndarray:
        """(n,) float64; as `inclusion_weights`, with the counts."""
        return self.counts / self.n_drawn * np.exp(self.log_p - self.log_q)


def sample(law: Law, n_samples: int, rng: np.random.Generator, power: float = 1.0) -> Samples:
    """Draw from a law.

    Parameters
    ----------
    n_samples : int
        Draws.
    power : float
        Of the conditionals; 1 draws from the law itself.
    """
    states = np.zeros((1, law.n_sites), dtype=np.int64)
    counts = np.array([n_samples])
    log_p, log_q = np.zeros(1), np.zeros(1)
    for position in range(law.n_sites):
        with torch.no_grad():
            found = law.next_log_prob(torch.from_numpy(states), position)
        own = found.double().numpy()
        own = own - np.log(np.exp(own).sum(axis=1, keepdims=True))
        drawn = power * own
        drawn = drawn - np.log(np.exp(drawn).sum(axis=1, keepdims=True))
        chance = np.exp(drawn)
        chance /= chance.sum(axis=1, keepdims=True)
        shared = rng.multinomial(counts, chance)
        rows, chosen = np.nonzero(shared)
        states = states[rows]
        states[:, position] = chosen
        counts = shared[rows, chosen]
        log_p = log_p[rows] + own[rows, chosen]
        log_q = log_q[rows] + drawn[rows, chosen]
    return Samples(states, counts, log_p, log_q)

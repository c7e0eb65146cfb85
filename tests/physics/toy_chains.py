"""Impurities with chains of equal hoppings."""

import numpy as np


def chain_matrix(n_bath, t=0.4, V=0.3, levels=(-0.4,)):
    """One-body matrix and sites of chains with equal hoppings, one an orbital."""
    n_orb = len(levels)
    h = np.zeros((n_orb * (n_bath + 1),) * 2)
    chains = [list(range(n_orb + a * n_bath, n_orb + (a + 1) * n_bath)) for a in range(n_orb)]
    for a, chain in enumerate(chains):
        h[a, a] = levels[a]
        for k, (i, j) in enumerate(zip([a, *chain], chain, strict=False)):
            h[i, j] = h[j, i] = V if k == 0 else t
    return h, chains

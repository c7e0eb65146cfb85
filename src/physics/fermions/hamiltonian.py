"""The Kanamori Hamiltonian as a sum of operator strings.

The same Hamiltonian as matrices in a sector: `dmftnet.physics.fermions.kanamori`.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.fermions.operators import Operator, Term, mode
from dmftnet.physics.impurity.interaction import Interaction

SPINS = (0, 1)


def quadratic(one_body: np.ndarray) -> Operator:
    """``sum_pqs h_pq c+_ps c_qs`` of a Hermitian (n_sites, n_sites) matrix in D."""
    n = len(one_body)
    terms: dict[Term, complex] = {}
    for p, q in np.argwhere(one_body != 0).tolist():
        for spin in SPINS:
            terms[1 << mode(p, spin, n), 1 << mode(q, spin, n)] = one_body[p, q].item()
    return Operator(terms)


def kanamori(interaction: Interaction, n_orb: int, n_sites: int) -> Operator:
    """``H_int`` between the first `n_orb` of `n_sites` sites; see `Interaction`."""
    opposite, parallel = interaction.opposite_spins(n_orb), interaction.parallel_spins(n_orb)
    total = Operator({})
    for a in range(n_orb):
        up, down = (mode(a, spin, n_sites) for spin in SPINS)
        for b in range(n_orb):
            b_up, b_down = (mode(b, spin, n_sites) for spin in SPINS)
            total += float(opposite[a, b]) * Operator.of((up, b_down), (b_down, up))
            if a == b:
                continue
            for mine, other in ((up, b_up), (down, b_down)):
                density = Operator.of((mine, other), (other, mine))
                total += 0.5 * float(parallel[a, b]) * density
            if interaction.spin_flip:  # -J d+_a,up d_a,dn d+_b,dn d_b,up, put in order
                total += interaction.J * Operator.of((up, b_down), (down, b_up))
            if interaction.pair_hopping:
                total += interaction.J * Operator.of((up, down), (b_down, b_up))
    return total

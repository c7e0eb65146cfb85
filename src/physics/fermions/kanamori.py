"""A few interacting orbitals and their bath, sector by sector of (n_up, n_dn).

``H = h x 1 + 1 x h + diag(density-density) + J sum_(a != b) E_ab x (E_ba + E_ab)``

in the product of up and down strings (`strings`), with ``E_ab = d+_a d_b`` of either spin: the
spin-flip term is ``E_ab x E_ba`` and pair hopping ``E_ab x E_ab``, both with +J once the operators
of one spin stand together. h may be complex. Down operators pass the up electrons; that sign is one
for a whole sector and cancels in every response, so it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations
from math import comb

import numpy as np
import scipy.sparse as sp

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.fermions.strings import Strings
from dmftnet.physics.impurity.interaction import Interaction

Sector = tuple[int, int]
"""Electrons of spin up and down."""

UP, DOWN = 0, 1

MEAN_FIELD_STEPS = 60


@dataclass(frozen=True, eq=False)
class KanamoriCluster:
    """The Hamiltonian of an impurity and its bath sites.

    Parameters
    ----------
    one_body : (n_sites, n_sites) float64 or complex128, in D
        Hermitian; the impurity's orbitals stand first. The same for both spins.
    interaction : Interaction
        Between the first `n_orb` sites.
    n_orb : int
    """

    one_body: np.ndarray
    interaction: Interaction
    n_orb: int
    _kept: dict[Sector, sp.csr_matrix] = field(default_factory=dict, init=False, repr=False)

    @property
    def n_sites(self) -> int:
        """Spatial orbitals."""
        return self.one_body.shape[0]

    def sectors(self) -> list[Sector]:
        """All sectors with ``n_up >= n_dn``; the others are their mirror images in spin."""
        n = self.n_sites
        return [(up, down) for up in range(n + 1) for down in range(up + 1)]

    def mean_field_pairs(self) -> int:
        """Doubly filled levels of the spin-symmetric Hartree mean field: where to begin."""
        n, n_orb = self.n_sites, self.n_orb
        repulsion = self.interaction.opposite_spins(n_orb) + self.interaction.parallel_spins(n_orb)
        filled = np.full(n_orb, 0.5)
        for _ in range(MEAN_FIELD_STEPS):
            h = self.one_body.copy()
            h[np.arange(n_orb), np.arange(n_orb)] += repulsion @ filled
            levels, orbitals = np.linalg.eigh(h)
            density = (np.abs(orbitals[:n_orb]) ** 2)[:, levels < 0].sum(axis=1)
            filled = 0.5 * (filled + density)
        return min(int((levels < 0).sum()), n)

    def dimension(self, sector: Sector) -> int:
        """Determinants of one sector."""
        return comb(self.n_sites, sector[UP]) * comb(self.n_sites, sector[DOWN])

    def strings(self, sector: Sector) -> tuple[Strings, Strings]:
        """Strings of either spin."""
        return Strings.of(self.n_sites, sector[UP]), Strings.of(self.n_sites, sector[DOWN])

    def hamiltonian(self, sector: Sector) -> sp.csr_matrix:
        """Sparse Hamiltonian of one sector, index ``up * n_down_strings + down``."""
        up, down = self.strings(sector)
        free = sp.kron(up.one_body(self.one_body), sp.identity(len(down)))
        free = free + sp.kron(sp.identity(len(up)), down.one_body(self.one_body))
        return (free + self._interaction(sector)).tocsr()

    def interaction_part(self, sector: Sector) -> sp.csr_matrix:
        """``H_int`` of one sector."""
        up, down = self.strings(sector)
        n_up, n_down = (s.occupations[:, : self.n_orb] for s in (up, down))
        interaction = self.interaction
        density = n_up @ interaction.opposite_spins(self.n_orb) @ n_down.T
        parallel = 0.5 * interaction.parallel_spins(self.n_orb)
        density += np.einsum("ia,ab,ib->i", n_up, parallel, n_up)[:, None]
        density += np.einsum("ia,ab,ib->i", n_down, parallel, n_down)
        total = sp.diags(density.ravel()).tocsr()
        if interaction.is_density_density:
            return total
        for a, b in permutations(range(self.n_orb), 2):
            other = sp.csr_matrix((len(down),) * 2)
            if interaction.spin_flip:
                other = other + down.hop(b, a)
            if interaction.pair_hopping:
                other = other + down.hop(a, b)
            total = total + interaction.J * sp.kron(up.hop(a, b), other)
        return total.tocsr()

    def target(self, sector: Sector, spin: int, side: int) -> Sector | None:
        """The sector with one electron more (`side` = 1) or fewer (-1) of a spin, if there is."""
        new = (sector[UP] + side, sector[DOWN]) if spin == UP else (sector[UP], sector[DOWN] + side)
        return new if all(0 <= n <= self.n_sites for n in new) else None

    def ladder(self, sector: Sector, orbital: int, spin: int, side: int) -> sp.csr_matrix:
        """``d+_orbital`` (side = 1) or ``d_orbital`` (-1) of a spin, out of a sector."""
        strings = self.strings(sector)
        mine = strings[spin]
        step = mine.create(orbital) if side > 0 else mine.destroy(orbital)
        identity = sp.identity(len(strings[1 - spin]))
        return sp.kron(*((step, identity) if spin == UP else (identity, step))).tocsr()

    def excitations(self, sector: Sector, spin: int, side: int, vectors: np.ndarray) -> np.ndarray:
        """What the Green's functions start from: ``d+ psi, q+ psi`` or ``d psi, q psi``.

        Parameters
        ----------
        vectors : (n, n_states)
            In `sector`.

        Returns
        -------
        (n_target, 2, n_orb, n_states)
            With ``q_a = [d_a, H_int]``; d first.
        """
        target = self.target(sector, spin, side)
        if target is None:
            raise InvalidProblemError(
                f"sector {sector} of {self.n_sites} sites has no neighbour with one "
                f"electron {'more' if side > 0 else 'fewer'} of spin {spin}; ask `target` first"
            )
        before, after = self._interaction(sector), self._interaction(target)
        weighted = before @ vectors
        pairs = []
        for orbital in range(self.n_orb):
            d, moved = (
                self._stepped(sector, orbital, spin, side, psi) for psi in (vectors, weighted)
            )
            pairs.append(np.stack([d, side * (after @ d - moved)], axis=1))
        return np.stack(pairs, axis=2)

    def _stepped(
        self, sector: Sector, orbital: int, spin: int, side: int, vectors: np.ndarray
    ) -> np.ndarray:
        """`ladder` on (n, n_states) vectors, whose matrix acts on the strings of one spin alone."""
        up, down = self.strings(sector)
        mine = (up, down)[spin]
        step = mine.create(orbital) if side > 0 else mine.destroy(orbital)
        psi = vectors.reshape(len(up), len(down), -1)
        if spin == UP:
            return (step @ psi.reshape(len(up), -1)).reshape(-1, vectors.shape[1])
        moved = step @ psi.swapaxes(0, 1).reshape(len(down), -1)
        moved = moved.reshape(-1, len(up), vectors.shape[1]).swapaxes(0, 1)
        return moved.reshape(-1, vectors.shape[1])

    def _interaction(self, sector: Sector) -> sp.csr_matrix:
        """`interaction_part`, kept: every neighbour of a sector asks for it."""
        if sector not in self._kept:
            self._kept[sector] = self.interaction_part(sector)
        return self._kept[sector]

"""An impurity as a chain of fermionic modes: bath geometry and order in the tensor network.

Every spin-orbital is one site of the tensor network (local dimension two) with the conserved
charges (N_up, N_down). The impurity's modes stand in the middle. For one orbital the up bath goes
to the left and the down bath to the right, since the spins meet at the impurity alone: a cut inside
a bath then sees the correlations of one spin, where a site that holds both would see their product.
Several orbitals share the two sides, their baths interleaved by distance from the impurity.

Geometries of the bath:

* ``natural``: natural orbitals (`dmftnet.physics.bath.chains.natural_orbitals`); the valence and
  the conduction chain of a spin run side by side, ``.. v2 c2 v1 c1 b | d``, so that what is
  entangled (a hole and a particle of equal depth) is near, and the far end is a product state;
* ``star``: the bath sites by energy;
* ``chain``: the tridiagonal form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.bath.chains import mean_field_ground_state, natural_orbitals, star_to_chain
from dmftnet.physics.bath.star import StarBath

GEOMETRIES = ("natural", "star", "chain")
UP, DOWN = 0, 1


@dataclass(frozen=True, eq=False)
class Orbital:
    """One orbital with its bath, ordered by distance.

    Parameters
    ----------
    one_body : (n_bath + 1, n_bath + 1) float64, in D
        The impurity first, then the bath sites, the nearest first.
    n_pairs : int
        Electrons of one spin in the mean-field ground state.
    """

    one_body: np.ndarray
    n_pairs: int

    @property
    def n_bath(self) -> int:
        """Number of bath sites."""
        return len(self.one_body) - 1


def orbital_of(bath: StarBath, eps_d: float, U: float, geometry: str) -> Orbital:
    """One orbital's one-body matrix in the order of a geometry.

    Parameters
    ----------
    eps_d, U : float, in D
        U enters the mean field alone, which sets natural orbitals and particle number.
    """
    mean = mean_field_ground_state(bath, eps_d, U)
    if geometry == "natural":
        natural = natural_orbitals(bath, eps_d, U, mean)
        h = natural.one_body(eps_d)
        n_v, n_c = natural.valence.size, natural.conduction.size
        d, b = n_v, n_v + 1
        order = [d, b]
        for depth in range(max(n_v, n_c)):
            order += [b + 1 + depth] if depth < n_c else []
            order += [d - 1 - depth] if depth < n_v else []
        return Orbital(h[np.ix_(order, order)], mean.n_pairs)
    if geometry == "star":
        return Orbital(bath.one_body(eps_d), mean.n_pairs)
    if geometry == "chain":
        return Orbital(star_to_chain(bath).one_body(eps_d), mean.n_pairs)
    raise InvalidProblemError(  # a solver's own argument was checked before
        f"solver.geometry '{geometry}' is unknown; use {', '.join(GEOMETRIES)}"
    )


@dataclass(frozen=True, eq=False)
class Layout:
    """Modes of all orbitals and spins in the order of the tensor network.

    Parameters
    ----------
    modes : tuple of (orbital, spin, site)
        Site 0 is the impurity, 1 .. the bath, the nearest first.
    """

    modes: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, orbitals: Sequence[Orbital]) -> Layout:
        """Impurity modes in the middle, half of the (orbital, spin) pairs' baths on either side."""
        species = [(o, s) for o in range(len(orbitals)) for s in (UP, DOWN)]
        half = len(species) // 2

        def baths(which):
            deepest = max(orbitals[o].n_bath for o, _ in which)
            return [
                (o, s, site)
                for site in range(1, deepest + 1)
                for o, s in which
                if site <= orbitals[o].n_bath
            ]

        left, right = baths(species[:half]), baths(species[half:])
        middle = [(o, s, 0) for o, s in species]
        return cls(tuple(left[::-1] + middle + right))

    def position(self, orbital: int, spin: int, site: int = 0) -> int:
        """Place of a mode in the network."""
        return self.modes.index((orbital, spin, site))

    def one_body(self, orbitals: Sequence[Orbital]) -> np.ndarray:
        """(n_modes, n_modes) one-body matrix of both spins."""
        h = np.zeros((len(self.modes),) * 2)
        for i, (o, s, site) in enumerate(self.modes):
            for j, (p, r, other) in enumerate(self.modes):
                if (o, s) == (p, r):
                    h[i, j] = orbitals[o].one_body[site, other]
        return h

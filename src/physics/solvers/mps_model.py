"""An impurity as a chain of fermionic modes: ordering, charges, Hamiltonian as an MPO.

Every spin-orbital is one site of the tensor network (local dimension two) with the conserved
charges (N_up, N_down). The impurity's modes stand in the middle. For one orbital the up bath goes
to the left and the down bath to the right, since the spins meet at the impurity alone: a cut inside
a bath then sees the correlations of one spin, where a site that holds both would see their product.
Several orbitals share the two sides, their baths interleaved by distance from the impurity.

Geometries of the bath:

* ``natural``: natural orbitals (`dmftnet.physics.bath.natural_orbitals`); the valence and the
  conduction chain of a spin run side by side, ``.. v2 c2 v1 c1 b | d``, so that what is entangled
  (a hole and a particle of equal depth) is near, and the far end is a product state;
* ``star``: the bath sites by energy;
* ``chain``: the tridiagonal form.

The MPO carries, across each bond, the smaller of the two: operators that started on the left, or
sums waiting for their partner on the right. The bond dimension is 4 to 6 in any of the geometries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tenpy.linalg import np_conserved as npc
from tenpy.models.lattice import TrivialLattice
from tenpy.models.model import MPOModel
from tenpy.networks.mpo import MPO, MPOGraph
from tenpy.networks.site import Site
from tenpy.networks.terms import TermList

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.bath import StarBath, mean_field_ground_state, natural_orbitals, star_to_chain

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
    raise InvalidProblemError(
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


def interaction_terms(layout: Layout, n_orb: int, U: float, J: float = 0.0) -> list:
    """Hubbard-Kanamori interaction as (strength, operators), ``U' = U - 2J``, rotation invariant.

    ``U sum_m n_m,up n_m,dn + sum_(m<m') [(U - 2J) sum_ss' n_ms n_m's' - J sum_s n_ms n_m's]``
    ``- J sum_(m != m') [d+_m,up d_m,dn d+_m',dn d_m',up - d+_m,up d+_m,dn d_m',dn d_m',up]``
    """

    def mode(m, s):
        return layout.position(m, s)

    terms = [(U, [("N", mode(m, UP)), ("N", mode(m, DOWN))]) for m in range(n_orb)]
    for m in range(n_orb):
        for k in range(m + 1, n_orb):
            for s in (UP, DOWN):
                terms.append((U - 2 * J, [("N", mode(m, s)), ("N", mode(k, 1 - s))]))
                terms.append((U - 3 * J, [("N", mode(m, s)), ("N", mode(k, s))]))
        for k in range(n_orb):
            if k != m and J:
                flip = [("Cd", (m, UP)), ("C", (m, DOWN)), ("Cd", (k, DOWN)), ("C", (k, UP))]
                pair = [("Cd", (m, UP)), ("Cd", (m, DOWN)), ("C", (k, DOWN)), ("C", (k, UP))]
                terms.append((-J, [(op, mode(*at)) for op, at in flip]))
                terms.append((J, [(op, mode(*at)) for op, at in pair]))
    return [(strength, ops) for strength, ops in terms if strength]


def fermion_site(spin: int, charges: npc.ChargeInfo) -> Site:
    """One spin-orbital, charged under its own spin's particle number."""
    filled = [int(spin == UP), int(spin == DOWN)]
    leg = npc.LegCharge.from_qflat(charges, [[0, 0], filled])
    site = Site(
        leg,
        ["empty", "full"],
        sort_charge=True,
        JW=np.diag([1.0, -1.0]),
        C=np.array([[0.0, 1.0], [0.0, 0.0]]),
        Cd=np.array([[0.0, 0.0], [1.0, 0.0]]),
        N=np.diag([0.0, 1.0]),
    )
    site.need_JW_string |= {"C", "Cd"}
    site.charge_to_JW_parity = np.array([1, 1])
    return site


class ImpurityModel(MPOModel):
    """Hamiltonian of an impurity with its bath, counted from `energy_shift`.

    Parameters
    ----------
    orbitals : sequence of Orbital
    U, J : float, in D
    energy_shift : float, in D
        Subtracted from H.
    """

    def __init__(self, orbitals: Sequence[Orbital], U: float, J: float = 0.0, energy_shift=0.0):
        self.orbitals, self.U, self.J = tuple(orbitals), U, J
        self.layout = Layout.of(self.orbitals)
        charges = npc.ChargeInfo([1, 1], ["N_up", "N_down"])
        kinds = [fermion_site(spin, charges) for spin in (UP, DOWN)]
        sites = [kinds[spin] for _, spin, _ in self.layout.modes]
        graph = MPOGraph(sites, "finite", unit_cell_width=len(sites))
        _add_one_body(graph, self.layout.one_body(self.orbitals))
        self._add_interaction(graph)
        if energy_shift:
            graph.add(len(sites) // 2, "IdL", "IdR", "Id", -energy_shift)
        super().__init__(TrivialLattice(sites, bc="open", bc_MPS="finite"), _built(graph))

    def _add_interaction(self, graph: MPOGraph) -> None:
        interaction = interaction_terms(self.layout, len(self.orbitals), self.U, self.J)
        if interaction:
            terms = TermList([ops for _, ops in interaction], [x for x, _ in interaction])
            for part in terms.to_OnsiteTerms_CouplingTerms(graph.sites):
                part.add_to_graph(graph)

    @cached_property
    def interaction(self) -> MPO:
        """H_int alone."""
        sites = self.lat.mps_sites()
        graph = MPOGraph(sites, "finite", unit_cell_width=len(sites))
        self._add_interaction(graph)
        return _built(graph)

    def lowest_level(self) -> float:
        """Scale of the total energy: the sum of the negative levels of both spins, in D."""
        return float(np.minimum(np.linalg.eigvalsh(self.layout.one_body(self.orbitals)), 0).sum())

    def shifted(self, energy: float) -> ImpurityModel:
        """The same impurity with ``H - energy``."""
        return ImpurityModel(self.orbitals, self.U, self.J, energy)

    def filled_modes(self, n_up: int, n_down: int) -> list[str]:
        """Product state to start from: of each spin the lowest levels, the impurity's last."""
        states = ["empty"] * len(self.layout.modes)
        for spin, n in ((UP, n_up), (DOWN, n_down)):
            mine = [i for i, mode in enumerate(self.layout.modes) if mode[1] == spin]
            if not 0 <= n <= len(mine):
                raise InvalidProblemError(
                    f"{n} electrons of one spin do not fit into {len(mine)} spin-orbitals"
                )
            level = self.layout.one_body(self.orbitals).diagonal()
            hartree = 0.5 * self.U * (len(self.orbitals) == 1)
            key = [level[i] + hartree * (self.layout.modes[i][2] == 0) for i in mine]
            for index in np.argsort(key, kind="stable")[:n]:
                states[mine[index]] = "full"
        return states


def _built(graph: MPOGraph) -> MPO:
    graph.add_missing_IdL_IdR(True)
    graph.max_range = graph.L
    return graph.build_MPO()


def _add_one_body(graph: MPOGraph, h: np.ndarray) -> None:
    """``sum_ij h_ij c+_i c_j``; across a bond either the left operator travels or the sum waits.

    With the Jordan-Wigner string both orders of a hop have the sign plus: ``c+_i c_j`` is
    ``Cd_i JW .. JW C_j`` and ``c+_j c_i`` is ``C_i JW .. JW Cd_j`` for i < j.
    """
    n = len(h)
    for i in range(n):
        if h[i, i]:
            graph.add(i, "IdL", "IdR", "N", h[i, i])
    waiting: set[int] = set()  # right partners j whose sum over the left is carried
    travelling: set[int] = set()  # left operators i that travel themselves
    for p in range(n):
        waiting_next = {j for j in waiting if j > p}
        open_right = [j for j in range(p + 1, n) if j not in waiting_next]
        rows = {i for i in range(p + 1) if np.any(h[i, open_right])}
        columns = {j for j in open_right if np.any(h[: p + 1, j])}
        if len(columns) < len(rows):
            waiting_next |= columns
            travelling_next: set[int] = set()
        else:
            travelling_next = rows
        for first, second in (("Cd", "C"), ("C", "Cd")):
            if p in travelling_next:
                graph.add(p, "IdL", ("left", p, first), first, 1.0)
            for j in sorted(waiting_next):
                if h[p, j]:
                    graph.add(p, "IdL", ("right", j, first), first, h[p, j])
                if j in waiting:
                    graph.add(p, ("right", j, first), ("right", j, first), "JW", 1.0)
                else:
                    for i in sorted(travelling):
                        if h[i, j]:
                            key = ("left", i, first)
                            graph.add(p, key, ("right", j, first), "JW", h[i, j])
            for i in sorted(travelling):
                if h[i, p] and p not in waiting:
                    graph.add(p, ("left", i, first), "IdR", second, h[i, p])
                if i in travelling_next:
                    graph.add(p, ("left", i, first), ("left", i, first), "JW", 1.0)
            if p in waiting:
                graph.add(p, ("right", p, first), "IdR", second, 1.0)
        waiting, travelling = waiting_next, travelling_next

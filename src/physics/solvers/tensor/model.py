"""Hamiltonian of an impurity as a matrix-product operator, and the product state to start from.

Every mode is one site with the conserved charges (N_up, N_down), in the order of `layout`.

The MPO carries, across each bond, the smaller of the two: operators that started on the left, or
sums waiting for their partner on the right. The bond dimension is 4 to 6 in any of the geometries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
from tenpy.linalg import np_conserved as npc
from tenpy.networks.mpo import MPO, MPOGraph
from tenpy.networks.site import Site
from tenpy.networks.terms import TermList

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.solvers.tensor.algebra import BlockOperator
from dmftnet.physics.solvers.tensor.blocks import DOWN_UNIT
from dmftnet.physics.solvers.tensor.layout import DOWN, UP, Layout, Orbital


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


@dataclass(frozen=True, eq=False)
class ImpurityModel:
    """Hamiltonian of an impurity with its bath, counted from `energy_shift`.

    Parameters
    ----------
    orbitals : tuple of Orbital
    U, J : float, in D
    energy_shift : float, in D
        Subtracted from H in `operator`.
    """

    orbitals: tuple[Orbital, ...]
    U: float
    J: float = 0.0
    energy_shift: float = 0.0

    @cached_property
    def layout(self) -> Layout:
        """Order of the modes."""
        return Layout.of(self.orbitals)

    @cached_property
    def charges(self) -> list[np.ndarray]:
        """Charge of each mode's two states, empty and full."""
        unit = {UP: 1, DOWN: DOWN_UNIT}
        return [np.array([0, unit[spin]]) for _, spin, _ in self.layout.modes]

    @cached_property
    def mpo(self) -> MPO:
        """H, not shifted."""
        graph = self._graph()
        _add_one_body(graph, self.layout.one_body(self.orbitals))
        self._add_interaction(graph)
        return _built(graph)

    @cached_property
    def operator(self) -> BlockOperator:
        """H - energy_shift."""
        return BlockOperator.of(self.mpo).shifted(-self.energy_shift)

    @cached_property
    def interaction(self) -> BlockOperator:
        """H_int alone."""
        graph = self._graph()
        self._add_interaction(graph)
        return BlockOperator.of(_built(graph))

    def _graph(self) -> MPOGraph:
        charges = npc.ChargeInfo([1, 1], ["N_up", "N_down"])
        kinds = [fermion_site(spin, charges) for spin in (UP, DOWN)]
        sites = [kinds[spin] for _, spin, _ in self.layout.modes]
        return MPOGraph(sites, "finite", unit_cell_width=len(sites))

    def _add_interaction(self, graph: MPOGraph) -> None:
        interaction = interaction_terms(self.layout, len(self.orbitals), self.U, self.J)
        if interaction:
            terms = TermList([ops for _, ops in interaction], [x for x, _ in interaction])
            for part in terms.to_OnsiteTerms_CouplingTerms(graph.sites):
                part.add_to_graph(graph)

    def shifted(self, energy: float) -> ImpurityModel:
        """The same impurity with ``H - energy``."""
        out = ImpurityModel(self.orbitals, self.U, self.J, energy)
        out.__dict__["mpo"] = self.mpo  # the same, made once
        return out

    def filled_modes(self, n_up: int, n_down: int) -> list[int]:
        """Product state to start from: of each spin the lowest levels, the impurity's last."""
        states = [0] * len(self.layout.modes)
        key = self._levels()
        for spin, n in ((UP, n_up), (DOWN, n_down)):
            mine = [i for i, mode in enumerate(self.layout.modes) if mode[1] == spin]
            if not 0 <= n <= len(mine):
                raise InvalidProblemError(
                    f"{n} electrons of one spin do not fit into {len(mine)} spin-orbitals"
                )
            for index in np.argsort(key[mine], kind="stable")[:n]:
                states[mine[index]] = 1
        return states

    def moved(self, states: list[int]) -> list[list[int]]:
        """Product states with one electron in another orbital: the highest, to the lowest level."""
        key, found = self._levels(), []
        for a, b in permutations(range(len(self.orbitals)), 2):
            for spin in (UP, DOWN):
                modes = list(enumerate(self.layout.modes))
                full = [i for i, mode in modes if mode[:2] == (a, spin) and states[i]]
                free = [i for i, mode in modes if mode[:2] == (b, spin) and not states[i]]
                if full and free:
                    new = list(states)
                    new[max(full, key=key.__getitem__)] = 0
                    new[min(free, key=key.__getitem__)] = 1
                    found.append(new)
        return found

    def _levels(self) -> np.ndarray:
        """(n_modes,) on-site energies in D, one orbital's with the mean field at half filling."""
        hartree = 0.5 * self.U * (len(self.orbitals) == 1)
        on_impurity = np.array([site == 0 for *_, site in self.layout.modes])
        return self.layout.one_body(self.orbitals).diagonal() + hartree * on_impurity


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

"""Ground states in a restricted active space of natural orbitals, as `ras` has them.

One orbital, baths of tens of sites. The basis is (d, b, v_1, c_1, v_2, c_2, ...): impurity, its
natural partner, valence and conduction chain site by site outward.

Excited states are projected onto a space with one electron more or fewer that allows `spare`
further excitations, on any site. With one, every ``c+_i |gs>`` lies in it whole, and its energy is
measured against that of the ground state with the same correlations: the errors of both cancel.
Without, the space of the ground state's own restriction, as `ras` has it, correlates N + 1
electrons less well than N, and no pole is right that lies nearer to zero than the difference.

The particle number is the mean field's or a neighbour's, whichever ground state lies lowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dmftnet import checks
from dmftnet.errors import SpaceTooLargeError
from dmftnet.physics.bath.chains import (
    NaturalOrbitalBath,
    mean_field_ground_state,
    natural_orbitals,
)
from dmftnet.physics.fermions.action import target_sector
from dmftnet.physics.fermions.kanamori import KanamoriCluster
from dmftnet.physics.fermions.kanamori import Sector as Electrons
from dmftnet.physics.fermions.operators import Operator, Term, bits
from dmftnet.physics.solvers.krylov.ras_cost import Cost, check_memory
from dmftnet.physics.solvers.krylov.ras_sector import Sector
from dmftnet.physics.solvers.krylov.ras_space import DeterminantSpace, determinant_space
from dmftnet.physics.solvers.krylov.ras_strings import SpinStrings, resolve_depths
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity, ImpurityChains
from dmftnet.physics.solvers.scol.projection import Projection

Moves = tuple[np.ndarray, np.ndarray]
"""Where a string of one spin leads each determinant of that spin, -1 for nowhere; and the sign."""

DEGENERATE = 1e-9
"""Sectors this close in energy, in D, count as one; the one with fewest unpaired spins is taken."""


@dataclass(frozen=True, eq=False)
class RestrictedState:
    """A ground state of one sector of a restricted space.

    Parameters
    ----------
    spaces, excited : Sector
        Of the ground state, and of excited states.
    space : DeterminantSpace
    sector : (n_up, n_dn)
    vector : (n_determinants,) float64
    own_energy : float, in D
        Relative to the filled valence chain, as in `spaces`.
    residual : float, in D
    positions : (n_sites,) int64
        Of each site in the order ``v_nv .. v_1, d, b, c_1 ..`` of the strings.
    max_memory : float, in GiB
    """

    spaces: Sector
    excited: Sector
    space: DeterminantSpace
    sector: Electrons
    vector: np.ndarray
    own_energy: float
    residual: float
    positions: np.ndarray
    max_memory: float
    weight: float = 1.0
    _moves: dict[tuple[int, int, Term], Moves] = field(default_factory=dict, init=False, repr=False)

    @property
    def n_sites(self) -> int:
        """Spatial orbitals."""
        return self.positions.size

    @property
    def energy(self) -> float:
        return self.own_energy + self.spaces.reference_energy

    @property
    def variance(self) -> float:
        """Within the restricted space."""
        return self.residual**2

    def mean(self, operator: Operator) -> complex:
        """Exact for the state: what leaves the restricted space is orthogonal to it."""
        total = 0.0 + 0.0j
        for term, x in operator.terms.items():
            if target_sector(term, self.sector, self.n_sites) == self.sector:
                index, values = self._image(term, self.space)
                total += x * complex(self.vector[index] @ values)
        return total

    def projection(self, strings: Sequence[Term], threshold: float) -> Projection | None:
        n_up, n_down = target_sector(strings[0], self.sector, self.n_sites)
        up, down = self.excited.strings(n_up), self.excited.strings(n_down)
        if not (up.n_strings and down.n_strings):
            return None
        target = determinant_space(up, down)
        checks.memory(
            f"solver.depth: {len(strings)} strings on {target.n_determinants:,} determinants",
            32.0 * target.n_determinants * len(strings),
            self.max_memory,
            "solver.max_memory",
            "take a smaller depth or max_length, or a smaller restricted space",
        )
        images = np.zeros((target.n_determinants, len(strings)))
        for j, term in enumerate(strings):
            index, values = self._image(term, target)
            images[index, j] = values
        H = self.excited.hamiltonian(target)

        def apply(x: np.ndarray) -> np.ndarray:
            return H.apply(np.ascontiguousarray(x)) - self.own_energy * x

        return Projection.of_vectors(images, apply, threshold)

    def _image(self, term: Term, target: DeterminantSpace) -> tuple[np.ndarray, np.ndarray]:
        """Determinants of the target space and their amplitudes in ``O|gs>``."""
        n, low = self.n_sites, (1 << self.n_sites) - 1
        (C_up, C_down), (A_up, A_down) = ((mask & low, mask >> n) for mask in term)
        to_up, sign_up = self._spin_moves(self.space.up, target.up, (C_up, A_up))
        to_down, sign_down = self._spin_moves(self.space.down, target.down, (C_down, A_down))
        up, down = self.space.pairs()
        here = np.flatnonzero((to_up[up] >= 0) & (to_down[down] >= 0))
        up, down = up[here], down[here]
        index = target.index(to_up[up], to_down[down])
        inside = index >= 0
        odd = (C_down.bit_count() + A_down.bit_count()) & 1
        flip = -1.0 if odd and (A_up.bit_count() + self.sector[0]) & 1 else 1.0
        values = flip * self.vector[here] * sign_up[up] * sign_down[down]
        return index[inside], values[inside]

    def _spin_moves(self, strings: SpinStrings, target: SpinStrings, term: Term) -> Moves:
        key = id(strings), id(target), term
        if key not in self._moves:
            self._moves[key] = string_moves(strings, target, self.spaces.bath, self.positions, term)
        return self._moves[key]


def string_moves(
    strings: SpinStrings,
    target: SpinStrings,
    bath: NaturalOrbitalBath,
    positions: np.ndarray,
    term: Term,
) -> Moves:
    """``c+..c+ c..c`` of one spin on the strings of a restricted space.

    Parameters
    ----------
    positions : (n_sites,) int64
        See `RestrictedState`; `term` counts sites.
    """
    filled = occupations(strings, bath)
    possible = np.ones(strings.n_strings, dtype=bool)
    parity = np.zeros(strings.n_strings, dtype=np.int64)
    steps = [(bit, True) for bit in bits(term[1])]  # the lowest acts first
    steps += [(bit, False) for bit in reversed(list(bits(term[0])))]
    for bit, was_filled in steps:
        p = positions[bit.bit_length() - 1]
        possible &= filled[:, p] == was_filled
        parity += filled[:, :p].sum(axis=1)
        filled[:, p] = not was_filled
    n_max = target.codes.shape[1]
    codes, active = codes_of(filled, bath)
    possible &= codes.shape[1] <= n_max or ~np.any(codes[:, n_max:], axis=1)
    kept = np.zeros((len(codes), n_max), dtype=np.int64)
    kept[:, : codes.shape[1]] = codes[:, :n_max]
    index = np.where(possible, target.find(kept, active), -1)
    return index, 1.0 - 2.0 * (parity & 1)


def occupations(strings: SpinStrings, bath: NaturalOrbitalBath) -> np.ndarray:
    """(n_strings, n_sites) bool in the order ``v_nv .. v_1, d, b, c_1 ..``."""
    n_v, n_c = bath.valence.size, bath.conduction.size
    filled = np.zeros((strings.n_strings, n_v + 2 + n_c), dtype=bool)
    filled[:, :n_v] = True
    filled[:, n_v] = strings.active & 1
    filled[:, n_v + 1] = strings.active >> 1
    row, column = np.nonzero(strings.codes)
    depth, particle = np.divmod(strings.codes[row, column], 2)
    place = np.where(particle == 1, n_v + 1 + depth, n_v - depth)
    filled[row, place] = particle == 1
    return filled


def codes_of(filled: np.ndarray, bath: NaturalOrbitalBath) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `occupations`: all excitations, in falling order, and the active state."""
    n_v, n_c = bath.valence.size, bath.conduction.size
    holes = np.where(filled[:, :n_v], 0, 2 * (n_v - np.arange(n_v)))
    particles = np.where(filled[:, n_v + 2 :], 2 * np.arange(1, n_c + 1) + 1, 0)
    codes = -np.sort(-np.concatenate([holes, particles], axis=1), axis=1)
    return codes, filled[:, n_v] + 2 * filled[:, n_v + 1].astype(np.int64)


@dataclass(frozen=True)
class RestrictedGroundStates:
    """Lanczos in a restricted active space.

    Parameters
    ----------
    max_determinants : int
    max_memory : float, in GiB
    depths : tuple of int or "all"
        See `dmftnet.physics.solvers.krylov.ras.RasSolver`.
    tolerance : float, in D
        Residual norm of the ground state.
    spare : int
        Excitations that excited states may have beyond the ground state's, on any site.
    """

    max_determinants: int = 2_000_000
    max_memory: float = checks.MAX_MEMORY
    depths: tuple = ("all", 8, 6, 1)
    tolerance: float = 1e-7
    spare: int = 1
    orbitals: ClassVar[int] = 1

    def check(self, n_sites: int) -> None:
        """See `GroundStates`."""
        cost = Cost.of(self._wide, n_sites - 1, 1)
        check_memory(cost.determinants, self.max_memory)
        if cost.determinants > self.max_determinants:
            raise SpaceTooLargeError(
                f"depths = {list(self._wide)} of ground_state = ras with {n_sites - 1} bath "
                f"sites: {cost.determinants:,} determinants, more than solver.max_determinants = "
                f"{self.max_determinants:,}; use ground_state = mps, fewer bath sites, or raise "
                "solver.max_determinants"
            )

    @property
    def _wide(self) -> tuple:
        """Depths of excited states."""
        return ("all",) * self.spare + tuple(self.depths)

    def find(self, impurity: DiscreteImpurity) -> tuple[ImpurityChains, list[RestrictedState]]:
        """In the basis of natural orbitals; see `GroundStates`."""
        star, eps_d = impurity.stars[0], float(impurity.levels[0])
        U = impurity.interaction.U
        mean = mean_field_ground_state(star, eps_d, U)
        bath = natural_orbitals(star, eps_d, U, mean)
        spaces, excited = (
            Sector(bath, resolve_depths(depths, bath), eps_d, U, self.max_memory)
            for depths in (self.depths, self._wide)
        )
        positions, sites = _basis(bath)
        h = bath.one_body(eps_d)[np.ix_(positions, positions)]
        chains = ImpurityChains(KanamoriCluster(h, impurity.interaction, 1), (sites,))
        found: dict[Electrons, RestrictedState] = {}

        def energy(electrons: Electrons) -> float:
            if electrons not in found:
                space, own, vector, residual = spaces.ground_state(*electrons, self.tolerance)
                found[electrons] = RestrictedState(
                    spaces, excited, space, electrons, vector, own, residual, positions,
                    self.max_memory,
                )  # fmt: skip
            return found[electrons].energy

        best = mean.n_pairs, mean.n_pairs
        energy(best)
        while not (impurity.is_symmetric and 2 * best[0] == star.n_bath + 1):
            n, m = best
            near = [(n + 1, m), (n, m - 1)] if n == m else [(n, m + 1), (n - 1, m)]
            inside = [e for e in near if 0 <= min(e) and max(e) <= star.n_bath + 1]
            lowest = min(inside, key=energy)
            if found[lowest].energy > found[best].energy - DEGENERATE:
                break
            best = lowest
        return chains, [found[best]]


def _basis(bath: NaturalOrbitalBath) -> tuple[np.ndarray, tuple[int, ...]]:
    """Positions of the sites d, b, v_1, c_1, v_2, ...; and the bath's, from d outward."""
    n_v, n_c = bath.valence.size, bath.conduction.size
    positions = [n_v, n_v + 1]
    for depth in range(1, max(n_v, n_c) + 1):
        positions += [n_v - depth] if depth <= n_v else []
        positions += [n_v + 1 + depth] if depth <= n_c else []
    return np.array(positions), tuple(range(1, len(positions)))

"""The restricted spaces of one discrete impurity: ground states and the excitations out of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from dmftnet.physics.bath.chains import NaturalOrbitalBath
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.solvers.krylov.lanczos import ground_state
from dmftnet.physics.solvers.krylov.ras_space import (
    DeterminantSpace,
    SparseHamiltonian,
    determinant_space,
    hamiltonian,
)
from dmftnet.physics.solvers.krylov.ras_strings import (
    ACTIVE,
    Hops,
    SpinStrings,
    one_body_hops,
    spin_strings,
)


@dataclass(frozen=True)
class ImpurityState:
    """Ground state of a discrete impurity.

    Parameters
    ----------
    energy : float, in D
    filling, double_occupancy : float
    poles : ResponsePoles
    wrong_weight : (addition, removal)
        Weight of G at energies which say that the sector with one particle more (less) is lower.
    diagnostics : dict
    """

    energy: float
    filling: float
    double_occupancy: float
    poles: ResponsePoles
    wrong_weight: tuple[float, float]
    diagnostics: dict


class Sector:
    """The restricted spaces of one impurity, one for every particle number that is asked for."""

    def __init__(
        self, bath: NaturalOrbitalBath, depths: tuple, eps_d: float, U: float, max_memory: float
    ):
        self.bath, self.depths, self.eps_d, self.U = bath, depths, eps_d, float(U)
        self.max_memory = max_memory
        self.reference_energy = float(2 * bath.valence.sum())
        self._strings: dict[int, SpinStrings] = {}
        self._one_body: dict[SpinStrings, Hops] = {}
        self._hamiltonians: dict[tuple[int, int], SparseHamiltonian] = {}

    def strings(self, n_electrons: int) -> SpinStrings:
        """Strings of one spin, made once."""
        if n_electrons not in self._strings:
            self._strings[n_electrons] = spin_strings(
                self.bath, self.depths, n_electrons, self.max_memory
            )
        return self._strings[n_electrons]

    def space(self, n_up: int, n_down: int) -> DeterminantSpace:
        """Determinants with the given particle numbers."""
        return determinant_space(self.strings(n_up), self.strings(n_down))

    def hamiltonian(self, space: DeterminantSpace) -> SparseHamiltonian:
        """Sparse Hamiltonian in the natural-orbital basis."""
        hops = self._hops(space.up), self._hops(space.down)
        return hamiltonian(space, *hops, self.U, self.max_memory)

    def _hops(self, strings: SpinStrings) -> Hops:
        """One-body Hamiltonian on a set of strings, made once."""
        if strings not in self._one_body:
            self._one_body[strings] = one_body_hops(strings, self.bath, self.eps_d)
        return self._one_body[strings]

    def ground_state(
        self, n_up: int, n_down: int, tolerance: float
    ) -> tuple[DeterminantSpace, float, np.ndarray, float]:
        """(space, energy, vector, residual) of the lowest state, a singlet where n_up = n_down."""
        space = self.space(n_up, n_down)
        H = self.hamiltonian(space)
        up, down = space.pairs()
        start = self._start_weights(space.up)[up] * self._start_weights(space.down)[down]
        if self.U:  # not blind to any state; without interaction the start is already exact
            start += 1e-3 * np.random.default_rng(0).random(start.size) / np.sqrt(start.size)
        flip = None
        if n_up == n_down:
            swapped = space.index(down, up)
            flip = partial(_even_under, swapped)
            start = flip(start)
        energy, vector, residual = ground_state(
            H.apply, start / np.linalg.norm(start), tolerance, flip
        )
        return space, energy, vector, residual

    def _start_weights(self, strings) -> np.ndarray:
        """Mean-field amplitudes of the strings without excitations, zero elsewhere."""
        amplitude = np.array([1.0, np.sqrt(self.bath.n_d), np.sqrt(1 - self.bath.n_d), 1.0])
        bare = strings.codes[:, 0] == 0
        # a sector whose strings all carry an excitation starts from all of them alike
        return np.where(bare | ~bare.any(), amplitude[strings.active], 0.0)

    def excitation(
        self, space: DeterminantSpace, vector: np.ndarray, spin: str, side: int, with_q: bool
    ) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """Start block ``(d+|gs>, q+|gs>)`` (side 1) or ``(d|gs>, q|gs>)`` (side -1), and H."""
        mine, other = (space.up, space.down) if spin == "up" else (space.down, space.up)
        n_mine = self._n_electrons(mine) + side
        n_other = self._n_electrons(other)
        target_strings = self.strings(n_mine)
        target = (
            determinant_space(target_strings, other)
            if spin == "up"
            else determinant_space(other, target_strings)
        )
        occupied = ACTIVE[mine.active, 0] == 1
        possible = occupied if side < 0 else ~occupied
        mapped = np.full(mine.n_strings, -1)
        mapped[possible] = target_strings.find(mine.codes[possible], mine.active[possible] ^ 1)
        sign = 1.0 - 2.0 * (mine.holes % 2)
        up, down = space.pairs()
        me, they = (up, down) if spin == "up" else (down, up)
        here = np.flatnonzero(mapped[me] >= 0)
        new_me, they = mapped[me[here]], they[here]
        index = target.index(new_me, they) if spin == "up" else target.index(they, new_me)
        start = np.zeros((target.n_determinants, 2))
        start[index, 0] = vector[here] * sign[me[here]]
        if with_q:  # a zero second vector is deflated: half the cost, poles of G alone
            start[index, 1] = self.U * ACTIVE[other.active[they], 0] * start[index, 0]
        key = (n_mine, n_other) if spin == "up" else (n_other, n_mine)
        if key not in self._hamiltonians:
            self._hamiltonians = {key: self.hamiltonian(target)}  # one at a time in memory
        return start, self._hamiltonians[key].apply

    def _n_electrons(self, strings) -> int:
        codes, active = strings.codes[0], strings.active[0]
        particles = int((codes % 2 == 1).sum())
        holes = int(((codes > 0) & (codes % 2 == 0)).sum())
        return int(self.bath.valence.size + particles - holes + ACTIVE[active].sum())


def _even_under(swapped: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Part of a vector that is even under the exchange of the spins."""
    return 0.5 * (vector + vector[swapped])


def occupations(space: DeterminantSpace, vector: np.ndarray) -> tuple[float, float]:
    """(filling of both spins, double occupancy)."""
    up, down = space.pairs()
    probability = vector**2
    n_up = ACTIVE[space.up.active, 0][up]
    n_down = ACTIVE[space.down.active, 0][down]
    return float(probability @ (n_up + n_down)), float(probability @ (n_up * n_down))


def mirrored(
    energies: np.ndarray, amplitudes: np.ndarray, U: float
) -> tuple[np.ndarray, np.ndarray]:
    """Removal side of a particle-hole symmetric problem: ``d -> d+``, ``q -> U d+ - q+``."""
    if amplitudes.shape[1] == 0:
        return -energies, amplitudes
    a_d, a_q = amplitudes.T
    return -energies, np.stack([a_d, U * a_d - a_q], axis=1)

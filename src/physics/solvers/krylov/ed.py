"""`ed`: exact diagonalisation of an impurity with a few bath sites, every particle sector.

The star Hamiltonian ``h x 1 + 1 x h + U n_d x n_d`` in the product of up and down strings, as
scipy sparse matrices, sector by sector; the ground states of all degenerate sectors are averaged,
so a local moment comes out spin-symmetric. Poles by block Lanczos, run until the space is
exhausted or converged.

Use it to check `ras`, or as a cheap, crude solver (a handful of sites misjudges the Kondo scale).
Cost grows as ``4^n_bath``; 9 sites take seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from math import comb

import numpy as np
import scipy.sparse as sp

from dmftnet import checks
from dmftnet.errors import SpaceTooLargeError
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.solvers.arguments import check_bath, check_lanczos, settle
from dmftnet.physics.solvers.krylov.lanczos import ground_state, response_poles

SITES = 7  # where the bath leaves their number open
DEGENERACY = 1e-9  # sectors this close in energy (D) share the ground state


@dataclass(frozen=True)
class EdSolver(Solver):
    """Exact diagonalisation; arguments as in `dmftnet.physics.solvers.krylov.ras.RasSolver`.

    Parameters
    ----------
    bath : Intervals
        Bath sites of a spectrum on the real axis.
    fit : MatsubaraFit
        Those of values at Matsubara frequencies.

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    SpaceTooLargeError
        If the largest sector has more than `max_determinants`.
    """

    bath: Intervals = Intervals(n_bath=None, stretch=2.0, window_quantile=0.99)
    fit: MatsubaraFit = MatsubaraFit(n_bath=None)
    n_lanczos: int = 120
    broadening: tuple = (2e-2, 0.1)
    estimator: str = "improved"
    max_determinants: int = 2_000_000
    name: str = "ed"

    def __post_init__(self):
        check_bath(self, checks.MAX_MEMORY, SITES)
        settle(
            self,
            n_lanczos=checks.integer("solver.n_lanczos", self.n_lanczos, at_least=1),
            max_determinants=checks.integer(
                "solver.max_determinants", self.max_determinants, at_least=1
            ),
        )
        check_lanczos(self.n_lanczos, checks.MAX_MEMORY)
        check_sectors(self.bath.n_bath or SITES, self.max_determinants)

    def solve(self, problem: ImpurityProblem) -> PoleSolution:
        """Solve one problem; see `ImpuritySolver`."""
        self.require(problem)
        intervals = replace(self.bath, n_bath=self.bath.n_bath or SITES)
        bath = intervals.star(problem.grid, problem.spectrum[0])
        atom = SmallImpurity(bath, float(problem.eps_d[0]), problem.U, self.max_determinants)
        energy, states = atom.ground_states()
        filling, double_occupancy = atom.occupations(states)
        return PoleSolution(
            problem=problem,
            greens=(atom.poles(energy, states, self.n_lanczos),),
            filling=filling,
            double_occupancy=double_occupancy,
            broadening=self.broadening,
            estimator=self.estimator,
            baths=((bath,),),
            diagnostics={"ground_energy": energy, "degenerate_sectors": len(states)},
        )


def check_sectors(n_bath: int, max_determinants: int) -> None:
    """Raise if the largest sector of a bath has more than `max_determinants`.

    Raises
    ------
    SpaceTooLargeError
    """
    n_orbitals = min(n_bath + 1, 400)  # far beyond any limit, and still a float
    largest = comb(n_orbitals, n_orbitals // 2) ** 2
    if largest > max_determinants:
        raise SpaceTooLargeError(
            f"exact diagonalisation of {n_bath} bath sites needs {largest:.3g} determinants in one "
            f"sector, more than solver.max_determinants = {max_determinants:,}; use <= 10 sites, "
            "solver=ras, or raise solver.max_determinants"
        )


class SmallImpurity:
    """All particle sectors of a star impurity with spin."""

    def __init__(self, bath: StarBath, eps_d: float, U: float, max_determinants: int = 2_000_000):
        check_sectors(bath.n_bath, max_determinants)
        self.h, self.U = bath.one_body(eps_d), float(U)
        self.n_orbitals = bath.n_bath + 1

    @cached_property
    def _string_table(self) -> list[list[tuple[int, ...]]]:
        orbitals = range(self.n_orbitals)
        return [list(combinations(orbitals, n)) for n in range(self.n_orbitals + 1)]

    def strings(self, n: int) -> list[tuple[int, ...]]:
        """Occupied orbitals of every string of n electrons of one spin, impurity = orbital 0."""
        return self._string_table[n]

    def one_body(self, n: int) -> sp.csr_matrix:
        """One-body Hamiltonian between the strings of n electrons."""
        strings = self.strings(n)
        index = {string: i for i, string in enumerate(strings)}
        rows, columns, values = [], [], []
        for i, string in enumerate(strings):
            for q, p in product(string, range(self.n_orbitals)):
                if self.h[p, q] == 0 or (p != q and p in string):
                    continue
                between = sum(min(p, q) < o < max(p, q) for o in string)
                target = tuple(sorted({*string} - {q} | {p}))
                rows.append(index[target])
                columns.append(i)
                values.append(self.h[p, q] * (-1) ** between)
        return sp.csr_matrix((values, (rows, columns)), shape=(len(strings),) * 2)

    def impurity_occupation(self, n: int) -> np.ndarray:
        """(n_strings,) whether the impurity is filled."""
        return np.array([0 in string for string in self.strings(n)], dtype=np.float64)

    def hamiltonian(self, n_up: int, n_down: int) -> sp.csr_matrix:
        """Sparse Hamiltonian of one sector."""
        up, down = self.one_body(n_up), self.one_body(n_down)
        one_up, one_down = sp.identity(up.shape[0]), sp.identity(down.shape[0])
        interaction = np.kron(self.impurity_occupation(n_up), self.impurity_occupation(n_down))
        return (
            sp.kron(up, one_down) + sp.kron(one_up, down) + self.U * sp.diags(interaction)
        ).tocsr()

    def ground_states(self) -> tuple[float, dict[tuple[int, int], np.ndarray]]:
        """Ground-state energy and one state for every degenerate sector."""
        found = {}
        for n_up, n_down in product(range(self.n_orbitals + 1), repeat=2):
            if abs(n_up - n_down) > 1:  # a higher spin has a partner here by SU(2)
                continue
            H = self.hamiltonian(n_up, n_down)
            if H.shape[0] <= 400:
                levels, vectors = np.linalg.eigh(H.toarray())
                found[n_up, n_down] = float(levels[0]), vectors[:, 0]
            else:
                start = np.random.default_rng(0).normal(size=H.shape[0])
                found[n_up, n_down] = ground_state(H.dot, start, 1e-7)[:2]
        lowest = min(energy for energy, _ in found.values())
        return lowest, {k: v for k, (e, v) in found.items() if e < lowest + DEGENERACY}

    def occupations(self, states: dict) -> tuple[float, float]:
        """(filling, double occupancy) averaged over the degenerate states."""
        values = []
        for (n_up, n_down), vector in states.items():
            up, down = self.impurity_occupation(n_up), self.impurity_occupation(n_down)
            p = vector.reshape(up.size, down.size) ** 2
            values.append((p.sum(1) @ up + p.sum(0) @ down, up @ p @ down))
        return tuple(float(v) for v in np.mean(values, axis=0))

    def poles(self, energy: float, states: dict, n_lanczos: int) -> ResponsePoles:
        """Poles of G, F, I averaged over spin and degenerate ground states."""
        energies, amplitudes = [], []
        norm = np.sqrt(1 / (2 * len(states)))
        for ((n_up, n_down), vector), spin, side in product(states.items(), (0, 1), (1, -1)):
            target = (n_up + side, n_down) if spin == 0 else (n_up, n_down + side)
            if not all(0 <= n <= self.n_orbitals for n in target):
                continue
            start = self._excite(vector, n_up, n_down, spin, side)
            H = self.hamiltonian(*target)
            ritz, a = response_poles(H.dot, start, min(n_lanczos, H.shape[0]))
            energies.append(side * (ritz - energy))
            amplitudes.append(a * norm)
        return ResponsePoles(np.concatenate(energies), np.concatenate(amplitudes)).compressed()

    def _excite(self, vector, n_up: int, n_down: int, spin: int, side: int) -> np.ndarray:
        """(n, 2) ``d+|gs>, q+|gs>`` or ``d|gs>, q|gs>``; the impurity stands first, so no sign."""
        n_mine, n_other = (n_up, n_down) if spin == 0 else (n_down, n_up)
        psi = vector.reshape(len(self.strings(n_up)), len(self.strings(n_down)))
        psi = psi if spin == 0 else psi.T
        index = {string: i for i, string in enumerate(self.strings(n_mine + side))}
        out = np.zeros((len(index), psi.shape[1]))
        for i, string in enumerate(self.strings(n_mine)):
            new = (0, *string) if side > 0 else string[1:]
            if (0 in string) == (side < 0):
                out[index[new]] = psi[i]
        q = self.U * out * self.impurity_occupation(n_other)
        pair = (out, q) if spin == 0 else (out.T, q.T)
        return np.stack([part.reshape(-1) for part in pair], axis=1)

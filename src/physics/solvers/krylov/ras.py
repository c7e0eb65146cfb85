"""`ras`: natural-orbital restricted-active-space Krylov solver, the exact reference at T = 0.

Method
    1. Discretise the hybridization (`dmftnet.physics.bath.discretisation`), solve the restricted Hartree-Fock
       impurity, rotate the bath into (impurity, b, valence chain, conduction chain).
    2. Build the determinants allowed by ``depths`` (`ras_space`), ground state by Lanczos.
    3. Block Lanczos from ``d+|gs>, q+|gs>`` (addition) and ``d|gs>, q|gs>`` (removal): poles and
       the weights of G, F, I; self-energy by the symmetric improved estimator.
    4. On request the mean over ``n_shifts`` baths whose levels interleave ("z-averaging"): the
       level spacings, which show as ripples of the self-energy at higher energies, are n_shifts
       times as dense.

References
    Lu, Hoeppner, Gunnarsson, Haverkort, PRB 90, 085102 (2014); Kugler, PRB 105, 245132 (2022).
Range
    One orbital, T = 0, spin-symmetric, any U, doping and bath up to about 250 sites. U = 0 is
    exact with one excitation; the full space of a small bath is exact diagonalisation.
Cost
    Linear in the bath for a bounded second depth, quadratic for an open one; hardly depends on U.
    ``("all", 8, 6, 1)`` and 59 sites: a second a half-filled solve, twice that a doped one;
    benchmarks/ras.py prints the table.
Otherwise
    Several orbitals or a second witness: ``mps``. A few bath sites: ``ed``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from dmftnet import checks
from dmftnet.errors import SpaceTooLargeError
from dmftnet.physics.bath.discretisation import (
    SPECTATOR_COUPLING,
    NaturalOrbitalBath,
    StarBath,
    discretise,
    mean_field_ground_state,
    natural_orbitals,
)
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem, SerialBatch, require_one_orbital
from dmftnet.physics.impurity.solutions import PoleSolution
from dmftnet.physics.solvers.arguments import check_restricted
from dmftnet.physics.solvers.krylov.lanczos import ground_state, response_poles
from dmftnet.physics.solvers.krylov.ras_cost import Cost
from dmftnet.physics.solvers.krylov.ras_space import (
    ACTIVE,
    DeterminantSpace,
    Hops,
    SpinStrings,
    check_memory,
    determinant_space,
    hamiltonian,
    one_body_hops,
    resolve_depths,
    spin_strings,
)

# A greater pole below zero by more than this (in D), or a lesser one above, with more than this
# weight says that a neighbouring particle number has the lower ground-state energy. Sectors closer
# than that are degenerate for a restricted space (a spectator site, a local moment), and the
# spectra differ by less than the resolution.
SECTOR_TOLERANCE = 5e-4
SECTOR_WEIGHT = 1e-6


@dataclass(frozen=True)
class RasSolver(SerialBatch):
    """Restricted-active-space solver.

    Parameters
    ----------
    depths : tuple of int or "all"
        Deepest site allowed for the deepest, second deepest, ... excitation; its length is the
        number of excitations (at most 7).
    n_bath : int
        Bath sites; odd for a half-filled insulator, so that one of them sits in the gap.
    spacing, stretch, window_quantile
        Discretisation, see `dmftnet.physics.bath.discretisation.discretise`.
    n_shifts : int
        Baths to average over, at n_shifts times the cost.
    n_lanczos : int
        Block-Lanczos steps a side (two vectors each).
    ground_state_tolerance : float, in D
        Residual norm of the ground state; its energy's error is the square of it over the gap.
    broadening : (eta, slope)
        Gaussian width ``eta + slope |E|`` of the poles in the self-energy, in D.
    estimator : {"improved", "ratio", "dyson"}
    with_self_energy : bool
        Without it the run starts from d alone: half the cost, poles of G only.
    max_memory : float, in GiB
    max_determinants : int
        A larger space is refused.

    Raises
    ------
    SettingError
        If an argument is of the wrong type or out of its limits.
    SpaceTooLargeError
        If the bath would exceed `max_memory`; by `solve`, if the space would, or if it has more
        than `max_determinants`.
    """

    depths: tuple = ("all", 8, 6, 1)
    n_bath: int = 59
    spacing: str = "sinh"
    stretch: float = 4.5
    n_shifts: int = 1
    window_quantile: float = 0.999
    n_lanczos: int = 120
    ground_state_tolerance: float = 1e-5
    broadening: tuple = (2e-3, 0.05)
    estimator: str = "improved"
    with_self_energy: bool = True
    max_memory: float = checks.MAX_MEMORY
    max_determinants: int = 5_000_000
    name: str = "ras"
    grid: None = None

    def __post_init__(self):
        check_restricted(self)

    def expected_cost(self) -> Cost:
        """What a solve takes, counted at once from the numbers of sites.

        Raises
        ------
        SpaceTooLargeError
            If that is more than the solver's limits.
        """
        cost = Cost.of(self.depths, self.n_bath, self.n_lanczos, self.n_shifts)
        check_memory(cost.determinants, self.max_memory)
        if cost.determinants > self.max_determinants:
            raise SpaceTooLargeError(
                f"solver.depths = {list(self.depths)} with {self.n_bath} bath sites: {cost}, more "
                f"than solver.max_determinants = {self.max_determinants:,}; use smaller depths, "
                "fewer bath sites, or raise solver.max_determinants"
            )
        return cost

    def solve(self, problem: ImpurityProblem) -> PoleSolution:
        """Solve one problem; see `ImpuritySolver`."""
        require_one_orbital(problem, self.name)
        self.expected_cost()
        baths = [
            discretise(
                problem.grid, problem.hybridization[0], self.n_bath, self.spacing, self.stretch,
                k / self.n_shifts, self.window_quantile,
            )
            for k in range(self.n_shifts)
        ]  # fmt: skip
        states = [self._solve_bath(bath, problem) for bath in baths]
        return PoleSolution(
            problem=problem,
            greens=(ResponsePoles.mean([state.poles for state in states]),),
            filling=float(np.mean([state.filling for state in states])),
            double_occupancy=float(np.mean([state.double_occupancy for state in states])),
            broadening=self.broadening,
            estimator=self.estimator if self.with_self_energy else "dyson",
            baths=(tuple(baths),),
            diagnostics=_mean_diagnostics([state.diagnostics for state in states]),
        )

    def _solve_bath(self, bath: StarBath, problem: ImpurityProblem) -> ImpurityState:
        """One discrete bath of the problem; a spectator's traces are removed."""
        symmetric = problem.is_particle_hole_symmetric() and _is_symmetric(bath)
        state = self.solve_star(bath, float(problem.eps_d[0]), problem.U, symmetric)
        if bath.spectator:
            state = replace(state, poles=_without_spectator(state.poles))
        return state

    def solve_star(
        self, bath: StarBath, eps_d: float, U: float, symmetric: bool = False
    ) -> ImpurityState:
        """Ground state and poles of a discrete bath.

        Parameters
        ----------
        symmetric : bool
            The problem is particle-hole symmetric: compute the addition side, mirror the rest.
        """
        mean = mean_field_ground_state(bath, eps_d, U)
        orbitals = natural_orbitals(bath, eps_d, U, mean)
        depths = resolve_depths(self.depths, orbitals)
        sector = Sector(orbitals, depths, eps_d, U, self.max_memory)
        symmetric = symmetric and 2 * mean.n_pairs == bath.n_bath + 1
        n_up = n_down = mean.n_pairs
        tried: dict[tuple[int, int], ImpurityState] = {}
        while (n_up, n_down) not in tried:
            own_mirror = symmetric and n_up == n_down == mean.n_pairs
            state = self._solve_sector(sector, n_up, n_down, own_mirror)
            tried[n_up, n_down] = state
            addition, removal = state.wrong_weight
            if addition > max(removal, SECTOR_WEIGHT):  # a further particle lowers the energy
                n_up, n_down = (n_up + 1, n_down) if n_up == n_down else (n_up, n_down + 1)
            elif removal > SECTOR_WEIGHT:
                n_up, n_down = (n_up, n_down - 1) if n_up == n_down else (n_up - 1, n_down)
        best = min(tried.values(), key=lambda state: state.energy)
        best.diagnostics["sector_verified"] = max(best.wrong_weight) <= SECTOR_WEIGHT
        best.diagnostics["sectors_tried"] = len(tried)
        return best

    def _solve_sector(
        self, sector: Sector, n_up: int, n_down: int, symmetric: bool
    ) -> ImpurityState:
        space, energy, vector, residual = sector.ground_state(
            n_up, n_down, self.ground_state_tolerance
        )
        filling, double_occupancy = _occupations(space, vector)
        spins = ("up",) if n_up == n_down else ("up", "down")
        sides = {1: [], -1: []}
        for spin in spins:
            for side in (1,) if symmetric else (1, -1):
                start, apply = sector.excitation(space, vector, spin, side, self.with_self_energy)
                ritz, amplitudes = response_poles(apply, start, self.n_lanczos)
                sides[side].append((side * (ritz - energy), amplitudes / np.sqrt(len(spins))))
        if symmetric:
            sides[-1] = [_mirrored(*sides[1][0], sector.U)]
        energies = {side: np.concatenate([e for e, _ in runs]) for side, runs in sides.items()}
        amplitudes = {side: np.concatenate([a for _, a in runs]) for side, runs in sides.items()}
        wrong = tuple(
            float((amplitudes[side][side * energies[side] < -SECTOR_TOLERANCE, 0] ** 2).sum())
            for side in (1, -1)
        )
        poles = ResponsePoles(
            np.concatenate([energies[1], energies[-1]]),
            np.concatenate([amplitudes[1], amplitudes[-1]]),
        ).compressed()
        total = energy + sector.reference_energy
        diagnostics = {
            "determinants": space.n_determinants,
            "n_up": n_up,
            "n_down": n_down,
            "ground_energy": total,
            "residual": residual,
            "norm": float(poles.G.weights.sum()),
        }
        return ImpurityState(total, filling, double_occupancy, poles, wrong, diagnostics)


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
        self._strings, self._one_body, self._hamiltonians = {}, {}, {}

    def strings(self, n_electrons: int):
        """Strings of one spin, made once."""
        if n_electrons not in self._strings:
            self._strings[n_electrons] = spin_strings(
                self.bath, self.depths, n_electrons, self.max_memory
            )
        return self._strings[n_electrons]

    def space(self, n_up: int, n_down: int) -> DeterminantSpace:
        """Determinants with the given particle numbers."""
        return determinant_space(self.strings(n_up), self.strings(n_down))

    def hamiltonian(self, space: DeterminantSpace):
        """Sparse Hamiltonian in the natural-orbital basis."""
        hops = self._hops(space.up), self._hops(space.down)
        return hamiltonian(space, *hops, self.U, self.max_memory)

    def _hops(self, strings: SpinStrings) -> Hops:
        """One-body Hamiltonian on a set of strings, made once."""
        if strings not in self._one_body:
            self._one_body[strings] = one_body_hops(strings, self.bath, self.eps_d)
        return self._one_body[strings]

    def ground_state(self, n_up: int, n_down: int, tolerance: float):
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
    ):
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


def _mean_diagnostics(each: list[dict]) -> dict:
    """Of several baths: sums of counts, the worst residual, means of the rest."""
    if len(each) == 1:
        return each[0]
    columns = {name: [diagnostics[name] for diagnostics in each] for name in each[0]}
    combine = {"determinants": sum, "sectors_tried": sum, "residual": max, "sector_verified": all}
    return {name: combine.get(name, np.mean)(values) for name, values in columns.items()}


def _even_under(swapped: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Part of a vector that is even under the exchange of the spins."""
    return 0.5 * (vector + vector[swapped])


def _occupations(space: DeterminantSpace, vector: np.ndarray) -> tuple[float, float]:
    """(filling of both spins, double occupancy)."""
    up, down = space.pairs()
    probability = vector**2
    n_up = ACTIVE[space.up.active, 0][up]
    n_down = ACTIVE[space.down.active, 0][down]
    return float(probability @ (n_up + n_down)), float(probability @ (n_up * n_down))


def _mirrored(energies: np.ndarray, amplitudes: np.ndarray, U: float):
    """Removal side of a particle-hole symmetric problem: ``d -> d+``, ``q -> U d+ - q+``."""
    if amplitudes.shape[1] == 0:
        return -energies, amplitudes
    a_d, a_q = amplitudes.T
    return -energies, np.stack([a_d, U * a_d - a_q], axis=1)


def _without_spectator(poles: ResponsePoles) -> ResponsePoles:
    """Without the traces (weight about V^2) that a spectator site leaves at zero energy."""
    weight = poles.amplitudes[:, 0] ** 2
    trace = (np.abs(poles.energies) < 10 * SPECTATOR_COUPLING) & (
        weight < 1e3 * SPECTATOR_COUPLING**2
    )
    return ResponsePoles(poles.energies[~trace], poles.amplitudes[~trace])


def _is_symmetric(bath: StarBath) -> bool:
    """Whether the discrete bath maps onto itself under particle-hole exchange."""
    order = np.argsort(bath.energies)
    e, v = bath.energies[order], bath.couplings[order]
    return bool(np.allclose(e, -e[::-1], atol=1e-9) and np.allclose(v, v[::-1], atol=1e-9))

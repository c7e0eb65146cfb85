"""`ras`: natural-orbital restricted-active-space Krylov solver, the exact reference at T = 0.

Method
    1. Discretise the hybridization (`dmftnet.physics.bath.intervals`), solve the restricted
       Hartree-Fock impurity, rotate the bath into (impurity, b, valence chain, conduction chain).
    2. Build the determinants allowed by ``depths`` (`ras_strings`, `ras_space`), ground state by
       Lanczos.
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
    Several orbitals: ``ed``, ``mps``. An independent check: ``mps``. Finite temperature: ``ed``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from dmftnet import checks
from dmftnet.errors import SpaceTooLargeError
from dmftnet.physics.bath.chains import mean_field_ground_state, natural_orbitals
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import SPECTATOR_COUPLING, StarBath
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.solvers.arguments import check_restricted
from dmftnet.physics.solvers.krylov.lanczos import response_poles
from dmftnet.physics.solvers.krylov.ras_cost import Cost, check_memory
from dmftnet.physics.solvers.krylov.ras_sector import ImpurityState, Sector, mirrored, occupations
from dmftnet.physics.solvers.krylov.ras_strings import resolve_depths

# A greater pole below zero by more than this (in D), or a lesser one above, with more than this
# weight says that a neighbouring particle number has the lower ground-state energy. Sectors closer
# than that are degenerate for a restricted space (a spectator site, a local moment), and the
# spectra differ by less than the resolution.
SECTOR_TOLERANCE = 5e-4

SECTOR_WEIGHT = 1e-6


@dataclass(frozen=True)
class RasSolver(Solver):
    """Restricted-active-space solver.

    Parameters
    ----------
    depths : tuple of int or "all"
        Deepest site allowed for the deepest, second deepest, ... excitation; its length is the
        number of excitations (at most 7).
    bath : Intervals or Wilson
        Bath sites.
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
    bath: Intervals | Wilson = Intervals()
    n_shifts: int = 1
    n_lanczos: int = 120
    ground_state_tolerance: float = 1e-5
    broadening: tuple = (2e-3, 0.05)
    estimator: str = "improved"
    with_self_energy: bool = True
    max_memory: float = checks.MAX_MEMORY
    max_determinants: int = 5_000_000
    name: ClassVar[str] = "ras"

    def __post_init__(self):
        check_restricted(self)

    def expected_cost(self) -> Cost:
        """What a solve takes, counted at once from the numbers of sites.

        Raises
        ------
        SpaceTooLargeError
            If that is more than the solver's limits.
        """
        cost = Cost.of(self.depths, self.bath.sites, self.n_lanczos, self.n_shifts)
        check_memory(cost.determinants, self.max_memory)
        if cost.determinants > self.max_determinants:
            raise SpaceTooLargeError(
                f"solver.depths = {list(self.depths)} with {self.bath.n_bath} bath sites: {cost}, "
                f"more than solver.max_determinants = {self.max_determinants:,}; use smaller "
                "depths, fewer bath sites, or raise solver.max_determinants"
            )
        return cost

    def notice(self) -> str:
        """See `ImpuritySolver`; raises where a solve would be refused."""
        return self.expected_cost().notice

    def solve(self, problem: ImpurityProblem) -> PoleSolution:
        """Solve one problem; see `ImpuritySolver`."""
        self.require(problem)
        self.expected_cost()
        baths = [
            self.bath.shifted(k / self.n_shifts).star(problem.grid, problem.spectrum[0])
            for k in range(self.n_shifts)
        ]
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
        symmetric = problem.is_particle_hole_symmetric() and bath.is_symmetric
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
        filling, double_occupancy = occupations(space, vector)
        spins = ("up",) if n_up == n_down else ("up", "down")
        sides: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {1: [], -1: []}
        for spin in spins:
            for side in (1,) if symmetric else (1, -1):
                start, apply = sector.excitation(space, vector, spin, side, self.with_self_energy)
                ritz, found = response_poles(apply, start, self.n_lanczos)
                sides[side].append((side * (ritz - energy), found / np.sqrt(len(spins))))
        if symmetric:
            sides[-1] = [mirrored(*sides[1][0], sector.U)]
        energies = {side: np.concatenate([e for e, _ in runs]) for side, runs in sides.items()}
        amplitudes = {side: np.concatenate([a for _, a in runs]) for side, runs in sides.items()}
        addition, removal = (
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
        return ImpurityState(
            total, filling, double_occupancy, poles, (addition, removal), diagnostics
        )


def _mean_diagnostics(each: list[dict]) -> dict:
    """Of several baths: sums of counts, the worst residual, means of the rest."""
    if len(each) == 1:
        return each[0]
    columns = {name: [diagnostics[name] for diagnostics in each] for name in each[0]}
    combine: dict[str, Callable[[list], Any]] = {
        "determinants": sum, "sectors_tried": sum, "residual": max, "sector_verified": all
    }  # fmt: skip
    return {name: combine.get(name, np.mean)(values) for name, values in columns.items()}


def _without_spectator(poles: ResponsePoles) -> ResponsePoles:
    """Without the traces (weight about V^2) that a spectator site leaves at zero energy."""
    weight = poles.amplitudes[:, 0] ** 2
    trace = (np.abs(poles.energies) < 10 * SPECTATOR_COUPLING) & (
        weight < 1e3 * SPECTATOR_COUPLING**2
    )
    return ResponsePoles(poles.energies[~trace], poles.amplitudes[~trace])

"""How far a few operator strings reach, on ground states of every kind.

OMP_NUM_THREADS=1 python benchmarks/scol.py [exact] [sites=10] [loops] [long] [orbitals] [evolution]
[samples]      default: exact

Half-filled Wilson chains of the semicircle, Lambda = 2. KL of the addition spectrum, each pole a
Gaussian on a logarithmic axis of width .7 (broad) or .3 (narrow); relative error of the first pole.
Reach of the set of strings: depth, segments, longest string. CPU seconds.

* exact: exact ground states beside block Lanczos from (d+, q+) with 200 steps, one orbital up to
  so many sites, and two; three orbitals' strings;
* loops: half-filled Bethe lattice, default baths, closed by `ed` and by `scol` on exact and on
  neural ground states, whose loops end at a change of 1e-3: they differ from solve to solve;
* long: 30 sites, Gamma = 0.1 D, strings on `ras` and `mps` ground states and the poles of `ras`
  itself; the first pole against the energies of N and N + 1 electrons by DMRG;
* orbitals: two with 8 bath sites each on `mps`, likewise;
* evolution: the same by time evolution, `mps` as a solver; minutes;
* samples: exact ground states, of which draws alone are used, against all of their determinants.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.models.nqs.ground_states import NeuralGroundStates
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.fermions.kanamori import DOWN, UP
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.lattices.bethe import Bethe, semicircle
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.krylov.lanczos import ground_state, response_poles
from dmftnet.physics.solvers.scol.ground_states import ExplicitState
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity, ImpurityChains
from dmftnet.physics.solvers.scol.responses import infrared_cutoff, orbital_poles, resampled_poles
from dmftnet.physics.solvers.scol.restricted_states import RestrictedGroundStates
from dmftnet.physics.solvers.scol.sampled_states import (
    SampledState,
    VectorAmplitudes,
    jackknife_error,
)
from dmftnet.physics.solvers.scol.sets import Reach
from dmftnet.physics.solvers.scol.solver import ScolSolver
from dmftnet.physics.solvers.scol.tensor_states import TensorGroundStates, TensorState
from dmftnet.physics.solvers.tensor.blocks import Truncation
from dmftnet.physics.solvers.tensor.mps import MpsSolver
from dmftnet.physics.solvers.tensor.state import ground_state as ground_state_mps

GRID = FrequencyGrid.geometric(1e-5, 8.0, 2400)
LOOP_GRID = FrequencyGrid.geometric(1e-3, 8.0, 800)
V = 0.5
RATIOS = (1.0, 3.0, 6.0)
ONE = (Reach(2, 1, 5), Reach(3, 1, 5), Reach(3, 2, 5))
TWO = (Reach(1, 1, 5), Reach(2, 1, 5), Reach(3, 1, 5))
LOOPS = ((1, 2.0, 0.0), (2, 2.0, 0.3))
NEURAL_TOLERANCE = 1e-3
LONG_RATIOS = (2.0, 5.0, 10.0)
LONG_RAS = (Reach(2, 1, 5),)
LONG_MPS = (Reach(1, 1, 5), Reach(2, 1, 5), Reach(3, 1, 5), Reach(2, 4, 5))
PAIR = (1.0, 0.2)
PAIR_REACHES = (Reach(0, 1, 5), Reach(1, 1, 5), Reach(2, 1, 5))
SAMPLED = (
    (8, "pairwise", 10_000), (8, "pairwise", 100_000), (8, "mixture", 1_000),
    (8, "mixture", 10_000), (8, "mixture", 100_000), (10, "mixture", 10_000),
)  # fmt: skip
MATSUBARA = np.geomspace(0.1, 10.0, 40)
GAMMA = 0.1
FINE = FrequencyGrid.geometric(1e-6, 8.0, 1600)
VERY_FINE = FrequencyGrid(np.geomspace(1e-7, 8.0, 1500))
MANY = (Reach(2, 1, 5), Reach(3, 1, 5), Reach(4, 1, 5))


def impurity(n_orb: int, n_bath: int, U: float, J: float) -> ImpurityChains:
    """Half-filled orbitals, each with a Wilson chain."""
    interaction = Interaction(U, J)
    chain = Wilson(n_bath).chain(LOOP_GRID, semicircle(LOOP_GRID, 0.0, 1.0, V**2))
    levels = np.full(n_orb, interaction.half_filling(n_orb))
    return ImpurityChains.of_chains(levels, interaction, [chain] * n_orb)


def singlet(chains: ImpurityChains) -> ExplicitState:
    """The ground state with as many electrons of either spin; an even number of sites."""
    cluster = chains.cluster
    n = cluster.n_sites // 2
    H = cluster.hamiltonian((n, n))
    start = np.random.default_rng(0).normal(size=H.shape[0])
    energy, psi, _ = ground_state(H.dot, start, 1e-9, max_restarts=200)
    return ExplicitState(cluster, (n, n), psi[:, None], np.array([energy]), np.ones(1))


def reference(state: ExplicitState) -> ResponsePoles:
    """Addition poles of the first orbital by block Lanczos."""
    cluster = state.cluster
    target = cluster.target(state.sector, UP, 1)
    start = cluster.excitations(state.sector, UP, 1, state.vectors)[:, :, 0, 0]
    ritz, amplitudes = response_poles(cluster.hamiltonian(target).dot, start, 200)
    return ResponsePoles(ritz - state.energy, amplitudes)


def shown(reach: Reach) -> str:
    return f"{reach.depth}, {reach.n_segments}, {reach.max_length}"


def timed(function, *arguments):
    """A result and the CPU seconds it took."""
    start = time.process_time()
    return function(*arguments), time.process_time() - start


def accuracy(table: Table, n_orb: int, n_bath: int, U: float, J: float, reaches) -> None:
    """A line for each set of strings."""
    chains = impurity(n_orb, n_bath, U, J)
    state, ground_seconds = timed(singlet, chains)
    exact, seconds = timed(reference, state)
    positive = GRID.omega > 0
    half = FrequencyGrid(GRID.omega[positive])
    for reach in reaches:

        def strings(reach=reach):
            sets = [chains.string_set(0, UP, reach)] * 2
            return len(sets[0].strings), orbital_poles([state], sets, 1e-10, repulsion=U).poles

        (n_strings, found), own = timed(strings)
        curves = [
            [p.G.log_gaussian_spectrum(half.omega, width) for p in (exact, found)]
            for width in (0.7, 0.3)
        ]
        broad, narrow = (float(kl_divergence(half, *pair)) for pair in curves)
        first = [
            p.energies[(p.energies > 0) & (p.amplitudes[:, 0] ** 2 > 1e-7)].min()
            for p in (exact, found)
        ]
        table.add_row(
            str(n_orb), str(n_orb * (n_bath + 1)), f"{U / V:g}",
            shown(reach), str(n_strings),
            f"{broad:.0e}", f"{narrow:.0e}", f"{abs(first[1] / first[0] - 1):.0e}",
            f"{ground_seconds:.1f}", f"{own:.1f}", f"{seconds:.1f}",
        )  # fmt: skip


def loops_table() -> Table:
    """Half-filled Bethe lattice."""
    table = Table(
        "orbitals", "U", "J", "solver", "converged", "iterations", "double occupancy",
        "Z(0.01 i)", "s", title="half-filled Bethe lattice, default baths",
    )  # fmt: skip
    for n_orb, U, J in LOOPS:
        loose = {"tolerance": NEURAL_TOLERANCE}
        solvers = {
            "ed": (EdSolver(), {}),
            "scol, exact": (ScolSolver(), {}),
            "scol, neural": (ScolSolver(ground_state=NeuralGroundStates()), loose),
        }
        for name, (solver, options) in solvers.items():
            problem = starting_problem(LOOP_GRID, Bethe(), U, n_orb=n_orb, J=J)
            result, seconds = timed(DMFTLoop(solver, Bethe(), **options).run_one, problem)
            G, F, I = result.solution.greens[0].responses(np.array([0.01j]))
            Z = 1 / (1 - (I - F**2 / G)[0].imag / 0.01)
            table.add_row(
                str(n_orb), f"{U:g}", f"{J:g}", name, str(result.converged),
                str(result.iterations), f"{result.solution.double_occupancy:.5f}", f"{Z:.4f}",
                f"{seconds:.1f}",
            )  # fmt: skip
    return table


def exact_tables(most_sites: int) -> Iterator[Table]:
    """Everything on exact ground states."""
    table = Table(
        "orbitals", "sites", "U/V", "reach", "strings", "broad", "narrow",
        "first pole", "s ground", "s strings", "s Lanczos", title="scol on exact ground states",
    )  # fmt: skip
    for n_sites in range(6, most_sites + 1, 2):
        for ratio in RATIOS:
            accuracy(table, 1, n_sites - 1, ratio * V, 0.0, ONE)
    for n_bath in (2, 3):
        accuracy(table, 2, n_bath, 2.0, 0.3, TWO)
    yield table

    table = Table("reach", "strings", "s", title="three orbitals, five sites each")
    chains = impurity(3, 4, 2.0, 0.3)
    for reach in MANY:
        found, seconds = timed(chains.string_set, 0, UP, reach)
        table.add_row(shown(reach), f"{len(found.strings):,}", f"{seconds:.2f}")
    yield table


# --- large baths ----------------------------------------------------------------------------------


def weak_bath(n_bath: int) -> StarBath:
    """``Gamma = pi V^2 rho(0) = 2 V^2`` of the semicircle."""
    return Wilson(n_bath).star(FINE, semicircle(FINE, 0.0, 1.0, GAMMA / 2))


def half_filled(n_orb: int, n_bath: int, U: float, J: float) -> DiscreteImpurity:
    """Orbitals with Wilson chains, symmetric."""
    interaction = Interaction(U, J)
    levels = np.full(n_orb, interaction.half_filling(n_orb))
    return DiscreteImpurity(levels, interaction, (weak_bath(n_bath),) * n_orb, True)


def gap(state: TensorState) -> float:
    """Energy of one electron more, by DMRG: the exact first pole."""
    n_up, n_down = state.sector
    model, truncation = state.prepared.model, Truncation(200, 1e-12)
    near = {(n_up, n_down + 1), (n_up + 1, n_down)} if n_up != n_down else {(n_up + 1, n_down)}
    return min(ground_state_mps(model, *sector, truncation, 1e-9).energy for sector in near)


def strings_on(chains: ImpurityChains, state, reach: Reach, repulsion: float):
    """(number of strings, poles)."""
    sets = [chains.string_set(0, spin, reach) for spin in (UP, DOWN)]
    return len(sets[0].strings), orbital_poles([state], sets, 1e-10, repulsion).poles


def kl(reference: ResponsePoles, poles: ResponsePoles) -> list[str]:
    """Broad, narrow."""
    omega = VERY_FINE.omega
    curves = [
        [p.G.log_gaussian_spectrum(omega, width) for p in (reference, poles)]
        for width in (0.7, 0.3)
    ]
    return [f"{float(kl_divergence(VERY_FINE, *pair)):.0e}" for pair in curves]


def first_pole(poles: ResponsePoles) -> float:
    """Lowest addition energy that carries weight, in D."""
    return poles.energies[(poles.energies > 0) & (poles.amplitudes[:, 0] ** 2 > 1e-7)].min()


def long_table() -> Table:
    """Thirty sites."""
    table = Table(
        "U/Gamma", "ground state", "reach", "strings", "broad", "narrow", "from ras: broad",
        "narrow", "first pole", "error", "s ground", "s poles",
        title="30 sites; KL from 4, 1, 5 on mps, and from the poles of ras",
    )  # fmt: skip
    for ratio in LONG_RATIOS:
        problem = half_filled(1, 29, ratio * GAMMA, 0.0)
        U = problem.interaction.U
        (chains, (mps,)), mps_seconds = timed(TensorGroundStates().find, problem)
        exact = gap(mps)
        best = strings_on(chains, mps, Reach(4, 1, 5), U)[1]
        finder = RestrictedGroundStates(depths=("all", 8, 6, 1), tolerance=1e-8)
        (natural, (ras,)), ras_seconds = timed(finder.find, problem)

        def lanczos(ras=ras):
            start, apply = ras.spaces.excitation(ras.space, ras.vector, "up", 1, True)
            energies, amplitudes = response_poles(apply, start, 300)
            return ResponsePoles(energies - ras.own_energy, amplitudes)

        own, own_seconds = timed(lanczos)
        rows = [("ras, block Lanczos", "", "", own, ras_seconds, own_seconds)]
        for name, basis, state, before, reaches in (
            ("ras", natural, ras, ras_seconds, LONG_RAS),
            ("mps", chains, mps, mps_seconds, LONG_MPS),
        ):
            for reach in reaches:
                (n, poles), seconds = timed(strings_on, basis, state, reach, U)
                rows.append((name, shown(reach), str(n), poles, before, seconds))
        for name, reach, n, poles, before, seconds in rows:
            first = first_pole(poles)
            table.add_row(
                f"{ratio:g}", name, reach, n, *kl(best, poles), *kl(own, poles), f"{first:.4e}",
                f"{first / exact - 1:+.0e}", f"{before:.1f}", f"{seconds:.1f}",
            )  # fmt: skip
    return table


def two_orbitals() -> tuple[ImpurityChains, TensorState, float, float]:
    """With 8 bath sites each: chains, ground state, repulsion, seconds."""
    problem = half_filled(2, 8, *PAIR)
    (chains, (state,)), seconds = timed(TensorGroundStates().find, problem)
    return chains, state, -2 * float(problem.levels[0]), seconds


def orbitals_table() -> Table:
    """Strings on one ground state, shallow to deep."""
    chains, state, repulsion, ground = two_orbitals()
    exact, n_sites = gap(state), chains.cluster.n_sites
    table = Table(
        "reach", "strings", "broad", "narrow", "first pole", "error", "s ground", "s strings",
        title=f"two orbitals, {n_sites} sites, U, J = {PAIR}, mps; KL from the last line",
    )  # fmt: skip
    rows = [(reach, *timed(strings_on, chains, state, reach, repulsion)) for reach in PAIR_REACHES]
    best = rows[-1][1][1]
    for reach, (n, poles), seconds in rows:
        first = first_pole(poles)
        table.add_row(
            shown(reach), str(n), *kl(best, poles), f"{first:.4e}", f"{first / exact - 1:+.0e}",
            f"{ground:.1f}", f"{seconds:.1f}",
        )  # fmt: skip
    return table


def evolution_table() -> Table:
    """The same by complex-time evolution."""
    chains, state, repulsion, _ = two_orbitals()
    (n, strings), seconds = timed(strings_on, chains, state, PAIR_REACHES[1], repulsion)
    solver = MpsSolver(bond_dimension=100, truncation=1e-6, ground_truncation=1e-9)
    impurity = half_filled(2, 8, *PAIR)
    evolved, evolution_seconds = timed(
        solver.solve_star, list(impurity.stars), impurity.levels, *PAIR, True
    )
    up = FrequencyGrid(VERY_FINE.omega[VERY_FINE.omega > 0.05])
    curves = [p.G.log_gaussian_spectrum(up.omega, 0.7) for p in (evolved.greens[0], strings)]
    table = Table(
        "strings", "s", "s evolution", "t", "bond", "broad KL, w > 0.05", "first moment",
        "evolution's", title="two orbitals beside time evolution",
    )  # fmt: skip
    moments = [float(p.G.moments(2)[1]) for p in (strings, evolved.greens[0])]
    table.add_row(
        str(n), f"{seconds:.1f}", f"{evolution_seconds:.0f}", f"{solver.t_max:g}",
        f"{evolved.diagnostics['bond_dimension']:.0f}", f"{kl_divergence(up, *curves):.0e}",
        *(f"{m:+.4f}" for m in moments),
    )  # fmt: skip
    return table


# --- samples --------------------------------------------------------------------------------------


def sigma(poles: ResponsePoles, U: float, w: np.ndarray = MATSUBARA) -> np.ndarray:
    """``Sigma(iw)`` by the improved estimator, the Hartree term in front."""
    G, F, I = poles.responses(1j * w)
    return U / 2 + I - F**2 / G


def samples_table() -> Table:
    """Draws of exact ground states of one orbital."""
    U = 10 * GAMMA
    table = Table(
        "sites", "estimator", "draws", "broad", "narrow", "first pole", "error",
        "cut-off / first", "Sigma(iw)", "wrong", "energy error", "s",
        title="one orbital, U / Gamma = 10; against all determinants of the same state",
    )  # fmt: skip
    for n_sites, estimator, n_samples in SAMPLED:
        problem = half_filled(1, n_sites - 1, U, 0.0)
        chains = ImpurityChains.of(problem)
        state = singlet(chains)
        sets = [chains.string_set(0, UP, Reach(3, 1, 5))] * 2
        exact = orbital_poles([state], sets, 1e-10, repulsion=U).poles
        source = VectorAmplitudes(state.cluster, state.sector, state.vectors[:, 0])
        drawn = SampledState(source, n_samples, estimator=estimator)
        start = time.process_time()
        found = orbital_poles([drawn], sets, 1e-10, repulsion=U)
        each = resampled_poles([drawn], sets, 1e-10, repulsion=U)
        seconds = time.process_time() - start
        error = jackknife_error(np.array([first_pole(p) for p in each]))
        lowest = first_pole(exact)
        off = np.abs(sigma(found.poles, U) / sigma(exact, U) - 1).max()
        table.add_row(
            str(n_sites), estimator, f"{n_samples:.0e}", *kl(exact, found.poles),
            f"{first_pole(found.poles) / lowest - 1:+.0e}", f"{error / lowest:.0e}",
            f"{infrared_cutoff(each) / lowest:.0e}", f"{off:.0e}",
            f"{found.wrong_weight:.0e}", f"{drawn.energy_error:.0e}", f"{seconds:.1f}",
        )  # fmt: skip
    return table


def main(*words: str) -> None:
    console = Console(width=130)
    sites = [int(word.removeprefix("sites=")) for word in words if word.startswith("sites=")]
    wanted = [word for word in words if not word.startswith("sites=")] or ["exact"]
    tables = {
        "loops": loops_table, "long": long_table, "orbitals": orbitals_table,
        "evolution": evolution_table, "samples": samples_table,
    }  # fmt: skip
    for word in wanted:
        if word == "exact":
            for table in exact_tables(*(sites or [10])):
                console.print(table)
        elif word in tables:
            console.print(tables[word]())
        else:
            sys.exit(f"error: '{word}' is no table; give exact, {', '.join(tables)}")


if __name__ == "__main__":
    main(*sys.argv[1:])

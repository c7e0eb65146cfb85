"""How far a few operator strings reach: `scol` on exact ground states beside block Lanczos.

OMP_NUM_THREADS=1 python benchmarks/scol.py [most sites of one orbital]      default: 10

Half-filled Wilson chains of the semicircle, Lambda = 2. KL of the addition spectrum, each pole a
Gaussian on a logarithmic axis of width .7 (broad) or .3 (narrow); relative error of the first pole.
Reach of the set of strings: depth, segments, longest string. CPU seconds: ground state, strings,
block Lanczos from (d+, q+) with 200 steps. Then closed loops of `ed` and `scol`.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.fermions.kanamori import UP
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.lattices.bethe import Bethe, semicircle
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.krylov.lanczos import ground_state, response_poles
from dmftnet.physics.solvers.scol.ground_states import ExplicitState
from dmftnet.physics.solvers.scol.impurity import ImpurityChains
from dmftnet.physics.solvers.scol.sets import Reach
from dmftnet.physics.solvers.scol.solver import ScolSolver, orbital_poles

GRID = FrequencyGrid.geometric(1e-5, 8.0, 2400)
LOOP_GRID = FrequencyGrid.geometric(1e-3, 8.0, 800)
V = 0.5
RATIOS = (1.0, 3.0, 6.0)
ONE = (Reach(2, 1, 5), Reach(3, 1, 5), Reach(3, 2, 5))
TWO = (Reach(1, 1, 5), Reach(2, 1, 5), Reach(3, 1, 5))
LOOPS = ((1, 2.0, 0.0), (2, 2.0, 0.3))
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
            return len(sets[0].strings), orbital_poles([state], sets, 1e-10, repulsion=U)

        (n_strings, (found, _)), own = timed(strings)
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
            f"{reach.depth}, {reach.n_segments}, {reach.max_length}", str(n_strings),
            f"{broad:.0e}", f"{narrow:.0e}", f"{abs(first[1] / first[0] - 1):.0e}",
            f"{ground_seconds:.1f}", f"{own:.1f}", f"{seconds:.1f}",
        )  # fmt: skip


def loops(table: Table) -> None:
    """Half-filled Bethe lattice."""
    for n_orb, U, J in LOOPS:
        for solver in (EdSolver(), ScolSolver()):
            problem = starting_problem(LOOP_GRID, Bethe(), U, n_orb=n_orb, J=J)
            result, seconds = timed(DMFTLoop(solver, Bethe()).run_one, problem)
            G, F, I = result.solution.greens[0].responses(np.array([0.01j]))
            Z = 1 / (1 - (I - F**2 / G)[0].imag / 0.01)
            table.add_row(
                str(n_orb), f"{U:g}", f"{J:g}", solver.name, str(result.converged),
                f"{result.solution.double_occupancy:.5f}", f"{Z:.4f}", f"{seconds:.1f}",
            )  # fmt: skip


def main(most_sites: int = 10) -> None:
    console = Console(width=110)
    table = Table(
        "orbitals", "sites", "U/V", "reach", "strings", "broad", "narrow",
        "first pole", "s ground", "s strings", "s Lanczos", title="scol on exact ground states",
    )  # fmt: skip
    for n_sites in range(6, most_sites + 1, 2):
        for ratio in RATIOS:
            accuracy(table, 1, n_sites - 1, ratio * V, 0.0, ONE)
    for n_bath in (2, 3):
        accuracy(table, 2, n_bath, 2.0, 0.3, TWO)
    console.print(table)

    table = Table("reach", "strings", "s", title="three orbitals, five sites each")
    chains = impurity(3, 4, 2.0, 0.3)
    for reach in MANY:
        found, seconds = timed(chains.string_set, 0, UP, reach)
        settings = f"{reach.depth}, {reach.n_segments}, {reach.max_length}"
        table.add_row(settings, f"{len(found.strings):,}", f"{seconds:.2f}")
    console.print(table)

    table = Table(
        "orbitals", "U", "J", "solver", "converged", "double occupancy", "Z(0.01 i)", "s",
        title="half-filled Bethe lattice, default baths",
    )  # fmt: skip
    loops(table)
    console.print(table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""Operator Lanczos on neural ground states of half-filled Wilson chains beside exact ones.

OMP_NUM_THREADS=1 python benchmarks/nqs_spectra.py [sites ...]      default: 8 10

One orbital, U / Gamma = 10, Gamma = 0.1 D, Lambda = 2; sites count the impurity. Relative error of
the energy, by the whole sector; the sampled energy's deviation from that in its error bars;
variance in D^2. KL of the addition spectrum against that of the exact ground state with the same
strings, each pole a Gaussian on a logarithmic axis of width .7 (broad) or .3 (narrow); relative
error of the first pole. CPU seconds of the training.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from nqs import impurity
from rich.console import Console
from rich.table import Table

from dmftnet.models.nqs.energy import Energy
from dmftnet.models.nqs.ground_states import NeuralGroundStates
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.fermions.kanamori import UP
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.solvers.krylov.lanczos import ground_state
from dmftnet.physics.solvers.scol.ground_states import ExplicitState
from dmftnet.physics.solvers.scol.impurity import ImpurityChains
from dmftnet.physics.solvers.scol.sets import Reach
from dmftnet.physics.solvers.scol.solver import orbital_poles

GRID = FrequencyGrid.geometric(1e-5, 8.0, 2400)
RATIO = 10.0
REACH = Reach(3, 1, 5)


def exact(chains: ImpurityChains) -> ExplicitState:
    """The singlet."""
    cluster, n = chains.cluster, chains.cluster.n_sites // 2
    H = cluster.hamiltonian((n, n))
    start = np.random.default_rng(0).normal(size=H.shape[0])
    energy, psi, _ = ground_state(H.dot, start, 1e-9, max_restarts=200)
    return ExplicitState(cluster, (n, n), psi[:, None], np.array([energy]), np.ones(1))


def addition(chains: ImpurityChains, state: ExplicitState) -> ResponsePoles:
    """Poles of both sides, the removal side by symmetry."""
    sets = [chains.string_set(0, UP, REACH)] * 2
    return orbital_poles([state], sets, 1e-10, repulsion=chains.cluster.interaction.U)[0]


def first_pole(poles: ResponsePoles) -> float:
    """Lowest addition energy that carries weight, in D."""
    return poles.energies[(poles.energies > 0) & (poles.amplitudes[:, 0] ** 2 > 1e-7)].min()


def deviation(sampled: Energy, energy: float) -> str:
    """Of a sampled energy, in its error bars; it has none where all determinants are found."""
    return f"{(sampled.mean - energy) / sampled.error:+.1f}" if sampled.error else "all found"


def row(n_sites: int) -> list[str]:
    """One chain."""
    chains = impurity("one", n_sites, RATIO)
    reference = exact(chains)
    finder = NeuralGroundStates()
    start = time.process_time()
    neural, trained = finder.trained(chains, reference.sector)
    seconds = time.process_time() - start
    state = finder.explicit(neural)
    poles = [addition(chains, s) for s in (reference, state)]
    half = FrequencyGrid(GRID.omega[GRID.omega > 0])
    broad, narrow = (
        float(kl_divergence(half, *(p.G.log_gaussian_spectrum(half.omega, w) for p in poles)))
        for w in (0.7, 0.3)
    )
    sampled, lowest = trained.energy, reference.energy
    return [
        str(n_sites), f"{chains.cluster.dimension(reference.sector):,}",
        f"{lowest:.6f}", f"{(state.energy - lowest) / abs(lowest):.1e}",
        deviation(sampled, state.energy), f"{state.variance:.1e}",
        f"{broad:.0e}", f"{narrow:.0e}", f"{first_pole(poles[1]) / first_pole(poles[0]) - 1:+.0e}",
        f"{trained.n_steps}", f"{trained.rollbacks}", f"{seconds:.0f}",
    ]  # fmt: skip


def main(*sites: int) -> None:
    table = Table(
        "sites", "dimension", "E exact", "error", "sampled", "variance", "broad", "narrow",
        "first pole", "steps", "rollbacks", "s", title="neural ground states",
    )  # fmt: skip
    for n_sites in sites or (8, 10):
        table.add_row(*row(n_sites))
    Console(width=120).print(table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

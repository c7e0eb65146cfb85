"""What neural ground states cost: steps, derivatives, matrices from samples, strings.

OMP_NUM_THREADS=1 python benchmarks/nqs_cost.py [steps] [derivatives] [matrices] [strings]

Default: all of them.

Half-filled Wilson chains of the semicircle at U / Gamma = 10, as in benchmarks/nqs.py; sites count
the impurity. CPU seconds, the least of some repetitions; what is compared is measured in turns.

* steps: one of a training, default settings but for what a line names, in units of one solve by
  `ras` with its defaults (Bethe lattice, U = 2 D), which is measured in turns with them;
* derivatives: Gram matrix and both products of the factored Jacobian against ``vmap(grad)``;
* matrices: S and H of an exact state from its draws, against strings and draws, draws included;
* strings: their number and what the algebra takes, against depth.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from nqs import impurity
from rich.console import Console
from rich.table import Table
from scol import half_filled as several

from dmftnet.models.nqs.jacobian import DenseJacobian, Jacobian
from dmftnet.models.nqs.position_nets import PositionNets
from dmftnet.models.nqs.sampler import sample
from dmftnet.models.nqs.state import NeuralState
from dmftnet.models.nqs.training import Training, TrainingRun
from dmftnet.physics.fermions.kanamori import UP
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.lanczos import ground_state
from dmftnet.physics.solvers.krylov.ras import RasSolver
from dmftnet.physics.solvers.scol.impurity import ImpurityChains
from dmftnet.physics.solvers.scol.sampled_states import SampledState, VectorAmplitudes
from dmftnet.physics.solvers.scol.sets import Reach

RATIO = 10.0
SAMPLES, WIDTH = 768, 24
DEPTHS = {1: (0, 1, 2, 3, 4), 2: (0, 1, 2, 3), 3: (0, 1, 2, 3)}
SITES = 5
"""Of each orbital in the table of strings."""


class Written(PositionNets):
    """The small networks, as ``vmap(grad)`` takes them."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.log_prob(states)


def in_turns(calls: Sequence[Callable[[], object]], repetitions: int) -> list[float]:
    """Least CPU seconds of each; the first round is not counted."""
    seconds = np.empty((repetitions + 1, len(calls)))
    for row in seconds:
        for i, call in enumerate(calls):
            start = time.process_time()
            call()
            row[i] = time.process_time() - start
    return seconds[1:].min(axis=0).tolist()


def half_filled(sites: int, width: int, ansatz: type[PositionNets] = PositionNets) -> NeuralState:
    """The state that a training starts from."""
    chains = impurity("one", sites, RATIO)
    return NeuralState.of(chains, (sites // 2,) * 2, partial(ansatz, width=width))


def used(jacobian: Jacobian, values: torch.Tensor) -> None:
    """What a step asks of the derivatives."""
    jacobian.gram()
    jacobian.times(jacobian.transposed(values))


def step_of(sites: int, samples: int, width: int) -> Callable[[], object]:
    """A training, which every call takes one step further."""
    state = half_filled(sites, width)
    resolved = Training(n_samples=samples).resolved(state)
    return TrainingRun(resolved, state, np.random.default_rng(0)).step


def ras_solve() -> Callable[[], object]:
    """What the other solvers of this impurity are measured by."""
    grid, lattice = FrequencyGrid.geometric(), Bethe()
    problem = ImpurityProblem.on_grid(
        U=2.0, eps_d=-1.0, grid=grid, spectrum=lattice.bare_hybridization(grid)
    )
    return partial(RasSolver().solve, problem)


def steps_table() -> Table:
    """Against sites, samples, width."""
    table = Table("sites", "samples", "width", "s", "ras solves", title="a step of a training")
    cases = [(sites, SAMPLES, WIDTH) for sites in (8, 10, 12, 16, 20)]
    cases += [(10, samples, WIDTH) for samples in (192, 384, 1536, 3072)]
    cases += [(10, SAMPLES, width) for width in (12, 48, 96)]
    unit, *seconds = in_turns([ras_solve(), *(step_of(*case) for case in cases)], 5)
    for case, spent in sorted(zip(cases, seconds, strict=True)):
        table.add_row(*(str(x) for x in case), f"{spent:.3f}", f"{spent / unit:.3f}")
    table.caption = f"one solve by ras: {unit:.2f} s"
    return table


def derivatives_table() -> Table:
    """Both ways, one law and one batch."""
    table = Table(
        "sites", "determinants", "parameters", "s factored", "s vmap(grad)", "times",
        title="derivatives of a step",
    )  # fmt: skip
    for sites in (8, 10, 12):
        state = half_filled(sites, WIDTH, Written)
        law, power = state.law, Training().resolved(state).power
        drawn = sample(law, SAMPLES, np.random.default_rng(0), power).states
        states, values = torch.from_numpy(drawn), torch.linspace(-1, 1, len(drawn)).double()

        def factored(law=law, states=states, values=values) -> None:
            used(law.jacobian(states), values)

        def written(law=law, states=states, values=values) -> None:
            used(DenseJacobian.of(law, states), values)

        fast, slow = in_turns([factored, written], 3)
        parameters = sum(p.numel() for p in law.parameters())
        table.add_row(
            str(sites), str(len(drawn)), f"{parameters:,}", f"{fast:.3f}", f"{slow:.3f}",
            f"{slow / fast:.1f}",
        )  # fmt: skip
    return table


def exact_amplitudes(chains: ImpurityChains) -> VectorAmplitudes:
    """Of the singlet."""
    cluster, n = chains.cluster, chains.cluster.n_sites // 2
    H = cluster.hamiltonian((n, n))
    start = np.random.default_rng(0).normal(size=H.shape[0])
    psi = ground_state(H.dot, start, 1e-9, max_restarts=200)[1]
    return VectorAmplitudes(cluster, (n, n), psi)


def matrices_table() -> Table:
    """Against strings and draws."""
    table = Table("sites", "strings", "draws", "s", title="S and H from draws, by the mixture")
    chains = impurity("one", 10, RATIO)
    source = exact_amplitudes(chains)
    cases = ((2, 1_000), (2, 10_000), (0, 10_000), (4, 10_000), (2, 100_000))
    for depth, draws in cases:
        strings = chains.string_set(0, UP, Reach(depth, 1, 5)).strings

        def assembled(strings=strings, draws=draws) -> None:
            SampledState(source, draws).projection(strings, 1e-10)

        (seconds,) = in_turns([assembled], 1)
        sizes = (chains.cluster.n_sites, len(strings))
        table.add_row(*(str(x) for x in sizes), f"{draws:,}", f"{seconds:.2f}")
    return table


def strings_table() -> Table:
    """Against depth."""
    table = Table("orbitals", "depth", "strings", "ms", title=f"{SITES} sites an orbital, length 5")
    for n_orb, depths in DEPTHS.items():
        chains = ImpurityChains.of(several(n_orb, SITES - 1, 1.0, 0.2 if n_orb > 1 else 0.0))
        for depth in depths:
            make = partial(chains.string_set, 0, UP, Reach(depth, 1, 5))
            (seconds,) = in_turns([make], 2)
            table.add_row(
                str(n_orb), str(depth), f"{len(make().strings):,}", f"{1e3 * seconds:.1f}"
            )
    return table


TABLES = {
    "steps": steps_table, "derivatives": derivatives_table, "matrices": matrices_table,
    "strings": strings_table,
}  # fmt: skip


def main(*words: str) -> None:
    for word in words or TABLES:
        if word not in TABLES:
            sys.exit(f"error: '{word}' is no table; give {', '.join(TABLES)}")
        Console(width=100).print(TABLES[word]())


if __name__ == "__main__":
    main(*sys.argv[1:])

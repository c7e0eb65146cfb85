"""Energies of neural ground states of impurity chains beside exact ones and DMRG.

OMP_NUM_THREADS=1 python benchmarks/nqs.py CASE [...] [--seeds 0 1 2] [--ansatz nets|rwkv]
                                           [--steps N] [--samples N] [--power P] [--clip C]
python benchmarks/nqs_report.py                       # docs/nqs.md, docs/figures/nqs_variance.png

A case is ``kind:sites:U``, U in units of Gamma = 0.1 D: ``one:10:20`` (one orbital, half filled,
sites count the impurity), ``star:10:20`` (the same impurity, the chain's eigenstates as levels),
``doped:10:10`` (its level U / 4 above half filling), ``two:8:10`` (two orbitals of four sites each,
J = U / 5), ``twodoped:8:10`` (their levels U / 2 above half filling), ``three:9:10`` (three
orbitals of three sites each, half filled). Wilson chains of the semicircle, Lambda = 2. Each run is
one line of docs/nqs.csv, with the commit that made it, and takes the place of an earlier one with
the same case, settings and seed; all others stay.

Reference: exact diagonalisation up to 100,000 determinants, DMRG beyond. Energy of the neural
state: of the whole sector where it is enumerated, else by samples. Of a doped chain the sector is
that of the exact ground state; of a star the reference is that of its chain. CPU seconds of the
training alone.
"""

from __future__ import annotations

import argparse
import csv
import time
from functools import partial
from pathlib import Path

import numpy as np

from dmftnet.models.nqs.energy import Energy, local_energies
from dmftnet.models.nqs.ground_states import NeuralGroundStates
from dmftnet.models.nqs.position_nets import PositionNets
from dmftnet.models.nqs.rwkv import RWKV
from dmftnet.models.nqs.sampler import sample
from dmftnet.models.nqs.training import ENUMERATED, Training
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.fermions.kanamori import Sector
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.krylov.lanczos import ground_state
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity, ImpurityChains
from dmftnet.physics.solvers.tensor.blocks import Truncation
from dmftnet.physics.solvers.tensor.layout import Orbital
from dmftnet.physics.solvers.tensor.model import ImpurityModel
from dmftnet.physics.solvers.tensor.state import ground_state as dmrg
from dmftnet.provenance import provenance

BATH_GRID = FrequencyGrid.geometric(1e-3, 8.0, 800)
GAMMA = 0.1
LEVELS = {
    "one": (1, 0.0),
    "star": (1, 0.0),
    "doped": (1, 0.25),
    "two": (2, 0.0),
    "twodoped": (2, 0.5),
    "three": (3, 0.0),
}
"""Orbitals, and their levels above half filling in units of U."""

HUND = 0.2
"""J / U of several orbitals."""

BOND = Truncation(600, 1e-12)
N_FINAL = 60_000
ANSATZE = {"nets": PositionNets, "rwkv": RWKV}
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "nqs.csv"
COLUMNS = (
    "kind", "sites", "U", "ansatz", "parameters", "seed", "steps", "samples", "power", "clip",
    "change", "n_up", "n_dn",
    "reference", "reference_s", "energy", "error_bar", "variance", "n_distinct", "rollbacks",
    "seconds", "commit",
)  # fmt: skip
SAME = COLUMNS[: COLUMNS.index("change") + 1]
"""Columns by which a run takes the place of an earlier one."""


def impurity(kind: str, n_sites: int, ratio: float) -> ImpurityChains:
    """``Gamma = pi V^2 rho(0) = 2 V^2`` of the semicircle."""
    n_orb, above = LEVELS[kind]
    U = ratio * GAMMA
    interaction = Interaction(U, HUND * U if n_orb > 1 else 0.0)
    n_bath = n_sites // n_orb - 1
    if kind == "star":
        star = Wilson(n_bath).star(BATH_GRID, semicircle(BATH_GRID, 0.0, 1.0, GAMMA / 2))
        level = np.array([interaction.half_filling(1)])
        return ImpurityChains.of_stars(DiscreteImpurity(level, interaction, (star,), True))
    chain = Wilson(n_bath).chain(BATH_GRID, semicircle(BATH_GRID, 0.0, 1.0, GAMMA / 2))
    levels = np.full(n_orb, interaction.half_filling(n_orb) + above * U)
    return ImpurityChains.of_chains(levels, interaction, [chain] * n_orb)


def reference(chains: ImpurityChains, sector: Sector) -> float:
    """Lowest energy of a sector, in D."""
    cluster = chains.cluster
    if cluster.dimension(sector) <= ENUMERATED:
        H = cluster.hamiltonian(sector)
        start = np.random.default_rng(0).normal(size=H.shape[0])
        return float(ground_state(H.dot, start, 1e-10, max_restarts=400)[0])
    orbitals = tuple(
        Orbital(cluster.one_body[np.ix_(own, own)], sector[0] // cluster.n_orb)
        for own in ([a, *sites] for a, sites in enumerate(chains.sites))
    )
    model = ImpurityModel(orbitals, cluster.interaction.U, cluster.interaction.J)
    return dmrg(model, *sector, BOND, 1e-9).energy


def lowest(chains: ImpurityChains, kind: str) -> tuple[Sector, float, float]:
    """Sector of the ground state, its energy, and CPU seconds of one sector's search."""
    half = chains.cluster.n_sites // 2
    sectors = [(chains.cluster.n_sites - half, half)]
    if LEVELS[kind][1]:
        sectors = [(half - a, half - b) for a in range(4) for b in (a, a + 1)]
    start = time.process_time()
    found = min((reference(chains, sector), sector) for sector in sectors)
    return found[1], found[0], (time.process_time() - start) / len(sectors)


def run(kind: str, n_sites: int, ratio: float, ansatz: str, seed: int, **training) -> dict:
    """One training, a line of the results."""
    chains = impurity(kind, n_sites, ratio)
    in_chain = impurity("one", n_sites, ratio) if kind == "star" else chains
    sector, exact, seconds = lowest(in_chain, kind)
    settings = Training(seed=seed, **training)
    finder = NeuralGroundStates(settings, partial(ANSATZE[ansatz]), seed=seed)
    start = time.process_time()
    state, trained = finder.trained(chains, sector)
    training_seconds = time.process_time() - start
    settings = settings.resolved(state)
    if chains.cluster.dimension(sector) <= ENUMERATED:
        explicit = finder.explicit(state)
        energy = Energy(explicit.energy, 0.0, explicit.variance, chains.cluster.dimension(sector))
    else:
        samples = sample(state.law, N_FINAL, np.random.default_rng(seed + 1), settings.power)
        energy = Energy.of(samples, local_energies(state, samples.states))
    values = (
        kind, n_sites, ratio, ansatz, sum(p.numel() for p in state.law.parameters()), seed,
        trained.n_steps, settings.n_samples, settings.power, settings.clip or np.inf,
        settings.largest_change, *sector,
        exact, round(seconds, 1), energy.mean,
        energy.error, energy.variance, energy.n_distinct, trained.rollbacks,
        round(training_seconds, 1), provenance()["commit"],
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def keep(row: dict) -> None:
    """Into the table of all runs."""
    rows = []
    if RESULTS.exists():
        with RESULTS.open(newline="") as file:
            rows = list(csv.DictReader(file))
    own = {name: str(value) for name, value in row.items()}
    others = [old for old in rows if any(old[name] != own[name] for name in SAME)]
    with RESULTS.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows([*others, own])


def case(text: str) -> tuple[str, int, float]:
    """Kind, sites and U / Gamma, as argparse wants it."""
    kind, sites, ratio = text.split(":")
    if kind not in LEVELS:
        raise ValueError
    return kind, int(sites), float(ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", metavar="CASE", type=case, help="kind:sites:U/Gamma")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ansatz", choices=ANSATZE, default="nets")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--samples", type=int, dest="n_samples")
    parser.add_argument("--power", type=float)
    parser.add_argument("--clip", type=float)
    given = parser.parse_args()
    training = {
        k: v
        for k in ("steps", "n_samples", "power", "clip")
        if (v := getattr(given, k)) is not None
    }
    for kind, sites, ratio in given.cases:
        for seed in given.seeds:
            row = run(kind, sites, ratio, given.ansatz, seed, **training)
            keep(row)
            error = (row["energy"] - row["reference"]) / abs(row["reference"])
            bar = row["error_bar"] / abs(row["reference"])
            print(
                f"{kind}:{sites}:{ratio:g} {given.ansatz} seed {seed}: error {error:.1e} +- "
                f"{bar:.0e}, variance {row['variance']:.1e}, {row['seconds']:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()

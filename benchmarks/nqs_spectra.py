"""Operator Lanczos on neural ground states of half-filled Wilson chains beside exact ones.

OMP_NUM_THREADS=1 python benchmarks/nqs_spectra.py [CASE ...]      default: all

A case is ``kind:sites``: ``one:8`` (one orbital, sites count the impurity), ``two:8`` (two orbitals
of four sites each, J = U / 5). U / Gamma = 10, Gamma = 0.1 D, Lambda = 2; strings of depth 3 of one
orbital, 2 of two. Up to 12 sites the state is written out, and compared with exact
diagonalisation; beyond, spectra come from its draws, and are compared with those of DMRG. Relative
error of the energy; KL of the addition spectrum against that of the reference with the same
strings, each pole a Gaussian on a logarithmic axis of width .7 (broad) or .3 (narrow); relative
error of the first pole; largest relative error of Sigma(iw) for w >= 0.1 D; weight on the wrong
side of zero. CPU seconds of ground state and training.
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table
from scol import GAMMA, first_pole, half_filled, kl, sigma, timed

from dmftnet.models.nqs.ground_states import NeuralGroundStates
from dmftnet.physics.fermions.kanamori import DOWN, UP
from dmftnet.physics.solvers.scol.ground_states import ExactGroundStates
from dmftnet.physics.solvers.scol.impurity import ImpurityChains
from dmftnet.physics.solvers.scol.sets import Reach
from dmftnet.physics.solvers.scol.solver import orbital_poles
from dmftnet.physics.solvers.scol.tensor_states import TensorGroundStates

CASES = ("one:8", "one:10", "one:12", "one:16", "two:8")
ORBITALS = {"one": 1, "two": 2}
REACHES = {1: Reach(3, 1, 5), 2: Reach(2, 1, 5)}
RATIO, HUND = 10.0, 0.2
WRITTEN_OUT = 12
DRAWS = 100_000


def poles_on(chains: ImpurityChains, state, reach: Reach, repulsion: float):
    """Poles of both sides, and the weight on the wrong side of zero."""
    sets = [chains.string_set(0, spin, reach) for spin in (UP, DOWN)]
    found = orbital_poles([state], sets, 1e-10, repulsion)
    return found.poles, found.wrong_weight


def row(kind: str, n_sites: int) -> list[str]:
    """One impurity."""
    n_orb, U = ORBITALS[kind], RATIO * GAMMA
    problem = half_filled(n_orb, n_sites // n_orb - 1, U, HUND * U if n_orb > 1 else 0.0)
    reach, repulsion = REACHES[n_orb], -2 * float(problem.levels[0])
    is_small = n_sites <= WRITTEN_OUT
    exact = ExactGroundStates() if is_small else TensorGroundStates()
    neural = NeuralGroundStates(
        n_samples=None if is_small else DRAWS, max_determinants=1_000_000, progress_every=30.0
    )
    (chains, (reference,)), before = timed(exact.find, problem)
    (own_chains, (state,)), training = timed(neural.find, problem)
    (expected, _), (found, wrong) = (
        poles_on(basis, ground, reach, repulsion)
        for basis, ground in ((chains, reference), (own_chains, state))
    )
    off = np.abs(sigma(found, repulsion) / sigma(expected, repulsion) - 1).max()
    n_strings = len(chains.string_set(0, UP, reach).strings)
    return [
        f"{kind}:{n_sites}", "all" if is_small else f"{DRAWS:.0e}", str(n_strings),
        f"{(state.energy - reference.energy) / abs(reference.energy):.1e}",
        *kl(expected, found), f"{first_pole(found) / first_pole(expected) - 1:+.0e}",
        f"{off:.0e}", f"{wrong:.0e}", f"{before:.0f}", f"{training:.0f}",
    ]  # fmt: skip


def case(text: str) -> tuple[str, int]:
    """Kind and sites, as argparse wants it."""
    kind, sites = text.split(":")
    if kind not in ORBITALS:
        raise ValueError
    return kind, int(sites)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", type=case, help="kind:sites")
    table = Table(
        "case", "determinants", "strings", "energy", "broad", "narrow", "first pole", "Sigma(iw)",
        "wrong", "s reference", "s neural", title="neural ground states",
    )  # fmt: skip
    for kind, sites in parser.parse_args().cases or map(case, CASES):
        table.add_row(*row(kind, sites))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

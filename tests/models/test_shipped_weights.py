"""The solver in ``weights/``: from the data that ship, and in a closed loop beside exact ones."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from dmftnet.data.references import ReferenceStore
from dmftnet.models.network_solver import NetworkSolver
from dmftnet.physics.dmft import DMFTLoop
from dmftnet.physics.impurity import ImpurityProblem
from dmftnet.physics.lattice import Bethe
from dmftnet.physics.mixing import LinearMixing
from dmftnet.physics.observables import kl_divergence
from dmftnet.physics.starts import starting_hybridization
from dmftnet.provenance import sha256_of_all

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "weights"


@pytest.fixture(scope="module")
def solver():
    return NetworkSolver(WEIGHTS)


def test_it_was_trained_on_the_data_that_ship():
    record = yaml.safe_load((WEIGHTS / "model.yaml").read_text())
    files = [ROOT / "data" / name for name in record["data"]["file"].split(", ")]
    assert record["data"]["sha256"] == sha256_of_all(files)


@pytest.mark.parametrize(
    ("U", "start"), [(1.0, "metal"), (2.0, "insulator"), (2.6, "insulator"), (4.0, "metal")]
)
def test_its_loop_ends_where_the_exact_one_does(solver, U, start):
    """The limit is KL 3e-3; U = 2 from the insulator must become a metal, U = 4 must not."""
    lattice, grid = Bethe(), solver.grid
    exact = ReferenceStore.open(ROOT / "data" / "bethe_reference.h5").on(grid, solver.resolution)
    chosen = (exact.U == U) & exact.half_filled & (np.array(exact.start) == start)
    reference = exact.spectrum[chosen & (np.array(exact.kind) == "point")][0]
    begin = starting_hybridization(lattice, grid, U, -U / 2, start)
    loop = DMFTLoop(solver, lattice, LinearMixing(0.5), max_iterations=60)
    result = loop.run_one(ImpurityProblem(U, -U / 2, grid, begin))
    assert result.converged and not result.warning
    assert kl_divergence(grid, reference, result.solution.spectrum()[0]) < 3e-3

"""The networks in ``weights/self_energy``: their data, and closed loops beside exact ones."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml

from dmftnet.errors import DmftnetWarning
from dmftnet.evaluation.closure import LoopSettings, close_loops
from dmftnet.evaluation.exact_loops import load_references
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.provenance import sha256_of_all

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"


@pytest.fixture(scope="module")
def solver():
    return NetworkSolver("self_energy")


def loops(solver, file, chosen):
    """Closures of the chosen references, by lattice, U, shift and start."""
    references = load_references(DATA / file, solver.grid, solver.resolution, lattices=None)
    picked = [r for r in references if (r.lattice, r.U, round(r.shift, 6), r.start) in set(chosen)]
    assert len(picked) == len(chosen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DmftnetWarning)  # of first iterations, far from the data
        return close_loops(solver, picked, LoopSettings(max_iterations=100))


def test_they_were_trained_on_the_data_that_ship(solver):
    record = yaml.safe_load((ROOT / "weights" / "self_energy" / "model.yaml").read_text())
    files = [DATA / name for name in record["data"]["file"].split(", ")]
    assert record["data"]["sha256"] == sha256_of_all(files)
    assert record["smoothed"] == "self_energy" and isinstance(solver.model, Ensemble)
    assert set(solver.limits) == {"spread", "distance"}


def test_loops_on_the_bethe_lattice_end_where_the_exact_ones_do(solver):
    """Both phases at U = 2.6; U = 4 must become an insulator, U = 1 from one a metal."""
    chosen = [
        ("bethe", 1.0, 0.0, "insulator"),
        ("bethe", 2.0, 0.0, "metal"),
        ("bethe", 2.6, 0.0, "metal"),
        ("bethe", 2.6, 0.0, "insulator"),
        ("bethe", 4.0, 0.0, "metal"),
        ("bethe", 2.0, 0.6, "metal"),
    ]
    for closure in loops(solver, "bethe_reference.h5", chosen):
        exact = closure.reference
        assert closure.converged and closure.right_branch and closure.kl < 8e-3, closure.title
        assert "the last included" not in (closure.summary["warning"] or "")
        assert closure.Z_error < 0.1
        found = closure.summary["double_occupancy"]
        assert found == pytest.approx(exact.double_occupancy, rel=0.04)
        assert closure.summary["filling"] == pytest.approx(exact.filling, abs=0.005)


def test_loops_close_on_lattices_that_no_data_came_from(solver):
    """A cut-off logarithm and a Gaussian; one linear at the Fermi level must converge at all."""
    names = ("stacked_planes", "hypercubic", "pseudogap")
    for closure in loops(
        solver, "lattices_reference.h5", [(name, 2.0, 0.0, "metal") for name in names]
    ):
        exact, summary = closure.reference, closure.summary
        assert closure.converged and closure.kl < 2e-2, closure.title
        assert np.all(closure.self_energy.imag <= 0)
        assert summary["double_occupancy"] == pytest.approx(exact.double_occupancy, rel=0.04)
        if exact.lattice == "pseudogap":
            assert summary["A0"] < 0.1
        else:
            assert closure.right_branch

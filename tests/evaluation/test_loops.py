"""Closed loops beside exact ones: fillings, other lattices, hysteresis."""

from dataclasses import replace

import numpy as np
import pytest
import toy_files

from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.errors import DmftnetError
from dmftnet.evaluation.closure import LoopSettings, close_fillings, close_loops, closure_scalars
from dmftnet.evaluation.exact_loops import load_references
from dmftnet.evaluation.hysteresis import (
    BranchPath,
    HysteresisSettings,
    exact_paths,
    follow,
)
from dmftnet.physics.analysis.self_energy import dyson_spectrum
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.impurity.solutions import CurveSolution
from dmftnet.physics.lattices.bethe import semicircle

GRID = FrequencyGrid.geometric(1e-2, 8.0, 200)
SETTINGS = LoopSettings(1e-4, 40)


class Hartree(Solver):
    """Sigma = U n / 2 with the half-filled n: exact at U = 0, a metal at any U."""

    name = "hartree"

    def solve(self, problem):
        sigma = np.full((1, problem.grid.n_w), problem.U / 2, dtype=complex)
        A = dyson_spectrum(problem, sigma)
        return CurveSolution(problem, A / problem.grid.integrate(A)[:, None])


class Hysteretic(Solver):
    """A metal below U = 3 that stays one if its input is one, an insulator above U = 2 likewise."""

    name = "hysteretic"

    def solve(self, problem):
        grid = problem.grid
        was_metal = grid.at_zero(problem.spectrum[0]) > 0.05
        metal = problem.U < 2 or (was_metal and problem.U < 3)
        if metal:
            A = semicircle(grid, 0.0, 1.0, 1.0)
        else:
            A = semicircle(grid, -1.5, 1.0, 0.5) + semicircle(grid, 1.5, 1.0, 0.5)
        return CurveSolution(problem, A[None] / grid.integrate(A))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return toy_files.make_references(tmp_path_factory.mktemp("references") / "toy.h5")


def test_references_are_chosen_by_kind_and_lattice(path):
    points = load_references(path, GRID, (0.02, 0.05))
    assert {r.kind for r in points} == {"point"} and {r.lattice for r in points} == {"bethe"}
    everywhere = load_references(path, GRID, (0.02, 0.05), lattices=None)
    assert [r.lattice for r in everywhere].count("square") == 1
    converged = ReferenceStore.open(path)["converged"].sum()
    kinds = ("point", "path", "filling")
    assert len(load_references(path, GRID, (0.02, 0.05), kinds, None)) == converged
    every = load_references(path, GRID, (0.02, 0.05), kinds, None, only_converged=False)
    assert len(every) == len(ReferenceStore.open(path))


def test_what_the_resolution_leaves_of_an_exact_answer(path):
    reference = load_references(path, GRID, (0.02, 0.05))[0]
    Z, clipped = reference.resolved
    assert 0 <= Z <= 1 and 0 <= clipped < 1
    bands = reference.spectrum * (np.abs(reference.grid.omega) > 0.3)
    assert replace(reference, spectrum=bands).resolved[0] == 0  # judged by the gap


def test_each_reference_is_closed_on_its_own_lattice(path):
    references = load_references(path, GRID, (0.02, 0.05), lattices=None)
    closures = close_loops(Hartree(), references, SETTINGS)
    assert [c.reference for c in closures] == references
    assert [c.summary["lattice"] for c in closures] == [r.lattice for r in references]
    square = next(c for c in closures if c.reference.lattice == "square")
    assert square.right_branch
    numbers = square.numbers()
    assert numbers["lattice"] == "square" and numbers["branch"] == numbers["branch_exact"]
    scalars = closure_scalars(closures)
    assert scalars["right_branch"] == np.mean([c.right_branch for c in closures])


def test_a_filling_is_searched_and_the_exact_level_taken(path):
    references = load_references(path, GRID, (0.02, 0.05), kinds=("filling",))
    assert [r.target for r in references] == [1.0]
    reference = replace(references[0], target=0.85)
    own, same = close_fillings(Hartree(), [reference], SETTINGS)[0]
    assert own.converged and same.converged
    assert own.summary["filling"] == pytest.approx(reference.target, abs=1e-3)
    assert same.summary["eps_d"] == pytest.approx(reference.eps_d)
    assert own.summary["eps_d"] != same.summary["eps_d"]


def settings(**changes):
    U = {"metal": [1.0, 2.0, 2.5, 2.9, 3.1, 3.5], "insulator": [4.0, 3.0, 2.5, 2.1, 1.9, 1.0]}
    return HysteresisSettings(**{**U, "loop": SETTINGS, **changes})


@pytest.mark.parametrize(("branch", "critical"), [("metal", 3.0), ("insulator", 2.0)])
def test_a_branch_is_followed_to_its_end(branch, critical):
    path = follow(Hysteretic(), GRID, branch, settings())
    assert path.critical == pytest.approx(critical)
    assert path.numbers()["critical_U_error"] == pytest.approx(0.1)
    assert path.on.tolist() == [True] * 4 + [False]
    assert path.U.tolist() == list(getattr(settings(), branch))[:5]
    assert path.drawn().critical == path.critical


def test_a_branch_without_an_end_has_no_critical_U():
    path = follow(Hysteretic(), GRID, "metal", settings(metal=[0.5, 1.0, 1.5]))
    assert path.critical is None and path.on.all()
    assert path.numbers()["critical_U"] is None


@pytest.mark.parametrize(
    "changes", [{"metal": [2.0, 1.0]}, {"insulator": [1.0, 2.0]}, {"metal": [1.0]}]
)
def test_paths_in_the_wrong_order_are_refused(changes):
    with pytest.raises(DmftnetError, match="hysteresis"):
        settings(**changes)


def test_the_exact_branches_come_from_paths_and_points(path):
    paths = exact_paths(ReferenceStore.open(path))
    assert set(paths) == {"metal"}  # Hartree has no insulator
    metal = paths["metal"]
    assert isinstance(metal, BranchPath) and metal.bracket is None
    assert metal.U.tolist() == [0.5, 1.0] and metal.on.all()
    assert metal.pinned == pytest.approx([1.0, 1.0], abs=0.01)

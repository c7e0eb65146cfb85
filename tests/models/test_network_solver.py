"""The network behind the solver contract: batches, grids, symmetry, errors."""

import copy

import numpy as np
import pytest
import torch
from synthetic import ANGLES

from dmftnet.errors import DmftnetError, InvalidProblemError, SettingError
from dmftnet.models.solvers import backend
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.training.checkpoint import build_model, save_model
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver

GRID = {"w_min": 0.02, "w_max": 6.0, "n_w": 96}  # closer than 1.5 widths of the resolution
RESOLUTION = (0.02, 0.1)
MODEL = {"_target_": "dmftnet.models.networks.crossquery.CrossQuery", "width": 8, "n_heads": 2}
HEAD = {"_target_": "dmftnet.models.networks.heads.RotatedHead"}


@pytest.fixture(scope="module")
def solver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(1)
    record = {
        "model": MODEL,
        "head": HEAD,
        "grid": GRID,
        "angles": list(ANGLES),
        "resolution": list(RESOLUTION),
        "ranges": {"U": [0.0, 3.0], "shift": [0.0, 0.5]},
    }
    save_model(folder, build_model(MODEL, HEAD, GRID, ANGLES, RESOLUTION), record)
    return NetworkSolver(folder)


def problem(grid, U=2.0, eps_d=-0.8):
    return ImpurityProblem.on_grid(
        U, eps_d, grid, 0.25 * np.exp(-((grid.omega - 0.2) ** 2)) / np.sqrt(np.pi)
    )


def test_contract(solver):
    assert isinstance(solver, ImpuritySolver)
    assert solver.name == "network" and solver.grid == FrequencyGrid.geometric(**GRID)
    solution = solver.solve(problem(solver.grid))
    assert isinstance(solution, ImpuritySolution)
    A = solution.spectrum()
    assert A.dtype == np.float64 and A.shape == (1, solver.grid.n_w) and np.all(A >= 0)
    assert solver.grid.integrate(A)[0] == pytest.approx(1, abs=1e-12)
    assert np.all(solution.self_energy().imag <= 0)
    assert solution.greens is None and solution.diagnostics["extrapolating"] is False


def test_batch_equals_single_solves(solver):
    """Float32 sums in another order: 1e-5."""
    problems = [problem(solver.grid, U, -U / 2) for U in (0.0, 1.0, 3.0)]
    for one, other in zip(map(solver.solve, problems), solver.solve_batch(problems), strict=True):
        np.testing.assert_allclose(one.curve, other.curve, rtol=1e-5, atol=1e-7)
    assert solver.solve_batch([]) == []


def test_particle_hole(solver):
    given = problem(solver.grid)
    A = solver.solve(given).spectrum()
    B = solver.solve(given.particle_hole()).spectrum()
    np.testing.assert_allclose(A, B[:, ::-1], rtol=1e-5, atol=1e-6)


def test_other_grids_are_projected_and_answered_on_their_own(solver):
    """The answer on a finer grid is the network's own, up to interpolation: 5 %."""
    fine = FrequencyGrid.geometric(5e-3, 7.0, 300)
    solution = solver.solve(problem(fine))
    assert solution.curve.shape == (1, 300)
    assert fine.integrate(solution.curve)[0] == pytest.approx(1, abs=1e-12)
    own = solver.solve(problem(solver.grid)).curve[0]
    difference = np.abs(fine.interpolate(solution.curve[0], solver.grid.omega) - own)
    inside = np.abs(solver.grid.omega) < 5  # the network's grid ends at 6
    assert solver.grid.integrate(difference * inside) < 0.05


def test_extrapolation_is_reported(solver):
    outside = [problem(solver.grid, U=3.5, eps_d=-1.75), problem(solver.grid, U=2.0, eps_d=0.5)]
    assert all(s.diagnostics["extrapolating"] for s in solver.solve_batch(outside))


def test_several_orbitals_are_refused(solver):
    hybridization = np.full((2, solver.grid.n_w), 0.1)
    two = ImpurityProblem.on_grid(1.0, [-0.5, -0.5], solver.grid, hybridization)
    with pytest.raises(InvalidProblemError, match="one orbital"):
        solver.solve(two)


def test_solver_around_a_model_in_memory():
    model = build_model(MODEL, HEAD, GRID, ANGLES, RESOLUTION).eval()
    solver = NetworkSolver.from_model(model, RESOLUTION)
    solution = solver.solve(problem(solver.grid))
    assert solution.diagnostics["checkpoint"] == "model in training"


def test_sharpening_is_an_option_and_checked(solver):
    """Without it the answer is the network's own curve; a negative number is refused."""
    plain = NetworkSolver.from_model(solver.model, RESOLUTION, sharpening=0)
    given = problem(solver.grid)
    own = solver.model.real_axis(
        torch.tensor(given.spectrum, dtype=torch.float32),
        torch.tensor([[given.U, given.eps_d[0]]], dtype=torch.float32),
    )
    np.testing.assert_allclose(plain.solve(given).curve, own.detach().numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(DmftnetError, match="sharpening = -1"):
        NetworkSolver.from_model(solver.model, RESOLUTION, sharpening=-1)


def test_the_identity_follows_weights_and_settings(solver):
    """Equal weights, equal identity; one changed number or another sharpening, another."""
    same = NetworkSolver.from_model(solver.model, RESOLUTION, sharpening=solver.sharpening)
    assert same.identity == solver.identity
    other = NetworkSolver.from_model(solver.model, RESOLUTION, sharpening=1)
    changed = copy.deepcopy(solver.model)
    next(iter(changed.parameters())).data.flatten()[0] += 1.0
    third = NetworkSolver.from_model(changed, RESOLUTION, sharpening=solver.sharpening)
    assert len({solver.identity, other.identity, third.identity}) == 3


def test_a_backend_that_is_not_there_is_an_error_and_auto_takes_torch(solver, monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"onnx and onnxruntime cannot be imported; run pip"):
        backend.with_backend(solver.model, "onnx")
    for asked in ("auto", "torch"):
        assert backend.with_backend(solver.model, asked) == (solver.model, "torch")
    with pytest.raises(SettingError, match=r"solver\.backend"):
        backend.with_backend(solver.model, "tensorflow")


def test_the_backend_is_told(solver):
    assert solver.solve(problem(solver.grid)).diagnostics["backend"] == solver.backend
    trained = NetworkSolver.from_model(solver.model, RESOLUTION)
    assert trained.backend == "torch"

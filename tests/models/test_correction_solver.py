"""A correction as a solver: exact laws, and limits.

The contract suite (`physics.contract`) has it too. Nothing here depends on what it has learned.
"""

import warnings

import numpy as np
import pytest
import torch
from toy_correction import (
    BETA,
    CASES,
    ENERGIES,
    RANGES,
    WEIGHTS,
    toy_arrays,
    toy_ensemble,
    toy_model,
    toy_problem,
    toy_solver,
)
from toy_thermal import ACCURACY, SIZE

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import DmftnetWarning
from dmftnet.models.correction.answers import measured, project
from dmftnet.models.correction.model import as_problems
from dmftnet.models.correction.trust import FeatureDistance, nearest
from dmftnet.models.solvers.correction_inputs import ScaledProblems, inputs_of, unit_of
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.grids.matsubara import ImaginaryAxis, thermal_tau
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.embedded import EmbeddedSolver
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.perturbative.ipt import IptSolver


@pytest.fixture(scope="module", params=["single", "wild", "ensemble"], name="solver")
def _solver(request):
    made = {"single": toy_solver, "wild": lambda: toy_solver("wild"), "ensemble": toy_ensemble}
    return made[request.param]()


# --- laws that hold whatever was learned ----------------------------------------------------------


@pytest.mark.parametrize("case", range(len(CASES)))
def test_norm_boundary_and_causality_are_exact(solver, case):
    solution = solver.solve(CASES[case])
    beta, axis = solution.problem.beta, solution.axis
    ends = solution.greens_tau(np.array([0.0, beta]))[0]
    assert ends.sum() == pytest.approx(-1, abs=1e-8)
    assert -2 * ends[1] == pytest.approx(solution.filling, abs=1e-12)
    sigma, greens = solution.matsubara_self_energy()[0], solution.matsubara_greens()[0]
    assert sigma.imag.max() <= 0 and greens.imag.max() < 0
    curve = -solution.greens_tau(np.linspace(0, beta, 201))[0]
    assert curve.min() > 0 and np.diff(curve, 2).min() > -1e-8
    z, U, n = 1j * axis.omega_n[-1], solution.problem.U, solution.filling / 2
    assert sigma[-1].real == pytest.approx(U * n, abs=1e-3)
    assert (z * (sigma[-1] - U * n)).real == pytest.approx(U**2 * n * (1 - n), rel=1e-2)


def test_the_projection_has_work_to_do():
    """Else the tests here would prove little: of a positive measure Re q lies between 0 and 1."""
    model, problems = toy_model(0, "wild"), as_problems(toy_arrays(12, 5))
    with torch.no_grad():
        q = model.outputs(problems).q
        projected = measured(model, problems, project(model, problems, q)).real
    assert q.real.max() > 1.01
    assert projected.max() <= 1 and projected.min() >= 0


def test_the_unit_of_energy_means_nothing(solver):
    """The same problem in other units, on its axis in these: the same answer, scaled."""
    for scale in (0.037, 27.2):
        one, other = solver.solve(toy_problem()), solver.solve(toy_problem(scale=scale))
        for here, there, power in (
            (one.matsubara_greens(), other.matsubara_greens(), 1),
            (one.matsubara_self_energy(), other.matsubara_self_energy(), -1),
        ):
            size = np.abs(here).max()
            np.testing.assert_allclose(there * scale**power, here, rtol=0, atol=1e-7 * size)
        assert other.filling == pytest.approx(one.filling, abs=1e-8)
        assert other.double_occupancy == pytest.approx(one.double_occupancy, abs=1e-8)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_mirrored_problem_has_the_mirrored_answer(solver, case):
    """``n -> 2 - n``, ``Sigma -> U - Sigma^*``, ``d -> d + 1 - n``."""
    one, mirror = (solver.solve(p) for p in (CASES[case], CASES[case].particle_hole()))
    assert one.filling + mirror.filling == pytest.approx(2, abs=1e-6)
    expected = one.problem.U - one.matsubara_self_energy().conj()
    np.testing.assert_allclose(mirror.matsubara_self_energy(), expected, rtol=0, atol=1e-5)
    double = one.double_occupancy + 1 - one.filling
    assert mirror.double_occupancy == pytest.approx(double, abs=1e-6)


def test_at_half_filling_it_is_half_filled(solver):
    axis = ImaginaryAxis(BETA)
    z = 1j * axis.omega_n
    delta = 0.125 / (z - 0.5) + 0.125 / (z + 0.5)
    bath = MatsubaraHybridization(axis, delta[None])
    solution = solver.solve(ImpurityProblem([-1.0], Interaction(2.0), bath, BETA))
    assert solution.filling == pytest.approx(1, abs=1e-8)  # G(beta) on the axis


@pytest.mark.parametrize("eps_d", [-0.4, 0.0, 0.3])
def test_without_interaction_it_is_exact(solver, eps_d):
    """G of four levels in closed form."""
    solution = solver.solve(toy_problem(0.0, eps_d))
    matrix = np.diag(np.concatenate([[eps_d], ENERGIES]))
    matrix[0, 1:] = matrix[1:, 0] = np.sqrt(WEIGHTS)
    poles, vectors = np.linalg.eigh(matrix)
    tau = np.linspace(0, BETA, 41)
    expected = thermal_tau(poles, vectors[0] ** 2, tau, BETA)
    np.testing.assert_allclose(solution.greens_tau(tau)[0], expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(solution.matsubara_self_energy(), 0, rtol=0, atol=1e-12)
    assert solution.double_occupancy == pytest.approx((solution.filling / 2) ** 2, abs=1e-7)


@pytest.mark.parametrize("strength", [0.0, 1e-12])
def test_without_a_bath_it_is_the_atom(solver, strength):
    """Levels at eps_d and eps_d + U, weights ``1 - n/2`` and ``n/2``, by Boltzmann factors."""
    U, eps_d = 2.0, -0.8
    solution = solver.solve(toy_problem(U, eps_d, strength=strength))
    levels = np.array([0.0, eps_d, eps_d, 2 * eps_d + U])
    boltzmann = np.exp(-BETA * (levels - levels.min()))
    share = boltzmann / boltzmann.sum()
    n = share[1] + share[3]  # of one spin
    z = 1j * solution.axis.omega_n
    exact = (1 - n) / (z - eps_d) + n / (z - eps_d - U)
    np.testing.assert_allclose(solution.matsubara_greens()[0], exact, rtol=0, atol=1e-7)
    assert solution.double_occupancy == pytest.approx(share[3], abs=1e-8)
    assert solution.diagnostics["warning"] == ""


def test_a_batch_is_its_problems(solver):
    """Mixed temperatures, an atom among them; float32 sums of the network depend on the batch."""
    problems = [CASES[0], toy_problem(strength=0.0), *CASES[1:]]
    together = solver.solve_batch(problems)
    assert [s.problem for s in together] == problems and solver.solve_batch([]) == []
    for one, other in zip(map(solver.solve, problems), together, strict=True):
        for ask in ("matsubara_greens", "matsubara_self_energy"):
            here, there = getattr(one, ask)(), getattr(other, ask)()
            np.testing.assert_allclose(here, there, rtol=0, atol=1e-5 * np.abs(here).max())


def test_a_plain_network_answers_too():
    """G by interpolation, Sigma by Dyson's equation; its norm is its own."""
    solver = toy_solver("plain")
    solution = solver.solve(CASES[0])
    assert np.isfinite(solution.matsubara_greens()).all()
    z, known = 1j * solution.axis.omega_n, solution.problem.hybridization.values
    free = z - solution.problem.eps_d[:, None] - known
    inverse = free - solution.matsubara_self_energy()
    np.testing.assert_allclose(1 / inverse, solution.matsubara_greens(), rtol=1e-9)


def test_levels_are_read_as_in_training():
    """Approximations see a bath of levels at Matsubara frequencies, as the databases do."""
    solver, given = toy_solver(), toy_problem()
    levels = given.moved(PoleHybridization(ENERGIES, np.sqrt(WEIGHTS)[:, None]))
    one, other = solver.solve(given), solver.solve(levels)
    assert other.filling == pytest.approx(one.filling, abs=1e-7)
    assert other.double_occupancy == pytest.approx(one.double_occupancy, abs=1e-7)


# --- limits ---------------------------------------------------------------------------------------


def test_within_the_limits_nothing_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnostics = toy_ensemble(ranges=RANGES).solve(toy_problem(2.0, -0.9)).diagnostics
    assert diagnostics["warning"] == "" and diagnostics["extrapolating"] is False
    assert diagnostics["spread"] > 0 and diagnostics["distance"] > 0


@pytest.mark.parametrize(
    ("limits", "given", "words"),
    [
        (1e9, toy_problem(5.0, -2.5), "U = 5 outside 1 to 3"),
        (1e9, toy_problem(2.0, 0.2), "shift = 1.2 outside 0 to 0.3"),
        (1e9, toy_problem(beta=40.0), "beta = 40 outside 5 to 20"),
        (0.0, toy_problem(2.0, -0.9), r"spread .* beyond 0.00e\+00"),
    ],
)
def test_beyond_the_limits_it_warns_in_one_line(limits, given, words):
    with pytest.warns(DmftnetWarning, match=rf"^correction 'toy' beyond its limits at .*{words}"):
        solution = toy_ensemble(limits, RANGES).solve(given)
    assert "\n" not in solution.diagnostics["warning"]
    assert solution.diagnostics["extrapolating"] is (limits > 0)


def test_limits_are_in_units_of_the_problems_own_bandwidth():
    """U = 50 with D = 20 is U / D = 2.5."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        toy_ensemble(ranges=RANGES).solve(toy_problem(2.5, -1.25, scale=20.0))


def test_the_distance_is_nought_at_a_training_sample_and_its_mirror_image():
    model, arrays = toy_model(), toy_arrays()
    distance = FeatureDistance.fit(model, arrays)
    for known in (arrays, arrays.particle_hole()):
        assert distance(model, as_problems(known)).max() < 1e-2
    others = toy_arrays(12, 7)
    away, mirrored = (distance(model, as_problems(a)) for a in (others, others.particle_hole()))
    assert away.min() > 0.05
    np.testing.assert_allclose(mirrored, away, rtol=1e-5)  # points are float32


@pytest.mark.parametrize("spread", [1e-7, 1.0])
def test_the_nearest_point_is_found_in_double_precision(spread):
    """Also among points that single precision cannot tell apart."""
    rng = np.random.default_rng(3)
    points = (5 + spread * rng.normal(size=(400, 6))).astype(np.float32)
    places = 5 + spread * rng.normal(size=(9, 6))
    away = np.linalg.norm(places[:, None] - points.astype(np.float64), axis=-1).min(axis=1)
    found = nearest(places, np.ascontiguousarray(points.T), points)
    np.testing.assert_allclose(found, away, rtol=1e-12)


def test_what_is_solved_within_another_approximation_is_not_solved_again(monkeypatch):
    """Levels within perturbation theory, and the levels alone: one diagonalisation for both."""
    strong, calls = EdSolver(fit=MatsubaraFit(1)), []
    solve = EdSolver.solve
    monkeypatch.setattr(EdSolver, "solve", lambda *given: calls.append(1) or solve(*given))
    measure = SelfEnergyMeasure(SIZE, ACCURACY)
    units = [unit_of(problem.hybridization, measure) for problem in CASES]
    scaled = ScaledProblems.of(CASES, units, measure)
    embedded = EmbeddedSolver(EdSolver(fit=MatsubaraFit(1)), IptSolver())
    found = inputs_of(scaled, {"few": strong, "embedded": embedded})
    assert len(calls) == len(CASES)
    alone = [inputs_of(scaled, {"one": each}) for each in (strong, embedded)]
    for name in (Batch.SELF_ENERGIES, Batch.DENSITIES):
        np.testing.assert_array_equal(found[name][:, 0], alone[0][name][:, 0])
        np.testing.assert_array_equal(found[name][:, 1], alone[1][name][:, 0])
    other = EdSolver(fit=MatsubaraFit(2))
    calls.clear()
    inputs_of(scaled, {"other": other, "embedded": embedded})
    assert len(calls) == 2 * len(CASES)

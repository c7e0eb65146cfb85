"""Corrections of degenerate orbitals: on impurities whose answer is known, and as a solver."""

import numpy as np
import pytest
import torch
from physics.kanamori import Kanamori
from scipy.special import expit
from toy_correction import AXIS, NETWORK, PLAIN, SOLVERS, toy_record
from toy_correction import toy_model as one_orbital_model
from toy_kanamori import (
    INPUTS,
    N_ORB,
    answered,
    poles_of,
    random_case,
    toy_arrays,
    toy_ensemble,
    toy_model,
    toy_solver,
)
from toy_thermal import ACCURACY, SIZE, pole_sum

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import DmftnetError, InvalidProblemError, SettingError
from dmftnet.models.correction.answers import answers, errors
from dmftnet.models.correction.checkpoint import build_correction, load_correction, save_correction
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import as_problems
from dmftnet.models.correction.module import CorrectionLoss
from dmftnet.models.correction.scoring import approximation_errors
from dmftnet.models.correction.thermal import ThermalDyson, mirrored
from dmftnet.physics.grids.matsubara import ImaginaryAxis, thermal_tau
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem

ON_AXIS = 2e-6
"""Of G(tau) by an axis of accuracy 1e-7."""


@pytest.fixture(scope="module")
def problems():
    return as_problems(toy_arrays(20, 7))


@pytest.fixture(scope="module")
def dyson():
    return ThermalDyson(SIZE, ACCURACY)


# --- Dyson's equation with a strength --------------------------------------------------------


def test_green_functions_are_those_of_a_star(problems, dyson):
    """Density, G(tau) and tails, against the eigenvalues of one matrix."""
    n, S = problems[Batch.DENSITY], problems[Batch.STRENGTH]
    q = dyson.reduced(problems, problems[Batch.SELF_ENERGY], n, S)
    answer = dyson(problems, q, S)
    assert (answer.density - n).abs().max() < ON_AXIS
    rng = np.random.default_rng(7)
    tau = dyson.tau.numpy()
    curves = dyson.greens_tau(answer.greens, problems[Batch.BETA]).numpy()
    for i in range(len(n)):
        exact = answered(random_case(rng), 1.0)
        poles, weights = poles_of(exact, float(n[i]))
        assert weights @ expit(-exact["beta"] * poles) == pytest.approx(float(n[i]), abs=1e-12)
        greens = thermal_tau(poles, weights, tau * exact["beta"], exact["beta"])
        assert np.abs(curves[i] - greens).max() < ON_AXIS


def test_tails_are_those_of_the_strength_that_is_given(problems, dyson):
    high = {**problems, Batch.BETA: torch.full_like(problems[Batch.BETA], 1e-4)}
    z, n = dyson.frequencies(high[Batch.BETA]), problems[Batch.DENSITY]
    S = 0.7 * problems[Batch.STRENGTH]
    sigma = dyson.self_energy(high, torch.ones_like(z), n, S)
    first = problems[Batch.MEAN_FIELD] * n
    assert torch.allclose(z * (sigma - first[:, None]), (S * n * (1 - n))[:, None] + 0 * z)


def test_the_gradient_of_the_density_by_the_strength_is_that_of_differences(problems, dyson):
    q = dyson.reduced(
        problems, problems[Batch.SELF_ENERGY], problems[Batch.DENSITY], problems[Batch.STRENGTH]
    )
    S = problems[Batch.STRENGTH].clone().requires_grad_()
    dyson.consistent_density(problems, q, S).sum().backward()
    step = 1e-4
    up, down = (
        dyson.consistent_density(problems, q, problems[Batch.STRENGTH] + sign * step)
        for sign in (1, -1)
    )
    expected = (up - down) / (2 * step)
    assert expected.abs().max() > 1e-3
    assert torch.allclose(S.grad, expected, rtol=1e-4, atol=1e-7)


# --- the model -------------------------------------------------------------------------------


def test_it_learns_curves_strengths_and_double_occupancies():
    """On impurities that it has not seen."""
    model, arrays = toy_model(), toy_arrays(20, 7)
    alone = approximation_errors(model, arrays)["ed1"]
    assert np.median(errors(model, arrays)) < 0.4 * np.median(alone)
    known = as_problems(arrays)
    with torch.no_grad():
        found = model.outputs(known)
    scalars = model.missing_scalars(known)
    strength = torch.log(known[Batch.STRENGTH] / found.strength)
    assert strength.abs().median() < 0.4 * scalars[:, 0].abs().median()
    double = known[Batch.DENSITY] ** 2 + found.correlation - known[Batch.DOUBLE_OCCUPANCY]
    assert double.abs().median() < 0.4 * scalars[:, 1].abs().median()


def test_a_mirrored_problem_has_the_mirrored_answer(problems):
    model = toy_model()
    with torch.no_grad():
        here, there = model.outputs(problems), model.outputs(mirrored(problems))
        ours, theirs = model(problems), model(mirrored(problems))
    assert torch.allclose(here.q, there.q.conj(), rtol=0, atol=1e-10)
    assert torch.allclose(here.strength, there.strength, rtol=1e-10)
    assert torch.allclose(here.correlation, there.correlation, rtol=0, atol=1e-12)
    assert torch.allclose(ours.density, 1 - theirs.density, rtol=0, atol=1e-9)


def test_mirrored_arrays_are_mirrored_problems():
    arrays = toy_arrays()
    images = mirrored(as_problems(arrays))
    expected = as_problems(arrays.particle_hole())
    assert images.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.allclose(images[name], values, rtol=0, atol=1e-13), name


@pytest.mark.parametrize("size", [1.0, 40.0])
def test_answers_are_causal_whatever_is_put_out(problems, size):
    model = toy_model(0, size)
    measures, answer = answers(model, problems)
    assert measures.min() >= 0 and np.allclose(measures.sum(axis=1), 1)
    assert (model.outputs(problems).strength > 0).all()
    assert (answer.sigma.imag <= 0).all() and (answer.greens.imag < 0).all()
    curves = model.dyson.greens_tau(answer.greens, problems[Batch.BETA])
    assert (curves[:, 0] + curves[:, -1] + 1).abs().max() < ON_AXIS
    assert (curves[:, -1] + answer.density).abs().max() < ON_AXIS


def test_the_loss_counts_double_occupancies():
    batch = as_problems(toy_arrays())
    model = toy_model()
    with torch.no_grad():
        answer = model(batch)
        without, with_them = (CorrectionLoss(doubles=w)(model, batch, answer) for w in (0, 0.5))
    assert with_them["doubles"] == without["doubles"] > 0
    more = 0.5 * with_them["doubles"] / 1e-3
    assert with_them["loss"] - without["loss"] == pytest.approx(more.item(), rel=1e-9)


def test_a_folder_holds_the_number_of_orbitals(tmp_path, problems):
    save_correction(tmp_path, toy_model(), toy_record(inputs=list(INPUTS), n_orb=N_ORB, solvers={}))
    with pytest.raises(DmftnetError, match="names no solver"):
        load_correction(tmp_path)
    record = toy_record(inputs=list(INPUTS), n_orb=N_ORB, solvers={"ed1": SOLVERS["ipt"]})
    save_correction(tmp_path / "again", toy_model(), record)
    model = load_correction(tmp_path / "again")
    assert model.n_orb == N_ORB
    with torch.no_grad():
        for ours, theirs in zip(
            toy_model().outputs(problems)[:3], model.outputs(problems)[:3], strict=True
        ):
            assert torch.equal(ours, theirs)


def test_members_have_as_many_orbitals():
    with pytest.raises(DmftnetError, match="read different approximations"):
        CorrectionEnsemble([toy_model(), one_orbital_model()])


def test_a_network_of_g_itself_treats_one_orbital():
    with pytest.raises(SettingError, match="treats one orbital, the data have 2"):
        build_correction(PLAIN, INPUTS, SIZE, ACCURACY, N_ORB)


def test_a_model_of_one_orbital_has_no_scalars():
    assert one_orbital_model().components.shape[1] + 2 == toy_model().components.shape[1]
    assert build_correction(NETWORK, ["ed1"], SIZE, ACCURACY).n_features < toy_model().n_features


# --- the solver ------------------------------------------------------------------------------

BETA = 12.0
UNIVERSAL = ImaginaryAxis.universal(BETA, SIZE, ACCURACY)
HUND = Interaction(2.0, 0.5)


def impurity(eps_d=-1.2, interaction=HUND, strength=0.25, axis=UNIVERSAL, rows=(1.0, 1.0)):
    z = 1j * axis.omega_n
    band = strength * pole_sum(np.array([-0.6, 0.1, 0.8]), np.array([0.3, 0.3, 0.4]), z)
    bath = MatsubaraHybridization(axis, np.array(rows)[:, None] * band)
    return ImpurityProblem(np.full(len(rows), eps_d), interaction, bath, BETA)


@pytest.fixture(scope="module", params=["one", "wild", "ensemble"])
def solver(request):
    made = {"one": toy_solver, "wild": lambda: toy_solver(40.0), "ensemble": toy_ensemble}
    return made[request.param]()


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            impurity(rows=(1.0,), interaction=Interaction(2.0)),
            "takes 2 orbitals or more, the problem has 1",
        ),
        (impurity(rows=(1.0, 1.0, 1.0)), "treats up to 2 orbitals, the problem has 3"),
        (impurity(rows=(1.0, 1.1)), "takes degenerate orbitals"),
        (impurity(eps_d=np.array([-1.2, -1.0])), "takes degenerate orbitals"),
        (impurity(interaction=Interaction(2.0, 0.5, spin_flip=False)), "rotationally invariant"),
    ],
)
def test_what_it_was_not_trained_for_is_refused_in_one_line(problem, words):
    with pytest.raises(InvalidProblemError, match=words) as caught:
        toy_solver().solve(problem)
    assert "\n" not in str(caught.value) and "solver 'correction'" in str(caught.value)


def test_answers_obey_the_laws(solver):
    problem = impurity()
    solution = solver.solve_batch([problem])[0]
    tau = np.linspace(0, BETA, 60)
    curves = solution.greens_tau(tau)
    assert np.array_equal(curves[0], curves[1])
    assert np.abs(curves[:, 0] + curves[:, -1] + 1).max() < ON_AXIS
    assert np.diff(-curves[0], 2).min() > -ON_AXIS
    sigma = solution.matsubara_self_energy()[0]
    assert sigma.imag.max() <= 0
    n = solution.filling / 4
    end = HUND.mean_field(2) * n
    assert sigma.real[-1] == pytest.approx(end, abs=1e-2)
    assert 0 <= solution.double_occupancy <= n + ON_AXIS


def test_the_unit_of_energy_means_nothing(solver):
    problem, factor = impurity(), 2.5
    axis = ImaginaryAxis.universal(BETA / factor, SIZE, ACCURACY)
    values = factor * problem.hybridization.values
    wide = ImpurityProblem(
        factor * problem.eps_d,
        Interaction(2.0 * factor, 0.5 * factor),
        MatsubaraHybridization(axis, values),
        BETA / factor,
    )
    one, other = (solver.solve_batch([p])[0] for p in (problem, wide))
    away = factor * one.matsubara_self_energy() - other.matsubara_self_energy()
    assert np.abs(away).max() < 1e-6
    assert one.double_occupancy == pytest.approx(other.double_occupancy, abs=1e-6)


def test_at_half_filling_it_is_half_filled(solver):
    z = 1j * UNIVERSAL.omega_n
    band = 0.125 * pole_sum(np.array([-0.5, 0.5]), np.ones(2), z)
    bath = MatsubaraHybridization(UNIVERSAL, np.tile(band, (2, 1)))
    problem = ImpurityProblem(np.full(2, HUND.half_filling(2)), HUND, bath, BETA)
    assert solver.solve_batch([problem])[0].filling == pytest.approx(2.0, abs=ON_AXIS)


@pytest.mark.parametrize("eps_d", [-0.3, 0.0, 0.4])
def test_without_interaction_it_is_exact(solver, eps_d):
    problem = impurity(eps_d, Interaction(0.0))
    z = 1j * UNIVERSAL.omega_n
    expected = 1 / (z - eps_d - problem.hybridization.values)
    found = solver.solve_batch([problem])[0].matsubara_greens()
    assert np.abs(found - expected).max() < 1e-10


def atom(eps_d, interaction, z):
    """G and <n_up n_dn> of one orbital without a bath, by Lehmann's sum over all 16 states."""
    cluster = Kanamori([eps_d] * 2, interaction.U, interaction.J, [((), ())] * 2)
    levels, states = np.linalg.eigh(cluster.H.toarray())
    factors = np.exp(-BETA * (levels - levels[0]))
    factors /= factors.sum()
    up, down = cluster.d[0]
    d = states.T @ up @ states
    weights = d**2 * (factors[:, None] + factors)
    gaps = levels - levels[:, None]
    greens = (weights / (z[:, None, None] - gaps)).sum((1, 2))
    pairs = (up.T @ up @ down.T @ down).diagonal()
    return greens, float((states**2 * factors).sum(1) @ pairs)


@pytest.mark.parametrize("strength", [0.0, 1e-13])
def test_without_a_bath_it_is_the_atom(solver, strength):
    problem = impurity(strength=strength)
    found = solver.solve_batch([problem, impurity()])[0]
    greens, double = atom(-1.2, HUND, 1j * UNIVERSAL.omega_n)
    assert np.abs(found.matsubara_greens(UNIVERSAL) - greens).max() < 1e-8
    assert found.double_occupancy == pytest.approx(double, abs=1e-9)
    assert found.diagnostics["warning"] == ""


def test_a_batch_is_its_problems(solver):
    problems = [impurity(), impurity(-0.4, Interaction(1.5)), impurity(-2.0)]
    for problem, together in zip(problems, solver.solve_batch(problems), strict=True):
        alone = solver.solve_batch([problem])[0]
        away = alone.matsubara_self_energy() - together.matsubara_self_energy()
        assert np.abs(away).max() < 1e-6  # float32 networks, rows of one batch


def test_j_is_one_of_the_ranges():
    solver = toy_ensemble()
    solver.trust = type(solver.trust)({"J": [0.0, 0.4]}, {}, None)
    said = solver.solve_batch([impurity()])[0].diagnostics
    assert said["extrapolating"] and "J = 0.5 outside 0 to 0.4" in said["warning"]


def test_the_axis_of_the_toy_is_that_of_the_solver():
    assert np.array_equal(AXIS.indices, UNIVERSAL.indices)

"""The compiled correction against the torch model that is trained, and what only it promises."""

import numpy as np
import pytest
import torch
from toy_correction import (
    AXIS,
    BETA,
    CASES,
    NETWORK,
    toy_ensemble,
    toy_model,
    toy_problem,
    toy_solver,
)
from toy_thermal import ACCURACY, INPUTS, SIZE, random_arrays

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import ConvergenceError
from dmftnet.models.correction.answers import answers
from dmftnet.models.correction.checkpoint import build_correction
from dmftnet.models.correction.compiled import compiled_correction
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import as_problems
from dmftnet.models.solvers.correction_inputs import AxisMaps, ScaledProblems, inputs_of, unit_of
from dmftnet.physics.analysis.self_energy_measure import NORM_WEIGHT, SelfEnergyMeasure
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.perturbative.hubbard1 import Hubbard1Solver
from dmftnet.physics.solvers.perturbative.ipt import IptSolver
from dmftnet.physics.solvers.perturbative.nca import NcaSolver

EPS = np.finfo(float).eps

PROJECTED = 2e-8
"""Of the goal, how far what non-negative weights add up to may be from the best: `nonnegative`."""

ROUNDING = 1e-6
"""Of G(tau): sums of the networks are float32, in another order, of outputs of order one."""


def arrays_of(n=12, seed=5):
    return random_arrays(n, AXIS.indices, seed)


def drawn(seed, **options):
    """A network of both approximations that puts out something, at random."""
    torch.manual_seed(seed)
    model = build_correction({**NETWORK, **options}, list(INPUTS), SIZE, ACCURACY)
    model.prepare(arrays_of(24, 0))
    with torch.no_grad():
        model.net[-1].weight *= 10
    return model.eval()


MODELS = {
    "single": lambda: drawn(0),
    "no base": lambda: drawn(1, base="none"),
    "first base": lambda: drawn(2, base=INPUTS[0]),
    "contrast": lambda: drawn(7, contrast=INPUTS[0]),
    "deep": lambda: drawn(3, n_layers=4, width=9),
    "ensemble": lambda: CorrectionEnsemble([drawn(4), drawn(5), drawn(6)]).eval(),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_says_what_the_trained_model_says(name):
    model, problems = MODELS[name](), as_problems(arrays_of())
    with torch.no_grad():
        features = model.features(problems)
        prediction = model.predict(problems, features)
        _, expected = answers(model, problems, prediction)
    found = compiled_correction(model)({key: v.numpy() for key, v in problems.items()})
    np.testing.assert_allclose(found.features, features, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.density, expected.density, rtol=0, atol=ROUNDING)
    beta = problems[Batch.BETA]
    away = model.dyson.distance(torch.as_tensor(found.greens), expected.greens, beta)
    assert away.max() < ROUNDING
    np.testing.assert_allclose(found.sigma, expected.sigma, rtol=0, atol=1e-5)
    dynamic = expected.sigma - (problems[Batch.U] * expected.density)[:, None]
    energy = model.dyson.greens_tau(dynamic * expected.greens, beta)[:, -1]
    double = expected.density**2 - energy / problems[Batch.U]
    np.testing.assert_allclose(found.doubles, double, rtol=0, atol=ROUNDING)
    if prediction.spread is None:
        assert found.spread is None
    else:
        assert prediction.spread.max() > 100 * ROUNDING
        np.testing.assert_allclose(found.spread, prediction.spread, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("make", [toy_ensemble, toy_solver, lambda: toy_solver("wild")])
def test_solvers_with_and_without_it_agree(make):
    compiled, plain = make(), make()
    vars(plain)["_compiled"] = None
    assert compiled._compiled is not None
    for one, other in zip(*(s.solve_batch(CASES) for s in (compiled, plain)), strict=True):
        tau = np.linspace(0, one.problem.beta, 31)
        np.testing.assert_allclose(one.greens_tau(tau), other.greens_tau(tau), rtol=0, atol=1e-5)
        assert one.double_occupancy == pytest.approx(other.double_occupancy, abs=1e-5)
        for score in ("spread", "distance"):
            here, there = one.diagnostics[score], other.diagnostics[score]
            assert here == there or here == pytest.approx(there, abs=1e-5)


def test_an_answer_does_not_depend_on_its_batch():
    """To the last bit, which the torch model cannot promise."""
    model = compiled_correction(MODELS["ensemble"]())
    arrays = {key: v.numpy() for key, v in as_problems(arrays_of()).items()}
    together = model(arrays)
    for i in (0, 5, 11):
        alone = model({key: np.ascontiguousarray(v[i : i + 1]) for key, v in arrays.items()})
        for here, there in zip(alone, together, strict=True):
            assert np.array_equal(here[0], there[i])


def even_problem(U=2.0):
    axis = ImaginaryAxis.universal(BETA, 1600.0, 1e-9)
    z = 1j * axis.omega_n
    bath = MatsubaraHybridization(axis, (0.125 / (z - 0.5) + 0.125 / (z + 0.5))[None])
    return ImpurityProblem([-U / 2], Interaction(U), bath, BETA)


@pytest.mark.parametrize("make", [toy_ensemble, lambda: toy_solver("wild")])
def test_half_filling_by_symmetry_is_exact(make):
    solver = make()
    problem, measure = even_problem(), solver.model.measure
    scaled = ScaledProblems.of([problem], [unit_of(problem.hybridization, measure)], measure)
    assert scaled.even.all()
    found = solver._found(inputs_of(scaled, solver.approximations))
    assert found.density[0] == 0.5 and np.array_equal(found.measures, found.measures[:, ::-1])
    solution = solver.solve(problem)
    np.testing.assert_allclose(solution.matsubara_self_energy().real, 1.0, rtol=0, atol=1e-12)


def test_what_is_not_finite_is_told():
    model = drawn(7)
    with torch.no_grad():
        model.net[0].bias += np.inf
    with pytest.raises(ConvergenceError, match="not finite") as caught:
        compiled_correction(model)({k: v.numpy() for k, v in as_problems(arrays_of(3)).items()})
    assert "\n" not in str(caught.value)


def test_other_models_have_no_compiled_form():
    measure = {"_target_": "dmftnet.models.correction.measures.MeasureNetwork", "width": 8}
    for node in (measure, {**NETWORK, "n_fixed": 4}):
        assert compiled_correction(build_correction(node, ["ipt"], SIZE, ACCURACY)) is None
    pair = [toy_model(0), build_correction({**NETWORK, "width": 5}, ["ipt"], SIZE, ACCURACY)]
    assert compiled_correction(CorrectionEnsemble(pair)) is None


@pytest.mark.parametrize("scale", [1.0, 27.2])
def test_axes_are_changed_as_the_hybridization_says(scale):
    problem, measure = toy_problem(scale=scale), SelfEnergyMeasure(SIZE, ACCURACY)
    known = problem.hybridization
    unit = unit_of(known, measure)
    assert unit == pytest.approx(scale, rel=1e-7)  # weight 1/4 in D^2
    (own,) = ScaledProblems.of([problem], [unit], measure).problems
    expected = known.at(1j * own.axis.omega_n * unit) / unit
    np.testing.assert_allclose(own.hybridization.values, expected, rtol=0, atol=1e-9)
    weights = np.random.default_rng(0).dirichlet(np.ones(measure.nodes.size))
    kernel = AxisMaps.of(problem.axis, measure).kernel
    t = measure.at(weights, 1j * problem.axis.omega_n, problem.beta)
    np.testing.assert_allclose(problem.beta * (kernel @ weights), t, rtol=1e-12)


@pytest.mark.parametrize("solver", [Hubbard1Solver(), IptSolver(), NcaSolver()])
def test_inputs_are_those_of_the_approximation(solver):
    """By arrays alone, and by solutions of problems: of one batch, whose search ends alike."""
    measure = SelfEnergyMeasure(SIZE, ACCURACY)
    given = [*CASES[:3], even_problem(), even_problem(0)]
    scaled = ScaledProblems.of(given, [unit_of(p.hybridization, measure) for p in given], measure)
    assert scaled.even.tolist() == [False, False, False, True, True]
    arrays = inputs_of(scaled, {"own": solver})
    for i, answer in enumerate(solver.solve_batch(scaled.problems)):
        for name, value in (
            (Batch.SELF_ENERGIES, answer.matsubara_self_energy()[0]),
            (Batch.DENSITIES, 0.5 if scaled.even[i] else answer.filling / 2),
        ):
            np.testing.assert_allclose(arrays[name][i, 0], value, rtol=0, atol=1e-11)


def test_answers_hardly_change_with_the_roundings_of_the_inputs():
    """A density by the solution of a problem or by arrays differs in the last digits.

    The projection may then end with other nodes, whose weights differ in the third digit: what they
    add up to is the best to `PROJECTED` of the goal, a row of which is the norm that is divided by.
    """
    solver, ipt = toy_ensemble(), IptSolver()
    measure = solver.model.measure
    scaled = ScaledProblems.of(CASES, [unit_of(p.hybridization, measure) for p in CASES], measure)
    arrays = inputs_of(scaled, solver.approximations)
    before = np.array([[answer.filling / 2] for answer in ipt.solve_batch(scaled.problems)])
    reference = solver._compiled(arrays)
    factor = np.abs(reference.greens) ** 2
    scale = factor / factor.max(axis=1, keepdims=True)
    fit = scale * (reference.measures @ measure.kernel.T)
    goal = np.sqrt(np.sum(np.abs(fit) ** 2, axis=1) + NORM_WEIGHT**2)
    bound = 2 * PROJECTED * goal * (1 + goal / NORM_WEIGHT)  # each of the two is as near
    shifted = [arrays[Batch.DENSITIES] * (1 + k * EPS) for k in range(-8, 9)]
    for densities in (before, *shifted):
        np.testing.assert_allclose(densities, arrays[Batch.DENSITIES], rtol=1e-11, atol=0)
        found = solver._compiled(arrays | {Batch.DENSITIES: densities})
        here = scale * (found.measures @ measure.kernel.T)
        assert np.all(np.linalg.norm(here - fit, axis=1) <= bound)


def test_large_batches_are_taken_in_parts():
    class Few(IptSolver):
        together = 2

    measure = SelfEnergyMeasure(SIZE, ACCURACY)
    units = [unit_of(p.hybridization, measure) for p in CASES]
    scaled = ScaledProblems.of(CASES, units, measure)
    for here, there in zip(
        Few().self_energies(scaled.batch),
        IptSolver().self_energies(scaled.batch),
        strict=True,
    ):
        assert here.shape == there.shape
        np.testing.assert_allclose(here, there, rtol=0, atol=1e-11)

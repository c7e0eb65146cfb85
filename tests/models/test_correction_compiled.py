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
from dmftnet.models.solvers.correction_inputs import AxisMaps, ScaledProblem, inputs_of, unit_of
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.perturbative.ipt import IptSolver

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
    scaled = ScaledProblem.of(problem, unit_of(problem.hybridization, measure), measure)
    assert scaled.is_even
    found = solver._found(inputs_of([scaled], solver.approximations))
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
    own = ScaledProblem.of(problem, unit, measure).problem
    expected = known.at(1j * own.axis.omega_n * unit) / unit
    np.testing.assert_allclose(own.hybridization.values, expected, rtol=0, atol=1e-9)
    weights = np.random.default_rng(0).dirichlet(np.ones(measure.nodes.size))
    kernel = AxisMaps.of(problem.axis, measure).kernel
    t = measure.at(weights, 1j * problem.axis.omega_n, problem.beta)
    np.testing.assert_allclose(problem.beta * (kernel @ weights), t, rtol=1e-12)


def test_inputs_are_those_of_the_approximation():
    problem, measure = CASES[1], SelfEnergyMeasure(SIZE, ACCURACY)
    scaled = ScaledProblem.of(problem, unit_of(problem.hybridization, measure), measure)
    arrays = inputs_of([scaled], {"ipt": IptSolver()})
    answer = IptSolver().solve(scaled.problem)
    assert np.array_equal(arrays[Batch.SELF_ENERGIES][0], answer.matsubara_self_energy())
    assert arrays[Batch.DENSITIES][0, 0] == answer.filling / 2

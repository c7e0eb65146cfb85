"""Every model of a correction on problems whose answer is known: it learns, and keeps the laws."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from safetensors.torch import load, save
from toy_thermal import ACCURACY, INPUTS, SIZE, random_arrays

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import ConvergenceError, DmftnetError, SettingError, StoreError
from dmftnet.models.correction.answers import answers, errors, measured, project
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.measures import MeasureNetwork
from dmftnet.models.correction.model import CorrectionModel, as_problems
from dmftnet.models.correction.networks import CorrectionNetwork
from dmftnet.models.correction.plain import Approximation, PlainNetwork
from dmftnet.models.correction.regression import KernelRidgeCorrection, PolynomialCorrection
from dmftnet.models.correction.thermal import ThermalDyson, mirrored
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure
from dmftnet.places import CONF

AXIS = (SIZE, ACCURACY)
MODELS = {
    "network": lambda: CorrectionNetwork(INPUTS, *AXIS, width=48, n_layers=2),
    "contrast": lambda: CorrectionNetwork(INPUTS, *AXIS, contrast=INPUTS[0], width=48, n_layers=2),
    "nothing below": lambda: CorrectionNetwork(INPUTS, *AXIS, base="none", width=48, n_layers=2),
    "measure": lambda: MeasureNetwork(INPUTS, *AXIS, width=48, n_layers=2, n_energies=12),
    "plain": lambda: PlainNetwork(INPUTS, *AXIS),
    "linear": lambda: PolynomialCorrection(INPUTS, *AXIS, degree=1, n_leading=(16, 48)),
    "quadratic": lambda: PolynomialCorrection(INPUTS, *AXIS, degree=2, n_leading=(8, 24)),
    "cubic": lambda: PolynomialCorrection(INPUTS, *AXIS, degree=3, n_leading=(6, 10)),
    "kernel": lambda: KernelRidgeCorrection(INPUTS, *AXIS, gammas=(0.03, 0.3)),
    "none": lambda: Approximation(INPUTS, *AXIS),
}
PROJECTED = (
    "network",
    "contrast",
    "nothing below",
    "measure",
    "linear",
    "quadratic",
    "cubic",
    "kernel",
)
FITTED = ("linear", "quadratic", "cubic", "kernel")
AT_MOST = {"network": 0.1, "contrast": 0.1, **dict.fromkeys(FITTED, 0.02)}
"""Median error on problems of the test, over that of the better approximation."""


@pytest.fixture(scope="module")
def splits():
    odd = ThermalDyson(*AXIS).odd.numpy()
    return [random_arrays(n, odd, seed) for n, seed in ((300, 0), (60, 1), (60, 2))]


@pytest.fixture(scope="module")
def trained(splits):
    return {name: learn(make, *splits[:2]) for name, make in MODELS.items()}


def learn(make, train, validation) -> CorrectionModel:
    torch.manual_seed(0)
    model = make()
    if not model.needs_gradient:
        model.fit(train, validation)
        return model.eval()
    model.prepare(train)
    problems = as_problems(train)
    exact = model.dyson.greens(problems, problems[Batch.SELF_ENERGY])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        found = model(problems).greens
        model.dyson.distance(found, exact, problems[Batch.BETA]).mean().backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def alone(trained, splits):
    return float(np.median(errors(trained["none"], splits[2])))


def test_what_is_missing_in_the_training_data_does_not_saturate(splits):
    """Of most samples next to nothing is missing: the others are far out in standard deviations."""
    train = splits[0]
    exact, base = train.self_energy, train.self_energies[:, -1]
    few = np.where(np.arange(len(train)) % 150 == 0, 1.0, 1e-3)[:, None]
    nearly = replace(train, self_energies=(exact + few * (base - exact))[:, None])
    model = CorrectionNetwork(INPUTS[-1:], *AXIS, n_components=2 * exact.shape[1])
    nearly = replace(nearly, densities=train.densities[:, -1:])
    coefficients = model.prepare(nearly)[1]
    curve, _ = model._outputs(coefficients[: len(train)])
    missing, weight = model.missing(as_problems(nearly))
    away = ((curve - missing).abs() * weight).sum(1) / (missing.abs() * weight).sum(1)
    assert away.max() < 0.15  # tanh(1/2) is 8 % short of 1/2


@pytest.mark.parametrize("name", AT_MOST)
def test_a_correction_improves_on_its_base(trained, splits, alone, name):
    assert np.median(errors(trained[name], splits[2])) < AT_MOST[name] * alone


@pytest.mark.parametrize("name", ["nothing below", "measure", "plain"])
def test_what_learns_all_of_it_learns(splits, trained, name):
    """Without a base, a small network needs more than this; it must gain a factor of three."""
    torch.manual_seed(0)
    start = MODELS[name]()
    start.prepare(splits[0])
    before, after = (np.median(errors(m.eval(), splits[2])) for m in (start, trained[name]))
    assert after < before / 3


def test_a_higher_degree_fits_training_at_least_as_well(splits):
    """At one number of components and no ridge to speak of, monomials only add up."""
    fit = {"n_leading": (8,), "ridges": (1e-10,)}
    models = [PolynomialCorrection(INPUTS, *AXIS, degree=degree, **fit) for degree in (1, 2, 3)]
    residuals = []
    for model in models:
        model.fit(*splits[:2])
        X, Y, weights = model.prepare(splits[0])
        residuals.append(((model.coefficients(X) - Y) * weights[:, None]).pow(2).sum().item())
    assert residuals[0] > residuals[1] > residuals[2]


def test_least_squares_are_those_of_the_normal_equations(splits):
    """Written out: monomials of the two leading components, weights, and a ridge on all but one."""
    ridge = 1e-3
    model = PolynomialCorrection(INPUTS, *AXIS, degree=2, n_leading=(2,), ridges=(ridge,))
    model.fit(*splits[:2])
    X, Y, weights = (part.numpy() for part in model.prepare(splits[0]))
    _, s, vt = np.linalg.svd(X, full_matrices=False)
    a, b = (X @ vt[:2].T / s[:2] * np.sqrt(len(X))).T
    terms = np.stack([a**0, a, b, a * a, a * b, b * b], axis=1)
    penalty = ridge * len(X) * np.diag([0.0, *terms[:, 1:].var(0)])
    square = terms.T @ (weights[:, None] ** 2 * terms) + penalty
    expected = terms @ np.linalg.solve(square, terms.T @ (weights[:, None] ** 2 * Y))
    found = model.coefficients(torch.from_numpy(X)).numpy()
    assert np.allclose(found, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


def test_kernel_ridge_is_the_linear_system_written_out(splits):
    gamma, ridge = 0.3, 1e-3
    model = KernelRidgeCorrection(INPUTS, *AXIS, gammas=(gamma,), ridges=(ridge,))
    model.fit(*splits[:2])
    X, Y, weights = (part.numpy() for part in model.prepare(splits[0]))
    squares = ((X[:, None] - X[None]) ** 2).sum(-1)
    kernel = np.exp(-gamma / model.n_features * squares)
    dual = np.linalg.solve(kernel + ridge * np.diag(1 / weights**2), Y)
    found = model.coefficients(torch.from_numpy(X)).numpy()
    assert np.allclose(found, kernel @ dual, rtol=0, atol=1e-6 * np.abs(Y).max())


def test_what_is_chosen_is_the_best_on_validation(splits):
    options = {"gammas": (1e-3, 0.3, 30.0), "ridges": (1e-6, 1e-1)}
    chosen = KernelRidgeCorrection(INPUTS, *AXIS, **options)
    chosen.fit(*splits[:2])
    found = {}
    for gamma in options["gammas"]:
        for ridge in options["ridges"]:
            one = KernelRidgeCorrection(INPUTS, *AXIS, gammas=(gamma,), ridges=(ridge,))
            one.fit(*splits[:2])
            found[gamma, ridge] = np.median(errors(one, splits[1]))
    best = min(found, key=found.get)
    assert (chosen.chosen["gamma"], chosen.chosen["ridge"]) == best
    assert chosen.chosen["error"] == pytest.approx(found[best], rel=1e-9)
    assert np.median(errors(chosen, splits[1])) == pytest.approx(found[best], rel=1e-9)


def test_of_many_samples_kernel_ridge_uses_some_with_their_images(splits):
    model = KernelRidgeCorrection(INPUTS, *AXIS, gammas=(0.3,), ridges=(1e-3,), most=50)
    model.fit(*splits[:2])
    assert model.samples.shape == (100, model.n_features)
    X = model.prepare(splits[0])[0]
    assert torch.equal(model.samples[50:51], X[300:301])


def projected(model, problems, q):
    """(B,) errors of G that the projection of q makes."""
    before = model.dyson(problems, q).greens
    after = model.dyson(problems, measured(model, problems, project(model, problems, q))).greens
    return model.dyson.distance(before, after, problems[Batch.BETA])


def test_a_projection_returns_what_is_a_measure(splits):
    model, problems = CorrectionNetwork(INPUTS, *AXIS), as_problems(splits[2])
    rng = np.random.default_rng(0)
    measures = rng.dirichlet(np.full(model.measure.nodes.size, 0.1), len(splits[2]))
    assert projected(model, problems, measured(model, problems, measures)).max() < 1e-6


def test_sharp_poles_between_the_nodes_are_met_to_the_square_of_the_spacing(splits):
    model, problems = CorrectionNetwork(INPUTS, *AXIS), as_problems(splits[2])
    q = model.dyson.reduced(problems, problems[Batch.SELF_ENERGY], problems[Batch.DENSITY])
    fine = projected(model, problems, q)
    model.measure = SelfEnergyMeasure(*AXIS, n_nodes=model.measure.n_nodes // 2)
    coarse = projected(model, problems, q)
    assert coarse.max() < 1e-4
    assert (coarse.median() / fine.median()).item() == pytest.approx(4, rel=0.5)


@pytest.mark.parametrize("name", PROJECTED)
def test_answers_are_causal(trained, splits, name):
    model, problems = trained[name], as_problems(splits[2])
    measures, answer = answers(model, problems)
    assert measures.min() >= 0 and np.allclose(measures.sum(1), 1)
    assert answer.sigma.imag.max() <= 0
    tau = model.dyson.greens_tau(answer.greens, problems[Batch.BETA])
    assert (tau[:, 0] + tau[:, -1] + 1).abs().max() < 1e-6
    assert (tau[:, -1] + answer.density).abs().max() < 1e-6
    slopes = -tau.diff(dim=-1) / model.dyson.tau.diff()
    assert slopes.diff(dim=-1).min() > -1e-2 and tau.max() < 1e-6  # steps of 1e-4, G to 1e-6


@pytest.mark.parametrize("name", PROJECTED)
def test_answers_are_causal_whatever_a_model_puts_out(trained, splits, name):
    """Coefficients a thousand times too large."""
    model, problems = trained[name], as_problems(splits[2].take(np.arange(8)))
    kept = model.components.clone()
    model.components *= 1e3
    measures, answer = answers(model, problems)
    model.components.copy_(kept)
    assert measures.min() >= 0 and np.allclose(measures.sum(1), 1)
    assert answer.sigma.imag.max() <= 0 and 0 <= answer.density.min() <= answer.density.max() <= 1


def test_the_plain_network_breaks_laws_that_corrections_keep(trained, splits):
    """The sign of Im Sigma, and the second moment of G; the norm it keeps, as its components do."""
    problems, positive, moments = as_problems(splits[2]), {}, {}
    z = trained["plain"].dyson.frequencies(problems[Batch.BETA])
    for name in ("plain", "network"):
        measures, answer = answers(trained[name], problems)
        assert (measures is None) == (name == "plain")
        tau = trained[name].dyson.greens_tau(answer.greens, problems[Batch.BETA])
        assert (tau[:, 0] + tau[:, -1] + 1).abs().max() < 1e-6
        assert (tau[:, -1] + answer.density).abs().max() < 1e-6
        positive[name] = int((answer.sigma.imag > 1e-9).any(1).sum())
        last = (z * (z * answer.greens - 1))[:, -1].real
        expected = problems[Batch.EPS_D] + problems[Batch.U] * answer.density
        moments[name] = (last - expected).abs().median().item()
    assert positive["plain"] > 0 == positive["network"]
    assert moments["plain"] > 1e-3 > 1e-5 > moments["network"]


def test_the_plain_network_solves_dysons_equation(trained, splits):
    model, problems = trained["plain"], as_problems(splits[2])
    answer = model(problems)
    again = model.dyson.greens(problems, answer.sigma)
    assert torch.allclose(again, answer.greens, rtol=1e-9)


def test_an_approximation_alone_is_its_own_self_energy(trained, splits):
    problems = as_problems(splits[2])
    for i, name in enumerate(INPUTS):
        model = Approximation(INPUTS, *AXIS, base=name)
        measures, answer = answers(model, problems)
        assert measures is None
        assert torch.equal(answer.sigma, problems[Batch.SELF_ENERGIES][:, i])
        assert torch.allclose(answer.density, problems[Batch.DENSITIES][:, i], rtol=0, atol=1e-7)
    crude = np.median(errors(Approximation(INPUTS, *AXIS, base="crude"), splits[2]))
    assert crude > 1.5 * np.median(errors(trained["none"], splits[2]))


@pytest.mark.parametrize("name", MODELS)
def test_mirrored_problems_have_mirrored_answers(trained, splits, name):
    model, problems = trained[name], as_problems(splits[2])
    here, there = model(problems), model(mirrored(problems))
    assert (here.density + there.density - 1).abs().max() < 2e-6  # the plain one's is -G(beta)
    assert (here.greens + there.greens.conj()).abs().max() < 1e-6 * here.greens.abs().max()
    sum_rule = here.sigma + there.sigma.conj() - problems[Batch.U][:, None]
    assert sum_rule.abs().max() < 1e-6 * (1 + here.sigma.abs().max())


@pytest.mark.parametrize("name", MODELS)
def test_features_of_the_mirror_image_are_those_of_the_mirrored_problem(trained, splits, name):
    model, problems = trained[name], as_problems(splits[2])
    here, there = model.both(model.features(problems)).chunk(2)
    assert torch.equal(here, model.features(problems))
    rounding = 1e-10 if name == "contrast" else 1e-13  # of differences, over their size
    assert torch.allclose(there, model.features(mirrored(problems)), rtol=1e-12, atol=rounding)


def test_an_ensemble_in_one_pass_is_its_members_one_by_one(trained, splits):
    """q, G and spread, of members on one base and on another; also with the features given."""
    members = [trained["network"], trained["nothing below"]]
    model, problems = CorrectionEnsemble(members), as_problems(splits[2])
    with torch.no_grad():
        each = [member.outputs(problems).q for member in members]
        mean = 0.5 * (each[0] + each[1])
        greens = model.dyson(problems, mean).greens
        away = [model.dyson(problems, q).greens - greens for q in each]
        nothing = torch.zeros_like(greens)
        spread = [model.dyson.distance(d, nothing, problems[Batch.BETA]) for d in away]
        for found in (model.predict(problems), model.predict(problems, model.features(problems))):
            assert torch.allclose(found.outputs.q, mean, rtol=1e-12)
            assert torch.allclose(found.answer.greens, greens, rtol=1e-10)
            assert torch.allclose(found.spread, 0.5 * (spread[0] + spread[1]), rtol=1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_an_answer_does_not_depend_on_its_batch(trained, splits, name):
    model, one = trained[name], splits[2].take(np.arange(5, 6))
    found = model(as_problems(splits[2])).greens[5]
    assert torch.allclose(model(as_problems(one)).greens[0], found, rtol=1e-5)  # float32 networks


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_stored_and_read(trained, splits, name):
    state = load(save({k: v.contiguous() for k, v in trained[name].state_dict().items()}))
    model = MODELS[name]().eval()
    model.resize(state)
    model.load_state_dict(state)
    problems = as_problems(splits[2])
    assert torch.equal(model(problems).greens, trained[name](problems).greens)


@pytest.mark.parametrize("name", FITTED)
def test_weights_of_other_sizes_are_refused(trained, name):
    model = trained[name]
    good = dict(model.state_dict())
    first, second = model.learned[:2]
    for bad in (
        {k: v for k, v in good.items() if k != second},
        {**good, first: good[first][:, :-1]},
        {**good, second: good[second][:-1]},
        {**good, first: torch.zeros(0)},
        {**good, first: torch.zeros(())},
    ):
        with pytest.raises(StoreError, match="fit it again"):
            MODELS[name]().resize(bad)


@pytest.mark.parametrize("name", FITTED)
def test_what_was_never_fitted_says_so(splits, name):
    with pytest.raises(DmftnetError, match="never fitted"):
        MODELS[name]()(as_problems(splits[2]))


def test_a_network_is_trained_not_fitted(splits):
    with pytest.raises(DmftnetError, match="trained, not fitted"):
        MODELS["network"]().fit(*splits[:2])


def test_where_a_contrast_vanishes_the_base_stays(trained, splits):
    model, own = trained["contrast"], splits[2]
    given = {name: getattr(own, name)[:, [1, 1]] for name in ("self_energies", "densities")}
    found = []
    for arrays in (replace(own, **given), own):
        problems = as_problems(arrays)
        found.append((model.outputs(problems).q - model.reduced_base(problems)).abs().amax(1))
    assert 0 < found[0].max() < 1e-4 < 1e-3 < found[1].median()


@pytest.mark.parametrize("name", ["network", "plain"])
def test_output_that_is_not_finite_is_refused(splits, name):
    model = MODELS[name]()
    model.prepare(splits[0])
    with torch.no_grad():
        model.net[-1].bias[0] = torch.nan
    with pytest.raises(ConvergenceError, match="not finite"):
        answers(model, as_problems(splits[2]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PolynomialCorrection(INPUTS, *AXIS, degree=4), "model.degree"),
        (lambda: PolynomialCorrection(INPUTS, *AXIS, degree=3, n_leading=(40,)), "12341 products"),
        (lambda: PolynomialCorrection(INPUTS, *AXIS, n_leading=()), "model.n_leading"),
        (lambda: PolynomialCorrection(INPUTS, *AXIS, n_leading=(1.5,)), "model.n_leading"),
        (lambda: PolynomialCorrection(INPUTS, *AXIS, ridges=(0.0,)), "model.ridges"),
        (lambda: KernelRidgeCorrection(INPUTS, *AXIS, gammas=()), "model.gammas"),
        (lambda: KernelRidgeCorrection(INPUTS, *AXIS, most=0), "model.most"),
        (lambda: PlainNetwork(INPUTS, *AXIS, base="fair"), "predicts all of G"),
        (lambda: Approximation((), *AXIS), "dataset.inputs"),
        (lambda: Approximation(INPUTS, *AXIS, base="none"), "base"),
        (lambda: CorrectionNetwork(INPUTS, *AXIS, base="ipt"), "model.base"),
        (lambda: CorrectionNetwork(INPUTS, *AXIS, contrast="fair"), "model.contrast"),
        (lambda: CorrectionNetwork(INPUTS, *AXIS, base="none", contrast="crude"), "contrast"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, said):
    with pytest.raises(SettingError, match=said):
        make()


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in Path(CONF, "model").glob("correction*.yaml"))
)
def test_a_config_builds_its_model(name):
    with initialize_config_dir(config_dir=CONF, version_base="1.3"):
        config = compose(overrides=[f"+model={name}"]).model
    model = instantiate(config, inputs=INPUTS, size=SIZE, accuracy=ACCURACY, _convert_="all")
    assert isinstance(model, CorrectionModel)
    assert model.base == (None if name in ("correction_plain", "correction_measure") else 1)

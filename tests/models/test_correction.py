"""Dyson's equation with its own density, against eigenvalues of a star, bisection, differences."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from toy_thermal import ACCURACY, SIZE, bisected, poles_of, surplus_of

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.models.correction.thermal import Answer, ThermalDyson, mirrored
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure
from dmftnet.physics.grids.matsubara import thermal_tau

N_RANDOM = 1000
AXIS = 5e-7
"""What the axis keeps of a G of norm one, at its accuracy of 1e-7."""


@pytest.fixture(scope="module")
def dyson():
    return ThermalDyson(SIZE, ACCURACY)


@pytest.fixture(scope="module")
def nodes():
    return SelfEnergyMeasure(SIZE, ACCURACY).nodes


def extremes(nodes):
    """Mott poles at zero, single nodes, levels far away, no interaction, no bath; all at
    several temperatures."""
    centre = nodes.size // 2
    for beta in (1.0, 20.0, 100.0):
        for U in (0.0, 2.0, 10.0):
            for eps_d in (-U / 2, -0.1 * U, 0.5, 3.0, -U - 3.0):
                for strength in (0.0, 0.5):
                    for node in (0, centre, centre + 3, centre - 12, nodes.size - 1):
                        if abs(nodes[node]) / beta < 100:  # within the axis with all that is added
                            yield U, eps_d, beta, strength, np.eye(nodes.size)[node]


def randoms(rng, nodes):
    """Measures of few nodes and of many, levels from empty to full."""
    for i in range(N_RANDOM):
        beta = np.exp(rng.uniform(0, np.log(100)))
        U, sharpness = rng.uniform(0, 10), (0.01, 0.1, 1.0)[i % 3]
        allowed = np.abs(nodes) / beta < 100
        measure = np.zeros(nodes.size)
        measure[allowed] = rng.dirichlet(np.full(allowed.sum(), sharpness))
        yield U, rng.uniform(-U - 2, 2), beta, rng.uniform(0, 1), measure


@pytest.fixture(scope="module")
def cases(nodes):
    """Problems by their levels, for the reference here."""
    rng, found = np.random.default_rng(0), []
    for U, eps_d, beta, strength, measure in (*extremes(nodes), *randoms(rng, nodes)):
        found.append(
            {
                "U": U,
                "eps_d": eps_d,
                "beta": beta,
                "levels": rng.uniform(-1, 1, 4),
                "couplings": strength * np.sqrt(rng.dirichlet(np.ones(4))),
                "nodes": nodes / beta,
                "measure": measure,
            }
        )
    return found


def as_tensors(cases, dyson):
    """The same problems as a model gets them, and q."""
    stacked = {name: np.array([case[name] for case in cases]) for name in cases[0]}
    z = 1j * np.pi * dyson.odd.numpy() / stacked["beta"][:, None]
    delta = (stacked["couplings"][:, None] ** 2 / (z[..., None] - stacked["levels"][:, None])).sum(
        -1
    )
    t = (stacked["measure"][:, None] / (z[..., None] - stacked["nodes"][:, None])).sum(-1)
    problems = {name: torch.tensor(stacked[name]) for name in ("U", "eps_d", "beta")}
    problems[Batch.HYBRIDIZATION] = torch.tensor(delta)
    return problems, torch.tensor(z * t)


@pytest.fixture(scope="module")
def solved(cases, dyson):
    problems, q = as_tensors(cases, dyson)
    return problems, q, dyson(problems, q)


def test_the_density_is_that_of_the_greens_function(cases, solved, dyson):
    """By the axis, and by all eigenvalues: ``n = sum_k w_k f(E_k)``."""
    problems, _, answer = solved
    own = -dyson.greens_tau(answer.greens, problems[Batch.BETA])[:, -1]
    assert (own - answer.density).abs().max() < AXIS
    exact = [surplus_of(float(n), **case) for n, case in zip(answer.density, cases, strict=True)]
    assert np.abs(exact).max() < AXIS
    assert answer.density.min() >= 0 and answer.density.max() <= 1


def test_the_density_is_the_root_that_bisection_finds(cases, solved):
    """Where there is one alone; G can turn a shift of 1e-7 into much in a gap, so G is compared."""
    mesh, compared = np.linspace(0, 1, 41), 0
    for n, case in list(zip(solved[2].density.tolist(), cases, strict=True))[::20]:
        signs = np.sign([surplus_of(x, **case) for x in mesh])
        if (np.diff(signs[signs != 0]) != 0).sum() > 1:
            continue
        compared += 1
        root = bisected(**case)
        there = [min(max(root + shift, 0.0), 1.0) for shift in (-1e-6, 1e-6)]
        slope = -np.diff([surplus_of(x, **case) for x in there])[0] / (there[1] - there[0])
        assert abs(n - root) < AXIS / min(max(slope, 1e-3), 1.0), case
    assert compared > 50


def test_norm_boundary_and_convexity_hold_exactly(cases, solved, dyson):
    """``G(0) + G(beta) = -1``, ``-G`` positive and convex, from the levels of each answer."""
    problems, _, answer = solved
    on_axis = dyson.greens_tau(answer.greens, problems[Batch.BETA]).numpy()
    tau = dyson.tau.numpy()
    for n, case, kept in zip(answer.density.tolist(), cases, on_axis, strict=True):
        beta = case["beta"]
        poles, weights = poles_of(n=n, **{k: v for k, v in case.items() if k != "beta"})
        greens = thermal_tau(poles, weights, tau * beta, beta)
        assert greens[0] + greens[-1] == pytest.approx(-1, abs=1e-12)
        assert -greens[-1] == pytest.approx(n, abs=AXIS)
        assert np.abs(kept - greens).max() < AXIS
        slopes = np.diff(-greens) / np.diff(tau)
        assert greens.max() <= 0 and np.diff(slopes).min() > -1e-9


def test_the_self_energy_is_causal_and_its_tails_are_exact(solved, dyson):
    problems, _, answer = solved
    assert answer.sigma.imag.max() <= 0
    assert answer.greens.imag.max() < 0
    high = {**problems, Batch.BETA: torch.full_like(problems[Batch.BETA], 1e-4)}  # w_n > 3e4
    z = dyson.frequencies(high[Batch.BETA])
    n, U, level = answer.density, problems[Batch.U], problems[Batch.EPS_D]
    q = torch.ones_like(z)  # of any measure, at high frequencies
    high[Batch.HYBRIDIZATION] = 0 / z
    sigma = dyson.self_energy(high, q, n)
    moment = z * (sigma - (U * n)[:, None])
    assert torch.allclose(moment, (U**2 * n * (1 - n))[:, None] + 0 * z, rtol=1e-9, atol=1e-9)
    second = z * (z * dyson.greens(high, sigma) - 1)
    expected = (level + U * n)[:, None] + 0 * z
    assert torch.allclose(second, expected, rtol=0, atol=1e-2)


def test_nothing_is_ever_nan(solved):
    for values in solved[2]:
        parts = torch.view_as_real(values) if values.is_complex() else values
        assert torch.isfinite(parts).all()


def test_a_density_does_not_depend_on_its_batch(solved, dyson):
    problems, q, answer = solved
    for some in (slice(0, 1), slice(3, 40), slice(700, 701)):
        part = {name: values[some] for name, values in problems.items()}
        assert torch.equal(dyson(part, q[some]).density, answer.density[some])


def test_a_mirrored_problem_has_the_mirrored_answer(solved, dyson):
    """``n -> 1 - n``, ``Sigma -> U - Sigma^*``, ``G -> -G^*``, for ``q -> q^*``."""
    problems, q, answer = solved
    image = dyson(mirrored(problems), q.conj())
    assert (image.density + answer.density - 1).abs().max() < 1e-12
    distance = dyson.distance(image.greens, -answer.greens.conj(), problems[Batch.BETA])
    assert distance.max() < 1e-9


@pytest.mark.parametrize("beta", [1.0, 100.0])
def test_limits_in_closed_form(dyson, beta):
    """No bath: ``n = f(eps_d)`` at U = 0, else the atom's, whose Sigma is one pole."""
    levels = np.array([-1.0, -0.01, 0.0, 0.02, 0.4])
    z = 1j * np.pi * dyson.odd.numpy() / beta
    for U in (0.0, 10.0):
        problems = {
            Batch.U: torch.full((5,), U, dtype=torch.float64),
            Batch.EPS_D: torch.tensor(levels),
            Batch.BETA: torch.full((5,), beta, dtype=torch.float64),
            Batch.HYBRIDIZATION: torch.zeros(5, z.size, dtype=torch.complex128),
        }
        lower, upper = expit(-beta * levels), expit(-beta * (levels + U))
        n = lower / (1 + lower - upper)  # n = (1 - n) f(eps_d) + n f(eps_d + U)
        n = np.where(U == 0, lower, n)
        pole = levels + U * (1 - n)
        answer = dyson(problems, torch.tensor(z / (z - pole[:, None])))
        assert np.allclose(answer.density, n, rtol=0, atol=AXIS)


def test_the_gradient_is_that_of_differences(dyson):
    rng = np.random.default_rng(1)
    nodes = SelfEnergyMeasure(SIZE, ACCURACY).nodes
    cases = [
        {
            "U": 4.0,
            "eps_d": -2.0 + shift,
            "beta": beta,
            "levels": rng.uniform(-1, 1, 4),
            "couplings": 0.5 * np.sqrt(rng.dirichlet(np.ones(4))),
            "nodes": nodes / beta,
            "measure": rng.dirichlet(np.full(nodes.size, 0.1)),
        }
        for beta in (2.0, 50.0)
        for shift in (0.0, 0.7)
    ]
    problems, q = as_tensors(cases, dyson)
    direction = torch.tensor(rng.normal(size=(2, *q.shape))).mul(0.1)
    direction = torch.complex(*direction)
    weights = torch.tensor(rng.normal(size=q.shape))

    def value(step):
        answer: Answer = dyson(problems, q + step * direction)
        return answer.density.sum() + (weights * answer.greens.imag).sum()

    step = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    value(step).backward()
    h = 1e-4
    points = [value(torch.tensor(k * h, dtype=torch.float64)) for k in (-2, -1, 1, 2)]
    expected = (points[0] - 8 * points[1] + 8 * points[2] - points[3]) / (12 * h)
    assert step.grad.item() == pytest.approx(expected.item(), rel=1e-6)

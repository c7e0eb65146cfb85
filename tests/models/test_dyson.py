"""Dyson's equation with the density of its own G: sum rules, symmetry, limits, derivatives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmftnet.models.networks.dyson import Dyson
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import semicircle

GRID = FrequencyGrid.geometric(5e-3, 8.0, 120)
DYSON = Dyson(GRID)


def bath(weight=0.25, centre=0.0):
    return torch.from_numpy(semicircle(GRID, centre, 1.0, weight))


def shape_of(seed):
    """A random non-negative curve, of any norm."""
    rng = np.random.default_rng(seed)
    curve = np.zeros(GRID.n_w)
    for _ in range(rng.integers(1, 5)):
        centre, width = rng.uniform(-4, 4), 10.0 ** rng.uniform(-2, 0.3)
        curve += rng.uniform(0.1, 2) * np.exp(-0.5 * ((GRID.omega - centre) / width) ** 2)
    return torch.from_numpy(curve + 1e-6)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31), U=st.floats(0, 8), shift=st.floats(-3, 3), weight=st.floats(0.01, 1)
)
def test_norm_sum_rule_and_density_hold_whatever_the_shape(seed, U, shift, weight):
    params = torch.tensor([U, shift - U / 2], dtype=torch.float64)
    A, sigma, n = DYSON(shape_of(seed), bath(weight), params)
    assert torch.all(A >= 0) and torch.all(sigma >= 0) and 0 <= n <= 1
    assert A @ DYSON.weights == pytest.approx(1, abs=1e-12)
    assert GRID.cumulative(A.numpy(), np.zeros(1))[0] == pytest.approx(float(n), abs=1e-6)
    assert sigma @ DYSON.weights == pytest.approx(float(U**2 * n * (1 - n)), abs=1e-9 * (1 + U**2))


@pytest.mark.parametrize("grad", [True, False])
def test_the_density_is_found_in_a_gap(grad):
    """Where the level hardly moves between two bands n(G[n]) is all but a step."""
    rng = np.random.default_rng(0)
    grid = FrequencyGrid.geometric(1.5e-3, 8.0, 384)
    dyson, w, shapes, baths, params = Dyson(grid), grid.omega, [], [], []
    for _ in range(200):
        gap, centre, U = rng.uniform(0.05, 1.5), rng.uniform(-0.5, 0.5), rng.uniform(1, 8)
        bands = (np.abs(w - centre) > gap) & (np.abs(w - centre) < gap + 1.2)
        baths.append(0.25 * (bands + 1e-12) / grid.integrate(bands))
        pole = centre + rng.uniform(-0.9, 0.9) * gap
        shapes.append(np.exp(-0.5 * ((w - pole) / (0.003 + 0.03 * abs(pole))) ** 2))
        shapes[-1] += 10.0 ** rng.uniform(-9, -2) * np.exp(-(w**2) / 8)
        params.append([U, rng.uniform(-0.6, 0.6) * U - U / 2])
    with torch.set_grad_enabled(grad):
        A, _, n = dyson(*(torch.from_numpy(np.array(a)) for a in (shapes, baths, params)))
    # with gradients a last step divides rounding by a slope from differences
    np.testing.assert_allclose(A @ dyson.occupied, n, atol=1e-4 if grad else 1e-7)


def test_a_batch_is_its_problems():
    shapes = torch.stack([shape_of(i) for i in range(5)])
    baths = torch.stack([bath(0.1 + 0.1 * i, 0.2 * i) for i in range(5)])
    params = torch.tensor([[0.0, 0.3], [1.0, -0.2], [3.0, -1.5], [6.0, -5.0], [2.0, 2.0]]).double()
    together = DYSON(shapes, baths, params)
    for i in range(5):
        alone = DYSON(shapes[i], baths[i], params[i])
        for one, other in zip(together, alone, strict=True):
            torch.testing.assert_close(one[i], other, rtol=1e-5, atol=1e-7)


def test_particle_hole_mirror():
    shape, h = shape_of(4), bath(0.3, 0.4)
    A, sigma, n = DYSON(shape, h, torch.tensor([2.5, -0.7]).double())
    B, mirrored, m = DYSON(shape.flip(-1), h.flip(-1), torch.tensor([2.5, -1.8]).double())
    assert float(n + m) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(A, B.flip(-1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(sigma, mirrored.flip(-1), rtol=1e-4, atol=1e-6)


def test_without_interaction_it_is_the_level_in_its_bath():
    """On the Bethe bath the semicircle; the shape means nothing."""
    A, sigma, n = DYSON(shape_of(1), bath(), torch.tensor([0.0, 0.0]).double())
    inside = np.abs(GRID.omega) < 0.8
    np.testing.assert_allclose(A.numpy()[inside], semicircle(GRID, 0, 1, 1)[inside], atol=0.02)
    assert float(n) == pytest.approx(0.5, abs=1e-6) and not sigma.any()


def test_a_pole_at_zero_makes_the_two_levels_of_an_atom():
    """Half filling without a bath: A has half its weight at either of +-U/2."""
    narrow = torch.exp(-0.5 * (DYSON.omega / 0.01) ** 2)
    A, _, n = DYSON(narrow, bath(1e-6), torch.tensor([4.0, -2.0]).double())
    A = A.numpy() * GRID.weights
    assert float(n) == pytest.approx(0.5, abs=1e-6)
    for place in (-2.0, 2.0):
        assert A[np.abs(GRID.omega - place) < 0.3].sum() == pytest.approx(0.5, abs=1e-3)


def test_gradients_know_the_density():
    """Against differences of whole solutions, each with its own density."""
    torch.manual_seed(0)
    weights = torch.rand(GRID.n_w, dtype=torch.float64)
    params = torch.tensor([2.0, -0.3], dtype=torch.float64)
    logs = torch.log(shape_of(7)).requires_grad_()

    def objective(x):
        A, sigma, n = DYSON(torch.exp(x), bath(), params)
        return A @ weights + sigma @ weights + 3 * n

    (gradient,) = torch.autograd.grad(objective(logs), logs)
    direction = torch.randn(GRID.n_w, dtype=torch.float64)
    step = 1e-5
    with torch.no_grad():
        ends = [objective(logs + sign * step * direction) for sign in (1, -1)]
    difference = float(ends[0] - ends[1]) / (2 * step)
    assert float(gradient @ direction) == pytest.approx(difference, rel=2e-3)

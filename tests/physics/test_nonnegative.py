"""Non-negative least squares against every set of columns, tried one after the other."""

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import nnls
from toy_thermal import ACCURACY, SIZE, pole_sum

from dmftnet.physics.analysis.nonnegative import nonnegative
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure


def solved(matrix, goal, max_steps=10_000):
    return nonnegative(np.ascontiguousarray(matrix.T), goal, max_steps)


def of_every_set(matrix, goal):
    """The best of the least squares of all sets of columns whose weights are positive."""
    n = matrix.shape[1]
    best, least = np.zeros(n), np.linalg.norm(goal)
    for size in range(1, min(matrix.shape) + 1):
        for chosen in map(list, combinations(range(n), size)):
            weights = np.linalg.lstsq(matrix[:, chosen], goal, rcond=None)[0]
            residual = np.linalg.norm(matrix[:, chosen] @ weights - goal)
            if weights.min() > 0 and residual < least - 1e-14:
                best, least = np.zeros(n), residual
                best[chosen] = weights
    return best


@pytest.mark.parametrize("shape", [(8, 5), (5, 5), (4, 7), (1, 3), (6, 1)])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_best_of_all_sets(shape, seed):
    rng = np.random.default_rng(seed)
    matrix, goal = rng.normal(size=shape), rng.normal(size=shape[0])
    found, ended = solved(matrix, goal)
    assert ended and found.min() >= 0
    np.testing.assert_allclose(matrix @ found, matrix @ of_every_set(matrix, goal), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_neither_units_nor_lengths_of_columns_matter(scale):
    rng = np.random.default_rng(1)
    matrix, goal = rng.normal(size=(8, 5)), rng.normal(size=8)
    lengths = np.array([1e-6, 1.0, 1e6, 1e3, 1e-3])
    one, _ = solved(matrix, goal)
    other, _ = solved(matrix * lengths, scale * goal)
    np.testing.assert_allclose(other * lengths / scale, one, rtol=1e-10, atol=1e-13)


def test_columns_that_repeat_are_met_once():
    rng = np.random.default_rng(2)
    matrix = rng.uniform(size=(6, 3))
    goal = matrix @ [0.5, 1.0, 2.0]
    found, ended = solved(np.hstack([matrix, 2 * matrix]), goal)
    assert ended
    np.testing.assert_allclose(found[:3] + 2 * found[3:], [0.5, 1.0, 2.0], rtol=1e-10)


def test_a_goal_that_all_columns_point_away_from():
    found, ended = solved(np.ones((3, 2)), -np.ones(3))
    assert ended and not found.any()
    found, ended = solved(np.ones((3, 2)), np.zeros(3))
    assert ended and not found.any()


def test_too_few_steps_are_told():
    rng = np.random.default_rng(3)
    matrix = rng.uniform(size=(8, 5))
    assert not solved(matrix, matrix @ np.ones(5), max_steps=2)[1]


@pytest.mark.parametrize(
    ("noise", "on_nodes", "error"), [(1e-3, False, 1e-12), (0.0, False, 2e-8), (0.0, True, 2e-8)]
)
@pytest.mark.parametrize("seed", range(12))
def test_nodes_of_a_self_energy(seed, noise, on_nodes, error):
    """Columns as they are in use, nearly dependent: as near as SciPy's, and the fit is the same.

    Poles on nodes are met to rounding, by more than one set of columns: the search must end there.
    """
    rng, measure = np.random.default_rng(seed), SelfEnergyMeasure(SIZE, ACCURACY)
    omega = measure.axis.omega_n
    energies = rng.normal(size=5) * rng.choice([3.0, 30.0, 200.0])
    if on_nodes:
        energies = measure.nodes[np.abs(measure.nodes[:, None] - energies).argmin(axis=0)]
    values = pole_sum(energies, rng.dirichlet(np.ones(5)), 1j * omega)
    values = values + noise * np.abs(values) * ([1, 1j] @ rng.normal(size=(2, omega.size)))
    scale = 1 / (omega**2 + rng.uniform(1, 100))
    scale = scale / scale.max()
    rows = measure.kernel * scale[:, None]
    matrix = np.concatenate([rows.real, rows.imag])
    goal = np.concatenate([(values * scale).real, (values * scale).imag])
    found, ended = solved(matrix, goal)
    expected, residual = nnls(matrix, goal, maxiter=100 * measure.nodes.size)
    assert ended
    size = np.linalg.norm(goal)
    assert np.linalg.norm(matrix @ found - goal) <= residual + error * size
    assert np.linalg.norm(matrix @ (found - expected)) <= error * size

"""Where a network is trusted: distances and objections."""

import numpy as np
import pytest
from synthetic import ANGLES, GRID, make_arrays

from dmftnet.errors import DmftnetError
from dmftnet.models.solvers.applicability import Applicability, TrainingDistance
from dmftnet.physics.grids.real_axis import FrequencyGrid

FREQUENCIES = FrequencyGrid.geometric(**GRID)


@pytest.fixture(scope="module")
def train():
    return make_arrays(64, 0, GRID, ANGLES)


@pytest.fixture(scope="module")
def distance(train):
    return TrainingDistance.fit(FREQUENCIES, train.hybridization, train.params)


def test_training_problems_and_their_mirrors_have_no_distance(train, distance):
    """Up to the float32 of the stored points."""
    U, eps_d = train.params.T
    mirrored = train.hybridization[:, ::-1], np.stack([U, -U - eps_d], axis=1)
    assert distance(train.hybridization, train.params).max() < 1e-5
    assert distance(*mirrored).max() < 1e-5


def test_a_problem_and_its_mirror_are_equally_far(distance):
    test = make_arrays(8, 5, GRID, ANGLES)
    U, eps_d = test.params.T
    mirrored = distance(test.hybridization[:, ::-1], np.stack([U, -U - eps_d], axis=1))
    np.testing.assert_allclose(mirrored, distance(test.hybridization, test.params), atol=1e-6)


def test_shapes_and_parameters_never_seen_are_far(distance):
    """The data are bands at zero; two narrow bands, and a large U, are further than any test."""
    test = make_arrays(32, 5, GRID, ANGLES)
    usual = distance(test.hybridization, test.params).max()
    omega = FREQUENCIES.omega
    strange = np.exp(-50 * (np.abs(omega) - 2.5) ** 2)[None, :]
    strange *= 0.25 / FREQUENCIES.integrate(strange)
    assert distance(strange, np.array([[1.0, -0.5]]))[0] > 2 * usual
    outside = test.params[:1] + np.array([[5.0, -2.5]])
    assert distance(test.hybridization[:1], outside)[0] > 2 * usual


def test_full_coordinates_are_the_hellinger_distance(train):
    """With every component kept nothing is lost: the plain distance of the weighted roots."""
    few = train.take(np.arange(4))
    own = TrainingDistance.fit(FREQUENCIES, few.hybridization, few.params)
    a, b = own.coordinates(few.hybridization[:2], few.params[:2])
    root = 2 * np.sqrt(np.float64(few.hybridization[:2]) * FREQUENCIES.weights)
    U, eps_d = np.float64(few.params[:2]).T
    squares = [np.sum((root[0] - root[1]) ** 2), (0.5 * (U[0] - U[1])) ** 2]
    squares.append((2 * (eps_d[0] - eps_d[1] + (U[0] - U[1]) / 2)) ** 2)
    assert np.linalg.norm(a - b) == pytest.approx(np.sqrt(sum(squares)), rel=1e-5)


def test_points_are_thinned_and_come_back_from_their_arrays(train):
    own = TrainingDistance.fit(FREQUENCIES, train.hybridization, train.params, max_points=10)
    assert own.points.shape == (10, own.components.shape[0] + 3)
    again = TrainingDistance(FREQUENCIES, **own.arrays())
    test = make_arrays(4, 5, GRID, ANGLES)
    pair = test.hybridization, test.params
    np.testing.assert_array_equal(again(*pair), own(*pair))


def test_objections_have_figures():
    box = {"U": [0.0, 3.0], "shift": [0.0, 1.0]}
    rules = Applicability(box, {"spread": 0.01})
    assert rules.objection(2.0, -1.0, {"spread": 0.005, "distance": None}) == ""
    assert "spread 2.00e-02 beyond 1.00e-02" in rules.objection(
        2.0, -1.0, {"spread": 0.02, "distance": None}
    )
    outside = rules.objection(4.0, -2.0, {"spread": 0.005, "distance": 9.0})
    assert "U = 4" in outside and "U 0 to 3" in outside and "distance" not in outside
    assert rules.extrapolates(2.0, 0.5) and not rules.extrapolates(2.0, -2.0)
    assert Applicability().objection(9.0, 0.0, {"spread": 1.0, "distance": 1.0}) == ""


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"sprad": 1.0}, "'sprad' is unknown"), ({"distance": 1.0}, "no training points")],
)
def test_limits_that_mean_nothing_are_refused(limits, words):
    with pytest.raises(DmftnetError, match=words):
        Applicability({}, limits)

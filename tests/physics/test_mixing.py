"""Mixers on maps whose fixed points, or want of one, are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.mixing import AndersonMixing, LinearMixing
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem

AXIS = ImaginaryAxis(50.0, accuracy=1e-6)


def iterate(f, x, mixing, n):
    """Inputs of n iterations, the first included."""
    mixer, path = mixing.start(), [np.asarray(x, dtype=np.float64)]
    for _ in range(n):
        path.append(mixer.step(path[-1], f(path[-1])))
    return np.array(path)


def test_linear_mixing_is_a_fixed_fraction():
    path = iterate(lambda x: 0 * x, [1.0, -2.0], LinearMixing(0.25), 3)
    np.testing.assert_allclose(path, 0.75 ** np.arange(4)[:, None] * [1.0, -2.0], rtol=1e-15)


def test_directions_that_overshoot_are_accelerated():
    """Eigenvalues -3 and 1/2: the plain iteration triples its error, this one ends it."""
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]])
    matrix = rotation @ np.diag([-3.0, 0.5]) @ rotation.T
    path = iterate(lambda x: matrix @ x, [1.0, 1.0], AndersonMixing(), 40)
    assert np.linalg.norm(path[-1]) < 1e-6


def test_slow_directions_are_followed_plainly():
    """All eigenvalues above `max_eigenvalue`: nothing is learned, each step is the iteration's."""
    slow = np.array([0.9, 0.7])
    path = iterate(lambda x: slow * x, [1.0, 1.0], AndersonMixing(max_eigenvalue=0.5), 10)
    np.testing.assert_allclose(path, slow ** np.arange(11)[:, None], rtol=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_past_the_remnant_of_a_fixed_point_rounding_decides_nothing(seed):
    """``f(x) = x + x^2 + 1e-3`` has none: x creeps past zero and leaves; another direction cycles.

    Newton's method on ``x^2 + 1e-3 = 0`` is chaos. Here the path never turns back, and noise of
    1e-12 stays noise.
    """

    def f(x):
        return np.array([x[0] + x[0] ** 2 + 1e-3, -1.5 * x[1] + 0.3 * x[0]])

    noise = 1e-12 * np.random.default_rng(seed).standard_normal(2)
    start = np.array([-0.3, 0.2])
    paths = [iterate(f, x, AndersonMixing(), 90) for x in (start, start + noise)]
    assert np.all(np.diff(paths[0][:, 0]) > 0) and paths[0][-1, 0] > 0.05
    np.testing.assert_allclose(paths[1], paths[0], rtol=0, atol=1e-8)


def test_a_jump_of_the_residual_forgets_the_other_phase():
    """After a jump the step is the plain one, whatever was learned before it."""
    mixer = AndersonMixing().start()
    x = np.array([1.0, 1.0])
    for _ in range(4):
        x = mixer.step(x, -2.0 * x)
    jumped = x + 100.0
    np.testing.assert_allclose(mixer.step(x, jumped), jumped, rtol=1e-14)


def test_no_step_is_longer_than_allowed():
    recipe = AndersonMixing(max_step=1.5)
    mixer, x = recipe.start(), np.array([1.0, -0.5, 0.2])
    matrix = np.array([[0.2, 3.0, 0.0], [0.0, -0.9, 2.0], [0.5, 0.0, -2.0]])
    for _ in range(20):
        fx = matrix @ x
        new = mixer.step(x, fx)
        assert np.linalg.norm(new - x) <= 1.5 * np.linalg.norm(fx - x) * (1 + 1e-12)
        x = new


def test_equal_inputs_in_a_row_teach_nothing():
    mixer, x = AndersonMixing().start(), np.array([1.0, 2.0])
    for _ in range(3):
        np.testing.assert_array_equal(mixer.step(x, x), x)


class Decay:
    """A lattice, and a solver that it does not need: ``Delta = p / iw`` beside Hubbard bands.

    The peak's weight goes by ``p -> f(p)``.
    """

    particle_hole_symmetric = self_consistent = True
    bands = 0.125 * (1 / (1j * AXIS.omega_n - 2) + 1 / (1j * AXIS.omega_n + 2))

    def __init__(self, f):
        self.f, self.seen = f, []

    def bath(self, p):
        return MatsubaraHybridization(AXIS, self.bands + p / (1j * AXIS.omega_n))

    def solve_batch(self, problems):
        return [SimpleNamespace(diagnostics={}) for _ in problems]

    def update(self, problems, solutions):
        (rest,) = problems[0].hybridization.values - self.bands
        self.seen.append(float((rest * 1j * AXIS.omega_n).real.mean()))
        return [self.bath(self.f(self.seen[-1]))]

    def run(self, mixing=None):
        problem = ImpurityProblem(np.array([-2.0]), Interaction(4.0), self.bath(1.0), 50.0)
        return DMFTLoop(self, self, mixing).run_one(problem)


def test_a_plain_step_lies_between_input_and_output():
    x, fx = np.array([1.0, -2.0]), np.array([3.0, 2.0])
    for recipe in (AndersonMixing(fraction=0.25), LinearMixing(0.25)):
        np.testing.assert_allclose(recipe.start().plain(x, fx), [1.5, -1.0], rtol=1e-15)


def test_a_metal_that_dies_ends_by_causal_steps():
    """Faster and faster: the secant through the last two steps has its zero at p = -0.03.

    ``python dmft.py solver=ipt lattice=bethe problem.U=4 problem.beta=50`` is a case.
    """
    decay = Decay(lambda p: 0.6 * p * abs(p) ** 0.5)
    result = decay.run()
    assert result.converged and abs(decay.seen[-1]) < 1e-5
    assert min(decay.seen) > -3e-4  # which the bands' own damping outweighs
    plain = Decay(decay.f)
    plain.run(LinearMixing(1.0))
    np.testing.assert_allclose(decay.seen[:5], plain.seen[:5], rtol=1e-9)


def test_a_loop_that_stays_causal_is_never_stopped(monkeypatch):
    """It overshoots, ``df/dp = -1.5`` at the fixed point 0.5, and extrapolates all the way."""
    monkeypatch.setattr(type(AndersonMixing().start()), "plain", lambda self, x, fx: 1 / 0)
    decay = Decay(lambda p: 0.5 + 0.45 * np.tanh((0.5 - p) * 1.5 / 0.45))
    assert decay.run().converged and decay.seen[-1] == pytest.approx(0.5, abs=1e-4)


def test_vectors_are_accepted_where_all_eigenvalues_are_damped():
    """The diagonal alone does not tell: 1 and 1 with 1.1 between them has an eigenvalue -0.1."""
    n_iw = AXIS.omega_n.size
    for off, good in ((0.9, True), (1.1, False)):
        matrix = np.array([[1.0, off], [off, 1.0]])
        values = -1j * matrix[:, :, None] / AXIS.omega_n
        causal = MatsubaraHybridization(AXIS, -1j * np.eye(2)[:, :, None] / AXIS.omega_n)
        vector = np.concatenate([values.real.ravel(), values.imag.ravel()])
        assert vector.size == 8 * n_iw and causal.accepts(vector) is good
    one = MatsubaraHybridization(AXIS, 1 / (1j * AXIS.omega_n))
    assert one.accepts(one.vector()) and not one.accepts(-one.vector())
    assert not one.accepts(np.full(2 * n_iw, np.nan))

"""Representations of G(tau) against sums over levels written out, integrals, and closed forms."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.interpolate import CubicSpline
from scipy.special import eval_legendre, ive

from dmftnet.errors import InvalidProblemError, SettingError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.representations import (
    Chebyshev,
    Legendre,
    Representation,
    TauMesh,
    smallest,
    truncation_error,
)

BETA, W_MAX = 20.0, 3.0
KINDS = {
    "legendre": lambda: Legendre(BETA, 48),
    "chebyshev": lambda: Chebyshev(BETA, 47),
    "mesh": lambda: TauMesh(BETA, 81, W_MAX),
    "even mesh": lambda: TauMesh(BETA, 80, W_MAX),
    "intermediate": lambda: ImaginaryAxis(BETA, W_MAX),
}

LOST = {ImaginaryAxis: 1e-9, Legendre: 2e-12}
"""Of values on the way: what the basis drops; rounding of Gauss weights near the ends."""


@pytest.fixture(scope="module", params=KINDS)
def representation(request):
    return KINDS[request.param]()


def levels(seed):
    """Energies within W_MAX and weights of sum one; the ends of the range are among them."""
    rng = np.random.default_rng(seed)
    energies = np.concatenate([[-W_MAX, 0.0, W_MAX], rng.uniform(-W_MAX, W_MAX, 12)])
    return energies, rng.dirichlet(np.ones(energies.size))


def at_tau(energies, weights, tau):
    boltzmann = np.exp(-np.multiply.outer(tau, energies) - np.logaddexp(0, -BETA * energies))
    return -boltzmann @ weights


def at_frequencies(energies, weights, indices):
    return (weights / (1j * np.pi / BETA * indices[:, None] - energies)).sum(1)


def test_coefficients_and_values_hold_the_same(representation):
    assert isinstance(representation, Representation)
    n = representation.tau.size
    values = np.array([at_tau(*levels(seed), representation.tau) for seed in range(3)])
    coefficients = representation.from_tau(values)
    back = representation.at_tau(coefficients, representation.tau)
    limit = LOST.get(type(representation), 1e-13)
    assert back.shape == (3, n)
    np.testing.assert_allclose(back, values, rtol=0, atol=limit)
    again = representation.from_tau(back)
    np.testing.assert_allclose(again, coefficients, rtol=0, atol=BETA * limit)


def test_coefficients_of_any_size_come_back(representation):
    """From random coefficients: values and back, the representation alone."""
    n = representation.from_tau(np.zeros(representation.tau.size)).size
    coefficients = np.random.default_rng(0).standard_normal((2, n))
    values = representation.at_tau(coefficients, representation.tau)
    np.testing.assert_allclose(representation.from_tau(values), coefficients, rtol=0, atol=1e-11)


def test_the_truncation_error_bounds_every_spectrum(representation):
    """And is not idle: some spectrum comes within a factor of ten."""
    bound = truncation_error(representation, W_MAX)
    assert 1e-14 < bound < 1e-4
    tau = BETA * np.concatenate([[0.0], np.geomspace(1e-4, 0.5, 300)])
    tau = np.concatenate([tau, BETA - tau])
    worst = 0.0
    single = [(np.array([e]), np.ones(1)) for e in (-W_MAX, 0.3, 0.5 * W_MAX, W_MAX)]
    for energies, weights in [*single, *(levels(seed) for seed in range(5))]:
        values = at_tau(energies, weights, representation.tau)
        found = representation.at_tau(representation.from_tau(values), tau)
        worst = max(worst, np.abs(found - at_tau(energies, weights, tau)).max())
    assert 0.1 * bound < worst < 1.05 * bound


def test_frequencies_are_the_transform(representation):
    """Of either sign; within beta times the error of G(tau)."""
    indices = np.array([-2001, -3, -1, 1, 3, 5, 41, 2001])
    energies, weights = levels(1)
    coefficients = representation.from_tau(at_tau(energies, weights, representation.tau))
    found = representation.at_frequencies(coefficients, indices)
    exact = at_frequencies(energies, weights, indices)
    limit = BETA * truncation_error(representation, W_MAX)
    assert np.abs(found - exact).max() < limit


def test_the_transform_is_exact_of_what_is_held():
    """Not of the level only: against quadrature of the representation's own curve."""
    for kind in ("legendre", "chebyshev", "mesh"):
        representation = KINDS[kind]()
        rng = np.random.default_rng(3)
        c = rng.standard_normal(representation.tau.size) / (1 + np.arange(representation.tau.size))
        nodes, weights = np.polynomial.legendre.leggauss(24)
        edges = TauMesh(BETA, 81, W_MAX).tau  # the spline's own knots, narrow enough for any
        half = 0.5 * np.diff(edges)[:, None]
        tau = edges[:-1, None] + half * (1 + nodes)
        curve = representation.at_tau(c, tau.reshape(-1)) * (half * weights).reshape(-1)
        indices = np.array([-7, 1, 3, 31])
        exact = np.exp(1j * np.pi / BETA * np.outer(indices, tau.reshape(-1))) @ curve
        found = representation.at_frequencies(c, indices)
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-11 * np.abs(exact).max())


def test_the_other_end(representation):
    """``tau -> beta - tau`` is ``A(w) -> A(-w)``."""
    energies, weights = levels(2)
    tau = np.linspace(0, BETA, 41)
    mirrored = representation.mirrored(
        representation.from_tau(at_tau(energies, weights, representation.tau))
    )
    direct = representation.from_tau(at_tau(-energies, weights, representation.tau))
    np.testing.assert_allclose(
        representation.at_tau(mirrored, tau), representation.at_tau(direct, tau), rtol=0, atol=2e-9
    )
    error = truncation_error(representation, W_MAX)
    exact = at_tau(energies, weights, BETA - tau)
    np.testing.assert_allclose(
        representation.at_tau(mirrored, tau), exact, rtol=0, atol=error + 1e-12
    )


def test_complex_matrices_pass(representation):
    values = at_tau(*levels(4), representation.tau)
    matrix = np.array([[1, 0.3j], [-0.3j, 2]])[:, :, None] * values
    coefficients = representation.from_tau(matrix)
    one = representation.from_tau(values)
    np.testing.assert_allclose(coefficients[0, 1], 0.3j * one, rtol=0, atol=1e-9)
    at = representation.at_frequencies(coefficients, np.array([1, 3]))
    assert at.shape == (2, 2, 2)
    assert representation.at_tau(coefficients, np.array([0.0, 1.0, BETA])).shape == (2, 2, 3)


def test_legendre_coefficients_are_the_integrals():
    """``sqrt(2l + 1) integral P_l G``, by adaptive quadrature, of smooth and of steep levels."""
    energies, weights = np.array([-1.0, 0.2, 2.5]), np.array([0.3, 0.2, 0.5])
    representation = Legendre(BETA, 48)
    found = representation.from_tau(at_tau(energies, weights, representation.tau))
    for order in (0, 1, 2, 5, 12):
        integral, _ = quad(
            lambda t, order=order: (
                eval_legendre(order, 2 * t / BETA - 1) * at_tau(energies, weights, t)
            ),
            0, BETA, epsabs=1e-12, limit=400,
        )  # fmt: skip
        assert found[order] == pytest.approx(np.sqrt(2 * order + 1) * integral, abs=1e-9)


def test_even_and_odd_parts():
    for representation in (Legendre(BETA, 31), Chebyshev(BETA, 30)):
        tau = representation.tau
        symmetric = at_tau(np.array([-1.0, 1.0]), np.array([0.5, 0.5]), tau)
        coefficients = representation.from_tau(symmetric)
        even, odd = representation.parts(coefficients)
        assert even.size == (tau.size + 1) // 2 and np.abs(even).max() > 0.1
        assert np.abs(odd).max() < 1e-13
        np.testing.assert_array_equal(representation.joined(even, odd), coefficients)
        crooked = representation.from_tau(at_tau(np.array([0.4]), np.ones(1), tau))
        parts = representation.parts(crooked)
        turned = representation.joined(parts[0], -parts[1])
        np.testing.assert_array_equal(turned, representation.mirrored(crooked))


def test_chebyshev_errors_keep_the_closed_bound():
    """``e^(-a x) = I_0(a) + 2 sum (-1)^k I_k(a) T_k(x)``: interpolation errs by twice the rest."""
    a = BETA * W_MAX / 2
    for n in (24, 30, 40):
        rest = 2 * ive(np.arange(n, 400), a).sum() / (1 + np.exp(-2 * a))
        measured = truncation_error(Chebyshev(BETA, n), W_MAX)
        assert 0.1 * rest < measured <= 2 * rest + 1e-14


def test_the_mesh_errs_by_the_fourth_power_of_its_steps():
    errors = [truncation_error(TauMesh(BETA, n, W_MAX), W_MAX) for n in (40, 80, 160)]
    for coarse, fine in pairwise(errors):
        assert 10 < coarse / fine < 22


@pytest.mark.parametrize("n", [80, 81])
def test_the_mesh_is_dense_at_both_ends(n):
    mesh = TauMesh(BETA, n, W_MAX)
    steps = np.diff(mesh.tau)
    assert mesh.tau.size == n and mesh.tau[0] == 0 and mesh.tau[-1] == BETA
    assert steps.min() > 0 and 2 * steps[0] < BETA / n < steps.max() / 2
    np.testing.assert_allclose(mesh.tau + mesh.tau[::-1], BETA, rtol=0, atol=1e-13)


def test_the_mesh_beats_even_steps():
    """A level at w_max, 81 points; what even steps give is written out here."""
    one, tau = (np.array([W_MAX]), np.ones(1)), np.linspace(0, BETA, 4001)
    even = np.linspace(0, BETA, 81)
    worst = np.abs(CubicSpline(even, at_tau(*one, even))(tau) - at_tau(*one, tau)).max()
    assert worst > 10 * truncation_error(TauMesh(BETA, 81, W_MAX), W_MAX)


@pytest.mark.parametrize("kind", [Legendre, Chebyshev, lambda beta, n: TauMesh(beta, n, W_MAX)])
def test_the_smallest_representation(kind):
    found = smallest(lambda n: kind(BETA, n), W_MAX, 1e-5)
    assert truncation_error(found, W_MAX) <= 1e-5
    assert truncation_error(kind(BETA, found.tau.size - 1), W_MAX) > 1e-5


def test_sizes_grow_as_the_table_says():
    """Four times beta w_max: polynomials twice as many, a mesh a fixed number more."""
    of = {}
    for beta in (20.0, 80.0):
        for name, make in (("p", Chebyshev), ("m", lambda b, n: TauMesh(b, n, W_MAX))):
            best = smallest(lambda n, beta=beta, make=make: make(beta, n), W_MAX, 1e-5)
            of[name, beta] = best.tau.size
    assert 1.7 < of["p", 80.0] / of["p", 20.0] < 2.3
    assert of["m", 80.0] / of["m", 20.0] < 1.5


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Legendre(0.0, 8), SettingError, "beta = 0.0: give a number > 0"),
        (lambda: Chebyshev(1.0, 3), SettingError, "n = 3: give an integer >= 4"),
        (lambda: TauMesh(1.0, 8, -1.0), SettingError, "w_max = -1.0: give a number > 0"),
        (lambda: Legendre(2.0, 8).from_tau(np.zeros(7)), InvalidProblemError, "the 8 numbers"),
        (
            lambda: Chebyshev(2.0, 8).at_tau(np.zeros(8), np.array([2.1])),
            InvalidProblemError,
            "tau = 2.1: imaginary times lie in",
        ),
        (
            lambda: Legendre(2.0, 8).at_frequencies(np.zeros(8), np.array([1, 2])),
            InvalidProblemError,
            "index 2: fermionic",
        ),
        (
            lambda: smallest(lambda n: TauMesh(1e3, n, 10.0), 10.0, 1e-12),
            InvalidProblemError,
            "needs more than 4096 coefficients",
        ),
    ],
)  # fmt: skip
def test_errors_are_one_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)

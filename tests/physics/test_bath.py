"""Discrete baths: what the discretisation keeps, and that every form is the same bath."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.bath.chains import (
    MeanField,
    mean_field,
    mean_field_ground_state,
    natural_orbitals,
    star_to_chain,
)
from dmftnet.physics.bath.edges import interval_edges, weight_window
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import semicircle

GRID = FrequencyGrid.geometric(1e-3, 8.0, 400)
SEMICIRCLE = semicircle(GRID, 0.0, 1.0, 0.25)

spacings = st.sampled_from(["equal", "sinh", "geometric"])


@st.composite
def star_baths(draw, smallest=2, largest=9):
    """Random sites in [-1, 1], none decoupled, none twice."""
    n = draw(st.integers(smallest, largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    energies = np.linspace(-1, 1, n) + rng.uniform(-0.4, 0.4, n) / n
    return StarBath(energies, rng.uniform(0.05, 0.5, n))


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_bath=st.integers(2, 80),
    spacing=spacings,
    shift=st.floats(0.0, 0.95),
)
def test_total_weight_and_centroid_are_kept(seed, n_bath, spacing, shift):
    """``sum V^2`` and ``sum V^2 eps`` equal the integrals: every interval keeps both.

    Up to what is dropped (1e-6 of the weight an interval) or added (the spectator in a gap).
    """
    centre, width = np.random.default_rng(seed).uniform([-1, 0.2], [1, 0.8], (3, 2)).T
    curve = sum(semicircle(GRID, c, w, 0.1) for c, w in zip(centre, width, strict=True))
    bath = Intervals(n_bath, spacing, shift=shift).star(GRID, curve)
    weights = bath.couplings**2
    lost = 1e-6 * (n_bath + 1 - bath.n_bath) + 2e-4 * bath.spectator
    total = GRID.integrate(curve)
    assert weights.sum() == pytest.approx(total, rel=1e-12 + lost)
    x, h = GRID.omega, np.diff(GRID.omega)  # integral of E times the piecewise-linear curve
    y0, y1 = curve[:-1], curve[1:]
    first = (x[:-1] * h * (y0 + y1) / 2 + h**2 * (y0 / 6 + y1 / 3)).sum()
    assert weights @ bath.energies == pytest.approx(first, abs=1e-12 + 8 * lost * total)
    assert np.all(np.diff(bath.energies) > 0)


def test_couplings_are_the_integrals_over_the_intervals():
    """Equal intervals of a constant: equal weights at the midpoints."""
    grid = FrequencyGrid(np.linspace(-2, 2, 402))
    bath = Intervals(8, "equal", window_quantile=1.0).star(grid, np.full(402, 0.1))
    np.testing.assert_allclose(bath.couplings**2, 0.05, rtol=1e-12)
    np.testing.assert_allclose(bath.energies, np.arange(-1.75, 2, 0.5), atol=1e-12)


def test_equal_spacing():
    edges = interval_edges(10, (-1.0, 2.0), "equal")
    np.testing.assert_allclose(edges, np.linspace(-1, 2, 11), atol=1e-15)


def test_sinh_spacing():
    """``W sinh(a x) / sinh(a)`` on either side: exponential far out, linear within W/a at zero."""
    edges = interval_edges(41, (-1.0, 2.0), "sinh", stretch=4.0)
    x = np.linspace(-1, 1, 42)
    side = np.where(x < 0, 1.0, 2.0)
    np.testing.assert_allclose(edges, side * np.sinh(4 * x) / np.sinh(4), atol=1e-14)
    assert np.diff(edges).argmin() in (20, 19, 21) and edges[20] < 0 < edges[21]


@pytest.mark.parametrize("n_bath", [40, 41])
def test_geometric_spacing(n_bath):
    """Constant ratio between edges; the smallest is ``exp(-stretch)`` of the window."""
    edges = interval_edges(n_bath, (-1.0, 1.0), "geometric", stretch=4.0)
    positive = edges[edges > 1e-15]
    np.testing.assert_allclose(np.diff(np.log(positive)), np.log(positive[1] / positive[0]))
    if n_bath % 2:  # one interval around zero
        assert positive[0] == pytest.approx(np.exp(-4.0))
        np.testing.assert_allclose(edges, -edges[::-1], atol=1e-15)
    else:
        assert np.any(edges == 0)


@given(spacing=spacings, n_bath=st.integers(2, 60), shift=st.floats(0.0, 0.99))
def test_edges_increase_and_end_at_the_shifted_window(spacing, n_bath, shift):
    edges = interval_edges(n_bath, (-1.5, 0.7), spacing, shift=shift)
    assert edges.shape == (n_bath + 1,) and np.all(np.diff(edges) > 0)
    assert edges[0] == pytest.approx(-1.5 / 0.7 * edges[-1]) and edges[-1] >= 0.7
    if shift == 0:
        assert edges[0] == -1.5 and edges[-1] == 0.7


def test_a_whole_shift_is_the_next_edge():
    """Beyond the linear middle of the sinh, edges of shift 1 fall on those of shift 0."""
    still, moved = (interval_edges(59, (-1, 1), shift=shift) for shift in (0.0, 1.0 - 1e-12))
    np.testing.assert_allclose(moved[45:-1], still[46:], rtol=1e-2)
    halfway = interval_edges(59, (-1, 1), shift=0.5)
    np.testing.assert_allclose(halfway[45:-1] ** 2, still[45:-1] * still[46:], rtol=1e-2)


def test_window_follows_the_bulk_of_the_weight():
    """A tail of 1e-4 of the weight far out does not stretch the window."""
    tail = SEMICIRCLE + 2.5e-5 * semicircle(GRID, 5.0, 0.5, 1.0)
    low, high = weight_window(GRID, tail, 0.999)
    assert -1.05 < low < -0.9 and 0.9 < high < 1.05
    even = weight_window(GRID, SEMICIRCLE)
    assert even[0] == -even[1]
    one_sided = weight_window(GRID, semicircle(GRID, 1.5, 0.4, 1.0))
    assert one_sided[0] < 0 < one_sided[1]


def test_shift_averaging_approaches_the_continuum():
    """At 0.05 above the axis, level spacings show; four shifted grids average them out."""
    z = np.linspace(-0.8, 0.8, 81) + 0.05j
    exact = (z - 1j * np.sqrt(1 - z**2)) / 2

    def delta(shift):
        return Intervals(15, shift=shift).star(GRID, SEMICIRCLE).hybridization_function(z)

    shifted = [delta(shift) for shift in (0.0, 0.25, 0.5, 0.75)]
    single = np.mean([np.abs(d - exact).mean() for d in shifted])
    assert np.abs(np.mean(shifted, axis=0) - exact).mean() < 0.5 * single


def test_a_gap_gets_one_spectator_at_zero():
    gapped = semicircle(GRID, -1.0, 0.5, 0.125) + semicircle(GRID, 1.0, 0.5, 0.125)
    bath = Intervals(21).star(GRID, gapped)
    assert bath.spectator and np.count_nonzero(bath.energies == 0) == 1
    assert bath.couplings[bath.energies == 0] ** 2 < 1e-7
    np.testing.assert_allclose(bath.energies, -bath.energies[::-1], atol=1e-9)
    assert not Intervals(21).star(GRID, SEMICIRCLE).spectator


@given(bath=star_baths())
def test_star_and_chain_are_one_bath(bath):
    z = np.linspace(-2, 2, 21) + 0.3j
    chain = star_to_chain(bath)
    assert chain.hoppings[0] ** 2 == pytest.approx(np.sum(bath.couplings**2))
    np.testing.assert_allclose(
        np.linalg.eigvalsh(chain.one_body(-0.3)),
        np.linalg.eigvalsh(bath.one_body(-0.3)),
        atol=1e-12,
    )
    energies, vectors = np.linalg.eigh(chain.one_body(0.0)[1:, 1:])
    np.testing.assert_allclose(energies, bath.energies, atol=1e-11)
    couplings = np.abs(chain.hoppings[0] * vectors[0])
    np.testing.assert_allclose(couplings, bath.couplings, atol=1e-9)
    by_inverse = np.linalg.inv(z[:, None, None] * np.eye(bath.n_bath + 1) - chain.one_body(0.0))
    np.testing.assert_allclose(
        z - 1 / by_inverse[:, 0, 0], bath.hybridization_function(z), atol=1e-11
    )


@given(bath=star_baths(), U=st.floats(0, 4), eps_d=st.floats(-3, 1), pairs=st.integers(0, 100))
def test_natural_orbitals_are_the_same_impurity(bath, U, eps_d, pairs):
    """For any particle number: same spectrum, same impurity, one partially filled orbital."""
    n_pairs = 1 + pairs % bath.n_bath
    state = mean_field(bath, eps_d, U, n_pairs)
    natural = natural_orbitals(bath, eps_d, U, state)
    n_v, n = natural.valence.size, bath.n_bath + 1
    assert (natural.n_pairs, n_v, natural.conduction.size) == (
        n_pairs,
        n_pairs - 1,
        n - n_pairs - 1,
    )
    star_levels, star_vectors = np.linalg.eigh(bath.one_body(eps_d))
    levels, vectors = np.linalg.eigh(natural.one_body(eps_d))
    np.testing.assert_allclose(levels, star_levels, atol=1e-11)
    z = 0.3 + 0.5j  # the impurity's own Green's function: weights too
    np.testing.assert_allclose(
        (vectors[n_v] ** 2 / (z - levels)).sum(), (star_vectors[0] ** 2 / (z - star_levels)).sum()
    )
    # the mean-field density matrix in this basis: filled chain, (d, b), empty chain
    _, orbitals = np.linalg.eigh(natural.one_body(eps_d + U * state.n_d))
    density = orbitals[:, :n_pairs] @ orbitals[:, :n_pairs].T
    expected = np.concatenate([np.ones(n_v), [state.n_d, 1 - state.n_d], np.zeros(n - n_pairs - 1)])
    np.testing.assert_allclose(np.diag(density), expected, atol=1e-8)


@given(bath=star_baths(), U=st.floats(0, 4), eps_d=st.floats(-3, 1))
def test_exactly_one_bath_orbital_is_partially_filled(bath, U, eps_d):
    """The theorem behind the method, on the star's own density matrix."""
    state = mean_field_ground_state(bath, eps_d, U)
    _, C = np.linalg.eigh(bath.one_body(eps_d + U * state.n_d))
    density = C[1:, : state.n_pairs] @ C[1:, : state.n_pairs].T
    occupations = np.linalg.eigvalsh(density)
    between = (occupations > 1e-9) & (occupations < 1 - 1e-9)
    assert np.count_nonzero(between) <= 1  # 0 where d itself is full or empty to 1e-9
    assert occupations.sum() + state.n_d == pytest.approx(state.n_pairs)


@given(bath=star_baths(), U=st.floats(0, 4), eps_d=st.floats(-3, 1))
def test_mean_field_is_self_consistent_and_variational(bath, U, eps_d):
    """``<n_d>`` reproduces itself, and no neighbouring particle number has a lower energy."""
    state = mean_field_ground_state(bath, eps_d, U)
    levels, C = np.linalg.eigh(bath.one_body(eps_d + U * state.n_d))
    assert (C[0, : state.n_pairs] ** 2).sum() == pytest.approx(state.n_d, abs=1e-9)
    assert state.energy == pytest.approx(2 * levels[: state.n_pairs].sum() - U * state.n_d**2)
    for n_pairs in {max(1, state.n_pairs - 1), min(bath.n_bath, state.n_pairs + 1)}:
        assert mean_field(bath, eps_d, U, n_pairs).energy >= state.energy - 1e-12


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: interval_edges(1, (-1, 1)), "n_bath = 1: .*at least 2"),
        (lambda: interval_edges(5, (0.1, 1)), r"window \(0.1, 1\) must contain zero"),
        (lambda: interval_edges(5, (-1, 1), shift=1.0), r"shift = 1.0: .*in \[0, 1\)"),
        (lambda: interval_edges(5, (-1, 1), "log"), "'log' is unknown; use equal, sinh"),
        (lambda: Intervals(5).star(GRID, 0 * SEMICIRCLE), "vanishes everywhere"),
    ],
)
def test_bad_input_is_refused_in_one_line(make, text):
    with pytest.raises(InvalidProblemError, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_particle_number_outside_the_bath_is_refused():
    bath = StarBath(np.array([-0.5, 0.5]), np.array([0.3, 0.3]))
    state = MeanField(n_pairs=3, n_d=1.0, energy=0.0)
    with pytest.raises(InvalidProblemError, match=r"n_pairs = 3: .*1 <= n_pairs <= 2"):
        natural_orbitals(bath, 0.0, 1.0, state)


def test_a_decoupled_impurity_is_refused():
    bath = StarBath(np.array([-0.5, 0.5]), np.array([0.0, 0.0]))
    state = MeanField(n_pairs=1, n_d=1.0, energy=0.0)
    with pytest.raises(InvalidProblemError, match=r"decoupled.*finite coupling"):
        natural_orbitals(bath, -1.0, 0.0, state)


@pytest.mark.parametrize("quantile", [0.9, 0.999])
def test_the_window_follows_the_spectrum_between_the_points_of_the_grid(quantile):
    """A band that grows by 1e-6 moves the window by about as much; on the points it would jump.

    Exactly: the tails of a flat band, linear in its edge.
    """
    grid = FrequencyGrid.geometric(1e-2, 8.0, 120)  # cells of 12 %
    edges = []
    for half_width in 1.0 + 1e-6 * np.arange(200):
        share = np.clip((half_width - np.abs(grid.omega)) / 0.3, 0.0, 1.0)
        edges.append(weight_window(grid, share, quantile))
    low, high = np.array(edges).T
    np.testing.assert_allclose(low, -high, rtol=1e-12)
    steps = np.diff(high)
    assert np.all(steps > 0) and steps.max() < 1e-5
    flat = np.ones(grid.n_w)
    expected = -8.0 + 0.5 * (1 - quantile) * 16.0
    assert weight_window(grid, flat, quantile)[0] == pytest.approx(expected, rel=1e-12)

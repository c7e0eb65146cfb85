"""The restricted-active-space solver against brute force, free electrons and NRG."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from physics.brute_force import BruteForce

from dmftnet.errors import InvalidProblemError, SpaceTooLargeError
from dmftnet.physics.analysis.quasiparticle import matsubara_weight
from dmftnet.physics.bath.chains import mean_field, mean_field_ground_state, natural_orbitals
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.krylov import ras, ras_space
from dmftnet.physics.solvers.krylov.ras import RasSolver
from dmftnet.physics.solvers.krylov.ras_sector import Sector
from dmftnet.physics.solvers.krylov.ras_strings import ACTIVE, resolve_depths, spin_strings

GRID = FrequencyGrid.geometric(1e-3, 8.0, 800)
SEMICIRCLE = semicircle(GRID, 0.0, 1.0, 0.25)
FULL = RasSolver(depths=("all",) * 4, ground_state_tolerance=1e-13, n_lanczos=60)


def star(energies, couplings):
    return StarBath(np.array(energies, float), np.array(couplings, float))


def moments(poles, n=4):
    return np.stack([poles.G.moments(n), poles.F.moments(n), poles.I.moments(n)])


def assert_equals_brute_force(state, exact):
    """Energy 1e-12, moments 1e-10; occupations follow from the same vector."""
    assert state.energy == pytest.approx(exact.energy, abs=1e-12)
    np.testing.assert_allclose(moments(state.poles), exact.moments(), rtol=0, atol=1e-10)
    assert state.filling == pytest.approx(exact.filling, abs=1e-11)
    assert state.double_occupancy == pytest.approx(exact.double_occupancy, abs=1e-11)
    assert state.diagnostics["sector_verified"]


CASES = {
    "half filled": (-1.0, 2.0, [-0.7, 0.0, 0.7], [0.3, 0.25, 0.3]),
    "doped": (-0.4, 2.0, [-0.8, 0.1, 0.9], [0.3, 0.2, 0.35]),
    "strong": (-3.0, 7.0, [-0.5, -0.1, 0.4], [0.2, 0.3, 0.4]),
    "all sites below": (-2.5, 2.0, [-0.9, -0.5, -0.2], [0.3, 0.2, 0.4]),
    "empty impurity": (1.5, 1.0, [-0.2, 0.1, 0.5], [0.3, 0.1, 0.4]),
    "odd electrons": (-1.0, 2.0, [-0.6, 0.6], [0.3, 0.3]),
    "odd electrons, doped": (-0.3, 1.5, [-0.5, 0.8], [0.3, 0.35]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_full_space_equals_brute_force(case):
    eps_d, U, energies, couplings = case
    exact = BruteForce(eps_d, U, energies, couplings)
    state = FULL.solve_star(star(energies, couplings), eps_d, U)
    assert_equals_brute_force(state, exact)
    assert state.diagnostics["n_up"] + state.diagnostics["n_down"] == round(exact.electrons)
    # Pole by pole: Krylov directions shorter than 3e-8 of the block's length are dropped, and how
    # well the last one kept is known is a matter of rounding. Four BLAS kernels give errors of 1e-9
    # to 1e-8, last digits of the bath changed at random up to 2e-8, where |G| is 5.
    z = np.linspace(-4, 4, 33) + 0.05j
    G = exact.greens(z)
    np.testing.assert_allclose(state.poles.G.greens(z), G, rtol=0, atol=3e-8 * np.abs(G).max())


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), U=st.floats(0.1, 5), shift=st.floats(-2.5, 2.5))
def test_random_impurities_equal_brute_force(seed, U, shift):
    rng = np.random.default_rng(seed)
    energies = np.array([-0.7, 0.1, 0.6]) + rng.uniform(-0.25, 0.25, 3)
    couplings = rng.uniform(0.1, 0.6, 3)
    exact = BruteForce(shift - U / 2, U, energies, couplings)
    levels = exact.levels - exact.energy
    assume(np.min(levels[levels > 1e-9]) > 1e-2)  # at a level crossing either side would be right
    state = FULL.solve_star(star(energies, couplings), shift - U / 2, U)
    assert_equals_brute_force(state, exact)


@pytest.mark.parametrize("n_bath", [2, 3])
def test_mirrored_removal_side_equals_the_explicit_run(n_bath):
    """Half filling: ``d -> d+``, ``q -> U d+ - q+`` gives the removal side of all three."""
    energies = np.linspace(-0.8, 0.8, n_bath)
    bath = star(energies, 0.2 + 0.1 * np.cos(energies))
    explicit = FULL.solve_star(bath, -1.2, 2.4, symmetric=False)
    mirrored = FULL.solve_star(bath, -1.2, 2.4, symmetric=True)
    np.testing.assert_allclose(moments(mirrored.poles), moments(explicit.poles), atol=1e-11)
    z = np.linspace(-3, 3, 20) + 0.1j
    for part in "GFI":
        one, two = (getattr(state.poles, part).greens(z) for state in (mirrored, explicit))
        np.testing.assert_allclose(one, two, rtol=0, atol=2e-8)  # as above


@settings(max_examples=25)
@given(
    n=st.integers(2, 30),
    eps_d=st.floats(-2, 2),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["any", "symmetric", "two alike", "one-sided", "faint site"]),
)
def test_no_interaction_any_bath(n, eps_d, seed, kind):
    """One excitation is exact: ``G = 1/(z - eps_d - Delta)`` to 1e-10, at default tolerance."""
    rng = np.random.default_rng(seed)
    energies, couplings = np.sort(rng.uniform(-1, 1, n)), rng.uniform(0.05, 0.6, n) / np.sqrt(n)
    if kind == "symmetric":
        energies, couplings, eps_d = energies - energies[::-1], couplings + couplings[::-1], 0.0
    elif kind == "two alike":
        energies[-1] = energies[-2]
    elif kind == "one-sided":
        energies = np.abs(energies)
    elif kind == "faint site":
        couplings[0] = 1e-9
    bath = star(energies, couplings)
    poles = RasSolver(depths=("all",)).solve_star(bath, eps_d, 0.0).poles
    z = np.linspace(-3, 3, 61) + 0.1j
    exact = 1 / (z - eps_d - bath.hybridization_function(z))
    np.testing.assert_allclose(poles.G.greens(z), exact, rtol=0, atol=1e-10)
    levels = np.linalg.eigvalsh(bath.one_body(eps_d))
    heavy = poles.energies[poles.G.weights > 1e-12]
    assert np.abs(heavy[:, None] - levels).min(axis=1).max() < 1e-10
    assert np.all(poles.amplitudes[:, 1] == 0)  # no interaction, no q


def small_sector(depths, n_v=3, n_c=2, U=2.0):
    """Natural orbitals of a random bath with the wanted chain lengths."""
    rng = np.random.default_rng(1)
    n_bath = n_v + n_c + 1
    bath = star(np.sort(rng.uniform(-1, 1, n_bath)), rng.uniform(0.2, 0.5, n_bath))
    natural = natural_orbitals(bath, -0.7, U, mean_field(bath, -0.7, U, n_v + 1))
    return Sector(natural, resolve_depths(depths, natural), -0.7, U, 1.0)


def allowed_determinants(n_v, n_c, depths, n_up, n_down):
    """By itertools: all pairs of occupied sets whose excitations obey the restriction.

    Orbitals in the order ``v_nv .. v_1, d, b, c_1 .. c_nc``.
    """
    orbitals = range(n_v + n_c + 2)
    found = set()
    for up in combinations(orbitals, n_up):
        for down in combinations(orbitals, n_down):
            holes = [n_v - o for occ in (up, down) for o in range(n_v) if o not in occ]
            particles = [o - n_v - 1 for occ in (up, down) for o in occ if o > n_v + 1]
            deep = sorted(holes + particles, reverse=True)
            if len(deep) <= len(depths) and all(a <= b for a, b in zip(deep, depths, strict=False)):
                found.add((up, down))
    return found


def occupied(codes, active, n_v):
    """Occupied orbitals of a string, in the same order."""
    holes = {n_v - c // 2 for c in codes if c and c % 2 == 0}
    particles = {n_v + 1 + c // 2 for c in codes if c % 2 == 1}
    middle = {n_v + i for i in range(2) if ACTIVE[active, i]}
    return tuple(sorted((set(range(n_v)) - holes) | particles | middle))


@pytest.mark.parametrize("depths", [("all",), (3, 1), ("all", 2), ("all", 2, 1), ("all",) * 4])
@pytest.mark.parametrize("numbers", [(4, 4), (4, 3), (5, 4)])
def test_determinants_obey_the_restriction(depths, numbers):
    sector = small_sector(depths)
    space = sector.space(*numbers)
    up, down = space.pairs()
    found = {
        (occupied(space.up.codes[u], space.up.active[u], 3),
         occupied(space.down.codes[d], space.down.active[d], 3))
        for u, d in zip(up, down, strict=True)
    }  # fmt: skip
    assert len(found) == space.n_determinants  # each one once
    assert found == allowed_determinants(3, 2, sector.depths, *numbers)
    np.testing.assert_array_equal(space.index(up, down), np.arange(space.n_determinants))


@pytest.mark.parametrize("depths", [(3, 1), ("all", 2, 1)])
def test_restricted_hamiltonian_is_a_block_of_the_full_one(depths):
    """Symmetric, and element by element the full space's, in whatever order."""
    part, full = small_sector(depths), small_sector(("all",) * 7)
    space, everything = part.space(4, 4), full.space(4, 4)
    H, whole = part.hamiltonian(space), full.hamiltonian(everything)
    dense = np.stack([H.apply(row) for row in np.eye(H.dimension)])
    np.testing.assert_array_equal(dense, dense.T)
    np.testing.assert_allclose(H.apply(np.eye(H.dimension)[:, :2]), dense[:, :2], atol=1e-15)
    up, down = space.pairs()
    where = everything.index(
        everything.up.find(*padded(space.up, up)), everything.down.find(*padded(space.down, down))
    )
    rows = np.eye(whole.dimension)[where]
    block = np.stack([whole.apply(row) for row in rows])[:, where]
    np.testing.assert_allclose(dense, block, rtol=0, atol=1e-13)


def padded(strings, which, length=7):
    """(codes, active) of strings, codes as long as the full space's."""
    codes = strings.codes[which]
    return np.pad(codes, ((0, 0), (0, length - codes.shape[1]))), strings.active[which]


@pytest.mark.parametrize("wrong", [-1, 1])
def test_the_ground_sector_is_found_from_a_wrong_guess(monkeypatch, wrong):
    """A mean field with one pair too few or too many: the search climbs down to the true sector."""
    eps_d, U, energies, couplings = CASES["doped"]
    true = mean_field_ground_state(star(energies, couplings), eps_d, U).n_pairs
    monkeypatch.setattr(
        ras,
        "mean_field_ground_state",
        lambda bath, eps_d, U: mean_field(bath, eps_d, U, true + wrong),
    )
    state = FULL.solve_star(star(energies, couplings), eps_d, U)
    assert state.diagnostics["sectors_tried"] >= 3
    assert_equals_brute_force(state, BruteForce(eps_d, U, energies, couplings))


def test_too_large_a_space_is_refused_before_it_is_taken(monkeypatch):
    def never(*arguments):
        raise AssertionError("the Hamiltonian was built")

    monkeypatch.setattr(ras_space, "_fill_rows", never)
    problem = ImpurityProblem.on_grid(2.0, -1.0, GRID, SEMICIRCLE)
    with pytest.raises(SpaceTooLargeError, match=r"determinants.* max_memory = 0.05 GiB") as caught:
        RasSolver(max_memory=0.05).solve(problem)
    message = str(caught.value)
    assert "\n" not in message and "smaller depths" in message


def test_too_many_strings_are_refused_before_they_are_listed():
    """("all",) * 7 at 59 sites has 2e9 strings of one spin: 100 GiB before any determinant."""
    with pytest.raises(SpaceTooLargeError, match="31,550,290,164 determinants"):
        RasSolver(depths=("all",) * 7, max_memory=0.5).expected_cost()
    bath = Intervals(59).star(GRID, SEMICIRCLE)
    orbitals = natural_orbitals(bath, -1.0, 2.0, mean_field_ground_state(bath, -1.0, 2.0))
    depths = resolve_depths(("all",) * 7, orbitals)
    with pytest.raises(SpaceTooLargeError, match="strings"):
        spin_strings(orbitals, depths, orbitals.n_pairs, max_memory=0.5)


def test_201_bath_sites():
    """Shallow depths; the exact laws hold in any restricted space, here to the residual 1e-5."""
    state = RasSolver(depths=("all", 4, 1), bath=Intervals(201), n_lanczos=60).solve(
        ImpurityProblem.on_grid(2.0, -1.0, GRID, SEMICIRCLE)
    )
    assert state.diagnostics["determinants"] > 10_000 and state.diagnostics["sector_verified"]
    G, F = state.greens[0].G, state.greens[0].F
    np.testing.assert_allclose(G.moments(2), [1, 0], atol=1e-4)
    assert F.moments(1)[0] == pytest.approx(1.0, abs=1e-4)  # U n/2
    assert 0.09 < state.double_occupancy < 0.12  # NRG 0.10776


def test_chains_beyond_the_string_keys_are_refused():
    with pytest.raises(InvalidProblemError, match="limit is 127"):
        spread = star(np.linspace(0.01, 1, 140), np.full(140, 0.05))
        RasSolver(depths=("all", 2)).solve_star(spread, 0.0, 1.0)


def test_without_self_energy_the_poles_of_G_are_the_same():
    """A single-vector run differs in its Ritz values but not in its moments, nor in G off axis."""
    problem = ImpurityProblem.on_grid(2.0, -0.8, GRID, SEMICIRCLE)
    options = {"depths": ("all", 6, 1), "bath": Intervals(21), "ground_state_tolerance": 1e-9}
    one = RasSolver(**options, with_self_energy=False).solve(problem)
    both = RasSolver(**options).solve(problem)
    assert np.all(one.greens[0].amplitudes[:, 1] == 0)
    np.testing.assert_allclose(
        one.greens[0].G.moments(8), both.greens[0].G.moments(8), rtol=1e-9, atol=1e-9
    )
    z = np.linspace(-3, 3, 61) + 0.2j
    np.testing.assert_allclose(
        one.greens[0].G.greens(z), both.greens[0].G.greens(z), rtol=0, atol=1e-8
    )
    # without q there is no F: the self-energy comes from Dyson's equation of the discrete bath
    assert one.estimator == "dyson" and np.all(np.isfinite(one.self_energy()))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"depths": ()}, "depths = \\(\\): give 1 to 7 entries"),
        ({"depths": ("all",) * 8}, "give 1 to 7 entries"),
        ({"depths": ("all", "some")}, 'each "all" or an integer >= 1'),
        ({"depths": ("all", 0)}, "integer >= 1"),
        ({"n_lanczos": 0}, "n_lanczos = 0 must be >= 1"),
    ],
)
def test_bad_settings_are_refused(options, text):
    with pytest.raises(InvalidProblemError, match=text):
        RasSolver(**options)


def test_fixed_semicircle_against_nrg_doped():
    """U = 2, eps_d = -0.5; NRG: n = 0.81801(3), Re Sigma(0) = 0.6194(3)."""
    solution = RasSolver().solve(ImpurityProblem.on_grid(2.0, -0.5, GRID, SEMICIRCLE))
    assert solution.filling == pytest.approx(0.81801, abs=2e-3)
    sigma = GRID.at_zero(solution.self_energy()[0])
    assert sigma.real == pytest.approx(0.6194, abs=1e-2)
    assert abs(sigma.imag) < 1e-2  # a Fermi liquid; zero but for the broadening 2e-3


def test_fixed_semicircle_against_nrg_half_filled():
    """U = 2, eps_d = -1; NRG: Z = 0.376 at Matsubara 0.01, double occupancy 0.10776(2)."""
    solution = RasSolver().solve(ImpurityProblem.on_grid(2.0, -1.0, GRID, SEMICIRCLE))
    Z = matsubara_weight(solution.problem, solution.spectrum(), [0.01])[0, 0]
    assert Z == pytest.approx(0.376, rel=2e-2)
    assert solution.double_occupancy == pytest.approx(0.10776, rel=1e-2)
    assert solution.filling == pytest.approx(1, abs=1e-9)


def test_averaging_over_shifts_smooths_the_self_energy():
    """Level spacings show as ripples; the mean over interleaved baths takes them away."""
    problem = ImpurityProblem.on_grid(4.0, -2.0, GRID, SEMICIRCLE)
    outside = np.abs(GRID.omega) > 1.0
    sigma = {}
    for n in (1, 2, 8):
        solution = RasSolver(("all", 4, 2), bath=Intervals(29), n_lanczos=40, n_shifts=n).solve(
            problem
        )
        assert solution.greens[0].G.weights.sum() == pytest.approx(1.0, abs=1e-6)
        assert solution.filling == pytest.approx(1.0, abs=1e-8)
        assert solution.diagnostics["sectors_tried"] == n
        sigma[n] = solution.self_energy()[0]
        np.testing.assert_allclose(sigma[n] + sigma[n].conj()[::-1], 4.0, atol=1e-6)
    error = {n: np.abs(sigma[n] - sigma[8])[outside].mean() for n in (1, 2)}
    assert error[2] < 0.3 * error[1]

"""Operator strings on sampled ground states."""

import numpy as np
import pytest
from physics.toy_chains import chain_matrix

from dmftnet.errors import SettingError, SpaceTooLargeError
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.fermions.hamiltonian import kanamori, quadratic
from dmftnet.physics.fermions.kanamori import KanamoriCluster
from dmftnet.physics.fermions.operators import Operator, mode
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.scol.ground_states import (
    ExplicitState,
    GroundStates,
    is_resampled,
)
from dmftnet.physics.solvers.scol.responses import (
    infrared_cutoff,
    orbital_poles,
    resampled_poles,
)
from dmftnet.physics.solvers.scol.sampled_states import (
    SampledGroundStates,
    SampledState,
    VectorAmplitudes,
    found_weights,
    jackknife_error,
)
from dmftnet.physics.solvers.scol.sets import Reach, string_set
from dmftnet.physics.solvers.scol.solver import ScolSolver

GRID = FrequencyGrid.geometric(1e-4, 8.0, 1600)
HUND = Interaction(1.2, 0.2)
SECTORS = {1: (2, 3), 2: (3, 2)}


def explicit(n_orb, lowest=0):
    """A chain, not half filled, in one sector; eigenstate number `lowest`."""
    interaction = HUND if n_orb > 1 else Interaction(2.0)
    h, chains = chain_matrix(4 if n_orb == 1 else 1, levels=(-0.7, -0.5)[:n_orb])
    cluster, sector = KanamoriCluster(h, interaction, n_orb), SECTORS[n_orb]
    energies, vectors = np.linalg.eigh(cluster.hamiltonian(sector).toarray())
    psi = vectors[:, lowest : lowest + 1]
    state = ExplicitState(cluster, sector, psi, energies[lowest : lowest + 1], np.ones(1))
    return state, chains


def sampled(state, n_samples, **settings):
    source = VectorAmplitudes(state.cluster, state.sector, state.vectors[:, 0])
    return SampledState(source, n_samples, **settings)


def matrices(projection):
    """S and H of the strings themselves."""
    V = projection.states
    return V.T @ V, V.T @ projection.hamiltonian @ V


@pytest.mark.parametrize("estimator", ["mixture", "pairwise"])
@pytest.mark.parametrize("n_orb", [1, 2])
@pytest.mark.parametrize("side", [1, -1])
def test_matrices_tend_to_those_of_the_vector(estimator, n_orb, side):
    """Within five standard errors, element by element; signs of both spins included."""
    state, chains = explicit(n_orb)
    drawn = sampled(state, 40_000, estimator=estimator)
    assert is_resampled(drawn) and not is_resampled(state)
    for spin in (0, 1):
        cluster = state.cluster
        found = string_set(cluster.one_body, cluster.interaction, chains, 0, spin, Reach(1, 1, 3))
        strings = (found if side > 0 else found.adjoint()).strings
        exact = matrices(state.projection(strings, 1e-7))
        own = matrices(drawn.projection(strings, 1e-7))
        each = [matrices(drawn.without(b).projection(strings, 1e-7)) for b in range(10)]
        for k in (0, 1):
            error = jackknife_error(np.array([pair[k] for pair in each]))
            assert np.all(np.abs(own[k] - exact[k]) < 6 * error + 1e-5)
            assert error.max() < 0.05


def test_everything_found_is_exact():
    """A state of few determinants, none of them rare: the mixture is the exact sum."""
    state, chains = explicit(2)
    cluster = state.cluster
    rng = np.random.default_rng(2)
    psi = rng.uniform(0.5, 1, state.vectors.shape) * rng.choice([-1, 1], state.vectors.shape)
    psi /= np.linalg.norm(psi)
    H = cluster.hamiltonian(state.sector)
    mean = psi[:, 0] @ (H @ psi[:, 0])
    state = ExplicitState(cluster, state.sector, psi, np.array([mean]), np.ones(1))
    drawn = sampled(state, 200_000)
    strings = string_set(cluster.one_body, HUND, chains, 0, 0, Reach(2, 1, 5)).strings
    for one, other in zip(
        matrices(drawn.projection(strings, 1e-7)),
        matrices(state.projection(strings, 1e-7)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
    assert drawn.energy == pytest.approx(mean, abs=1e-9)
    assert drawn.variance == pytest.approx(state.variance, rel=1e-6)
    assert drawn.energy_error < 1e-9


def test_energy_and_mean_values():
    state, _ = explicit(1)
    drawn = sampled(state, 5_000)
    assert drawn.energy == pytest.approx(state.energy, abs=1e-10)  # an eigenstate has no noise
    assert drawn.variance < 1e-18
    cluster, n = state.cluster, state.cluster.n_sites
    H = quadratic(cluster.one_body) + kanamori(cluster.interaction, 1, n)
    assert drawn.mean(H).real == pytest.approx(state.energy, abs=1e-10)
    assert drawn.mean(Operator.of((0,), ())) == 0
    pair = Operator.of((mode(0, 0, n), mode(0, 1, n)), (mode(0, 1, n), mode(0, 0, n)))
    errors = [drawn.without(b).mean(pair).real for b in range(drawn.n_blocks)]
    off = drawn.mean(pair).real - state.mean(pair).real
    assert abs(off) < 5 * jackknife_error(np.array(errors)) < 0.05


def test_probability_to_be_found():
    """Of three determinants over all sequences of two draws, by hand."""
    p = np.array([0.5, 0.3, 0.2])
    weights = found_weights(p, np.array([True, False, True]), 2)
    np.testing.assert_allclose(weights, [1 / 0.75, 0, 1 / 0.36], rtol=1e-14)
    np.testing.assert_array_equal(found_weights(np.ones(1), np.ones(1, bool), 3), [1.0])


def test_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(1).normal(size=12)
    left = np.array([np.delete(x, i).mean() for i in range(12)])
    assert jackknife_error(left) == pytest.approx(x.std(ddof=1) / np.sqrt(12), rel=1e-12)


def test_spectrum_of_a_sampled_chain():
    """Eight sites, U / Gamma = 10, 1e4 draws: KL 1e-4 of the broad, 1e-3 of the narrow spectrum."""
    bath, U = Wilson(7), 1.0
    problem = ImpurityProblem.on_grid(U, -U / 2, GRID, semicircle(GRID, 0, 1, 0.05))
    finder = SampledGroundStates(10_000)
    assert isinstance(finder, GroundStates)
    found = ScolSolver(ground_state=finder, bath=bath).solve(problem)
    exact = ScolSolver(bath=bath).solve(problem)
    for width, limit in ((0.7, 1e-4), (0.3, 1e-3)):
        curves = [s.greens[0].G.log_gaussian_spectrum(GRID.omega, width) for s in (exact, found)]
        assert kl_divergence(GRID, *curves) < limit
    first = exact.greens[0].G.energies[exact.greens[0].G.energies > 0].min()
    assert 0 < found.diagnostics["infrared_cutoff"] < 0.1 * first
    assert found.diagnostics["wrong_weight"] == 0
    assert found.diagnostics["energy_error"] < 1e-8
    assert "infrared_cutoff" not in exact.diagnostics


def test_error_bars_cover_the_exact_spectrum():
    """The broadened spectrum at ten energies, from few samples."""
    state, chains = explicit(1)
    cluster = state.cluster
    sets = [
        string_set(cluster.one_body, cluster.interaction, chains, 0, spin, Reach(1, 1, 3))
        for spin in (0, 1)
    ]
    omega = np.array([-2, -1, -0.5, -0.2, -0.1, 0.1, 0.2, 0.5, 1, 2])

    def curve(poles):
        return poles.G.log_gaussian_spectrum(omega, 0.7)

    drawn = sampled(state, 2_000)
    each = resampled_poles([drawn], sets, 1e-10)
    error = jackknife_error(np.array([curve(poles) for poles in each]))
    off = curve(orbital_poles([drawn], sets, 1e-10).poles)
    off = off - curve(orbital_poles([state], sets, 1e-10).poles)
    assert np.sum(np.abs(off) < 2 * error + 1e-12) >= 7
    assert infrared_cutoff(each) > 0


def test_poles_on_the_wrong_side_are_reported():
    """An excited state in place of the ground state."""
    state, chains = explicit(1, lowest=3)
    cluster = state.cluster
    sets = [
        string_set(cluster.one_body, cluster.interaction, chains, 0, spin, Reach(1, 1, 3))
        for spin in (0, 1)
    ]
    found = orbital_poles([state], sets, 1e-10)
    assert found.wrong_weight > 1e-3
    ground, _ = explicit(1)
    assert orbital_poles([ground], sets, 1e-10).wrong_weight < found.wrong_weight


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"n_blocks": 1}, "solver.ground_state.n_blocks = 1: give an integer >= 2"),
        ({"n_blocks": 20}, "solver.ground_state.n_samples = 10: give an integer >= 20"),
        (
            {"estimator": "mean"},
            "solver.ground_state.estimator = 'mean' is unknown; use one of mixture, ",
        ),
    ],
)
def test_arguments_are_checked(settings, text):
    state, _ = explicit(1)
    with pytest.raises(SettingError, match=text):
        sampled(state, 10, **settings)


def test_images_beyond_the_memory_are_refused():
    state, chains = explicit(1)
    strings = string_set(
        state.cluster.one_body, state.cluster.interaction, chains, 0, 0, Reach(1, 1, 3)
    ).strings
    with pytest.raises(SpaceTooLargeError, match=r"strings on \d+ sampled determinants needs"):
        sampled(state, 1000, max_memory=1e-6).projection(strings, 1e-10)

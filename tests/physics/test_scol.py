"""Operator Lanczos against brute force: ground states, poles, loops."""

import warnings
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from physics.brute_force import BruteForce
from physics.kanamori import Kanamori
from physics.toy_chains import chain_matrix

from dmftnet.errors import SettingError, SpaceTooLargeError
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.fermions.hamiltonian import kanamori, quadratic
from dmftnet.physics.fermions.kanamori import KanamoriCluster, Sector
from dmftnet.physics.fermions.operators import Operator, mode
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.bethe import Bethe, semicircle
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.scol.ground_states import (
    ExactGroundStates,
    ExplicitState,
    GroundStates,
)
from dmftnet.physics.solvers.scol.impurity import ImpurityChains
from dmftnet.physics.solvers.scol.projection import Projection
from dmftnet.physics.solvers.scol.sets import Reach, string_set
from dmftnet.physics.solvers.scol.solver import ScolSolver, orbital_poles

GRID = FrequencyGrid.geometric(1e-4, 8.0, 800)
COARSE = FrequencyGrid.geometric(2e-3, 8.0, 200)
Z = np.array([0.3j, 1.0j, 0.4 + 0.2j, -0.7 + 0.2j])
EVERYTHING = {"depth": 20, "max_length": 99}
HUND = Interaction(1.2, 0.2)


def levels_problem(n_bath, U, eps_d, seed=0):
    """Random bath levels, none twice."""
    rng = np.random.default_rng(seed)
    energies = np.linspace(-1, 1, n_bath) + rng.uniform(-0.2, 0.2, n_bath)
    bath = PoleHybridization(energies, rng.uniform(0.1, 0.5, (n_bath, 1)))
    return ImpurityProblem([eps_d], Interaction(U), bath)


# --- ground states --------------------------------------------------------------------------------


def test_explicit_state_against_the_whole_fock_space():
    problem = levels_problem(2, 2.0, -0.7)
    bath = problem.hybridization
    witness = BruteForce(-0.7, 2.0, bath.energies, bath.couplings[:, 0])
    cluster = KanamoriCluster(bath.one_body(problem.one_body), problem.interaction, 1)
    states = ExactGroundStates().of_cluster(cluster)
    assert all(isinstance(state, ExplicitState) for state in states)
    assert isinstance(ExactGroundStates(), GroundStates)
    n_up, n_down = (Operator.of((mode(0, s, 3),), (mode(0, s, 3),)) for s in (0, 1))
    found = [sum(s.weight * s.mean(x).real for s in states) for x in (n_up + n_down, n_up @ n_down)]
    expected = [witness.filling, witness.double_occupancy]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert states[0].energy == pytest.approx(witness.energy, abs=1e-12)
    assert max(state.variance for state in states) < 1e-24


def test_variance_of_a_state_that_is_none():
    """Half of each of two eigenstates: the square of half their distance."""
    h, _ = chain_matrix(2)
    cluster = KanamoriCluster(h, Interaction(1.0), 1)
    levels, vectors = np.linalg.eigh(cluster.hamiltonian((2, 1)).toarray())
    psi = (vectors[:, :1] + vectors[:, 3:4]) / np.sqrt(2)
    mean = np.array([0.5 * (levels[0] + levels[3])])
    state = ExplicitState(cluster, (2, 1), psi, mean, np.ones(1))
    assert state.variance == pytest.approx((levels[3] - levels[0]) ** 2 / 4, rel=1e-10)


@dataclass(frozen=True)
class MeanValues:
    """A ground state of which mean values of operators are known, and no vector."""

    exact: ExplicitState
    H: Operator

    @property
    def sector(self) -> Sector:
        return self.exact.sector

    @property
    def weight(self) -> float:
        return self.exact.weight

    @property
    def energy(self) -> float:
        return self.exact.energy

    @property
    def variance(self) -> float:
        return self.exact.variance

    def mean(self, operator):
        return self.exact.mean(operator)

    def projection(self, strings, threshold):
        each = [Operator({term: 1.0}) for term in strings]
        moved = [self.H.commutator(x) for x in each]
        S, H = np.zeros((2, len(each), len(each)))
        for i, left in enumerate(x.adjoint() for x in each):
            for j, right in enumerate(each):
                S[i, j] = self.mean(left @ right).real
                H[i, j] = self.mean(left @ moved[j]).real
        return Projection.of_matrices(S, H, 1e-6)


@dataclass(frozen=True)
class MeanValueStates:
    orbitals: ClassVar[int] = 1

    def check(self, n_sites):
        pass

    def find(self, impurity):
        chains, states = ExactGroundStates().find(impurity)
        cluster = chains.cluster
        H = quadratic(cluster.one_body) + kanamori(cluster.interaction, 1, cluster.n_sites)
        return chains, [MeanValues(state, H) for state in states]


def test_mean_values_of_operators_are_all_that_is_needed():
    """S and H by the algebra alone, ``H_ij = <O_i+ [H, O_j]>``, as vectors give them."""
    problem = levels_problem(3, 1.5, -0.6)
    reach = {"depth": 1, "max_length": 3}
    found = ScolSolver(ground_state=MeanValueStates(), **reach).solve(problem)
    exact = ScolSolver(**reach).solve(problem)
    for one, other in zip(found.greens[0].responses(Z), exact.greens[0].responses(Z), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-7)
    assert found.double_occupancy == exact.double_occupancy


@dataclass(frozen=True)
class UnequalStates:
    """Ground states of an impurity whose second level lies elsewhere, given out as those asked."""

    shift: float
    orbitals: ClassVar[int] = 2

    def check(self, n_sites):
        pass

    def find(self, impurity):
        other = replace(
            impurity, levels=impurity.levels + np.array([0, self.shift]), is_symmetric=False
        )
        chains = ImpurityChains.of(impurity)
        states = ExactGroundStates().find(other)[1]
        return chains, [replace(state, cluster=chains.cluster) for state in states]


@pytest.mark.parametrize(("shift", "told"), [(0.3, True), (1e-4, False)])
def test_equal_orbitals_that_a_state_makes_unequal_are_told(shift, told):
    bath = PoleHybridization([-0.3, 0.4] * 2, np.kron(np.eye(2), [[0.3], [0.4]]))
    problem = ImpurityProblem([-0.9] * 2, HUND, bath)
    solver = ScolSolver(ground_state=UnequalStates(shift), depth=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = solver.solve(problem)
    own = np.diag(found.doubles)
    unequal = abs(own[0] - own[1]) / own.mean()
    assert found.diagnostics["broken_symmetry"] >= unequal > 0
    said = [w for w in caught if "orbitals that level and bath make equal" in str(w.message)]
    assert bool(said) == told == (unequal > 0.01)


# --- the solver -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    n_bath=st.integers(2, 5),
    depth=st.integers(0, 2),
    n_segments=st.integers(1, 7),
    eps_d=st.floats(-1, 1),
    seed=st.integers(0, 1000),
)
def test_no_interaction_is_exact(n_bath, depth, n_segments, eps_d, seed):
    """``G = [1/(z - h)]_dd`` of any bath, however its chain is cut."""
    problem = levels_problem(n_bath, 0.0, eps_d, seed)
    solution = ScolSolver(depth=depth, n_segments=n_segments).solve(problem)
    h = problem.hybridization.one_body(problem.one_body)
    exact = [np.linalg.inv(z * np.eye(len(h)) - h)[0, 0] for z in Z]
    np.testing.assert_allclose(solution.greens[0].G.greens(Z), exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("eps_d", "U"), [(-0.7, 2.0), (-1.0, 2.0), (-0.1, 0.5)])
def test_all_strings_are_exact(eps_d, U):
    """One orbital, two sites: G, F and I of every eigenstate, degenerate ground states included."""
    problem = levels_problem(2, U, eps_d)
    bath = problem.hybridization
    solution = ScolSolver(**EVERYTHING).solve(problem)
    E, a = BruteForce(eps_d, U, bath.energies, bath.couplings[:, 0]).poles()
    products = np.stack([a[:, 0] ** 2, a[:, 0] * a[:, 1], a[:, 1] ** 2])
    exact = products @ (1 / (Z - E[:, None]))
    np.testing.assert_allclose(solution.greens[0].responses(Z), exact, rtol=0, atol=1e-10)


def test_all_strings_of_two_orbitals_are_exact():
    """Against resolvents in the whole Fock space, both orbitals; levels that differ."""
    stars = [([0.2], [0.4]), ([-0.1], [0.3])]
    bath = PoleHybridization([0.2, -0.1], [[0.4, 0.0], [0.0, 0.3]])
    problem = ImpurityProblem([-0.9, -0.6], HUND, bath)
    solution = ScolSolver(**EVERYTHING).solve(problem)
    witness = Kanamori([-0.9, -0.6], HUND.U, HUND.J, stars)
    energies = {s: witness.ground_state(*s) for s in ((2, 2), (3, 2), (2, 1), (3, 1), (1, 1))}
    energy, psi = energies[2, 2]
    assert energy < min(e for s, (e, _) in energies.items() if s != (2, 2)) - 1e-3
    H, one = witness.H.toarray(), np.eye(256)
    for orbital in (0, 1):
        d = witness.d[orbital][0]
        kets = [d.T @ psi, witness.commutator(d).T @ psi]
        bras = [d @ psi, witness.commutator(d) @ psi]
        for i, z in enumerate(Z):
            up = np.linalg.solve((z + energy) * one - H, np.stack(kets, axis=1))
            down = np.linalg.solve((z - energy) * one + H, np.stack(bras, axis=1))
            G = kets[0] @ up[:, 0] + bras[0] @ down[:, 0]
            F = kets[1] @ up[:, 0] + bras[1] @ down[:, 0]
            I = kets[1] @ up[:, 1] + bras[1] @ down[:, 1]
            found = solution.greens[orbital].responses(Z[i : i + 1])[:, 0]
            np.testing.assert_allclose(found, [G, F, I], rtol=0, atol=1e-10)


def differences(problem, few, bath):
    """KL at broadenings .7 and .3, relative error of the first pole, number of strings."""
    exact = EdSolver(bath=bath, n_lanczos=120).solve(problem).greens[0].G
    solution = few.solve(problem)
    found = solution.greens[0].G
    curves = [[G.log_gaussian_spectrum(GRID.omega, b) for G in (exact, found)] for b in (0.7, 0.3)]
    first = [G.energies[G.weights > 1e-7].clip(min=0) for G in (exact, found)]
    lowest = [E[E > 0].min() for E in first]
    broad, narrow = (float(kl_divergence(GRID, *pair)) for pair in curves)
    return broad, narrow, abs(lowest[1] / lowest[0] - 1), solution.diagnostics["strings"]


@pytest.mark.parametrize("ratio", [2.0, 6.0])
@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_few_strings_of_one_orbital(ratio, shift):
    """Eight sites, U/V of the whole bath: KL broad 1e-8, narrow 1e-4, first pole 1e-5."""
    bath, U = Wilson(7), ratio * 0.5
    problem = ImpurityProblem.on_grid(U, shift - U / 2, GRID, semicircle(GRID, 0, 1, 0.25))
    solver = ScolSolver(bath=bath)
    broad, narrow, first, n_strings = differences(problem, solver, bath)
    assert broad < 1e-8 and narrow < 1e-4 and first < 1e-5
    assert n_strings <= 60


def test_few_strings_of_two_orbitals():
    bath = Wilson(3)
    spectrum = np.stack([semicircle(GRID, 0, 1, 0.25)] * 2)
    interaction = Interaction(2.0, 0.3)
    levels = [interaction.half_filling(2)] * 2
    problem = ImpurityProblem(levels, interaction, SpectralHybridization(GRID, spectrum))
    solver = ScolSolver(bath=bath)
    broad, _, _, n_strings = differences(problem, solver, bath)
    assert broad < 1e-7 and n_strings <= 400


@pytest.mark.parametrize("n_orb", [1, 2])
def test_mirrored_side_is_the_computed_one(n_orb):
    """Half filled: the adjoint strings span the mirror image of what the strings span."""
    interaction = HUND if n_orb > 1 else Interaction(1.2)
    half = interaction.half_filling(n_orb)
    h, chains = chain_matrix(3, levels=(half,) * n_orb)
    states = ExactGroundStates().of_cluster(KanamoriCluster(h, interaction, n_orb))
    sets = [string_set(h, interaction, chains, 0, spin, Reach(2, 1, 5)) for spin in (0, 1)]
    both = orbital_poles(states, sets, 1e-10)[0].responses(Z)
    one = orbital_poles(states, sets, 1e-10, repulsion=-2 * half)[0].responses(Z)
    np.testing.assert_allclose(one, both, rtol=0, atol=1e-10)


def test_bath_of_no_levels():
    """An atom: poles at eps_d and eps_d + U alone."""
    problem = ImpurityProblem([-0.5], Interaction(2.0), PoleHybridization([], np.empty((0, 1))))
    G = ScolSolver().solve(problem).greens[0].G
    np.testing.assert_allclose(np.sort(G.energies), [-0.5, 1.5], rtol=0, atol=1e-12)
    np.testing.assert_allclose(G.weights, 0.5, rtol=0, atol=1e-12)


def test_loop_ends_where_exact_diagonalisation_does():
    """Half-filled Bethe lattice, U = 2, three sites: double occupancy 2e-3, Z 5 %."""
    bath = Intervals(3, stretch=2.0, window_quantile=0.99)
    problem = starting_problem(COARSE, Bethe(), 2.0)
    results = [
        DMFTLoop(solver, Bethe()).run_one(problem)
        for solver in (EdSolver(bath=bath), ScolSolver(bath=bath, depth=2))
    ]
    assert all(result.converged for result in results)
    exact, found = (result.solution for result in results)
    assert found.double_occupancy == pytest.approx(exact.double_occupancy, abs=2e-3)
    assert quasiparticle_weight(found) == pytest.approx(quasiparticle_weight(exact), rel=0.05)


def quasiparticle_weight(solution, y=0.01):
    """``1 / (1 - Im Sigma(iy) / y)`` by the improved estimator."""
    G, F, I = solution.greens[0].responses(np.array([1j * y]))
    return 1 / (1 - (I - F**2 / G)[0].imag / y)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"depth": -1}, SettingError, "solver.depth = -1: give an integer >= 0"),
        ({"n_segments": 0}, SettingError, "solver.n_segments = 0: give an integer >= 1"),
        ({"threshold": 0}, SettingError, "solver.threshold = 0: give a number > 0 and < 1"),
        ({"ground_state": "dmrg"}, SettingError, "solver.ground_state = 'dmrg': use one of exact"),
        ({"bath": 7}, SettingError, "solver.bath = 7: give intervals of the real axis, see "),
        ({"bath": Wilson(40)}, SpaceTooLargeError, "exact diagonalisation of 41 spatial orbitals"),
    ],
)
def test_arguments_are_checked(arguments, error, text):
    with pytest.raises(error, match=text) as caught:
        ScolSolver(**arguments)
    assert "\n" not in str(caught.value)


def test_excited_states_beyond_the_memory_are_refused():
    problem = levels_problem(5, 1.0, -0.5)
    with pytest.raises(
        SpaceTooLargeError, match=r"strings on 300 determinants needs .* GiB, more "
    ):
        ScolSolver(max_memory=1e-5).solve(problem)

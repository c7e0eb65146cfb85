"""Operator strings on ground states in restricted active spaces."""

import numpy as np
import pytest
from physics.brute_force import BruteForce

from dmftnet.errors import InvalidProblemError, SpaceTooLargeError
from dmftnet.physics.bath.chains import mean_field_ground_state, natural_orbitals
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.fermions.hamiltonian import kanamori, quadratic
from dmftnet.physics.fermions.operators import Operator
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.krylov.ras import RasSolver
from dmftnet.physics.solvers.krylov.ras_strings import spin_strings
from dmftnet.physics.solvers.scol.ground_states import GroundStates
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity
from dmftnet.physics.solvers.scol.restricted_states import (
    RestrictedGroundStates,
    codes_of,
    occupations,
)
from dmftnet.physics.solvers.scol.solver import ScolSolver

GRID = FrequencyGrid.geometric(2e-3, 8.0, 200)
Z = np.array([0.3j, 1.0j, 0.4 + 0.2j, -0.7 + 0.2j])
ENERGIES, COUPLINGS = np.array([-0.5, 0.1, 0.6]), np.array([0.3, 0.2, 0.35])
WHOLE = RestrictedGroundStates(depths=("all",) * 6, tolerance=1e-10)


def test_occupations_and_codes_are_inverse():
    star = StarBath(np.linspace(-1, 0.8, 6), np.full(6, 0.2))
    bath = natural_orbitals(star, -0.5, 1.0, mean_field_ground_state(star, -0.5, 1.0))
    strings = spin_strings(bath, (4, 4, 2), 3, 1.0)
    filled = occupations(strings, bath)
    assert filled.shape == (strings.n_strings, 7) and set(filled.sum(axis=1)) == {3}
    assert len(np.unique(filled, axis=0)) == strings.n_strings > 20
    codes, active = codes_of(filled, bath)
    np.testing.assert_array_equal(codes[:, :3], strings.codes)
    np.testing.assert_array_equal(active, strings.active)
    assert not codes[:, 3:].any()


@pytest.mark.parametrize(("eps_d", "U"), [(-0.7, 2.0), (-1.0, 2.0), (0.3, 0.0)])
def test_energy_is_the_mean_of_the_hamiltonian(eps_d, U):
    """String by string in the basis of natural orbitals; and the variance is zero."""
    impurity = DiscreteImpurity(np.array([eps_d]), Interaction(U), (StarBath(ENERGIES, COUPLINGS),))
    chains, (state,) = WHOLE.find(impurity)
    assert isinstance(WHOLE, GroundStates)
    H = quadratic(chains.cluster.one_body) + kanamori(Interaction(U), 1, 4)
    assert state.mean(H).real == pytest.approx(state.energy, abs=1e-12)
    assert state.energy == pytest.approx(
        BruteForce(eps_d, U, ENERGIES, COUPLINGS).energy, abs=1e-12
    )
    assert state.variance < 1e-20


@pytest.mark.parametrize(("eps_d", "U"), [(-0.7, 2.0), (-1.0, 2.0), (-0.1, 0.5)])
def test_all_strings_in_the_whole_space_are_exact(eps_d, U):
    """G, F and I, n and double occupancy against brute force."""
    bath = PoleHybridization(ENERGIES, COUPLINGS[:, None])
    problem = ImpurityProblem([eps_d], Interaction(U), bath)
    solution = ScolSolver(depth=6, max_length=99, ground_state=WHOLE).solve(problem)
    witness = BruteForce(eps_d, U, ENERGIES, COUPLINGS)
    E, a = witness.poles()
    products = np.stack([a[:, 0] ** 2, a[:, 0] * a[:, 1], a[:, 1] ** 2])
    exact = products @ (1 / (Z - E[:, None]))
    np.testing.assert_allclose(solution.greens[0].responses(Z), exact, rtol=0, atol=1e-10)
    assert solution.filling == pytest.approx(witness.filling, abs=1e-10)
    assert solution.double_occupancy == pytest.approx(witness.double_occupancy, abs=1e-10)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_few_strings_on_a_larger_bath(shift):
    """Beside block Lanczos in the same space, 29 sites: one ground state, Z to 5 %, G to 1 %.

    Without spare excitations; by the variational principle the first addition pole lies above that
    of the space.
    """
    spectrum = semicircle(GRID, 0.0, 1.0, 0.25)
    problem = ImpurityProblem.on_grid(2.0, shift - 1.0, GRID, spectrum)
    depths, bath = ("all", 5, 2), Intervals(29)
    exact = RasSolver(depths=depths, bath=bath, ground_state_tolerance=1e-8).solve(problem)
    states = RestrictedGroundStates(depths=depths, tolerance=1e-8, spare=0)
    found = ScolSolver(depth=2, bath=bath, ground_state=states).solve(problem)
    assert found.filling == pytest.approx(exact.filling, abs=1e-8)
    assert found.double_occupancy == pytest.approx(exact.double_occupancy, abs=1e-8)
    one, other = (s.greens[0].responses(np.array([0.01j, 0.1j, 1.0j])) for s in (exact, found))
    np.testing.assert_allclose(other[0], one[0], rtol=1e-2)
    z = [1 / (1 - (I - F**2 / G)[0].imag / 0.01) for G, F, I in (one, other)]
    assert z[1] == pytest.approx(z[0], rel=0.05)
    first = [p.energies[(p.energies > 0) & (p.amplitudes[:, 0] ** 2 > 1e-6)].min()
             for p in (exact.greens[0], found.greens[0])]  # fmt: skip
    assert -1e-7 < first[1] - first[0] < 0.05 * first[0]


@pytest.mark.parametrize("side", [1, -1])
def test_bare_operators_lose_nothing_with_a_spare_excitation(side):
    """``<c_i c+_j> = delta_ij - <c+_j c_i>`` of all sites, near and far; without, far ones do."""
    star = StarBath(np.linspace(-1, 0.9, 11), np.full(11, 0.15))
    impurity = DiscreteImpurity(np.array([-0.4]), Interaction(1.0), (star,))
    lost = []
    for spare in (0, 1):
        finder = RestrictedGroundStates(depths=(4, 3, 1), tolerance=1e-8, spare=spare)
        chains, (state,) = finder.find(impurity)
        n = chains.cluster.n_sites
        modes = range(n)
        density = np.array(
            [[state.mean(Operator.of((j,), (i,))).real for j in modes] for i in modes]
        )
        strings = [(1 << i, 0) if side > 0 else (0, 1 << i) for i in modes]
        V = state.projection(strings, 1e-8).states
        lost.append(np.abs(V.T @ V - (np.eye(n) - density if side > 0 else density)).max())
    assert lost[1] < 1e-12 < 1e-6 < lost[0]


def test_one_orbital_and_so_many_determinants():
    solver = ScolSolver(ground_state="ras")
    two = PoleHybridization([0.2, -0.1], [[0.4, 0.0], [0.0, 0.3]])
    problem = ImpurityProblem([-0.9, -0.6], Interaction(1.2, 0.2), two)
    with pytest.raises(InvalidProblemError, match=r"^solver 'scol' treats one orbital, the pr"):
        solver.solve(problem)
    with pytest.raises(SpaceTooLargeError, match=r"59 bath sites: [\d,]+ determinants, more than"):
        ScolSolver(ground_state="ras", bath=Intervals(59), max_determinants=1000)

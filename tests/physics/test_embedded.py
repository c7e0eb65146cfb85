"""`embedded`: what is exact in it, and that it answers to the bath that the levels miss."""

import numpy as np
import pytest

from dmftnet.errors import SettingError
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.embedded import EmbeddedSolver
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.krylov.ras import RasSolver
from dmftnet.physics.solvers.perturbative.hubbard1 import Hubbard1Solver
from dmftnet.physics.solvers.perturbative.ipt import IptSolver

BETA = 20.0
AXIS = ImaginaryAxis.universal(BETA)
ENERGIES, COUPLINGS = np.array([-0.9, -0.3, 0.2, 0.7]), np.array([0.2, 0.25, 0.3, 0.2])


def problem(U, eps_d, energies=ENERGIES, couplings=COUPLINGS):
    bath = PoleHybridization(energies, couplings[:, None])
    values = bath.at(1j * AXIS.omega_n)
    return ImpurityProblem(
        [eps_d], Interaction(U), MatsubaraHybridization(AXIS, values), BETA
    ), ImpurityProblem([eps_d], Interaction(U), bath, BETA)


def few(n_bath):
    return EmbeddedSolver(EdSolver(fit=MatsubaraFit(n_bath)), IptSolver())


def error(solution, exact):
    tau = np.linspace(0, BETA, 81)
    difference = solution.greens_tau(tau) - exact.greens_tau(tau)
    return np.abs(difference).mean()


def test_as_many_levels_as_the_bath_has_are_ed():
    continuous, levels = problem(2.0, -0.7, ENERGIES[1:3], COUPLINGS[1:3])
    assert error(few(2).solve(continuous), EdSolver().solve(levels)) < 1e-7


def test_exact_without_interaction():
    continuous, levels = problem(0.0, 0.2)
    assert error(few(1).solve(continuous), EdSolver().solve(levels)) < 1e-7


def test_second_order_is_that_of_the_whole_bath():
    """What is missed falls as U^3: 8 from U = .4 to .2, here 6 to leave room.

    The levels alone are off in order U^2: 4.
    """
    missed = []
    for U in (0.4, 0.2):
        continuous, levels = problem(U, -0.1)
        exact = EdSolver().solve(levels)
        missed.append([error(s.solve(continuous), exact) for s in (few(2), few(2).strong)])
    (embedded, alone), (weaker, alone_weaker) = missed
    assert embedded / weaker > 6 and alone / alone_weaker < 5


@pytest.mark.parametrize(("U", "eps_d"), [(1.0, -0.5), (2.0, -0.6), (3.0, -1.0)])
def test_closer_than_the_levels_alone(U, eps_d):
    continuous, levels = problem(U, eps_d)
    exact, solver = EdSolver().solve(levels), few(2)
    assert error(solver.solve(continuous), exact) < error(solver.strong.solve(continuous), exact)


def test_half_filling_is_kept_to_the_last_bit():
    couplings = np.array([0.2, 0.3, 0.3, 0.2])
    continuous, _ = problem(2.0, -1.0, np.array([-0.9, -0.2, 0.2, 0.9]), couplings)
    solution = few(3).solve(continuous)
    sigma = solution.matsubara_self_energy(AXIS)[0]
    assert solution.filling == pytest.approx(1.0, abs=1e-9)  # of the axis
    assert np.all(sigma.real == 1.0)


@pytest.mark.parametrize("eps_d", [-9.0, 6.0])
def test_a_full_and_an_empty_level(eps_d):
    """There is hardly a dynamic part, and it is not made of rounding."""
    continuous, levels = problem(3.0, eps_d)
    assert error(few(2).solve(continuous), EdSolver().solve(levels)) < 1e-6


def test_a_bath_that_rounding_makes_acausal():
    """Levels so weak that Dyson's equation finds Im Delta > 0 in the last digit."""
    weak = 1e-8 * COUPLINGS[:1]
    continuous, levels = problem(2.0, -0.4, ENERGIES[:1], weak)
    assert error(few(1).solve(continuous), EdSolver().solve(levels)) < 1e-7


def test_other_solvers_are_refused():
    with pytest.raises(SettingError, match=r"solver\.weak = .*conf/solver"):
        EmbeddedSolver(EdSolver(), "ipt")
    with pytest.raises(
        SettingError, match=r"solver\.strong = ras: .* finite temperature, e\.g\. ed"
    ):
        EmbeddedSolver(RasSolver(), Hubbard1Solver())

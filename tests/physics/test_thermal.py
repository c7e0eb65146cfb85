"""Loops at finite temperature on the imaginary axis: lattices, starts, energies, fillings.

Lattices are checked against sums over the Brillouin zone or quadrature, energies against an average
over the band and against Matsubara sums written out.
"""

import numpy as np
import pytest
from scipy.integrate import quad

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.energies import galitskii_migdal, kinetic_energy
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.dmft.filling import solve_filling
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.dmft.summary import lowest_weight, summarize
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.protocol import Capabilities, Solver
from dmftnet.physics.impurity.solutions import MatsubaraSolution
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.lattices.density_of_states import DensityOfStates
from dmftnet.physics.lattices.tight_binding import TightBinding
from dmftnet.physics.solvers.krylov.ed import EdSolver

GRID = FrequencyGrid.geometric(2e-3, 8.0, 200)
BETA = 20.0
AXIS = ImaginaryAxis(BETA)
THREE = EdSolver(fit=MatsubaraFit(n_bath=3))
FOUR = EdSolver(fit=MatsubaraFit(n_bath=4))  # a gap needs pairs
DOS = (np.array([-1.0, -0.2, 0.3, 0.8]), np.array([0.0, 1.2, 0.4, 0.0]))  # no symmetry, not centred


class Given(Solver):
    """A self-energy that does not depend on the problem; zero is the free lattice, exactly."""

    name = "given"
    capabilities = Capabilities(finite_temperature=True, axes=("imaginary",))

    def __init__(self, sigma=lambda iw: 0.0 * iw):
        self.sigma = sigma

    def solve(self, problem):
        iw = 1j * problem.axis.omega_n
        sigma = np.atleast_2d(self.sigma(iw))
        greens = 1 / (iw - problem.eps_d[:, None] - problem.hybridization.values - sigma)
        return MatsubaraSolution(problem, problem.axis, greens, 0.0, sigma)


def square_zone(n=400):
    k = np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)
    return -(k[:, None] + k).reshape(-1) / 2


def cubic_zone(n=160):
    k = np.cos(np.pi * (np.arange(n // 2) + 0.5) / (n // 2))  # half of it, even
    return -(k[:, None, None] + k[:, None] + k).reshape(-1) / 3


def bethe_average(function):
    """``integral rho(e) f(e)`` by quadrature in the angle, ``e = cos(t)``."""
    return quad(
        lambda t: 2 / np.pi * np.sin(t) ** 2 * function(np.cos(t)), 0, np.pi, limit=400,
        epsabs=1e-12,
    )[0]  # fmt: skip


def dos_average(function):
    centre = quad_linear(lambda e: e) / quad_linear(lambda e: 1.0)
    return quad_linear(lambda e: function(e - centre)) / quad_linear(lambda e: 1.0)


def quad_linear(function):
    energies, values = DOS
    return quad(
        lambda e: np.interp(e, energies, values) * function(e), energies[0], energies[-1],
        points=energies[1:-1], limit=400, epsabs=1e-12,
    )[0]  # fmt: skip


def zone_average(zone):
    return lambda function: np.mean(function(zone))


LATTICES = {
    # square and cubic are curves of some hundred points, exact to 1e-4
    "bethe": (Bethe(), bethe_average, 1e-9),
    "square": (DensityOfStates.square(), zone_average(square_zone()), 2e-4),
    "cubic": (DensityOfStates.cubic(), zone_average(cubic_zone()), 2e-4),
    "dos": (DensityOfStates(*DOS), dos_average, 1e-9),
}


def loop(lattice, solver, U=0.0, eps_d=-0.3, axis=AXIS, start="metal"):
    problem = starting_problem(
        GRID, lattice, U, eps_d=eps_d, beta=axis.beta, axis=axis, start=start
    )
    tolerance = 1e-9 if isinstance(solver, Given) else 1e-7
    return DMFTLoop(solver, lattice, tolerance=tolerance, max_iterations=300).run_one(problem)


def hubbard_one(iw):
    """Half filling, U = 1.6, and a damping, so that the sum over the zone converges."""
    return 0.8 + 0.64 / (iw + 0.3j)


@pytest.mark.parametrize("name", LATTICES)
@pytest.mark.parametrize("sigma", [lambda iw: 0.0 * iw, hubbard_one], ids=["free", "hubbard"])
def test_a_lattice_at_matsubara_frequencies(name, sigma):
    """Delta of the fixed point: ``z - 1/G_loc``, G_loc averaged over the band."""
    lattice, average, limit = LATTICES[name]
    result = loop(lattice, Given(sigma), eps_d=-0.8)
    assert result.converged, result.reason
    chosen = np.unique(np.rint(np.linspace(0, AXIS.omega_n.size - 1, 6)).astype(int))
    z = 1j * AXIS.omega_n[chosen] + 0.8 - sigma(1j * AXIS.omega_n[chosen])
    if name in ("square", "cubic"):
        greens = np.array([average(lambda e, z=z: 1 / (z - e)) for z in z])
    else:
        greens = np.array([
            average(lambda e, z=z: (1 / (z - e)).real)
            + 1j * average(lambda e, z=z: (1 / (z - e)).imag)
            for z in z
        ])  # fmt: skip
    found = result.problem.hybridization.values[0, chosen]
    np.testing.assert_allclose(found, z - 1 / greens, rtol=0, atol=limit)


@pytest.mark.parametrize("name", LATTICES)
def test_the_free_kinetic_energy_is_that_of_the_band(name):
    """``2 integral rho(e) e f(e + eps_d)``, the filling likewise."""
    lattice, average, limit = LATTICES[name]
    result = loop(lattice, Given())
    energy = average(lambda e: 2 * e / (1 + np.exp(BETA * (e - 0.3))))
    filling = average(lambda e: 2 / (1 + np.exp(BETA * (e - 0.3))))
    assert kinetic_energy(result.problem, result.solution) == pytest.approx(energy, abs=limit)
    assert result.solution.filling == pytest.approx(filling, abs=2 * limit)


def matsubara_sum(problem, solution, number=40_000):
    """``2 T sum_n Delta G`` over n of both signs, term by term; the tail 1/w^2 in closed form."""
    n = np.arange(number)
    omega = (2 * n + 1) * np.pi / problem.beta
    axis = problem.axis
    delta, greens = (
        axis.at_frequencies(axis.to_coefficients(values[0]), 2 * n + 1)
        for values in (problem.hybridization.values, solution.matsubara_greens(axis))
    )
    terms = (delta * greens).real
    weight = -terms[-1] * omega[-1] ** 2
    rest = -weight * (problem.beta**2 / 8 - np.sum(problem.beta**2 / np.pi**2 / (2 * n + 1.0) ** 2))
    # sum over all n >= 0 of beta^2/(pi (2n + 1))^2 is beta^2/8
    return 4 / problem.beta * (terms.sum() + rest)


@pytest.fixture(scope="module")
def doped():
    result = loop(Bethe(), THREE, U=2.0, eps_d=-0.6)
    assert result.converged, result.reason
    return result


def test_energies_of_a_solved_loop(doped):
    """Against a sum term by term; Galitskii and Migdal against U times the double occupancy."""
    problem, solution = doped.problem, doped.solution
    exact = matsubara_sum(problem, solution)
    assert kinetic_energy(problem, solution) == pytest.approx(exact, abs=1e-8)
    interaction = 2.0 * solution.double_occupancy
    assert galitskii_migdal(problem, solution) == pytest.approx(interaction, abs=1e-8)


def test_the_equation_of_motion_of_a_solved_loop(doped):
    """Of one spin, the first moment of what is occupied: ``eps n/2 + U D + T sum_n Delta G``."""
    problem, solution = doped.problem, doped.solution
    levels = THREE.fit.discretise(problem.hybridization).levels  # those that were diagonalised
    bath = MatsubaraHybridization(AXIS, levels.at(1j * AXIS.omega_n))
    poles = solution.greens[0].G
    occupied = 1 / (1 + np.exp(np.clip(BETA * poles.energies, -700, 700)))
    moment = float((poles.weights * poles.energies * occupied).sum())
    parts = problem.eps_d[0] * solution.filling / 2 + 2.0 * solution.double_occupancy
    kinetic = kinetic_energy(problem.moved(bath), solution) / 2
    assert moment == pytest.approx(parts + kinetic, abs=1e-8)


def test_the_summary_holds_the_numbers(doped):
    problem, solution = doped.problem, doped.solution
    summary = summarize(doped, "ed", "bethe", 0.0)
    middle = solution.greens_tau(np.array([BETA / 2]))[0, 0]
    assert summary["A_beta_half"] == pytest.approx(-BETA * middle / np.pi, abs=1e-12)
    assert summary["beta"] == BETA and summary["filling"] == pytest.approx(solution.filling)
    assert summary["interaction_energy"] == pytest.approx(2.0 * solution.double_occupancy)
    assert summary["kinetic_energy"] == pytest.approx(kinetic_energy(problem, solution))
    total = summary["kinetic_energy"] + summary["interaction_energy"]
    assert summary["internal_energy"] == pytest.approx(total, abs=1e-12)
    assert summary["level_energy"] == pytest.approx(-0.6 * solution.filling, abs=1e-12)
    alone = summarize(doped, "ed", "fixed", 0.0, self_consistent=False)
    assert "kinetic_energy" not in alone and "internal_energy" not in alone
    assert alone["interaction_energy"] == summary["interaction_energy"]


def test_energies_of_two_orbitals():
    """U' = J = 0: twice those of one, through Galitskii and Migdal's sum. Hot: two levels do."""
    made = {"eps_d": -0.6, "beta": 4.0, "axis": ImaginaryAxis(4.0)}
    two = starting_problem(GRID, Bethe(), 2.0, n_orb=2, U_prime=0.0, **made)
    one = starting_problem(GRID, Bethe(), 2.0, **made)
    solver = EdSolver(fit=MatsubaraFit(n_bath=2))
    loops = [DMFTLoop(solver, Bethe(), tolerance=1e-8).run_one(p) for p in (two, one)]
    assert all(result.converged for result in loops)
    both, single = (summarize(result, "ed", "bethe", 0.0) for result in loops)
    for key in ("kinetic_energy", "interaction_energy", "level_energy", "internal_energy"):
        assert both[key] == pytest.approx(2 * single[key], abs=1e-6)


def test_each_site_has_its_energies():
    """Two sites of a chain, alternating level."""
    lattice = TightBinding([[[1], 0, 1, -0.4], [[0], 0, 1, -0.3], [[0], 1, 1, 0.2]], n_k=64)
    problems = [
        starting_problem(GRID, lattice, 1.0, eps_d=-0.5, beta=BETA, axis=AXIS, site=site)
        for site in range(2)
    ]
    result = DMFTLoop(Given(), lattice, tolerance=1e-9, max_iterations=300).run_one(problems)
    assert result.converged, result.reason
    summary = summarize(result, "given", "tight_binding", 0.0)
    kinetic = [site["kinetic_energy"] for site in summary["sites"]]
    # the band written out: levels -0.5, -0.3 and the hopping between them
    k = 2 * np.pi * np.arange(64) / 64
    hop = -0.4 * np.exp(-1j * k) - 0.3
    H = np.zeros((64, 2, 2), complex)
    H[:, 0, 0], H[:, 1, 1], H[:, 0, 1], H[:, 1, 0] = -0.5, -0.3, hop, hop.conj()
    e, v = np.linalg.eigh(H)
    fermi = 1 / (1 + np.exp(BETA * e))
    density = np.einsum("kan,kn,kbn->kab", v, fermi, v.conj())
    exact = 2 * np.mean(hop.conj() * density[:, 0, 1]).real
    assert kinetic == pytest.approx([exact, exact], abs=1e-8)
    assert summary["kinetic_energy"] == kinetic[0]


def test_energies_need_the_imaginary_axis():
    problem = starting_problem(GRID, Bethe(), 1.0)
    with pytest.raises(InvalidProblemError, match="set axis=imaginary"):
        kinetic_energy(problem, None)


@pytest.mark.parametrize(("beta", "U", "spread"), [(20.0, 2.4, 1e-5), (50.0, 4.0, 1e-6)])
def test_three_starts_where_one_solution_is(beta, U, spread):
    """Crossover at beta = 20; insulator."""
    found = [
        loop(Bethe(), FOUR, U, -U / 2, ImaginaryAxis(beta), start)
        for start in ("metal", "insulator", "atom")
    ]
    assert all(result.converged for result in found)
    doubles = [result.solution.double_occupancy for result in found]
    assert np.ptp(doubles) < spread


def test_three_starts_where_two_solutions_are():
    """beta = 100, U = 2.4: the metal stays one; from no bath at all the loop ends in the other."""
    axis = ImaginaryAxis(100.0)
    metal, insulator, atom = (
        loop(Bethe(), FOUR, 2.4, -1.2, axis, start) for start in ("metal", "insulator", "atom")
    )
    assert lowest_weight(metal.solution)[0] > 0.1 > 10 * lowest_weight(insulator.solution)[0]
    same = insulator.solution.double_occupancy
    assert atom.solution.double_occupancy == pytest.approx(same, abs=1e-5)


def test_no_hybridization_at_the_start():
    problem = starting_problem(GRID, Bethe(), 3.0, beta=BETA, axis=AXIS, start="atom", n_orb=2)
    assert problem.hybridization.values.shape == (2, AXIS.omega_n.size)
    assert np.all(problem.hybridization.values == 0)
    with pytest.raises(InvalidProblemError, match="set axis=imaginary, or start from insulator"):
        starting_problem(GRID, Bethe(), 3.0, start="atom")


def test_the_first_solve_from_no_bath_is_the_atom():
    """``G = (iw + U/2 - U/2) / ((iw)^2 - U^2/4)`` at half filling."""
    problem = starting_problem(GRID, Bethe(), 3.0, beta=BETA, axis=AXIS, start="atom")
    iw = 1j * AXIS.omega_n
    found = THREE.solve(problem).matsubara_greens(AXIS)[0]
    np.testing.assert_allclose(found, iw / (iw**2 - 9 / 4), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["bethe", "square", "dos"])
def test_a_filling_is_met(name):
    lattice = LATTICES[name][0]
    problem = starting_problem(GRID, lattice, 2.0, filling=0.85, beta=BETA, axis=AXIS)
    result = solve_filling(DMFTLoop(THREE, lattice), problem, 0.85, tolerance=1e-4)
    assert result.converged, result.reason
    assert result.solution.filling == pytest.approx(0.85, abs=1e-4)
    beyond = -2 * result.solution.greens_tau(np.array([BETA]))[0, 0]
    assert beyond == pytest.approx(result.solution.filling, abs=1e-9)

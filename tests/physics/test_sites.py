"""Several inequivalent sites in one loop, on the real and on the imaginary axis."""

import numpy as np
import pytest

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.mixing import AndersonMixing, LinearMixing
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import IMAGINARY, REAL, Capabilities, Solver
from dmftnet.physics.impurity.solutions import MatsubaraSolution
from dmftnet.physics.lattices.bethe import Bethe, semicircle
from dmftnet.physics.lattices.tight_binding import TightBinding
from dmftnet.physics.solvers.perturbative.ipt import IptSolver

GRID = FrequencyGrid.geometric(5e-3, 8.0, 200)
AXIS = ImaginaryAxis(beta=40.0)
RING = [[[1], 0, 1, -0.4], [[0], 0, 1, -0.3], [[0], 1, 1, 0.5]]
"""A chain of two sites with unequal hoppings, the second one higher by 0.5 D."""


class Free(Solver):
    """No interaction, on the imaginary axis."""

    name = "free"
    capabilities = Capabilities(orbitals=3, finite_temperature=True, axes=(REAL, IMAGINARY))

    def solve(self, problem):
        axis = problem.axis
        z = 1j * axis.omega_n
        greens = 1 / (z - problem.eps_d[:, None] - problem.hybridization.at(z))
        return MatsubaraSolution(problem, axis, greens, 0.0, np.zeros_like(greens))


def one(U, eps_d, weight=0.25):
    return ImpurityProblem.on_grid(U, eps_d, GRID, semicircle(GRID, 0.0, 1.0, weight))


def free_site(level=0.0):
    start = MatsubaraHybridization(AXIS, 0.25 / (1j * AXIS.omega_n))
    return ImpurityProblem([level], Interaction(0.0), start, beta=AXIS.beta)


@pytest.mark.parametrize(
    "mixing", [LinearMixing(0.7), AndersonMixing()], ids=["linear", "anderson"]
)
def test_two_equal_sites_equal_one(mixing):
    """To 1e-12: a coupled vector twice as long leads along the same way."""
    loop = DMFTLoop(IptSolver(), Bethe(), mixing)
    alone = loop.run_one(one(2.0, -1.0))
    pair = loop.run_one([one(2.0, -1.0), one(2.0, -1.0)])
    assert pair.iterations == alone.iterations and len(pair.solutions) == 2
    for problem, solution in zip(pair.problems, pair.solutions, strict=True):
        np.testing.assert_allclose(problem.spectrum, alone.problem.spectrum, rtol=0, atol=1e-12)
        assert solution.filling == pytest.approx(alone.solution.filling, abs=1e-12)


def test_unequal_sites_that_do_not_couple_are_two_loops():
    """Both go on until the slower has arrived: fixed points to the loop's tolerance."""
    loop = DMFTLoop(IptSolver(), Bethe(), tolerance=1e-9)
    sites = [one(1.0, -0.5), one(2.0, -0.6, 0.2)]
    pair = loop.run_one(sites)
    assert pair.converged and pair.kl_history[-1] <= 1e-9
    for site, problem, solution in zip(sites, pair.problems, pair.solutions, strict=True):
        alone = loop.run_one(site)
        gap = GRID.integrate(np.abs(problem.spectrum - alone.problem.spectrum)).max()
        assert gap < 1e-4
        assert solution.filling == pytest.approx(alone.solution.filling, abs=1e-4)


def chain(n_cells):
    """(2 n_cells, 2 n_cells) one-body matrix of `RING` with periodic ends."""
    H = np.zeros((2 * n_cells,) * 2)
    for cell in range(n_cells):
        a, b = 2 * cell, 2 * cell + 1
        H[b, b] = 0.5
        H[a, b] = H[b, a] = -0.3
        following = 2 * ((cell + 1) % n_cells)  # c+_0(R + 1) c_1(R)
        H[following, b] = H[b, following] = -0.4
    return H


def test_sites_coupled_by_a_hopping_equal_the_lattice_in_real_space():
    """U = 0: local Green's functions of the loop and of a ring of 32 cells, diagonalised."""
    lattice = TightBinding(RING, n_k=32)
    loop = DMFTLoop(Free(), lattice, LinearMixing(1.0), tolerance=1e-12, zero_tolerance=1e-10)
    result = loop.run_one([free_site(), free_site(0.5)])
    assert result.converged, result.reason
    energies, vectors = np.linalg.eigh(chain(32))
    z = 1j * AXIS.omega_n
    for site, solution in enumerate(result.solutions):
        exact = (np.abs(vectors[site]) ** 2) @ (1 / (z - energies[:, None]))
        np.testing.assert_allclose(solution.matsubara_greens()[0], exact, rtol=0, atol=1e-10)
        occupied = (np.abs(vectors[site]) ** 2) @ (1 / (1 + np.exp(AXIS.beta * energies)))
        assert solution.filling == pytest.approx(2 * occupied, abs=1e-8)


def test_one_site_of_two_orbitals_keeps_what_mixes_them():
    """The same chain as one site with two orbitals: the matrix Delta closes the loop at once."""
    lattice = TightBinding(RING, sites=[[0, 1]], n_k=16)
    assert lattice.n_sites == 1
    start = MatsubaraHybridization(AXIS, np.zeros((2, 2, AXIS.omega_n.size), complex))
    levels = lattice.local_levels()
    np.testing.assert_allclose(levels, [[0.0, -0.3], [-0.3, 0.5]], atol=1e-14)
    problem = ImpurityProblem(levels, Interaction(0.0), start, beta=AXIS.beta)
    z = 1j * AXIS.omega_n
    sigma = np.zeros((2, 2, z.size), complex)
    solution = MatsubaraSolution(problem, AXIS, sigma + 1.0, 0.0, sigma)
    (new,) = lattice.update([problem], [solution])
    free = z * np.eye(2)[:, :, None] - levels[:, :, None] - new.matrix_at(z)
    local = np.moveaxis(np.linalg.inv(np.moveaxis(free, -1, 0)), 0, -1)
    energies, vectors = np.linalg.eigh(chain(16))
    exact = np.einsum("an,nw,bn->abw", vectors[:2], 1 / (z - energies[:, None]), vectors[:2])
    np.testing.assert_allclose(local, exact, rtol=0, atol=1e-11)


def test_particle_hole_symmetry_is_that_of_the_bands():
    assert TightBinding([[[1], 0, 1, -0.4], [[0], 0, 1, -0.3]]).particle_hole_symmetric
    assert not TightBinding(RING).particle_hole_symmetric


def test_the_real_axis_shows_the_bare_band():
    """One site a cell, a chain of half bandwidth 1, at the stated broadening."""
    lattice = TightBinding([[[1], 0, 0, -0.5]], n_k=400, broadening=0.05)
    z = GRID.omega + 0.05j
    G = 1 / (np.sqrt(z - 1) * np.sqrt(z + 1))
    exact = -(z - 1 / G).imag / np.pi
    np.testing.assert_allclose(lattice.bare_hybridization(GRID), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hoppings": []}, "lattice.hoppings is empty"),
        ({"hoppings": [[[1], 0, 0]]}, r"lattice.hoppings\[0\] = .*give \[cell, i, j, t\]"),
        ({"hoppings": [[1, 0, 0, 0.5]]}, "give one to three integers"),
        ({"hoppings": [[[1], 0, 0, 0.5], [[1, 0], 0, 0, 0.5]]}, "same for all"),
        ({"hoppings": RING, "sites": [[0]]}, "each of the 2 orbitals belongs to one site"),
        ({"hoppings": RING, "n_k": 0}, "lattice.n_k = 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, text):
    with pytest.raises(InvalidProblemError, match=text) as caught:
        TightBinding(**arguments)
    assert "\n" not in str(caught.value)


def test_a_lattice_says_how_many_sites_it_needs():
    lattice = TightBinding(RING)
    with pytest.raises(InvalidProblemError, match=r"sites of \[1, 1\] orbitals"):
        DMFTLoop(Free(), lattice).run_one(free_site())

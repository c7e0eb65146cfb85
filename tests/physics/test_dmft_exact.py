"""Physics acceptance: the Bethe lattice at half filling by the default solver and the real loop.

Against full-density-matrix NRG (docs/physics, section 5). Minutes in all: every loop runs once and
serves all the tests that ask about it.
"""

from functools import cache

import numpy as np
import pytest

from dmftnet.physics.analysis.observables import gap
from dmftnet.physics.analysis.quasiparticle import matsubara_weight, quasiparticle_weights
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

GRID = FrequencyGrid.geometric()


@cache
def converged(U, start, noise=0.0):
    """The end of one loop with default settings, on request from a start with relative noise."""
    problem = starting_problem(GRID, Bethe(), U, start=start)
    factor = 1 + noise * np.random.default_rng(0).standard_normal(GRID.n_w)
    problem = problem.replace(spectrum=problem.spectrum * 0.5 * (factor + factor[::-1]))
    result = DMFTLoop(RasSolver(), Bethe()).run_one(problem)
    assert result.converged, result.reason
    assert result.solution.diagnostics["sector_verified"]
    assert result.solution.filling == pytest.approx(1, abs=1e-6)
    return result


def weight(result):
    """Z with its error."""
    return quasiparticle_weights(result.solution)[0]


def height(result):
    """A(0) in units of the non-interacting ``2 / (pi D)``."""
    return GRID.at_zero(result.solution.spectrum()[0]) * np.pi / 2


def assert_metal(result, Z):
    """Pinned, and of a known Z to 10 %: so much too large the space of ``ras`` makes it."""
    assert gap(GRID, result.solution.spectrum()[0]) == 0
    assert height(result) == pytest.approx(1, abs=0.01)
    assert weight(result).value == pytest.approx(Z, rel=0.1)


def assert_insulator(result):
    """A gap of the order of U - 2D, Sigma with a pole at zero."""
    assert gap(GRID, result.solution.spectrum()[0]) > 0.3
    assert height(result) < 5e-3 and weight(result).value == 0


@pytest.mark.parametrize(
    ("U", "Z", "imaginary", "double_occupancy"),
    [
        (1.0, 0.725, [0.7249, 0.7265, 0.7295], 0.1668),
        (2.0, 0.265, [0.2687, 0.2718, 0.2778], 0.0851),
    ],
)
def test_metal_against_nrg(U, Z, imaginary, double_occupancy):
    """A(0) is pinned (1 %), Z within its error, Z(iy) and double occupancy within 3 and 1 %.

    ``ras`` makes Z(iy) 1 to 3 % too large at U = 2; the finer ``ras_fine`` is held to 2 % where
    the references are tested."""
    result = converged(U, "metal")
    assert result.iterations <= 25
    assert height(result) == pytest.approx(1, abs=0.01)
    found = weight(result)
    assert abs(found.value - Z) <= found.error + 0.002 and found.error < 0.1 * Z
    spectrum = result.solution.spectrum()
    on_axis = matsubara_weight(result.problem, spectrum, [0.005, 0.01, 0.02])[0]
    np.testing.assert_allclose(on_axis, imaginary, rtol=3e-2)
    assert result.solution.double_occupancy == pytest.approx(double_occupancy, rel=1e-2)


def test_only_the_metal_below_the_coexistence():
    """U = 2 from the insulator: the same metal, within what the convergence criterion leaves."""
    result = converged(2.0, "insulator")
    assert_metal(result, 0.265)
    assert weight(result).value == pytest.approx(weight(converged(2.0, "metal")).value, rel=5e-3)


def test_both_inside_the_coexistence():
    """U = 2.6; Z of the metal by ``ras_fine`` (data/bethe_reference.h5)."""
    assert_metal(converged(2.6, "metal"), 0.0737)
    assert_insulator(converged(2.6, "insulator"))


def test_only_the_insulator_above_the_coexistence():
    """U = 3.4 from the metal, whose peak dies slowly: past its remnant noise must decide nothing.

    20 % of the iterations and 1e-4 in the double occupancy are allowed; benchmarks/robustness.py
    finds 0 and 1e-9.
    """
    result, noisy = converged(3.4, "metal"), converged(3.4, "metal", noise=1e-12)
    assert_insulator(result)
    assert_insulator(noisy)
    assert noisy.iterations == pytest.approx(result.iterations, rel=0.2)
    assert noisy.solution.double_occupancy == pytest.approx(
        result.solution.double_occupancy, abs=1e-4
    )

"""Minimal poles of functions that are known on the real axis too."""

import numpy as np
import pytest

from dmftnet.errors import ConvergenceError, SettingError
from dmftnet.physics.analysis.minimal_poles import FEWEST, MinimalPoleFit
from dmftnet.physics.dmft.fitted import fitted_spectrum
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.krylov.ed import EdSolver

for name in ("mini_pole", "kneed"):
    pytest.importorskip(name, reason=f"{name} is not installed: pip install 'dmftnet[poles]'")

AXIS, GRID = ImaginaryAxis(50.0), FrequencyGrid.geometric()
SHARP = MinimalPoleFit(tolerance=1e-9)


def test_the_levels_of_an_atom():
    G = (1 / (1j * AXIS.omega_n[:, None] - np.array([-1.0, 1.0]))) @ np.array([0.5, 0.5])
    found = MinimalPoleFit(tolerance=1e-6).fit(AXIS, G)
    np.testing.assert_allclose(found.energies, [-1, 1], atol=1e-5)
    np.testing.assert_allclose(found.weights, [0.5, 0.5], atol=1e-5)
    assert found.residual < 1e-6


def test_the_semicircle_at_a_fiftieth_of_its_half_width():
    z = 1j * AXIS.omega_n
    found = SHARP.fit(AXIS, 2 / (z + np.sqrt(z - 1) * np.sqrt(z + 1)))
    A = -found.at(GRID.omega + 1e-6j).imag / np.pi
    exact = 2 / np.pi * np.sqrt(np.maximum(1 - GRID.omega**2, 0))
    assert GRID.integrate(np.abs(A - exact)) < 0.02
    assert GRID.at_zero(A) == pytest.approx(2 / np.pi, abs=5e-3)
    assert found.energies.imag.min() < -0.1, "a continuum has no poles on the axis"


def test_an_anderson_model_of_one_level():
    """Half filled: four levels carry all but 2e-4 of the weight."""
    bath = PoleHybridization([0.0], [[0.3]])
    solution = EdSolver().solve(ImpurityProblem([-1.0], Interaction(2.0), bath, 50.0))
    exact = solution.greens[0]
    found = fitted_spectrum(MinimalPoleFit(tolerance=1e-8), solution, GRID)
    poles = found.poles[0]
    strong = np.abs(poles.weights) > 0.05
    weights = exact.amplitudes[:, 0] ** 2
    order = [p for p in np.argsort(exact.energies) if weights[p] > 0.05]
    assert len(order) == 4 and weights[order].sum() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(poles.energies[strong], exact.energies[order], atol=5e-3)
    np.testing.assert_allclose(poles.weights[strong], weights[order], atol=1e-2)
    assert found.residual < 1e-6
    # the norm is the limit of iw G(iw), and nothing keeps it: the residual times a hundred D
    assert poles.weights.sum() == pytest.approx(1, abs=1e-4)


def test_frequencies_are_enough_and_not_too_many():
    fit = MinimalPoleFit()
    assert fit.indices(1.0).size == FEWEST
    assert fit.indices(50.0)[-1] * np.pi / 50 < fit.cutoff
    with pytest.raises(SettingError, match=r"poles\.cutoff = 8.*more than"):
        fit.indices(1e4)


def test_no_poles_are_one_line():
    with pytest.raises(ConvergenceError, match=r"no poles at poles\.tolerance = 0\.0001"):
        MinimalPoleFit().fit(AXIS, np.zeros(AXIS.omega_n.size, dtype=complex))

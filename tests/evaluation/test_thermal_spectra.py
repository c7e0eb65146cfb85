"""Spectra of measures: known self-energies, and loops beside the exact solver at T = 0."""

from pathlib import Path

import numpy as np
import pytest

from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.data.thermal_loops import ThermalLoopStore
from dmftnet.evaluation.closure import LoopSettings
from dmftnet.evaluation.thermal_closure import close_thermal
from dmftnet.evaluation.thermal_spectra import measured_spectra
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.solvers.krylov.ed import EdSolver

DATA = Path(__file__).resolve().parents[2] / "data"
GRID, MEASURE = FrequencyGrid.geometric(), SelfEnergyMeasure()


def test_a_smeared_measure_is_causal_and_keeps_its_moments():
    """-Im t / pi integrates to one; its mean is that of the nodes; Re t by Kramers-Kronig."""
    beta, measure = 40.0, np.zeros(MEASURE.nodes.size)
    measure[[30, 44, 52]] = 0.2, 0.5, 0.3
    nodes = MEASURE.nodes / beta
    omega = np.linspace(-12, 12, 24001)
    t = MEASURE.smeared(measure, omega, beta)
    density = -t.imag / np.pi
    assert density.min() >= 0
    assert np.trapezoid(density, omega) == pytest.approx(1, abs=1e-9)
    assert np.trapezoid(density * omega, omega) == pytest.approx(measure @ nodes, abs=1e-8)
    for z in (11.0, -9.0):  # outside all weight the principal value is an integral
        again = np.trapezoid(density / (z - omega + 1e-300), omega)
        assert MEASURE.smeared(measure, np.array([z]), beta)[0].real == pytest.approx(
            again, rel=1e-3
        )


@pytest.mark.parametrize(("U", "at_zero"), [(1.0, (0.5, 0.7)), (4.0, (0.0, 0.02))])
def test_a_loop_has_the_gap_or_the_peak_of_the_ground_state(U, at_zero):
    references = ThermalLoopStore.open(DATA / "thermal_reference.h5").references([U], [50.0])
    chosen = [r for r in references if r.start == "metal" and r.half_filled]
    closures = close_thermal(EdSolver(fit=MatsubaraFit(4)), chosen, LoopSettings(1e-4, 40))
    ground = ReferenceStore.open(DATA / "bethe_reference.h5")
    (found,) = measured_spectra(closures, ground, GRID, 50.0)
    assert found.U == U and found.start == "metal"
    assert GRID.integrate(found.spectrum) == pytest.approx(1, abs=0.02)
    low, high = at_zero
    middle = np.abs(GRID.omega) < 0.02
    assert low <= found.spectrum[middle].mean() <= high
    assert low <= found.ground[middle].mean() <= high
    centre = [abs(GRID.integrate(A * GRID.omega)) for A in (found.spectrum, found.ground)]
    assert max(centre) < 1e-2
    width = [GRID.integrate(A * GRID.omega**2) for A in (found.spectrum, found.ground)]
    assert width[0] == pytest.approx(width[1], rel=0.1)

"""Spectra of measures: known self-energies, and loops beside the exact solver at T = 0."""

from pathlib import Path

import numpy as np
import pytest

from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.data.thermal_loops import ThermalLoopStore
from dmftnet.evaluation.closure import LoopSettings
from dmftnet.evaluation.thermal_closure import close_thermal
from dmftnet.evaluation.thermal_sections import spectra_section
from dmftnet.evaluation.thermal_spectra import MeasuredSpectrum, measured_spectra
from dmftnet.physics.analysis.minimal_poles import MinimalPoles
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.dmft.fitted import FittedSpectrum
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.solvers.krylov.ed import EdSolver

DATA = Path(__file__).resolve().parents[2] / "data"
GRID, MEASURE = FrequencyGrid.geometric(), SelfEnergyMeasure()


def test_a_smeared_measure_is_causal_and_keeps_its_moments():
    """-Im t / pi integrates to one; its mean is that of the nodes; Re t by Kramers-Kronig."""
    beta, measure = 40.0, np.zeros(MEASURE.nodes.size)
    measure[MEASURE.stride * np.array([30, 44, 52])] = 0.2, 0.5, 0.3
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


def test_minimal_poles_are_a_line_of_the_figure_and_a_row_of_the_table():
    """A loop without them has dashes; a report that does not ask for them has neither."""
    A = np.exp(-(GRID.omega**2))
    poles = MinimalPoles(np.array([-0.5 - 0.2j, 0.5 - 0.2j]), np.array([0.5 + 0j, 0.5]), 1e-5)
    with_poles = MeasuredSpectrum(1.0, 50.0, "metal", A, A, FittedSpectrum(GRID, (poles,), 0.01))
    without = MeasuredSpectrum(4.0, 50.0, "metal", A, A)
    section = spectra_section("net", [with_poles, without], GRID, asked=True)
    (table,) = section.tables
    assert table.rows[0][:5] == [1.0, "metal", 2, 1e-5, 0.2]
    assert table.rows[1] == [4.0, "metal", *[None] * 5]
    assert "Minimal poles" in section.text
    lines = [len(axis.lines) for axis in section.figures["thermal_spectra"].axes]
    assert lines == [3, 2]  # the exact curve, the measure, the poles
    plain = spectra_section("net", [without], GRID)
    assert not plain.tables and "poles" not in plain.text

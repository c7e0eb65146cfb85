"""Where loops change phase, of known ones."""

from dataclasses import replace

import numpy as np
import pytest

from dmftnet.data.thermal_loops import ThermalReference
from dmftnet.evaluation.thermal_closure import ThermalClosure
from dmftnet.evaluation.thermal_transition import change, transition_section, transitions
from dmftnet.physics.lattices.bethe import Bethe

METAL, MOTT = 0.5, 0.001  # -beta G(beta/2)/pi
REFERENCE = ThermalReference(2.0, -1.0, 50.0, "metal", 8, 1.0, 0.08, 0.25, METAL, -0.3, 1.0)


def loop(U, start, exact, own, converged=True):
    reference = replace(REFERENCE, U=U, eps_d=-U / 2, start=start, A_beta_half=exact)
    numbers = {} if own is None else {"converged": converged, "A_beta_half": own, "filling": 1.0}
    return ThermalClosure(reference, numbers, "", Bethe())


@pytest.mark.parametrize(
    ("insulating", "where"),
    [
        ([False, False, True], (2.2, 2.3)),
        ([False, True, True], (2.1, 2.2)),
        ([False, False, False], None),
        ([True, True, True], None),
        ([True, False, False], None),
        ([False, True, False], None),
    ],
)
def test_a_series_changes_once(insulating, where):
    assert change([2.1, 2.2, 2.3], insulating) == where


def test_shifts_are_of_the_middles():
    """In any order; one start a row; a loop that failed leaves no answer."""
    loops = [
        loop(2.4, "metal", MOTT, METAL, converged=False),
        loop(2.2, "metal", METAL, METAL),
        loop(2.3, "metal", METAL, METAL),
        loop(2.5, "metal", MOTT, MOTT),
        loop(2.2, "insulator", METAL, METAL),
        loop(2.3, "insulator", MOTT, None),
    ]
    metal, insulator = transitions(loops)
    assert (metal.start, metal.U, metal.U_exact) == ("metal", (2.4, 2.5), (2.3, 2.4))
    assert metal.shift == pytest.approx(0.1) and (metal.converged, metal.loops) == (3, 4)
    assert (insulator.U, insulator.U_exact) == (None, (2.2, 2.3)) and np.isnan(insulator.shift)
    (table,) = transition_section({"it": [metal, insulator]}).tables
    assert table.rows[0][5:7] == ["2.4 to 2.5", "2.3 to 2.4"] and table.rows[1][5] is None

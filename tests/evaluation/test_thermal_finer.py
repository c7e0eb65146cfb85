"""Loops and their references, judged by references with more bath levels."""

from dataclasses import replace
from pathlib import Path

import pytest

from dmftnet.data.thermal_loops import ThermalLoopStore, ThermalReference
from dmftnet.evaluation.thermal_closure import ThermalClosure
from dmftnet.evaluation.thermal_finer import REFERENCE, beside_finer, finer_section
from dmftnet.physics.lattices.bethe import Bethe

DATA = Path(__file__).resolve().parents[2] / "data"
METAL = ThermalReference(2.5, -1.25, 100.0, "metal", 37, 1.0, 0.0389, 0.0709, 0.515, -0.055, 9.0)
OTHER = replace(METAL, start="insulator", A_beta_half=2e-5)


def loop(reference, **numbers):
    known = {
        "converged": True,
        "iterations": 30,
        "filling": 1.0,
        "double_occupancy": 0.0395,
        "A_beta_half": 0.52,
    }
    return ThermalClosure(reference, {**known, **numbers}, "", Bethe())


def test_both_are_judged():
    """The solver is off by 1 % from the finer loop, the reference by 5 %; one loop has no such."""
    finer = [replace(METAL, Z_matsubara=0.075, A_beta_half=0.521), replace(METAL, U=1.0)]
    closures = {
        "it": [loop(METAL, Z_matsubara=0.07575), loop(OTHER, Z_matsubara=0.002)],
        "lost": [loop(METAL, A_beta_half=0.0, Z_matsubara=0.002), loop(OTHER, Z_matsubara=0.002)],
    }
    found = beside_finer(closures, finer)
    assert list(found) == ["it", "lost", REFERENCE] and {len(own) for own in found.values()} == {1}
    table, each = finer_section(found, "finer.h5").tables
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["it"][:3] == [1, 1, pytest.approx(0.01)]
    assert rows[REFERENCE][:3] == [1, 1, pytest.approx((0.075 - 0.0709) / 0.075)]
    assert rows[REFERENCE][4] == 0 and rows[REFERENCE][6] == pytest.approx(0.006)
    assert rows["lost"][:2] == [1, 0]
    assert len(each.rows) == 3 and each.columns[6:8] == ("Z_matsubara", "Z_matsubara_finer")
    assert each.rows[0][6:8] == [0.07575, 0.075]


def test_no_loop_in_common():
    assert beside_finer({"it": [loop(METAL, Z_matsubara=0.07)]}, [OTHER]) == {}


def test_the_shipped_loops_are_among_the_references():
    """All converged; at U = 2.5, beta = 100 six levels are 3 % off in Z, and elsewhere .1 %."""
    known = ThermalLoopStore.open(DATA / "thermal_reference.h5").references()
    finer = ThermalLoopStore.open(DATA / "thermal_reference_finer.h5")
    assert len(finer.references()) == len(finer) == 5
    found = beside_finer({"it": [loop(r) for r in known]}, finer.references())[REFERENCE]
    off = {(c.reference.U, c.reference.beta): c.errors()["Z_matsubara"] for c in found}
    assert off.pop((2.5, 100.0)) == pytest.approx(0.035, abs=0.005)
    assert len(off) == 4 and max(off.values()) < 1e-3

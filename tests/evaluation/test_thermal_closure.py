"""Loops at finite temperature: the file, the comparison, its arithmetic; exact laws of the data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_loops import ed, make_loops

from dmftnet.data.loop_keys import THERMAL_STARTS
from dmftnet.data.plans.thermal_loops import ThermalLoopsPlan
from dmftnet.data.thermal_loops import ThermalLoopStore, ThermalReference
from dmftnet.errors import ConvergenceError, SettingError, StoreError
from dmftnet.evaluation.closure import LoopSettings
from dmftnet.evaluation.thermal_closure import (
    NUMBERS,
    SAME_SOLUTION,
    ThermalClosure,
    close_thermal,
    each_scalar,
    thermal_scalars,
    thermal_table,
    weight_panels,
)
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.lattices.bethe import Bethe

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = LoopSettings(1e-6, 60)
REFERENCE = ThermalReference(2.0, -1.0, 50.0, "metal", 8, 1.0, 0.08, 0.25, 0.6, -0.3, 1.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return ThermalLoopStore.open(make_loops(tmp_path_factory.mktemp("loops") / "r.h5"))


@pytest.fixture(scope="module")
def closures(store):
    return close_thermal(ed(3), store.references(), SETTINGS)


def test_a_solver_finds_its_own_loops(store, closures):
    assert len(closures) == len(store) == 5
    assert all(c.converged and c.right_phase for c in closures)
    for c in closures:
        assert max(c.errors().values()) < 1e-4, c.plain()
        assert c.numbers["iterations"] == c.reference.iterations
    scalars = thermal_scalars(closures)
    assert scalars["converged"] == scalars["right_phase"] == 1 and scalars["failed"] == 0


def test_another_solver_is_worse(store, closures):
    worse = thermal_scalars(close_thermal(ed(2), store.references(), SETTINGS))
    own = thermal_scalars(closures)
    assert worse["double_occupancy_error"] > 10 * own["double_occupancy_error"]


def test_starts_meet_where_there_is_one_phase(store):
    found = store.references(U=[1.0], beta=[5.0])
    assert {r.start for r in found} == {"metal", "atom"}
    assert found[0].double_occupancy == pytest.approx(found[1].double_occupancy, abs=1e-5)


class Choosy(Solver):
    """Refuses large U."""

    name = "choosy"
    inner = ed(3)
    capabilities = inner.capabilities

    def solve(self, problem):
        if problem.U > 3:
            raise ConvergenceError("U is too large")
        return self.inner.solve(problem)


def test_a_solver_that_fails_leaves_the_other_loops(store, closures):
    found = close_thermal(Choosy(), store.references(), SETTINGS)
    for own, complete in zip(found, closures, strict=True):
        if own.reference.U > 3:
            assert own.phase == "failed" and own.reason == "failed: U is too large"
            assert not own.converged and not own.right_phase
            assert all(np.isnan(value) for value in own.errors().values())
        else:
            Z = complete.numbers["Z_matsubara"]
            assert own.numbers["Z_matsubara"] == pytest.approx(Z, rel=1e-7)
    assert thermal_scalars(found)["failed"] == pytest.approx(2 / 5)
    assert thermal_table(found).rows[2][-1] == "failed: U is too large"
    assert thermal_table(found).rows[0][-1] == ""
    panels = weight_panels({"choosy": found})
    exact, own = panels[r"$\beta D$ = 5, metal start"]
    np.testing.assert_array_equal(own.solid, [True, False])
    assert np.isnan(own.y[1]) and exact.y[1] > 0


def closure(reference=REFERENCE, converged=True, **changes):
    numbers = {name: getattr(reference, name) for name in NUMBERS} | changes
    numbers |= {"converged": converged, "iterations": 10}
    return ThermalClosure(reference, numbers, "", Bethe())


def test_worst_errors_are_of_loops_in_the_right_phase():
    mott = replace(REFERENCE, U=4.0, eps_d=-2.0, Z_matsubara=0.002, A_beta_half=0.001)
    found = [
        closure(Z_matsubara=0.26, filling=1.01),
        closure(Z_matsubara=0.24, double_occupancy=0.083),
        closure(mott, Z_matsubara=0.0023),
        closure(A_beta_half=0.6 - 1.01 * SAME_SOLUTION, filling=0.5),
        closure(converged=False, filling=0.5),
    ]
    scalars = thermal_scalars(found)
    assert scalars["converged"] == 0.8 and scalars["right_phase"] == 0.6
    assert scalars["Z_metal_error"] == pytest.approx(0.04)
    assert scalars["Z_insulator_error"] == pytest.approx(0.15)
    assert scalars["filling_error"] == pytest.approx(0.01)
    assert scalars["double_occupancy_error"] == pytest.approx(0.003)
    assert scalars["iterations"] == 10
    assert np.isnan(thermal_scalars(found[3:])["filling_error"])
    assert each_scalar(found[:1])["beta50_U2_eps-1_metal/filling"] == 1.01


@pytest.mark.parametrize(
    ("share", "phase"),
    [(0.51, "metal"), (0.49, "crossover"), (0.11, "crossover"), (0.09, "insulator")],
)
def test_phases_by_the_density_of_states(share, phase):
    assert closure(A_beta_half=share * 2 / np.pi).phase == phase


def test_loops_are_chosen_by_U_and_beta(store):
    assert len(store.references()) == 5
    assert {r.U for r in store.references(beta=[5.0])} == {1.0, 4.0}
    with pytest.raises(StoreError, match=r"no loop at U = 3; use some of \[1.0, 2.0, 4.0\]"):
        store.references(U=[3.0])
    with pytest.raises(StoreError, match="no converged loop at these U and beta"):
        store.references(U=[1.0], beta=[10.0])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"start": ["other"]}, r"series\[0\].start = 'other'"),
        ({"start": "metal"}, "start = 'metal': give a list"),
        ({"beta": [-1.0]}, r"series\[0\].beta"),
        ({"U": []}, r"series\[0\].U"),
        ({"lattice": "square"}, "lattice"),
    ],
)
def test_series_that_make_no_loops_are_refused(part, message):
    good = {"U": [1.0], "beta": [5.0], "shift": [0.0], "start": ["metal"]}
    with pytest.raises(SettingError, match=message):
        ThermalLoopsPlan([good | part])


# --- data/thermal_reference.h5 ----------------------------------------------------------------

CALIBRATION = {
    (50.0, 1.0, -0.5): (1.0, 0.16605, 0.7248, 0.632),
    (50.0, 2.0, -1.0): (1.0, 0.08108, 0.2573, 0.5866),
    (50.0, 4.0, -2.0): (1.0, 0.00823, 0.00123, 0.0),
    (20.0, 2.0, -1.0): (1.0, 0.06572, 0.2289, 0.4143),
    (50.0, 2.0, -0.5): (0.84162, 0.04233, 0.3830, None),
}
"""Independent loops, by quantum Monte Carlo: filling, double occupancy, Z, A(beta/2); errors are
below 4e-5 in the first two, 5e-4 in Z and 3e-4 in A."""


@pytest.fixture(scope="module")
def reference():
    return ThermalLoopStore.open(ROOT / "data" / "thermal_reference.h5")


def test_the_reference_loops_agree_with_independent_ones(reference):
    found = reference.references()
    for (beta, U, eps_d), (filling, double, Z, A) in CALIBRATION.items():
        same = [r for r in found if (r.beta, r.U, r.eps_d) == (beta, U, eps_d)]
        assert same
        for r in same:
            assert r.filling == pytest.approx(filling, abs=4e-5)
            assert r.double_occupancy == pytest.approx(double, abs=4e-5)
            assert r.Z_matsubara == pytest.approx(Z, abs=8e-4)
            assert A is None or r.A_beta_half == pytest.approx(A, abs=4e-4)


def test_the_reference_loops_converged_and_their_numbers_follow_from_their_curves(reference):
    assert reference["converged"].all()
    assert set(reference["start"]) == set(range(len(THERMAL_STARTS)))
    for row in range(len(reference)):
        axis = reference.axis(row)
        sigma, delta = (reference[name][row] for name in ("self_energy", "hybridization"))
        Z = 1 / (1 - sigma[0].imag / axis.omega_n[0])
        assert Z == pytest.approx(reference["Z_matsubara"][row], rel=1e-9)
        greens = 1 / (1j * axis.omega_n - reference["eps_d"][row] - delta - sigma)
        # Dyson's equation with Delta as it is, not as six levels fit it
        missed = np.abs(delta - greens / 4).max() / np.abs(delta).max()
        assert missed < (5e-4 if axis.beta <= 50 else 4e-3)
        density = -axis.at_tau(axis.to_coefficients(greens), np.array([axis.beta]))[0]
        assert 2 * density == pytest.approx(reference["filling"][row], abs=1e-4)

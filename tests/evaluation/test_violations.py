"""Laws that are broken on purpose, by a known amount."""

from types import SimpleNamespace

import numpy as np
import pytest
from toy_loops import make_samples
from toy_thermal import pole_sum

from dmftnet.data.thermal import ThermalStore
from dmftnet.evaluation.thermal_errors import one_shot
from dmftnet.evaluation.thermal_methods import Answers, exact_answers
from dmftnet.evaluation.violations import (
    LAWS,
    TOLERANCE,
    Violations,
    count_violations,
    violations,
)
from dmftnet.physics.grids.matsubara import thermal_tau


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return ThermalStore.open(make_samples(tmp_path_factory.mktemp("laws") / "s.h5", n_models=8))


@pytest.fixture(scope="module")
def rows(store):
    return store.indices("test")


def broken(store, rows, **changes):
    """Amounts for the exact answers with some of their parts replaced."""
    exact = exact_answers(store, rows)
    parts = {name: getattr(exact, name) for name in ("greens", "sigma", "density")}
    return violations(store, Answers(**(parts | changes)), rows).amounts


def test_exact_labels_break_nothing(store, rows):
    own = violations(store, exact_answers(store, rows), rows)
    assert max(own.worst().values()) < 0.1 * TOLERANCE
    assert own.counts() == {"predictions": len(rows), **dict.fromkeys((*LAWS, "any"), 0)}


def test_a_wrong_norm_is_its_amount(store, rows):
    exact = exact_answers(store, rows)
    found = broken(store, rows, greens=1.02 * exact.greens)
    np.testing.assert_allclose(found["norm"], 0.02, atol=1e-5)
    np.testing.assert_allclose(found["density"], 0.02 * exact.density, atol=1e-5)
    assert found["convexity"].max() < TOLERANCE


def test_a_density_that_is_not_that_of_G_is_told(store, rows):
    found = broken(store, rows, density=exact_answers(store, rows).density + 0.003)
    np.testing.assert_allclose(found["density"], 0.003, atol=1e-5)
    assert found["norm"].max() < TOLERANCE


def test_a_negative_pole_bends_and_turns_G(store, rows):
    """Its norm is one; where -G is negative, or not convex, is seen on a fine mesh of tau."""
    beta = store["beta"][rows]
    energies, weights = np.array([-3.0, -1.0, 1.0, 3.0]), np.array([1.0, -0.5, -0.5, 1.0])
    omega = store.omega_n[rows]
    greens = pole_sum(energies, weights, 1j * omega)
    found = broken(store, rows, greens=greens)
    for i, b in enumerate(beta):
        tau = np.linspace(0, b, 4001)
        minus = -thermal_tau(energies, weights, tau, b)
        assert np.diff(minus, 2).min() < 0 and minus.min() < 0
        assert found["positivity"][i] == pytest.approx(-minus.min(), rel=0.1)
        assert found["convexity"][i] > TOLERANCE
    assert found["norm"].max() < TOLERANCE


def test_an_acausal_self_energy_is_its_largest_imaginary_part(store, rows):
    sigma = exact_answers(store, rows).sigma.copy()
    sigma[0, 3] = 1.0 + 0.25j
    found = broken(store, rows, sigma=sigma)
    assert found["causality"][0] == pytest.approx(0.25) and not found["causality"][1:].any()


def test_counts_are_of_predictions_that_were_made():
    amounts = {law: np.zeros(4) for law in LAWS}
    amounts["norm"] = np.array([1.0, np.nan, 0.0, 2 * TOLERANCE])
    amounts["convexity"] = np.array([1.0, np.nan, 1.0, 0.5 * TOLERANCE])
    for law in LAWS:
        amounts[law][1] = np.nan
    counts = Violations(amounts).counts()
    assert (counts["predictions"], counts["norm"], counts["convexity"]) == (3, 2, 2)
    assert counts["any"] == 3 and counts["causality"] == 0
    assert Violations(amounts).worst()["norm"] == 1.0


def test_files_are_counted_together_up_to_a_number(store, rows):
    result = one_shot(store, [])
    found = count_violations([result, result], len(rows) + 1)
    assert list(found) == ["exact labels", "crude", "fair"]
    assert all(own.counts()["predictions"] == len(rows) + 1 for own in found.values())
    fewer = SimpleNamespace(store=store, rows=rows, answers={"fair": result.answers["fair"]})
    assert list(count_violations([result, fewer], 2)) == ["exact labels", "fair"]

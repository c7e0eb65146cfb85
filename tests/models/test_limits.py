"""Limits that keep their promise, against all pairs and against intervals found by bisection."""

import numpy as np
import pytest
from scipy.optimize import brentq

from dmftnet.errors import DmftnetError, SettingError
from dmftnet.models.solvers.limits import (
    MIN_ACCEPTED,
    ErrorPromise,
    Promise,
    calibration_report,
    choose_limits,
    design_effect,
    error_bound,
)

Z = {0.95: 1.6448536269514722, 0.9: 1.2815515655446004}
"""Quantiles of the normal distribution."""


@pytest.mark.parametrize("confidence", Z)
@pytest.mark.parametrize(("bad", "count"), [(0, 20), (1, 20), (3, 400), (19, 20), (2.5, 31.7)])
def test_the_bound_is_the_share_of_which_the_count_is_just_credible(bad, count, confidence):
    """The p above with ``p - bad/count = z sqrt(p (1 - p) / count)``."""
    share = bad / count

    def surplus(p):
        return p - share - Z[confidence] * np.sqrt(p * (1 - p) / count)

    expected = brentq(surplus, share + 1e-9, 1.0, xtol=1e-14)
    assert error_bound(bad, count, confidence) == pytest.approx(expected, rel=1e-9)


def test_without_confidence_the_bound_is_the_count():
    assert error_bound(3, 40, 0.5) == pytest.approx(3 / 40)


def test_the_bound_covers_the_truth_as_often_as_it_says():
    """Of 4,000 counts of 300 solves with 3 % errors, but for what is discrete: 95 %."""
    counts = np.random.default_rng(0).binomial(300, 0.03, 4000)
    covered = np.mean(error_bound(counts, np.full(4000, 300), 0.95) >= 0.03)
    assert 0.92 < covered < 0.99


@pytest.mark.parametrize("copies", [1, 3, 8])
def test_copies_of_a_solve_count_once(copies):
    rng = np.random.default_rng(1)
    bad = rng.random(200) < 0.1
    groups = np.repeat(np.arange(200), copies)
    found = design_effect(np.repeat(bad, copies), rng.permutation(200)[groups])
    assert found == pytest.approx(copies * 200 / 199)
    assert design_effect(np.repeat(bad, copies), None) == 1.0


def test_what_fails_in_one_group_alone_counts_as_less():
    bad = np.zeros(400, dtype=bool)
    bad[:20] = True
    together, apart = np.arange(400) // 20, np.arange(400) % 20
    assert design_effect(bad, together) > 10
    assert design_effect(bad, apart) == 1.0
    assert design_effect(np.zeros(9, dtype=bool), np.arange(9)) == 1.0


def acceptance(errors, a, b, limits, largest):
    inside = (a <= limits["spread"]) & (b <= limits["distance"])
    return inside.sum(), (errors[inside] > largest).sum()


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize("copies", [1, 2])
def test_limits_keep_their_promise_and_accept_the_most(confidence, copies):
    rng = np.random.default_rng(0)
    errors = np.exp(rng.normal(-5, 2, 60))
    a, b = (errors * np.exp(rng.normal(0, 1, 60)) for _ in range(2))
    a[5] = a[6]  # equal scores stand or fall together
    errors, a, b, groups = (np.repeat(v, copies) for v in (errors, a, b, np.arange(60)))
    promise = Promise(share=0.8, confidence=confidence)
    effect = design_effect(errors > 1e-2, groups)

    def kept(n, bad):
        return error_bound(bad / effect, n / effect, confidence) <= 0.2 + 1e-12

    scores = {"spread": a, "distance": b}
    limits = choose_limits(errors, scores, promise, groups)
    accepted, bad = acceptance(errors, a, b, limits, 1e-2)
    assert kept(accepted, bad)
    for first in a:
        for second in b:
            other = acceptance(errors, a, b, {"spread": first, "distance": second}, 1e-2)
            assert other[0] <= accepted or not kept(*other)
    assert set(choose_limits(errors, {"distance": b}, promise, groups)) == {"distance"}
    report = calibration_report(errors, scores, limits, promise, groups)
    assert report["accepted"] * len(errors) == pytest.approx(accepted)
    assert report["good_accepted"] == pytest.approx(1 - bad / accepted)
    assert report["good_accepted_least"] >= 0.8 - 1e-9
    assert report["design_effect"] == pytest.approx(effect)
    assert report["kl_90_accepted"] < report["kl_90"]
    assert report["rank_correlation_spread"] > 0.5


def test_confidence_costs_acceptance():
    rng = np.random.default_rng(3)
    errors = np.exp(rng.normal(-5, 2, 300))
    score = {"spread": errors * np.exp(rng.normal(0, 1, 300))}
    taken = [
        (
            score["spread"]
            <= choose_limits(errors, score, Promise(share=0.8, confidence=c))["spread"]
        ).sum()
        for c in (0.5, 0.95, 0.999)
    ]
    assert taken[0] > taken[1] > taken[2]


def test_a_promise_that_cannot_be_kept_is_refused():
    errors = np.linspace(1, 2, 40)
    with pytest.raises(
        DmftnetError, match=rf"0 of 40 validation solves, fewer than {MIN_ACCEPTED}"
    ):
        choose_limits(errors, {"distance": errors}, Promise())


def test_few_solves_prove_no_large_share():
    """Without any error 268 are enough for 99 %, 267 are not."""
    for n, enough in ((267, False), (268, True)):
        errors, score = np.zeros(n), {"distance": np.arange(n, dtype=float)}
        if enough:
            assert choose_limits(errors, score, ErrorPromise())["distance"] == n - 1
        else:
            with pytest.raises(DmftnetError, match=r"lower calibration\.share") as caught:
                choose_limits(errors, score, ErrorPromise())
            assert "\n" not in str(caught.value) and "confidence 0.95" in str(caught.value)


def test_corrections_are_promised_an_error_of_g():
    """The rule is the same; words and keys are those of the measure."""
    errors = np.linspace(0, 1e-2, 101)
    promise = ErrorPromise(5e-3, share=1.0, confidence=0.5)
    limits = choose_limits(errors, {"distance": errors}, promise)
    assert limits["distance"] == pytest.approx(5e-3)
    report = calibration_report(errors, {"distance": errors}, limits, ErrorPromise(5e-3))
    assert report["good_accepted"] == 1.0 and report["error_90"] == pytest.approx(9e-3)
    assert "kl_90" not in report
    with pytest.raises(DmftnetError, match=r"at error <= 1e-09, .* raise calibration\.error"):
        choose_limits(errors + 1e-3, {"distance": errors}, ErrorPromise(1e-9))


@pytest.mark.parametrize("confidence", [0.4, 1.0, "much"])
def test_confidence_out_of_range_is_refused(confidence):
    with pytest.raises(SettingError, match=r"calibration\.confidence"):
        Promise(confidence=confidence)

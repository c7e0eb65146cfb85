"""Limits of spread and distance that keep a promise, chosen on validation solves.

Of all pairs of limits, that which accepts most while the share of errors among the accepted is at
most ``1 - share`` *with confidence*: not the share that was counted, but the upper end of its
interval (Wilson) must lie below. What was counted alone is too kind: it is the best of many pairs,
of a finite number of solves. These are fewer than they look, too, since those of one loop fail
together: n of them count as ``n / design_effect``. At the default confidence, a promised share of
0.99 needs 268 independent solves without any error, 0.95 needs 52.

This guarantees a share, not a bound, of problems like those of the validation split: at 0.95 one
answer in twenty may be worse. Of problems of another kind it says nothing.

References: E. Wilson, J. Am. Stat. Assoc. 22, 209 (1927); L. Kish, Survey Sampling (1965), on the
design effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy.stats import norm, spearmanr

from dmftnet import checks
from dmftnet.errors import DmftnetError

MIN_ACCEPTED = 10
"""Fewer accepted validation solves are too few to calibrate."""

ROUNDING = 1e-12
"""Of shares that are compared."""


@dataclass(frozen=True, kw_only=True)
class _Promise:
    """What limits promise of the solves that they accept; the largest good error is `key`'s.

    Parameters
    ----------
    share : float
        Of good ones among those accepted, in (0, 1].
    confidence : float
        That the share is not less, in [0.5, 1); at 0.5 the share that was counted is taken.

    Raises
    ------
    SettingError
        If one of them is out of its limits.
    """

    share: float = 0.95
    confidence: float = 0.95

    key: ClassVar[str]
    title: ClassVar[str]

    def __post_init__(self):
        checks.number(f"calibration.{self.key}", self.largest, above=0)
        checks.number("calibration.share", self.share, above=0, at_most=1)
        checks.number("calibration.confidence", self.confidence, at_least=0.5, below=1)

    @property
    def largest(self) -> float:
        """Error that is still good."""
        return getattr(self, self.key)


@dataclass(frozen=True)
class Promise(_Promise):
    """That of networks on the real axis: a KL up to `kl` is good."""

    kl: float = 1e-2

    key: ClassVar[str] = "kl"
    title: ClassVar[str] = "KL"


@dataclass(frozen=True)
class ErrorPromise(_Promise):
    """That of corrections: ``(1/beta) integral |G - G_exact| dtau`` up to `error` is good."""

    error: float = 1e-3
    share: float = field(default=0.99, kw_only=True)

    key: ClassVar[str] = "error"
    title: ClassVar[str] = "error"


def error_bound(bad: np.ndarray, count: np.ndarray, confidence: float) -> np.ndarray:
    """Upper end of the interval of a share of which ``bad`` of ``count`` were counted (Wilson).

    Parameters
    ----------
    bad, count : (n,) float64
        Need not be integers.
    confidence : float
        One-sided.
    """
    count = np.maximum(np.asarray(count, dtype=np.float64), 1e-12)
    share, z = np.asarray(bad) / count, float(norm.ppf(confidence))
    spread = z * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return (share + z**2 / (2 * count) + spread) / (1 + z**2 / count)


def design_effect(bad: np.ndarray, groups: np.ndarray | None) -> float:
    """How many times larger the variance of the share of bad solves is than of independent ones.

    Parameters
    ----------
    bad : (n,) bool
    groups : (n,) int, optional
        Solves of one group (trajectory, model) may fail together; without, all are independent.

    Returns
    -------
    float
        At least 1, also where no solve or every one is bad, and nothing is known.
    """
    share = float(np.mean(bad))
    if groups is None or share in (0.0, 1.0):
        return 1.0
    _, where = np.unique(groups, return_inverse=True)
    sums = np.bincount(where, weights=np.asarray(bad) - share)
    if sums.size < 2:
        return float(len(bad))
    variance = (sums**2).sum() * sums.size / (sums.size - 1)
    return max(1.0, float(variance / (len(bad) * share * (1 - share))))


def choose_limits(
    errors: np.ndarray,
    scores: Mapping[str, np.ndarray],
    promise: Promise | ErrorPromise,
    groups: np.ndarray | None = None,
) -> dict[str, float]:
    """Limits of one or two scores from validation solves; see the module for the rule.

    Parameters
    ----------
    errors : (n,)
        True error of each solve.
    scores : mapping of name to (n,)
        One or two.
    promise : Promise or ErrorPromise
    groups : (n,) int, optional
        See `design_effect`.

    Raises
    ------
    DmftnetError
        If no limits keep the promise.
    """
    (first, a), (second, b) = (*scores.items(), ("none", np.zeros(len(errors))))[:2]
    bad, best = ~(np.asarray(errors) <= promise.largest), (0, 0.0, 0.0)
    effect, most = design_effect(bad, groups), 1 - promise.share
    for limit in np.unique(a):
        inside = a <= limit
        order = np.argsort(b[inside], kind="stable")
        ends = b[inside][order]
        counts = np.arange(1, len(order) + 1) / effect
        bound = error_bound(np.cumsum(bad[inside][order]) / effect, counts, promise.confidence)
        last_of_equals = np.append(ends[1:] > ends[:-1], True)
        allowed = np.flatnonzero((bound <= most + ROUNDING) & last_of_equals)
        if allowed.size and allowed[-1] + 1 > best[0]:
            best = (allowed[-1] + 1, float(limit), float(ends[allowed[-1]]))
    if best[0] < MIN_ACCEPTED:
        raise DmftnetError(
            f"limits that keep {promise.share:.0%} of the accepted solves at {promise.title} <= "
            f"{promise.largest:g}, with confidence {promise.confidence:g}, accept {best[0]} of "
            f"{len(bad)} validation solves, fewer than {MIN_ACCEPTED} (all together: "
            f"{1 - bad.mean():.0%} good, as if {len(bad) / effect:.0f} were independent); raise "
            f"calibration.{promise.key} or train a better model, give more data, or lower "
            "calibration.share"
        )
    limits = {first: best[1], second: best[2]}
    return {name: limits[name] for name in scores}


def calibration_report(
    errors: np.ndarray,
    scores: Mapping[str, np.ndarray],
    limits: Mapping[str, float],
    promise: Promise | ErrorPromise,
    groups: np.ndarray | None = None,
) -> dict[str, float]:
    """How the limits do on a split: plain numbers.

    Parameters
    ----------
    errors, scores, groups : see `choose_limits`
    promise : Promise or ErrorPromise

    Returns
    -------
    dict
        ``solves``; ``accepted``, the share within the limits; ``good`` and ``good_accepted``, the
        shares of good ones among all and among the accepted; ``good_accepted_least``, the lower end
        of the latter's interval at the promise's confidence; ``design_effect``; 90 % quantiles
        ``kl_90`` and ``kl_90_accepted``, or ``error_90`` and ``error_90_accepted``;
        ``rank_correlation_<score>`` with the error (Spearman).
    """
    errors, largest, key = np.asarray(errors), promise.largest, promise.key
    bad = ~(errors <= largest)
    effect = design_effect(bad, groups)
    inside = np.all([scores[name] <= limit for name, limit in limits.items()], axis=0)
    report = {
        "solves": len(errors),
        "accepted": float(inside.mean()),
        "good": float((errors <= largest).mean()),
        f"{key}_90": float(np.quantile(errors, 0.9)),
        "design_effect": effect,
    }
    if inside.any():
        report["good_accepted"] = float((errors[inside] <= largest).mean())
        counted = bad[inside].sum() / effect, inside.sum() / effect
        report["good_accepted_least"] = 1 - float(error_bound(*counted, promise.confidence))
        report[f"{key}_90_accepted"] = float(np.quantile(errors[inside], 0.9))
    for name, values in scores.items():
        report[f"rank_correlation_{name}"] = float(spearmanr(values, errors).statistic)
    return report

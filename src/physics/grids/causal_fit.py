"""A positive measure that meets values at Matsubara frequencies: causal, with the right tail.

Method
    Non-negative least squares of ``sum_p w_p / (i w_n - e_p)``, ``|e_p| <= w_max``, over poles that
    are spaced by a share of their distance from zero, ``pi/beta`` at the least. Those that are used
    are then joined by neighbours at half the distance, until nothing is gained.
Range
    Any frequencies, in full or in part, with noise or without; the high-frequency tail and what
    lies between or beyond the given frequencies follow from the measure. Poles are no spectrum:
    few of them meet the values, and many other measures do.
Error
    Values without noise come back to 2e-12 of the largest, of levels and of continua; where there
    is noise, less of it comes out than went in (`tests/physics/test_causal_fit.py`).
Cost
    Some 10 ms for 1,000 frequencies.

Reference: C. Lawson, R. Hanson, Solving Least Squares Problems (1974), chapter 23.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

SPACING = 0.25
"""First spacing of ``arcsinh(e beta / pi)``."""

REFINEMENTS = 40

ENOUGH = 1e-12
"""Residual at which refinement ends: rounding."""

GAIN = 0.999
"""A residual above this share of the one three refinements before gains nothing."""


@dataclass(frozen=True, eq=False)
class CausalFit:
    """Poles that meet given values.

    Parameters
    ----------
    energies : (n_p,) float64, in D
    weights : (n_p,) float64
        Non-negative.
    residual : float
        Largest deviation from the values over the largest of them.
    """

    energies: np.ndarray
    weights: np.ndarray
    residual: float

    def at(self, z: np.ndarray) -> np.ndarray:
        """(n,) complex128 at complex z off the real axis."""
        return (1 / (np.asarray(z)[:, None] - self.energies)) @ self.weights


def causal_fit(omega_n: np.ndarray, values: np.ndarray, beta: float, w_max: float) -> CausalFit:
    """Fit one function; see the module.

    Parameters
    ----------
    omega_n : (n,) float64, in D
        Positive.
    values : (n,) complex128
    beta : float, in 1/D
        Sets the spacing of poles at low energy.
    w_max : float, in D
        The measure lies below.
    """
    lowest, largest = np.pi / beta, max(float(np.abs(values).max()), 1e-300)
    target = np.concatenate([values.real, values.imag]) / largest
    end = np.arcsinh(w_max / lowest)
    half = int(np.ceil(end / SPACING))
    s = np.linspace(-end, end, 2 * half + 1)  # pole p at lowest sinh(s_p)
    step = s[1] - s[0]
    best, history = CausalFit(np.zeros(0), np.zeros(0), np.inf), []
    for _ in range(REFINEMENTS):
        energies = lowest * np.sinh(s)
        columns = 1 / (1j * omega_n[:, None] - energies)
        columns = np.concatenate([columns.real, columns.imag])
        weights = _positive(columns, target)
        residual = float(np.hypot(*np.split(columns @ weights - target, 2)).max())
        used = weights > 0
        if residual < best.residual:
            best = CausalFit(energies[used], largest * weights[used], residual)
        history.append(best.residual)
        stalled = len(history) > 3 and history[-1] > GAIN * history[-4]
        if best.residual <= ENOUGH or stalled or not used.any():
            break
        step *= 0.5
        s = s[used]
        s = np.unique(np.clip(np.concatenate([s, s - step, s + step]), -end, end))
    return best


def _positive(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Non-negative least squares; as many equations as unknowns, by an orthogonal projection."""
    scale = np.linalg.norm(columns, axis=0)
    q, r = np.linalg.qr(columns / scale)
    return nnls(r, q.T @ target, maxiter=50 * scale.size)[0] / scale

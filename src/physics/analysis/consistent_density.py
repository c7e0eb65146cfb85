"""The density at which a self-energy that depends on it agrees with its own Green function.

With ``Sigma(z) = U n + n (1 - n) D(z)``, D given at the Matsubara frequencies and n the density of
one spin, G follows from Dyson's equation and has a density ``n(G[n])`` itself. The root of
``n(G[n]) = n`` is found by Newton's method in a bracket: a step that leaves it, or follows one that
did not halve the error, goes to its middle. A root exists for any causal Sigma, since the density
of G is between 0 and 1. In a Mott insulator at low temperature n(G[n]) can be all but a step:
Newton's method alone, or a dozen steps, can miss it altogether.

Error: 1e-12 of the density. Cost: five steps of a microsecond each; compiled.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.solvers.compiled import compiled

MAX_STEPS = 120
"""Of the search. 60 are enough, and 5 are usual."""

TOLERANCE = 1e-12
"""Of ``n(G[n]) - n``."""

FLATTEST = -1e-3
"""Of the slope of ``n(G[n]) - n``."""


def consistent_densities(
    bare: np.ndarray, dynamic: np.ndarray, U: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Roots of problems in a row, each by itself.

    Parameters
    ----------
    bare : (B, n_iw) complex128, in D
        ``i w_n - eps_d - Delta(i w_n)``.
    dynamic : (B, n_iw) complex128, in D
        D above.
    U : (B,) float64, in D
    weights : (B, n_iw) float64, in D
        Of the density, ``1/2 + sum_n weights_n Re G(i w_n)``.

    Returns
    -------
    n : (B,) float64, NaN where the values are not finite
    slope : (B,) float64
        Of ``n(G[n]) - n`` there, at most `FLATTEST`.
    """
    n, slope = np.empty(U.size), np.empty(U.size)
    search_densities(bare, dynamic, U, weights, n, slope)
    return n, slope


@compiled
def search_densities(bare, dynamic, U, weights, roots, slopes):
    """`consistent_densities` into given arrays, for compiled callers."""
    for i in range(U.size):
        n, low, high, before, slope = 0.5, 0.0, 1.0, np.inf, FLATTEST
        for _ in range(MAX_STEPS):
            value, change = 0.0, 0.0
            for k in range(bare.shape[1]):
                part = dynamic[i, k]
                greens = 1 / (bare[i, k] - U[i] * n - part * (n * (1 - n)))
                value += weights[i, k] * greens.real
                change += weights[i, k] * (greens * greens * (U[i] + part * (1 - 2 * n))).real
            surplus, slope = value + (0.5 - n), min(change - 1, FLATTEST)
            if abs(surplus) <= TOLERANCE or high - low <= 1e-15:
                break
            if surplus > 0:
                low = n
            else:
                high = n
            step = n - surplus / slope
            if not (low < step < high and abs(surplus) <= 0.5 * before):
                step = 0.5 * (low + high)
            n, before = step, abs(surplus)
        if not np.isfinite(value):
            n = np.nan
        roots[i], slopes[i] = n, slope

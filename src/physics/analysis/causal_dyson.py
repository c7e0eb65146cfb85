"""Dyson's equation with the density of its own G, for shapes of -Im Sigma in use: compiled.

``Sigma(w) = U n + U^2 n (1 - n) integral s(e) / (w + i0 - e) de`` with s >= 0 of integral one and n
the density of one spin, the root of ``n(G[n]) - n``, which falls with n. Secants in a bracket, its
middle where a step leaves it or the last did not halve the error. A is integrated over each cell,
as by `dmftnet.physics.analysis.self_energy.inverse_spectrum`, so that bound states keep their
weight and n is that of A itself.

What training differentiates is `dmftnet.models.networks.dyson`, which searches with the same code.
Error: `TOLERANCE` of n. Cost: 1e-7 s for a frequency and step of the search, one Kramers-Kronig.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dmftnet.physics.analysis.self_energy import FLOOR, N_SERIES, SMALL
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.solvers.compiled import compiled

MAX_STEPS = 120
"""Of the search for n: two halve the bracket or the error."""

TOLERANCE = 1e-9
"""Of n."""

K = np.arange(N_SERIES)
FALLING = (-1.0) ** K / ((K + 1) * (K + 2))
RISING = (-1.0) ** K / (K + 2)
"""Coefficients of `dmftnet.physics.analysis.self_energy.hat_integrals` in powers of u."""


class DysonAnswer(NamedTuple):
    """``spectrum`` (R, n_w) in 1/D, of norm one; ``sigma`` (R, n_w) complex128 in D; ``density``
    (R,) of one spin."""

    spectrum: np.ndarray
    sigma: np.ndarray
    density: np.ndarray


class CausalDyson:
    """Dyson's equation on a grid.

    Parameters
    ----------
    grid : FrequencyGrid
    """

    def __init__(self, grid: FrequencyGrid):
        self.grid = grid
        self.width = np.diff(grid.omega)
        self.below = occupied(grid) / grid.weights

    def __call__(
        self, shape: np.ndarray, bath: np.ndarray, U: np.ndarray, level: np.ndarray
    ) -> DysonAnswer:
        """The answers to R problems.

        Parameters
        ----------
        shape : (R, n_w) float64
            s above, non-negative, of any integral.
        bath : (R, n_w) float64, in D
            ``-Im Delta / pi``.
        U, level : (R,) float64, in D
        """
        grid, rows = self.grid, len(shape)
        shape = shape / grid.integrate(shape)[:, None]
        real = grid.kramers_kronig(np.concatenate([bath, shape]))
        free = grid.omega - real[:rows] - level[:, None]
        n, weights = consistent(free, bath, real[rows:], shape, U, self.width, self.below)
        spectrum = weights / (grid.weights * weights.sum(axis=1, keepdims=True))
        strength, sigma = (U**2 * n * (1 - n))[:, None], np.empty(shape.shape, np.complex128)
        sigma.real = (U * n)[:, None] + strength * real[rows:]
        sigma.imag = -math.pi * strength * shape
        return DysonAnswer(spectrum, sigma, n)


def occupied(grid: FrequencyGrid) -> np.ndarray:
    """(n_w,) such that its product with a curve is the integral below zero, in D."""
    return np.array([grid.cumulative(row, np.zeros(1))[0] for row in np.eye(grid.n_w)])


def cell_weights(real: np.ndarray, imag: np.ndarray, width: np.ndarray) -> np.ndarray:
    """`dmftnet.physics.analysis.self_energy.inverse_weights` of (..., n_w) float64, compiled.

    Everywhere by the series where logarithms would cancel.
    """
    if real.shape != imag.shape:
        real, imag = np.broadcast_arrays(real, imag)
    re, im = (np.ascontiguousarray(a).reshape(-1, a.shape[-1]) for a in (real, imag))
    return _rows(re, im, width).reshape(real.shape)


def consistent(free, bath, real, shape, U, width, below) -> tuple[np.ndarray, np.ndarray]:
    """Densities of R problems, and what A then gives each point.

    Parameters
    ----------
    free : (R, n_w) float64, in D
        ``w - eps_d - Re Delta``.
    bath : (R, n_w) float64, in D
    real, shape : (R, n_w) float64, in 1/D
        Kramers-Kronig of s, and s, of integral one.
    U : (R,) float64, in D
    width : (n_w - 1,), in D
        Of the cells.
    below : (n_w,)
        Share of each point's weight that lies below zero.

    Returns
    -------
    n : (R,) float64
    weights : (R, n_w) float64
        Of A, not normalised.
    """
    n, weights = np.empty(len(U)), np.empty(free.shape)
    _search(free, bath, real, shape, U, width, below, n, weights)
    return n, weights


@compiled
def _cell(r0, i0, r1, i1, width):
    """-Im of the integrals of 1/d against the falling and the rising hat of a cell."""
    square = r0 * r0 + i0 * i0
    u_r = (r1 * r0 + i1 * i0) / square - 1.0
    u_i = (i1 * r0 - r1 * i0) / square
    size = u_r * u_r + u_i * u_i
    if size < SMALL * SMALL:
        f_r, f_i, g_r, g_i = FALLING[-1], 0.0, RISING[-1], 0.0
        for k in range(N_SERIES - 2, -1, -1):
            f_r, f_i = f_r * u_r - f_i * u_i + FALLING[k], f_r * u_i + f_i * u_r
            g_r, g_i = g_r * u_r - g_i * u_i + RISING[k], g_r * u_i + g_i * u_r
    else:
        log_r = 0.5 * math.log((r1 * r1 + i1 * i1) / square)
        log_i = math.atan2(u_i, 1.0 + u_r)
        w_r, w_i = (u_r * u_r - u_i * u_i) / size**2, -2.0 * u_r * u_i / size**2  # 1 / u^2
        p_r, p_i = u_r - log_r, u_i - log_i
        g_r, g_i = p_r * w_r - p_i * w_i, p_r * w_i + p_i * w_r
        p_r, p_i = u_r * log_r - u_i * log_i - p_r, u_r * log_i + u_i * log_r - p_i
        f_r, f_i = p_r * w_r - p_i * w_i, p_r * w_i + p_i * w_r
    scale = width / square
    return (f_r * i0 - f_i * r0) * scale, (g_r * i0 - g_i * r0) * scale


@compiled
def _fill(real, imag, width, out):
    """Weights of one row."""
    last = 0.0
    for k in range(width.size):
        falling, rising = _cell(
            real[k], max(imag[k], FLOOR), real[k + 1], max(imag[k + 1], FLOOR), width[k]
        )
        out[k] = max(last + falling, 0.0) / math.pi
        last = rising
    out[width.size] = max(last, 0.0) / math.pi


@compiled
def _rows(real, imag, width):
    out = np.empty(real.shape)
    for i in range(real.shape[0]):
        _fill(real[i], imag[i], width, out[i])
    return out


@compiled
def _surplus(n, free, bath, real, shape, U, width, below, scratch, out):
    """``n(G[n]) - n`` of one problem; its weights in `out`."""
    strength = U * U * n * (1.0 - n)
    for k in range(free.size):
        scratch[0, k] = free[k] - U * n - strength * real[k]
        scratch[1, k] = math.pi * (bath[k] + strength * shape[k])
    _fill(scratch[0], scratch[1], width, out)
    inside, total = 0.0, 0.0
    for k in range(out.size):
        inside += below[k] * out[k]
        total += out[k]
    return inside / total - n


@compiled
def _search(free, bath, real, shape, U, width, below, densities, weights):
    scratch = np.empty((2, free.shape[1]))
    for i in range(U.size):
        row = free[i], bath[i], real[i], shape[i], U[i], width, below, scratch, weights[i]
        low, high, n, slope, slow = 0.0, 1.0, 0.5, -2.0, False
        error = _surplus(n, *row)
        for _ in range(MAX_STEPS):
            if not abs(error) > TOLERANCE:
                break
            if error > 0:
                low = n
            else:
                high = n
            following = n - error / slope
            if slow or not low < following < high:
                following = 0.5 * (low + high)
            moved = following - n
            if moved == 0:
                break
            new = _surplus(following, *row)
            if (new - error) / moved < -1e-3:
                slope = (new - error) / moved
            slow = abs(new) > 0.5 * abs(error)
            n, error = following, new
        densities[i] = n

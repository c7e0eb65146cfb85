"""Kramers-Kronig of curves on a grid: products with `FrequencyGrid.hilbert`, fast.

Reading the matrix is most of the time that a product with it takes. On a symmetric grid even curves
become odd ones and odd ones even, so that two maps of half the points do, and one where all curves
are even. Where such a grid is geometric a map depends on the ratio of two frequencies alone: but
for the hats at its two ends it is a convolution in ln w, on a large grid taken by FFT. Every other
grid is served by its matrix.

Error: rounding. Cost: O(n_w log n_w) a curve on a large geometric grid, else O(n_w^2).
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

ROUNDING = 1e-14
"""Of a curve's largest value: an odd part below is that of interpolation."""

GEOMETRIC = 1e-12
"""Deviation of the logarithm of a ratio of neighbours from a constant."""

LARGE = 400
"""Points of a half from which an FFT is faster than a product with the matrix."""


class KramersKronig:
    """``H f`` of curves, see `dmftnet.physics.grids.real_axis.FrequencyGrid.kramers_kronig`.

    Parameters
    ----------
    omega : (n_w,) float64, in D
        Of the grid.
    symmetric : bool
        Whether it maps onto itself under ``omega -> -omega``.
    hilbert : (n_w, n_w) float64
        The matrix H.
    """

    def __init__(self, omega: np.ndarray, symmetric: bool, hilbert: np.ndarray):
        self.half = omega.size // 2 if symmetric and omega.size % 2 == 0 else 0
        if not self.half:
            self.full = _Matrix(hilbert)
            return
        upper, ratios = hilbert[self.half :], np.diff(np.log(omega[self.half :]))
        same, other = upper[:, self.half :], upper[:, : self.half][:, ::-1]
        kind = _Convolution if self.half >= LARGE and np.ptp(ratios) < GEOMETRIC else _Matrix
        self.of_even, self.of_odd = kind(same + other), kind(same - other)

    def __call__(self, curves: np.ndarray) -> np.ndarray:
        """(..., n_w) float64 or complex128 -> (..., n_w)."""
        if np.iscomplexobj(curves):
            return self(curves.real) + 1j * self(curves.imag)
        rows = curves.reshape(-1, curves.shape[-1])
        found = self._by_parity(rows) if self.half else self.full(rows)
        return found.reshape(curves.shape)

    def _by_parity(self, curves: np.ndarray) -> np.ndarray:
        above, below = curves[:, self.half :], curves[:, self.half - 1 :: -1]
        odd = 0.5 * (above - below)
        result = np.empty(curves.shape)
        result[:, self.half :] = from_even = self.of_even(0.5 * (above + below))
        np.negative(from_even[:, ::-1], out=result[:, : self.half])
        if np.abs(odd).max() > ROUNDING * np.abs(curves).max():
            from_odd = self.of_odd(odd)
            result[:, self.half :] += from_odd
            result[:, : self.half] += from_odd[:, ::-1]
        return result


class _Matrix:
    """(R, n) -> (R, n) by an (n, n) matrix."""

    def __init__(self, matrix: np.ndarray):
        self.transposed = matrix.T.copy()

    def __call__(self, curves: np.ndarray) -> np.ndarray:
        return curves @ self.transposed


class _Convolution:
    """The same, of a matrix whose elements depend on i - j, but for its first and last column."""

    def __init__(self, matrix: np.ndarray):
        n = len(matrix)
        self.length = next_fast_len(2 * n - 1, real=True)
        kernel = np.zeros(self.length)
        kernel[: n - 1] = matrix[1:, 1]
        kernel[2 - n :] = matrix[: n - 2, n - 2]
        self.transform = rfft(kernel)
        self.first = matrix[:, 0] - kernel[:n]
        self.last = matrix[:, -1] - np.append(kernel[1 - n :], kernel[0])

    def __call__(self, curves: np.ndarray) -> np.ndarray:
        spectra = rfft(curves, self.length)
        spectra *= self.transform
        result = irfft(spectra, self.length)[:, : curves.shape[1]]
        return result + curves[:, :1] * self.first + curves[:, -1:] * self.last

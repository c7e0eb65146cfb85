"""The second-order diagram at zero temperature, for a batch of references.

``S2 / U^2`` has the spectral function ``sum_ijk p_i p_j p_k delta(w - E_i - E_j - E_k)``, over
E_i, E_j > 0 with the mirror image of E_k < 0, and the same with all signs changed: two convolutions
of the particles' weights with those of the mirrored holes. They are products of Fourier transforms
on a uniform grid of energies, on which a pole is shared between its two neighbours, and from which
the result is shared between its neighbours among the points.

Both ways, from the points to times and back, are linear maps, and come in two forms: by FFT
(`SecondOrderDiagram`, any grid, fine steps), or as matrices (`diagram_matrices`, for a symmetric
grid that is used over and over with a coarse step: some products of matrices on any device).
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.sparse import csr_array

from dmftnet.physics.grids.real_axis import FrequencyGrid


class SecondOrderDiagram:
    """Spectral weights of ``S2 / U^2`` from those of the reference, by FFT.

    Parameters
    ----------
    grid : FrequencyGrid
        With points on both sides of zero and none at it.
    step : float, in D
        Of the uniform grid; features of the reference should be wider.

    Notes
    -----
    A subclass for other arrays names their library `xp` and gives `to_times` and `to_points`.
    """

    xp: ModuleType = np

    def __init__(self, grid: FrequencyGrid, step: float):
        n_bins = int(np.ceil(np.abs(grid.omega).max() / step)) + 2
        self.length = next_fast_len(3 * n_bins, real=True)
        self.n_holes = int((grid.omega < 0).sum())
        sides = _sides(grid)
        bins, energies = step * np.arange(n_bins), step * np.arange(self.length)
        self._to_bins = [_shares(bins, points[1:]).T.tocsr() for points in sides]
        self._to_points = [_shares(points, energies).T.tocsr() for points in sides]

    def weights(self, poles):
        """(B, n_w) pole weights on the points -> (B, n_w) >= 0, in all ``n_0 (1 - n_0)``.

        What lies outside the grid is at its end points.
        """
        xp, n = self.xp, self.n_holes
        real, imag = self.to_times(poles[..., n:], xp.flip(poles[..., :n], (-1,)))
        square = real * real - imag * imag, 2.0 * real * imag
        real, imag = xp.flip(real, (0,)), xp.flip(imag, (0,))
        product = square[0] * real - square[1] * imag, square[0] * imag + square[1] * real
        upper, lower = self.to_points(*product)
        lower = xp.flip(lower, (-1,))  # both reach one point across zero
        across = lower[..., -2:] + upper[..., :2]
        return xp.concatenate((lower[..., :-2], across, upper[..., 2:]), -1)

    def to_times(self, particles, holes):
        """(B, n) weights at positive energies -> real and imaginary parts, (2, B, n_t) each."""
        sides = zip(self._to_bins, (particles, holes), strict=True)
        times = np.stack([rfft((shares @ poles.T).T, self.length) for shares, poles in sides])
        return times.real, times.imag

    def to_points(self, real, imag):
        """(2, B, n_t) parts -> (B, n + 1) weights >= 0 of each side, from one point across zero."""
        bins = np.maximum(irfft(real + 1j * imag, self.length), 0.0)  # FFTs round
        return [(shares @ side.T).T for shares, side in zip(self._to_points, bins, strict=True)]


def diagram_matrices(grid: FrequencyGrid, step: float, length: int) -> dict[str, np.ndarray]:
    """The two linear maps of a symmetric grid as matrices.

    Parameters
    ----------
    length : int
        Points of the uniform grid; what lies beyond it comes back at its other end.

    Returns
    -------
    dict
        ``cosine, sine``: (n_w/2, n_t), of `SecondOrderDiagram.to_times`; ``from_real, from_imag``:
        (n_t, n_w/2 + 1), the sum of whose products is what `SecondOrderDiagram.to_points` gives.
    """
    points, energies = _sides(grid)[0], step * np.arange(length)
    to_times = np.fft.rfft(_shares(energies, points[1:]).toarray())
    weights = np.full(to_times.shape[1], 2.0)
    weights[0] = 1.0
    if length % 2 == 0:
        weights[-1] = 1.0
    to_points = _shares(points, energies).toarray()
    back = weights[:, None] * np.fft.rfft(to_points.T).conj().T / length
    return {
        "cosine": to_times.real,
        "sine": to_times.imag,
        "from_real": back.real,
        "from_imag": -back.imag,
    }


def _sides(grid: FrequencyGrid) -> list[np.ndarray]:
    """Points of one half of the diagram, positive and one across zero; those of the mirror half."""
    n = int((grid.omega < 0).sum())
    return [grid.omega[n - 1 :], -grid.omega[n::-1]]


def _shares(points: np.ndarray, at: np.ndarray) -> csr_array:
    """(n_at, n_points) shares of poles anywhere in their two neighbours among the points."""
    left = np.clip(np.searchsorted(points, at, side="right") - 1, 0, points.size - 2)
    share = np.clip((at - points[left]) / (points[left + 1] - points[left]), 0.0, 1.0)
    values = np.stack([1 - share, share], axis=1).ravel()
    columns = np.stack([left, left + 1], axis=1).ravel()
    rows = 2 * np.arange(at.size + 1)
    return csr_array((values, columns, rows), shape=(at.size, points.size))

"""The second-order diagram at zero temperature, for a batch of references.

``S2 / U^2`` has the spectral function ``sum_ijk p_i p_j p_k delta(w - E_i - E_j - E_k)``, over
E_i, E_j > 0 with the mirror image of E_k < 0, and the same with all signs changed: two convolutions
of the particles' weights with those of the mirrored holes. They are products of Fourier transforms
on a uniform grid of energies, on which a pole is shared between its two neighbours, and from which
the result is shared between its neighbours among the points. Where particles and holes mirror each
other one of the two is enough.

Both ways, from the points to times and back, are linear maps, and come in two forms: by FFT
(`SecondOrderDiagram`, any grid, numpy), or as matrices (`diagram_matrices`, for a symmetric grid
that is used over and over with a coarse step: some products of matrices on any device).
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.solvers.compiled import compiled

ROUNDING = 1e-12
"""Of the largest weight, within which the sides of a problem are its own mirror image."""


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
    A subclass for other arrays names their library `xp` and gives `sides`.
    """

    xp: ModuleType = np

    def __init__(self, grid: FrequencyGrid, step: float):
        n_bins = int(np.ceil(np.abs(grid.omega).max() / step)) + 2
        self.length = next_fast_len(3 * n_bins, real=True)
        self.n_holes = int((grid.omega < 0).sum())
        self.symmetric, sides = grid.is_symmetric, _sides(grid)
        bins, energies = step * np.arange(n_bins), step * np.arange(self.length)
        self._to_bins = [_Shares(bins, points[1:]) for points in sides]
        self._to_points = [_Shares(points, energies) for points in sides]

    def weights(self, poles):
        """(B, n_w) pole weights on the points -> (B, n_w) >= 0, in all ``n_0 (1 - n_0)``.

        What lies outside the grid is at its end points.
        """
        xp, n = self.xp, self.n_holes
        upper, lower = self.sides(poles[..., n:], xp.flip(poles[..., :n], (-1,)))
        lower = xp.flip(lower, (-1,))  # both reach one point across zero
        across = lower[..., -2:] + upper[..., :2]
        return xp.concatenate((lower[..., :-2], across, upper[..., 2:]), -1)

    def sides(self, particles, holes):
        """(B, n) weights of either side -> (B, n + 1) of S2's, from one point across zero."""
        to_bins, to_points = self._to_bins, self._to_points
        P = rfft(to_bins[0](particles), self.length)
        if self.mirrored(particles, holes):
            P *= P * P
            upper = to_points[0](np.maximum(irfft(P, self.length), 0.0))
            return upper, upper
        H = rfft(to_bins[1](holes), self.length)
        pair = P * H
        P *= pair
        H *= pair
        each = [np.maximum(irfft(x, self.length), 0.0) for x in (P, H)]  # rounds
        return to_points[0](each[0]), to_points[1](each[1])

    def mirrored(self, particles, holes) -> bool:
        """Whether both sides are the same, so that one of them is enough."""
        if not self.symmetric:
            return False
        return bool(np.abs(particles - holes).max() <= ROUNDING * np.abs(particles).max())


def diagram_matrices(grid: FrequencyGrid, step: float, length: int) -> dict[str, np.ndarray]:
    """The two linear maps of a symmetric grid as matrices.

    Parameters
    ----------
    length : int
        Points of the uniform grid; what lies beyond it comes back at its other end.

    Returns
    -------
    dict
        ``cosine, sine``: (n_w/2, n_t), from weights of one side to times; ``from_real, from_imag``:
        (n_t, n_w/2 + 1), the sum of whose products is that of S2.
    """
    points, energies = _sides(grid)[0], step * np.arange(length)
    to_times = np.fft.rfft(_Shares(energies, points[1:]).matrix)
    weights = np.full(to_times.shape[1], 2.0)
    weights[0] = 1.0
    if length % 2 == 0:
        weights[-1] = 1.0
    to_points = _Shares(points, energies).matrix
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


class _Shares:
    """Poles anywhere, each given to its two neighbours among the points.

    Parameters
    ----------
    points : (n_points,) float64
        Increasing.
    at : (n_at,) float64
        Where the poles are.
    """

    def __init__(self, points: np.ndarray, at: np.ndarray):
        left = np.clip(np.searchsorted(points, at, side="right") - 1, 0, points.size - 2)
        share = (at - points[left]) / (points[left + 1] - points[left])
        self.left, self.share, self.n_points = left, np.clip(share, 0.0, 1.0), points.size

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """(R, n_at) weights of poles -> (R, n_points)."""
        out = np.zeros((len(weights), self.n_points))
        _give(weights, self.left, self.share, out)
        return out

    @property
    def matrix(self) -> np.ndarray:
        """(n_at, n_points), of which a product with the weights is the same."""
        return self(np.eye(self.left.size))


@compiled
def _give(weights, left, share, out):
    for r in range(weights.shape[0]):
        for k in range(left.size):
            right = share[k] * weights[r, k]
            out[r, left[k]] += weights[r, k] - right
            out[r, left[k] + 1] += right

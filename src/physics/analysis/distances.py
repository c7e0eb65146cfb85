"""How far apart two spectra are."""

from __future__ import annotations

import numpy as np

from dmftnet.physics.grids.real_axis import FrequencyGrid


def kl_divergence(grid: FrequencyGrid, reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """``KL(P||Q) = integral [P ln(P/Q) - P + Q] dw``, zero where P is zero apart from Q.

    Parameters
    ----------
    reference, other : (..., n_w) float64
        P (the reference) and Q on the grid, non-negative. Q is floored at 1e-12 of P's maximum,
        so that a spectrum which vanishes where it should not costs much but stays finite.

    Returns
    -------
    (...) float64, >= 0
    """
    P = np.asarray(reference, dtype=np.float64)
    Q = np.asarray(other, dtype=np.float64)
    floor = 1e-12 * P.max(axis=-1, keepdims=True)
    Q = np.maximum(Q, floor)
    ratio = np.divide(P, Q, out=np.ones(np.broadcast_shapes(P.shape, Q.shape)), where=P > floor)
    return grid.integrate(np.where(P > floor, P * np.log(ratio) - P + Q, Q - floor))

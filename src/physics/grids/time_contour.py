"""Contours in the complex time plane, and the way back to real time.

A state is evolved along ``z(t) = integral_0^t exp[-i alpha f(t')] dt'``, which damps every
excitation (greater part; the lesser part runs along the mirrored contour, so that both are sums of
decaying exponentials ``phi(z) = sum_n w_n exp(-i e_n z)`` with excitation energies ``e_n >= 0``):

* ``constant``: ``f = 1``, a straight line ``z = t exp(-i alpha)``;
* ``decreasing``: ``f = exp(-w0 t)``, ``w0 = 2 pi / t_max``: steep at first, then almost parallel to
  the real axis, from which it stays a bounded distance ``alpha / w0`` away;
* angle 0: real time.

With the moments ``phi_n(t) = <gs| O H^n |psi(z(t))>`` (H counted from the ground-state energy) and
``J_n = -i d^n z / d alpha^n`` the chain rule gives ``d phi_n / d alpha = J_1 phi_(n+1)``, and so

``d^n phi_0 / d alpha^n = sum_k B_nk(J_1, J_2, ...) phi_k``

with the partial Bell polynomials ``B_nk``. The Taylor series in the angle leads back to real time,

``phi(alpha = 0) ~ sum_(n <= order) (-alpha)^n / n!  d^n phi_0 / d alpha^n``,

with an error of order ``(alpha e / w0)^(order + 1)`` on the decreasing contour and
``(alpha e t)^(order + 1)`` on the constant one, for an excitation energy e: there it serves short
times and small angles, and poles (`dmftnet.physics.analysis.spectral_analysis`) are the better way.

Reference: Cao, Lu, Stoudenmire, Parcollet, PRB 109, 235110 (2024), arXiv:2311.10909.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, factorial

import numpy as np
from numpy.polynomial.legendre import leggauss

from dmftnet.errors import InvalidProblemError

MAX_ORDER = 4
SHAPES = ("constant", "decreasing")
# The integrands are entire functions on an interval of length one, at most alpha = pi/2 in phase:
# this many Gauss-Legendre nodes give them to rounding.
_NODES, _WEIGHTS = leggauss(32)


@dataclass(frozen=True)
class TimeContour:
    """A contour in the lower half of the complex time plane.

    Parameters
    ----------
    t_max : float, in 1/D
        Length of the time parameter; sets ``w0`` of the decreasing contour.
    angle : float, in radians
        ``0 <= angle < pi/2``; 0 is real time, whatever the shape.
    shape : {"constant", "decreasing"}
    """

    t_max: float
    angle: float = 0.0
    shape: str = "constant"

    def __post_init__(self):
        if not (np.isfinite(self.t_max) and self.t_max > 0):
            raise InvalidProblemError(f"contour t_max = {self.t_max} must be finite and > 0")
        if not 0 <= self.angle < np.pi / 2:
            raise InvalidProblemError(f"contour angle = {self.angle}: use 0 <= angle < pi/2")
        if self.shape not in SHAPES:
            raise InvalidProblemError(
                f"contour shape '{self.shape}' is unknown; use {' or '.join(SHAPES)}"
            )

    @property
    def w0(self) -> float:
        """Rate at which the angle decreases, ``2 pi / t_max``, in D."""
        return 2 * np.pi / self.t_max

    @property
    def is_straight(self) -> bool:
        """Whether ``z(t)`` is proportional to t, as an exponential fit needs it."""
        return self.shape == "constant" or self.angle == 0

    def z(self, t: np.ndarray) -> np.ndarray:
        """Complex times ``z(t)``, in 1/D; same shape as t."""
        t = np.asarray(t, dtype=np.float64)
        if self.is_straight:
            return t * np.exp(-1j * self.angle)
        u, weights = self._fractions(t)  # u = f(t')
        bent = (weights * np.expm1(-1j * self.angle * u) / u).sum(axis=-1)
        return t + bent / self.w0

    def angle_derivatives(self, t: np.ndarray, order: int) -> np.ndarray:
        """``J_n = -i d^n z / d alpha^n`` for n = 1 .. order.

        Returns
        -------
        (order, *t.shape) complex128, in 1/D
        """
        t = np.asarray(t, dtype=np.float64)
        powers = range(1, order + 1)
        if self.shape == "constant":
            z = t * np.exp(-1j * self.angle)
            return np.stack([-1j * (-1j) ** n * z for n in powers])
        u, weights = self._fractions(t)
        phase = weights * np.exp(-1j * self.angle * u) / self.w0
        return np.stack([-1j * (-1j) ** n * (phase * u ** (n - 1)).sum(-1) for n in powers])

    def _fractions(self, t: np.ndarray):
        """Quadrature in ``u = f(t')`` from ``f(t)`` to 1, where ``dt' = -du / (w0 u)``."""
        low = np.exp(-self.w0 * t)[..., None]
        half = 0.5 * (1 - low)
        return low + half * (_NODES + 1), half * _WEIGHTS


def bell_polynomials(J: np.ndarray) -> np.ndarray:
    """Partial Bell polynomials ``B_nk(J_1, ..)``.

    Parameters
    ----------
    J : (order, ...) complex128

    Returns
    -------
    (order + 1, order + 1, ...) complex128, indexed ``[n, k]``; zero for k > n
    """
    order = J.shape[0]
    B = np.zeros((order + 1, order + 1, *J.shape[1:]), dtype=np.complex128)
    B[0, 0] = 1
    for n in range(1, order + 1):
        for k in range(1, n + 1):
            for m in range(1, n - k + 2):
                B[n, k] += comb(n - 1, m - 1) * J[m - 1] * B[n - m, k - 1]
    return B


def angle_derivatives(moments: np.ndarray, J: np.ndarray) -> np.ndarray:
    """``d^n phi_0 / d alpha^n`` for n = 0 .. order from the moments ``phi_k``.

    Parameters
    ----------
    moments : (order + 1, n_t, ...) complex128
        ``phi_k(t)``, k = 0 .. order.
    J : (order, n_t) complex128
        See `TimeContour.angle_derivatives`.

    Returns
    -------
    (order + 1, n_t, ...) complex128
    """
    if moments.shape[0] != J.shape[0] + 1 or moments.shape[1] != J.shape[1]:
        raise InvalidProblemError(
            f"moments {moments.shape} and contour derivatives {J.shape} do not fit: order n needs "
            "n + 1 moments and n derivatives at the same times"
        )
    return np.einsum("nkt,kt...->nt...", bell_polynomials(J), moments)


def reconstruct(contour: TimeContour, t: np.ndarray, moments: np.ndarray, order: int) -> np.ndarray:
    """Signal at real time from a signal on a contour and its H insertions.

    Parameters
    ----------
    t : (n_t,) float64, in 1/D
    moments : (n, n_t, ...) complex128
        ``phi_k(t)``, at least ``order + 1`` of them.
    order : int
        0 (the signal on the contour itself) to 4.

    Returns
    -------
    (n_t, ...) complex128
    """
    if not 0 <= order <= min(MAX_ORDER, len(moments) - 1):
        raise InvalidProblemError(
            f"reconstruction order {order}: {len(moments)} moments allow 0 to "
            f"{min(MAX_ORDER, len(moments) - 1)}"
        )
    J = contour.angle_derivatives(t, order) if order else np.zeros((0, len(t)), complex)
    derivatives = angle_derivatives(np.asarray(moments[: order + 1], dtype=complex), J)
    factors = [(-contour.angle) ** n / factorial(n) for n in range(order + 1)]
    return np.tensordot(factors, derivatives, axes=1)


def signal_of_poles(energies, weights, z: np.ndarray, n_moments: int = 1) -> np.ndarray:
    """``phi_k(z) = sum_n w_n e_n^k exp(-i e_n z)`` of known excitation energies.

    Parameters
    ----------
    energies : (n_p,) float64, in D
        Excitation energies, >= 0 on either side (``-E`` of a lesser pole).
    weights : (n_p, ...) float64

    Returns
    -------
    (n_moments, n_t, ...) complex128
    """
    energies, weights = np.asarray(energies), np.asarray(weights)
    phases = np.exp(-1j * np.multiply.outer(np.asarray(z), energies))
    return np.stack([np.tensordot(phases * energies**k, weights, axes=1) for k in range(n_moments)])

"""G(tau) in few numbers: Legendre and Chebyshev polynomials, a mesh; a measure of what each leaves.

One orbital's ``G(tau)``, ``0 <= tau <= beta``, by its values at the points `tau` of a
representation, by as many coefficients, and back without loss:

====================  ======================================  ====================================
`Legendre`            ``sum_l sqrt(2l + 1)/beta G_l P_l(x)``  n ~ sqrt(beta w_max), orthogonal
`Chebyshev`           ``sum_k c_k T_k(x)``                    the same, with both end points
`TauMesh`             values; a cubic spline, dense at ends   n ~ log(beta w_max), local
`ImaginaryAxis`       intermediate representation             n ~ log(beta w_max), fewest
====================  ======================================  ====================================

with ``x = 2 tau/beta - 1``. Under ``tau -> beta - tau``, which mirrors particles and holes, even
coefficients keep and odd ones change their sign; a mesh is read from its other end.

``G(tau)`` of a spectrum of norm one is an average of that of single levels, so the largest error of
a level within `w_max` bounds that of every spectrum there: `truncation_error`. ``G(iw_n)`` is the
exact integral of what a representation holds; its error is at most beta times that of G(tau).

References: L. Boehnke et al., PRB 84, 075145 (2011), whose ``G_l`` are those of `Legendre`;
E. Gull et al., PRB 98, 075127 (2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.polynomial import chebyshev, legendre
from scipy.interpolate import CubicSpline
from scipy.special import spherical_jn

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.matsubara import thermal_tau

MAX_COEFFICIENTS = 4096
"""Beyond it the products of `truncation_error` take more than a second."""


@runtime_checkable
class Representation(Protocol):
    """What every representation offers; the last axis counts points or coefficients.

    Attributes
    ----------
    beta : float, in 1/D
    tau : (n,) float64, in 1/D
        Points whose values give the coefficients, rising, symmetric about beta/2.
    """

    @property
    def beta(self) -> float: ...

    @property
    def tau(self) -> np.ndarray: ...

    def from_tau(self, values: np.ndarray) -> np.ndarray:
        """(..., n) coefficients of values at `tau`."""

    def at_tau(self, coefficients: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """(..., n_tau) G(tau) for 0 <= tau <= beta."""

    def at_frequencies(self, coefficients: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """(..., n_iw) complex128 G(iw) at odd integers 2n + 1 of either sign, in 1/D."""

    def mirrored(self, coefficients: np.ndarray) -> np.ndarray:
        """(..., n) coefficients of ``G(beta - tau)``."""


@dataclass(frozen=True)
class _Sized:
    """A temperature and a number of coefficients, checked.

    Parameters
    ----------
    beta : float, in 1/D
    n : int
        Coefficients, and points in tau.
    """

    beta: float
    n: int

    def __post_init__(self):
        beta = checks.number("beta", self.beta, above=0, at_most=1e5)
        n = checks.integer("n", self.n, at_least=4, at_most=MAX_COEFFICIENTS)
        object.__setattr__(self, "beta", beta)
        object.__setattr__(self, "n", n)


class _Polynomial(_Sized):
    """Polynomials on all of [0, beta], of the parity of their number."""

    def mirrored(self, coefficients: np.ndarray) -> np.ndarray:
        """See `Representation`: odd coefficients change their sign."""
        _require_size(coefficients, self.n)
        return coefficients * (1 - 2 * (np.arange(self.n) % 2))

    def parts(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., ceil(n/2)) even and (..., floor(n/2)) odd coefficients.

        The odd ones of a particle-hole symmetric G vanish, ``G(beta - tau) = G(tau)``.
        """
        _require_size(coefficients, self.n)
        return coefficients[..., ::2], coefficients[..., 1::2]

    def joined(self, even: np.ndarray, odd: np.ndarray) -> np.ndarray:
        """(..., n) coefficients from their `parts`."""
        _require_size(even, (self.n + 1) // 2)
        _require_size(odd, self.n // 2)
        together = np.empty((*np.shape(even)[:-1], self.n), np.result_type(even, odd))
        together[..., ::2], together[..., 1::2] = even, odd
        return together


@dataclass(frozen=True)
class Legendre(_Polynomial):
    """Legendre polynomials at Gauss points; see the module.

    ``G_l = sqrt(2l + 1) integral_0^beta P_l(x) G(tau) dtau``; an integral of degree up to 2n - 1 by
    the n Gauss points is exact.
    """

    @cached_property
    def _gauss(self) -> tuple[np.ndarray, np.ndarray]:
        return legendre.leggauss(self.n)

    @cached_property
    def tau(self) -> np.ndarray:
        """See `Representation`; the end points are not among them."""
        return 0.5 * self.beta * (1 + self._gauss[0])

    @cached_property
    def _scale(self) -> np.ndarray:
        return np.sqrt(2 * np.arange(self.n) + 1)

    def from_tau(self, values: np.ndarray) -> np.ndarray:
        """See `Representation`."""
        _require_size(values, self.n)
        nodes, weights = self._gauss
        polynomials = legendre.legvander(nodes, self.n - 1) * self._scale
        return 0.5 * self.beta * (values * weights) @ polynomials

    def at_tau(self, coefficients: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """See `Representation`."""
        _require_size(coefficients, self.n)
        polynomials = legendre.legvander(_scaled(tau, self.beta), self.n - 1) * self._scale
        return coefficients @ polynomials.T / self.beta

    def at_frequencies(self, coefficients: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """See `Representation`."""
        _require_size(coefficients, self.n)
        local = (coefficients * self._scale / self.beta)[..., None, :]
        return _fourier(np.array([0.0, self.beta]), local, indices)


@dataclass(frozen=True)
class Chebyshev(_Polynomial):
    """Chebyshev polynomials at their extrema, 0 and beta included; see the module."""

    @cached_property
    def tau(self) -> np.ndarray:
        """See `Representation`."""
        half = np.pi * np.arange(self.n) / (self.n - 1) / 2
        return self.beta * np.sin(half) ** 2  # beta (1 - cos)/2 without cancellation

    @cached_property
    def _to_coefficients(self) -> np.ndarray:
        """(n, n) matrix of the discrete cosine transform."""
        k = np.arange(self.n)
        half = np.where((k == 0) | (k == self.n - 1), 0.5, 1.0)
        cosines = np.cos(np.pi * np.outer(k, k) / (self.n - 1)) * (1 - 2 * (k % 2))[:, None]
        return 2 / (self.n - 1) * half[:, None] * cosines * half

    def from_tau(self, values: np.ndarray) -> np.ndarray:
        """See `Representation`."""
        _require_size(values, self.n)
        return values @ self._to_coefficients.T

    def at_tau(self, coefficients: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """See `Representation`."""
        _require_size(coefficients, self.n)
        return coefficients @ chebyshev.chebvander(_scaled(tau, self.beta), self.n - 1).T

    def at_frequencies(self, coefficients: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """See `Representation`; by the same polynomial in `Legendre`, exactly."""
        same = Legendre(self.beta, self.n)
        values = self.at_tau(coefficients, same.tau)
        return same.at_frequencies(same.from_tau(values), indices)


@dataclass(frozen=True)
class TauMesh(_Sized):
    """Values on a mesh that is dense at the ends, and a cubic spline (not a knot) between them.

    The spline's error is ``h^4`` times the fourth derivative, which of a level within `w_max` is at
    most ``min(w_max, 4/(e tau))^4`` at the distance tau from an end. Steps h that make it even are
    ``~ 1/w_max`` up to ``4/(e w_max)`` and ``~ tau`` beyond.

    Parameters
    ----------
    beta, n
        See `_Sized`.
    w_max : float, in D
        All spectral weight lies below.
    """

    w_max: float = 8.0

    def __post_init__(self):
        super().__post_init__()
        w_max = checks.number("w_max", self.w_max, above=0, at_most=1e4)
        object.__setattr__(self, "w_max", w_max)

    @cached_property
    def tau(self) -> np.ndarray:
        """See `Representation`."""
        edge = 4 / np.e / self.w_max  # where the density of points begins to fall
        middle = 0.5 * self.beta
        whole = _points_up_to(middle, edge)
        first = np.linspace(0.0, 1.0, self.n)[: (self.n + 1) // 2] * 2 * whole
        left = np.where(first <= 1, edge * first, edge * np.exp(np.maximum(first - 1, 0.0)))
        if self.n % 2:
            left[-1] = middle
        return np.concatenate([left, self.beta - left[: self.n // 2][::-1]])

    def from_tau(self, values: np.ndarray) -> np.ndarray:
        """See `Representation`: the values themselves."""
        _require_size(values, self.n)
        return np.asarray(values)

    def at_tau(self, coefficients: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """See `Representation`."""
        _require_size(coefficients, self.n)
        inside = 0.5 * self.beta * (1 + _scaled(tau, self.beta))
        return CubicSpline(self.tau, coefficients, axis=-1)(inside)

    def at_frequencies(self, coefficients: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """See `Representation`; each interval's cubic is integrated exactly."""
        nodes, weights = legendre.leggauss(4)
        steps = np.diff(self.tau)
        inside = self.tau[:-1, None] + 0.5 * steps[:, None] * (1 + nodes)
        values = CubicSpline(self.tau, coefficients, axis=-1)(inside)  # (..., n - 1, 4)
        projection = weights[:, None] * legendre.legvander(nodes, 3) * (np.arange(4) + 0.5)
        return _fourier(self.tau, values @ projection, indices)

    def mirrored(self, coefficients: np.ndarray) -> np.ndarray:
        """See `Representation`: read from the other end."""
        _require_size(coefficients, self.n)
        return coefficients[..., ::-1]


def truncation_error(representation: Representation, w_max: float) -> float:
    """Largest error of ``G(tau)`` of any spectrum of norm one within `w_max`.

    Parameters
    ----------
    w_max : float, in D

    Returns
    -------
    float
        Of single levels, scanned closely enough for two digits, at all tau from 0 to beta; of
        ``G(iw)`` at most beta times as much.
    """
    w_max = checks.number("w_max", w_max, above=0, at_most=1e4)
    beta, n = representation.beta, representation.tau.size
    scan = np.geomspace(1e-3, 1.0, 120)
    energies = w_max * np.concatenate([-scan[::-1], [0.0], scan])
    tau = beta * np.sin(np.linspace(0, np.pi / 2, 16 * max(n, 64))) ** 2
    levels = np.eye(energies.size)
    coefficients = representation.from_tau(thermal_tau(energies, levels, representation.tau, beta))
    exact = thermal_tau(energies, levels, tau, beta)
    return float(np.abs(representation.at_tau(coefficients, tau) - exact).max())


def smallest(make: Callable[[int], Representation], w_max: float, error: float) -> Representation:
    """The representation of fewest coefficients whose `truncation_error` is at most `error`.

    Parameters
    ----------
    make : callable
        From the number of coefficients, for example ``lambda n: Legendre(50.0, n)``.
    w_max : float, in D
    error : float
        Of G(tau), at least 1e-12.

    Raises
    ------
    InvalidProblemError
        If `MAX_COEFFICIENTS` are not enough.
    """
    error = checks.number("error", error, at_least=1e-12, below=1)
    low, high = 4, 4
    while truncation_error(make(high), w_max) > error:
        if high == MAX_COEFFICIENTS:
            raise InvalidProblemError(
                f"error = {error:g} needs more than {MAX_COEFFICIENTS} coefficients at w_max = "
                f"{w_max:g}; allow a larger error, or use an ImaginaryAxis"
            )
        low, high = high + 1, min(2 * high, MAX_COEFFICIENTS)
    while low < high:
        middle = (low + high) // 2
        if truncation_error(make(middle), w_max) > error:
            low = middle + 1
        else:
            high = middle
    return make(high)


def _points_up_to(tau: float, edge: float) -> float:
    """``integral_0^tau dt / max(edge, t)``: what equal steps of the mesh divide evenly."""
    return tau / edge if tau <= edge else 1 + np.log(tau / edge)


def _scaled(tau: np.ndarray, beta: float) -> np.ndarray:
    """``x = 2 tau/beta - 1`` in [-1, 1]."""
    x = 2 * np.asarray(tau, dtype=np.float64) / beta - 1
    if np.any(np.abs(x) > 1 + 1e-12):
        worst = beta * (1 + x[np.argmax(np.abs(x))]) / 2
        raise InvalidProblemError(f"tau = {worst:g}: imaginary times lie in [0, beta = {beta:g}]")
    return np.clip(x, -1.0, 1.0)


def _fourier(edges: np.ndarray, local: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """``integral e^(i w tau)`` of Legendre polynomials on each interval, summed.

    ``integral_-1^1 e^(i z x) P_l(x) dx = 2 i^l j_l(z)``: no cancellation at any frequency.

    Parameters
    ----------
    edges : (m + 1,) float64, in 1/D
    local : (..., m, n_l)
        Coefficients of ``P_l`` on each interval.
    indices : (n_iw,) int
        Odd integers.
    """
    indices = np.asarray(indices)
    if np.any(indices % 2 == 0):
        raise InvalidProblemError(
            f"index {indices[indices % 2 == 0][0]}: fermionic frequencies have odd integers 2n + 1"
        )
    omega = indices * np.pi / edges[-1]
    half, middle = 0.5 * np.diff(edges), 0.5 * (edges[:-1] + edges[1:])
    order = np.arange(local.shape[-1])[:, None]
    total = np.zeros((*local.shape[:-2], omega.size), dtype=np.complex128)
    for i in range(half.size):  # bounds the memory of the (l, frequency) table
        z = half[i] * omega
        bessel = spherical_jn(order, np.abs(z)) * np.where(z < 0, (-1.0) ** order, 1.0)
        table = 2 * half[i] * np.exp(1j * omega * middle[i]) * 1j ** (order % 4) * bessel
        total += local[..., i, :] @ table
    return total


def _require_size(values: np.ndarray, n: int) -> None:
    if np.ndim(values) < 1 or np.shape(values)[-1] != n:
        raise InvalidProblemError(
            f"an array of shape {np.shape(values)} does not end in the {n} numbers of the "
            "representation; give (..., n)"
        )

"""Propagators of the atom's states in a bath, without crossings: the equations behind ``nca``.

The states 0, s (either spin) and 2 of the atom, ``E = 0, eps_d, 2 eps_d + U``, propagate by

``P_m(tau) = e^(-E_m tau) + int_0^tau dt2 int_0^t2 dt1 e^(-E_m (tau - t2)) S_m(t2 - t1) P_m(t1)``,
``S_0 = -2 Delta(beta - tau) P_s``, ``S_2 = -2 Delta(tau) P_s``,
``S_s = -Delta(tau) P_0 - Delta(beta - tau) P_2``,

all positive on [0, beta]. With them ``Z = P_0 + 2 P_s + P_2`` at beta. A shift of all E by lambda
multiplies every P by ``e^(lambda tau)`` and changes no expectation value; it is chosen such that
``Z = 1``, and then no P exceeds one and nothing overflows.

Such a P is a sum of exponentials that are at most one on [0, beta]: what the intermediate
representation holds. So P is known by its values at some fifty sampling points, a convolution is a
tensor made once an axis by quadrature, each equation a linear system of that size, and all of them
are iterated to self-consistency, for many problems at once.

References: N. Bickers, RMP 59, 845 (1987); M. Eckstein, P. Werner, PRB 82, 115115 (2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.solvers.perturbative.thermal import Batch, time_maps

MULTIPLICITY = np.array([1.0, 2.0, 1.0])
"""Of the states 0, s, 2."""

PANEL_POINTS = 16
"""Gauss-Legendre points of a panel; panels halve toward both ends."""

GROWTH = 12.0
"""Propagators that grow beyond ``e^12`` are not taken."""

SMALL = 1e-6
"""Propagators below are not trusted: rounding is 1e-10 of the largest."""


@dataclass(frozen=True, eq=False)
class Propagators:
    """Solutions of the equations for a batch.

    Parameters
    ----------
    values : (B, 3, n_tau) float64
        P at the times of `time_maps`, ``Z = 1``.
    at_beta : (B, 3) float64
    at_zero : (B, 3) float64
        One each, but for what the axis does not hold.
    iterations : (B,) int
    change : (B,) float64
        The last.
    """

    values: np.ndarray
    at_beta: np.ndarray
    at_zero: np.ndarray
    iterations: np.ndarray
    change: np.ndarray


class Convolution:
    """``(f * g)(tau) = integral_0^tau f(tau - t) g(t) dt`` between values at the points of an axis.

    Attributes
    ----------
    tensor : (n_tau, n_tau, n_tau) float64, in 1/D
        ``(f * g)_i = sum_jk tensor_ijk f_j g_k``.
    reversal : (n_tau, n_tau) float64
        ``f(beta - tau_i) = sum_j f_j reversal_ji``.
    ends : (n_tau, 2) float64
        The same of f at 0 and beta.
    """

    def __init__(self, axis: ImaginaryAxis):
        maps = time_maps(axis)
        self.tau = tau = maps.tau
        self.ends = maps.interpolation(np.array([0.0, axis.beta]))
        self.reversal = maps.interpolation(axis.beta - tau)
        x, weights = unit_quadrature(axis.beta * maps.wide.w_max)
        self.tensor = np.empty((tau.size,) * 3)
        for i, t in enumerate(tau):
            inside = maps.interpolation(t * x)
            # the points of the quadrature lie evenly about its centre
            self.tensor[i] = (inside[:, ::-1] * (t * weights)) @ inside.T


@lru_cache(maxsize=32)
def convolution(axis: ImaginaryAxis) -> Convolution:
    """The tensor of an axis, made once: up to half a second."""
    return Convolution(axis)


def unit_quadrature(sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights on [0, 1] for features as narrow as one over `sharpness` at both ends."""
    x, weights = np.polynomial.legendre.leggauss(PANEL_POINTS)
    n_panels = max(1, int(np.ceil(np.log2(sharpness))))
    half = np.concatenate([[0.0], 0.5 ** np.arange(n_panels, 0, -1.0)])
    edges = np.concatenate([half, 1 - half[-2::-1]])
    width = np.diff(edges)[:, None]
    return (edges[:-1, None] + width * (x + 1) / 2).ravel(), (width * weights / 2).ravel()


def propagators(batch: Batch, tolerance: float, max_iterations: int) -> Propagators:
    """Iterate the equations from those of the atom.

    Parameters
    ----------
    tolerance : float
        On the change of any P and of ``ln Z`` in one iteration.
    max_iterations : int
    """
    maps, conv = time_maps(batch.axis), convolution(batch.axis)
    tau, beta = conv.tau, batch.axis.beta
    forward, backward = (np.maximum(-d, 0.0) for d in maps.to_times(batch.delta))
    levels = np.stack([np.zeros_like(batch.U), batch.eps_d, 2 * batch.eps_d + batch.U], axis=1)
    logs = np.log(MULTIPLICITY) - beta * levels
    shift = -np.logaddexp.reduce(logs, axis=1) / beta
    values = np.exp(-(levels - shift[:, None])[..., None] * tau)
    iterations, change = np.zeros(shift.size, dtype=int), np.full(shift.size, np.inf)
    bound, retreat = shift.copy(), np.full(shift.size, GROWTH)
    active = np.arange(shift.size)
    for _ in range(max_iterations):
        old = values[active]
        bare = np.exp(-(levels[active] - shift[active, None])[..., None] * tau)
        new = _dressed(conv, bare, _irreducible(old, forward[active], backward[active]))
        Z = (new @ conv.ends[:, 1]) @ MULTIPLICITY
        log_Z = np.where(Z > SMALL, np.log(np.maximum(Z, SMALL)), -beta * _decay(conv, new))
        # a bath that binds by many T: with the shift of the atom everything would grow
        grown = ~(np.abs(new).max(axis=(1, 2)) <= np.exp(GROWTH))
        log_Z[grown], new[grown] = retreat[active[grown]], old[grown]
        log_Z = np.maximum(log_Z, beta * (shift - bound)[active])  # a bath only lowers energies
        retreat[active] *= np.where(grown, 2.0, 0.5)
        retreat[active] = np.maximum(retreat[active], 1.0)
        new = np.clip(new * np.exp(-(log_Z / beta)[:, None, None] * tau), 0.0, 1.0)
        shift[active] -= log_Z / beta
        moved = np.maximum(np.abs(new - old).max(axis=(1, 2)), np.abs(log_Z))
        values[active], change[active] = new, moved
        iterations[active] += 1
        active = active[moved > tolerance]
        if not active.size:
            break
    ends = values @ conv.ends
    return Propagators(values, ends[..., 1], ends[..., 0], iterations, change)


def _decay(conv: Convolution, values: np.ndarray) -> np.ndarray:
    """(B,) most of the rate at which (B, 3, n_tau) propagators fall where they are still trusted.

    A sum of exponentials falls ever more slowly, so that all of the rate could be too much.
    """
    total = np.maximum(np.einsum("m,bmt->bt", MULTIPLICITY, values), 1e-300)
    last = np.maximum((total > SMALL).cumprod(axis=1).sum(axis=1) - 1, 1)
    middle = np.searchsorted(conv.tau, 0.5 * conv.tau[last])
    rows = np.arange(len(total))
    fall = np.log(total[rows, middle] / total[rows, last])
    return 0.8 * fall / np.maximum(conv.tau[last] - conv.tau[middle], conv.tau[0])


def _irreducible(values: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """(B, 3, n_tau) S_m, in D^2; forward and backward ``-Delta`` at tau and beta - tau."""
    empty, single, double = values.swapaxes(0, 1)
    return np.stack(
        [2 * backward * single, forward * empty + backward * double, 2 * forward * single], axis=1
    )


def _dressed(conv: Convolution, bare: np.ndarray, irreducible: np.ndarray) -> np.ndarray:
    """P of ``P = bare + bare * S * P``: (B, 3, n_tau)."""
    inner = np.tensordot(irreducible, conv.tensor, (2, 2))  # (B, 3, n_tau, n_tau)
    product = np.matmul(inner, bare[..., None])[..., 0]
    matrix = np.tensordot(product, conv.tensor, (2, 1))
    return np.linalg.solve(np.eye(conv.tau.size) - matrix, bare[..., None])[..., 0]

"""Modified second-order perturbation theory on the imaginary axis, for a batch of problems.

The interpolation of `dmftnet.physics.solvers.perturbative.ipt` with
``S2(tau) = U^2 G0(tau)^2 G0(beta - tau)``. On this axis everything is smooth, and the one unknown
is the level eps_0 of the reference: n is n_0, which it gives, and sought is where G has n_0 too. S2
has poles at sums of three energies, so the product is taken in a basis that reaches three times as
far as the axis. Nothing loops over problems.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dmftnet.physics.solvers.perturbative.second_order import dressing, falling_roots
from dmftnet.physics.solvers.perturbative.thermal import Batch, time_maps

LEVEL_SHARE = 0.9
"""Reference levels lie within this share of the axis' w_max."""

N_MIN = 1e-9
"""Least that is divided by, so that an empty or a full level divides by no zero."""


class ThermalAnswers(NamedTuple):
    """``n`` of the reference, ``occupation`` of G, ``eps_0``: (B,); ``s``: (B, n_iw) complex128."""

    n: np.ndarray
    occupation: np.ndarray
    eps_0: np.ndarray
    s: np.ndarray


def thermal_second_order(batch: Batch, tolerance: float) -> ThermalAnswers:
    """``Sigma = U n + U^2 n (1 - n) s`` with ``n_0 = n``.

    Half-filled by symmetry, the level of the reference is zero and n is 1/2.

    Parameters
    ----------
    batch : Batch
    tolerance : float
        On the occupation of one spin.
    """
    even = batch.even
    beta, reach = batch.axis.beta, LEVEL_SHARE * batch.axis.w_max
    eps_0 = np.zeros_like(batch.U)
    if not even.all():
        uneven = np.flatnonzero(~even)
        sought = batch.select(uneven)

        def surplus(level: np.ndarray, chosen: np.ndarray) -> np.ndarray:
            answer = at_level(sought.select(chosen), level)
            return answer.n - answer.occupation

        every = np.arange(uneven.size)
        ends = [surplus(np.full(every.size, level), every) for level in (-reach, reach)]
        step = 0.1 * tolerance * min(1.0, 4.0 / beta)  # an occupation changes by beta/4 a level
        eps_0[uneven] = falling_roots(surplus, (-reach, reach), ends, step)
    answer = at_level(batch, eps_0)
    # what is symmetric stays so to the last bit
    n = np.where(even, 0.5, answer.n)
    return answer._replace(n=n, s=np.where(even[:, None], 1j * answer.s.imag, answer.s))


def at_level(batch: Batch, eps_0: np.ndarray) -> ThermalAnswers:
    """With the reference at given (B,) levels, in T; n is that of the reference."""
    maps = time_maps(batch.axis)
    reference = batch.greens(0.0, eps_0)
    n = np.clip(maps.occupation(reference), 0.0, 1.0)
    n_0 = np.clip(n, N_MIN, 1 - N_MIN)
    forward, backward = maps.to_times(reference)
    diagram = maps.to_frequencies(forward**2 * backward)  # S2 / U^2
    dressed = diagram / (1 - dressing(batch, eps_0, n, n_0) * diagram)
    s = dressed / (n_0 * (1 - n_0))[:, None]
    sigma = (batch.U * n)[:, None] + (batch.U**2 * n * (1 - n))[:, None] * s
    return ThermalAnswers(n, maps.occupation(batch.greens(sigma)), eps_0, s)

"""A floor under Delta(tau) for sampling, and the weights that take it out again.

In a bath with a gap Delta(tau) falls to nothing near beta/2. A segment and a hole of that length
then come with the weight Delta^2 and count 1/Delta in G: such events are rare, and hold the low
frequencies. Chains sample instead

``A~ = A + c S``,  ``S_ij = sgn(e_i - s_j)``,

the bath and a level at zero energy with ``V^2 = 2 c``, and multiply all that they measure by

``r = prod_s det A_s / det A~_s``,  with ``r A_s^-1 = adj A_s / det A~_s  prod_(other) r``.

Averages are quotients with <r>; no determinant of A is divided by. With ``B = A A~^-1 = 1 - c S
A~^-1``, of ordinary size, ``det A / det A~ = det B`` and ``adj A / det A~ = A~^-1 adj B``.

Adding a level at zero energy to the bath multiplies the partition function by 1/<r>. To first order
in c the level adds ``c beta integral |G(tau)|`` segments to each spin; c is such that these are
`ADDED` of Hubbard's first approximation. Where Delta(tau) stays above `FAINT` of its largest there
is no floor, and nothing is computed.

Cost of a measurement: three products of (k, k) matrices a spin, k segments.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.compiled import compiled
from dmftnet.physics.solvers.ctseg.determinants import adjugate

FAINT = 1e-3
"""Of Delta(tau) over its largest: below, there is a floor."""

ADDED = 0.15
"""Segments a spin that the floor adds. Errors grow with fewer, for rare events, and with more,
where the mean weight gets small; `benchmarks/ctseg.py floors` prints by how much."""


def floor_of(problem: ImpurityProblem) -> float:
    """c in D^2; 0 where none is needed."""
    axis = problem.axis
    delta = problem.hybridization.at(1j * axis.omega_n)[0]
    tau = times(axis)
    values = -axis.at_tau(axis.to_coefficients(delta), tau)
    if values.min() >= FAINT * values.max():
        return 0.0
    hubbard = 1 / (1 / atomic_greens(problem) - delta)
    segments = np.trapezoid(np.abs(axis.at_tau(axis.to_coefficients(hubbard), tau)), tau)
    return float(ADDED / (axis.beta * segments))


def times(axis: ImaginaryAxis) -> np.ndarray:
    """(n_tau + 2,) the sampling points, 0 and beta."""
    return np.concatenate([[0.0], axis.tau, [axis.beta]])


def atomic_occupation(problem: ImpurityProblem) -> tuple[float, float]:
    """Mean occupation of one spin and of both at a time, without a bath."""
    eps, U = float(problem.eps_d[0]), problem.U
    exponents = -problem.beta * np.array([0.0, eps, 2 * eps + U])
    weights = np.exp(exponents - exponents.max()) * np.array([1.0, 2.0, 1.0])
    _, one, two = weights / weights.sum()
    return 0.5 * one + two, two


def atomic_greens(problem: ImpurityProblem) -> np.ndarray:
    """(n_iw,) ``(1 - n) / (iw - eps) + n / (iw - eps - U)`` with n of the other spin, in 1/D."""
    n, z = atomic_occupation(problem)[0], 1j * problem.axis.omega_n
    return (1 - n) / (z - problem.eps_d[0]) + n / (z - problem.eps_d[0] - problem.U)


@compiled
def reweighted(creators, annihilators, inverse, floor, out):
    """``det A / det A~`` of one spin; ``adj A / det A~`` goes to out.

    Parameters
    ----------
    creators, annihilators : (k,) float64
    inverse : (>= k, >= k) float64
        ``A~^-1``, creators first.
    floor : float
        c, in D^2.
    out : (>= k, >= k) float64
        Changed; creators first.
    """
    k = creators.size
    B, adjoint = np.empty((k, k)), np.empty((k, k))
    for i in range(k):
        for m in range(k):
            total = 0.0
            for j in range(k):
                if creators[j] < annihilators[i]:
                    total += inverse[j, m]
                else:
                    total -= inverse[j, m]
            B[i, m] = (1.0 if i == m else 0.0) - floor * total
    ratio = adjugate(B, k, adjoint)
    for j in range(k):
        for i in range(k):
            total = 0.0
            for m in range(k):
                total += inverse[j, m] * adjoint[m, i]
            out[j, i] = total
    return ratio

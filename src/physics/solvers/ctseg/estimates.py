"""From samples to G, Sigma and their errors.

1. G, F, I at their frequencies become coefficients of the intermediate representation: least
   squares weighted by the measured errors, under two exact constraints each, ``X(0) + X(beta)``
   and ``X(beta)`` from n and ``<n_up n_dn>``, which are known better than any curve. With
   ``q = U (n_-s - 1/2) d`` and per spin n:

   ==  ===================  ================
   X   X(0) + X(beta)       X(beta)
   ==  ===================  ================
   G   -1                   -n
   F   -U (n - 1/2)         -U (<n_up n_dn> - n/2)
   I   -U^2/4               -U^2 n/4
   ==  ===================  ================

   A coefficient c_l has the prior variance ``m^2 b_l^2``: b_l is the largest that a pole of weight
   one can give, m the largest total weight (1, U/2, U^2/4). It holds for any answer, and stops
   noise where no spectrum reaches; a coefficient well above its error does not feel it.
2. ``Sigma = U n + I - F^2 / G`` (F. Kugler, PRB 105, 245132 (2022)), ``G = 1/(iw - eps - Delta -
   Sigma)``. What is left in this G of an error of Sigma is ``G^2 dSigma``, of its high frequencies
   next to nothing; its tail, so ``G(0) + G(beta) = -1``, is exact.
3. A jackknife over blocks repeats both. Blocks must be long against the autocorrelation time, which
   the samples tell.
4. Differences of two estimators of one thing vanish on average: G at the lowest frequencies as
   measured and as from Sigma, n from segments and from G(beta). They serve as control variates:
   every answer loses its regression on them, with coefficients from other blocks. ``-G(beta)`` is
   then n, and away from half filling errors are up to several times smaller. What the regression
   costs is in the errors.

Where the problem is particle-hole symmetric G and I are set imaginary, F real and n = 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dmftnet.errors import ConvergenceError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.ctseg.measurement import DOUBLE, FILLING, WEIGHT, Samples

MATCHED = 4
"""Lowest frequencies at which G as measured serves as a control variate; more gain nothing."""

FOLDS = 8
"""Sets of blocks whose control variates have coefficients of their own, from all other sets."""


@dataclass(frozen=True, eq=False)
class Estimates:
    """Answers; the first axis is that of the replicas: all samples, then the jackknife's.

    Parameters
    ----------
    axis : ImaginaryAxis
    greens, sigma : (1 + n_blocks, n_iw) complex128, in 1/D and D
        At ``i axis.omega_n``.
    double_occupancy : (1 + n_blocks,) float64
    """

    axis: ImaginaryAxis
    greens: np.ndarray
    sigma: np.ndarray
    double_occupancy: np.ndarray

    def greens_tau(self, tau: np.ndarray) -> np.ndarray:
        """(1 + n_blocks, n_tau) G(tau)."""
        return self.axis.at_tau(self.axis.to_coefficients(self.greens), tau)

    @property
    def filling(self) -> np.ndarray:
        """(1 + n_blocks,) ``-2 G(beta)``."""
        return -2 * self.greens_tau(np.array([self.axis.beta]))[:, 0]


def errors(replicas: np.ndarray) -> np.ndarray:
    """Standard errors (...) of (1 + n_blocks, ...) replicas; of complex ones complex, by part."""
    if np.iscomplexobj(replicas):
        return errors(replicas.real) + 1j * errors(replicas.imag)
    return np.sqrt((len(replicas) - 2) * replicas[1:].var(axis=0))


def covariance(replicas: np.ndarray) -> np.ndarray:
    """(n, n) covariance of (1 + n_blocks, n) real replicas."""
    apart = replicas[1:] - replicas[1:].mean(axis=0)
    return (len(apart) - 1) / len(apart) * apart.T @ apart


def estimates(problem: ImpurityProblem, axis: ImaginaryAxis, samples: Samples) -> Estimates:
    """See the module.

    Parameters
    ----------
    problem : ImpurityProblem
        Of one orbital.
    axis : ImaginaryAxis
    samples : Samples

    Raises
    ------
    ConvergenceError
        If some block has seen no segment at all: then the errors are not known.
    """
    U, curves, numbers = problem.U, _leave_one_out(samples.curves), _leave_one_out(samples.numbers)
    if np.any(np.abs(samples.curves[:, 0]).max(axis=-1) == 0):
        raise ConvergenceError(
            f"solver 'ctseg': a block of {samples.per_block} sweeps met no segment, the "
            "hybridization is too weak for them; raise solver.n_sweeps, or use solver=ed"
        )
    curves = curves / numbers[:, WEIGHT, None, None]
    density, double = (numbers[:, i] / numbers[:, WEIGHT] for i in (FILLING, DOUBLE))
    if problem.is_particle_hole_symmetric():
        curves = np.stack([1j * curves[:, 0].imag, curves[:, 1].real, 1j * curves[:, 2].imag], 1)
        density = np.full_like(density, 0.5)
    one, boundary = np.ones_like(density), np.stack([-density, -(double - density / 2)])
    ends = {  # X(0) + X(beta) and X(beta), of G, F / U and I / U^2, and the largest weight
        0: (-one, boundary[0], 1.0),
        1: (-(density - 0.5), boundary[1], 0.5),
        2: (-one / 4, -density / 4, 0.25),
    }
    G, F, I = (_fitted(axis, samples.indices, curves[:, i], *ends[i]) for i in ends)
    free = 1j * axis.omega_n - problem.eps_d[0] - problem.hybridization.at(1j * axis.omega_n)[0]
    greens = 1 / (free - U * density[:, None] - U**2 * (I - F**2 / G))
    zeros = _differences(axis, samples.indices, curves[:, 0], greens, density)
    greens, double = _controlled(greens, zeros), _controlled(double, zeros)
    return Estimates(axis, greens, free - 1 / greens, double)


def _differences(axis, indices, measured, greens, density) -> np.ndarray:
    """(1 + n_blocks, n) replicas of what is zero on average; see the module, 4."""
    coefficients = axis.to_coefficients(greens)
    apart = measured[:, :MATCHED] - axis.at_frequencies(coefficients, indices[:MATCHED])
    at_end = axis.at_tau(coefficients, np.array([axis.beta]))[:, 0] + density
    zeros = np.column_stack([at_end, apart.real, apart.imag])
    varies = np.std(zeros[1:], axis=0) > 1e-9 * np.std(measured[1:])  # not what symmetry sets to 0
    return zeros[:, varies]


def _controlled(replicas: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """Replicas (1 + n_blocks, ...) without their regression on (1 + n_blocks, n) zeros.

    The coefficients for a fold of blocks come from the others: from its own blocks they would
    depend on what they multiply, a bias wherever distributions are skewed, as they are where
    segments are rare. The scatter of what is left then holds the errors of the coefficients too.
    """
    blocks = len(zeros) - 1
    values, controls = _of_blocks(replicas).reshape(blocks, -1), _of_blocks(zeros)
    fold = np.arange(blocks) * FOLDS // blocks
    rest = np.empty_like(values)
    for this in range(FOLDS):
        inside, outside = fold == this, fold != this
        apart = controls[outside] - controls[outside].mean(axis=0)
        size = np.linalg.norm(apart, axis=0)
        q, r = np.linalg.qr(apart / size)
        away = values[outside] - values[outside].mean(axis=0)
        rest[inside] = values[inside] - controls[inside] / size @ np.linalg.solve(r, q.T @ away)
    found = rest.mean(axis=0)
    left_out = found - (rest - found) / (blocks - 1)
    return np.concatenate([found[None], left_out]).reshape(replicas.shape)


def _of_blocks(replicas: np.ndarray) -> np.ndarray:
    """(n_blocks, ...) jackknife pseudo-values: what each block contributes to the mean."""
    blocks = len(replicas) - 1
    return blocks * replicas[0] - (blocks - 1) * replicas[1:]


def _leave_one_out(blocks: np.ndarray) -> np.ndarray:
    """(1 + n, ...) mean of all (n, ...) blocks, and of all but each."""
    n, total = len(blocks), blocks.sum(axis=0)
    return np.concatenate([total[None] / n, (total - blocks) / (n - 1)])


def _fitted(axis, indices, values, total, boundary, weight) -> np.ndarray:
    """(n, n_iw) values at `axis.omega_n` of a fit to (n, n_w) values at other frequencies."""
    at_data, at_axis, ends, bounds = _basis(axis, tuple(indices.tolist()))
    error = errors(values)
    error = np.concatenate([error.real, error.imag])
    measured = error > 0  # not the part that symmetry sets to zero
    rows = np.concatenate([at_data.real, at_data.imag], axis=1).T[measured] / error[measured, None]
    data = np.concatenate([values.real, values.imag], axis=1)[:, measured] / error[measured]
    # least squares with prior in units of the bounds, then the constraints by its covariance
    scale = weight * bounds
    normal = np.eye(scale.size) + (rows * scale).T @ (rows * scale)
    spread = scale[:, None] * np.linalg.inv(normal) * scale
    free = data @ rows @ spread
    gain = spread @ ends @ np.linalg.inv(ends.T @ spread @ ends)
    coefficients = free + (np.stack([total, boundary], axis=1) - free @ ends) @ gain.T
    return coefficients @ at_axis


@lru_cache(maxsize=8)
def _basis(axis: ImaginaryAxis, indices: tuple[int, ...]):
    """Basis functions: (n_l, n_w), (n_l, n_iw), (n_l, 2) ends, and (n_l,) bounds of a unit pole."""
    energies = np.concatenate([side * np.geomspace(1e-3, 1, 200) for side in (1, -1)])
    z = 1j * axis.omega_n
    of_poles = axis.to_coefficients(1 / (z - axis.w_max * energies[:, None]))
    bounds = np.abs(of_poles).max(axis=0)
    unit = np.eye(bounds.size)
    at_ends = axis.at_tau(unit, np.array([0.0, axis.beta]))
    return (
        axis.at_frequencies(unit, np.array(indices)),
        axis.at_frequencies(unit, axis.indices),
        np.stack([at_ends.sum(axis=1), at_ends[:, 1]], axis=1),
        bounds,
    )

"""Self-energy: the symmetric improved estimator, its first-order form, and Dyson's equation.

With ``q = [d, H_int] = U n_-s d`` and the pole spectra G, F = <<q; d+>>, I = <<q; q+>> of one
block-Krylov run,

* ``improved``: ``Sigma = U <n_-s> + I - F^2 / G`` (F. Kugler, PRB 105, 245132 (2022)). A Schur
  complement of a positive matrix spectrum, so ``Im Sigma <= 0`` for any common broadening, and an
  error of the restricted space enters in second order. The default.
* ``ratio``: ``Sigma = F / G`` (Bulla, Hewson, Pruschke 1998), first order. A check.
* ``dyson``: ``Sigma = w - eps_d - Delta_bath - 1/G`` with the discrete bath's own Delta at the same
  broadening. A check; noisy at high frequency.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.poles import ResponsePoles, gaussian_kernel
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution

ESTIMATORS = ("improved", "ratio", "dyson")
ROUNDING = 1e-9  # D, of a positive Im Sigma
FLOOR = 1e-12  # D, of the imaginary part: keeps the logarithm on its branch inside a gap
EMPTY = 1e-8  # n (1 - n) below which a weight over it is rounding
SMALL, N_SERIES = 0.03, 11  # 0.03^11 = 2e-17


def improved_self_energy(
    poles: ResponsePoles, omega: np.ndarray, hartree: float, eta: float, slope: float
) -> np.ndarray:
    """``Sigma = U <n_-s> + I - F^2/G`` from Gaussian-broadened poles.

    Parameters
    ----------
    omega : (n_w,) float64, in D
    hartree : float, in D
        ``U <n_-s>``.
    eta, slope : float
        Width ``eta + slope |E|`` of the Gaussians, in D.

    Returns
    -------
    (n_w,) complex128, retarded, ``Im Sigma <= 0``
    """
    G, F, I = broadened_responses(poles, omega, eta, slope)
    return hartree + I - F**2 / G


def ratio_self_energy(
    poles: ResponsePoles, omega: np.ndarray, eta: float, slope: float
) -> np.ndarray:
    """``Sigma = F / G`` from Gaussian-broadened poles; (n_w,) complex128."""
    G, F, _ = broadened_responses(poles, omega, eta, slope)
    return F / G


def broadened_responses(poles: ResponsePoles, omega: np.ndarray, eta: float, slope: float):
    """(3, n_w) complex128 G, F and I of Gaussian-broadened poles."""
    a_d, a_q = poles.amplitudes.T
    weights = np.stack([a_d**2, a_d * a_q, a_q**2])
    return weights @ gaussian_kernel(poles.energies, omega, eta, slope)


def dyson_spectrum(problem: ImpurityProblem, sigma: np.ndarray) -> np.ndarray:
    """``A = -Im 1/(w - eps_d - Delta - Sigma) / pi``, integrated over each cell.

    Parameters
    ----------
    sigma : (n_orb, n_w) complex128
        Retarded self-energy on the problem's grid, ``Im Sigma <= 0``.

    Returns
    -------
    (n_orb, n_w) float64, in 1/D, non-negative

    Raises
    ------
    InvalidProblemError
        If ``Im Sigma > 0`` beyond rounding, which would make the norm of A anything; see `causal`.
    """
    worst = float(sigma.imag.max())
    if not worst <= ROUNDING:
        orb, i = np.unravel_index(np.argmax(sigma.imag), sigma.shape)
        raise InvalidProblemError(
            f"Im Sigma of orbital {orb} is {worst:.3g} > 0 at omega = {problem.grid.omega[i]:.4g}: "
            "no causal self-energy (check the sign convention, or clip it by `causal`)"
        )
    free = problem.grid.omega - problem.eps_d[:, None] - problem.retarded_hybridization()
    return inverse_spectrum(problem.grid, free - sigma)


def inverse_spectrum(grid: FrequencyGrid, denominator: np.ndarray) -> np.ndarray:
    """``-Im (1/d) / pi`` of a function with ``Im d >= 0``, integrated over each cell.

    The denominator is taken linear in each cell, so the integral of its inverse against the two
    hat functions is a logarithm: a bound state between two grid points, however sharp, keeps its
    exact weight, and nothing is broadened by hand.

    Parameters
    ----------
    denominator : (..., n_w) complex128

    Returns
    -------
    (..., n_w) float64, non-negative
    """
    weights = inverse_weights(denominator.real, denominator.imag, np.diff(grid.omega))
    return weights / grid.weights


def inverse_weights(real, imag, width, precise: bool = True, xp: ModuleType = np):
    """What `inverse_spectrum` gives each point, as weights ``-Im (1/d) dw / pi``.

    Parameters
    ----------
    real, imag : (..., n_w) arrays of numpy or torch
        Parts of the denominator, ``imag >= 0``.
    width : (n_w - 1,), in D
        Of the cells.
    precise : bool
        By series where d changes so little from one point to the next that logarithms cancel, by
        ``1e-16 |d / step|^2``; without them it is half as long and may be differentiated.
    xp : module
        numpy or torch.

    Returns
    -------
    (..., n_w), non-negative
    """
    d = to_complex(real, xp.clip(imag, FLOOR, None), xp)
    first = d[..., :-1]
    if precise:
        integrals = hat_integrals(d[..., 1:] / first - 1)
        falling, rising = ((part / first * width).imag for part in integrals)
    else:
        step = xp.diff(d)
        mean = xp.diff(xp.log(d)) / step  # of 1/d over the cell
        rising = (width * (1.0 - mean * first) / step).imag
        falling = width * mean.imag - rising
    inner = falling[..., 1:] + rising[..., :-1]
    weights = xp.concatenate((falling[..., :1], inner, rising[..., -1:]), -1)
    return xp.clip(-weights, 0.0, None) / math.pi


def to_complex(real, imag, xp: ModuleType):
    """``real + i imag`` of numpy or, in one step, of torch."""
    return xp.complex(real, imag) if hasattr(xp, "complex") else real + 1j * imag


def hat_integrals(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``integral_0^1 (1 - t) / (1 + u t) dt`` and ``integral_0^1 t / (1 + u t) dt``.

    By logarithms; by their power series where u is small and the logarithms would cancel, as they
    do by a relative ``1e-16 / u^2``.
    """
    small, k = np.abs(u) < SMALL, np.arange(N_SERIES)
    safe = np.where(small, 1.0, u)
    log = np.log1p(safe)
    falling, rising = ((1 + safe) * log - safe) / safe**2, (safe - log) / safe**2
    falling[small] = np.polynomial.polynomial.polyval(-u[small], 1 / ((k + 1) * (k + 2)))
    rising[small] = np.polynomial.polynomial.polyval(-u[small], 1 / (k + 2))
    return falling, rising


def causal(grid: FrequencyGrid, sigma: np.ndarray) -> tuple[np.ndarray, float]:
    """Self-energy with ``Im Sigma`` clipped to <= 0, and the share of |Im Sigma| that this removes.

    Parameters
    ----------
    sigma : (n_orb, n_w) complex128

    Returns
    -------
    sigma : (n_orb, n_w) complex128
    clipped : float
        ``integral of the positive part of Im Sigma`` over the integral of its magnitude.
    """
    positive = grid.integrate(np.maximum(sigma.imag, 0.0)).sum()
    total = grid.integrate(np.abs(sigma.imag)).sum()
    clipped = float(positive / total) if total > 0 else 0.0
    return sigma.real + 1j * np.minimum(sigma.imag, 0.0), clipped


def dyson_self_energy(problem: ImpurityProblem, spectrum: np.ndarray) -> tuple[np.ndarray, float]:
    """Causal self-energy of a spectrum curve, and the weight that had to be clipped.

    Returns
    -------
    sigma, clipped : see `causal`
        ``w - eps_d - Delta - 1/G``.
    """
    G = problem.grid.greens_function(spectrum)
    delta = problem.retarded_hybridization()
    return causal(problem.grid, problem.grid.omega - problem.eps_d[:, None] - delta - 1 / G)


def dynamic_strength(solution: ImpuritySolution) -> float:
    """Weight of ``Sigma - Sigma(inf)`` over ``n (1 - n)``, mean of equivalent orbitals, in D^2.

    ``W = <{q, q+}> - <{q, d+}>^2``, q = [d, H_int]: a mean over the two-body density matrix, which
    sums of the poles' weights hold; n is the density of one spin and orbital. U^2 for one orbital,
    exactly; of orbitals that are as good as empty or full the limit, which has no correlations.

    Raises
    ------
    InvalidProblemError
        If a solution of several orbitals knows no poles.
    """
    problem = solution.problem
    n_orb, n = problem.n_orb, solution.filling / (2 * problem.n_orb)
    if n_orb == 1 or n * (1 - n) < EMPTY:
        return problem.interaction.second_order(n_orb)
    if solution.greens is None:
        raise InvalidProblemError(
            "the weight of a self-energy of several orbitals follows from poles, which the "
            "solution does not know; use solver=ed"
        )
    mean, square = (
        float(np.mean([(a.amplitudes[:, 1] * a.amplitudes[:, i]).sum() for a in solution.greens]))
        for i in (0, 1)
    )
    return max(square - mean**2, 0.0) / (n * (1 - n))


def bath_misfit(solution: ImpuritySolution, axis: ImaginaryAxis) -> np.ndarray:
    """Delta of the bath that a solution is of, less the problem's; mean of equivalent orbitals.

    By Dyson's equation from its G and Sigma: zero of a solver that works with the given bath, else
    what its few levels miss.

    Returns
    -------
    (n_iw,) complex128, in D
    """
    z, problem = 1j * axis.omega_n, solution.problem
    free = z - problem.eps_d[:, None] - problem.hybridization.at(z)
    found = free - solution.matsubara_self_energy(axis) - 1 / solution.matsubara_greens(axis)
    return found.mean(axis=0)

"""Modified second-order perturbation theory on the real axis: a cheap, causal approximation.

Method: the second-order diagram ``S2`` of the non-interacting reference level
``G0 = 1/(w - eps_0 - Delta)``, interpolated between the exact limits (Kajueter, Kotliar,
PRL 77, 131 (1996)),

``Sigma = U n + a S2 / (1 - b S2)``,
``a = n (1 - n) / (n_0 (1 - n_0))``, ``b = ((1 - n) U + eps_d - eps_0) / (U^2 n_0 (1 - n_0))``,

with n the occupation of one spin and n_0 that of the reference. The level eps_0 is chosen such
that ``n_0 = n`` (Martin-Rodero, Flores, Baldo, Pucci, Solid State Commun. 44, 911 (1982)), where n
is the occupation that Sigma leads to. At half filling this is ``eps_0 = 0``, plain second order.

At zero temperature ``S2`` has the spectral function
``U^2 sum_ijk p_i p_j p_k delta(w - E_i - E_j - E_k)``, over E_i, E_j > 0 with the mirror image of
E_k < 0, and the same with all signs changed: two convolutions, made by FFT on a uniform grid. The
reference enters as poles on the points of the problem's grid (weight and centre of gravity of each
cell kept), and so does the result.

Range: exact at U = 0, in order U^2, in the atomic limit and for the first three moments; the Mott
transition of the Bethe lattice comes too late (U_c2 about 3.3 D) and Z away from half filling is a
guess. Never a reference: for that use ``ras``. Cost: 10 to 20 FFTs of a few thousand points.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import brentq

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.self_energy import dyson_spectrum, inverse_spectrum
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.impurity.solutions import SelfEnergySolution

LEVEL_SHARE = 0.9  # reference levels lie in this share of the grid
B_MIN = 1e-2  # D, dressing of the diagram below which nothing can be sharp
SHARPNESS = 4  # of the change from points to cells in the dressed diagram
SPREAD = 0.01  # share of the broad part in taking up weight that the grid lost
OCCUPATION_ERROR = 1e-3  # of one spin; what is missed by more is warned of
OCCUPATION_MIN = 1e-9  # of the reference, so that an empty or a full level divides by no zero


def second_order_diagram(grid: FrequencyGrid, weights: np.ndarray, step: float) -> np.ndarray:
    """Spectral weights of ``S2 / U^2`` on the points of the grid.

    Parameters
    ----------
    grid : FrequencyGrid
        Without a point at zero.
    weights : (n_w,) float64, >= 0
        Pole weights of the reference on the points, in all one.
    step : float, in D
        Of the uniform grid on which the convolution is made.

    Returns
    -------
    (n_w,) float64, >= 0, in all ``n_0 (1 - n_0)``; what lies outside the grid is at its end points
    """
    omega = grid.omega
    n_bins = int(np.ceil(np.abs(omega).max() / step)) + 2
    length = next_fast_len(3 * n_bins, real=True)
    particles = rfft(_to_bins(omega[omega > 0], weights[omega > 0], step, n_bins), length)
    holes = rfft(_to_bins(-omega[omega < 0], weights[omega < 0], step, n_bins), length)
    upper = irfft(particles**2 * holes, length)
    lower = irfft(holes**2 * particles, length)
    energies = step * np.arange(length)
    result = _to_points(omega, energies, upper) + _to_points(omega, -energies, lower)
    return np.maximum(result, 0.0)  # FFTs round


def _to_bins(energies: np.ndarray, weights: np.ndarray, step: float, n_bins: int) -> np.ndarray:
    """Poles at positive energies shared between their two neighbours on the uniform grid."""
    left = (energies / step).astype(int)
    share = energies / step - left
    return np.bincount(left, weights * (1 - share), n_bins) + np.bincount(
        left + 1, weights * share, n_bins
    )


def _to_points(omega: np.ndarray, energies: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Poles anywhere shared between their two neighbours among the points."""
    energies = np.clip(energies, omega[0], omega[-1])
    left = np.clip(np.searchsorted(omega, energies, side="right") - 1, 0, omega.size - 2)
    share = (energies - omega[left]) / (omega[left + 1] - omega[left])
    return np.bincount(left, weights * (1 - share), omega.size) + np.bincount(
        left + 1, weights * share, omega.size
    )


class IptSolver(Solver):
    """Impurity solver by modified second-order perturbation theory.

    Parameters
    ----------
    step : float, in D
        Of the uniform grid of the convolution; features of the reference should be wider.
    tolerance : float
        On the occupation of one spin.
    max_memory : float, in GiB

    Raises
    ------
    InvalidProblemError
        If one of them is out of its limits.
    """

    name = "ipt"

    def __init__(
        self, step: float = 2e-3, tolerance: float = 1e-8, max_memory: float = checks.MAX_MEMORY
    ):
        step = checks.number("solver.step", step)
        tolerance = checks.number("solver.tolerance", tolerance)
        self.max_memory = checks.number("solver.max_memory", max_memory, above=0)
        if not 0 < step <= 0.1:
            raise InvalidProblemError(
                f"solver.step = {step}: the convolution needs a step in (0, 0.1] D, e.g. 2e-3"
            )
        if not 0 < tolerance < 0.1:
            raise InvalidProblemError(
                f"solver.tolerance = {tolerance}: the occupation needs a tolerance in (0, 0.1)"
            )
        self.step, self.tolerance = float(step), float(tolerance)

    def solve(self, problem: ImpurityProblem) -> SelfEnergySolution:
        """Solve one problem."""
        self.require(problem)
        if (
            np.any(problem.grid.omega == 0)
            or not problem.grid.omega[0] < 0 < problem.grid.omega[-1]
        ):
            raise InvalidProblemError(
                "solver 'ipt' tells particles from holes by the sign of the frequency; use a grid "
                "with points on both sides of zero and none at it, e.g. FrequencyGrid.geometric"
            )
        reach = float(np.abs(problem.grid.omega).max())
        checks.memory(  # ten arrays of three times the uniform grid, half of them complex
            f"solver.step = {self.step:g} on a grid that reaches {reach:g} D",
            360.0 * reach / self.step,
            self.max_memory,
            "solver.max_memory",
            "take a larger step",
        )

        def surplus(n: float) -> float:
            sigma, _, _ = self._self_energy(problem, n)
            return _occupation(problem, sigma) - n

        n = _root(surplus, 0.0, 1.0, self.tolerance)
        sigma, eps_0, n_0 = self._self_energy(problem, n)
        missed = {"occupation": _occupation(problem, sigma) - n, "reference": n_0 - n}
        wrong = {name: off for name, off in missed.items() if abs(off) > OCCUPATION_ERROR}
        warning = ""
        if wrong:
            off = ", ".join(f"its {name} by {value:+.1e}" for name, value in wrong.items())
            warning = (
                f"ipt at U = {problem.U:g}, eps_d = {problem.eps_d[0]:g}: no occupation of its "
                f"own is consistent, the nearest n = {n:.4g} a spin misses {off}"
            )
        return SelfEnergySolution(
            problem, sigma[None, :], {"reference_level": eps_0, "warning": warning}
        )

    def _self_energy(self, problem: ImpurityProblem, n: float) -> tuple[np.ndarray, float, float]:
        """(n_w,) Sigma with the occupation n of one spin; level and occupation of its reference."""
        grid, U, eps_d = problem.grid, problem.U, problem.eps_d[0]
        free = np.zeros(grid.n_w, complex)
        if U == 0:
            return free, eps_d, n

        def surplus(eps_0: float) -> float:
            return _occupation(problem.replace(eps_d=eps_0), free) - n

        low, high = LEVEL_SHARE * grid.omega[[0, -1]]
        eps_0 = _root(surplus, low, high, self.tolerance)
        poles = _pole_weights(problem.replace(eps_d=eps_0), free)
        n_0 = np.clip(poles[grid.omega < 0].sum(), OCCUPATION_MIN, 1 - OCCUPATION_MIN)
        diagram = grid.greens_function(second_order_diagram(grid, poles, self.step) / grid.weights)
        b = ((1 - n) * U + eps_d - eps_0) / (n_0 * (1 - n_0))
        a = n * (1 - n) / (n_0 * (1 - n_0))
        return U * n + a * U**2 * grid.greens_function(_dressed(grid, diagram, b)), eps_0, n_0


def _dressed(grid: FrequencyGrid, diagram: np.ndarray, b: float) -> np.ndarray:
    """(n_w,) spectrum of ``S / (1 - b S)``.

    At the points where ``1 - b S`` changes little from one to the next; integrated over the cells,
    as ``(1/(1 - b S) - 1) / b``, near a zero outside the band of S: a pole as sharp as a bound
    state, which must not fall between points.
    """
    denominator = 1 - b * diagram
    at_points = -(diagram / denominator).imag / np.pi
    if abs(b) < B_MIN:
        return at_points
    in_cells = inverse_spectrum(grid, denominator if b > 0 else denominator.conj()) / abs(b)
    change = np.abs(np.diff(denominator))
    change = np.maximum(np.append(change, 0.0), np.append(0.0, change)) / np.abs(denominator)
    share = 1 / (1 + change**-SHARPNESS)
    sharp = share * in_cells
    dressed = (1 - share) * at_points + sharp
    missing = grid.integrate(-diagram.imag / np.pi - dressed)
    place = sharp + SPREAD * dressed
    return np.maximum(dressed + missing * place / max(grid.integrate(place), 1e-30), 0.0)


def _pole_weights(problem: ImpurityProblem, sigma: np.ndarray) -> np.ndarray:
    """(n_w,) weights on the points of the grid of the spectrum that Sigma leads to, in all one."""
    weights = dyson_spectrum(problem, sigma[None, :])[0] * problem.grid.weights
    return weights / weights.sum()


def _occupation(problem: ImpurityProblem, sigma: np.ndarray) -> float:
    """Occupation of one spin, all weight on its points."""
    return float(_pole_weights(problem, sigma)[problem.grid.omega < 0].sum())


def _root(function: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """Zero of a falling function; the end that is nearer to one where it does not change sign.

    The caller looks at how well it fits.
    """
    if function(low) <= 0:
        return low
    if function(high) >= 0:
        return high
    return float(brentq(function, low, high, xtol=tolerance, rtol=8.9e-16))

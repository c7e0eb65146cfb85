"""The kinds of answer behind `ImpuritySolution`: what they share, a curve, a self-energy.

Solutions known as poles: `dmftnet.physics.impurity.pole_solutions`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.observables import double_occupancy_from_curves, filling_from_spectrum
from dmftnet.physics.analysis.self_energy import dyson_self_energy, dyson_spectrum
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import rotation_kernel
from dmftnet.physics.impurity.problem import ImpurityProblem

if TYPE_CHECKING:  # at run time a dataclass would take the protocol's properties for defaults
    from dmftnet.physics.impurity.protocol import ImpuritySolution as _Contract
else:
    _Contract = object


class Solution(_Contract):
    """What solutions have in common; each kind says the rest.

    On the imaginary axis a kind gives what follows exactly from what it knows. A quantity that it
    does not know raises InvalidProblemError, one line.
    """

    @property
    def clipped_self_energy(self) -> float:
        """Share of ``|Im Sigma|`` on the real axis that had the wrong sign and was set to zero."""
        return 0.0

    def spectrum(self, grid: FrequencyGrid | None = None, angle: float = 0.0) -> np.ndarray:
        self._unknown("spectrum on the real axis", "continue G(iw) analytically, or use solver=ed")

    def self_energy(self, grid: FrequencyGrid | None = None) -> np.ndarray:
        self._unknown("self-energy on the real axis", "use matsubara_self_energy")

    def matsubara_greens(self, axis: ImaginaryAxis | None = None) -> np.ndarray:
        """Of a spectrum: ``integral A(E) / (i w_n - E)`` of the curve, exactly."""
        z = 1j * (axis or self.problem.axis).omega_n
        return self.problem.grid.cauchy(self.spectrum(), z)

    def matsubara_self_energy(self, axis: ImaginaryAxis | None = None) -> np.ndarray:
        """By Dyson's equation from `matsubara_greens`."""
        axis = axis or self.problem.axis
        return matsubara_dyson(self.problem, axis, self.matsubara_greens(axis))

    def greens_tau(self, tau: np.ndarray) -> np.ndarray:
        """Of a spectrum, through the intermediate representation of `matsubara_greens`."""
        axis = self.problem.axis
        require_inside(tau, axis.beta)
        return axis.at_tau(axis.to_coefficients(self.matsubara_greens(axis)), tau)

    @property
    def knows_densities(self) -> bool:
        """Whether `density_matrix` and `double_occupancies` are known: always of one orbital."""
        return self.problem.n_orb == 1

    def density_matrix(self) -> np.ndarray:
        """``filling / 2`` for one orbital."""
        if self.problem.n_orb > 1:
            self._unknown("density matrix", "use solver=ed")
        return np.array([[self.filling / 2]])

    def double_occupancies(self) -> np.ndarray:
        """`double_occupancy` for one orbital."""
        if self.problem.n_orb > 1:
            self._unknown("double occupancies by orbital", "use solver=ed")
        return np.array([[self.double_occupancy]])

    def _unknown(self, what: str, remedy: str) -> NoReturn:
        raise InvalidProblemError(f"a {type(self).__name__} has no {what}; {remedy}")


def matsubara_dyson(
    problem: ImpurityProblem, axis: ImaginaryAxis, greens: np.ndarray
) -> np.ndarray:
    """``Sigma(i w_n) = i w_n - eps - Delta - 1/G``; shapes as of `greens`, in D."""
    z = 1j * axis.omega_n
    if greens.ndim == 2:
        return z - problem.eps_d[:, None] - problem.hybridization.at(z) - 1 / greens
    inverse = np.moveaxis(np.linalg.inv(np.moveaxis(greens, -1, 0)), 0, -1)
    free = z * np.eye(problem.n_orb)[:, :, None] - problem.one_body[:, :, None]
    return free - problem.hybridization.matrix_at(z) - inverse


def require_inside(tau: np.ndarray, beta: float) -> None:
    """Raise InvalidProblemError where an imaginary time lies outside [0, beta]."""
    tau = np.asarray(tau)
    if np.any(tau < 0) or np.any(tau > beta * (1 + 1e-12)):
        raise InvalidProblemError(
            f"tau from {tau.min():g} to {tau.max():g}: imaginary times lie in [0, beta = {beta:g}]"
        )


@dataclass(frozen=True, eq=False)
class CurveSolution(Solution):
    """A solution known as a spectrum on the problem's grid: a network, or a cheap approximation.

    The self-energy follows from Dyson's equation, with Kramers-Kronig for the real part of G;
    filling and double occupancy from the curves. Where Dyson's equation gives ``Im Sigma > 0`` it
    is set to zero, and `clipped_self_energy` says how much was clipped.

    Parameters
    ----------
    curve : (n_orb, n_w) float64, in 1/D
        Non-negative spectral function on ``problem.grid``.
    resolution : (eta, slope), optional
        Gaussian width ``eta + slope |w|`` of the curve, in D; None where it has none.
    """

    problem: ImpurityProblem
    curve: np.ndarray
    diagnostics: dict[str, Any] = field(default_factory=dict)
    resolution: tuple[float, float] | None = None
    greens: ClassVar[None] = None

    @property
    def filling(self) -> float:
        return float(sum(filling_from_spectrum(self.problem.grid, A) for A in self.curve))

    @property
    def double_occupancy(self) -> float:
        return double_occupancy_from_curves(self.problem, self.curve)

    @cached_property
    def _sigma(self) -> tuple[np.ndarray, float]:
        return dyson_self_energy(self.problem, self.curve)

    @property
    def clipped_self_energy(self) -> float:
        return self._sigma[1]

    def self_energy(self, grid: FrequencyGrid | None = None) -> np.ndarray:
        sigma = self._sigma[0]
        if grid is None or grid == self.problem.grid:
            return sigma
        return self.problem.grid.interpolate(sigma, grid.omega)

    def spectrum(self, grid: FrequencyGrid | None = None, angle: float = 0.0) -> np.ndarray:
        if angle == 0 and (grid is None or grid == self.problem.grid):
            return np.asarray(self.curve)
        return self.curve @ rotation_kernel(self.problem.grid, angle, grid).T


@dataclass(frozen=True, eq=False)
class SelfEnergySolution(Solution):
    """A solution known as a causal self-energy: perturbation theory.

    The spectrum follows from Dyson's equation and is divided by its norm on the grid.

    Parameters
    ----------
    sigma : (n_orb, n_w) complex128, in D
        Retarded self-energy on ``problem.grid``, ``Im Sigma <= 0``.
    curve : (n_orb, n_w) float64, in 1/D, optional
        That spectrum, where it is known already.
    """

    problem: ImpurityProblem
    sigma: np.ndarray
    diagnostics: dict[str, Any] = field(default_factory=dict)
    curve: np.ndarray | None = None
    resolution: ClassVar[None] = None
    greens: ClassVar[None] = None

    @property
    def filling(self) -> float:
        grid = self.problem.grid
        return float(sum(filling_from_spectrum(grid, A) for A in self.spectrum()))

    @property
    def double_occupancy(self) -> float:
        return double_occupancy_from_curves(self.problem, self.spectrum())

    def self_energy(self, grid: FrequencyGrid | None = None) -> np.ndarray:
        if grid is None or grid == self.problem.grid:
            return self.sigma
        return self.problem.grid.interpolate(self.sigma, grid.omega)

    def spectrum(self, grid: FrequencyGrid | None = None, angle: float = 0.0) -> np.ndarray:
        if self.curve is not None and angle == 0 and grid in (None, self.problem.grid):
            return self.curve
        return drawn(self.problem, self.sigma, grid, angle, normalised=True)


def drawn(
    problem: ImpurityProblem,
    sigma: np.ndarray,
    grid: FrequencyGrid | None,
    angle: float,
    normalised: bool = False,
) -> np.ndarray:
    """Spectrum by Dyson's equation with the continuous hybridization, rotated by an angle."""
    fine = problem.grid
    A = dyson_spectrum(problem, sigma)
    if normalised:
        A = A / fine.integrate(A)[:, None]
    if angle == 0 and (grid is None or grid == fine):
        return A
    return A @ rotation_kernel(fine, angle, grid or fine).T


@dataclass(frozen=True, eq=False)
class MatsubaraSolution(Solution):
    """A solution known at Matsubara frequencies.

    Parameters
    ----------
    axis : ImaginaryAxis
    values : (n_orb, n_iw) or (n_orb, n_orb, n_iw) complex128, in 1/D
        ``G(i w_n)`` of one spin.
    double_occupancy : float
    sigma : same shape, in D, optional
        ``Sigma(i w_n)`` where it is known better than by Dyson's equation.
    """

    problem: ImpurityProblem
    axis: ImaginaryAxis
    values: np.ndarray
    double_occupancy: float
    sigma: np.ndarray | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)
    resolution: ClassVar[None] = None
    greens: ClassVar[None] = None

    @property
    def filling(self) -> float:
        return float(2 * np.trace(self.density_matrix()).real)

    def density_matrix(self) -> np.ndarray:
        """``-G_ab(beta)``."""
        density = -self.greens_tau(np.array([self.axis.beta]))[..., 0]
        return np.diag(density) if density.ndim == 1 else density

    def matsubara_greens(self, axis: ImaginaryAxis | None = None) -> np.ndarray:
        return self._at(self.values, axis)

    def matsubara_self_energy(self, axis: ImaginaryAxis | None = None) -> np.ndarray:
        if axis not in (None, self.axis):
            self._unknown("self-energy on another axis", "take that of the solution")
        if self.sigma is not None:
            return self.sigma
        return matsubara_dyson(self.problem, self.axis, self.values)

    def greens_tau(self, tau: np.ndarray) -> np.ndarray:
        require_inside(tau, self.axis.beta)
        return self.axis.at_tau(self.axis.to_coefficients(self.values), tau)

    def _at(self, values: np.ndarray, axis: ImaginaryAxis | None) -> np.ndarray:
        if axis in (None, self.axis):
            return values
        if axis.beta != self.axis.beta:
            raise InvalidProblemError(
                f"a solution at beta = {self.axis.beta:g} has no values at the frequencies of "
                f"beta = {axis.beta:g}"
            )
        return self.axis.at_frequencies(self.axis.to_coefficients(values), axis.indices)

"""The kinds of answer behind the `ImpuritySolution` protocol: poles, a curve, a self-energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.observables import double_occupancy_from_curves, filling_from_spectrum
from dmftnet.physics.analysis.self_energy import (
    causal,
    dyson_self_energy,
    dyson_spectrum,
    improved_self_energy,
    ratio_self_energy,
)
from dmftnet.physics.bath.discretisation import StarBath
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import rotation_kernel
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem


@dataclass(frozen=True, eq=False)
class PoleSolution:
    """A solution known as poles: exact diagonalisation in whatever space.

    The self-energy comes from the broadened poles by the symmetric improved estimator (the others
    may make ``Im Sigma > 0``, which is clipped, and `diagnostics` says how much); the
    spectrum then follows from Dyson's equation with the *continuous* hybridization, so that the
    comb of the discretised bath does not show (docs/physics, labels).

    Parameters
    ----------
    broadening : (eta, slope)
        Gaussian width ``eta + slope |E|`` of the poles in the self-energy, in D.
    estimator : {"improved", "ratio", "dyson"}
        See `dmftnet.physics.analysis.self_energy`.
    baths : sequence of sequence of StarBath, optional
        The discrete baths of each orbital, of which "dyson" takes the mean Delta.
    """

    problem: ImpurityProblem
    greens: tuple[ResponsePoles, ...]
    filling: float
    double_occupancy: float
    broadening: tuple[float, float]
    estimator: str = "improved"
    baths: Sequence[Sequence[StarBath]] = ()
    diagnostics: dict[str, Any] = field(default_factory=dict)
    resolution: ClassVar[None] = None

    def self_energy(self, grid: FrequencyGrid | None = None) -> np.ndarray:
        grid = grid or self.problem.grid
        sigma = np.stack(
            [self._orbital_self_energy(orb, grid.omega) for orb in range(self.problem.n_orb)]
        )
        if self.estimator == "improved":
            return sigma
        sigma, self.diagnostics["clipped_self_energy"] = causal(grid, sigma)
        return sigma

    def _orbital_self_energy(self, orb: int, omega: np.ndarray) -> np.ndarray:
        eta, slope = self.broadening
        poles = self.greens[orb]
        if self.estimator == "improved":
            hartree = poles.F.weights.sum()  # <{[d, H_int], d+}>, U n/2 for one orbital
            return improved_self_energy(poles, omega, hartree, eta, slope)
        if self.estimator == "ratio":
            return ratio_self_energy(poles, omega, eta, slope)
        if self.estimator == "dyson":
            G = poles.G.gaussian_greens(omega, eta, slope)
            if not self.baths:
                raise InvalidProblemError(
                    "self-energy estimator 'dyson' needs the discrete baths, which a stored "
                    "solution does not hold; use improved or ratio"
                )
            deltas = [bath.gaussian_hybridization(omega, eta, slope) for bath in self.baths[orb]]
            return omega - self.problem.eps_d[orb] - np.mean(deltas, axis=0) - 1 / G
        raise InvalidProblemError(
            f"self-energy estimator '{self.estimator}' is unknown; use improved, ratio or dyson"
        )

    def spectrum(self, grid: FrequencyGrid | None = None, angle: float = 0.0) -> np.ndarray:
        fine = self.problem.grid
        A = dyson_spectrum(self.problem, self.self_energy())
        if angle == 0 and (grid is None or grid == fine):
            return A
        return A @ rotation_kernel(fine, angle, grid or fine).T


@dataclass(frozen=True, eq=False)
class CurveSolution:
    """A solution known as a spectrum on the problem's grid: a network, or a cheap approximation.

    The self-energy follows from Dyson's equation, with Kramers-Kronig for the real part of G;
    filling and double occupancy from the curves. Where Dyson's equation gives ``Im Sigma > 0`` it
    is set to zero, and `diagnostics` says how much was clipped.

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

    def self_energy(self, grid: FrequencyGrid | None = None) -> np.ndarray:
        sigma, clipped = dyson_self_energy(self.problem, self.curve)
        self.diagnostics["clipped_self_energy"] = clipped
        if grid is None or grid == self.problem.grid:
            return sigma
        return self.problem.grid.interpolate(sigma, grid.omega)

    def spectrum(self, grid: FrequencyGrid | None = None, angle: float = 0.0) -> np.ndarray:
        if angle == 0 and (grid is None or grid == self.problem.grid):
            return np.asarray(self.curve)
        return self.curve @ rotation_kernel(self.problem.grid, angle, grid).T


@dataclass(frozen=True, eq=False)
class SelfEnergySolution:
    """A solution known as a causal self-energy: perturbation theory.

    The spectrum follows from Dyson's equation and is divided by its norm on the grid.

    Parameters
    ----------
    sigma : (n_orb, n_w) complex128, in D
        Retarded self-energy on ``problem.grid``, ``Im Sigma <= 0``.
    """

    problem: ImpurityProblem
    sigma: np.ndarray
    diagnostics: dict[str, Any] = field(default_factory=dict)
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
        fine = self.problem.grid
        A = dyson_spectrum(self.problem, self.sigma)
        A = A / fine.integrate(A)[:, None]
        if angle == 0 and (grid is None or grid == fine):
            return A
        return A @ rotation_kernel(fine, angle, grid or fine).T

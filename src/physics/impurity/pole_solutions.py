"""Solutions known as poles: exact diagonalisation in whatever space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.matrix_self_energy import (
    broadened_self_energy,
    exact_self_energy,
    matrix_spectrum,
)
from dmftnet.physics.analysis.self_energy import causal, improved_self_energy, ratio_self_energy
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.grids.matsubara import ImaginaryAxis, thermal_tau
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import rotation_kernel
from dmftnet.physics.impurity.poles import BLOCK, MatrixPoles, ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.solutions import Solution, drawn, require_inside
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization


class _Poles(Solution):
    """What a solver found besides the poles, where it did."""

    density: np.ndarray | None
    doubles: np.ndarray | None

    @property
    def knows_densities(self) -> bool:
        return super().knows_densities or (self.density is not None and self.doubles is not None)

    def density_matrix(self) -> np.ndarray:
        return super().density_matrix() if self.density is None else self.density

    def double_occupancies(self) -> np.ndarray:
        return super().double_occupancies() if self.doubles is None else self.doubles

    def _beta(self) -> float:
        beta = self.problem.beta
        if np.isinf(beta):
            self._unknown("G(tau) at T = 0", "give problem.beta")
        return beta


@dataclass(frozen=True, eq=False)
class PoleSolution(_Poles):
    """A solution known as poles, of orbitals that do not mix.

    The self-energy comes from the broadened poles by the symmetric improved estimator (the others
    may make ``Im Sigma > 0``, which is clipped, and `clipped_self_energy` says how much); the
    spectrum then follows from Dyson's equation with the *continuous* hybridization, so that the
    comb of the discretised bath does not show (docs/physics, labels). On the imaginary axis
    everything is a sum over the poles, exact for the discrete bath.

    Parameters
    ----------
    broadening : (eta, slope)
        Gaussian width ``eta + slope |E|`` of the poles in the self-energy, in D.
    estimator : {"improved", "ratio", "dyson"}
        See `dmftnet.physics.analysis.self_energy`.
    baths : sequence of sequence of StarBath, optional
        The discrete baths of each orbital, of which "dyson" takes the mean Delta.
    density, doubles : (n_orb, n_orb), optional
        See `ImpuritySolution`; from expectation values.
    """

    problem: ImpurityProblem
    greens: tuple[ResponsePoles, ...]
    filling: float
    double_occupancy: float
    broadening: tuple[float, float]
    estimator: str = "improved"
    baths: Sequence[Sequence[StarBath]] = ()
    diagnostics: dict[str, Any] = field(default_factory=dict)
    density: np.ndarray | None = None
    doubles: np.ndarray | None = None
    resolution: ClassVar[None] = None

    @property
    def clipped_self_energy(self) -> float:
        on_axis = isinstance(self.problem.hybridization, SpectralHybridization)
        if self.estimator == "improved" or not on_axis:
            return 0.0  # causal by construction; nothing on the real axis to clip
        return causal(self.problem.grid, self._self_energy(self.problem.grid))[1]

    def self_energy(self, grid: FrequencyGrid | None = None) -> np.ndarray:
        grid = grid or self.problem.grid
        sigma = self._self_energy(grid)
        return sigma if self.estimator == "improved" else causal(grid, sigma)[0]

    def _self_energy(self, grid: FrequencyGrid) -> np.ndarray:
        """As the estimator gives it."""
        return np.stack(
            [self._orbital_self_energy(orb, grid.omega) for orb in range(self.problem.n_orb)]
        )

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
        return drawn(self.problem, self.self_energy(), grid, angle)

    def matsubara_greens(self, axis: ImaginaryAxis | None = None) -> np.ndarray:
        z = 1j * (axis or self.problem.axis).omega_n
        return np.stack([poles.G.greens(z) for poles in self.greens])

    def matsubara_self_energy(self, axis: ImaginaryAxis | None = None) -> np.ndarray:
        """By the improved estimator."""
        z = 1j * (axis or self.problem.axis).omega_n
        sigma = []
        for poles in self.greens:
            G, F, I = poles.responses(z)
            sigma.append(poles.F.weights.sum() + I - F**2 / G)
        return np.stack(sigma)

    def greens_tau(self, tau: np.ndarray) -> np.ndarray:
        beta = self._beta()
        require_inside(tau, beta)
        parts = [poles.G for poles in self.greens]
        return np.stack([thermal_tau(G.energies, G.weights, tau, beta) for G in parts])


@dataclass(frozen=True, eq=False)
class MatrixPoleSolution(_Poles):
    """A solution known as poles, of orbitals that mix: arrays have two orbital axes.

    Parameters
    ----------
    poles : MatrixPoles
    density, doubles : (n_orb, n_orb)
    broadening
        See `PoleSolution`.
    """

    problem: ImpurityProblem
    poles: MatrixPoles
    filling: float
    double_occupancy: float
    broadening: tuple[float, float]
    density: np.ndarray
    doubles: np.ndarray
    diagnostics: dict[str, Any] = field(default_factory=dict)
    greens: ClassVar[None] = None
    resolution: ClassVar[None] = None

    def self_energy(self, grid: FrequencyGrid | None = None) -> np.ndarray:
        grid = grid or self.problem.grid
        return broadened_self_energy(self.poles, grid.omega, *self.broadening)

    def spectrum(self, grid: FrequencyGrid | None = None, angle: float = 0.0) -> np.ndarray:
        fine = self.problem.grid
        A = matrix_spectrum(self.problem, self.self_energy())
        if angle == 0 and (grid is None or grid == fine):
            return A
        return A @ rotation_kernel(fine, angle, grid or fine).T

    def matsubara_greens(self, axis: ImaginaryAxis | None = None) -> np.ndarray:
        return self.poles.greens(1j * (axis or self.problem.axis).omega_n)

    def matsubara_self_energy(self, axis: ImaginaryAxis | None = None) -> np.ndarray:
        return exact_self_energy(self.poles, 1j * (axis or self.problem.axis).omega_n)

    def greens_tau(self, tau: np.ndarray) -> np.ndarray:
        beta = self._beta()
        require_inside(tau, beta)
        d = self.poles.amplitudes[:, 0]
        total = np.zeros((d.shape[1],) * 2 + (np.size(tau),), dtype=d.dtype)
        for start in range(0, len(d), BLOCK):
            block = slice(start, start + BLOCK)
            residues = np.einsum("pa,pb->abp", d[block], d[block].conj())
            total += thermal_tau(self.poles.energies[block], residues, tau, beta)
        return total

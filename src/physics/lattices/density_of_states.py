"""Lattices given by any density of states: square, cubic, or read from a file.

The density is a piecewise-linear curve that is integrated exactly over each cell (logarithms), also
where ``Im z -> 0``. Far from the band, ``|z| > 3 R``, its moments are summed instead: there the
logarithms cancel, and a Mott insulator needs exactly those z. ``-Im Delta >= 0`` holds by
construction if ``Im Sigma <= 0``. Cost O(n_w n_e) an iteration.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.integrate import quad
from scipy.special import ellipkm1

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.curve_file import read_curve
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import Hybridization, positive_part
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution
from dmftnet.physics.lattices.protocol import (
    LocalLattice,
    lattice_argument,
    same_kind,
    site_argument,
)

_N_MOMENTS = 40  # 3^-40 = 8e-20: the moment series is exact to rounding for |z| > 3 R

MAX_POINTS = 10_000  # of a lattice's own curve; some hundred are exact to 1e-4


class DensityOfStates(LocalLattice):
    """Any density of states, piecewise linear between the given points, zero outside.

    Parameters
    ----------
    energies : (n_e,) float, in D
        Strictly increasing, at least two.
    values : (n_e,) float
        Non-negative; any norm, it is divided out (a file may count both spins or a whole cell).
        A step at either end is allowed.
    name : str

    Attributes
    ----------
    centroid : float, in D
        Mean energy of the given density. The curve is moved by it, so that ``eps_d`` is the
        impurity's level and Delta vanishes at high frequency.

    Raises
    ------
    InvalidProblemError
        If the points do not increase or a value is negative or not finite.
    """

    def __init__(self, energies: np.ndarray, values: np.ndarray, name: str = "dos"):
        energies, values = _checked_density(energies, values, name)
        self.values = values / np.trapezoid(values, energies)
        self.centroid = _centroid(energies, self.values)
        self.energies = energies - self.centroid
        self.name = name

    @classmethod
    def semicircle(cls, n_points: int = 801) -> DensityOfStates:
        """The Bethe density as a sampled curve (`Bethe` is the closed form)."""
        energies = -np.cos(np.linspace(0, np.pi, _points(n_points)))
        return cls(energies, np.sqrt(np.maximum(1 - energies**2, 0.0)), "semicircle")

    @classmethod
    def square(cls, n_points: int = 800) -> DensityOfStates:
        """Square lattice, nearest neighbours: ``(2/pi^2) K(sqrt(1 - e^2))``, logarithmic at 0."""
        n_points = _points(n_points)
        energies = np.geomspace(1e-5, 1.0, n_points // 2)
        energies = np.unique(np.concatenate([energies, np.linspace(0.02, 1.0, n_points // 4)]))
        return cls(_mirror(energies, -1), _mirror(square_density(energies), 1), "square")

    @classmethod
    def cubic(cls, n_points: int = 600) -> DensityOfStates:
        """Simple cubic lattice, nearest neighbours, half-bandwidth 1 (``t = 1/6``)."""
        bend = 0.5 * (1 - np.cos(np.linspace(0, np.pi, _points(n_points) // 4)))  # at the kinks
        energies = np.concatenate(
            [bend[bend.size // 2 :] * 2 / 3 - 1 / 3, 1 / 3 + bend[1:] * 2 / 3]
        )
        energies = energies[energies > 0]
        values = np.array([cubic_density(e) for e in energies])
        return cls(_mirror(energies, -1), _mirror(values, 1), "cubic")

    @classmethod
    def from_file(cls, path: str | Path) -> DensityOfStates:
        """Two columns of text (energy, density), or an .npz with ``energies`` and ``values``."""
        energies, values = read_curve(path, ("energies", "values"), "lattice.path")
        return cls(energies, values, "dos")

    @cached_property
    def particle_hole_symmetric(self) -> bool:
        """Whether the curve is even in energy."""
        mirrored = np.interp(-self.energies, self.energies, self.values, left=0.0, right=0.0)
        return bool(np.allclose(mirrored, self.values, rtol=0, atol=1e-8 * self.values.max()))

    @cached_property
    def _moments(self) -> tuple[float, float, np.ndarray]:
        """Centre c, radius R, and ``integral rho ((e - c)/R)^k``, k = 1 .. _N_MOMENTS."""
        node, weight = np.polynomial.legendre.leggauss(_N_MOMENTS // 2 + 2)  # exact: degree 41
        centre = 0.5 * (self.energies[0] + self.energies[-1])
        radius = 0.5 * (self.energies[-1] - self.energies[0])
        h, t = np.diff(self.energies)[:, None], 0.5 * (node + 1)
        scaled = (self.energies[:-1, None] + h * t - centre) / radius
        rho = self.values[:-1, None] * (1 - t) + self.values[1:, None] * t
        power, moments = 0.5 * weight * h * rho, np.empty(_N_MOMENTS)
        for k in range(_N_MOMENTS):
            power = power * scaled
            moments[k] = power.sum()
        return centre, radius, moments

    def resolvent(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``G(z) = integral rho/(z - e)`` and ``Delta(z) = z - 1/G`` for ``Im z > 0``.

        Parameters
        ----------
        z : (...) complex128, in D

        Returns
        -------
        G, Delta : (...) complex128
            Delta is summed directly where ``z - 1/G`` would cancel.
        """
        flat = np.asarray(z, dtype=np.complex128).reshape(-1)
        centre, radius, moments = self._moments
        G, delta = np.empty_like(flat), np.empty_like(flat)
        far = np.abs(flat - centre) > 3 * radius
        shifted = flat[far] - centre
        tail = np.polynomial.polynomial.polyval(radius / shifted, np.append(0.0, moments))
        G[far] = (1 + tail) / shifted
        delta[far] = centre + shifted * tail / (1 + tail)
        near = ~far
        G[near] = self._hilbert(flat[near])
        delta[near] = flat[near] - 1 / G[near]
        return G.reshape(np.shape(z)), delta.reshape(np.shape(z))

    @cached_property
    def _kinks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Nodes where the slope changes or the curve jumps: energies, changes, jumps; their sum."""
        slope = np.diff(self.values) / np.diff(self.energies)
        change = np.diff(slope, prepend=0.0, append=0.0)
        jump = np.zeros_like(self.values)
        jump[0], jump[-1] = self.values[0], -self.values[-1]
        kept = (change != 0) | (jump != 0)
        return self.energies[kept], change[kept], jump[kept], float(jump.sum())

    def _hilbert(self, z: np.ndarray) -> np.ndarray:
        """Exact transform of the piecewise-linear curve; (n,) complex128.

        ``sum_j [J_j + c_j (z - e_j)] ln(z - e_j) + sum_j J_j``, c_j the changes of slope and J_j
        the jumps: one logarithm a node.
        """
        energies, change, jump, constant = self._kinks
        out = np.empty_like(z)
        for start in range(0, z.size, 512):  # bounds the memory of the (z, node) table
            block = slice(start, start + 512)
            x, y = z.real[block, None] - energies, z.imag[block, None]
            modulus, angle = 0.5 * np.log(x * x + y * y), np.arctan2(y, x)
            real, imag = jump + change * x, change * y
            out.real[block] = (real * modulus - imag * angle).sum(axis=1) + constant
            out.imag[block] = (real * angle + imag * modulus).sum(axis=1)
        return out

    def local_greens(self, grid: FrequencyGrid, eps_d: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        return self.resolvent(lattice_argument(grid, eps_d, sigma))[0]

    def hybridization(self, problem: ImpurityProblem, solution: ImpuritySolution) -> Hybridization:
        """``z - 1/G_loc``; negative parts of a spectrum are clipped and their share is reported.

        The share goes to ``solution.diagnostics["clipped_hybridization"]``; it is rounding where
        the self-energy is causal.
        """
        z = site_argument(problem, solution)
        delta = self.resolvent(z)[1] if z.ndim == 2 else self._matrix_hybridization(z)

        def spectrum() -> np.ndarray:
            kept, solution.diagnostics["clipped_hybridization"] = self._positive(problem, delta)
            return kept

        return same_kind(problem.hybridization, spectrum, matsubara=lambda axis: delta)

    def _matrix_hybridization(self, z: np.ndarray) -> np.ndarray:
        """Delta of a (n_orb, n_orb, n) argument, in its eigenbasis at each frequency."""
        values, basis = np.linalg.eig(np.moveaxis(z, -1, 0))
        delta = self.resolvent(values)[1]
        return np.moveaxis((basis * delta[:, None, :]) @ np.linalg.inv(basis), 0, -1)

    @staticmethod
    def _positive(problem: ImpurityProblem, delta: np.ndarray) -> tuple[np.ndarray, float]:
        """Spectrum of a retarded Delta, and the share of it that was clipped."""
        if delta.ndim == 2:
            raw = -delta.imag / np.pi
        else:
            raw = (delta.conj().swapaxes(0, 1) - delta) / (2j * np.pi)
        kept = positive_part(raw)
        total = problem.grid.integrate(np.abs(raw)).sum()
        return kept, float(problem.grid.integrate(np.abs(kept - raw)).sum() / total)

    def bare_hybridization(self, grid: FrequencyGrid, site: int = 0) -> np.ndarray:
        z = lattice_argument(grid, np.zeros(1), np.zeros((1, grid.n_w)))
        return np.maximum(-self.resolvent(z)[1].imag[0] / np.pi, 0.0)

    def density_of_states(self) -> tuple[np.ndarray, np.ndarray]:
        return self.energies, self.values


def square_density(energies: np.ndarray) -> np.ndarray:
    """``(2/pi^2) K(sqrt(1 - e^2))`` for ``0 < |e| <= 1``, zero outside; in 1/D."""
    e2 = np.asarray(energies, dtype=np.float64) ** 2
    return np.where(e2 <= 1, 2 / np.pi**2 * ellipkm1(np.minimum(e2, 1.0)), 0.0)


def cubic_density(energy: float) -> float:
    """Simple cubic density as the convolution of the square one with a chain; in 1/D.

    ``rho(e) = (1/pi) integral_0^pi rho_square(e + cos(k)/3) dk``, the square's half-bandwidth 2/3.
    The integrand's logarithm (argument 0) and steps (argument +-2/3) are break points.
    """
    breaks = [np.arccos(x) for x in 3 * (np.array([0.0, -2 / 3, 2 / 3]) - energy) if abs(x) < 1]
    nodes = np.unique([0.0, *breaks, np.pi])
    total = 0.0
    for a, b in pairwise(nodes):
        total += quad(lambda k: 1.5 * square_density(1.5 * (energy + np.cos(k) / 3)), a, b)[0]
    return total / np.pi


def _checked_density(energies, values, name: str) -> tuple[np.ndarray, np.ndarray]:
    energies, values = np.array(energies, np.float64), np.array(values, np.float64)
    if energies.ndim != 1 or energies.size < 2 or energies.shape != values.shape:
        raise InvalidProblemError(
            f"density of states '{name}': energies {energies.shape} and values {values.shape} must "
            "be two columns of equal length, at least 2"
        )
    if not (np.all(np.isfinite(energies)) and np.all(np.isfinite(values))):
        raise InvalidProblemError(f"density of states '{name}' holds a value that is not finite")
    if np.any(np.diff(energies) <= 0):
        bad = int(np.argmin(np.diff(energies)))
        raise InvalidProblemError(
            f"density of states '{name}': energy {energies[bad + 1]:.6g} follows "
            f"{energies[bad]:.6g}; the energies must increase strictly"
        )
    if np.any(values < 0) or not np.any(values > 0):
        raise InvalidProblemError(
            f"density of states '{name}': smallest value {values.min():.6g}, largest "
            f"{values.max():.6g}; it must be >= 0 and not zero everywhere"
        )
    return energies, values


def _centroid(energies: np.ndarray, density: np.ndarray) -> float:
    """``integral e rho(e) de`` of a normalised piecewise-linear curve, exactly."""
    e0, e1, r0, r1 = energies[:-1], energies[1:], density[:-1], density[1:]
    return float(((e1 - e0) * (r0 * (2 * e0 + e1) + r1 * (e0 + 2 * e1))).sum() / 6)


def _mirror(half: np.ndarray, sign: int) -> np.ndarray:
    return np.concatenate([sign * half[::-1], half])


def _points(n_points: int) -> int:
    return checks.integer("lattice.n_points", n_points, at_least=16, at_most=MAX_POINTS)

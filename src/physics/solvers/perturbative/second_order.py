"""Modified second-order perturbation theory for a batch of problems, in numpy or torch.

The one implementation behind the solver ``ipt`` and the guesses of the networks; formulas and
references are those of `dmftnet.physics.solvers.perturbative.ipt`. Nothing loops over problems.

What reference and answer share, the occupation n, can be sought in two ways:

* `RealAxis`: occupations are the weights below zero of cell-integrated spectra, each root is
  found to a tolerance. Exact on the grid, some hundred spectra a batch.
* `ImaginaryAxis`: Green's functions are smooth there, so that a quadrature of some ten points
  and a few secant steps do, the reference's level read from a table. A fixed number of operations;
  within 5e-4 of one spin.

Arrays may be those of any library that has numpy's names for the operations used here: a subclass
names it `xp` and gives what is compiled for numpy, `poles`, `take` and `kramers_kronig`. In a
problem that is its own particle-hole mirror image the level of the reference is zero: nothing is
sought, and nothing dressed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.optimize.elementwise import find_root

from dmftnet.physics.analysis.causal_dyson import cell_weights
from dmftnet.physics.analysis.self_energy import to_complex
from dmftnet.physics.grids.real_axis import FrequencyGrid

B_MIN = 1e-2  # D, dressing of the diagram below which nothing can be sharp
SHARPNESS = 4  # of the change from points to cells in the dressed diagram
SPREAD = 0.01  # share of the broad part in taking up weight that the grid lost


Array = Any
"""Of numpy, or of a library that has its names."""


class Problems(NamedTuple):
    """One-orbital problems on one grid.

    ``U, eps_d`` (B,), in D; ``bath`` (B, n_w), ``-Im Delta / pi``; ``real, imag`` (B, n_w), the
    parts of ``w - Delta``; further arrays (B, ...) that a way of searching keeps.
    """

    U: Array
    eps_d: Array
    bath: Array
    real: Array
    imag: Array
    kept: tuple = ()

    def select(self, chosen) -> Problems:
        """Those of a mask or of indices."""
        U, eps_d, bath, real, imag, kept = self
        kept = tuple(values[chosen] for values in kept)
        return Problems(U[chosen], eps_d[chosen], bath[chosen], real[chosen], imag[chosen], kept)


class Answers(NamedTuple):
    """``sigma`` (B, n_w) complex128, ``n`` and ``n_0``, ``eps_0`` (B,) of `SecondOrderTheory`."""

    sigma: Array
    n: Array
    n_0: Array
    eps_0: Array


class SecondOrderTheory(ABC):
    """``Sigma = U n + a S2 / (1 - b S2)`` on the real axis.

    Parameters
    ----------
    grid : FrequencyGrid
        With points on both sides of zero and none at it.
    diagram : `dmftnet.physics.solvers.perturbative.diagram.SecondOrderDiagram`
    """

    xp: ModuleType = np
    omega: Array  # (n_w,), in D, as all of the grid
    weights: Array  # (n_w,)
    width: Array  # (n_w - 1,)

    def __init__(self, grid: FrequencyGrid, diagram):
        self.diagram = diagram
        self.n_holes = int((grid.omega < 0).sum())
        self.constant("omega", grid.omega)
        self.constant("weights", grid.weights)
        self.constant("width", np.diff(grid.omega))
        self.keep_transform(grid)

    def keep_transform(self, grid: FrequencyGrid) -> None:
        """Keep what `kramers_kronig` needs."""
        self._transform = grid.kramers_kronig

    def kramers_kronig(self, curves):
        """``H f`` of (B, n_w) curves."""
        return self._transform(curves)

    def constant(self, name: str, values: np.ndarray) -> None:
        """Keep an array that follows from the grid."""
        setattr(self, name, values)

    @abstractmethod
    def consistent_occupation(self, problems: Problems):
        """(B,) occupation of one spin that reference and answer share."""

    @abstractmethod
    def reference_level(self, problems: Problems, n):
        """(B,) level of the reference of occupation n, in D."""

    @abstractmethod
    def reference_poles(self, below, above, n):
        """(B, k) weights of the reference below and above zero: as they enter, and their n_0."""

    def problems(self, U, eps_d, bath) -> Problems:
        """(B,), (B,), (B, n_w) float64 -> the batch; one Kramers-Kronig each."""
        return Problems(U, eps_d, bath, self.omega - self.kramers_kronig(bath), math.pi * bath)

    def solve(self, problems: Problems, even) -> Answers:
        """Self-energies, ``Im Sigma <= 0``; `even` (B,) bool: its own particle-hole mirror.

        Without interaction nothing is sought either: n and eps_0 are those of an even problem.
        """
        xp, U = self.xp, problems.U
        n, eps_0 = xp.full_like(U, 0.5), xp.zeros_like(U)
        uneven = ~even & (U != 0)
        some = bool(uneven.any())
        if some:
            sought = self.prepared(problems.select(uneven))
            n[uneven] = self.consistent_occupation(sought)
            eps_0[uneven] = self.reference_level(sought, n[uneven])
        weights, n_0 = self.undressed(problems, n, eps_0)
        density = weights / self.weights
        if some:  # in an even problem there is nothing to dress
            b = dressing(sought, eps_0[uneven], n[uneven], n_0[uneven])
            density[uneven] = self.dressed(density[uneven], b)
        return Answers(self.sigma(problems, density, n, n_0), n, n_0, eps_0)

    def prepared(self, problems: Problems) -> Problems:
        """With what the search wants to compute once."""
        return problems

    def sigma(self, problems: Problems, density, n, n_0):
        """(B, n_w) Sigma from the (B, n_w) spectrum of ``S2 / (1 - b S2) / U^2``, complex128."""
        scale = problems.U**2
        if n_0 is not n:
            scale = scale * (n * (1.0 - n) / (n_0 * (1.0 - n_0)))
        density, hartree = density * scale[:, None], problems.U * n
        real = self.kramers_kronig(density) + hartree[:, None]
        return to_complex(real, -math.pi * density, self.xp)

    def poles(self, real, imag):
        """(B, n_w) weights ``-Im (1/d) dw / pi`` of a denominator, integrated over each cell."""
        return cell_weights(real, imag, self.width)

    def undressed(self, problems: Problems, n, eps_0):
        """(B, n_w) weights of ``S2 / U^2`` with the reference at eps_0, and its (B,) n_0."""
        poles = self.poles(problems.real - eps_0[:, None], problems.imag)
        below, above = poles[..., : self.n_holes], poles[..., self.n_holes :]
        below, above, n_0 = self.reference_poles(below, above, n)
        return self.diagram.weights(self.xp.concatenate((below, above), -1)), n_0

    def dressed(self, density, b):
        """(B, n_w), (B, 1) -> (B, n_w) spectra of ``S / (1 - b S)``.

        At the points where ``1 - b S`` changes little from one to the next; integrated over the
        cells, as ``(1/(1 - b S) - 1) / b``, near a zero outside the band of S: a pole as sharp as a
        bound state, which must not fall between points. The weight of S is kept.
        """
        xp = self.xp
        shift = self.kramers_kronig(density)
        real, imag = 1.0 - b * shift, math.pi * b * density
        square = real**2 + imag**2
        at_points = density / square  # Im [S (1 - b S)*] = Im S
        small = abs(b) < B_MIN
        safe = xp.where(small, B_MIN, b)  # any value where nothing can be sharp
        in_cells = self.poles(1.0 - safe * shift, math.pi * density * abs(safe))
        in_cells = in_cells / (self.weights * abs(safe))
        change = (real[..., 1:] - real[..., :-1]) ** 2 + (imag[..., 1:] - imag[..., :-1]) ** 2
        largest = xp.maximum(change[..., :-1], change[..., 1:])
        change = xp.concatenate((change[..., :1], largest, change[..., -1:]), -1) / square
        share = xp.where(small, 0.0, 1.0 - 1.0 / (1.0 + change ** (SHARPNESS // 2)))
        sharp = share * in_cells
        dressed = (1.0 - share) * at_points + sharp
        missing = ((density - dressed) @ self.weights)[:, None]
        place = sharp + SPREAD * dressed
        place = place / xp.clip(place @ self.weights, 1e-30, None)[:, None]
        return xp.clip(dressed + missing * place, 0.0, None)


class WithLevels(Protocol):
    """Problems of any axis: ``U``, ``eps_d`` (B,)."""

    @property
    def U(self) -> Array: ...

    @property
    def eps_d(self) -> Array: ...


def dressing(problems: WithLevels, eps_0, n, n_0):
    """(B, 1) coefficient b that makes the atomic limit exact."""
    level = (1.0 - n) * problems.U + problems.eps_d - eps_0
    return (level / (n_0 * (1.0 - n_0)))[:, None]


class RealAxis(SecondOrderTheory):
    """Occupations by cell-integrated spectra, roots to a tolerance; numpy.

    Parameters
    ----------
    grid, diagram : see `SecondOrderTheory`
    tolerance : float
        On the occupation of one spin and on the level of the reference, in D.
    """

    LEVEL_SHARE = 0.9  # reference levels lie in this share of the grid
    N_MIN = 1e-9  # of the reference, so that an empty or a full level divides by no zero

    def __init__(self, grid: FrequencyGrid, diagram, tolerance: float):
        super().__init__(grid, diagram)
        self.tolerance = tolerance
        self.levels = self.LEVEL_SHARE * grid.omega[[0, -1]]

    def occupation(self, problems: Problems, sigma) -> np.ndarray:
        """(B,) occupation of one spin that a (B, n_w) or (B, 1) self-energy leads to."""
        real = problems.real - problems.eps_d[:, None] - sigma.real
        poles = self.poles(real, problems.imag - sigma.imag)
        return poles[:, : self.n_holes].sum(-1) / poles.sum(-1)

    def prepared(self, problems: Problems) -> Problems:
        """Keeps the occupations of the reference at the lowest and the highest level."""
        ends = (np.full(len(problems.U), level) for level in self.levels)
        kept = (self._reference_occupation(problems, level) for level in ends)
        return problems._replace(kept=tuple(kept))

    def _reference_occupation(self, problems: Problems, level: np.ndarray) -> np.ndarray:
        return self.occupation(problems._replace(eps_d=level), np.zeros((1, 1)))

    def consistent_occupation(self, problems: Problems) -> np.ndarray:
        def surplus(n: np.ndarray, chosen: np.ndarray) -> np.ndarray:
            some = problems.select(chosen)
            eps_0 = self.reference_level(some, n)
            weights, n_0 = self.undressed(some, n, eps_0)
            density = self.dressed(weights / self.weights, dressing(some, eps_0, n, n_0))
            return self.occupation(some, self.sigma(some, density, n, n_0)) - n

        every = np.arange(len(problems.U))
        ends = (surplus(np.full(every.size, n), every) for n in (0.0, 1.0))
        return falling_roots(surplus, (0.0, 1.0), ends, self.tolerance)

    def reference_level(self, problems: Problems, n: np.ndarray) -> np.ndarray:
        def surplus(eps_0: np.ndarray, chosen: np.ndarray) -> np.ndarray:
            return self._reference_occupation(problems.select(chosen), eps_0) - n[chosen]

        ends = (occupation - n for occupation in problems.kept)
        return falling_roots(surplus, self.levels, ends, self.tolerance)

    def reference_poles(self, below, above, n):
        """As they are, in all one, whatever the level was found for."""
        total = (below.sum(-1) + above.sum(-1))[:, None]
        below, above = below / total, above / total
        return below, above, np.clip(below.sum(-1), self.N_MIN, 1 - self.N_MIN)


class ImaginaryAxis(SecondOrderTheory):
    """Occupations by quadrature on the imaginary axis, a few secant steps, levels from a table."""

    N_EVALUATIONS = 4  # of the diagram, the last at the occupation found
    N_MIN = 1e-3  # occupations lie between this and one minus this
    SLOPES = (-6.0, -1.0)  # in which a secant's is believed
    OFFSETS = np.geomspace(1e-4, 6.0, 32)  # D, tabulated reference levels, about that at w = 0
    MATSUBARA = np.geomspace(1e-4, 1e3, 40)  # D, quadrature points
    offsets: Array  # (n_level,), in D
    y: Array  # (n_y,), in D
    quadrature: Array  # (n_y,)
    continuation_real: Array  # (n_w, n_y), in 1/D
    continuation_imag: Array

    def __init__(self, grid: FrequencyGrid, diagram):
        super().__init__(grid, diagram)
        self.constant("offsets", np.concatenate([-self.OFFSETS[::-1], [0.0], self.OFFSETS]))
        y = self.MATSUBARA
        step = math.log(y[1] / y[0])  # trapezoidal in ln y, constant below the first point
        quadrature = y * step
        quadrature[0] += y[0] * (1.0 - 0.5 * step)
        quadrature[-1] *= 0.5
        self.constant("quadrature", quadrature / math.pi)
        self.constant("y", y)
        continuation = 1.0 / (1j * y - grid.omega[:, None])  # of poles on the points
        self.constant("continuation_real", continuation.real)
        self.constant("continuation_imag", continuation.imag)

    def prepared(self, problems: Problems) -> Problems:
        """Keeps Delta(iy), and the occupations at the tabulated levels."""
        delta = self.continued(problems.bath * self.weights)
        levels = self.offsets - delta[:, :1].real
        table = self.occupation((1j * self.y - delta)[:, None, :], levels)
        return problems._replace(kept=(delta, levels, table))

    def consistent_occupation(self, problems: Problems):
        xp, low, high = self.xp, self.N_MIN, 1.0 - self.N_MIN
        U, eps_d, green = problems.U, problems.eps_d, 1j * self.y - problems.kept[0]
        lower, upper = self.occupation(green, eps_d), self.occupation(green, eps_d + U)
        n = xp.clip(lower / (1.0 + lower - upper), low, high)  # of Hubbard bands
        slope, last, last_surplus = xp.full_like(n, -2.0), n, None
        for _ in range(self.N_EVALUATIONS - 1):
            eps_0 = self.reference_level(problems, n)
            weights, n_0 = self.undressed(problems, n, eps_0)
            S2 = self.continued(weights)
            S2 = S2 / (1.0 - dressing(problems, eps_0, n, n_0) * S2)
            self_energy = (U * n)[:, None] + (U**2)[:, None] * S2
            surplus = self.occupation(green - self_energy, eps_d) - n
            if last_surplus is not None:
                moved = abs(n - last) > 1e-6
                change = xp.where(moved, n - last, 1.0)
                slope = xp.where(moved, (surplus - last_surplus) / change, slope)
            last, last_surplus = n, surplus
            n = xp.clip(n - surplus / xp.clip(slope, *self.SLOPES), low, high)
        return n

    def reference_level(self, problems: Problems, n):
        """Linear between the table's entries."""
        xp, (_, levels, table) = self.xp, problems.kept
        right = xp.clip((table > n[:, None]).sum(-1), 1, table.shape[-1] - 1)[:, None]
        (x0, x1), (n0, n1) = (
            (self.take(values, right - 1), self.take(values, right)) for values in (levels, table)
        )
        share = xp.clip((n0 - n[:, None]) / xp.clip(n0 - n1, 1e-12, None), 0.0, 1.0)
        return (x0 + share * (x1 - x0))[:, 0]

    def reference_poles(self, below, above, n):
        """Scaled to the occupation that the table meets only nearly."""
        return self._scaled(below, n), self._scaled(above, 1.0 - n), n

    def _scaled(self, weights, total):
        """(B, k) weights with the given (B,) sums."""
        return weights * (total / self.xp.clip(weights.sum(-1), 1e-30, None))[:, None]

    def continued(self, weights):
        """(B, n_w) weights of poles on the points -> (B, n_y) their function at ``i y``."""
        real, imag = weights @ self.continuation_real, weights @ self.continuation_imag
        return to_complex(real, imag, self.xp)

    def occupation(self, z, level):
        """``n = 1/2 + (1/pi) integral_0^inf Re G(iy) dy``, ``G = 1/(z - level)``."""
        real = z.real - level[..., None]
        return 0.5 + (real / (real**2 + z.imag**2)) @ self.quadrature

    def take(self, values, index):
        """(B, k), (B, 1) -> (B, 1) entries of each row."""
        return np.take_along_axis(values, index, -1)


def falling_roots(
    function: Callable,
    interval: Sequence[float] | np.ndarray,
    at_ends: Iterable[np.ndarray],
    tolerance: float,
) -> np.ndarray:
    """(n,) zeros of falling functions; an end where it does not change sign, the nearer to one.

    `function` takes values and the indices of the functions meant; `at_ends` (n,) twice is what it
    gives at the ends of the interval. The caller looks at the fit.
    """
    at_low, at_high = at_ends
    roots = np.where(at_low <= 0, *interval)
    inside = np.flatnonzero((at_low > 0) & (at_high < 0))
    if inside.size:
        accuracy = {"xatol": tolerance, "xrtol": 0.0}
        roots[inside] = find_root(function, interval, args=(inside,), tolerances=accuracy).x
    return roots

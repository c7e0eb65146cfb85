"""Quasiparticle weight Z of a metal: several estimates of one slope, a value and an error.

``Z = 1 / (1 - d Re Sigma/dw)`` at w = 0. A pointwise slope of Re Sigma is the noise of ripples, and
samples of Im Sigma alias where its pole is sharper than a cell. Estimated are

* ``matsubara``: ``-Im Sigma(iy)/y``, extrapolated to y = 0 by the parabola through `MATSUBARA`.
  ``Sigma(iy) = iy - eps_d - Delta - 1/G`` by exact integrals of the curves of A and of the
  hybridization, which average over the ripples;
* ``window``: straight line through Re Sigma over ``|w| <= 0.02 D``, least squares as an integral;
* ``slope``: the same over ``|w| <= 0.15 Z``, the Fermi liquid's own scale: next to the Mott
  transition `window` is too wide.

The value is their median, the error the largest distance of one from it. On a spectrum of finite
resolution (a network's) ``Sigma(iy)`` sees the smearing as scattering, Z(i 0.01) = .66 where Z is
.72; there a line over ``|w| <= 0.01 D`` takes the place of ``matsubara``.

Measured with ``ras_fine`` (benchmarks/quasiparticle.py), half-filled Bethe lattice, beside an
independent NRG (docs/physics, observables). Z is zero in an insulator, where Re Sigma falls through
a pole: no Fermi liquid, no slope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dmftnet.physics.analysis.observables import gap
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution

MATSUBARA = (0.005, 0.01, 0.02)  # in D
WINDOW, NARROW = 0.02, 0.01  # in D
SHARE = 0.15  # of Z, the width of the window of `slope`
STEEPEST = 0.05  # a larger rise of Re Sigma at w = 0 is no noise, it breaks causality
NORM_TOLERANCE = 0.02  # of A on the grid; G(iy) feels what is missing
POLE = 0.25  # in D; below this no self-energy at low energy is a pole's


@dataclass(frozen=True)
class QuasiparticleWeight:
    """Z of one orbital.

    Parameters
    ----------
    value, error : float
        NaN where no estimate is physical.
    estimates : mapping of name to float
        Those that entered.
    note : str
        One line about estimates that are unphysical; empty if none is.
    """

    value: float
    error: float
    estimates: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


INSULATOR = QuasiparticleWeight(0.0, 0.0)


def quasiparticle_weights(solution: ImpuritySolution) -> list[QuasiparticleWeight]:
    """Z of each orbital of a solution."""
    problem, spectrum, sigma = solution.problem, solution.spectrum(), solution.self_energy()
    return [
        quasiparticle_weight(problem, spectrum, sigma, solution.resolution is not None, orbital)
        for orbital in range(problem.n_orb)
    ]


def quasiparticle_weight(
    problem: ImpurityProblem,
    spectrum: np.ndarray,
    sigma: np.ndarray,
    smeared: bool = False,
    orbital: int = 0,
) -> QuasiparticleWeight:
    """Z of one orbital from its curves; see the module.

    Parameters
    ----------
    spectrum : (n_orb, n_w) float64, in 1/D
    sigma : (n_orb, n_w) complex128, in D
        Retarded self-energy.
    smeared : bool
        Whether the spectrum has a finite resolution.
    """
    grid, own = problem.grid, sigma[orbital]
    if gap(grid, spectrum[orbital]) > 0 or has_pole_at_zero(grid, own):
        return INSULATOR
    slopes = {"window": _window_slope(grid, own, WINDOW), "slope": _fermi_liquid_slope(grid, own)}
    notes, norm = [], float(grid.integrate(spectrum[orbital]))
    if smeared:
        slopes["narrow"] = _window_slope(grid, own, NARROW)
    elif abs(norm - 1) <= NORM_TOLERANCE:
        slopes["matsubara"] = _matsubara_slope(problem, spectrum, orbital)
    else:
        notes.append(f"the norm of A on the grid is {norm:.3f}, so that Z takes no part of G(iy)")
    good = {name: 1 / (1 - slope) for name, slope in slopes.items() if slope <= STEEPEST}
    bad = {name: slope for name, slope in slopes.items() if name not in good}
    if bad:
        found = ", ".join(f"{name} {slope:.2g}" for name, slope in sorted(bad.items()))
        notes.append(f"Re Sigma rises through w = 0 ({found}), which breaks causality")
    note = "; ".join(notes)
    if not good:
        return QuasiparticleWeight(np.nan, np.nan, {}, f"no value for Z: {note}")
    value = float(np.median(list(good.values())))
    error = max(abs(estimate - value) for estimate in good.values())
    return QuasiparticleWeight(value, float(error), good, note)


def matsubara_self_energy(
    problem: ImpurityProblem, spectrum: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """``Sigma(iy) = iy - eps_d - Delta(iy) - 1/G(iy)`` by exact integrals of the curves.

    Parameters
    ----------
    spectrum : (n_orb, n_w) float64, in 1/D
    y : (n,) float64, in D
        Positive.

    Returns
    -------
    (n_orb, n) complex128, in D
    """
    z = 1j * np.asarray(y, dtype=np.float64)
    G = problem.grid.cauchy(spectrum, z)
    delta = problem.grid.cauchy(problem.spectrum, z)
    return z - problem.eps_d[:, None] - delta - 1 / G


def matsubara_weight(problem: ImpurityProblem, spectrum: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``Z(iy) = 1 / (1 - Im Sigma(iy)/y)``; (n_orb, n_w), (n,) -> (n_orb, n) float64."""
    return 1 / (1 - matsubara_self_energy(problem, spectrum, y).imag / np.asarray(y))


def has_pole_at_zero(grid: FrequencyGrid, sigma: np.ndarray) -> bool:
    """Whether an (n_w,) Sigma has a pole at low energy, the sign of a Mott insulator.

    In a Fermi liquid ``|Sigma - Sigma(0)|`` grows away from zero; at a pole it grows towards it, to
    values far above `POLE` (a pole of weight w^2 gives ``w^2 / |omega|``). The self-energy
    of a weakly interacting metal is flat, up to noise.
    """
    magnitude = np.abs(sigma - np.median(sigma.real))
    w = np.abs(grid.omega)
    inner = magnitude[w <= 2 * w.min()].max()
    outer = magnitude[(w > 0.2) & (w < 0.4)].mean()
    return bool(inner > max(outer, POLE))


def _matsubara_slope(problem: ImpurityProblem, spectrum: np.ndarray, orbital: int) -> float:
    """``Im Sigma(iy)/y`` at y -> 0, which is d Re Sigma/dw there."""
    y = np.array(MATSUBARA)
    ratio = matsubara_self_energy(problem, spectrum, y)[orbital].imag / y
    return float(np.polynomial.Polynomial.fit(y, ratio, y.size - 1)(0.0))


def _window_slope(grid: FrequencyGrid, sigma: np.ndarray, width: float) -> float:
    """Slope of the straight line through Re Sigma over ``|w| <= width``."""
    w = np.abs(grid.omega)
    near = w <= max(width, 2.5 * w.min())
    root = np.sqrt(grid.weights[near])  # least squares of an integral, not of a sum over points
    return float(np.polyfit(grid.omega[near], sigma.real[near], 1, w=root)[0])


def _fermi_liquid_slope(grid: FrequencyGrid, sigma: np.ndarray) -> float:
    """Slope over ``|w| <= SHARE Z``, from the narrowest window on: a wide one may hold poles."""
    w, Z = np.abs(grid.omega), 0.0
    for _ in range(20):
        near = w <= max(SHARE * Z, 2.5 * w.min())
        slope = np.polyfit(grid.omega[near], sigma[near].real, 1)[0]
        Z = 1 / (1 - min(slope, 0.0))
    return float(slope)

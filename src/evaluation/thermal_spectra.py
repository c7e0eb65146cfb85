"""Spectra that answers on the imaginary axis stand for, beside those at T = 0.

The nearest positive measure of Sigma, each node as broad as the nodes' spacing
(`dmftnet.physics.analysis.self_energy_measure`), and the Bethe lattice's G of it. A fit, and no
continuation that is certain: it shows whether there is a gap and where weight must be, in features
as broad as the imaginary axis resolves them. On request also minimal poles of G
(`dmftnet.physics.dmft.fitted`), another fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.data.keys import KINDS, STARTS
from dmftnet.errors import ConvergenceError
from dmftnet.evaluation.thermal_closure import ThermalClosure
from dmftnet.physics.analysis.minimal_poles import MinimalPoleFit
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure
from dmftnet.physics.dmft.fitted import FittedSpectrum, fitted_spectrum
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import ImpuritySolution
from dmftnet.physics.lattices.bethe import Bethe


@dataclass(frozen=True, eq=False)
class MeasuredSpectrum:
    """Of one half-filled loop.

    Parameters
    ----------
    U, beta : float, in D and 1/D
    start : str
    spectrum : (n_w,) float64, in 1/D
    ground : (n_w,) float64
        That of the exact solver at T = 0 from the same start.
    fitted : FittedSpectrum, optional
        Minimal poles; None where none are asked for, or found.
    """

    U: float
    beta: float
    start: str
    spectrum: np.ndarray
    ground: np.ndarray
    fitted: FittedSpectrum | None = None


def measured_spectra(
    closures: Sequence[ThermalClosure],
    ground: ReferenceStore,
    grid: FrequencyGrid,
    beta: float,
    start: str = "metal",
    poles: MinimalPoleFit | None = None,
) -> list[MeasuredSpectrum]:
    """Of converged half-filled loops whose like at T = 0 is on file, in the order of U."""
    kinds, starts = np.array(KINDS)[ground["kind"]], np.array(STARTS)[ground["start"]]
    known = (kinds == "point") & (starts == start) & ground["converged"].astype(bool)
    known &= np.array([str(name) == "bethe" for name in ground["lattice"]])
    known &= np.abs(ground["eps_d"] + ground["U"] / 2) < 1e-9
    found = []
    for c in sorted(closures, key=lambda c: c.reference.U):
        r = c.reference
        if (r.beta, r.start, r.half_filled, c.converged) != (beta, start, True, True):
            continue
        for row in np.flatnonzero(known & np.isclose(ground["U"], r.U))[:1]:
            own = spectrum_of(c.solution, grid)
            exact = ground.grid.interpolate(ground["spectrum"][row].astype(float), grid.omega)
            fitted = poles_of(c.solution, grid, poles) if poles else None
            found.append(MeasuredSpectrum(r.U, beta, start, own, exact, fitted))
    return found


def poles_of(
    solution: ImpuritySolution, grid: FrequencyGrid, poles: MinimalPoleFit
) -> FittedSpectrum | None:
    """Minimal poles of a solution; None where none are found."""
    try:
        return fitted_spectrum(poles, solution, grid)
    except ConvergenceError:
        return None


def spectrum_of(solution: ImpuritySolution, grid: FrequencyGrid) -> np.ndarray:
    """(n_w,) A(w) of the Bethe lattice, in 1/D, of one orbital on the imaginary axis."""
    problem, axis = solution.problem, solution.problem.axis
    U, beta, n = problem.U, problem.beta, solution.filling / 2
    measure = SelfEnergyMeasure(axis.beta * axis.w_max, axis.accuracy)
    scale = U**2 * n * (1 - n)
    sigma, G = solution.matsubara_self_energy(axis)[0], solution.matsubara_greens(axis)[0]
    weights = measure.fit((sigma - U * n) / scale / beta, np.abs(G) ** 2 * scale)
    real = U * n + scale * measure.smeared(weights, grid.omega, beta)
    return -Bethe().local_greens(grid, problem.eps_d, real[None])[0].imag / np.pi

"""How good a spectrum is that minimal poles make of G(iw), where the spectrum is known.

    OMP_NUM_THREADS=1 python benchmarks/poles.py      needs pip install 'dmftnet[poles]'

At beta = 50, G(iw) to all digits of spectra that are known: the semicircle, and converged loops of
the exact solver at T = 0 (data/bethe_reference_test.h5), as if they were spectra at beta = 50.
Beside it the positive measure of Sigma (`dmftnet.evaluation.thermal_spectra`). No setting was
chosen on this file.
"""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.data.keys import KINDS
from dmftnet.errors import ConvergenceError
from dmftnet.evaluation.thermal_spectra import spectrum_of
from dmftnet.physics.analysis.minimal_poles import MinimalPoleFit
from dmftnet.physics.dmft.fitted import FittedSpectrum, fitted_spectrum
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.solutions import MatsubaraSolution
from dmftnet.physics.lattices.bethe import semicircle

BETA, TOLERANCES = 50.0, (1e-4, 1e-6, 1e-8)
GRID, AXIS = FrequencyGrid.geometric(), ImaginaryAxis(BETA)
PHASES = {"metal": (0.05, np.inf), "insulator": (-np.inf, 0.05)}
"""A(0), in 1/D."""


def solution_of(U: float, eps_d: float, grid: FrequencyGrid, A: np.ndarray) -> MatsubaraSolution:
    """A loop on the Bethe lattice whose spectrum is A."""
    G = grid.cauchy(A[None], 1j * AXIS.omega_n)
    bath = MatsubaraHybridization(AXIS, 0.25 * G)
    problem = ImpurityProblem([eps_d], Interaction(U), bath, BETA)
    return MatsubaraSolution(problem, AXIS, G, double_occupancy=np.nan)


def distance(A: np.ndarray, exact: np.ndarray) -> float:
    """Integral of ``|A - exact|``."""
    return float(GRID.integrate(np.abs(A - exact)))


def main() -> None:
    console = Console(width=150)
    band = semicircle(GRID, 0.0, 1.0, 1.0)
    problems = {"semicircle": [(solution_of(0.0, 0.0, GRID, band), band)]}
    store = ReferenceStore.open("data/bethe_reference_test.h5")
    points = (store["kind"] == KINDS.index("point")) & store["converged"].astype(bool)
    points &= np.array([str(name) == "bethe" for name in store["lattice"]])
    for phase, (low, high) in PHASES.items():
        rows = np.flatnonzero(points & (store["A0"] > low) & (store["A0"] <= high))
        problems[phase] = []
        for row in rows:
            A = store["spectrum"][row].astype(float)
            A /= store.grid.integrate(A)
            known = solution_of(float(store["U"][row]), float(store["eps_d"][row]), store.grid, A)
            problems[phase].append((known, store.grid.interpolate(A, GRID.omega)))
    columns = ("spectra", "number", "fit", "L1: median", "90 %", "worst", "residual: median",
               "worst", "negative part: median", "worst", "none found", "ms")  # fmt: skip
    table = Table(*columns, title=f"beta = {BETA:g}: L1 is the integral of |A - A_exact|")
    for name, own in problems.items():
        if name != "semicircle":
            errors = [distance(spectrum_of(solution, GRID), exact) for solution, exact in own]
            cells = (f"{q:.3f}" for q in np.quantile(errors, (0.5, 0.9, 1)))
            table.add_row(name, str(len(own)), "measure of Sigma", *cells, *[""] * 6)
        for tolerance in TOLERANCES:
            fit, began = MinimalPoleFit(tolerance=tolerance), time.process_time()
            fits: list[tuple[FittedSpectrum, np.ndarray]] = []
            for solution, exact in own:
                try:
                    fits.append((fitted_spectrum(fit, solution, GRID), exact))
                except ConvergenceError:
                    continue
            ms = 1e3 * (time.process_time() - began) / len(own)
            errors = [distance(found.spectrum[0], exact) for found, exact in fits]
            cells = [f"{q:.3f}" for q in np.quantile(errors, (0.5, 0.9, 1))]
            for values in ([f.residual for f, _ in fits], [f.negative for f, _ in fits]):
                cells += [f"{q:.0e}" for q in np.quantile(values, (0.5, 1))]
            missing = str(len(own) - len(fits))
            label = f"poles, tolerance {tolerance:g}"
            table.add_row(name, str(len(own)), label, *cells, missing, f"{ms:.0f}")
    console.print(table)


if __name__ == "__main__":
    main()

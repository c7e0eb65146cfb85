"""How many steps of sharpening a network's loop needs: that of a network without error.

    OMP_NUM_THREADS=1 python benchmarks/sharpening.py            U = 2.9, ten minutes
    OMP_NUM_THREADS=1 python benchmarks/sharpening.py 2.8

The exact solver answers on the networks' grid and at their resolution, as a perfect network would,
and `dmftnet.physics.analysis.resolution.sharpened` works on its answers. Loops start from the exact
metal. What remains is the loss that no training can repair: this bounds what `solver.sharpening`
can give.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.data.labels import network_spectrum
from dmftnet.evaluation.exact_loops import load_references
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.analysis.quasiparticle import quasiparticle_weights
from dmftnet.physics.analysis.resolution import sharpened
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.impurity.solutions import CurveSolution
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

RESOLUTION = (0.006, 0.06)
NETWORK_GRID = FrequencyGrid.geometric(3e-3, 7.0, 224)
FINE = FrequencyGrid.geometric(1e-3, 8.0, 1200)
STEPS = [0, 1, 2, 3, 4]


@dataclass(frozen=True)
class PerfectNetwork(Solver):
    """The exact spectrum of each problem as a network without error would give it."""

    exact: RasSolver
    steps: int
    grid: FrequencyGrid = NETWORK_GRID
    name: str = "perfect network"

    def solve(self, problem: ImpurityProblem) -> CurveSolution:
        curve = self.grid.interpolate(problem.spectrum[0], FINE.omega)
        solution = self.exact.solve(
            problem.replace(hybridization=SpectralHybridization(FINE, curve))
        )
        spectrum = network_spectrum(FINE, self.grid, RESOLUTION, solution.spectrum()[0])
        spectrum = sharpened(self.grid, spectrum, RESOLUTION[0], self.steps)
        return CurveSolution(
            problem, spectrum[None] / self.grid.integrate(spectrum), {}, resolution=RESOLUTION
        )


def main(U: float = 2.9) -> None:
    references = load_references("data/bethe_reference.h5", NETWORK_GRID, RESOLUTION)
    metals = {r.U: r for r in references if r.eps_d == -r.U / 2 and r.start == "metal"}
    if U not in metals:
        known = ", ".join(f"{value:g}" for value in sorted(metals))
        sys.exit(f"U = {U:g}: no exact metal to start from; there are {known}")
    metal = metals[U]
    fine = Intervals(stretch=5.5)
    exact = RasSolver(depths=("all", 12, 6, 1), bath=fine, n_lanczos=80)  # ras_fine
    problem = ImpurityProblem.on_grid(U, -U / 2, NETWORK_GRID, 0.25 * metal.spectrum)
    table = Table("steps", "iterations", "A(0) pi D/2", "Z", "KL", title=f"metal at U = {U:g}")
    table.add_row(
        "exact", "", f"{metal.A0 * np.pi / 2:.3f}", f"{metal.Z:.4f} +- {metal.Z_error:.4f}", ""
    )
    console = Console()
    for steps in STEPS:
        began = time.monotonic()
        loop = DMFTLoop(PerfectNetwork(exact, steps), Bethe(), max_iterations=40)
        result = loop.run_one(problem)
        spectrum = result.solution.spectrum()[0]
        Z = quasiparticle_weights(result.solution)[0]
        table.add_row(
            str(steps),
            f"{result.iterations}" + ("" if result.converged else ", not converged"),
            f"{NETWORK_GRID.at_zero(spectrum) * np.pi / 2:.3f}",
            f"{Z.value:.4f} +- {Z.error:.4f}",
            f"{kl_divergence(NETWORK_GRID, metal.spectrum, spectrum):.1e}",
        )
        console.print(f"{steps} steps: {result.reason}, {time.monotonic() - began:.0f} s")
    console.print(table)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: python benchmarks/sharpening.py [U]")
    main(*map(float, sys.argv[1:]))

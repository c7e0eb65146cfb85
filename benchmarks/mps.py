"""Accuracy and cost of the tensor-network solver, next to the exact ones in the same run.

    OMP_NUM_THREADS=1 python benchmarks/mps.py [small] [large] [angles] [dmft] [reconstruction]

All seconds are CPU seconds of one core.

* small: G on contours against diagonalisation (3 to 5 bath sites) and, at U = 0, against the exact
  one-particle evolution up to t = 20;
* large: 59 bath sites, metal at U = 2 (semicircle) and the DMFT insulator at U = 4, against `ras`:
  ground-state energy, G(t), KL of the spectrum by exponential fit, linear prediction and plain
  transform;
* angles: seconds, bond dimension and error against angle, t and bath size;
* dmft: three iterations from the solution of `ras` at U = 2, their KL from it;
* reconstruction: error against order and angle on both contours, table and reconstruction.png.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.analysis.spectral_analysis import METHODS, SpectralAnalysis
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.dmft.iterations import Iteration
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.time_contour import SHAPES, TimeContour, reconstruct, signal_of_poles
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ed import SmallImpurity
from dmftnet.physics.solvers.krylov.ras import RasSolver
from dmftnet.physics.solvers.tensor.impurity import PreparedImpurity, TimeSignals
from dmftnet.physics.solvers.tensor.mps import MpsSolver

FINE = {
    "truncation": 1e-17, "ground_truncation": 1e-18, "krylov_tolerance": 1e-8,
    "energy_tolerance": 1e-13,  # the state is as far off as its root
}  # fmt: skip
SMALL = [  # U, eps_d, bath energies, couplings
    (4.0, -2.0, [-0.6, 0.0, 0.6], [0.3, 0.2, 0.3]),
    (4.0, -1.0, [-0.7, -0.05, 0.6], [0.3, 0.2, 0.35]),
    (4.0, -1.2, [-0.8, -0.3, 0.02, 0.4, 0.9], [0.25, 0.2, 0.1, 0.2, 0.25]),
]


def semicircle_problem(U: float) -> ImpurityProblem:
    """The half-filled impurity in the non-interacting Bethe lattice's hybridization."""
    grid = FrequencyGrid.geometric(1e-3, 8.0, 800)
    return ImpurityProblem.on_grid(U, -U / 2, grid, Bethe().bare_hybridization(grid))


def greater(poles, z: np.ndarray) -> np.ndarray:
    """(n_t, 2, 2) addition part of known poles."""
    up = poles.energies > 0
    a = poles.amplitudes[up]
    return signal_of_poles(poles.energies[up], a[:, :, None] * a[:, None, :], z)[0]


def prepare(solver: MpsSolver, bath: StarBath, eps_d: float, U: float, symmetric: bool):
    """Ground state, and the seconds it took."""
    start = time.process_time()
    prepared = PreparedImpurity.of(solver, [bath], eps_d, U, 0.0, symmetric)
    return prepared, time.process_time() - start


def small_table() -> Table:
    """Largest errors against diagonalisation: of G, and of every correlator of d and q over U^2."""
    columns = ("bath", "U", "eps_d", "contour", "t", "error of G", "of all / U^2", "s")
    table = Table(*columns, title="small baths")
    contours = [("constant", 0.1, 0), ("decreasing", 0.2, 2), ("constant", 0.0, 0)]
    for U, eps_d, energies, couplings in SMALL:
        bath = StarBath(np.array(energies), np.array(couplings))
        atom = SmallImpurity(bath, eps_d, U)
        ground, states = atom.ground_states()
        poles = atom.poles(ground, states, 200)
        for shape, angle, order in contours:
            solver = MpsSolver(
                contour=shape, angle=angle, order=order, squared=False, t_max=10.0, **FINE
            )
            prepared, seconds = prepare(solver, bath, eps_d, U, False)
            start = time.process_time()
            signals = prepared.signals()
            seconds += time.process_time() - start
            exact = greater(poles, solver.time_contour.z(signals.t))
            error = np.abs(signals.addition[0] - exact).max(axis=0)
            table.add_row(
                str(bath.n_bath), f"{U:g}", f"{eps_d:g}", f"{shape}, {angle:g}", "10",
                f"{error[0, 0]:.1e}", f"{error.max() / U**2:.1e}", f"{seconds:.0f}",
            )  # fmt: skip
    problem = semicircle_problem(0.0)
    semicircle = Intervals(59).star(problem.grid, problem.spectrum[0])
    for bath in (StarBath(*map(np.array, SMALL[2][2:])), semicircle):
        solver = MpsSolver(angle=0.0, squared=False, **FINE)
        prepared, seconds = prepare(solver, bath, 0.3, 0.0, False)
        start = time.process_time()
        signals = prepared.signals()
        seconds += time.process_time() - start
        levels, vectors = np.linalg.eigh(bath.one_body(0.3))
        amplitudes = vectors[0, levels > 0] ** 2
        exact = amplitudes @ np.exp(-1j * np.outer(levels[levels > 0], signals.t))
        error = np.abs(signals.addition[0, :, 0, 0] - exact).max()
        row = ("0", "0.3", "constant, 0", "20", f"{error:.1e}", "", f"{seconds:.0f}")
        table.add_row(str(bath.n_bath), *row)
    return table


def converged(U: float, start: str, **settings):
    """A DMFT solution of `ras` on the Bethe lattice."""
    grid = FrequencyGrid.geometric(1e-3, 8.0, 800)
    problem = starting_problem(grid, Bethe(), U=U, start=start)
    loop = DMFTLoop(RasSolver(**settings), Bethe(), tolerance=1e-4, max_iterations=30)
    return loop.run_one(problem)


def large_tables() -> list[Table]:
    """59 sites against `ras`."""
    time_table = Table("U", "E - E(ras)", "variance", "G(t <= 10)", "bond", "s mps", "s ras")
    methods = Table("U", *METHODS, title="KL of A(w) at angle 0 against ras, signals to t = 20")
    insulator = converged(4.0, "insulator", depths=("all", "all", 3)).problem
    for problem in (semicircle_problem(2.0), insulator):
        U = problem.U
        ras = RasSolver(depths=("all", "all", 6, 3), ground_state_tolerance=1e-7, n_lanczos=200)
        start = time.process_time()
        exact = ras.solve(problem)
        ras_seconds = time.process_time() - start
        solver = MpsSolver()
        bath = solver.bath.star(problem.grid, problem.spectrum[0])
        prepared, seconds = prepare(solver, bath, -U / 2, U, True)
        start = time.process_time()
        signals = prepared.signals()
        seconds += time.process_time() - start
        early = signals.t <= 10
        reference = greater(exact.greens[0], solver.time_contour.z(signals.t[early]))
        error = np.abs(signals.addition[0, early] - reference)[:, 0, 0].max()
        time_table.add_row(
            f"{U:g}", f"{prepared.ground.energy - exact.diagnostics['ground_energy']:.1e}",
            f"{prepared.ground.variance(prepared.model):.1e}", f"{error:.1e}",
            str(signals.bond_dimension), f"{seconds:.0f}", f"{ras_seconds:.1f}",
        )  # fmt: skip
        real = replace(prepared, solver=MpsSolver(angle=0.0)).signals()
        row = []
        for method in METHODS:
            used = signals if method == "esprit" else real
            row.append(f"{method_error(used, method, prepared, problem, exact):.1e}")
        methods.add_row(f"{U:g}", *row)
    return [time_table, methods]


def dmft_table() -> Table:
    """Three iterations with tensor networks from a converged solution of `ras`."""
    table = Table("iteration", "KL from ras", "s", title="U = 2")
    result = converged(2.0, "metal")
    reference, began = result.solution.spectrum(), [time.process_time()]

    def record(step: Iteration) -> None:
        began.append(time.process_time())
        kl = kl_divergence(step.problem.grid, reference, step.solution.spectrum())[0]
        table.add_row(str(step.number), f"{kl:.1e}", f"{began[-1] - began[-2]:.0f}")

    DMFTLoop(MpsSolver(), Bethe(), max_iterations=3, on_iteration=record).run_one(result.problem)
    return table


def method_error(
    signals: TimeSignals, method: str, prepared: PreparedImpurity, problem, exact
) -> float:
    """KL of the spectrum that a way to frequencies gives."""
    dt = signals.t[1] - signals.t[0]
    sum_rule = (signals.addition[0, 0] + signals.removal[0, 0]).real
    poles, _ = SpectralAnalysis(method).poles(
        signals.addition[0], signals.removal[0], dt, signals.contour.angle, sum_rule
    )
    filling, double_occupancy = prepared.occupations()
    solution = PoleSolution(
        problem, (poles,), filling, double_occupancy, prepared.solver.broadening
    )
    return float(kl_divergence(problem.grid, exact.spectrum(), solution.spectrum())[0])


def angle_table() -> Table:
    """Cost against angle, t and bath size, U = 2."""
    table = Table("bath", "t", "angle", "bond", "error of G", "s", "s ras")
    problem = semicircle_problem(2.0)
    for n_bath in (19, 39, 59):
        start = time.process_time()
        intervals = Intervals(n_bath)
        exact = RasSolver(bath=intervals).solve(problem)
        ras_seconds = time.process_time() - start
        bath = intervals.star(problem.grid, problem.spectrum[0])
        prepared, ground_seconds = prepare(MpsSolver(bath=intervals), bath, -1.0, 2.0, True)
        for t_max in (10.0, 20.0):
            for angle in (0.0, 0.1, 0.2):
                solver = MpsSolver(angle=angle, t_max=t_max, bath=intervals)
                start = time.process_time()
                signals = replace(prepared, solver=solver).signals()
                seconds = ground_seconds + time.process_time() - start
                reference = greater(exact.greens[0], solver.time_contour.z(signals.t))
                error = np.abs(signals.addition[0] - reference)[:, 0, 0].max()
                table.add_row(
                    str(n_bath), f"{t_max:g}", f"{angle:g}", str(signals.bond_dimension),
                    f"{error:.1e}", f"{seconds:.0f}", f"{ras_seconds:.1f}",
                )  # fmt: skip
    return table


def reconstruction_errors() -> dict[str, np.ndarray]:
    """(angle, order) largest error of G(t <= 20) at U = 2, from the poles of `ras`."""
    poles = RasSolver(bath=Intervals(39)).solve(semicircle_problem(2.0)).greens[0].G
    up = poles.energies > 0
    t = np.linspace(0, 20, 81)
    exact = signal_of_poles(poles.energies[up], poles.weights[up], t)[0]
    errors = {}
    for shape in SHAPES:
        rows = []
        for angle in RECONSTRUCTION_ANGLES:
            contour = TimeContour(20.0, angle, shape)
            z = contour.z(t)
            moments = signal_of_poles(poles.energies[up], poles.weights[up], z, 5)
            rows.append(
                [np.abs(reconstruct(contour, t, moments, n) - exact).max() for n in range(5)]
            )
        errors[shape] = np.array(rows)
    return errors


RECONSTRUCTION_ANGLES = (0.025, 0.05, 0.1, 0.2)


def reconstruction() -> Table:
    """Table and figure of the reconstruction's error."""
    import matplotlib.pyplot as plt

    table = Table("contour", "angle", *(f"order {n}" for n in range(5)))
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
    for axis, (shape, errors) in zip(axes, reconstruction_errors().items(), strict=True):
        for n in range(5):
            axis.loglog(RECONSTRUCTION_ANGLES, errors[:, n], "o-", label=f"order {n}")
        axis.set(title=f"{shape} angle", xlabel="angle (rad)")
        axis.set_xticks(RECONSTRUCTION_ANGLES, [f"{angle:g}" for angle in RECONSTRUCTION_ANGLES])
        axis.minorticks_off()
        for angle, row in zip(RECONSTRUCTION_ANGLES, errors, strict=True):
            table.add_row(shape, f"{angle:g}", *(f"{error:.1e}" for error in row))
    axes[0].set_ylabel("largest error of G(t), t <= 20")
    axes[0].legend(loc="lower right")
    figure.savefig("reconstruction.png", dpi=150)
    return table


def main() -> None:
    console = Console()
    wanted = sys.argv[1:] or ["small", "large", "angles", "dmft", "reconstruction"]
    if "small" in wanted:
        console.print(small_table())
    if "large" in wanted:
        for table in large_tables():
            console.print(table)
    if "angles" in wanted:
        console.print(angle_table())
    if "dmft" in wanted:
        console.print(dmft_table())
    if "reconstruction" in wanted:
        console.print(reconstruction())


if __name__ == "__main__":
    main()

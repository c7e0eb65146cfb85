"""Whether the error bars of quantum Monte Carlo are right, what they cost, and what loops end with.

    OMP_NUM_THREADS=1 python benchmarks/ctseg.py [runs] [cost] [loops] [floors]   default: all

* runs: 100 seeds on discrete baths, of a metal and with a gap, against exact diagonalisation:
  chi-squared over tau with each run's own covariance, errors against the scatter of the runs;
* cost: seconds of one core for a largest error of G(tau) of 2e-4, and the autocorrelation time;
* loops: Bethe lattice against the same method by another code, with three times the last solve's
  errors;
* floors: how much of a floor under Delta(tau) a bath with a gap wants.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import f, kstest

from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.ctseg import floor
from dmftnet.physics.solvers.ctseg.estimates import covariance, errors
from dmftnet.physics.solvers.ctseg.solver import CtsegSolver
from dmftnet.physics.solvers.krylov.ed import EdSolver

RUNS, TARGET = 100, 2e-4
BATH = PoleHybridization([-0.7, -0.1, 0.3, 0.8], [[0.25], [0.2], [0.25], [0.3]])
GAP = PoleHybridization([-1.675, -0.718, 0.718, 1.675], [[0.309], [0.169], [0.169], [0.309]])
"""Fitted to the insulator at U = 3, beta = 50."""
# bath, beta, U, eps_d, sweeps of each of four chains
PROBLEMS = [
    (BATH, 20.0, 2.0, -0.7, 3200), (BATH, 20.0, 4.0, -2.2, 3200), (BATH, 20.0, 4.0, -2.2, 12_800),
    (BATH, 50.0, 2.0, -0.5, 3200), (GAP, 50.0, 3.0, -1.3, 6400),
]  # fmt: skip
COSTS = [
    (10.0, 2.0, -1.0), (20.0, 2.0, -1.0), (50.0, 1.0, -0.5), (50.0, 2.0, -1.0), (50.0, 2.0, -0.5),
    (50.0, 4.0, -2.0), (100.0, 2.0, -1.0),
]  # fmt: skip
# beta, U, eps_d, start: double occupancy, Z(i w_0), -beta G(beta/2)/pi, errors in the last digit
LOOPS = {
    (20.0, 2.0, -1.0, "metal"): (".06572(3)", ".2289(2)", ".4143"),
    (50.0, 1.0, -0.5, "metal"): (".16605(1)", ".7248(4)", ".632"),
    (50.0, 2.0, -1.0, "metal"): (".08108(3)", ".2573(2)", ".5866"),
    (50.0, 2.0, -0.5, "metal"): (".04233(3)", ".3830(2)", ""),
    (50.0, 4.0, -2.0, "insulator"): (".00823(1)", ".00123", "0"),
}
FLOORS = (0.05, 0.15, 0.6)
"""Segments that the floor adds, in place of `dmftnet.physics.solvers.ctseg.floor.ADDED`."""
GRID = FrequencyGrid.geometric(1e-3, 8.0, 800)


def runs(console: Console) -> None:
    """Chi-squared of 100 seeds, over directions that all runs together choose."""
    columns = ("bath", "beta", "U", "eps_d", "sweeps", "directions", "chi^2 / its mean",
               "p uniform: KS", "p < .01", "scatter / error", "mean of z", "s a run")  # fmt: skip
    table = Table(*columns, title=f"{RUNS} seeds against exact diagonalisation")
    for bath, beta, U, eps, n_sweeps in PROBLEMS:
        problem = ImpurityProblem([eps], Interaction(U), bath, beta)
        axis = problem.axis
        tau = np.concatenate([[0.0], axis.tau, [beta]])
        exact = EdSolver().solve(problem).greens_tau(tau)[0]
        found, clock = [], time.process_time()
        for seed in range(RUNS):
            solver = CtsegSolver(n_chains=4, n_sweeps=n_sweeps, seed=seed, n_threads=1)
            found.append(solver.sample(problem)[1].greens_tau(tau))
        seconds = (time.process_time() - clock) / RUNS
        values, vectors = np.linalg.eigh(np.mean([covariance(g) for g in found], axis=0))
        rank = int((values > 1e-4 * values[-1]).sum())
        kept = vectors[:, -rank:]
        blocks = len(found[0]) - 1
        T2 = []
        for g in found:
            apart = (g[0] - exact) @ kept
            T2.append(apart @ np.linalg.solve(covariance(g @ kept), apart))
        F = np.array(T2) * (blocks - rank) / (rank * (blocks - 1))
        p = f.sf(F, rank, blocks - rank)
        z = np.array([(g[0] - exact) / errors(g) for g in found])
        scatter = np.sqrt((z**2).mean(axis=0))
        table.add_row(
            "gap" if bath is GAP else "metal", f"{beta:g}", f"{U:g}", f"{eps:g}",
            f"{4 * n_sweeps:,}", str(rank),
            f"{F.mean() / f.mean(rank, blocks - rank):.3f}", f"{kstest(p, 'uniform').pvalue:.3f}",
            str(int((p < 0.01).sum())), f"{scatter.min():.2f} to {scatter.max():.2f}",
            f"{np.abs(z.mean(axis=0)).max() * np.sqrt(RUNS):.1f} sigma", f"{seconds:.2f}",
        )  # fmt: skip
    console.print(table)


def cost(console: Console) -> None:
    """Seconds for the target, from a short run and the law of the root."""
    columns = ("beta", "U", "eps_d", "order", "autocorrelation", "sweeps", "largest error", "s",
               f"s for {TARGET:g}")  # fmt: skip
    table = Table(*columns, title="semicircle, one core")
    for beta, U, eps in COSTS:
        problem = ImpurityProblem.on_grid(U, eps, GRID, Bethe().bare_hybridization(GRID), beta=beta)
        clock = time.process_time()
        said = CtsegSolver(n_threads=1).solve(problem).diagnostics
        seconds = time.process_time() - clock
        table.add_row(
            f"{beta:g}", f"{U:g}", f"{eps:g}", f"{said['order']:.1f}",
            f"{said['autocorrelation']:.1f}", f"{said['sweeps']:,}",
            f"{said['largest_error']:.1e}", f"{seconds:.1f}",
            f"{seconds * (said['largest_error'] / TARGET) ** 2:.0f}",
        )  # fmt: skip
    console.print(table)


def loops(console: Console) -> None:
    """Closed loops; the errors are three times those of the last solve."""
    columns = ("beta", "U", "eps_d", "iterations", "n", "double occ.", "other", "Z(i w_0)", "other",
               "-b G(b/2)/pi", "other", "s")  # fmt: skip
    table = Table(*columns, title="Bethe lattice, 4 chains of 51,200 sweeps")
    for (beta, U, eps, start), (double, Z, A0) in LOOPS.items():
        problem = starting_problem(
            GRID, Bethe(), U, eps_d=eps, beta=beta, axis=ImaginaryAxis(beta), start=start
        )
        clock = time.process_time()
        result = DMFTLoop(CtsegSolver(n_sweeps=51_200), Bethe()).run_one(problem)
        s = summarize(result, "ctseg", "bethe", time.process_time() - clock)
        said = result.solution.diagnostics
        Z_error = s["Z_matsubara"] ** 2 * said["self_energy_error"][0].imag * beta / np.pi
        middle = np.interp(beta / 2, said["tau"], said["greens_tau_error"]) * beta / np.pi
        table.add_row(
            f"{beta:g}", f"{U:g}", f"{eps:g}", f"{s['iterations']}", f"{s['filling']:.5f}",
            f"{s['double_occupancy']:.5f} +- {3 * said['double_occupancy_error']:.5f}", double,
            f"{s['Z_matsubara']:.4f} +- {3 * Z_error:.4f}", Z,
            f"{s['A_beta_half']:.4f} +- {3 * middle:.4f}", A0, f"{s['seconds']:.0f}",
        )  # fmt: skip
        console.print(f"beta = {beta:g}, U = {U:g}, eps_d = {eps:g}: {result.reason}")
    console.print(table)


def floors(console: Console) -> None:
    """Z(i w_0) of twenty seeds in a bath with a gap, half filled, for floors of several heights."""
    columns = ("U", "segments added", "mean weight", "Z", "exact", "scatter", "scatter / error")
    table = Table(*columns, title="20 seeds, beta = 50, 4 chains of 6,400 sweeps")
    default = floor.ADDED
    try:
        for U in (2.5, 3.0):
            problem = ImpurityProblem([-U / 2], Interaction(U), GAP, 50.0)
            exact = weight_at_first(EdSolver().solve(problem).matsubara_self_energy()[0, 0])
            for floor.ADDED in FLOORS:
                found = [
                    CtsegSolver(n_chains=4, n_sweeps=6400, seed=seed, n_threads=1).solve(problem)
                    for seed in range(20)
                ]
                Z = [weight_at_first(s.matsubara_self_energy()[0, 0]) for s in found]
                said = [s.diagnostics for s in found]
                error = np.mean([
                    z**2 * d["self_energy_error"][0].imag * 50 / np.pi
                    for z, d in zip(Z, said, strict=True)
                ])  # fmt: skip
                table.add_row(
                    f"{U:g}", f"{floor.ADDED:g}",
                    f"{np.mean([d['mean_weight'] for d in said]):.2f}",
                    f"{np.mean(Z):.5f}", f"{exact:.5f}", f"{np.std(Z) / exact:.1%}",
                    f"{np.std(Z) / error:.2f}",
                )  # fmt: skip
    finally:
        floor.ADDED = default
    console.print(table)


def weight_at_first(sigma: complex) -> float:
    """``1 / (1 - Im Sigma(i w_0) / w_0)`` at beta = 50."""
    return float(1 / (1 - sigma.imag * 50 / np.pi))


PARTS = {"runs": runs, "cost": cost, "loops": loops, "floors": floors}


def main(*names: str) -> None:
    console = Console(width=150)
    for name in names or PARTS:
        PARTS[name](console)


if __name__ == "__main__":
    main(*sys.argv[1:])

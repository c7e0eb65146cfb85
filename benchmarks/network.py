"""Network solves beside exact ones, in the same run, as ratios.

    OMP_NUM_THREADS=1 python benchmarks/network.py                       the weights that ship
    OMP_NUM_THREADS=1 python benchmarks/network.py outputs/demo/train    a run folder
    OMP_NUM_THREADS=1 python benchmarks/network.py scan [folders]        eight loops at once, too

Each folder, and where it is an ensemble its first member alone, by torch and by ONNX Runtime where
that is installed: one solve, a doped one, a DMFT loop at U = 2, batches, after compilation. Times
are those of the process on its core, which other jobs of a shared machine do not lengthen. The
solvers take turns and the fastest of a few rounds counts; the exact solver, on its own grid, has
one or two. Then what a loop takes beside its solves, and where torch finds a GPU solves a second
against the batch size, arrays on the GPU. For training see benchmarks/network_training.py.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from dmftnet.errors import DmftnetWarning
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.solvers.backend import NEEDED, find_spec
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

U = 2.0
SCAN = [0.5, 1.0, 1.5, 2.0, 2.4, 3.0, 3.5, 4.0]  # of loops at once
BATCHES = (64, 1024)
ROUNDS = {"solve": 40, "loop": 4, "batch": 2}
FOLDERS = ("weights/spectrum", "weights/self_energy")
GPU_BATCHES = [1, 64, 1024, 4096, 16384, 65536]
GPU_AIM = "100,000 solves a second"


def seconds(call, repeats: int, clock=time.process_time) -> float:
    """Fastest of a few runs."""
    best = float("inf")
    for _ in range(repeats):
        start = clock()
        call()
        best = min(best, clock() - start)
    return best


def in_turn(calls: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Fastest of each, one round after the other."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            best[name] = min(best[name], seconds(call, 1))
    return best


def tasks(solver, grid: FrequencyGrid, with_scan: bool) -> dict[str, tuple[str, int, Callable]]:
    """What is timed of a solver: kind of rounds, how many solves' worth it is, the call."""
    lattice, loop = Bethe(), DMFTLoop(solver, Bethe())
    problem = starting_problem(grid, lattice, U=U)
    doped = starting_problem(grid, lattice, U=U, eps_d=-0.5)
    scan = [starting_problem(grid, lattice, U=value) for value in SCAN]
    found = {
        "one solve": ("solve", 1, lambda: solver.solve(problem).spectrum()),
        "doped": ("solve", 1, lambda: solver.solve(doped).spectrum()),
        f"loop, U = {U:g}": ("loop", 1, lambda: loop.run([problem])),
    }
    if with_scan:
        found[f"{len(SCAN)} loops"] = ("loop", 1, lambda: loop.run(scan))
    if not isinstance(solver, RasSolver):
        for size in BATCHES:
            call = partial(solver.solve_batch, [problem] * size)
            found[f"batch of {size:,}, each"] = ("batch", size, call)
    return found


def cpu_table(networks: dict[str, NetworkSolver], with_scan: bool) -> Table:
    """Networks against ras on one core: milliseconds, and how many times faster."""
    ras = RasSolver()
    exact = tasks(ras, FrequencyGrid.geometric(1e-3, 8.0, 800), with_scan)
    exact["one solve"][2]()  # compiles
    slow = {
        task: seconds(call, 2 if kind == "solve" else 1) for task, (kind, _, call) in exact.items()
    }
    each = {name: tasks(network, network.grid, with_scan) for name, network in networks.items()}
    columns = list(next(iter(each.values())))
    table = Table("one core, ms (ratio to ras)", *columns)
    table.add_row("ras", *(f"{1e3 * slow[task]:,.0f}" if task in slow else "" for task in columns))
    times: dict[str, list[str]] = {name: [] for name in networks}
    for task in columns:
        kind, size, _ = next(iter(each.values()))[task]
        calls = {name: own[task][2] for name, own in each.items()}
        for call in calls.values():
            call()
        for name, best in in_turn(calls, ROUNDS[kind]).items():
            ratio = slow.get(task, slow["one solve"]) * size / best
            times[name].append(f"{1e3 * best / size:.2f} ({ratio:,.0f})")
    for name, row in times.items():
        table.add_row(name, *row)
    return table


def overhead_table(networks: dict[str, NetworkSolver]) -> Table:
    """A loop's time by whose it is, for each iteration; the summary once."""
    title = f"a loop at U = {U:g}, ms an iteration"
    table = Table("", "iterations", "network", "lattice, mixing", "summary, once", title=title)
    for name, network in networks.items():
        solve, inside = network.solve_batch, [0.0]

        def timed(problems, solve=solve, inside=inside):
            start = time.process_time()
            solutions = solve(problems)
            inside[0] += time.process_time() - start
            return solutions

        network.solve_batch = timed
        loop, rows = DMFTLoop(network, Bethe()), []
        problem = starting_problem(network.grid, Bethe(), U=U)
        for _ in range(ROUNDS["loop"]):
            inside[0], start = 0.0, time.process_time()
            result = loop.run_one(problem)
            whole = time.process_time() - start
            rows.append((whole, inside[0], whole - inside[0]))
        del network.solve_batch
        n, (_, own, rest) = result.iterations, min(rows)
        summary = seconds(lambda result=result, name=name: summarize(result, name, "bethe", 0.0), 3)
        cells = (own / n, rest / n, summary)
        table.add_row(name, str(n), *(f"{1e3 * cell:.2f}" for cell in cells))
    return table


def gpu_table(network: NetworkSolver) -> Table:
    """Real-axis spectra a second against the batch size, inputs and outputs on the GPU."""
    model = network.model.to("cuda")
    problem = starting_problem(network.grid, Bethe(), U=U, eps_d=-0.5)
    h = torch.tensor(problem.spectrum, dtype=torch.float32, device="cuda")
    p = torch.tensor([[U, -0.5]], device="cuda")
    title = f"{torch.cuda.get_device_name()}, float32; aim {GPU_AIM}"
    table = Table("batch", "ms", "solves a second", title=title)
    for size in GPU_BATCHES:
        inputs = h.expand(size, -1).contiguous(), p.expand(size, -1).contiguous()

        def call(inputs=inputs):
            model.real_axis(*inputs)
            torch.cuda.synchronize()

        try:
            with torch.inference_mode():
                call()
                best = seconds(call, 10, time.perf_counter)
        except torch.OutOfMemoryError:
            table.add_row(f"{size:,}", "", "out of memory")
            break
        table.add_row(f"{size:,}", f"{1e3 * best:.2f}", f"{size / best:,.0f}")
    return table


def main(folders: list[str], with_scan: bool) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DmftnetWarning)  # times, not answers
    console, networks = Console(width=140), {}
    missing = [name for name in NEEDED if find_spec(name) is None]
    for folder in folders:
        for backend in ("torch",) if missing else ("torch", "onnx"):
            network = NetworkSolver(folder, backend=backend)
            networks[f"{network.label}, {backend}"] = network
            if isinstance(network.model, Ensemble):
                member = NetworkSolver(Path(folder, "member_0"), backend=backend)
                networks[f"{network.label}, one member, {backend}"] = member
    console.print(cpu_table(networks, with_scan))
    console.print(overhead_table(networks))
    if missing:
        console.print(f"without ONNX Runtime: {' and '.join(missing)} cannot be imported")
    if torch.cuda.is_available():
        console.print(gpu_table(NetworkSolver(folders[0], backend="torch")))
    else:
        console.print("no GPU here: torch finds no CUDA device")


if __name__ == "__main__":
    words = sys.argv[1:]
    main([word for word in words if word != "scan"] or list(FOLDERS), "scan" in words)

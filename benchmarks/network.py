"""A network solve beside the exact one, in the same run, as ratios.

    OMP_NUM_THREADS=1 python benchmarks/network.py                       the weights that ship
    OMP_NUM_THREADS=1 python benchmarks/network.py outputs/demo/train    a run folder

One solve, batches of 64 and 1,024, a DMFT loop at U = 2 and eight loops at once, on one core after
compilation, for the ensemble and for its first member alone; the exact loops run with the same
settings on their own grid. Where torch finds a GPU, solves a second against the batch size as well,
arrays on the GPU. For training see benchmarks/network_training.py.
"""

from __future__ import annotations

import sys
import time
import warnings
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from dmftnet.errors import DmftnetWarning
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

U = 2.0
SCAN = [0.5, 1.0, 1.5, 2.0, 2.4, 3.0, 3.5, 4.0]  # of loops at once
BATCHES = {64: 10, 1024: 3}  # size: repeats
GPU_BATCHES = [1, 64, 1024, 4096, 16384, 65536]
AIMS = {"one solve": "3 ms", "batch of 64, each": "1 ms", f"DMFT loop, U = {U:g}": "ratio 300"}
GPU_AIM = "100,000 solves a second"


def seconds(call, repeats: int) -> float:
    """Fastest of a few runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def timed_loops(solver, problems, repeats: int) -> tuple[float, list[int]]:
    """(seconds, iterations of each) of loops at default settings, fastest of a few runs."""
    loop, runs = DMFTLoop(solver, Bethe()), []
    best = seconds(lambda: runs.append(loop.run(problems)), repeats)
    return best, [result.iterations for result in runs[-1]]


def timings(solver, grid: FrequencyGrid, repeats: int) -> dict[str, tuple[float, str]]:
    """Seconds of each task, and a remark: one solve, doped, one loop, several."""
    lattice = Bethe()
    problem = starting_problem(grid, lattice, U=U)
    doped = starting_problem(grid, lattice, U=U, eps_d=-0.5)
    scan = [starting_problem(grid, lattice, U=value) for value in SCAN]
    solver.solve(problem)  # compiles
    loop, (n,) = timed_loops(solver, [problem], max(1, repeats // 5))
    loops, counts = timed_loops(solver, scan, max(1, repeats // 10))
    return {
        "one solve": (seconds(lambda: solver.solve(problem).spectrum(), repeats), ""),
        "one doped solve": (seconds(lambda: solver.solve(doped).spectrum(), repeats), ""),
        f"DMFT loop, U = {U:g}": (loop, f"{n} iterations"),
        f"{len(SCAN)} loops, U = {SCAN[0]:g} to {SCAN[-1]:g}": (loops, f"{sum(counts)} iterations"),
    }


def cpu_table(networks: dict[str, NetworkSolver]) -> Table:
    """Networks against ras on one core."""
    exact = timings(RasSolver(), FrequencyGrid.geometric(1e-3, 8.0, 800), 2)
    table = Table("one core", "ras", *(c for name in networks for c in (name, "ratio")), "aim")
    found = {name: timings(network, network.grid, 50) for name, network in networks.items()}
    for task, (slow, remark) in exact.items():
        cells = [f"{slow:.2f} s" + (f", {remark}" if remark else "")]
        for name in networks:
            fast, remark = found[name][task]
            told = f", {remark}" if remark else ""
            cells += [f"{1e3 * fast:.2f} ms{told}", f"{slow / fast:.0f}"]
        table.add_row(task, *cells, AIMS.get(task, ""))
    slow = exact["one solve"][0]
    for size, repeats in BATCHES.items():
        cells = []
        for network in networks.values():
            batch = [starting_problem(network.grid, Bethe(), U=U)] * size
            each = seconds(partial(network.solve_batch, batch), repeats) / size
            cells += [f"{1e3 * each:.2f} ms", f"{slow / each:.0f}"]
        task = f"batch of {size:,}, each"
        table.add_row(task, f"{slow:.2f} s", *cells, AIMS.get(task, ""))
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
                best = seconds(call, 10)
        except torch.OutOfMemoryError:
            table.add_row(f"{size:,}", "", "out of memory")
            break
        table.add_row(f"{size:,}", f"{1e3 * best:.2f}", f"{size / best:,.0f}")
    return table


def main(checkpoint: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DmftnetWarning)  # times, not answers
    network, console = NetworkSolver(checkpoint), Console(width=140)
    networks = {network.label: network}
    if isinstance(network.model, Ensemble):
        networks["one member"] = NetworkSolver(Path(checkpoint, "member_0"))
    console.print(cpu_table(networks))
    if torch.cuda.is_available():
        console.print(gpu_table(network))
    else:
        console.print("no GPU here: torch finds no CUDA device")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: python benchmarks/network.py [CHECKPOINT_FOLDER]")
    main(sys.argv[1] if len(sys.argv) == 2 else "weights")

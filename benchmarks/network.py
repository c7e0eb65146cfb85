"""A network solve beside the exact one, in the same run, as ratios.

    OMP_NUM_THREADS=1 python benchmarks/network.py                       the weights that ship
    OMP_NUM_THREADS=1 python benchmarks/network.py outputs/demo/train    a run folder

One solve, batches of 64 and 1,024, and a whole DMFT loop at U = 2, on one core after compilation;
the exact loop runs with the same settings on its own grid. Where torch finds a GPU, solves a second
against the batch size as well, arrays on the GPU. For training see benchmarks/network_training.py.
"""

from __future__ import annotations

import sys
import time
import warnings

import torch
from rich.console import Console
from rich.table import Table

from dmftnet.errors import DmftnetWarning
from dmftnet.models.network_solver import NetworkSolver
from dmftnet.physics.dmft import DMFTLoop
from dmftnet.physics.grid import FrequencyGrid
from dmftnet.physics.lattice import Bethe
from dmftnet.physics.solvers.ras import RasSolver
from dmftnet.physics.starts import one_orbital_problem

U = 2.0
BATCHES = {64: 10, 1024: 3}  # size: repeats
GPU_BATCHES = [1, 64, 1024, 4096, 16384, 65536]
AIMS = {"one solve": "3 ms", "batch of 64, each": "1 ms", "DMFT loop": "ratio 300"}
GPU_AIM = "100,000 solves a second"


def seconds(call, repeats: int) -> float:
    """Fastest of a few runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def timed_loop(solver, problem, repeats: int) -> tuple[float, int]:
    """(seconds, iterations) of a loop at its default settings, fastest of a few runs."""
    loop, results = DMFTLoop(solver, Bethe()), []
    best = seconds(lambda: results.append(loop.run_one(problem)), repeats)
    return best, results[-1].iterations


def cpu_table(network: NetworkSolver) -> Table:
    """Network against ras on one core."""
    ras, lattice = RasSolver(), Bethe()
    problem = one_orbital_problem(network.grid, lattice, U=U)
    fine = one_orbital_problem(FrequencyGrid.geometric(1e-3, 8.0, 800), lattice, U=U)
    ras.solve(fine)  # compiles
    exact = seconds(lambda: ras.solve(fine).spectrum(), 3)
    rows = [("one solve", exact, seconds(lambda: network.solve(problem), 50))]
    for size, repeats in BATCHES.items():
        batch = [problem] * size
        each = seconds(lambda batch=batch: network.solve_batch(batch), repeats) / size
        rows.append((f"batch of {size:,}, each", exact, each))
    doped = one_orbital_problem(network.grid, lattice, U=U, eps_d=-0.5)
    fine_doped = one_orbital_problem(fine.grid, lattice, U=U, eps_d=-0.5)
    slow = seconds(lambda: ras.solve(fine_doped).spectrum(), 2)
    rows.append(("one doped solve", slow, seconds(lambda: network.solve(doped), 50)))
    (slow, n_slow), (fast, n_fast) = timed_loop(ras, fine, 1), timed_loop(network, problem, 10)
    rows.append((f"DMFT loop, U = {U:g} ({n_slow} and {n_fast} iterations)", slow, fast))
    rows.append(("DMFT loop, an iteration", slow / n_slow, fast / n_fast))
    table = Table("one core", "ras", "network", "ratio", "aim")
    for name, slow, fast in rows:
        aim = next((aim for key, aim in AIMS.items() if name.startswith(key)), "")
        table.add_row(name, f"{slow:.2f} s", f"{1e3 * fast:.2f} ms", f"{slow / fast:.0f}", aim)
    return table


def gpu_table(network: NetworkSolver) -> Table:
    """Real-axis spectra a second against the batch size, inputs and outputs on the GPU."""
    model = network.model.to("cuda")
    problem = one_orbital_problem(network.grid, Bethe(), U=U, eps_d=-0.5)
    h = torch.tensor(problem.hybridization, dtype=torch.float32, device="cuda")
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
    network, console = NetworkSolver(checkpoint), Console()
    console.print(cpu_table(network))
    if torch.cuda.is_available():
        console.print(gpu_table(network))
    else:
        console.print("no GPU here: torch finds no CUDA device")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: python benchmarks/network.py [CHECKPOINT_FOLDER]")
    main(sys.argv[1] if len(sys.argv) == 2 else "weights")

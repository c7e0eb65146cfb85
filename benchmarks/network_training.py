"""A training step with and without compilation, what the experiments cost, and the throughput of
dataset generation.

    OMP_NUM_THREADS=1 python benchmarks/network_training.py                       (a few minutes)
    OMP_NUM_THREADS=1 python benchmarks/network_training.py crossquery rotated 64

Arguments: architecture and head, by their names in conf/model and conf/head, and the batch size.
The step is forward pass, loss, backward pass and optimizer on samples of the small dataset, on the
GPU where torch finds one, else on one core. An experiment's hours are its own step times the steps
of all epochs, validation left out. The throughput is that of `RasSolver` as it stands, on 1 and 2
worker processes, compilation and start-up left out.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from dmftnet.config import instantiate, to_plain
from dmftnet.data.executors import local
from dmftnet.data.generation import generate, open_journal
from dmftnet.data.plans.sampling import TrajectorySampler
from dmftnet.data.plans.trajectories import TrajectoryPlan
from dmftnet.data.store import SpectralStore
from dmftnet.models.training.checkpoint import build_model
from dmftnet.models.training.module import SpectralModule
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
SAMPLES = ROOT / "data" / "bethe_small.h5"
EXPERIMENTS = ("laptop", "paper")
STEPS, PATIENCE = 20, 20.0  # at most so many steps, and seconds after the third
AIM = "3,000 solves an hour on 2 cores"


def make_step(overrides: list[str], size: int | None = None, compiled: bool = False):
    """A function that takes one training step, and the composed config."""
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        config = compose("train", overrides=[*overrides, f"dataset.path={SAMPLES}"])
    plain = to_plain(config)
    data = instantiate(config.dataset)
    torch.manual_seed(0)
    model = build_model(
        plain["model"], plain["head"], plain["dataset"]["grid"], data.angles, data.resolution
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = SpectralModule(
        model, instantiate(config.loss), instantiate(config.optimizer), **plain["module"]
    )
    module = module.to(device).train()
    optimizer = module.make_optimizer(module.parameters())
    train = data.arrays("train")
    batch = {
        name: torch.from_numpy(getattr(train, name)[: size or config.dataset.batch_size]).to(device)
        for name in ("hybridization", "params", "rotated", "derivative")
    }
    with torch.no_grad():
        guesses = model.guesses(batch["hybridization"], batch["params"])
    if guesses is not None:  # a training computes them once
        batch["guesses"] = guesses
    if compiled:
        model.net.compile()

    def step():
        optimizer.zero_grad()
        module.objective(batch)["loss"].backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return step, config


def milliseconds(step) -> float:
    """Of one step, fastest of several after the first."""
    step()
    best, end = float("inf"), time.perf_counter() + PATIENCE
    for number in range(STEPS):
        start = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - start)
        if number >= 2 and time.perf_counter() > end:
            break
    return 1e3 * best


def step_table(console: Console, model: str, head: str, size: int) -> Table:
    """The step as it is, and compiled where this environment can compile."""
    table = Table("training step", "ms", "ratio", title=f"{model}, {head} head, batch of {size}")
    overrides = [f"model={model}", f"head={head}"]
    plain = milliseconds(make_step(overrides, size)[0])
    table.add_row("eager", f"{plain:.1f}", "1")
    try:
        fast = milliseconds(make_step(overrides, size, compiled=True)[0])
    except Exception as error:  # whatever stage of the compiler, the benchmark goes on
        reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
        console.print(f"torch.compile is not possible here: {type(error).__name__}: {reason[:120]}")
    else:
        table.add_row("compiled", f"{fast:.1f}", f"{plain / fast:.2f}")
    return table


def experiment_table() -> Table:
    """Cost of the trainings in conf/experiment that begin anew."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "one core"
    columns = ("experiment", "batch", "ms a step", "a sample", "steps", "hours")
    table = Table(*columns, title=f"experiments on {device}")
    for name in EXPERIMENTS:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            paths = compose("train", overrides=[f"+experiment={name}"]).dataset.path
        files = [paths] if isinstance(paths, str) else list(paths)
        samples = sum(len(SpectralStore.open(ROOT / file).indices("train")) for file in files)
        step, config = make_step([f"+experiment={name}"])
        steps = config.trainer.max_epochs * math.ceil(samples / config.dataset.batch_size)
        cost = milliseconds(step)
        table.add_row(
            name, str(config.dataset.batch_size), f"{cost:.0f}",
            f"{cost / config.dataset.batch_size:.1f}", f"{steps:,}",
            f"{cost * steps / 3.6e6:.2g}",
        )  # fmt: skip
    return table


def solves_per_hour(n_workers: int) -> float:
    """Throughput of generation: whole trajectories of two iterations, journal included."""
    grid, solver, lattice = FrequencyGrid.geometric(1e-3, 8.0, 1200), RasSolver(), Bethe()
    plan = TrajectoryPlan(TrajectorySampler(seed=1), 4 * n_workers, n_iterations=2)
    with tempfile.TemporaryDirectory() as folder, local(n_workers) as executor:
        warm = [executor.submit(plan.run, job, solver, lattice, grid) for job in range(n_workers)]
        for future in warm:  # compiled code loaded in every worker
            future.result()
        journal = open_journal(Path(folder) / "data.h5", plan, grid, {"recipe": "benchmark"})
        start, solves = time.perf_counter(), 0
        for _, columns in generate(plan, solver, lattice, grid, executor, journal):
            solves += plan.describe(columns)[0]
        journal.finish()
        return 3600 * solves / (time.perf_counter() - start)


def main(model: str = "crossquery", head: str = "rotated", size: str = "64") -> None:
    torch.set_num_threads(1)
    console = Console()
    console.print(step_table(console, model, head, int(size)))
    console.print(experiment_table())
    table = Table("workers", "solves an hour", "ratio", title=f"dataset; aim {AIM}")
    rates = {n: solves_per_hour(n) for n in (1, 2)}
    for n, rate in rates.items():
        table.add_row(str(n), f"{rate:,.0f}", f"{rate / rates[1]:.2f}")
    console.print(table)


if __name__ == "__main__":
    if len(sys.argv) > 4:
        sys.exit("usage: python benchmarks/network_training.py [MODEL [HEAD [BATCH]]]")
    main(*sys.argv[1:])

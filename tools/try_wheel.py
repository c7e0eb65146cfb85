"""The wheel in an empty environment and an empty folder: python tools/try_wheel.py

Builds it by way of the sdist, looks at what is inside, installs it with its dependencies into a
virtual environment of its own, and runs there every command of ``dmftnet``, each on what the ones
before it wrote: data, a network, a report, a solver that ships. Minutes, most of them for the
installation; ``make wheel`` runs it. PIP_FLAGS is handed to pip install.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "solver.bath.n_bath=11", "solver.depths=[all,4,1]", "solver.n_lanczos=25", "grid.n_w=200",
    "executor.n_workers=1",
)  # fmt: skip
NETWORK = (
    "dataset.grid={w_min: 0.02, w_max: 6.0, n_w: 40}", "dataset.angles=[0.1]",
    "dataset.resolution=[0.02,0.05]",
)  # fmt: skip
LOOPS = "{U: [0.5, 1.0], shift: [0.0, 0.2], start: [metal, insulator]}"
DEFAULT_SOLVER = (
    "from dmftnet.models.solvers.network import NetworkSolver; print(NetworkSolver().label)"
)
ORIGIN = (
    "import glob, h5py; (path,) = glob.glob('outputs/dmft/*/solution.h5'); "
    "print(*(h5py.File(path).attrs[f'provenance/{key}'] for key in ('commit', 'command')))"
)
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "HTTP", "NO_PROXY", "SSL", "REQUESTS", "PIP")
"""Beginnings of the variables that an empty environment still has."""


class Trial:
    """A folder with a virtual environment in it, and the commands that are run there."""

    def __init__(self, folder: Path):
        self.bin = folder / "venv" / "bin"
        self.work = folder / "empty"
        self.work.mkdir()
        venv.create(self.bin.parent, with_pip=True)
        self.environment = {k: v for k, v in os.environ.items() if k.upper().startswith(KEPT)}
        self.environment |= {"WANDB_MODE": "offline", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}

    def run(self, program: str, *arguments: str, status: int = 0, says: str = "") -> str:
        """Run a program of the environment; its output, which must end and read as told."""
        began = time.monotonic()
        command = [str(self.bin / program), *arguments]
        run = subprocess.run(
            command, cwd=self.work, env=self.environment, capture_output=True, text=True
        )
        print(f"{time.monotonic() - began:6.1f} s  {shlex.join([program, *arguments])}", flush=True)
        said = run.stdout + run.stderr
        if run.returncode != status or says not in said:
            sys.exit(f"exit status {run.returncode} for {status}, '{says}' expected in\n{said}")
        if status == 2 and not run.stderr.splitlines()[-1].startswith("error: "):
            sys.exit(f"no error line in\n{run.stderr}")
        return said

    def written(self, *patterns: str) -> list[Path]:
        """One file for each pattern, which must be there."""
        found = [sorted(self.work.glob(pattern)) for pattern in patterns]
        if not all(found):
            sys.exit(f"not written: {[p for p, f in zip(patterns, found, strict=True) if not f]}")
        return [files[0] for files in found]


def build(folder: Path) -> Path:
    """The wheel, built from the sdist, which is built from this tree."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{run.stdout}{run.stderr}")
    return next(folder.glob("*.whl"))


def look_inside(wheel: Path) -> str:
    """The commit on record; every source, config, template and weight must be there, data not."""
    places = {"src": "dmftnet", "conf": "dmftnet/conf", "weights": "dmftnet/weights"}
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", *places], check=True, capture_output=True, text=True
    ).stdout.split()
    wanted = {f"{places[top]}/{rest}" for top, _, rest in (name.partition("/") for name in tracked)}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        commit = archive.read("dmftnet/commit.txt").decode().strip()
    surplus = found - wanted - {"dmftnet/commit.txt"}
    if wanted - found or (surplus and not commit.endswith("+dirty")):
        sys.exit(f"missing in the wheel: {wanted - found}; too much in it: {surplus}")
    head = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if commit.removesuffix("+dirty") != head:
        sys.exit(f"the wheel says it is of commit {commit}, and HEAD is {head}")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, commit {commit}", flush=True)
    return commit


def try_commands(trial: Trial, commit: str) -> None:
    """Each command on what those before it wrote, its defaults where they are quick."""
    run = trial.run
    run("dmftnet", "--version", says=f"commit {commit}")
    run("dmftnet", status=2, says="usage: dmftnet COMMAND")
    run("python", "-c", DEFAULT_SOLVER, says="self_energy")
    run("dmftnet", "dmft", "solver=network", "problem.U=2.0", says="converged: ")
    (summary,) = trial.written("outputs/dmft/*/summary.json")
    if json.loads(summary.read_text())["converged"] is not True:
        sys.exit(f"{summary} does not say that the loop converged")
    run("python", "-c", ORIGIN, says=f"{commit} dmftnet dmft solver=network problem.U=2.0")
    run("dmftnet", "dmft", "solver=magic", status=2, says="available: ")
    run("dmftnet", "train", status=2, says="data/bethe_small.h5 does not exist; make it with: dmft")
    run("dmftnet", "generate", *SMALL, "sampling.n_trajectories=48", "sampling.n_iterations=2")
    loops = ("dataset=bethe_reference", f"sampling.series=[{LOOPS}]", "sampling.n_shifts=1")
    run("dmftnet", "generate", *loops, *SMALL)
    trial.written("data/bethe_small.h5", "data/bethe_reference.h5")
    closure = ("callbacks.closure.every_n_validations=0", "callbacks.closure.half_filled_U=[1.0]")
    quick = (
        "trainer.max_epochs=2",
        "model=mlp",
        "model.width=16",
        "trainer.check_val_every_n_epoch=1",
    )
    run("dmftnet", "train", *NETWORK, *quick, *closure, says="model written to")
    run("dmftnet", "evaluate", "test_references=null", "hysteresis=null", "loop.max_iterations=5",
        "results=docs", says="report: ")  # fmt: skip
    trial.written("outputs/evaluate/*/report.html", "docs/results.md")
    (checkpoint,) = trial.written("outputs/train/*/model.yaml")
    run("dmftnet", "ship", "dataset=bethe_small", f"checkpoints={checkpoint.parent}",
        "calibration={kl: 50.0, share: 0.5}", "sharpening.most=1", says="weights: ")  # fmt: skip
    trial.written("weights/network/README.md")
    short = ("loop.max_iterations=2", "problem.U=1.0", "solver.checkpoint=weights/network")
    run("dmftnet", "dmft", "solver=network", *short, status=1, says="not converged: ")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        commit = look_inside(wheel)
        trial = Trial(folder)
        pinned = (
            "-c",
            str(ROOT / "constraints.txt"),
            *shlex.split(os.environ.get("PIP_FLAGS", "")),
        )
        trial.run("python", "-m", "pip", "install", "-q", *pinned, str(wheel))
        trial.run("python", "-m", "pip", "check")
        try_commands(trial, commit)
    print("the wheel works")


if __name__ == "__main__":
    main()

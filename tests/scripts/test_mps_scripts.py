"""The tensor-network solver through the real scripts: a killed solve goes on; its data train."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import h5py
from shell import environment

ROOT = Path(__file__).resolve().parents[2]
SOLVER = (
    "solver=mps",
    "lattice=fixed",
    "grid.n_w=80",
    "problem.eps_d=-0.8",  # doped: particles and holes are two evolutions
    "solver.bath.n_bath=5",
    "solver.t_max=40",
    "solver.bond_dimension=20",
    "solver.checkpoint_every=0",
)


# dmft.py, which dies when the third state is written but not yet in its place
DIES = f"""
import os, runpy, signal, sys
replace, saved = os.replace, []

def replace_or_die(source, target):
    if "mps-" in str(target):
        saved.append(target)
        if len(saved) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = replace_or_die
sys.argv[0] = {str(ROOT / "dmft.py")!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def dmft(folder, checkpoint, *program):
    """The script's command and environment, for `subprocess`."""
    command = [sys.executable, *program, *SOLVER]
    command += [f"solver.checkpoint={checkpoint}", f"hydra.run.dir={folder}"]
    options = {"cwd": ROOT, "capture_output": True, "text": True}
    return {"args": command, "env": environment(), **options}


def saved_steps(folder):
    """Step of every saved state by its file's name; one for each of two excitations."""
    steps = {}
    for path in folder.glob("mps-*.h5"):
        with h5py.File(path) as file:
            steps[path.name] = int(file.attrs["step"])
    return steps


def test_a_killed_solve_goes_on(tmp_path):
    """SIGKILL while a state is saved; the same command resumes at the one before and ends."""
    checkpoint = tmp_path / "states"
    first = subprocess.run(**dmft(tmp_path / "first", checkpoint, "-c", DIES))
    assert first.returncode == -signal.SIGKILL, first.stderr
    killed = saved_steps(checkpoint)
    assert list(killed.values()) == [2]
    assert len(list(checkpoint.glob("*.partial"))) == 1
    second = subprocess.run(**dmft(tmp_path / "second", checkpoint, str(ROOT / "dmft.py")))
    assert second.returncode == 0, second.stderr
    ended = saved_steps(checkpoint)
    assert killed.keys() < ended.keys() and set(ended.values()) == {40}
    assert not list(checkpoint.glob("*.partial"))
    summary = json.loads((tmp_path / "second" / "summary.json").read_text())
    assert summary["solver"] == "mps" and 0.8 < summary["filling"] < 1


def test_its_dataset_trains(tmp_path):
    """One epoch on the file that ships, nothing but the dataset's name changed."""
    with h5py.File(ROOT / "data" / "mps.h5") as file:
        assert "MpsSolver" in file.attrs["solver"]
    command = [sys.executable, str(ROOT / "train.py"), "dataset=mps", "model=mlp", "callbacks=none"]
    command += ["threads=1", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"]
    command += ["+trainer.enable_progress_bar=false", f"hydra.run.dir={tmp_path}"]
    run = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert list(tmp_path.rglob("*.safetensors")) or list(tmp_path.rglob("*.ckpt"))

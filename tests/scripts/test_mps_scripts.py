"""The tensor-network solver through the real scripts: a killed solve goes on; its data train."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py

ROOT = Path(__file__).resolve().parents[2]
SOLVER = (
    "solver=mps",
    "lattice=fixed",
    "grid.n_w=80",
    "solver.n_bath=5",
    "solver.t_max=40",
    "solver.bond_dimension=20",
    "solver.checkpoint_every=0",
)


def dmft(folder, checkpoint):
    """The script's command and environment, for `subprocess`."""
    command = [sys.executable, str(ROOT / "dmft.py"), *SOLVER]
    command += [f"solver.checkpoint={checkpoint}", f"hydra.run.dir={folder}"]
    return {"args": command, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "cwd": ROOT}


def step_of(folder):
    """(file, step) of the newest checkpoint, once there is one."""
    for path in folder.glob("mps-*.h5"):
        with h5py.File(path) as file:
            return path, int(file.attrs["step"])
    return None, 0


def test_a_killed_solve_goes_on(tmp_path):
    """SIGKILL in the evolution; the same command resumes at the saved step and ends."""
    checkpoint = tmp_path / "states"
    first = subprocess.Popen(**dmft(tmp_path / "first", checkpoint), stdout=subprocess.DEVNULL)
    while step_of(checkpoint)[1] < 2 and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, "the solve ended before it could be killed"
    path, step = step_of(checkpoint)
    assert 2 <= step < 40
    second = subprocess.run(**dmft(tmp_path / "second", checkpoint), capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert step_of(checkpoint) == (path, 40) and not list(checkpoint.glob("*.partial"))
    summary = json.loads((tmp_path / "second" / "summary.json").read_text())
    assert summary["solver"] == "mps" and abs(summary["filling"] - 1) < 1e-6


def test_its_dataset_trains(tmp_path):
    """One epoch on the file that ships, nothing but the dataset's name changed."""
    with h5py.File(ROOT / "data" / "mps.h5") as file:
        assert "MpsSolver" in file.attrs["solver"]
    command = [sys.executable, str(ROOT / "train.py"), "dataset=mps", "model=mlp", "callbacks=none"]
    command += ["threads=1", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"]
    command += ["+trainer.enable_progress_bar=false", f"hydra.run.dir={tmp_path}"]
    environment = {**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert list(tmp_path.rglob("*.safetensors")) or list(tmp_path.rglob("*.ckpt"))

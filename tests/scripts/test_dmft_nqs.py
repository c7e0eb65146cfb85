"""dmft.py with neural ground states: settings of the config, files, what is refused."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from shell import environment

ROOT = Path(__file__).resolve().parents[2]
NQS = (
    "solver=scol",
    "+ground_state@solver.ground_state=nqs",
    "bath@solver.bath=wilson",
    "solver.bath.n_bath=3",
    "lattice=fixed",
    "grid.n_w=80",
    "problem.U=1.0",
    "solver.ground_state.training.n_samples=60",
)


def dmft(folder, *arguments):
    """Run the script; (exit status, stderr)."""
    command = [sys.executable, str(ROOT / "dmft.py"), *NQS, *arguments, f"hydra.run.dir={folder}"]
    run = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    return run.returncode, run.stderr


@pytest.mark.parametrize(
    ("ansatz", "sizes"),
    [
        ("position_nets", ["solver.ground_state.ansatz.width=4"]),
        ("rwkv", ["solver.ground_state.ansatz.embedding=4", "solver.ground_state.ansatz.hidden=4"]),
    ],
)
def test_a_solve(tmp_path, ansatz, sizes):
    status, err = dmft(
        tmp_path / "run",
        f"ansatz@solver.ground_state.ansatz={ansatz}",
        *sizes,
        "solver.ground_state.training.steps=12",
        f"solver.ground_state.folder={tmp_path / 'states'}",
    )
    assert status == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["solver"] == "scol"
    assert summary["filling"] == pytest.approx(1.0, abs=1e-9)
    assert 0 < summary["double_occupancy"] < 0.25
    table, file = sorted((tmp_path / "states").iterdir())
    assert file.suffix == ".safetensors"
    with table.open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["step"] for row in rows] == [str(k) for k in range(1, 13)]
    assert float(rows[-1]["energy"]) < float(rows[0]["energy"])


def test_loggers_keep_two_runs_of_one_process_apart(tmp_path):
    """12 lines each, fewer than Lightning's CSV logger writes of itself."""
    place = "save_dir: '${hydra:runtime.output_dir}'"
    wandb = f"{{_target_: dmftnet.callbacks.wandb_logger.WandbLogger, offline: true, {place}}}"
    table = f"{{_target_: lightning.pytorch.loggers.CSVLogger, name: csv, version: '', {place}}}"
    status, err = dmft(
        tmp_path,
        "hydra.mode=MULTIRUN",
        "solver.ground_state.seed=0,1",
        f"hydra.sweep.dir={tmp_path}",
        "solver.ground_state.training.steps=12",
        f"solver.ground_state.loggers={{wandb: {wandb}, csv: {table}}}",
    )
    assert status == 0, err
    for k in range(2):
        assert len(list((tmp_path / str(k)).glob("wandb/offline-run-*/*.wandb"))) == 1
        with (tmp_path / str(k) / "csv" / "metrics.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        assert [float(row["nqs/step"]) for row in rows] == list(range(1, 13))
        assert {"nqs/energy", "nqs/error", "nqs/variance", "nqs/n_up", "nqs/n_dn"} < set(rows[0])


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("solver.ground_state.loggers=csv", "loggers = 'csv': give a section"),
        ("solver.ground_state.training.steps=-1", "training.steps = -1: give an integer"),
        ("solver.ground_state.ansatz.width=0", "ansatz.width = 0: give an integer"),
        ("solver.bath.n_bath=4", "give solver.ground_state.sector"),
    ],
)
def test_bad_input_is_one_line(tmp_path, argument, text):
    status, err = dmft(tmp_path, argument)
    assert status == 2
    assert text in err and len(err.strip().splitlines()) == 1

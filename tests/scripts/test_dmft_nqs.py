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


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("solver.ground_state.training.steps=-1", "training.steps = -1: give an integer"),
        ("solver.ground_state.ansatz.width=0", "ansatz.width = 0: give an integer"),
        ("solver.bath.n_bath=4", "give solver.ground_state.sector"),
    ],
)
def test_bad_input_is_one_line(tmp_path, argument, text):
    status, err = dmft(tmp_path, argument)
    assert status == 2
    assert text in err and len(err.strip().splitlines()) == 1

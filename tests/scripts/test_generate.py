"""generate.py through its real command line, with the toy solver."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
from content import content_hash
from shell import environment, python_path

from dmftnet.data.store import SpectralStore
from dmftnet.data.thermal import ThermalStore

ROOT = Path(__file__).parents[2]
N_JOBS = 12
WITH_TOY = environment(PYTHONPATH=python_path(ROOT / "tests"))


def command(folder: Path, *overrides: str) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "generate.py"),
        f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]",
        f"hydra.run.dir={folder / 'run'}",
        f"dataset.path={folder / 'toy.h5'}",
        "solver=toy",
        "grid.n_w=200",
        f"sampling.n_trajectories={N_JOBS}",
        "sampling.n_iterations=2",
        "executor.n_workers=1",
        *overrides,
    ]


def generate(folder: Path, *overrides: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(folder, *overrides), env=WITH_TOY, cwd=folder, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run = generate(folder)
    assert run.returncode == 0, run.stderr
    return folder


def on_disk(folder: Path) -> set[int]:
    """Ids of all finished trajectories, in the file and in files of their own."""
    with h5py.File(folder / "toy.h5") as file:  # it opens at any moment
        ids = file["rows/id"][()].tolist()
        assert len(set(ids)) == len(ids)
    loose = [int(path.stem) for path in (folder / "toy.h5.part").glob("*.h5")]
    return set(ids) | set(loose)


def kill_midway(folder: Path, delay: float) -> None:
    """Start the script and kill it and its workers some time after its file appeared."""
    process = subprocess.Popen(
        command(folder, "solver.seconds=0.04"),
        env=WITH_TOY,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    known = len(on_disk(folder)) if (folder / "toy.h5").exists() else -1
    while process.poll() is None:
        if (folder / "toy.h5").exists() and len(on_disk(folder)) > known:
            time.sleep(delay)
            break
        time.sleep(0.01)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # the orphaned worker
    except ProcessLookupError:
        return


def test_killed_runs_lose_nothing_and_end_with_the_same_content(tmp_path, uninterrupted):
    rng = random.Random(0)
    finished: set[int] = set()
    for _ in range(3):
        kill_midway(tmp_path, rng.uniform(0.0, 0.5))
        now = on_disk(tmp_path)
        assert finished <= now
        finished = now
    assert finished
    run = generate(tmp_path, "solver.seconds=0.04")
    assert run.returncode == 0, run.stderr
    store = SpectralStore.open(tmp_path / "toy.h5")
    assert store.columns["trajectories/id"].tolist() == list(range(N_JOBS))
    assert content_hash(tmp_path / "toy.h5") == content_hash(uninterrupted / "toy.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "toy.h5"]


def test_the_file_says_where_it_came_from(uninterrupted):
    store = SpectralStore.open(uninterrupted / "toy.h5")
    assert store.attributes["command"].startswith("generate.py ")
    assert "sampling.n_trajectories=12" in store.attributes["command"]
    assert "n_iterations: 2" in store.attributes["config"]
    assert "numpy" in store.attributes["provenance"]
    assert store.attributes["solver"] == "toy_solver.ToySolver"
    assert store.attributes["seed"] == 0


def test_a_finished_file_is_left_alone(uninterrupted):
    path = uninterrupted / "toy.h5"
    before = path.read_bytes()
    again = generate(uninterrupted)
    assert again.returncode == 0
    assert "12 of 12" in again.stdout
    other = generate(uninterrupted, "seed=1")
    assert other.returncode == 2
    assert other.stderr.startswith("error: ") and "another configuration" in other.stderr
    assert len(other.stderr.strip().splitlines()) == 1
    fewer = generate(uninterrupted, "sampling.n_trajectories=3")
    assert fewer.returncode == 2
    assert "already holds job 11" in fewer.stderr
    assert path.read_bytes() == before


def test_something_else_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "toy.h5").write_bytes(b"my thesis")
    run = generate(tmp_path)
    assert run.returncode == 2
    assert "truncated, damaged or not HDF5" in run.stderr
    assert (tmp_path / "toy.h5").read_bytes() == b"my thesis"


def test_unknown_choices_are_named(tmp_path):
    run = generate(tmp_path, "solver=magic")
    assert run.returncode != 0
    assert "magic" in run.stderr and "ras" in run.stderr  # what was asked for, what there is
    assert not (tmp_path / "toy.h5").exists()


def test_bad_values_are_named(tmp_path):
    run = generate(tmp_path, "sampling.sampler.U_dense=[3,9]")
    assert run.returncode == 2
    assert run.stderr.startswith("error: sampling: U_dense = [3.0, 9.0]")
    assert not (tmp_path / "toy.h5").exists()


THERMAL = (
    "dataset=thermal_models",
    "sampling.n_models=4",
    "sampling.per_job=2",
    "sampling.n_bath=1",
)


def thermal(folder: Path, *overrides: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            str(ROOT / "generate.py"),
            f"hydra.run.dir={folder / 'run'}",
            f"dataset.path={folder / 'thermal.h5'}",
            "executor.n_workers=1",
            *THERMAL,
            *overrides,
        ],
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_thermal_files_through_the_command_line(tmp_path):
    """A solver that cannot is one line; then a file, as the config has it, which can grow."""
    run = thermal(tmp_path)
    assert run.returncode == 2 and "solver 'ras' works at T = 0" in run.stderr
    assert not (tmp_path / "thermal.h5").exists()
    for number in (4, 6):
        run = thermal(tmp_path, "solver=ed", f"sampling.n_models={number}")
        assert run.returncode == 0, run.stderr
        store = ThermalStore.open(tmp_path / "thermal.h5")
        names = ("hubbard1", "ipt", "nca", "ed1", "ed2", "ed3", "embedded3")
        assert len(store) == number and set(store.approximations) == set(names)
    assert store.odd.size == 21
    assert "sampling.n_models=6" in store.attributes["command"]

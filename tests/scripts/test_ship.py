"""ship.py, and what uses its folder: dmft.py with both learned solvers, generate.py."""

import json
from pathlib import Path

import pytest
import yaml
from shell import run_script
from toy_files import ANGLES, GRID, RESOLUTION, make_checkpoint, make_dataset, make_references

from dmftnet.data.datamodule import SpectralDataModule
from dmftnet.data.plans.collected import read_collected
from dmftnet.data.store import SpectralStore
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.training.checkpoint import describe_data

ROOT = Path(__file__).resolve().parents[2]
GENEROUS = ("calibration.kl=50.0", "calibration.share=0.5")  # the networks are untrained
SHORT = ("loop.max_iterations=2", "problem.U=1.0")
SMALL_RAS = (
    "solver.exact.bath.n_bath=11",
    "solver.exact.depths=[all,4,1]",
    "solver.exact.n_lanczos=25",
)


def script(name, *arguments):
    """Run a script; (exit status, stdout, stderr)."""
    run = run_script(name, *arguments)
    return run.returncode, run.stdout, run.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset and two untrained networks that claim to come from it."""
    folder = tmp_path_factory.mktemp("ship")
    make_dataset(folder / "data.h5", 80)
    make_references(folder / "references.h5")
    options = {"grid": GRID, "angles": ANGLES, "resolution": RESOLUTION}
    data = SpectralDataModule(folder / "data.h5", **options)
    record = describe_data(data, {**options, "path": str(folder / "data.h5")})
    record |= {"training": {"seconds": 60.0, "device": "cpu"}}
    for seed in range(2):
        make_checkpoint(folder / f"run{seed}", seed, **record)
    return folder


def ship(folder, name, *arguments):
    place = (f"dataset.path={folder}/data.h5", f"folder={folder}/{name}")
    place += (f"references={folder}/references.h5", "sharpening.most=1")
    runs = f"checkpoints=[{folder}/run0,{folder}/run1]"
    return script("ship.py", *place, f"hydra.run.dir={folder}/out", runs, *arguments)


@pytest.fixture(scope="module")
def weights(folder):
    status, out, err = ship(folder, "weights", *GENEROUS)
    assert status == 0, err
    assert f"{folder}/weights: " in out.replace("\n", "")
    return folder / "weights"


def test_the_folder_is_a_solver_with_limits_and_a_card(weights):
    solver = NetworkSolver(weights)
    assert isinstance(solver.model, Ensemble) and set(solver.applicability.limits) == {
        "spread",
        "distance",
    }
    record = yaml.safe_load((weights / "model.yaml").read_text())
    assert record["calibration"]["kl"] == 50.0
    assert record["calibration"]["validation"]["good_accepted"] >= 0.5
    assert record["test"]["this solver"]["kl_median"] > 0
    tried = record["sharpening_tried"]
    assert [row["steps"] for row in tried] == [0, 1] and record["sharpening"] in (0, 1)
    best = min(tried, key=lambda row: (-row["right"], row["score"]))
    assert record["sharpening"] == best["steps"] == solver.sharpening
    card = (weights / "README.md").read_text()
    for words in (
        record["data"]["sha256"],
        f"{record['limits']['spread']:.3g}",
        "| member 1 |",
        "2 networks (MLP, RotatedHead)",
        "Training took 2 minutes",
        "MIT",
        f"| {tried[1]['steps']} | ",
        "3 D" if record["ranges"]["U"][1] == 3 else f"{record['ranges']['U'][1]:.3g} D",
    ):
        assert words in card, words
    names = sorted(p.name for p in weights.iterdir())
    assert names == [
        "README.md", "member_0", "member_1", "model.yaml", "training_points.safetensors",
    ]  # fmt: skip
    assert not list(weights.parent.glob("*.part"))


def test_one_checkpoint_ships_with_a_distance_alone(folder):
    status, _, err = ship(folder, "single", *GENEROUS, f"checkpoints={folder}/run0")
    assert status == 0, err
    assert set(NetworkSolver(folder / "single").applicability.limits) == {"distance"}
    records = [
        yaml.safe_load((folder / name / "model.yaml").read_text()) for name in ("run0", "single")
    ]
    assert records[1]["provenance"] == records[0]["provenance"]
    assert records[1]["shipping"]["command"].startswith("ship.py ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "and is not overwritten"),
        (("folder=FOLDER/x", "max_size=0.001", *GENEROUS), "more than max_size = 0.001"),
        (("folder=FOLDER/x", "calibration.kl=1.0e-9"), "validation solves, fewer than"),
        (("folder=FOLDER/x", "dataset.path=data/bethe_small.h5"), "was trained on other data"),
    ],
)
def test_what_cannot_ship_is_one_line(folder, weights, arguments, words):
    arguments = [argument.replace("FOLDER", str(folder)) for argument in arguments]
    status, _, err = ship(folder, "weights", *arguments)
    assert status == 2
    assert err.startswith("error: ") and words in err and len(err.strip().splitlines()) == 1
    assert not (folder / "x").exists() and not (folder / "x.part").exists()


def test_beyond_its_limits_the_network_warns_in_one_line(weights, tmp_path):
    status, _, err = script(
        "dmft.py", "solver=network", f"solver.checkpoint={weights}", *SHORT,
        "solver.limits={distance: 1.0e-3}", f"hydra.run.dir={tmp_path}",
    )  # fmt: skip
    assert status in (0, 1)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "2 of 2 solves" in summary["warning"] and summary["fallbacks"] == 0
    assert [line for line in err.splitlines() if line.startswith("warning: ")] == [
        f"warning: {summary['warning']}"
    ]
    assert "DmftnetWarning" not in err


def test_a_loop_that_teaches_itself(weights, tmp_path):
    """Everything falls back, is collected, and becomes a dataset."""
    status, _, err = script(
        "dmft.py", "solver=guarded", f"solver.network.checkpoint={weights}", *SHORT, *SMALL_RAS,
        "solver.network.limits={distance: 1.0e-3}", f"solver.collect={tmp_path}/new.h5",
        f"hydra.run.dir={tmp_path}/run",
    )  # fmt: skip
    assert status in (0, 1), err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["solver"] == "guarded" and summary["fallbacks"] == 2
    assert "beyond its limits" not in (summary["warning"] or "") + err
    assert len(read_collected(tmp_path / "new.h5")) == 2
    generate = (
        "dataset=collected", f"sampling.problems={tmp_path}/new.h5", "executor.n_workers=1",
        f"dataset.path={tmp_path}/data.h5", "sampling.block=0", f"hydra.run.dir={tmp_path}/g",
    )  # fmt: skip
    status, out, err = script("generate.py", *generate)
    assert status == 0, err
    assert "2 solves" in out
    assert len(SpectralStore.open(tmp_path / "data.h5")) == 2
    status, _, err = script("generate.py", *generate, f"sampling.problems={tmp_path}/data.h5")
    assert status == 2 and "has schema dmftnet-spectra" in err


def test_without_weights_the_default_says_what_to_do(tmp_path):
    arguments = (f"solver.checkpoint={tmp_path}/weights", f"hydra.run.dir={tmp_path}/run")
    status, _, err = script("dmft.py", "solver=network", *arguments)
    assert status == 2 and "or a folder that ship.py wrote" in err

"""ship.py on networks that put out the self-energy, and a loop by what it wrote."""

import json

import pytest
import torch
import yaml
from shell import run_script
from toy_correlated import make_correlated
from toy_files import make_references

from dmftnet.data.datamodule import SpectralDataModule
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.training.checkpoint import build_model, describe_data, save_model

GRID = {"w_min": 0.02, "w_max": 8.0, "n_w": 64}
ANGLES, RESOLUTION = [0.1, 0.2], [0.04, 0.1]
NET = {"_target_": "dmftnet.models.networks.mlp.MLP", "width": 8, "n_blocks": 1}
HEAD = {"_target_": "dmftnet.models.networks.self_energy_head.SelfEnergyHead"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two untrained networks with the description of a training on few samples."""
    folder = tmp_path_factory.mktemp("sigma")
    make_correlated(folder / "data.h5", 24, 3)
    make_references(folder / "references.h5")
    options = {"grid": GRID, "angles": ANGLES, "resolution": RESOLUTION}
    data = SpectralDataModule(folder / "data.h5", **options, smoothed="self_energy")
    record = {"model": NET, "head": HEAD, "loss": {}, "optimizer": {}, "seed": 0}
    record |= describe_data(data, {**options, "path": str(folder / "data.h5")})
    record |= {"training": {"seconds": 60.0, "device": "cpu"}}
    for seed in range(2):
        torch.manual_seed(seed)
        model = build_model(NET, HEAD, GRID, ANGLES, RESOLUTION)
        save_model(folder / f"run{seed}", model, {**record, "seed": seed})
    done = run_script(
        "ship.py",
        f"dataset.path={folder}/data.h5",
        f"folder={folder}/weights",
        f"references={folder}/references.h5",
        f"hydra.run.dir={folder}/out",
        f"checkpoints=[{folder}/run0,{folder}/run1]",
        "calibration.kl=50.0",
        "calibration.share=0.5",
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_nothing_is_sharpened_and_the_card_says_what_it_is(folder):
    record = yaml.safe_load((folder / "weights" / "model.yaml").read_text())
    assert record["sharpening"] == 0 and record["sharpening_tried"] == []
    assert record["smoothed"] == "self_energy"
    rows = record["test"]
    assert rows["this solver"] == rows["this solver, network error"]
    card = (folder / "weights" / "README.md").read_text()
    assert "SelfEnergyHead" in card and "Nothing is sharpened" in card
    assert "## Sharpening" not in card and "solver.sharpening" not in card
    solver = NetworkSolver(folder / "weights")
    assert set(solver.limits) == {"spread", "distance"} and solver.grid.n_w > GRID["n_w"]


def test_it_closes_a_loop_on_a_lattice_by_name(folder, tmp_path):
    done = run_script(
        "dmft.py",
        "solver=network",
        f"solver.checkpoint={folder}/weights",
        "lattice=pseudogap",
        "problem.U=1.0",
        f"hydra.run.dir={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["converged"] and summary["filling"] == pytest.approx(1, abs=1e-5)
    assert summary["A0"] < 0.3  # the semicircle has 2 / pi

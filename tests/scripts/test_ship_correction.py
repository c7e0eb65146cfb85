"""ship.py kind=corrections, and the loops that its folder closes."""

import json
import runpy
from pathlib import Path

import pytest
import yaml
from shell import run_script
from toy_correction import APPROXIMATIONS, AXIS, SIZE
from toy_thermal import write_file

from dmftnet.data.thermal_datamodule import ThermalDataModule
from dmftnet.models.correction.answers import errors
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.scoring import error_summary
from dmftnet.models.solvers.correction import CorrectionSolver

ROOT = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "cards.py"))
GENEROUS = ("calibration.error=0.05", "calibration.share=0.5")  # the networks have seen little
TINY = (
    "+experiment=correction", "dataset.inputs=[fair]", "model.width=8", "model.n_layers=1",
    "model.n_components=4", "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1",
    "logger=csv",
)  # fmt: skip
LOOP = (
    "problem.U=2",
    "problem.eps_d=-1.1",
    "problem.beta=10",
    "loop.max_iterations=2",
    "solver.exact.fit.n_bath=2",
)


def script(name, *arguments):
    """Run a script; (exit status, stdout, stderr)."""
    run = run_script(name, *arguments)
    return run.returncode, run.stdout, run.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset, two corrections trained on it, a model that is none, another dataset."""
    folder = tmp_path_factory.mktemp("ship")
    for name, seed in (("data", 0), ("other", 1)):
        write_file(folder / f"{name}.h5", AXIS.indices, 48, 0, seed, solvers=APPROXIMATIONS)
    runs = {"run0": ("seed=0",), "run1": ("seed=1",), "alone": ("model=correction_none",)}
    for name, words in runs.items():
        tiny = [word for word in TINY if name != "alone" or not word.startswith("model.")]
        place = (f"dataset.path={folder}/data.h5", f"hydra.run.dir={folder}/{name}")
        status, _, err = script("train.py", *tiny, *words, *place)
        assert status == 0, err
    return folder


def ship(folder, name, *arguments):
    place = (f"dataset.path={folder}/data.h5", f"folder={folder}/{name}")
    place += (f"hydra.run.dir={folder}/out",)
    runs = f"checkpoints=[{folder}/run0,{folder}/run1]"
    return script("ship.py", "kind=corrections", *place, runs, *arguments)


@pytest.fixture(scope="module")
def weights(folder):
    status, out, err = ship(folder, "weights", *GENEROUS)
    assert status == 0, err
    assert f"{folder}/weights: " in out.replace("\n", "")
    return folder / "weights"


def test_the_folder_is_a_solver_with_limits_and_a_card(folder, weights):
    solver = CorrectionSolver(weights)
    assert isinstance(solver.model, CorrectionEnsemble) and solver.model.inputs == ("fair",)
    record = yaml.safe_load((weights / "model.yaml").read_text())
    assert record["schema"] == "dmftnet-correction" and record["members"] == [
        "member_0",
        "member_1",
    ]
    assert solver.limits == record["limits"] and set(record["limits"]) == {"spread", "distance"}
    assert set(solver.trust.ranges) == {"U", "shift", "beta"}
    data = ThermalDataModule(folder / "data.h5", ["fair"])
    own = error_summary(errors(solver.model, data.arrays("test")))
    assert record["test"]["this solver"] == pytest.approx(own, rel=1e-4)
    assert set(record["test"]) == {"this solver", "member 0", "member 1", "fair alone"}
    calibration = record["calibration"]
    assert calibration["error"] == 0.05
    for split, name in (("val", "validation"), ("test", "test")):
        found = errors(solver.model, data.arrays(split))
        assert calibration[name]["solves"] == len(found)
        assert calibration[name]["good"] == pytest.approx((found <= 0.05).mean())
    assert calibration["validation"]["good_accepted"] >= 0.5
    assert 0 < record["cost"]["batch_inputs_ms"] < record["cost"]["batch_ms"]
    assert record["size"] == SIZE and record["shipping"]["command"].startswith("ship.py kind=")
    card = (weights / "README.md").read_text()
    score = record["test"]["this solver"]["error_median"]
    for words in (
        record["data"]["sha256"],
        f"spread {record['limits']['spread']:.3g}",
        f"| this solver | {score:.2e} |",
        "2 models (CorrectionNetwork)",
        f"- U / D: {record['ranges']['U'][0]:.3g} to {record['ranges']['U'][1]:.3g}",
        f"{record['cost']['one_ms']:.3g} ms for one solve",
        f"{calibration['test']['solves']} of them",
        "MIT",
    ):
        assert words in card, words
    assert "hydra.run.dir" not in card
    assert card == TOOL["correction_card"](weights)
    _, matter, _ = card.split("---\n", 2)
    assert yaml.safe_load(matter)["license"] == "mit"
    names = sorted(p.name for p in weights.iterdir())
    assert names == [
        "README.md", "member_0", "member_1", "model.yaml", "training_points.safetensors",
    ]  # fmt: skip
    assert not list(folder.glob("*.part"))


def test_one_run_ships_with_a_distance_alone(folder):
    status, _, err = ship(folder, "single", *GENEROUS, f"checkpoints={folder}/run0")
    assert status == 0, err
    solver = CorrectionSolver(folder / "single")
    assert set(solver.limits) == {"distance"} and not isinstance(solver.model, CorrectionEnsemble)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "and is not overwritten"),
        (("folder=FOLDER/x", "max_size=0.001", *GENEROUS), "more than max_size = 0.001"),
        (("folder=FOLDER/x", "calibration.error=1.0e-9"), "raise calibration.error or train"),
        (("folder=FOLDER/x", "dataset.path=FOLDER/other.h5"), "was trained on other data"),
        (
            ("folder=FOLDER/x", "checkpoints=FOLDER/alone"),
            "is a Approximation, which is not causal",
        ),
        (("folder=FOLDER/x", "checkpoints=FOLDER/weights"), "is no single correction; give run"),
    ],
)
def test_what_cannot_ship_is_one_line(folder, weights, arguments, words):
    arguments = [argument.replace("FOLDER", str(folder)) for argument in arguments]
    status, _, err = ship(folder, "weights", *arguments)
    assert status == 2, err
    assert err.startswith("error: ") and words in err and len(err.strip().splitlines()) == 1
    assert not (folder / "x").exists() and not (folder / "x.part").exists()


def test_a_guarded_loop_hands_over_beyond_the_limits(weights, tmp_path):
    guarded = ("solver=guarded_correction", f"solver.correction.checkpoint={weights}", *LOOP)
    for distance, fallbacks in ((1e9, 0), (1e-6, 2)):
        run = tmp_path / f"{fallbacks}"
        limits = f"solver.correction.limits={{spread: 9, distance: {distance}}}"
        status, _, err = script("dmft.py", *guarded, limits, f"hydra.run.dir={run}")
        assert status in (0, 1), err
        summary = json.loads((run / "summary.json").read_text())
        assert summary["solver"] == "guarded_correction" and summary["iterations"] == 2
        assert summary["fallbacks"] == fallbacks, summary
        assert "beyond its limits" not in (summary["warning"] or "") + err

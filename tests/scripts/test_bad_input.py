"""Bad input of every kind that once gave a traceback or passed without a word: one line each."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy_files
import yaml
from shell import python_path

from dmftnet.config import run
from dmftnet.physics.solvers.krylov import ras_cost
from dmftnet.scripts import dmft, evaluate, generate, ship, train

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {"dmft": dmft, "evaluate": evaluate, "generate": generate, "ship": ship, "train": train}
SMALL = ("solver.bath.n_bath=5", "solver.depths=[all,2]", "solver.n_lanczos=8", "grid.n_w=60")
NETWORKS = "dmftnet.models.networks"
NETWORK = ("solver=network", f"solver.checkpoint={ROOT / 'weights' / 'spectrum'}")
CORRECTIONS = ("kind=corrections", "checkpoints=[nowhere]")
TOY = (
    "model=mlp", "model.width=8", "model.n_blocks=1", "callbacks=none", "logger=csv",
    "dataset.grid={w_min: 0.02, w_max: 6.0, n_w: 40}", "dataset.angles=[0.1]",
    "dataset.resolution=[0.02,0.05]", "trainer.max_epochs=1", "baselines=false",
)  # fmt: skip


@pytest.fixture
def start(monkeypatch, capsys, tmp_path):
    """Runs a script in this process; (exit status, stderr). Its run folder is ``run``."""

    def start(script, *overrides):
        argv = [f"{script}.py", f"--config-path={ROOT / 'conf'}", f"hydra.run.dir={tmp_path}/run"]
        argv.append(f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]")
        options = [word for word in overrides if word == "-m"]
        words = [word for word in overrides if word != "-m"]
        monkeypatch.setattr(sys, "argv", [argv[0], *options, *argv[1:], *words])
        try:
            run(SCRIPTS[script].main)
            status = 0
        except SystemExit as exit_:
            status = exit_.code
        return status, capsys.readouterr().err

    return start


@pytest.fixture
def refused(start, tmp_path):
    """The one line with which a script refuses; what it writes is its log alone."""

    def refused(script, *overrides):
        status, err = start(script, *overrides)
        lines = err.strip().splitlines()
        assert status == 2 and len(lines) == 1 and lines[0].startswith("error: "), err
        written = {path.name for path in (tmp_path / "run").glob("*")}
        assert written <= {".hydra", f"{script}.log"}
        return lines[0]

    return refused


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return toy_files.make_dataset(tmp_path_factory.mktemp("bad") / "data.h5")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ("solver.bath.n_bath=100000",),
            "solver.bath.n_bath = 100000: the one-body matrix needs about 300",
        ),
        (("solver.n_bath=79",), "solver.n_bath is unknown; n_bath is now solver.bath.n_bath"),
        (("+solver.n_bath=79",), "solver.n_bath is unknown; n_bath is now solver.bath.n_bath"),
        (("solver.bath.n_bath=null",), "solver.bath.n_bath = None: give an integer >= 2"),
        (("bath@solver.bath=fit",), "give intervals of the real axis, see conf/bath/intervals"),
        (("solver=ed", "solver.bath.n_bath=100000"), "raise solver.max_memory"),
        (("solver=mps", "solver.bath.n_bath=100000"), "raise solver.max_memory"),
        (("solver=network", "solver.checkpoint=5"), "solver.checkpoint = 5: give a folder"),
        ((*NETWORK, "solver.sharpening=1.5"), "solver.sharpening = 1.5: give an integer >= 0"),
        ((*NETWORK, "solver.sharpening=1000"), "solver.sharpening = 1000: give an integer"),
        ((*NETWORK, "solver.limits={spread: abc}"), "limits.spread = 'abc': give a number"),
        (("solver.depths=[all,all,all,all]",), "7,179,012 determinants, about 4.7 GiB"),
        (("grid.n_w=1000000",), "raise grid.max_memory"),
        (("solver=ipt", "solver.step=1.0e-12"), "raise solver.max_memory"),
        (("+solver.unknown=1",), "solver.unknown is unknown; RasSolver takes depths, bath"),
        (("solver._target_=no.such.thing",), "solver._target_ = 'no.such.thing' is no class"),
        (("grid=null",), "grid = None: give a section with a class as _target_"),
        (
            (
                "lattice._target_=dmftnet.physics.dmft.mixing.LinearMixing",
                "~lattice.half_bandwidth",
            ),
            "gives an object of the class LinearMixing, and one of the kind Lattice is needed",
        ),
        (("solver=1.5",), "choose a member by its name, for example solver=ras"),
        (("solver=correction", "solver.checkpoint=5"), "solver.checkpoint = 5: give a folder"),
        (("solver=correction", "solver.checkpoint=nowhere"), "no checkpoint at 'nowhere'"),
        (
            ("solver=correction", f"solver.checkpoint={ROOT / 'weights' / 'spectrum'}"),
            "has schema dmftnet-model, dmftnet-correction is needed here; use it with solver=netw",
        ),
        (
            ("solver=guarded_correction", "solver.correction.checkpoint=nowhere"),
            "no checkpoint at 'nowhere'",
        ),
        (("solver=guarded_correction", "solver.collect=a.h5"), "override 'solver.collect'"),
        (("lattice=nope",), "lattice/nope is unknown; available: bethe, checkerboard"),
        (("lattice.half_bandwidth=20",), "the band reaches beyond the grid"),
    ],
)
def test_dmft_refuses(refused, overrides, words):
    assert words in refused("dmft", *overrides)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("seed=-1",), "seed = -1: give an integer >= 0 and <= 4294967295"),
        (("seed=abc",), "seed = 'abc': give an integer"),
        (("threads=0",), "threads = 0: give an integer >= 1"),
        (("monitor=nope",), "monitor = 'nope' is unknown; use one of val/kl_median"),
        (("model.dropout=2",), "model.dropout = 2: give a number >= 0 and < 1"),
        (("model.n_blocks=0",), "model.n_blocks = 0: give an integer >= 1"),
        (("model.width=1000000",), "raise model.max_memory"),
        (("loss.lam=nan",), "loss.lam = nan: give a finite number >= 0"),
        (("optimizer.lr=-1",), "optimizer: AdamW refuses its arguments: Invalid learning rate: -1"),
        (("optimizer.lr=abc",), "optimizer.lr = 'abc': AdamW takes float or int"),
        (("resume=NOISE",), "noise.ckpt is damaged, or no checkpoint of a training; give a run's"),
        (("trainer.max_epochs=-1",), "trainer.max_epochs = -1: give an integer >= 1"),
        (("trainer.num_sanity_val_steps=abc",), "Trainer takes None or int"),
        (("trainer.accelerator=abacus",), "trainer: Trainer refuses its arguments"),
        (("+module.unknown=1",), "module.unknown is unknown"),
        *(((f"{group}=nope",), f"{group}/nope is unknown; available: ") for group in (
            "dataset", "model", "loss", "optimizer", "trainer", "head", "callbacks", "logger")),
    ],
)  # fmt: skip
def test_train_refuses(refused, dataset, tmp_path, overrides, words):
    noise = tmp_path / "noise.ckpt"
    noise.write_bytes(np.random.default_rng(0).bytes(3000))
    overrides = [word.replace("NOISE", str(noise)) for word in overrides]
    assert words in refused("train", *TOY, f"dataset.path={dataset}", *overrides)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("solver.depths=[all,all,all,all]",), "more than solver.max_determinants = 5,000,000"),
        (("sampling.n_trajectories=1000000000",), "lower sampling.n_trajectories, or raise max_m"),
        (("executor.n_workers=1000000",), "workers are the most that start"),
        (("max_in_flight=0",), "max_in_flight = 0: give an integer >= 1"),
        (("seed=abc",), "seed = 'abc'"),
        (("dataset.path=[a.h5,b.h5]",), "give one to write"),
        (("solver=ipt", "executor=serial"), "a dataset stores poles; use solver=ras or ed"),
        *(((f"{group}=nope",), f"{group}/nope is unknown; available: ") for group in (
            "dataset", "sampling", "lattice", "solver", "executor")),
    ],
)  # fmt: skip
def test_generate_refuses_and_leaves_no_file(refused, tmp_path, overrides, words):
    assert words in refused("generate", f"dataset.path={tmp_path}/new.h5", *overrides)
    assert {path.name for path in tmp_path.iterdir()} <= {"run"}


@pytest.mark.parametrize(
    ("script", "overrides", "words"),
    [
        ("evaluate", ("checkpoints=null",), "checkpoints = None: give run folders or patterns"),
        ("evaluate", ("shown_U=abc",), "shown_U = 'abc': give a list of numbers"),
        ("evaluate", ("loop.max_iterations=0",), "loop.max_iterations = 0: give an integer >= 1"),
        ("evaluate", ("hysteresis.metal=[2,1]",), "at least two U that rise are needed"),
        (
            "ship",
            ("checkpoints=null", "folder=new"),
            "checkpoints = None: give a run folder or a list of them",
        ),
        ("ship", ("checkpoints=[nowhere]", "folder=null"), "folder = None: give a folder that"),
        ("ship", ("checkpoints=[nowhere]", "calibration.share=2"), "calibration.share = 2: give"),
        ("ship", ("checkpoints=[nowhere]", "+calibration.k=2"), "calibration.k is unknown"),
        ("ship", ("checkpoints=[nowhere]", "kind=nope"), "kind/nope is unknown; available: corr"),
        ("ship", (*CORRECTIONS, "calibration.error=0"), "calibration.error = 0: give a number > 0"),
        ("ship", (*CORRECTIONS, "calibration.share=2"), "calibration.share = 2: give"),
        ("ship", (*CORRECTIONS, "calibration.confidence=1"), "calibration.confidence = 1: give"),
        ("ship", (*CORRECTIONS, "+calibration.kl=1"), "calibration.kl is unknown; calibration"),
        ("ship", (*CORRECTIONS, "folder=new"), "no checkpoint at 'nowhere'"),
        ("ship", (*CORRECTIONS, "dataset=bethe"), "trained on a ThermalDataModule; choose the"),
        ("ship", (*CORRECTIONS, "sharpening.steps=1"), "Could not override 'sharpening.steps'"),
        (
            "ship",
            ("checkpoints=[nowhere]", "dataset=thermal_bethe"),
            "trained on a SpectralDataModule; choose the",
        ),
        (
            "ship",
            ("kind=corrections", f"checkpoints={ROOT / 'weights' / 'spectrum'}", "folder=new"),
            "has schema dmftnet-model, dmftnet-correction is needed here; use it with solver=netw",
        ),
    ],
)
def test_evaluate_and_ship_refuse(refused, script, overrides, words):
    assert words in refused(script, *overrides)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"members": [""]}, "lists members ['']; give names of folders inside it"),
        ({"members": ["member_0", "nested"]}, "is an ensemble itself; a member is a single model"),
        ({"limits": {"spread": "abc"}}, "limits.spread = 'abc': give a number"),
        ({"grid": {"w_min": 0.02, "w_max": 6.0}}, "grid.n_w is missing"),
        ({"resolution": [0.1]}, "resolution = [0.1]: give [eta, slope]"),
        ({"ranges": {"U": [0.0]}}, "ranges.U = [0.0]: give a list of 2 numbers"),
    ],
)
def test_descriptions_that_say_nonsense_are_refused(refused, tmp_path, change, words):
    folder = tmp_path / "weights"
    for name in ("member_0", "nested/member_0"):
        toy_files.make_checkpoint(folder / name)
    record = yaml.safe_load((folder / "member_0" / "model.yaml").read_text())
    (folder / "nested" / "model.yaml").write_text(
        yaml.safe_dump(record | {"members": ["member_0", "member_0"]})
    )
    (folder / "model.yaml").write_text(yaml.safe_dump(record | {"members": ["member_0"]} | change))
    assert words in refused("dmft", "solver=network", f"solver.checkpoint={folder}")


@pytest.mark.parametrize(
    "target",
    [
        f"{NETWORKS}.network.PARAMETER_SCALES", f"{NETWORKS}.network.SpectralNetwork",
        f"{NETWORKS}.network", "dmftnet.models..mlp", f"{NETWORKS}.mlp.M L P", 5,
    ],
)  # fmt: skip
def test_a_model_that_is_no_class_is_refused(refused, tmp_path, target):
    folder = toy_files.make_checkpoint(tmp_path / "run0")
    record = yaml.safe_load((folder / "model.yaml").read_text())
    record["model"]["_target_"] = target
    (folder / "model.yaml").write_text(yaml.safe_dump(record))
    line = refused("dmft", "solver=network", f"solver.checkpoint={folder}")
    assert "model" in line and str(target) in line


def test_weights_that_are_not_finite_are_refused(refused, tmp_path):
    from safetensors.numpy import load_file, save_file

    path = toy_files.make_checkpoint(tmp_path / "run0") / "model.safetensors"
    arrays = load_file(path)
    name = sorted(arrays)[0]
    save_file({**arrays, name: np.full_like(arrays[name], np.nan)}, path)
    line = refused("dmft", "solver=network", f"solver.checkpoint={tmp_path}/run0")
    assert f"{name} holds a value that is not finite" in line


def test_a_guarded_solver_leaves_no_file_that_holds_nothing(refused, tmp_path):
    new = tmp_path / "new.h5"
    refused("dmft", "solver=guarded", f"solver.network.checkpoint={ROOT / 'weights' / 'spectrum'}",
            f"solver.collect={new}", "problem.U=-1")  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_a_dear_solve_is_told_before_it_starts(start, monkeypatch, tmp_path):
    monkeypatch.setattr(ras_cost, "NOTICE_SECONDS", 0.0)
    status, err = start("dmft", *SMALL, "lattice=fixed")
    assert status == 0
    assert (
        err.startswith("cost: ") and "determinants, about" in err and "a solve on one core" in err
    )
    more = ("executor=serial", "sampling.n_trajectories=1", f"dataset.path={tmp_path}/a.h5")
    status, err = start("generate", *SMALL, *more)
    assert status == 0 and err.startswith("cost: ")


def test_a_path_that_the_system_refuses_is_one_line(refused, tmp_path):
    (tmp_path / "file").write_text("no folder")
    line = refused("generate", f"dataset.path={tmp_path}/file/new.h5", "executor=serial")
    assert "Not a directory" in line or "File exists" in line
    assert "choose another path" in line


def test_want_of_memory_is_one_line(refused, monkeypatch):
    def greedy(*arguments):
        raise MemoryError("Unable to allocate 74.5 GiB for an array")

    monkeypatch.setattr("dmftnet.physics.dmft.loop.DMFTLoop.run_one", greedy)
    line = refused("dmft", *SMALL)
    assert "not enough memory on this machine (Unable to allocate 74.5 GiB" in line
    assert "lower max_memory" in line


def test_a_defect_keeps_its_traceback(start, monkeypatch):
    def defect(*arguments):
        raise TypeError("a defect")

    monkeypatch.setattr("dmftnet.physics.dmft.loop.DMFTLoop.run_one", defect)
    with pytest.raises(TypeError, match="a defect"):
        start("dmft", *SMALL)


def test_an_error_ends_a_multirun_in_one_line(start, dataset):
    status, err = start("train", "-m", *TOY, f"dataset.path={dataset}", "loss.lam=-1,-2")
    assert status == 2
    assert err.strip().splitlines() == ["error: loss.lam = -1: give a number >= 0"]


RECORDER = """
from pathlib import Path
from hydra.experimental.callback import Callback

class Recorder(Callback):
    def on_job_end(self, config, job_return, **kwargs):
        Path(config.hydra.runtime.output_dir, "metric").write_text(repr(job_return.return_value))
"""


def test_a_sweep_gets_the_metric(dataset, tmp_path):
    """What an optimizing sweeper sees of a job, two of them."""
    (tmp_path / "recorder.py").write_text(RECORDER)
    command = [sys.executable, str(ROOT / "train.py"), "-m", *TOY, f"dataset.path={dataset}"]
    command += ["model=kernel_ridge", "model.gammas=[1.0]", "~model.width", "~model.n_blocks"]
    command += ["model.parameter_scale=0.5,1", "++hydra.callbacks.r._target_=recorder.Recorder"]
    command += [f"hydra.sweep.dir={tmp_path}/sweep"]
    command = [word for word in command if word not in TOY[:3] and not word.startswith("~")]
    environment = os.environ | {"PYTHONPATH": python_path(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for job in range(2):
        folder = tmp_path / "sweep" / str(job)
        record = yaml.safe_load((folder / "model.yaml").read_text())
        assert float((folder / "metric").read_text()) == record["val"]["kl_geometric"]


def test_resuming_from_another_model_is_refused(start, refused, dataset, tmp_path):
    status, err = start("train", *TOY, f"dataset.path={dataset}",
                        "trainer.check_val_every_n_epoch=1",
                        "+trainer.enable_progress_bar=false")  # fmt: skip
    assert status == 0, err
    last = shutil.copy(tmp_path / "run" / "checkpoints" / "last.ckpt", tmp_path / "last.ckpt")
    shutil.rmtree(tmp_path / "run")
    wider = ("model.width=16", f"resume={last}")
    line = refused("train", *TOY, f"dataset.path={dataset}", *wider)
    assert "is of another model" in line and "resume=null" in line

"""train.py through its real command line, on a synthetic dataset and tiny networks."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from shell import environment, python_path, run_script
from toy_correction import APPROXIMATIONS, AXIS
from toy_thermal import write_file

from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.training.checkpoint import load_model

ROOT = Path(__file__).resolve().parents[2]
WITH_SYNTHETIC = environment(PYTHONPATH=python_path(ROOT / "tests"))
SYNTHETIC = (
    "dataset._target_=synthetic.SyntheticDataModule",
    "~dataset.path",
    "~dataset.particle_hole_augmentation",
    "~dataset.held_out_U",
    "dataset.grid={w_min: 0.02, w_max: 6.0, n_w: 32}",
    "dataset.angles=[0.1,0.2]",
    "dataset.resolution=[0.01,0.05]",
)
QUICK = (
    "callbacks=none",
    "threads=1",
    "trainer.max_epochs=2",
    "trainer.check_val_every_n_epoch=1",
    "+trainer.enable_progress_bar=false",
)


def overrides(folder, *arguments, data=SYNTHETIC, multirun=False):
    """Arguments of the script."""
    place = "hydra.sweep.dir" if multirun else "hydra.run.dir"
    return ["-m"] * multirun + [*data, *QUICK, *arguments, f"{place}={folder}"]


def command_line(folder, *arguments, **options):
    """The script's command and environment, for `subprocess`."""
    command = [sys.executable, str(ROOT / "train.py"), *overrides(folder, *arguments, **options)]
    return {"args": command, "env": WITH_SYNTHETIC, "cwd": ROOT, "text": True}


def train(folder, *arguments, **options):
    """Run the script; (exit status, stdout, stderr)."""
    run = run_script("train.py", *overrides(folder, *arguments, **options), env=WITH_SYNTHETIC)
    return run.returncode, run.stdout, run.stderr


def metrics(folder):
    """All values of each column of the CSV logger."""
    with open(folder / "csv" / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    return {key: [row[key] for row in rows if row[key]] for key in rows[0]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The command of the design page, with the W&B logger, offline."""
    folder = tmp_path_factory.mktemp("run")
    status, out, err = train(folder, "model=crossattn", "loss.lam=0.1", "model.width=8")
    assert status == 0, err
    return folder, out, err


def test_checkpoint_becomes_a_solver(run):
    solver = NetworkSolver(run[0])
    record = solver.model.record
    assert record["loss"]["lam"] == 0.1
    assert record["model"]["_target_"].endswith("CrossAttention")
    assert solver.grid.n_w == 32 and solver.resolution == (0.01, 0.05)
    assert set(record["test"]) >= {"nearest neighbour", "kernel ridge", "input hybridization"}


def test_table_names_the_model_and_the_baselines(run):
    for name in ("crossattn, rotated head", "nearest neighbour", "kernel ridge", "90 %"):
        assert name in run[1]


def test_loggers_wrote(run):
    values = metrics(run[0])
    assert len(values["val/kl_median"]) == 2 and len(values["train/loss"]) == 2
    assert values["test/kl_median"] and values["test/kernel_ridge/kl_median"]
    assert list((run[0] / "wandb").glob("offline-run-*/run-*.wandb"))


def test_wandb_warns_of_no_setting(run):
    """Lightning hands over one that W&B is about to remove."""
    assert "wandb: Tracking run" in run[2]
    assert not [line for line in run[2].splitlines() if "wandb" in line and "removed" in line]


def test_a_log_shows_every_validation(run):
    """stdout is no terminal here; lines of steps come by the clock, see test_progress.py."""
    shown = [line for line in run[1].splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in shown] == ["epoch 1 of 2", "epoch 2 of 2"]
    last = metrics(run[0])["val/kl_median"][-1]
    assert f"val/kl_median {float(last):.3e}" in shown[-1]


def test_checkpoints_load_without_unpickling(run):
    for name in ("best", "last"):
        torch.load(run[0] / "checkpoints" / f"{name}.ckpt", weights_only=True)


def test_run_resumes_from_its_last_checkpoint(run, tmp_path):
    last = run[0] / "checkpoints" / "last.ckpt"
    status, _, err = train(
        tmp_path,
        "model=crossattn",
        "model.width=8",
        "loss.lam=0.1",
        "logger=csv",
        "trainer.max_epochs=3",
        f"resume={last}",
    )
    assert status == 0, err
    assert len(metrics(tmp_path)["train/loss"]) == 1  # epochs 0 and 1 were not run again


def test_training_begins_with_the_weights_of_another_run(run, tmp_path):
    options = ("model=crossattn", "model.width=8", "logger=csv", f"init_from={run[0]}")
    status, _, err = train(tmp_path, *options, "optimizer.lr=0.0")
    assert status == 0, err
    begun, ended = load_model(run[0]), load_model(tmp_path)
    for name, value in begun.state_dict().items():
        assert torch.equal(ended.state_dict()[name], value)
    (earlier,) = ended.record["training"]["earlier"]
    assert earlier["seconds"] == begun.record["training"]["seconds"]

    last = tmp_path / "checkpoints" / "last.ckpt"  # the same command goes on, its history kept
    more = (*options, "optimizer.lr=0.0", "trainer.max_epochs=3", f"resume={last}")
    status, _, err = train(tmp_path / "resumed", *more)
    assert status == 0, err
    # one epoch alone is new, although nothing improved since the first
    assert len(metrics(tmp_path / "resumed")["train/loss"]) == 1
    assert load_model(tmp_path / "resumed").record["training"]["earlier"] == [earlier]


def test_a_terminated_training_says_how_to_go_on(tmp_path):
    """SIGTERM, as a batch system sends it: one line, exit status 2, no model."""
    options = ("model=mlp", "model.width=8", "logger=csv", "trainer.max_epochs=100000")
    command = command_line(tmp_path, *options)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(**command, **pipes) as process:
        last = tmp_path / "checkpoints" / "last.ckpt"
        while process.poll() is None and not last.is_file():
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 2, err
    final = err.strip().splitlines()[-1]
    assert final.startswith("error: training was terminated in epoch")
    assert f"resume={last}" in final
    assert not (tmp_path / "model.safetensors").exists()


def test_hydra_multirun(tmp_path):
    status, _, err = train(
        tmp_path, "loss.lam=0,1", "model=mlp", "head=direct", "model.width=8", multirun=True
    )
    assert status == 0, err
    lams = [load_model(tmp_path / str(job)).record["loss"]["lam"] for job in range(2)]
    assert lams == [0, 1]
    runs = [list((tmp_path / str(job) / "wandb").glob("offline-run-*")) for job in range(2)]
    assert [len(r) for r in runs] == [1, 1]


def test_baseline_is_trained_by_the_same_command(tmp_path):
    status, out, err = train(tmp_path, "model=kernel_ridge", "logger=csv", "baselines=false")
    assert status == 0, err
    assert "kernel_ridge" in out
    assert NetworkSolver(tmp_path).model.record["val"]["kl_median"] > 0


@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        (("loss.lam=-1", "model=mlp"), SYNTHETIC, "loss.lam = -1"),
        (("resume=nowhere.ckpt", "model=mlp"), SYNTHETIC, "nowhere.ckpt"),
        (("init_from=nowhere", "model=mlp"), SYNTHETIC, "no checkpoint at 'nowhere'"),
        ((), ("dataset.path=no_such_file.h5",), "no_such_file.h5"),
    ],
)
def test_bad_input_is_one_line(tmp_path, arguments, data, message):
    status, _, err = train(tmp_path, "logger=csv", *arguments, data=data)
    line = err.strip().splitlines()[-1]
    assert status == 2 and line.startswith("error: ") and message in line
    assert not (tmp_path / "model.yaml").exists()


SWEEPS = ("sweep.yaml", "conf/sweep/correction.yaml")
DRAW = """
import json, random, sys, numpy, sweeps, yaml
random.seed(int(sys.argv[2])); numpy.random.seed(int(sys.argv[2]))
config = yaml.safe_load(open(sys.argv[1]))
violations = sweeps.schema_violations_from_proposed_config(config)
run = sweeps.next_run(config, [])
print(json.dumps({"violations": violations, "config": run.config}))
"""


@pytest.fixture(scope="module")
def sweeps_python():
    """Interpreter of the environment with W&B's `sweeps`, which pins numpy below 2."""
    subprocess.run(["make", "-s", ".venv-sweeps/.installed"], cwd=ROOT, check=True)
    return ROOT / ".venv-sweeps" / "bin" / "python"


def sweep_of(path):
    """Its content, and what its command line says before the drawn keys."""
    content = yaml.safe_load((ROOT / path).read_text())
    return content, [word for word in content["command"] if word.startswith("+")]


def draw(python, path, seed):
    """What W&B's controller would send to an agent."""
    run = subprocess.run(
        [python, "-W", "ignore", "-c", DRAW, ROOT / path, str(seed)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    drawn = json.loads(run.stdout.strip().splitlines()[-1])
    assert drawn["violations"] == []
    return {key: value["value"] for key, value in drawn["config"].items()}


def agent_command(sweep, parameters):
    """The command line that W&B's agent makes of a drawn run."""
    replaced = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": [sys.executable],
        "${program}": [sweep["program"]],
        "${args_no_hyphens}": [f"{key}={value}" for key, value in parameters.items()],
    }
    return [word for part in sweep["command"] for word in replaced.get(part, [part])]


@pytest.mark.parametrize("path", SWEEPS)
def test_sweep_draws_runs_that_train_accepts(path, sweeps_python, tmp_path):
    """Several draws compose, one runs, with the agent's very words and a tiny problem behind."""
    sweep, experiment = sweep_of(path)
    drawn = [draw(sweeps_python, path, seed) for seed in range(3)]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for parameters in drawn:
            words = [f"{key}={value}" for key, value in parameters.items()]
            compose("train", overrides=[*experiment, *words])
    run = run_drawn(sweep, drawn[0], tmp_path)
    assert run.returncode == 0, run.stderr
    assert metrics(tmp_path)[sweep["metric"]["name"]]


def run_drawn(sweep, parameters, tmp_path):
    """One epoch of a drawn run, with few samples in place of the sweep's data."""
    tiny = [*SYNTHETIC, *QUICK]
    if "dataset.inputs" in parameters:
        file = write_file(tmp_path / "thermal.h5", AXIS.indices, solvers=APPROXIMATIONS)
        tiny = [f"dataset.path={file}", "dataset.inputs=[fair]", *QUICK]
    tiny += ["trainer.max_epochs=1", f"hydra.run.dir={tmp_path}"]
    options = {"cwd": ROOT, "env": WITH_SYNTHETIC, "capture_output": True, "text": True}
    return subprocess.run([*agent_command(sweep, parameters), *tiny], **options)


@pytest.mark.parametrize("path", SWEEPS)
def test_sweep_keys_exist(path):
    """A key that the config does not know is an error of Hydra's, so every key must compose."""
    sweep, experiment = sweep_of(path)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for key, choice in sweep["parameters"].items():
            for value in choice.get("values", [choice.get("min")]):
                compose("train", overrides=[*experiment, f"{key}={value}"])


def test_sweep_of_corrections_takes_inputs_that_the_data_have():
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        found = compose("generate", overrides=["dataset=thermal_continuous"])
    values = sweep_of(SWEEPS[1])[0]["parameters"]["dataset.inputs"]["values"]
    assert {name for value in values for name in yaml.safe_load(value)} <= set(
        found.sampling.approximations
    )


def test_data_of_tensor_networks_train_like_those_of_ras(tmp_path):
    """One epoch on the solves of `mps` that ship, through the real datamodule."""
    status, out, err = train(
        tmp_path, "dataset=mps", "model=mlp", "model.width=8", "logger=csv",
        "trainer.max_epochs=1", data=(),
    )  # fmt: skip
    assert status == 0, err
    assert "mlp" in out
    record = yaml.safe_load((tmp_path / "model.yaml").read_text())
    assert record["data"]["file"] == "mps.h5"
    assert 0 < float(metrics(tmp_path)["val/kl_median"][-1]) < 5

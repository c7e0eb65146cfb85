"""Every experiment takes a step through the real command line, on toy data."""

from pathlib import Path

import pytest
import toy_files
from shell import run_script
from toy_correlated import make_correlated
from toy_loops import make_samples

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
GOES_ON_FROM = {"laptop_tuned": "laptop", "laptop_driven": "laptop_tuned"}
THERMAL = {
    "correction": ("dataset.inputs=[crude]",),
    "correction_kanamori": ("dataset.inputs=[crude]",),
}
"""Experiments on samples at finite temperature, and what fits them to toy data."""

OF_SIGMA = ("self_energy",)
"""Experiments on labels of the self-energy."""

GRID = ("dataset.grid={w_min: 0.02, w_max: 6.0, n_w: 48}",)
SMALL = (
    "dataset.batch_size=4",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "trainer.check_val_every_n_epoch=1",
    "+trainer.limit_train_batches=1",
    "+trainer.enable_progress_bar=false",
    "model.width=16",
    "threads=1",
    "baselines=false",
    "callbacks=none",
    "logger=csv",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return toy_files.make_dataset(tmp_path_factory.mktemp("experiments") / "data.h5")


@pytest.fixture(scope="module")
def correlated(tmp_path_factory):
    return make_correlated(tmp_path_factory.mktemp("experiments") / "correlated.h5")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("experiments") / "samples.h5")


@pytest.fixture(scope="module")
def step(dataset, correlated, samples, tmp_path_factory):
    """Folder of an experiment's run; each is run once."""
    folders = {}

    def run(name):
        if name in folders:
            return folders[name]
        folder = folders[name] = tmp_path_factory.mktemp(name)
        command = [f"+experiment={name}", *SMALL]
        data = samples if name in THERMAL else correlated if name in OF_SIGMA else dataset
        command += [*THERMAL.get(name, GRID), f"dataset.path={data}", f"hydra.run.dir={folder}"]
        if name in GOES_ON_FROM:
            command += [f"init_from={run(GOES_ON_FROM[name])}"]
        done = run_script("train.py", *command)
        assert done.returncode == 0, done.stderr
        return folder

    return run


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_takes_a_step(name, step):
    folder = step(name)
    assert (folder / "model.safetensors").is_file() and (folder / "model.yaml").is_file()

"""Callbacks of corrections: loops at finite temperature, and the errors of base and prediction."""

import csv

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from toy_loops import make_loops, make_samples

from dmftnet.callbacks.error_stability import ErrorStabilityCallback
from dmftnet.callbacks.thermal_closure import ThermalClosureCallback
from dmftnet.data.thermal_datamodule import ThermalDataModule
from dmftnet.errors import StoreError
from dmftnet.evaluation.error_stability import base_errors, error_stability
from dmftnet.models.correction.answers import errors
from dmftnet.models.correction.model import as_problems
from dmftnet.models.correction.module import CorrectionLoss, CorrectionModule
from dmftnet.models.correction.networks import CorrectionNetwork
from dmftnet.models.correction.scoring import approximation_errors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("callbacks")
    make_samples(folder / "samples.h5", n_models=16)
    make_loops(folder / "loops.h5")
    return folder


@pytest.fixture
def data(folder):
    datamodule = ThermalDataModule(folder / "samples.h5", inputs=["crude", "fair"], batch_size=8)
    datamodule.setup()
    return datamodule


@pytest.fixture
def model(data):
    torch.manual_seed(0)
    model = CorrectionNetwork(data.inputs, data.size, data.accuracy, width=8, n_layers=1)
    model.prepare(data.arrays("train"))
    return model


def fit(model, data, callback, folder, epochs=2):
    module = CorrectionModule(model, CorrectionLoss(), lambda p: torch.optim.Adam(p, lr=1e-3))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[callback],
        logger=CSVLogger(folder, name="csv", version=""),
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
    )
    trainer.fit(module, data)
    with open(folder / "csv" / "metrics.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return trainer, module, lambda key: [float(row[key]) for row in rows if row.get(key)]


def closure(folder, **options):
    return ThermalClosureCallback(folder / "loops.h5", tolerance=1e-4, **options)


def test_loops_are_closed_after_the_validations_that_count(folder, data, model, tmp_path):
    callback = closure(folder, every_n_validations=2, U=[1.0])
    _, _, logged = fit(model, data, callback, tmp_path, epochs=3)
    assert len(logged("thermal_closure/converged")) == 2  # after the second, and at the end
    assert len(logged("thermal_closure/double_occupancy_error")) == 2
    of_one = logged("thermal_closure/beta5_U1_eps-0.5_metal/double_occupancy")
    reference = callback.references[0].double_occupancy
    # two levels stand under an untrained correction
    assert of_one[-1] == pytest.approx(reference, abs=0.02) and of_one[-1] != reference
    with open(tmp_path / "callbacks" / "thermal_closure.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["start"] for row in rows] == ["metal", "atom"]
    assert {float(row["U"]) for row in rows} == {1.0}
    assert (tmp_path / "callbacks" / "thermal_closure.png").stat().st_size > 1000


def test_a_report_changes_nothing_of_the_training(folder, data, model, tmp_path):
    callback = closure(folder, every_n_validations=0, U=[1.0])
    trainer, module, _ = fit(model, data, callback, tmp_path, epochs=1)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.train()
    callback.report(trainer, module)
    assert module.model.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_missing_file_ends_the_run_before_it_starts(data, model, tmp_path):
    callback = ThermalClosureCallback(tmp_path / "none.h5")
    with pytest.raises(StoreError, match="does not exist; make it with"):
        fit(model, data, callback, tmp_path)


def test_error_stability_reports_what_it_measures(folder, data, model, tmp_path):
    _, module, logged = fit(model, data, ErrorStabilityCallback(), tmp_path, epochs=1)
    found = error_stability(module.model, data.arrays("val"))
    assert logged("error_stability/base_median") == [pytest.approx(np.median(found.error_base))]
    ratio = np.median(found.error_prediction / found.error_base)
    assert logged("error_stability/ratio_median") == [pytest.approx(ratio)]
    worst = found.table().rows[0]
    assert worst[-1] == found.error_prediction.max()


def test_errors_of_base_and_prediction(data, model):
    arrays = data.arrays("val")
    found, alone = error_stability(model, arrays), approximation_errors(model, arrays)
    np.testing.assert_allclose(found.error_base, alone["fair"], rtol=1e-12)
    np.testing.assert_allclose(found.error_prediction, errors(model, arrays), rtol=1e-12)
    scalars = found.scalars()
    assert scalars["share_below_base"] == np.mean(found.error_prediction < found.error_base)
    assert scalars["ratio_worst"] == (found.error_prediction / found.error_base).max()
    assert len(found.table().rows) == len(arrays)


def test_without_a_base_it_is_the_hartree_term(data):
    """Sigma = U n with n the density of its own G, found here by halving."""
    model = CorrectionNetwork(data.inputs, data.size, data.accuracy, base="none", width=8)
    arrays = data.arrays("val")
    problems, dyson = as_problems(arrays), model.dyson
    low, high = torch.zeros(len(arrays)).double(), torch.ones(len(arrays)).double()
    for _ in range(60):
        n = 0.5 * (low + high)
        sigma = (problems["U"] * n)[:, None].expand(problems["self_energy"].shape) + 0j
        greens = dyson.greens(problems, sigma)
        above = dyson.density(greens, problems["beta"]) > n
        low, high = torch.where(above, n, low), torch.where(above, high, n)
    exact = dyson.greens(problems, problems["self_energy"])
    wanted = dyson.distance(greens, exact, problems["beta"]).numpy()
    np.testing.assert_allclose(base_errors(model, arrays), wanted, rtol=1e-6)

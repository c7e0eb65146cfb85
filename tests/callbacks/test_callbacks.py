"""Callbacks: closure, stability, latent map; when they report, and what reaches the loggers."""

import csv
import math
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
import toy_files
import wandb
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from synthetic import SyntheticDataModule

from dmftnet.callbacks.dmft_closure import DmftClosure
from dmftnet.callbacks.kl_stability import KLStability
from dmftnet.callbacks.latent_map import LatentMapCallback
from dmftnet.errors import DmftnetError, StoreError
from dmftnet.evaluation import latent_map as latent_module
from dmftnet.evaluation.closure import (
    COLUMNS,
    LoopSettings,
    close_loops,
    closure_scalars,
    closure_table,
)
from dmftnet.evaluation.exact_loops import load_references
from dmftnet.evaluation.latent_map import latent_map, map_of_model
from dmftnet.evaluation.stability import stability
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.training.losses import DerivativeLoss
from dmftnet.models.training.module import SpectralModule
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.analysis.self_energy import dyson_spectrum
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import Solver
from dmftnet.physics.impurity.solutions import CurveSolution

SETTINGS = LoopSettings(tolerance=1e-4, max_iterations=15)


class HartreeSolver(Solver):
    """Exact at U = 0 and at half filling of a mean field: Sigma = U/2."""

    name = "hartree"

    def solve(self, problem):
        shift = np.full((1, problem.grid.n_w), problem.U / 2, dtype=complex)
        A = dyson_spectrum(problem, shift)
        return CurveSolution(problem, A / problem.grid.integrate(A)[:, None])


@pytest.fixture(scope="module")
def references_path(tmp_path_factory):
    return toy_files.make_references(tmp_path_factory.mktemp("references") / "toy.h5")


@pytest.fixture(scope="module")
def model():
    return toy_files.make_model()


@pytest.fixture
def module(model):
    module = SpectralModule(model, DerivativeLoss(), lambda p: torch.optim.SGD(p, lr=1e-3))
    yield module.train()
    model.eval()


def data():
    datamodule = SyntheticDataModule(
        grid=toy_files.GRID, angles=toy_files.ANGLES, resolution=toy_files.RESOLUTION
    )
    datamodule.setup()
    return datamodule


def fit(module, callback, folder, epochs=2, logger=None):
    """A real, tiny training with one callback."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[callback],
        logger=logger or CSVLogger(folder, name="csv", version=""),
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
    )
    trainer.fit(module, data())
    return trainer


def logged(folder, key):
    """The finite values of a column of the CSV logger."""
    with open(folder / "csv" / "metrics.csv", encoding="utf-8") as file:
        values = [row.get(key) for row in csv.DictReader(file)]
    return [float(value) for value in values if value]


# --- DMFT closure -----------------------------------------------------------------------------


def test_an_exact_solver_closes_its_loop_on_the_reference(references_path):
    """The toy references are Hartree solutions, so a Hartree solver must find them again."""
    grid = FrequencyGrid.geometric(1e-2, 8.0, 200)
    references = [r for r in load_references(references_path, grid, (0.02, 0.05)) if r.half_filled]
    closures = close_loops(HartreeSolver(), references, LoopSettings(1e-5, 60))
    assert all(closure.converged for closure in closures)
    # the toy bath has 12 sites, its broadened spectrum agrees with the semicircle to a few percent
    assert max(closure.kl for closure in closures) < 0.05
    assert all(closure.summary["filling"] == pytest.approx(1, abs=1e-6) for closure in closures)


def test_closure_compares_with_its_own_reference(references_path, model):
    references = load_references(references_path, model.frequency_grid, toy_files.RESOLUTION)
    solver = NetworkSolver.from_model(model, toy_files.RESOLUTION)
    closures = close_loops(solver, references, SETTINGS)
    assert [c.reference for c in closures] == references
    for closure in closures:
        reference = closure.reference
        expected = kl_divergence(reference.grid, reference.spectrum, closure.spectrum)
        assert closure.kl == pytest.approx(float(expected), rel=1e-12)
        assert closure.summary["U"] == reference.U
        assert closure.summary["eps_d"] == pytest.approx(reference.eps_d)
        assert closure.summary["iterations"] <= SETTINGS.max_iterations
    table = closure_table(closures)
    assert table.columns == COLUMNS and len(table.rows) == len(references)
    scalars = closure_scalars(closures)
    assert scalars["kl_worst"] == max(c.kl for c in closures)
    assert scalars["converged"] == np.mean([c.converged for c in closures])
    assert "U1_eps-0.5_metal/kl" in scalars


def test_references_that_did_not_converge_are_no_truth(tmp_path):
    path = toy_files.make_references(tmp_path / "none.h5", max_iterations=1)
    with pytest.raises(StoreError, match=r"none\.h5 holds no converged loop"):
        load_references(path, FrequencyGrid.geometric(**toy_files.GRID), toy_files.RESOLUTION)


def test_closure_reports_each_validation(tmp_path, module, references_path):
    callback = DmftClosure(references_path, max_iterations=3)
    fit(module, callback, tmp_path)
    values = logged(tmp_path, "dmft_closure/kl_median")
    assert len(values) == 2 and all(math.isfinite(value) for value in values)
    assert (tmp_path / "callbacks" / "dmft_closure.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "callbacks" / "dmft_closure.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(callback.references) and set(rows[0]) == set(COLUMNS)


def test_missing_references_end_the_run_before_the_first_step(tmp_path, module):
    with pytest.raises(StoreError, match=r"nothing\.h5"):
        fit(module, DmftClosure(tmp_path / "nothing.h5"), tmp_path)
    assert module.global_step == 0


# --- KL stability -----------------------------------------------------------------------------


def test_a_model_that_copies_its_input_lies_on_the_diagonal(model):
    class Copy(torch.nn.Module):
        frequency_grid, weights = model.frequency_grid, model.weights

        def curve(self, hybridization, params):
            return hybridization / (hybridization @ self.weights)[:, None]

        def finished(self, curve, hybridization, params):
            return curve

    result = stability(Copy(), data().arrays("train"))
    assert result.kl_prediction == pytest.approx(result.kl_input, rel=1e-3)
    assert result.scalars()["rank_correlation"] == pytest.approx(1, abs=1e-3)


def test_stability_keeps_the_training_flag_and_orders_the_table(model):
    model.train()
    result = stability(model, data().arrays("val"))
    assert model.training
    model.eval()
    assert result.scalars()["kl_worst"] == result.kl_prediction.max()
    errors = [row[-1] for row in result.table().rows]
    assert errors == sorted(errors, reverse=True) and len(errors) == 8


@pytest.mark.parametrize(("every", "reports"), [(1, 3), (2, 2), (0, 1)])
def test_reports_come_every_nth_validation_and_at_the_end(tmp_path, module, every, reports):
    fit(module, KLStability(every), tmp_path, epochs=3)
    assert len(logged(tmp_path, "kl_stability/kl_median")) == reports


def test_figures_and_tables_reach_wandb_offline(tmp_path, module):
    logger = WandbLogger(save_dir=tmp_path, project="test", offline=True)
    try:
        fit(module, KLStability(), tmp_path, epochs=1, logger=logger)
        files = Path(logger.experiment.dir)
    finally:
        wandb.finish()
    media = {path.suffix for path in (files / "media").rglob("kl_stability/*")}
    assert media == {".png", ".json"}  # the figure, the table


def test_counters_survive_a_restart():
    first, second = KLStability(2), KLStability(2)
    first.n_validations, first.reported_at = 5, 4
    second.load_state_dict(first.state_dict())
    assert (second.n_validations, second.reported_at) == (5, 4)


# --- latent map -------------------------------------------------------------------------------


def test_latent_map_keeps_clusters_and_is_reproducible():
    rng = np.random.default_rng(0)
    group = np.arange(60) % 2
    latent = rng.normal(size=(60, 8)) + 30 * group[:, None]
    A0, filling, U = 0.6 * group, np.ones(60), rng.uniform(0, 4, 60)
    first, second = (latent_map(latent, A0, filling, U) for _ in range(2))
    assert np.array_equal(first.embedding, second.embedding)
    scalars = first.scalars()
    assert scalars["r2_A0"] > 0.99 and scalars["r2_filling"] == 1
    assert 0 < scalars["variance_in_two_components"] <= 1
    assert len(first.table().rows) == 60


def test_latent_map_needs_samples():
    with pytest.raises(DmftnetError, match="5 samples: at least 12"):
        latent_map(np.zeros((5, 3)), np.zeros(5), np.ones(5), np.ones(5))


def test_map_of_a_model_takes_at_most_so_many_samples(model, monkeypatch):
    seen = {}

    def record(latent, A0, filling, U, seed):
        seen.update(latent=latent, A0=A0, U=U)

    monkeypatch.setattr(latent_module, "latent_map", record)
    parts = [data().arrays("train"), data().arrays("val")]
    map_of_model(model, parts, max_samples=20)
    assert len(seen["latent"]) == len(seen["A0"]) == 20
    map_of_model(model, parts)
    assert len(seen["latent"]) == 40
    assert np.all(seen["A0"] >= 0)


def test_latent_map_is_drawn_once_at_the_end(tmp_path, module):
    fit(module, LatentMapCallback(), tmp_path)
    assert len(logged(tmp_path, "latent_map/r2_A0")) == 1
    assert (tmp_path / "callbacks" / "latent_map.png").exists()

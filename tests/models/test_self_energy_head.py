"""The head that puts out Sigma: training on its own labels, use in a loop, what it refuses."""

import copy
from functools import partial

import lightning
import numpy as np
import pytest
import torch
from synthetic import ANGLES
from toy_correlated import make_correlated

from dmftnet.data.datamodule import SpectralDataModule
from dmftnet.errors import DmftnetError, DmftnetWarning, SettingError, StoreError
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.solvers.applicability import Applicability
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.solvers.working_grid import REFINED
from dmftnet.models.training.checkpoint import build_model, load_model, save_model
from dmftnet.models.training.losses import DerivativeLoss, SelfEnergyLoss
from dmftnet.models.training.module import SpectralModule
from dmftnet.models.training.scoring import kl_summary, real_axis_kl
from dmftnet.models.training.spectral_task import SpectralTask
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.solutions import SelfEnergySolution
from dmftnet.physics.lattices.bethe import Bethe, semicircle
from dmftnet.physics.lattices.density_of_states import DensityOfStates

GRID = {"w_min": 0.02, "w_max": 8.0, "n_w": 96}
RESOLUTION = (0.03, 0.1)
NET = {"_target_": "dmftnet.models.networks.film.Film", "width": 16, "n_heads": 2, "n_blocks": 1}
HEAD = {"_target_": "dmftnet.models.networks.self_energy_head.SelfEnergyHead"}


def make_model(seed=0, head=HEAD, **changes):
    torch.manual_seed(seed)
    return build_model({**NET, **changes}, head, GRID, ANGLES, RESOLUTION)


def make_module(model, loss=None):
    return SpectralModule(model, loss or SelfEnergyLoss(), partial(torch.optim.AdamW, lr=5e-3))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixteen trajectories of a small exact solver."""
    path = make_correlated(tmp_path_factory.mktemp("sigma") / "few.h5", 16, 2)
    module = SpectralDataModule(
        path, GRID, ANGLES, RESOLUTION, batch_size=8, smoothed="self_energy", cache=False
    )
    module.setup()
    return module


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")  # inside lightning
@pytest.mark.filterwarnings("ignore:The .* does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:The number of training batches:UserWarning")
@pytest.mark.filterwarnings("ignore:Starting from v1.9.0, `tensorboardX`:UserWarning")
def test_training_lowers_every_term_and_the_real_axis_error(data, tmp_path):
    module = make_module(make_model())
    before = kl_summary(real_axis_kl(copy.deepcopy(module.model).eval(), data.arrays("val")))
    terms = module.eval().objective(_batch(data))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=20,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(module.train(), data)
    after = module.eval().objective(_batch(data))
    for name in ("loss", "value", "derivative", "sigma"):
        assert after[name] < terms[name], name
    scores = kl_summary(real_axis_kl(module.model.eval(), data.arrays("val")))
    assert scores["kl_geometric"] < before["kl_geometric"]


def _batch(data):
    arrays = data.arrays("train").known()
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}


def test_the_loss_vanishes_at_the_truth_alone():
    rng = np.random.default_rng(0)
    A, dA, sigma = (torch.from_numpy(rng.random((3, 2, 20))).float() for _ in range(3))
    n, weights, params = torch.rand(3), torch.full((20,), 0.1), torch.tensor([[2.0, -1.0]] * 3)
    loss = SelfEnergyLoss(sigma=2.0, filling=5.0, lam=0.5)

    def terms(predicted):
        return loss(
            (A, dA), (A, dA), weights, params=params, predicted=predicted, exact=(sigma[:, 0], n)
        )

    assert terms((sigma[:, 0], n))["loss"] == 0
    moved = terms((sigma[:, 0], n + 0.1))
    assert float(moved["loss"]) == pytest.approx(0.5, rel=1e-5)
    assert float(moved["filling"]) == pytest.approx(0.1, rel=1e-5)
    more = terms((1.2 * sigma[:, 0], n))
    # sqrt(S / (U^2/4)) with U = 2: S itself, but for the floor
    expected = ((1.2 * sigma[:, 0]).sqrt() - sigma[:, 0].sqrt()).abs().sum(-1).mean() * 0.1
    assert float(more["sigma"]) == pytest.approx(float(expected), rel=1e-2)
    assert float(more["loss"]) == pytest.approx(2 * float(more["sigma"]), rel=1e-5)


def test_filling_and_sum_rule_belong_to_the_answer(data):
    """Of an untrained network: what holds, holds by construction."""
    model = make_model().eval()
    arrays = data.arrays("test")
    h, p = torch.from_numpy(arrays.hybridization), torch.from_numpy(arrays.params)
    A, sigma, n = model.answer(h, p)
    U = p[:, 0].double()
    torch.testing.assert_close(sigma @ model.dyson.weights, U**2 * n * (1 - n))
    torch.testing.assert_close(A @ model.dyson.occupied, n, rtol=0, atol=1e-6)


def test_the_solver_answers_on_the_grid_of_the_problem():
    solver = NetworkSolver.from_model(make_model().eval(), RESOLUTION)
    assert solver.grid.n_w == REFINED * GRID["n_w"]
    for grid in (solver.grid, FrequencyGrid.geometric(1e-3, 7.0, 500)):
        problem = ImpurityProblem.on_grid(2.0, -0.7, grid, 0.25 * semicircle(grid, 0.1, 1.0, 1.0))
        solution = solver.solve(problem)
        assert isinstance(solution, SelfEnergySolution)
        sigma, n = solution.self_energy()[0], solution.filling / 2
        assert np.all(sigma.imag <= 0)
        # the curve between the points is the network's: its integral to a quadrature of it
        strength = grid.integrate(-sigma.imag / np.pi)
        assert strength == pytest.approx(4 * n * (1 - n), rel=1e-6)
        hartree = np.median(sigma.real - grid.hilbert @ (-sigma.imag / np.pi))
        assert hartree == pytest.approx(2 * n, abs=1e-5)


@pytest.mark.parametrize("factor", [0.3, 1.7])
def test_the_unit_of_energy_means_nothing(factor):
    solver = NetworkSolver.from_model(make_model().eval(), RESOLUTION)
    grid = FrequencyGrid.geometric(2e-3, 6.0, 300)
    curve = 0.2 * semicircle(grid, 0.1, 1.0, 1.0)
    sigma, scaled = (
        solver.solve(
            ImpurityProblem.on_grid(s * 2.0, s * -0.7, FrequencyGrid(s * grid.omega), s * curve)
        ).self_energy()[0]
        for s in (1.0, factor)
    )
    inside = slice(1, -1)  # at the ends Hilbert's transform has a logarithm
    np.testing.assert_allclose(scaled[inside], factor * sigma[inside], rtol=1e-5, atol=1e-6)


def test_without_a_bath_it_is_said_that_nothing_of_the_kind_was_seen():
    ranges = {"U": [0.0, 5.0], "shift": [0.0, 3.0]}
    solver = NetworkSolver.from_model(
        make_model().eval(), RESOLUTION, applicability=Applicability(ranges)
    )
    for weight in (0.0, 1e-9):
        band = semicircle(solver.grid, 0.0, 1.0, weight)
        problem = ImpurityProblem.on_grid(2.0, -1.0, solver.grid, band)
        with pytest.warns(DmftnetWarning, match=r"in units of the bath's own D = 0\.06"):
            solution = solver.solve(problem)
        assert np.all(np.isfinite(solution.spectrum())) and solution.diagnostics["extrapolating"]


def test_a_checkpoint_in_other_units_is_refused(tmp_path):
    record = {"model": NET, "head": HEAD, "grid": GRID, "angles": list(ANGLES)}
    record |= {"resolution": list(RESOLUTION), "smoothed": "self_energy"}
    save_model(tmp_path / "new", make_model(), record | {"units": "bath"})
    load_model(tmp_path / "new")
    with pytest.raises(StoreError, match="see problems in units of their bath, 'bath'"):
        save_model(tmp_path / "old", make_model(), record)
        load_model(tmp_path / "old")


def test_an_ensemble_is_the_mean_of_shapes():
    models = [make_model(seed).eval() for seed in (0, 1)]
    grid = NetworkSolver.from_model(models[0], RESOLUTION).grid
    problem = ImpurityProblem.on_grid(2.0, -0.7, grid, 0.25 * semicircle(grid, 0.0, 1.0, 1.0))
    densities = []
    for model in (*models, Ensemble(models).eval()):
        solution = NetworkSolver.from_model(model, RESOLUTION).solve(problem)
        density = -solution.self_energy()[0].imag
        densities.append(density / grid.integrate(density))
        found = solution.diagnostics
    np.testing.assert_allclose(densities[2], 0.5 * (densities[0] + densities[1]), atol=1e-5)
    assert found["spread"] > 0


def test_loops_close_where_the_density_of_states_vanishes():
    """An untrained network is about perturbation theory: it must converge on any lattice."""
    energies = np.linspace(-1, 1, 401)
    pseudogap = DensityOfStates(energies, np.abs(energies))
    solver = NetworkSolver.from_model(make_model().eval(), RESOLUTION)
    for lattice in (Bethe(), pseudogap):
        problem = ImpurityProblem.on_grid(
            1.0, -0.5, solver.grid, lattice.bare_hybridization(solver.grid)
        )
        result = DMFTLoop(solver, lattice, max_iterations=40).run_one(problem)
        assert result.converged, lattice.name
        assert result.solution.filling == pytest.approx(1, abs=1e-5)


def test_what_does_not_belong_together_is_refused(data):
    spectra = make_model(head={"_target_": "dmftnet.models.networks.heads.RotatedHead"})
    with pytest.raises(DmftnetError, match="use head=self_energy"):
        make_module(spectra)
    with pytest.raises(DmftnetError, match="train all with one head"):
        Ensemble([spectra, make_model()])
    with pytest.raises(DmftnetError, match=r"leave model\.corrects"):
        make_model(corrects="spectrum")
    make_module(make_model(), DerivativeLoss())  # without labels of Sigma it may be trained
    plain = {
        "model": NET,
        "head": HEAD,
        "dataset": {"grid": GRID, "angles": list(ANGLES), "resolution": list(RESOLUTION)},
    }
    assert SpectralTask().build(plain, data).corrects == "self_energy"
    other = SpectralDataModule(data.paths, GRID, ANGLES, RESOLUTION, cache=False)
    with pytest.raises(SettingError, match=r"dataset\.smoothed=self_energy"):
        SpectralTask().build(plain, other)


def test_it_comes_back_from_disk(data, tmp_path):
    model = make_model()
    dataset = {
        "grid": GRID, "angles": list(ANGLES), "resolution": list(RESOLUTION), "path": data.paths,
    }  # fmt: skip
    plain = {"model": NET, "head": HEAD, "dataset": dataset, "loss": {}, "optimizer": {}, "seed": 0}
    SpectralTask().save(tmp_path, model, {}, data, plain)
    again = load_model(tmp_path)
    with pytest.raises(SettingError, match="nothing is sharpened"):
        NetworkSolver(tmp_path, sharpening=2)
    assert again.record["smoothed"] == "self_energy" and again.corrects == "self_energy"
    arrays = data.arrays("test")
    np.testing.assert_allclose(real_axis_kl(again, arrays), real_axis_kl(model.eval(), arrays))

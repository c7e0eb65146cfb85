"""Loss, schedule, metrics, and exact resume of the LightningModule."""

import copy
from dataclasses import replace
from functools import partial

import lightning
import numpy as np
import pytest
import torch
from synthetic import ANGLES, GRID, RESOLUTION, SyntheticDataModule

from dmftnet.errors import ConvergenceError, DmftnetError
from dmftnet.models.training.checkpoint import build_model
from dmftnet.models.training.losses import DerivativeLoss, TaylorLoss
from dmftnet.models.training.module import SpectralModule
from dmftnet.models.training.scoring import hybridization_kl, kl_summary, real_axis_kl

EPOCHS = 4


class StopAfter(lightning.Callback):
    """Ends a run after an epoch, as an interruption between two epochs does."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch >= self.epoch


SEED = {
    "_target_": "dmftnet.models.networks.crossattn.CrossAttention",
    "dropout": 0.1,
    "pairs": 1,  # of so few frequencies, at this width
}
FILM = {"_target_": "dmftnet.models.networks.film.Film", "n_blocks": 1}


def make_module(head="DirectHead", lr=3e-3, net=SEED, loss=None, **options):
    torch.manual_seed(0)
    net = {"width": 8, "n_heads": 2, **net}
    model = build_model(
        net, {"_target_": f"dmftnet.models.networks.heads.{head}"}, GRID, ANGLES, RESOLUTION
    )
    optimizer = partial(torch.optim.AdamW, lr=lr)
    hyperparameters = {"lr": lr, "grid": GRID}
    return SpectralModule(
        model,
        loss or DerivativeLoss(0.5),
        optimizer,
        hyperparameters=hyperparameters,
        **options,
    )


def make_trainer(folder, callbacks=(), epochs=EPOCHS):
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        min_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=[
            lightning.pytorch.callbacks.ModelCheckpoint(
                dirpath=folder, filename="best", save_last=True, save_on_train_epoch_end=True
            ),
            *callbacks,
        ],
    )


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # inside lightning
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* not empty:UserWarning")  # a resumed run
class TestFit:
    def test_resumed_run_equals_uninterrupted_run_exactly(self, tmp_path):
        """Dropout, drawn angles, shuffling, warm-up and optimizer moments included."""
        whole = make_module()
        make_trainer(tmp_path / "whole").fit(whole, SyntheticDataModule(n=16))

        first = make_module()
        make_trainer(tmp_path / "parts", [StopAfter(1)]).fit(first, SyntheticDataModule(n=16))
        torch.manual_seed(12345)  # a new process has another generator state
        second = make_module()
        checkpoint = tmp_path / "parts" / "last.ckpt"
        torch.load(checkpoint, weights_only=True)
        trainer = make_trainer(tmp_path / "parts")
        trainer.fit(second, SyntheticDataModule(n=16), ckpt_path=checkpoint, weights_only=True)

        assert trainer.current_epoch == EPOCHS
        differences = [
            (a - b).abs().max().item()
            for a, b in zip(whole.parameters(), second.parameters(), strict=True)
        ]
        assert max(differences) == 0
        unfinished = [
            (a - b).abs().max().item()
            for a, b in zip(whole.parameters(), first.parameters(), strict=True)
        ]
        assert max(unfinished) > 0

    @pytest.mark.parametrize("head", ["DirectHead", "RotatedHead"])
    def test_loss_falls_and_scores_are_logged(self, tmp_path, head):
        module, data = make_module(head, lr=1e-2), SyntheticDataModule(n=32)
        data.setup()
        before = kl_summary(real_axis_kl(copy.deepcopy(module.model).eval(), data.arrays("val")))
        trainer = make_trainer(tmp_path, epochs=12)
        trainer.fit(module, data)
        scores = {k: float(v) for k, v in trainer.callback_metrics.items()}
        assert scores["val/kl_geometric"] < before["kl_geometric"]
        assert scores["val/kl_median"] <= scores["val/kl_90"] <= scores["val/kl_worst"]
        assert {"train/loss", "train/value", "train/derivative", "val/loss"} <= scores.keys()
        trainer.test(module, data, verbose=False)
        kl = real_axis_kl(module.model.eval(), data.arrays("test"))
        assert trainer.callback_metrics["test/kl_worst"] == pytest.approx(kl.max(), rel=1e-4)

    def test_without_lam_slopes_are_for_validation_only(self, tmp_path):
        module, data = make_module("DirectHead"), SyntheticDataModule(n=16)
        module.loss = DerivativeLoss(lam=0.0)
        trainer = make_trainer(tmp_path, epochs=1)
        trainer.fit(module, data)
        assert {"train/value", "val/derivative"} <= trainer.callback_metrics.keys()
        assert "train/derivative" not in trainer.callback_metrics

    def test_guesses_are_computed_once(self, tmp_path, monkeypatch):
        module, data = make_module("RotatedHead", net=FILM), SyntheticDataModule(n=16)
        sizes, compute = [], module.model.net.guesses.forward
        monkeypatch.setattr(
            module.model.net.guesses,
            "forward",
            lambda h, p: (sizes.append(len(p)), compute(h, p))[1],
        )
        trainer = make_trainer(tmp_path, epochs=3)
        trainer.fit(module, data)
        assert sizes == [16, 8]  # training and validation samples
        kept = trainer.train_dataloader.dataset.tensors["guesses"]
        arrays = trainer.train_dataloader.dataset.tensors
        torch.testing.assert_close(kept, compute(arrays["hybridization"], arrays["params"]))

    def test_taylor_term_is_trained(self, tmp_path):
        module = make_module(loss=TaylorLoss(mu=1.0))
        trainer = make_trainer(tmp_path, epochs=2)
        trainer.fit(module, SyntheticDataModule(n=16))
        assert trainer.callback_metrics["val/taylor"] > 0

    def test_diverged_training_says_so(self, tmp_path):
        module = make_module()
        with torch.no_grad():
            module.model.net.projection.bias.fill_(float("nan"))
        with pytest.raises(ConvergenceError, match=r"optimizer\.lr"):
            make_trainer(tmp_path).fit(module, SyntheticDataModule(n=8))


def test_learning_rate_rises_and_then_falls_as_a_cosine():
    module = make_module(warmup_fraction=0.1)
    module.trainer = type("Trainer", (), {"estimated_stepping_batches": 100})()
    schedule = module.configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
    factors = np.array([schedule(step) for step in range(100)])
    assert np.all(np.diff(factors[:10]) > 0) and factors[9] == 1
    assert np.all(np.diff(factors[10:]) < 0) and 0 < factors[-1] < 0.01


def test_angles_of_a_step_are_drawn_only_where_they_cost():
    batch = {"params": torch.zeros(5, 2), "rotated": torch.zeros(5, 3, 4)}
    assert make_module("RotatedHead")._draw_angles(batch) is None
    index = make_module("DirectHead", angles_per_step=2)._draw_angles(batch)
    assert index.shape == (5, 2) and torch.all(index[:, 0] != index[:, 1])
    assert make_module("DirectHead", angles_per_step=0)._draw_angles(batch) is None


class TestLoss:
    weights = torch.tensor([0.5, 1.0, 0.5])

    def pair(self, value, derivative):
        shape = torch.ones(2, 1, 3)
        return value * shape, derivative * shape

    def test_terms_and_weight(self):
        loss = DerivativeLoss(lam=0.3, weight_power=1.0)
        terms = loss(self.pair(1.0, 2.0), self.pair(0.5, -1.0), self.weights)
        assert terms["value"].item() == pytest.approx(0.5 * 2)  # |difference| times the range
        assert terms["derivative"].item() == pytest.approx(3 * 2)
        assert terms["loss"].item() == pytest.approx(1.0 + 0.3 * 6)

    def test_lam_zero_ignores_the_derivative(self):
        loss = DerivativeLoss(lam=0.0)
        broken = self.pair(1.0, float("inf"))
        assert torch.isfinite(loss(broken, self.pair(1.0, 0.0), self.weights)["loss"])

    def test_weights_keep_their_total(self):
        terms = DerivativeLoss(1.0, weight_power=0.5)(
            self.pair(1.0, 0.0), self.pair(0.0, 0.0), self.weights
        )
        assert terms["value"].item() == pytest.approx(2.0)

    def test_negative_lam_is_refused(self):
        with pytest.raises(DmftnetError, match=r"loss\.lam = -1"):
            DerivativeLoss(-1)

    def test_amplitudes_and_their_slopes(self):
        """``sqrt(A)`` and ``dA / (2 sqrt(A))``: 2 and 1/4 of A = 4, 1 and 1 of A = 1."""
        loss = DerivativeLoss(lam=1.0, weight_power=1.0, amplitude=True)
        terms = loss(self.pair(4.0, 1.0), self.pair(1.0, 2.0), self.weights)
        assert terms["value"].item() == pytest.approx(1.0 * 2, rel=1e-3)  # of the floor, 1e-4
        assert terms["derivative"].item() == pytest.approx(0.75 * 2, rel=1e-3)

    def test_the_amplitude_is_the_metric_of_the_kl(self):
        """Equal shares of error at a high and at a low spectrum give equal terms ~ sqrt(KL)."""
        loss = DerivativeLoss(lam=0.0, weight_power=1.0, amplitude=True)
        for height in (0.05, 5.0):
            off = height * (1 + 0.02 / height**0.5)  # KL = (0.02)^2 / 2 a unit of w at any height
            value = loss(self.pair(off, 0.0), self.pair(height, 0.0), self.weights)["value"].item()
            assert value == pytest.approx(0.01 * 2, rel=0.05)


class TestTaylorLoss:
    weights = torch.tensor([0.5, 1.0, 0.5])
    data = torch.rand(2, 1, 3), torch.rand(2, 1, 3)

    def taylor(self, function, loss):
        """The term of a prediction that depends on the angle as `function` says."""
        zero = torch.zeros(2, 1, 3, requires_grad=True)
        A = function(zero)
        (dA,) = torch.autograd.grad(A.sum(), zero)
        expansion = A, dA, function(zero + loss.small_angle)
        terms = loss(self.data, self.data, self.weights, expansion)
        assert terms["loss"].item() == pytest.approx(loss.mu * terms["taylor"].item())
        return terms["taylor"].item()

    def test_zero_where_the_angle_enters_linearly(self):
        loss = TaylorLoss(mu=0.7, angle=0.1)
        assert self.taylor(lambda a: 0.3 + 2.0 * a, loss) == pytest.approx(0, abs=1e-6)

    def test_positive_elsewhere_and_of_first_order(self):
        """``(c a^2) / a = c a`` times the integral of one."""
        for angle in (0.1, 0.05):
            term = self.taylor(lambda a: 3.0 * a**2, TaylorLoss(angle=angle))
            assert term == pytest.approx(3.0 * angle * 2.0, rel=1e-5)

    def test_data_terms_stay(self):
        loss, flat = TaylorLoss(lam=0.3), torch.ones(2, 1, 3)
        terms = loss((flat, flat), (0 * flat, 0 * flat), self.weights, (flat, 0 * flat, flat))
        assert terms["taylor"] == 0
        assert terms["loss"].item() == pytest.approx(1.3 * 2)

    @pytest.mark.parametrize(
        ("options", "message"), [({"mu": 0.0}, "loss.mu = 0"), ({"angle": 1.0}, "loss.angle = 1")]
    )
    def test_bad_arguments(self, options, message):
        with pytest.raises(DmftnetError, match=message):
            TaylorLoss(**options)

    def test_the_rotated_head_is_refused_in_one_line(self):
        with pytest.raises(DmftnetError, match="head=direct") as caught:
            make_module("RotatedHead", loss=TaylorLoss())
        assert "\n" not in str(caught.value)


def test_hybridization_kl_is_zero_where_the_answer_is_the_input():
    data = SyntheticDataModule()
    data.setup()
    arrays = data.arrays("test")
    model = make_module().model
    assert np.all(hybridization_kl(model.frequency_grid, arrays) > 0)
    arrays = replace(arrays, hybridization=0.25 * arrays.spectrum)
    np.testing.assert_allclose(hybridization_kl(model.frequency_grid, arrays), 0, atol=2e-3)

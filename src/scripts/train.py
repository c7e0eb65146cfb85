"""Train a network on complex-time spectra: HDF5 in, checkpoint, W&B run and a table of scores out.

    python train.py model=crossattn loss.lam=0.1
    python train.py model=crossquery head=direct
    python train.py -m loss.lam=0,0.1,1

The run folder (``hydra.run.dir=...``) then holds ``model.safetensors`` and ``model.yaml``, what
``python dmft.py solver=network`` loads, and ``checkpoints/last.ckpt`` to resume from.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import hydra
import lightning
import torch
import wandb
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from rich.console import Console
from rich.table import Table

from dmftnet import checks
from dmftnet.callbacks.progress_log import ProgressLog
from dmftnet.config import arguments, arguments_of, entry_point, instantiate, run, to_plain
from dmftnet.errors import DmftnetError
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.training.baselines import Baseline
from dmftnet.models.training.checkpoint import build_model, describe_data, save_model
from dmftnet.models.training.fine_tuning import begin_with
from dmftnet.models.training.losses import DerivativeLoss
from dmftnet.models.training.module import SpectralModule
from dmftnet.models.training.resuming import require_resumable
from dmftnet.models.training.scoring import SUMMARY, kl_summary, real_axis_kl, scores_beside
from dmftnet.places import CONF
from dmftnet.progress import check_every

COLUMNS = {"kl_median": "median", "kl_90": "90 %", "kl_worst": "worst"}


def check(plain: dict[str, Any]) -> None:
    """The keys that no class of the project checks; nothing has been made or read yet."""
    checks.seed("seed", plain["seed"])
    checks.threads("threads", plain["threads"])
    check_every(plain["progress_every"])
    checks.choice("monitor", plain["monitor"], [f"val/{name}" for name in SUMMARY])
    checks.flag("baselines", plain["baselines"])
    arguments(SpectralModule, "module", plain["module"])
    trainer = checks.section("trainer", plain["trainer"])
    for key in ("max_epochs", "check_val_every_n_epoch"):
        checks.integer(f"trainer.{key}", trainer.get(key), at_least=1)
    for key in ("callbacks", "logger"):
        checks.section(key, plain.get(key) or {})


def train_network(
    config, plain: dict[str, Any], model: SpectralModel, datamodule, loggers, run_dir: Path
) -> dict[str, Any]:
    """Fit with Lightning, put the best checkpoint's weights into `model`; returns what it cost."""
    module = SpectralModule(
        model,
        instantiate(config, "loss", DerivativeLoss),
        instantiate(config, "optimizer"),
        seed=config.seed,
        hyperparameters=plain,
        **plain["module"],
    )
    keeping = {
        "dirpath": run_dir / "checkpoints",
        "save_on_train_epoch_end": True,  # after validation, with the epoch complete: exact resume
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
    }
    every = config.trainer.check_val_every_n_epoch
    best = ModelCheckpoint(filename="best", monitor=config.monitor, every_n_epochs=every, **keeping)
    last = ModelCheckpoint(filename="last", **keeping)  # save_last writes where `best` does alone
    callbacks = [
        instantiate(config, f"callbacks.{name}", Callback) for name in config.get("callbacks") or ()
    ]
    own = {"logger": list(loggers.values()), "default_root_dir": run_dir}
    if not Console().is_terminal:  # where a bar shows nothing before its end
        callbacks.append(ProgressLog(config.progress_every))
        own["enable_progress_bar"] = False
    own["callbacks"] = [*callbacks, best, last]
    trainer = instantiate(config, "trainer", lightning.Trainer, **own)
    if config.resume is not None:
        require_resumable(config.resume, module)
    begin(loggers)
    began = time.monotonic()
    try:
        trainer.fit(module, datamodule, ckpt_path=config.resume, weights_only=True)
    except MisconfigurationException as exc:
        raise DmftnetError(f"trainer: {exc}") from exc
    except SIGTERMException:  # Lightning would exit as if nothing were amiss
        kept = Path(last.dirpath, "last.ckpt")
        remedy = f"go on with resume={kept}" if kept.is_file() else "start it again"
        raise DmftnetError(
            f"training was terminated in epoch {trainer.current_epoch}, no model is written; "
            f"{remedy}"
        ) from None
    seconds = round(time.monotonic() - began, 1)
    if best.best_model_path:
        state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
        module.load_state_dict(state)
    trainer.test(module, datamodule, verbose=False)
    on_gpu = trainer.strategy.root_device.type == "cuda"
    device = torch.cuda.get_device_name() if on_gpu else f"cpu, {torch.get_num_threads()} threads"
    return {"seconds": seconds, "epochs": trainer.current_epoch, "device": device}


def begin(loggers: dict[str, Logger]) -> None:
    """Loggers look at their arguments when they begin, which they would do in the training."""
    for key, logger in loggers.items():
        with arguments_of(key, type(logger).__name__):
            logger.experiment  # noqa: B018 - a property that begins it


def print_scores(scores: dict[str, dict]) -> None:
    """The test table, one row a model."""
    table = Table(title="KL(A_ref || A) on the real axis, test trajectories")
    table.add_column("model")
    for title in COLUMNS.values():
        table.add_column(title, justify="right")
    for name, values in scores.items():
        table.add_row(name, *(f"{values[key]:.2e}" for key in COLUMNS))
    Console().print(table)


@hydra.main(version_base="1.3", config_path=CONF, config_name="train")
@entry_point
def main(config) -> float:
    plain = to_plain(config)
    check(plain)
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    datamodule = instantiate(config, "dataset", lightning.LightningDataModule)
    datamodule.setup("fit")
    dataset = plain["dataset"]
    model = build_model(
        plain["model"], plain["head"], *(dataset[key] for key in ("grid", "angles", "resolution"))
    )
    earlier = []
    if config.init_from is not None:
        description = {"model": plain["model"], "head": plain["head"], "grid": dataset["grid"]}
        earlier = begin_with(model, description, config.init_from)
    loggers = {
        f"logger.{name}": instantiate(config, f"logger.{name}", Logger, save_dir=run_dir)
        for name in config.get("logger") or ()
    }
    name = HydraConfig.get().runtime.choices["model"]
    record = {key: plain[key] for key in ("model", "head", "loss", "optimizer", "seed")}
    try:
        if isinstance(model, Baseline):
            begin(loggers)
            model.fit(datamodule.arrays("train"), datamodule.arrays("val"))
        else:
            name = f"{name}, {HydraConfig.get().runtime.choices['head']} head"
            record["training"] = train_network(config, plain, model, datamodule, loggers, run_dir)
            if earlier:
                record["training"]["earlier"] = earlier
        model.eval()
        scores = scores_beside(name, model, datamodule, dataset if plain["baselines"] else None)
        validation = kl_summary(real_axis_kl(model, datamodule.arrays("val")))
        save_model(
            run_dir,
            model,
            {**record, **describe_data(datamodule, dataset), "test": scores, "val": validation},
        )
        others = {row.replace(" ", "_"): r for row, r in scores.items() if row != name}
        for logger in loggers.values():
            logger.log_metrics(
                {f"test/{row}/{key}": v for row, r in others.items() for key, v in r.items()}
            )
            logger.save()
    finally:
        wandb.finish()  # else the next run in this process is merged into this one
    print_scores(scores)
    print(f"model written to {run_dir}")
    return validation[config.monitor.removeprefix("val/")]


if __name__ == "__main__":
    run(main)

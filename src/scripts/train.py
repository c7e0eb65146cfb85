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
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from rich.console import Console
from rich.table import Table
from torch import nn

from dmftnet import checks
from dmftnet.callbacks.progress_log import ProgressLog
from dmftnet.config import arguments, arguments_of, entry_point, instantiate, run, to_plain
from dmftnet.data.thermal_datamodule import ThermalDataModule
from dmftnet.errors import DmftnetError, SettingError
from dmftnet.models.correction.task import CorrectionTask
from dmftnet.models.training.resuming import require_resumable
from dmftnet.models.training.spectral_task import SpectralTask
from dmftnet.models.training.task import Task
from dmftnet.places import CONF
from dmftnet.progress import check_every


def task_of(plain: dict[str, Any]) -> Task:
    """That of the dataset that the config names; nothing has been read yet.

    Raises
    ------
    SettingError
    """
    target = checks.section("dataset", plain["dataset"]).get("_target_")
    try:
        kind = get_class(target)
    except Exception:  # of a name that is none hydra raises almost anything
        kind = object
    if issubclass(kind, ThermalDataModule):
        return CorrectionTask()
    if issubclass(kind, lightning.LightningDataModule):
        return SpectralTask()
    raise SettingError(
        f"dataset._target_ = {checks.shown(target)} is no data to train on; name a "
        "LightningDataModule, see conf/dataset"
    )


def check(plain: dict[str, Any], task: Task) -> None:
    """The keys that no class of the project checks; nothing has been made or read yet."""
    checks.seed("seed", plain["seed"])
    checks.threads("threads", plain["threads"])
    check_every(plain["progress_every"])
    checks.choice("monitor", plain["monitor"], [f"val/{name}" for name in task.summary])
    checks.flag("baselines", plain["baselines"])
    arguments(task.module_class, "module", plain["module"])
    task.check(plain)
    trainer = checks.section("trainer", plain["trainer"])
    for key in ("max_epochs", "check_val_every_n_epoch"):
        checks.integer(f"trainer.{key}", trainer.get(key), at_least=1)
    for key in ("callbacks", "logger"):
        checks.section(key, plain.get(key) or {})


def train_network(
    config, plain: dict[str, Any], task: Task, model: nn.Module, datamodule, loggers, run_dir: Path
) -> dict[str, Any]:
    """Fit with Lightning, put the best checkpoint's weights into `model`; returns what it cost."""
    module = task.module(
        model,
        instantiate(config, "loss", task.loss),
        instantiate(config, "optimizer"),
        plain,
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


def print_scores(task: Task, scores: dict[str, dict]) -> None:
    """The test table, one row a model."""
    table = Table(title=task.title)
    table.add_column("model")
    for title in task.columns.values():
        table.add_column(title, justify="right")
    for name, values in scores.items():
        table.add_row(name, *(f"{values[key]:.2e}" for key in task.columns))
    Console().print(table)


@hydra.main(version_base="1.3", config_path=CONF, config_name="train")
@entry_point
def main(config) -> float:
    plain = to_plain(config)
    task = task_of(plain)
    check(plain, task)
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    datamodule = instantiate(config, "dataset", lightning.LightningDataModule)
    datamodule.setup("fit")
    model = task.build(plain, datamodule)
    earlier = [] if config.init_from is None else task.begin_with(model, plain)
    loggers = {
        f"logger.{name}": instantiate(config, f"logger.{name}", Logger, save_dir=run_dir)
        for name in config.get("logger") or ()
    }
    name, record = task.label(HydraConfig.get().runtime.choices, model), {}
    if task.is_fitted(model):
        begin(loggers)
        model.fit(datamodule.arrays("train"), datamodule.arrays("val"))
    else:
        record["training"] = train_network(config, plain, task, model, datamodule, loggers, run_dir)
        if earlier:
            record["training"]["earlier"] = earlier
    model.eval()
    scores = task.scores(name, model, datamodule, plain)
    validation = task.validation(model, datamodule)
    task.save(run_dir, model, {**record, "test": scores, "val": validation}, datamodule, plain)
    others = {row.replace(" ", "_"): r for row, r in scores.items() if row != name}
    for logger in loggers.values():
        logger.log_metrics(
            {f"test/{row}/{key}": v for row, r in others.items() for key, v in r.items()}
        )
        logger.save()
    print_scores(task, scores)
    print(f"model written to {run_dir}")
    return validation[config.monitor.removeprefix("val/")]


if __name__ == "__main__":
    run(main)

"""Make the solver that ships: checkpoints in, one folder with limits and a model card out.

    python ship.py 'checkpoints=[outputs/train/a,outputs/train/b]'

Calibrates the limits of spread and distance on the validation split, measures test scores and the
cost of a solve, and writes ``weights/`` (members, ``model.yaml``, ``README.md``), the default of
``python dmft.py solver=network``. An existing folder is not touched.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import hydra
import numpy as np
import torch
from rich.console import Console
from rich.markdown import Markdown

from dmftnet.config import entry_point, instantiate, run, to_plain
from dmftnet.data.datamodule import SpectralDataModule
from dmftnet.errors import DmftnetError, StoreError
from dmftnet.models.applicability import TrainingDistance, calibration_report, choose_limits
from dmftnet.models.checkpoint import read_record
from dmftnet.models.ensemble import disagreement
from dmftnet.models.model_card import model_card
from dmftnet.models.scoring import hybridization_kl, kl_summary, predict_members, predict_real_axis
from dmftnet.models.shipped import load_ensemble, save_shipped
from dmftnet.physics.observables import kl_divergence
from dmftnet.provenance import provenance

BATCH = 64


def training_data(config, checkpoints: list[str], records: list[dict]) -> SpectralDataModule:
    """The data that every checkpoint was trained on, as they saw it."""
    own = {key: records[0][key] for key in ("grid", "angles", "resolution")}
    data = instantiate(config.dataset, **own)
    for checkpoint, record in zip(checkpoints, records, strict=True):
        found = record.get("data", {}).get("sha256")
        if found != data.data_hash:
            raise StoreError(
                f"'{checkpoint}' was trained on other data ({record.get('data', {}).get('file')}) "
                f"than dataset.path = {config.dataset.path}: its validation split would prove "
                "nothing; give the dataset it was trained on"
            )
    return data


def examine(model, distance: TrainingDistance, arrays) -> tuple[np.ndarray, np.ndarray, dict]:
    """Errors of the members (M, n) and of their mean (n,), and the scores to predict them by."""
    members = predict_members(model, arrays.hybridization, arrays.params)
    reference, grid = np.float64(arrays.spectrum), model.frequency_grid
    scores = {"distance": distance(arrays.hybridization, arrays.params)}
    if len(members) > 1:
        scores = {"spread": disagreement(grid, members), **scores}
    errors = np.stack([kl_divergence(grid, reference, one) for one in members])
    return errors, kl_divergence(grid, reference, members.mean(axis=0)), scores


def cost(model, arrays) -> dict[str, float]:
    """Milliseconds of one solve and of one in a batch, fastest of several runs."""

    def milliseconds(size: int, repeats: int) -> float:
        pick = np.arange(size) % len(arrays)
        inputs, best = (arrays.hybridization[pick], arrays.params[pick]), np.inf
        for _ in range(repeats):
            began = time.perf_counter()
            predict_real_axis(model, *inputs)
            best = min(best, time.perf_counter() - began)
        return round(1e3 * best / size, 4)

    parameters = sum(p.numel() for p in model.parameters())
    return {
        "one_ms": milliseconds(1, 20),
        "batch_ms": milliseconds(BATCH, 5),
        "batch": BATCH,
        "parameters": parameters,
    }


def evidence(config, model, data) -> tuple[dict, dict, TrainingDistance]:
    """(record of limits, calibration and cost; rows of the test table; training points)."""
    train, validation, test = (data.arrays(split) for split in ("train", "val", "test"))
    distance = TrainingDistance.fit(model.frequency_grid, train.hybridization, train.params)
    settings = to_plain(config.calibration)
    _, errors, scores = examine(model, distance, validation)
    limits = choose_limits(errors, scores, **settings)
    members, test_errors, test_scores = examine(model, distance, test)
    kl = settings["kl"]
    calibration = {
        **settings,
        "validation": calibration_report(errors, scores, limits, kl),
        "test": calibration_report(test_errors, test_scores, limits, kl),
    }
    rows = {"this solver": kl_summary(test_errors)}
    if len(members) > 1:
        rows |= {f"member {i}": kl_summary(own) for i, own in enumerate(members)}
    rows["input hybridization"] = kl_summary(hybridization_kl(model.frequency_grid, test))
    fillings = np.quantile(train.filling, (0.01, 0.99)).round(3).tolist()
    record = {"filling": fillings, "test": rows, "limits": limits, "calibration": calibration}
    return {**record, "cost": cost(model, test), "shipping": provenance()}, rows, distance


@hydra.main(version_base="1.3", config_path="conf", config_name="ship")
@entry_point
def main(config) -> None:
    folder = Path(config.folder)
    if folder.exists():
        raise StoreError(
            f"'{folder}' exists and is not overwritten; choose folder=... or remove it"
        )
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    given = to_plain(config)["checkpoints"]
    checkpoints = [given] if isinstance(given, str) else given
    records = [read_record(checkpoint) for checkpoint in checkpoints]
    model = load_ensemble(checkpoints)
    record, rows, distance = evidence(config, model, training_data(config, checkpoints, records))
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    save_shipped(part, checkpoints, record, distance)
    members = read_record(part).get("members", [])
    described = [read_record(part / name) for name in members] or [read_record(part)]
    card = model_card(read_record(part), described, rows)
    (part / "README.md").write_text(card, encoding="utf-8")
    size = sum(file.stat().st_size for file in part.rglob("*") if file.is_file()) / 1e6
    if size > config.max_size:
        shutil.rmtree(part)
        raise DmftnetError(
            f"the folder would take {size:.1f} MB, more than max_size = {config.max_size:g}; ship "
            "fewer or smaller networks"
        )
    part.rename(folder)
    Console().print(Markdown(card))
    print(f"{folder}: {size:.1f} MB")


if __name__ == "__main__":
    run(main)

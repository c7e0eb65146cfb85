"""Ship checkpoints as one solver: a folder with limits and a model card.

    python ship.py 'checkpoints=[outputs/train/a,outputs/train/b]'
    python ship.py kind=corrections 'checkpoints=[outputs/train/a,outputs/train/b]'

Calibrates the limits of spread and distance on the validation split, and there chooses a network's
steps of sharpening; measures test scores and the cost of a solve. Writes members, ``model.yaml``
and ``README.md`` to ``folder``, which ``solver.checkpoint=FOLDER`` loads; those in ``weights`` come
with the package. An existing folder is not touched.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, fields
from pathlib import Path

import hydra
import numpy as np
import torch
from rich.console import Console
from rich.markdown import Markdown

from dmftnet import checks
from dmftnet.config import entry_point, instantiate, run, to_plain
from dmftnet.data.datamodule import SpectralDataModule
from dmftnet.data.labels import SMOOTHED
from dmftnet.data.thermal_datamodule import ThermalDataModule
from dmftnet.errors import DmftnetError, SettingError, StoreError
from dmftnet.evaluation.evidence import (
    SharpeningChoice,
    choose_sharpening,
    cost,
    examine,
    interpolation,
)
from dmftnet.models.correction.checkpoint import CORRECTIONS
from dmftnet.models.correction.trust import FeatureDistance
from dmftnet.models.shipping import correction
from dmftnet.models.shipping.correction_card import CORRECTION_CARD
from dmftnet.models.shipping.model_card import CardKind, card
from dmftnet.models.shipping.network_card import NETWORK_CARD
from dmftnet.models.shipping.shipped import require_data, run_records, save_shipped
from dmftnet.models.solvers.applicability import TrainingDistance
from dmftnet.models.solvers.limits import (
    ErrorPromise,
    Promise,
    calibration_report,
    choose_limits,
)
from dmftnet.models.training.checkpoint import NETWORKS, load_ensemble, read_record
from dmftnet.models.training.scoring import hybridization_kl, kl_summary
from dmftnet.places import CONF
from dmftnet.provenance import provenance


def training_data(config, checkpoints: list[str], records: list[dict]) -> SpectralDataModule:
    """The training data of all checkpoints, as they saw it."""
    own = {key: records[0][key] for key in ("grid", "angles", "resolution")}
    own["smoothed"] = records[0].get("smoothed", SMOOTHED[0])
    data = instantiate(config, "dataset", SpectralDataModule, **own)
    for checkpoint, record in zip(checkpoints, records, strict=True):
        if not record["head"]:
            raise StoreError(f"'{checkpoint}' is no network; give run folders of train.py")
    require_data(data, checkpoints, records)
    return data


def evidence(config, model, data) -> tuple[dict, TrainingDistance]:
    """(record of test scores, limits, calibration and cost; training points)."""
    train, validation, test = (data.arrays(split) for split in ("train", "val", "test"))
    eta, choice = data.resolution[0], settings(to_plain(config), "sharpening", SharpeningChoice)
    steps, tried = choose_sharpening(model, validation, data.resolution, config.references, choice)
    distance = TrainingDistance.fit(model.frequency_grid, train.hybridization, train.params)
    promise = settings(to_plain(config), "calibration", Promise)
    splits = {"validation": validation, "test": test}
    own = {name: examine(model, distance, arrays, eta, steps) for name, arrays in splits.items()}
    chosen, loops = own["validation"], {name: a.trajectory for name, a in splits.items()}
    limits = choose_limits(chosen.network_error, chosen.indicators, promise, loops["validation"])
    calibration = asdict(promise) | {
        name: calibration_report(
            found.network_error, found.indicators, limits, promise, loops[name]
        )
        for name, found in own.items()
    }
    rows = {"this solver": kl_summary(own["test"].score)}
    if len(own["test"].members) > 1:
        rows |= {f"member {i}": kl_summary(kl) for i, kl in enumerate(own["test"].members)}
    rows["this solver, network error"] = kl_summary(own["test"].network_error)
    rows["input hybridization"] = kl_summary(hybridization_kl(model.frequency_grid, test))
    record = {
        "filling": np.quantile(train.filling, (0.01, 0.99)).round(3).tolist(),
        "sharpening": steps,
        "sharpening_tried": tried,
        "test": rows,
        "limits": limits,
        "calibration": calibration,
    }
    record["cost"] = cost(model, test, data.resolution, steps)
    if config.twin is not None:
        record["interpolation"] = twin_scores(config, data, distance, steps)
    return record, distance


def ship_networks(config, checkpoints: list[str], part: Path) -> None:
    """Writes networks as one solver."""
    records = run_records(NETWORKS, checkpoints)
    data = training_data(config, checkpoints, records)

    def measured(copies: list[Path]) -> tuple[dict, TrainingDistance]:
        record, distance = evidence(config, load_ensemble(copies), data)
        return record | {"shipping": provenance()}, distance

    save_shipped(part, checkpoints, measured, NETWORKS)


def ship_corrections(config, checkpoints: list[str], part: Path) -> None:
    """Writes corrections as one solver."""
    records = run_records(CORRECTIONS, checkpoints)
    inputs = list(records[0]["inputs"])
    data = instantiate(config, "dataset", ThermalDataModule, inputs=inputs)
    require_data(data, checkpoints, records)
    correction.require_inputs(data, checkpoints, records)
    promise = settings(to_plain(config), "calibration", ErrorPromise)

    def measured(copies: list[Path]) -> tuple[dict, FeatureDistance]:
        record, distance = correction.evidence(correction.load_members(copies), data, promise)
        return record | {"shipping": provenance()}, distance

    save_shipped(part, checkpoints, measured, CORRECTIONS)


KINDS = {"networks": ship_networks, "corrections": ship_corrections}
CARDS: dict[str, CardKind] = {"networks": NETWORK_CARD, "corrections": CORRECTION_CARD}
DATA: dict[str, type] = {"networks": SpectralDataModule, "corrections": ThermalDataModule}
"""What each kind was trained on."""


def twin_scores(config, data, distance: TrainingDistance, steps: int) -> dict:
    """How networks trained alike, but without whole intervals of U, do inside of these."""
    checkpoints = folders("twin", to_plain(config)["twin"])
    records = [read_record(checkpoint) for checkpoint in checkpoints]
    blocks = [(record.get("data") or {}).get("held_out_U") for record in records]
    if not blocks[0] or any(own != blocks[0] for own in blocks):
        raise DmftnetError(
            f"twin = {checkpoints}: trained without the intervals {blocks}; give runs of "
            "experiment=blocks that share theirs"
        )
    same = {"grid": records[0]["grid"], "angles": data.angles, "resolution": data.resolution}
    same["smoothed"] = data.smoothed
    held_out = instantiate(config, "dataset", SpectralDataModule, **same, held_out_U=blocks[0])
    return interpolation(load_ensemble(checkpoints), held_out, distance, steps)


def folders(key: str, given: str | list[str]) -> list[str]:
    """One folder or several, as a list."""
    return list(map(str, checks.paths(key, given, "a run folder or a list of them")))


def settings(plain: dict, key: str, kind: type):
    """A section as what it sets, complete and checked."""
    names = [field.name for field in fields(kind)]
    return kind(**checks.mapping(key, plain[key], names, complete=True))


def check(plain: dict) -> Path:
    """The keys that no class of the project checks; the folder that is to be made."""
    checks.seed("seed", plain["seed"])
    checks.threads("threads", plain["threads"])
    checks.number("max_size", plain["max_size"], above=0)
    data = DATA[checks.choice("kind", plain["kind"], DATA)]
    target = checks.section("dataset", plain["dataset"]).get("_target_")
    if target != f"{data.__module__}.{data.__name__}":
        raise SettingError(
            f"dataset._target_ = {checks.shown(target)}: kind={plain['kind']} ships what was "
            f"trained on a {data.__name__}; choose the dataset of its training"
        )
    if plain["kind"] == "networks":
        settings(plain, "calibration", Promise)
        settings(plain, "sharpening", SharpeningChoice)
        checks.path("references", plain["references"])
    else:
        settings(plain, "calibration", ErrorPromise)
    return checks.path("folder", plain["folder"], "a folder that does not exist yet")


@hydra.main(version_base="1.3", config_path=CONF, config_name="ship")
@entry_point
def main(config) -> None:
    folder = check(to_plain(config))
    if folder.exists():
        raise StoreError(
            f"'{folder}' exists and is not overwritten; choose folder=... or remove it"
        )
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    checkpoints = folders("checkpoints", to_plain(config)["checkpoints"])
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    try:
        KINDS[config.kind](config, checkpoints, part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    text = card(CARDS[config.kind], part)
    (part / "README.md").write_text(text, encoding="utf-8")
    size = sum(file.stat().st_size for file in part.rglob("*") if file.is_file()) / 1e6
    if size > config.max_size:
        shutil.rmtree(part)
        raise DmftnetError(
            f"the folder would take {size:.1f} MB, more than max_size = {config.max_size:g}; ship "
            "fewer or smaller networks"
        )
    part.rename(folder)
    Console().print(Markdown(text.split("---\n\n", 1)[1]))
    print(f"{folder}: {size:.1f} MB")


if __name__ == "__main__":
    run(main)

"""Compare models: test errors, closed DMFT loops, hysteresis, self-energies, fillings, latent maps.

    python evaluate.py                                        every run under outputs/train
    python evaluate.py 'checkpoints=[outputs/a,outputs/b]'    these two
    python evaluate.py dataset=bethe results=docs             and docs/results.md with figures
    python evaluate.py rerender=docs                          docs/results.md from its numbers

Writes ``report.html`` (one file, figures embedded), the figures as PNG and ``metrics.json`` into
Hydra's run folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from rich.console import Console
from rich.table import Table as ConsoleTable

from dmftnet import checks
from dmftnet.config import arguments, entry_point, instantiate, run, to_plain
from dmftnet.data.datamodule import SpectralDataModule
from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.errors import DmftnetError, SettingError
from dmftnet.evaluation.assessment import (
    Settings,
    assess_baselines,
    assess_checkpoints,
    best_label,
    find_checkpoints,
    input_errors,
    latent_of,
    metrics,
    shown,
    with_conclusions,
)
from dmftnet.evaluation.closure import LoopSettings
from dmftnet.evaluation.hysteresis import HysteresisSettings, exact_paths
from dmftnet.evaluation.kept import Kept
from dmftnet.evaluation.loop_sets import REFERENCE, TEST
from dmftnet.evaluation.naming import ensemble_name, variant_names
from dmftnet.evaluation.sections import KL_COLUMNS, report_sections
from dmftnet.models.training.checkpoint import read_record
from dmftnet.physics.dmft.files import refuse_to_overwrite
from dmftnet.places import CONF
from dmftnet.progress import check_every, progress
from dmftnet.provenance import provenance, sha256, sha256_of_all
from dmftnet.report.html import cell, write_report
from dmftnet.report.results import rewrite_results, with_spread, write_results

TITLE = "Neural impurity solvers on the Bethe lattice"


def check(plain: Mapping[str, Any]) -> None:
    """Check the keys that no class checks, before anything is read."""
    checks.seed("seed", plain["seed"])
    checks.threads("threads", plain["threads"])
    check_every(plain["progress_every"])
    checks.flag("baselines", plain["baselines"])
    checks.numbers("shown_U", plain["shown_U"])
    dataset = {k: v for k, v in checks.section("dataset", plain["dataset"]).items() if k[0] != "_"}
    arguments(SpectralDataModule, "dataset", dataset)
    checks.paths("dataset.path", dataset.get("path"))
    checks.path("references", plain["references"])
    if plain["test_references"] is not None:
        checks.path("test_references", plain["test_references"], "a path, or null")
    if plain["best"] is not None:
        checks.path("best", plain["best"], "the name of a model, or null")
    remarks = plain["remarks"]
    if not (isinstance(remarks, list) and all(isinstance(text, str) for text in remarks)):
        raise SettingError(f"remarks = {checks.shown(remarks)}: give a list of sentences")
    for key in ("results", "rerender"):
        if plain[key] is not None:
            checks.path(key, plain[key], "a folder, or null")
    if plain["kept"] is not None:
        checks.path("kept", plain["kept"], "the results.json of an earlier report, or null")


def models_of(
    plain: Mapping[str, Any],
) -> tuple[dict[str, tuple[str, list[Path]]], dict[str, str]]:
    """Label to (variant, checkpoints), every checkpoint alone, then ensembles; labels of these."""
    paths = find_checkpoints(plain["checkpoints"])
    records = [read_record(path) for path in paths]
    variants, labels = variant_names(records, paths)
    models = {
        label: (variant, [path])
        for label, variant, path in zip(labels, variants, paths, strict=True)
    }
    called = {}
    for name, patterns in checks.section("ensembles", plain["ensembles"] or {}).items():
        members = find_checkpoints(patterns)
        label = ensemble_name(name, [read_record(path) for path in members])
        called[name] = label
        models[label] = (label, members)
    return models, called


def show(console: Console, numbers: Mapping[str, Any]) -> None:
    """The short form of the report: one row per variant."""
    table = ConsoleTable(title="test KL on the real axis; closed DMFT loops")
    for name in ("variant", "seeds", "median", "90 %", "worst", "converged", "loop KL median"):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for row in numbers["variants"]:
        scores = [with_spread(row[name]) for name in KL_COLUMNS]
        loops = [with_spread(row.get(name)) for name in ("converged", "loop_kl_median")]
        table.add_row(row["variant"], str(row["seeds"]), *scores, *loops)
    copied = [cell(numbers["input hybridization"][name]) for name in KL_COLUMNS]
    table.add_row("input hybridization", "", *copied, "", "")
    console.print(table)


def show_targets(console: Console, numbers: Mapping[str, Any]) -> None:
    """The targets and what was measured."""
    names = ("what", "target", "measured", "", "on the reference loops")
    table = ConsoleTable(*names, title=f"targets: {numbers['best']}")
    for entry in numbers["targets"]:
        met = {True: "met", False: "missed", None: ""}[entry["met"]]
        table.add_row(entry["what"], entry["target"], entry["measured"], met, entry["reference"])
    console.print(table)


def reference_files(plain: Mapping[str, Any]) -> dict[str, str]:
    """The files of exact loops, by the name of the set."""
    files = {REFERENCE: plain["references"], TEST: plain["test_references"]}
    return {name: file for name, file in files.items() if file is not None}


def origin(plain: dict[str, Any]) -> dict[str, str]:
    """The report's provenance, with the data it rests on."""
    path = plain["dataset"]["path"]
    files = [path] if isinstance(path, str) else list(path)
    names = ", ".join(Path(file).name for file in files)
    return provenance(plain) | {
        "dataset": f"{names} sha256 {sha256_of_all(files)}",
        **{
            f"{name} loops": f"{Path(file).name} sha256 {sha256(file)}"
            for name, file in reference_files(plain).items()
        },
    }


def kept_models(plain: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Metrics of an earlier report's models that stay."""
    if plain["kept"] is None:
        return {}
    kept = Kept(plain["kept"], plain["kept_without"])
    try:
        record = origin(plain)
    except OSError as error:
        raise DmftnetError(
            f"'{error.filename}' cannot be read ({error.strerror}); dataset.path, references and "
            "test_references name the files"
        ) from None
    return kept.models(record)


@hydra.main(version_base="1.3", config_path=CONF, config_name="evaluate")
@entry_point
def main(config) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    for name in ("report.html", "metrics.json"):
        refuse_to_overwrite(folder / name)
    plain, console = to_plain(config), Console()
    check(plain)
    remarks = plain["remarks"]
    if plain["rerender"] is not None:
        print(f"results: {rewrite_results(plain['rerender'], with_conclusions, remarks)}")
        return
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    n = torch.get_num_threads()
    device = f"CPU, {n} thread{'s' if n > 1 else ''}"
    loop = instantiate(config, "loop", LoopSettings)
    hysteresis = None
    if config.hysteresis is not None:
        hysteresis = instantiate(config, "hysteresis", HysteresisSettings)
    models, called = models_of(plain)
    wanted = called.get(plain["best"], plain["best"])
    if wanted is not None and wanted not in models:
        raise DmftnetError(
            f"best = '{wanted}' is none of {list(models)}; give one, or an ensemble's name"
        )
    kept = kept_models(plain)  # before what takes long
    settings = Settings(plain["dataset"], reference_files(plain), loop, hysteresis, config.seed)
    assessments = []
    with progress("models", len(models), 0, config.progress_every, console) as update:
        for label, (variant, paths) in models.items():
            assessments.append(assess_checkpoints(paths, label, variant, settings))
            update(len(assessments), f"last {label}")
    first = assessments[0].record
    best = wanted or best_label(assessments)
    drawn = {a.label for a in shown(assessments, best)}
    assessments = [
        replace(a, latent=latent_of(a, models[a.label][1], settings)) if a.label in drawn else a
        for a in assessments
    ]
    if plain["baselines"]:
        assessments += assess_baselines(first, settings)
    exact = exact_paths(ReferenceStore.open(plain["references"]))
    input_kl = input_errors(first, plain["dataset"])
    record = origin(plain)
    numbers = metrics(assessments, exact, input_kl, best, device, kept) | {"provenance": record}
    sections = report_sections(assessments, numbers, exact, input_kl, plain["shown_U"])
    report = write_report(folder, TITLE, sections, record, numbers["summary"], best)
    (folder / "metrics.json").write_text(json.dumps(numbers, indent=2) + "\n")
    show(console, numbers)
    print(f"report: {report}")
    if plain["results"] is not None:
        show_targets(console, numbers)
        figures = {name: f for section in sections for name, f in (section.figures or {}).items()}
        print(f"results: {write_results(plain['results'], numbers, figures, remarks)}")


if __name__ == "__main__":
    run(main)

"""Compare corrections and cheap solvers at finite temperature: single solves, loops, exact laws.

    python evaluate_thermal.py 'checkpoints=[outputs/train/a,outputs/train/b]'
    python evaluate_thermal.py 'checkpoints=[...]' results=docs    and docs/thermal.md

Writes ``report.html`` (one file, figures embedded), the figures as PNG and ``metrics.json`` into
Hydra's run folder, and prints the tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from rich.console import Console
from rich.table import Table as ConsoleTable

from dmftnet import checks
from dmftnet.config import entry_point, instantiate, run, to_plain
from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.data.thermal import ThermalStore, WitnessStore
from dmftnet.data.thermal_loops import ThermalLoopStore
from dmftnet.evaluation.assessment import find_checkpoints
from dmftnet.evaluation.closure import LoopSettings
from dmftnet.evaluation.thermal_closure import close_thermal, thermal_scalars
from dmftnet.evaluation.thermal_errors import OneShot, one_shot
from dmftnet.evaluation.thermal_finer import beside_finer, finer_section
from dmftnet.evaluation.thermal_methods import costs, load_corrections, ras_milliseconds
from dmftnet.evaluation.thermal_orbitals import against, by_group, orbitals_section
from dmftnet.evaluation.thermal_sections import (
    INTERVALS,
    continuous_section,
    held_section,
    loops_section,
    models_section,
    one_shot_section,
    spectra_section,
    temperature_section,
    trust_section,
    violations_section,
    witness_section,
)
from dmftnet.evaluation.thermal_spectra import measured_spectra
from dmftnet.evaluation.thermal_transition import transition_section, transitions
from dmftnet.evaluation.thermal_trust import verdicts
from dmftnet.evaluation.thermal_witness import witnesses
from dmftnet.evaluation.violations import count_violations
from dmftnet.models.solvers.correction import CorrectionSolver
from dmftnet.physics.analysis.minimal_poles import MinimalPoleFit
from dmftnet.physics.dmft.files import refuse_to_overwrite
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.protocol import ImpuritySolver
from dmftnet.places import CONF
from dmftnet.progress import check_every, progress
from dmftnet.provenance import provenance, sha256
from dmftnet.report.html import Section, cell, write_report
from dmftnet.report.markdown import write_markdown

TITLE = "Corrections of cheap impurity solvers at finite temperature"
LOG_WIDTH = 180
FILES = ("bethe", "continuous", "fitted", "models", "references", "transition")


def check(plain: Mapping[str, Any]) -> None:
    """Check the keys that no class checks, before anything is read."""
    checks.threads("threads", plain["threads"])
    check_every(plain["progress_every"])
    for key in FILES:
        checks.path(key, plain[key])
    for key in ("n_predictions", "n_timed"):
        checks.integer(key, plain[key], at_least=1)
    for key in ("U", "beta"):
        if plain[key] is not None:
            checks.numbers(key, plain[key], at_least_size=1)
    checks.numbers("drawn_beta", plain["drawn_beta"])
    if plain["ground"] is not None:
        checks.path("ground", plain["ground"])
    for key in ("finer", "orbitals", "orbitals_witness"):
        if plain[key] is not None:
            checks.path(key, plain[key])
    if plain["held"]:
        checks.paths("held", plain["held"], "a list of files")
    solvers = checks.section("solvers", plain["solvers"])
    if plain["witness"] is not None:
        checks.choice("witness", plain["witness"], solvers)
    for i, name in enumerate(plain["closed_by"]):
        checks.choice(f"closed_by[{i}]", name, solvers)
    if plain["results"] is not None:
        checks.path("results", plain["results"], "a folder, or null")


def wide_console() -> Console:
    """The terminal, or a log with room for the widest table."""
    console = Console()
    return console if console.is_terminal else Console(width=LOG_WIDTH)


def show(console: Console, section: Section) -> None:
    """The tables of a section that the page does not fold."""
    for table in section.tables:
        if not table.folded:
            shown = ConsoleTable(title=table.caption or section.title)
            for name, textual in zip(table.columns, table.textual, strict=True):
                shown.add_column(name, justify="left" if textual else "right")
            for row in table.rows:
                shown.add_row(*map(cell, row))
            console.print(shown)


def for_json(value: Any) -> Any:
    """With None where a number is not finite, which JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: for_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(entry) for entry in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def drawn_spectra(plain, corrections, closures, poles):
    """Label, spectra and grid of the first correction's loops at the last drawn temperature."""
    labels = [c.label for c in corrections if c.label in closures]
    if plain["ground"] is None or not labels or not plain["drawn_beta"]:
        return None
    label, grid = labels[0], FrequencyGrid.geometric()
    ground = ReferenceStore.open(plain["ground"])
    found = measured_spectra(closures[label], ground, grid, plain["drawn_beta"][-1], poles=poles)
    return (label, found, grid, poles is not None) if found else None


def timed_rows(result: OneShot, n_timed: int) -> np.ndarray:
    """Of the samples by which methods are timed, evenly over the file."""
    return result.rows[np.linspace(0, result.rows.size - 1, n_timed).astype(int)]


def several_orbitals(plain, corrections) -> tuple[list[Section], dict[str, Any]]:
    """Section and numbers of corrections of several orbitals; nothing without a file of them."""
    if plain["orbitals"] is None:
        return [], {}
    store = ThermalStore.open(plain["orbitals"])
    own = [c for c in corrections if c.model.n_orb == store.n_orb]
    result = one_shot(store, own)
    milliseconds = costs(store, own, timed_rows(result, plain["n_timed"]))
    seen = None
    if plain["orbitals_witness"] is not None:
        seen = against(result, WitnessStore.open(plain["orbitals_witness"], store))
    numbers = {"one_shot": result.summary(), "groups": by_group(result), "witness": seen}
    return [orbitals_section(result, milliseconds, seen)], {**numbers, "milliseconds": milliseconds}


@hydra.main(version_base="1.3", config_path=CONF, config_name="evaluate_thermal")
@entry_point
def main(config) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    for name in ("report.html", "metrics.json"):
        refuse_to_overwrite(folder / name)
    plain, console = to_plain(config), wide_console()
    check(plain)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    loop = instantiate(config, "loop", LoopSettings)
    poles = instantiate(config, "poles", MinimalPoleFit) if plain["poles"] else None
    solvers = {
        name: instantiate(config, f"solvers.{name}", ImpuritySolver) for name in plain["closed_by"]
    }
    paths = find_checkpoints(plain["checkpoints"]) if plain["checkpoints"] else []
    loaded = load_corrections(paths)
    corrections = [c for c in loaded if c.model.n_orb == 1]
    of_orbitals, their_numbers = several_orbitals(plain, loaded)
    for i, label in enumerate(plain["loops_of"] or ()):
        checks.choice(f"loops_of[{i}]", label, [c.label for c in corrections])
    references = ThermalLoopStore.open(plain["references"]).references(plain["U"], plain["beta"])
    bethe, continuous, fitted, models = (
        one_shot(ThermalStore.open(plain[key]), corrections)
        for key in ("bethe", "continuous", "fitted", "models")
    )
    held = {
        Path(path).stem: one_shot(ThermalStore.open(path), corrections) for path in plain["held"]
    }
    every = [bethe, continuous, fitted, *held.values(), models]
    told = {result.store.path.stem: verdicts(result, corrections) for result in every}
    milliseconds = costs(bethe.store, corrections, timed_rows(bethe, plain["n_timed"]))
    unit = ras_milliseconds(plain["n_timed"])
    broken = count_violations(every, plain["n_predictions"])
    chosen = plain["loops_of"]
    solvers |= {
        c.label: CorrectionSolver(c.path)
        for c in corrections
        if chosen is None or c.label in chosen
    }
    closures = {}
    with progress("solvers", len(solvers), 0, config.progress_every, console) as update:
        for label, solver in solvers.items():
            closures[label] = close_thermal(solver, references, loop)
            update(len(closures), f"last {label}")
    finer = {}
    if plain["finer"] is not None:
        finer = beside_finer(closures, ThermalLoopStore.open(plain["finer"]).references())
    seen = None
    if plain["witness"] is not None:
        name = plain["witness"]
        store = ThermalLoopStore.open(plain["references"])
        solver = instantiate(config, f"solvers.{name}", ImpuritySolver)
        with progress("witnesses", None, 0, config.progress_every, console) as update:
            places = plain["U"], plain["drawn_beta"]
            seen = name, witnesses(store, solver, *places, update=update)
    drawn = drawn_spectra(plain, corrections, closures, poles)
    through = {}
    near = ThermalLoopStore.open(plain["transition"]).references()
    with progress("transition", len(solvers), 0, config.progress_every, console) as update:
        for label, solver in solvers.items():
            through[label] = transitions(close_thermal(solver, near, loop))
            update(len(through), f"last {label}")
    sections = [
        models_section(loaded),
        one_shot_section(bethe, milliseconds, unit, list(closures)),
        *([held_section(held)] if held else []),
        continuous_section(continuous),
        temperature_section(models, corrections),
        *of_orbitals,
        trust_section(told),
        loops_section(closures, plain["closed_by"], plain["drawn_beta"], seen),
        *([finer_section(finer, Path(plain["finer"]).name)] if finer else []),
        transition_section(through),
        *([witness_section(*seen)] if seen else []),
        *([spectra_section(*drawn)] if drawn else []),
        violations_section(broken),
    ]
    record = provenance(plain) | {
        key: f"{Path(plain[key]).name} sha256 {sha256(plain[key])}" for key in FILES
    }
    numbers = {
        "corrections": {c.label: c.describe() for c in loaded},
        "one_shot": bethe.summary(),
        "milliseconds": {**milliseconds, "ras": unit},
        "held": {name: result.summary() for name, result in held.items()},
        "by_interval": continuous.by_interval(INTERVALS),
        "trust": {
            where: {label: own.summary() for label, own in of_labels.items()}
            for where, of_labels in told.items()
        },
        "witness": [w.plain() for w in seen[1]] if seen else [],
        "by_temperature": models.by_temperature(),
        "loops": {
            label: {"scores": thermal_scalars(own), "loops": [c.plain() for c in own]}
            for label, own in closures.items()
        },
        "finer": {label: [c.plain() for c in own] for label, own in finer.items()},
        "orbitals": their_numbers,
        "transition": {label: [t.plain() for t in own] for label, own in through.items()},
        "violations": {
            label: {"counts": own.counts(), "worst": own.worst()} for label, own in broken.items()
        },
        "provenance": record,
    }
    report = write_report(folder, TITLE, sections, record)
    (folder / "metrics.json").write_text(json.dumps(for_json(numbers), indent=2) + "\n")
    for section in sections:
        show(console, section)
    print(f"report: {report}")
    if plain["results"] is not None:
        written = write_markdown(plain["results"], "thermal", TITLE, sections, record)
        print(f"results: {written}")


if __name__ == "__main__":
    run(main)

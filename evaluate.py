"""Compare checkpoints: test errors, closed DMFT loops, self-energies, Z(U), latent maps.

    python evaluate.py                                        every run under outputs/train
    python evaluate.py 'checkpoints=[outputs/a,outputs/b]'    these two

Writes ``report.html`` (one file, figures embedded), the figures as PNG and ``metrics.json`` into
Hydra's run folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from rich.console import Console
from rich.progress import track
from rich.table import Table as ConsoleTable

from dmftnet.callbacks.assessment import (
    Assessment,
    assess,
    baseline_errors,
    find_checkpoints,
    labels,
    metrics,
)
from dmftnet.callbacks.sections import KL_COLUMNS, report_sections
from dmftnet.config import entry_point, instantiate, run, to_plain
from dmftnet.models.checkpoint import read_record
from dmftnet.models.scoring import kl_summary
from dmftnet.physics.solution_io import refuse_to_overwrite
from dmftnet.provenance import provenance, sha256
from dmftnet.report.html import cell, write_report


def show(console: Console, assessments: list[Assessment], baselines) -> None:
    """The short form of the report: test errors and closure, one row a model."""
    table = ConsoleTable(title="test KL on the real axis; closed DMFT loops")
    for name in ("model", "median", "90 %", "worst", "converged", "loop KL median"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for a in assessments:
        scores = [a.stability.scalars()[name] for name in KL_COLUMNS]
        closed = [c.converged for c in a.closures]
        loops = a.metrics()["closure"]["kl_median"]
        table.add_row(a.label, *map(cell, scores), f"{sum(closed)}/{len(closed)}", cell(loops))
    for name, kl in baselines.items():
        table.add_row(name, *(cell(kl_summary(kl)[key]) for key in KL_COLUMNS), "", "")
    console.print(table)


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@entry_point
def main(config) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    for name in ("report.html", "metrics.json"):
        refuse_to_overwrite(folder / name)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    plain = to_plain(config)
    checkpoints = find_checkpoints(plain["checkpoints"])
    records = [read_record(path) for path in checkpoints]
    dataset, settings = plain["dataset"], instantiate(config.loop)
    console = Console()
    named = list(zip(checkpoints, labels(checkpoints, records), strict=True))
    assessments = [
        assess(path, label, dataset, config.references, settings, config.seed)
        for path, label in track(named, "checkpoints", console=console)
    ]
    baselines = baseline_errors(records[0], dataset) if config.baselines else {}
    record = provenance(plain)
    record |= {
        "dataset": f"{Path(dataset['path']).name} sha256 {sha256(dataset['path'])}",
        "references": f"{Path(config.references).name} sha256 {sha256(config.references)}",
    }
    numbers = {**metrics(assessments, baselines), "provenance": record}
    sections = report_sections(assessments, baselines, config.shown_U)
    title = "Neural impurity solvers on the Bethe lattice"
    report = write_report(folder, title, sections, record)
    (folder / "metrics.json").write_text(json.dumps(numbers, indent=2) + "\n")
    show(console, assessments, baselines)
    print(f"report: {report}")


if __name__ == "__main__":
    run(main)

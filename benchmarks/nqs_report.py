"""docs/nqs.md and its figure from docs/nqs.csv, the runs of benchmarks/nqs.py.

python benchmarks/nqs_report.py
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nqs import HUND, RESULTS

from dmftnet.models.nqs.training import ENUMERATED
from dmftnet.provenance import provenance
from dmftnet.report.html import Section, Table
from dmftnet.report.markdown import write_markdown
from dmftnet.report.style import PALETTE, colours_of, panel_grid

ASKED = {
    ("star", 10): 1e-7, ("one", 10): 1e-5, ("one", 16): 5e-5, ("one", 20): 3e-4,
    ("two", 8): 5e-5, ("two", 10): 1e-4, ("three", 9): 5e-4, ("three", 12): 1.5e-3,
}  # fmt: skip
ASKED |= {
    (kind, sites): 3 * ASKED[half, sites]
    for kind, half in (("doped", "one"), ("twodoped", "two"))
    for sites in (8, 10, 16, 20)
    if (half, sites) in ASKED
}
"""Relative error of the energy, median of three seeds."""

TITLES = {
    "one": "One orbital, half filling",
    "star": "The same in the star geometry",
    "doped": "One orbital, its level U/4 above half filling",
    "two": f"Two orbitals, half filling, J = {HUND} U",
    "three": f"Three orbitals, half filling, J = {HUND} U",
    "twodoped": f"Two orbitals, their levels U/2 above half filling, J = {HUND} U",
}
COLUMNS = (
    "sites", "U / Gamma", "sector", "ansatz", "parameters", "steps", "samples", "power", "clip",
    "change", "seeds", "median error", "asked", "worst", "error bar", "variance / D^2", "V-score",
    "CPU s", "reference", "its CPU s", "commit",
)  # fmt: skip
INTRODUCTION = """
Wilson chains of a semicircular band (Lambda = 2, Gamma = 0.1 D); sites count the impurity orbitals.
Errors are relative, against exact diagonalisation up to {limit:,} determinants and DMRG beyond; the
energy of the neural state is that of the whole sector where it is enumerated, else an average over
samples, whose error bar then limits what an error means. Trainings end after a fixed number of
steps and never see the reference; defaults were chosen at U / Gamma = 5, but for the cut of steps
of several orbitals: on two of five sites each at U / Gamma = 10, with other seeds. CPU seconds are
those of one core. V-score: electrons times variance over E^2, E counted from zero. Commit: of the
runs of a line, where they recorded it; `nqs.py` redoes any case and keeps the others. Change: the
most that log p of a sample may change in a step; lines without a limit are older, and those with a
clip of 100 older still: their last regularisation was 1e-5, not the default of today, 1e-7.
"""


def read() -> dict[tuple, list[dict]]:
    """Runs by kind, sites, U, ansatz and settings."""
    found = defaultdict(list)
    with RESULTS.open(newline="") as file:
        for row in csv.DictReader(file):
            words = ("kind", "ansatz", "commit")
            row = {k: v if k in words else float(v) for k, v in row.items()}
            names = (
                "kind", "sites", "U", "ansatz", "steps", "samples", "power", "clip", "change",
            )  # fmt: skip
            found[tuple(row[name] for name in names)].append(row)
    return dict(sorted(found.items()))


def error(row: dict) -> float:
    """Relative error of the energy."""
    return (row["energy"] - row["reference"]) / abs(row["reference"])


def line(key: tuple, rows: Sequence[dict]) -> list:
    """One row of a table."""
    kind, sites, U, ansatz, steps, samples, power, clip, change = key
    first, errors = rows[0], [error(row) for row in rows]
    medians = {
        name: float(np.median([row[name] for row in rows]))
        for name in ("error_bar", "variance", "seconds", "reference_s")
    }
    asked, electrons = ASKED.get((kind, int(sites))), first["n_up"] + first["n_dn"]
    return [
        int(sites), f"{U:g}", f"({first['n_up']:.0f}, {first['n_dn']:.0f})", ansatz,
        int(first["parameters"]), int(steps), int(samples), power, f"{clip:g}", f"{change:g}",
        len(rows),
        f"{np.median(errors):.1e}", "–" if asked is None else f"{asked:.1e}",
        f"{max(errors, key=abs):.1e}", f"{medians['error_bar'] / abs(first['reference']):.0e}",
        f"{medians['variance']:.1e}",
        f"{electrons * medians['variance'] / first['reference'] ** 2:.0e}",
        f"{medians['seconds']:.0f}", f"{first['reference']:.6f}", f"{medians['reference_s']:.1f}",
        ", ".join(sorted({short(row["commit"]) for row in rows})),
    ]  # fmt: skip


def short(commit: str) -> str:
    """As in a table."""
    name, *dirty = commit.partition("+")
    return name[:7] + "".join(dirty) or "–"


def figure(runs: dict[tuple, list[dict]]):
    """Energy error against variance; all runs."""
    shown, (axis,) = panel_grid(1, 4.2)
    colours = colours_of([f"{kind}, {sites:.0f} sites" for kind, sites, *_ in runs])
    markers = {label: "os^"[i // len(PALETTE)] for i, label in enumerate(colours)}
    seen = set()
    for (kind, sites, _, ansatz, *_), rows in runs.items():
        label = f"{kind}, {sites:.0f} sites"
        axis.loglog(
            [row["variance"] / row["reference"] ** 2 for row in rows],
            [max(abs(error(row)), 1e-9) for row in rows],
            markers[label] if ansatz == "nets" else "x",
            color=colours[label],
            label=None if label in seen else label,
        )
        seen.add(label)
    axis.set_xlabel("variance / E$^2$")
    axis.set_ylabel("relative error of the energy")
    axis.legend()
    return shown


def main() -> None:
    runs = read()
    sections = []
    for kind, title in TITLES.items():
        rows = [line(key, found) for key, found in runs.items() if key[0] == kind]
        if rows:
            text = INTRODUCTION.format(limit=ENUMERATED).strip() if not sections else "As above."
            sections.append(Section(title, text, [Table(COLUMNS, rows)]))
    text = (
        "All runs; crosses are RWKV. A small variance certifies nothing by itself: it says how far "
        "a state is from some eigenstate. Errors below an error bar are noise."
    )
    sections.append(Section("Energy and variance", text, [], {"nqs_variance": figure(runs)}))
    text = (
        "The last two columns are the honest comparison: exact diagonalisation where a sector can "
        "be enumerated, and DMRG beyond, find the energy of these chains faster by orders of "
        "magnitude and to more digits than any neural state here. What neural states have for them "
        "is that they need no enumeration and no order of low entanglement, which should count "
        "with several orbitals; no case in these tables shows that it pays."
    )
    sections.append(Section("What it is worth", text, []))
    path = write_markdown(
        Path(RESULTS).parent, "nqs", "Neural ground states of impurity chains", sections,
        provenance(),
    )  # fmt: skip
    print(f"wrote docs/{path.name}")


if __name__ == "__main__":
    main()

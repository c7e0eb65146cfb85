"""Sections of a report as a Markdown document with its figures, for ``docs``.

The tables are those of the page, cell by cell, so no number stands in a document that the command
did not print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dmftnet.report.html import Section, Table, cell
from dmftnet.report.style import to_png


def write_markdown(
    folder: str | Path,
    name: str,
    title: str,
    sections: Sequence[Section],
    provenance: Mapping[str, str],
) -> Path:
    """Write ``<name>.md`` and ``figures/<figure>.png`` into a folder; returns the text's path.

    Parameters
    ----------
    provenance : mapping
        Command, commit, data; the full config and Hydra's own settings are left out.
    """
    folder = Path(folder)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for section in sections:
        for figure_name, figure in (section.figures or {}).items():
            (folder / "figures" / f"{figure_name}.png").write_bytes(to_png(figure, dpi=90))
    path = folder / f"{name}.md"
    path.write_text(document(title, sections, provenance), encoding="utf-8")
    return path


def document(title: str, sections: Sequence[Section], provenance: Mapping[str, str]) -> str:
    """The text of `write_markdown`."""
    words = [w for w in provenance.get("command", "").split() if not w.startswith("hydra.")]
    parts = [f"# {title}", f"Written by `{' '.join(words)}`; do not edit, but run it again."]
    for section in sections:
        parts += [f"## {section.title}", section.text]
        parts += [part for table in section.tables for part in _table(table)]
        parts += [f"![{name}](figures/{name}.png)" for name in section.figures or {}]
    kept = {k: v for k, v in provenance.items() if k not in ("config", "command")}
    parts += ["## Provenance", "\n".join(f"- {key}: {value}" for key, value in kept.items())]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> list[str]:
    """Its caption and its rows; folded as on the page."""
    lines = [_row(table.columns), _row(["---"] * len(table.columns))]
    grid = "\n".join([*lines, *map(_row, table.rows)])
    if table.folded:
        return [f"<details><summary>{table.caption}</summary>", grid, "</details>"]
    return [f"**{table.caption}**", grid] if table.caption else [grid]


def _row(values: Sequence) -> str:
    return f"| {' | '.join(cell(value).replace('|', chr(92) + '|') for value in values)} |"

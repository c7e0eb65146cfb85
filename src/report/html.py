"""The report: sections of text, tables and figures as one self-contained HTML page.

Figures are embedded as base64 PNG, so the page can be mailed; the same PNGs are written next to it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from dmftnet.report.style import to_png


@dataclass(frozen=True, eq=False)
class Table:
    """One table.

    Parameters
    ----------
    columns : sequence of str
    rows : sequence of sequences of plain values
        Floats are shown with three digits; text is left-aligned and wraps.
    caption : str
    folded : bool
        Whether the page hides the rows until the reader asks for them.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    folded: bool = False

    @property
    def textual(self) -> list[bool]:
        """Whether each column holds text: words that may wrap, not numbers."""
        return [any(_is_words(row[i]) for row in self.rows) for i in range(len(self.columns))]


@dataclass(frozen=True, eq=False)
class Section:
    """One heading of the report.

    Parameters
    ----------
    title : str
    text : str
        What is shown and how to read it.
    tables : sequence of Table
    figures : dict of str to Figure
        By file name without ending, that of the PNG next to the page.
    """

    title: str
    text: str
    tables: Sequence[Table] = ()
    figures: Mapping[str, Figure] | None = None


def write_report(
    folder: str | Path,
    title: str,
    sections: Sequence[Section],
    provenance: Mapping[str, str],
    summary: Sequence[Mapping[str, Any]] = (),
    subject: str = "",
) -> Path:
    """Write ``report.html`` and its PNGs into a folder; returns the page's path.

    Parameters
    ----------
    summary : sequence of mappings
        ``title`` and ``lines`` of the boxes that the page opens with.
    subject : str
        The model that the summary is about.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rendered = []
    for section in sections:
        images = []
        for name, figure in (section.figures or {}).items():
            png = to_png(figure)
            (folder / f"{name}.png").write_bytes(png)
            images.append((name, base64.b64encode(png).decode("ascii")))
        rendered.append({"section": section, "images": images})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dmftnet.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = cell
    page = environment.get_template("report.html.j2").render(
        title=title,
        sections=rendered,
        provenance=dict(provenance),
        summary=summary,
        subject=subject,
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def cell(value: Any) -> str:
    """A table cell's text: yes/no, a dash for nothing, three significant digits."""
    if value is None:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return "–"
        small = value != 0 and not 1e-2 <= abs(value) < 1e5
        return f"{value:.1e}" if small else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _is_words(value: Any) -> bool:
    """Whether a cell is text that says something, no number written with its spread."""
    return isinstance(value, str) and any(c.isalpha() for c in value.replace("e", ""))

"""What all figures share: colours, sizes, panels, legends, PNG. No pyplot, no global state.

The exact solver is black and broad, drawn first; models are coloured and thinner, in a palette for
colour-blind readers; loops that did not converge are dashed or hollow.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 8.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.3,
}
EXACT = {"color": "k", "lw": 2.6, "solid_capstyle": "round"}
WIDTH = 9.6  # inches; 110 dpi gives the width of the report's column


def to_png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG file's bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def panel_grid(n: int, height: float, columns: int = 4, width: float | None = None):
    """A figure of `n` panels, at most `columns` in a row, and its axes."""
    columns = min(columns, max(n, 1))
    rows = -(-max(n, 1) // columns)
    width = width or (WIDTH if columns > 1 else 0.6 * WIDTH)
    figure = Figure(figsize=(width, 0.7 + height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[n:]:
        axis.remove()
    return figure, axes[:n]


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """One colour per label, in order of appearance."""
    unique = dict.fromkeys(labels)
    return {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(unique)}


def outer_labels(figure: Figure, x: str, y: str) -> None:
    """One label for all panels below, one at the left of each row."""
    figure.supxlabel(x, fontsize=9.5)
    for axis in figure.axes:
        if axis.get_subplotspec().is_first_col():
            axis.set_ylabel(y)


def shared_legend(
    figure: Figure,
    colours: Mapping[str, str],
    exact: bool,
    dashed: str | None = None,
    hollow: str | None = None,
) -> None:
    """One legend above all panels: exact, each model, what dashes and hollow points mean."""
    handles = [Line2D([], [], color=colour, label=label) for label, colour in colours.items()]
    if exact:
        handles.insert(0, Line2D([], [], label="exact", **EXACT))
    if dashed:
        handles.append(Line2D([], [], color="0.4", ls="--", label=dashed))
    if hollow:
        handles.append(Line2D([], [], ls="", marker="o", mfc="w", color="0.4", label=hollow))
    longest = max((len(label) for label in colours), default=1)
    columns = max(1, min(len(handles), 4, int(150 / (longest + 8))))
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * (rows - 1))  # the panels keep their size
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def legend_right(axis: Axes) -> None:
    """The axis's legend on its right, where it covers nothing."""
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

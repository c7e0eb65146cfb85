"""Figures with one point per sample: stability, error distributions, calibration, latent maps.

Arrays in, one matplotlib figure out; see `dmftnet.report.style`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from dmftnet.report.style import PALETTE, STYLE, WIDTH, legend_right, outer_labels, panel_grid

FLOOR = 1e-7  # errors below are drawn there


Scatter = Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Panels: errors (n,) of what is compared with, of the predictions, and U, which is the colour."""


def kl_stability(panels: Scatter, columns: int = 3) -> Figure:
    """Error of each prediction against that of its input hybridization, one panel per model.

    Parameters
    ----------
    panels : dict of str to (kl_input, kl_prediction, U)
        ``KL(A_ref || normalised hybridization)``, ``KL(A_ref || A_pred)``, the colour; (n,) each.
    columns : int
        Panels in a row.
    """
    x, y = (
        r"KL($A_\mathrm{ref}$ || input hybridization)",
        (r"KL($A_\mathrm{ref}$ || $A_\mathrm{pred}$)"),
    )
    return _stability(panels, columns, x, y, "input")


def error_stability(panels: Scatter, columns: int = 3) -> Figure:
    """Error of G of each correction against that of what it corrects, one panel per model.

    Parameters
    ----------
    panels : dict of str to (error_base, error_prediction, U)
        ``(1/beta) integral |dG| dtau`` of both, and the colour; (n,) each.
    columns : int
        Panels in a row.
    """
    x, y = (rf"$\overline{{|\Delta G(\tau)|}}$ of the {name}" for name in ("base", "correction"))
    return _stability(panels, columns, x, y, "base")


def _stability(panels: Scatter, columns: int, x_label: str, y_label: str, against: str) -> Figure:
    with rc_context(STYLE):
        columns = min(len(panels), columns)
        size = 2.9 if columns < 4 else 2.45
        figure, axes = panel_grid(len(panels), size, columns, width=0.9 + size * columns)
        values = np.concatenate([np.concatenate(panel[:2]) for panel in panels.values()])
        values = np.maximum(values, FLOOR)
        low, high = 0.6 * values.min(), 1.6 * values.max()
        U_max = max(panel[2].max() for panel in panels.values())
        names = {label: textwrap.fill(label, width=int(13 * size)) for label in panels}
        lines = 1 + max(name.count("\n") for name in names.values())
        rows = -(-len(panels) // columns)
        figure.set_figheight(figure.get_figheight() + 0.14 * rows * max(0, lines - 1))
        for axis, (label, (kl_input, kl_prediction, U)) in zip(axes, panels.items(), strict=True):
            dots = axis.scatter(
                np.maximum(kl_input, FLOOR),
                np.maximum(kl_prediction, FLOOR),
                c=U,
                s=13 if U.size < 1000 else 5,
                cmap="viridis",
                vmin=0,
                vmax=U_max,
                lw=0,
                alpha=0.85,
                rasterized=True,
            )
            axis.plot([low, high], [low, high], color="0.5", lw=0.8, ls="--")
            median, better = np.median(kl_prediction), np.mean(kl_prediction < kl_input)
            axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
            axis.set_title(
                f"{names[label]}\nmedian {median:.1e}, {better:.0%} below {against}", fontsize=8.5
            )
            axis.set_box_aspect(1)
        outer_labels(figure, x_label, y_label)
        figure.colorbar(dots, ax=list(axes), label=r"$U / D$", shrink=0.75, pad=0.02)
    return figure


def kl_distribution(
    errors: Mapping[str, np.ndarray],
    x_label: str = r"KL($A_\mathrm{ref}$ || $A_\mathrm{pred}$) on the real axis",
) -> Figure:
    """Share of test samples with an error below the abscissa, one curve per method.

    Parameters
    ----------
    errors : dict of str to (n,) array
        Names that start with "baseline" are drawn grey.
    x_label : str
        What the errors are.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH * 0.78, 3.6), layout="constrained")
        axis = figure.subplots()
        dashes = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 2)))
        greys = cycle(dashes)
        colours = iter(np.tile(PALETTE, 1 + len(errors) // len(PALETTE)))
        for label, values in errors.items():
            x = np.sort(np.maximum(values, FLOOR / 10))
            share = np.arange(1, x.size + 1) / x.size
            if label.startswith("baseline"):
                look = {"color": "0.45", "ls": next(greys), "lw": 1.1}
            else:
                look = {"color": next(colours)}
            axis.step(x, share, where="post", label=label, **look)
        for level in (0.5, 0.9):
            axis.axhline(level, color="0.85", lw=0.7, zorder=0)
        axis.set(xscale="log", ylim=(0, 1.02), ylabel="share of test samples below")
        axis.set_xlabel(x_label)
        legend_right(axis)
    return figure


def calibration(panels: Mapping[str, tuple[np.ndarray, np.ndarray, float]]) -> Figure:
    """Spread of an ensemble against its true error, one panel per ensemble.

    Parameters
    ----------
    panels : dict of str to (spread, kl, cut)
        (n,), (n,), and the spread beyond which the widest share of the samples lies.
    """
    with rc_context(STYLE):
        columns = min(len(panels), 3)
        figure, axes = panel_grid(len(panels), 3.2, columns, width=0.9 + 3.4 * columns)
        for axis, (label, (spread, kl, cut)) in zip(axes, panels.items(), strict=True):
            x, y = np.maximum(spread, FLOOR), np.maximum(kl, FLOOR)
            for inside, colour, name in (
                (x <= cut, PALETTE[0], "narrowest 80 %"),
                (x > cut, PALETTE[1], "widest 20 %"),
            ):
                axis.scatter(x[inside], y[inside], s=13, color=colour, lw=0, alpha=0.8, label=name)
            ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
            axis.plot(ends, ends, color="0.5", lw=0.8, ls="--", label="error = spread")
            axis.axvline(cut, color="0.7", lw=0.8)
            title = textwrap.fill(label, width=36)
            axis.set(xscale="log", yscale="log", title=title, xlabel="spread of the members")
            axis.set_box_aspect(1)
            axis.legend(loc="lower right")
        axes[0].set_ylabel(r"KL($A_\mathrm{ref}$ || $A_\mathrm{pred}$)")
    return figure


def latent_map(maps: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Two-dimensional embedding of latent vectors, coloured by A(0) and by filling.

    Parameters
    ----------
    maps : dict of str to (embedding, A0, filling)
        (n, 2), (n,) in 1/D, (n,); one row of panels per model.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH * 0.82, 3.0 * max(len(maps), 1)), layout="constrained")
        axes = figure.subplots(max(len(maps), 1), 2, squeeze=False)
        for row, (label, (embedding, A0, filling)) in zip(axes, maps.items(), strict=True):
            top = max(np.quantile(A0, 0.95), 1e-3)  # a few first iterations lie far above the rest
            reach = max(np.abs(filling - 1).max(), 1e-3)  # half filling in the middle of the map
            title = textwrap.fill(label, width=36)
            looks = (
                (A0, r"$A(0)\,D$", "magma", (0.0, top)),
                (filling, "filling $n$", "coolwarm", (1 - reach, 1 + reach)),
            )
            for axis, (colour, name, cmap, (low, high)) in zip(row, looks, strict=True):
                look = {"s": 11, "cmap": cmap, "lw": 0, "vmin": low, "vmax": high}
                dots = axis.scatter(*embedding.T, c=colour, **look)
                axis.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2", title=title)
                extend = "max" if colour.max() > high else "neither"
                figure.colorbar(dots, ax=axis, label=name, extend=extend)
    return figure

"""The project's figures: arrays in, one matplotlib figure out.

Callbacks and the report draw with the same functions. Exact curves are broad and grey, exact points
black; models are coloured (a palette that colour-blind readers can tell apart); loops that did not
converge are hollow or dashed. An axis that cuts a curve says so. Nothing here touches pyplot's
global state.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.4,
}
EXACT = {"color": "0.68", "lw": 3.2, "solid_capstyle": "round"}
CUT = 0.3  # in D; the scale of a self-energy panel is that of the exact curve beyond this
INSET = 0.15  # in D; half-width of its low-energy inset
WIDTH = 9.6  # inches; 110 dpi gives the width of the report's column


@dataclass(frozen=True, eq=False)
class Panel:
    """One set of curves over frequency.

    Parameters
    ----------
    title : str
    reference : (n_w,) array or None
        The exact curve.
    predictions : dict of str to (n_w,) array
        One curve a model, by label.
    dashed : set of str
        Labels of loops that did not converge.
    reference_omega : (n,) array, optional
        Frequencies of the exact curve, where they are not those of the models.
    """

    title: str
    reference: np.ndarray | None
    predictions: Mapping[str, np.ndarray]
    dashed: frozenset[str] = frozenset()
    reference_omega: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Series:
    """Points of one method along a parameter.

    Parameters
    ----------
    label : str
    x, y : (n,) arrays
    group : str
        Series of one group share a colour; "" is the exact solver, black and on top.
    variant : int
        Tells the series of a group apart, by marker and dashes.
    solid : (n,) bool array, optional
        False where a loop did not converge; all True by default.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    group: str = ""
    variant: int = 0
    solid: np.ndarray = field(default_factory=lambda: np.ones(0, dtype=bool))

    @property
    def mask(self) -> np.ndarray:
        """(n,) bool, all True where nothing was said."""
        return np.asarray(self.solid) if len(self.solid) else np.ones(len(self.x), dtype=bool)


def spectra(omega: np.ndarray, panels: Sequence[Panel], w_limit: float = 4.5) -> Figure:
    """Spectral functions, exact (filled) against models, one panel a problem."""
    with rc_context(STYLE):
        figure, axes = _grid(len(panels), height=1.9)
        colours = _colours(panels)
        inside = np.abs(omega) <= w_limit
        for axis, panel in zip(axes, panels, strict=True):
            top = 0.0
            if panel.reference is not None:
                axis.fill_between(omega, panel.reference, color="0.92", lw=0)
                axis.plot(omega, panel.reference, **EXACT)
                top = panel.reference[inside].max()
            for label, curve in panel.predictions.items():
                axis.plot(omega, curve, color=colours[label], ls=_dash(panel, label))
                top = max(top, curve[inside].max())
            axis.set(xlim=(-w_limit, w_limit), ylim=(0, 1.08 * top), title=panel.title)
            axis.yaxis.set_major_locator(MaxNLocator(4))
        _outer_labels(figure, axes, r"$\omega / D$", r"$A(\omega)\,D$")
        _shared_legend(figure, colours, panels)
    return figure


def self_energies(omega: np.ndarray, panels: Sequence[Panel], w_limit: float = 3.0) -> Figure:
    """-Im and Re of complex self-energies, one column a problem, low energies as insets.

    The main axes' scale is that of the exact curve beyond |w| = 0.3 D (a Mott insulator's pole
    would leave nothing else to see), with room above for the inset; where that cuts a curve the
    axis carries the note "axis cut".
    """
    with rc_context(STYLE):
        n = max(len(panels), 1)
        figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
        axes = figure.subplots(2, n, squeeze=False, sharex=True)
        colours = _colours(panels)
        parts = (
            (r"$-\mathrm{Im}\,\Sigma / D$", _minus_imag),
            (r"$\mathrm{Re}\,\Sigma / D$", _real),
        )
        for column, panel in enumerate(panels):
            axes[0, column].set_title(panel.title)
            for row, (name, part) in enumerate(parts):
                axis = axes[row, column]
                _self_energy_axis(axis, omega, panel, part, colours, w_limit)
                if column == 0:
                    axis.set_ylabel(name)
            axes[1, column].set_xlabel(r"$\omega / D$")
        _shared_legend(figure, colours, panels)
    return figure


def quasiparticle_weights(series: Sequence[Series]) -> Figure:
    """Z(U): exact solver black, models coloured, hollow where the loop did not converge."""
    return _points(series, r"$U / D$", r"quasiparticle weight $Z$", floor=0.0)


def filling_curves(series: Sequence[Series]) -> Figure:
    """Filling against the level, ``eps_d + U/2`` measured from half filling."""
    return _points(series, r"$(\varepsilon_d + U/2) / D$", r"filling $n$ (both spins)")


def kl_stability(panels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Error of each prediction against that of its input hybridization, one panel a model.

    Parameters
    ----------
    panels : dict of str to (kl_input, kl_prediction, U)
        ``KL(A_ref || normalised hybridization)``, ``KL(A_ref || A_pred)``, the colour; (n,) each.
    """
    with rc_context(STYLE):
        columns = min(len(panels), 3)
        figure, axes = _grid(len(panels), height=2.9, columns=3, width=0.9 + 2.9 * columns)
        values = np.concatenate([np.concatenate(panel[:2]) for panel in panels.values()])
        values = np.maximum(values, 1e-7)
        low, high = 0.6 * values.min(), 1.6 * values.max()
        U_max = max(panel[2].max() for panel in panels.values())
        for axis, (label, (kl_input, kl_prediction, U)) in zip(axes, panels.items(), strict=True):
            dots = axis.scatter(
                np.maximum(kl_input, 1e-7),
                np.maximum(kl_prediction, 1e-7),
                c=U,
                s=13,
                cmap="viridis",
                vmin=0,
                vmax=U_max,
                lw=0,
                alpha=0.85,
            )
            axis.plot([low, high], [low, high], color="0.5", lw=0.8, ls="--")
            median, better = np.median(kl_prediction), np.mean(kl_prediction < kl_input)
            axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
            axis.set_title(f"{label}\nmedian {median:.1e}, {better:.0%} below input")
            axis.set_box_aspect(1)
            axis.set_xlabel(r"KL($A_\mathrm{ref}$ || input hybridization)")
        for axis in axes[::columns]:
            axis.set_ylabel(r"KL($A_\mathrm{ref}$ || $A_\mathrm{pred}$)")
        figure.colorbar(dots, ax=list(axes), label=r"$U / D$", shrink=0.75, pad=0.02)
    return figure


def kl_distribution(errors: Mapping[str, np.ndarray]) -> Figure:
    """Share of test samples with a real-axis KL below the abscissa, one curve a method.

    Parameters
    ----------
    errors : dict of str to (n,) array
        Names that start with "baseline" are drawn grey.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH * 0.68, 3.6), layout="constrained")
        axis = figure.subplots()
        greys = iter(("-", "--", ":", "-."))
        colours = iter(np.tile(PALETTE, 1 + len(errors) // len(PALETTE)))
        for label, values in errors.items():
            x = np.sort(np.maximum(values, 1e-8))
            share = np.arange(1, x.size + 1) / x.size
            if label.startswith("baseline"):
                look = {"color": "0.45", "ls": next(greys, "-"), "lw": 1.1}
            else:
                look = {"color": next(colours)}
            axis.step(x, share, where="post", label=label, **look)
        for level in (0.5, 0.9):
            axis.axhline(level, color="0.85", lw=0.7, zorder=0)
        axis.set(xscale="log", ylim=(0, 1.02), ylabel="share of test samples below")
        axis.set_xlabel(r"KL($A_\mathrm{ref}$ || $A_\mathrm{pred}$) on the real axis")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def latent_map(maps: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Two-dimensional embedding of latent vectors, coloured by A(0) and by filling.

    Parameters
    ----------
    maps : dict of str to (embedding, A0, filling)
        (n, 2), (n,) in 1/D, (n,); one row of panels a model.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH * 0.82, 3.0 * max(len(maps), 1)), layout="constrained")
        axes = figure.subplots(max(len(maps), 1), 2, squeeze=False)
        for row, (label, (embedding, A0, filling)) in zip(axes, maps.items(), strict=True):
            top = max(np.quantile(A0, 0.95), 1e-3)  # a few first iterations lie far above the rest
            reach = max(
                np.abs(filling - 1).max(), 1e-3
            )  # half filling is the diverging map's middle
            looks = (
                (A0, r"$A(0)\,D$", "magma", (0.0, top)),
                (filling, "filling $n$", "coolwarm", (1 - reach, 1 + reach)),
            )
            for axis, (colour, name, cmap, (low, high)) in zip(row, looks, strict=True):
                look = {"s": 11, "cmap": cmap, "lw": 0, "vmin": low, "vmax": high}
                dots = axis.scatter(*embedding.T, c=colour, **look)
                axis.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2", title=label)
                extend = "max" if colour.max() > high else "neither"
                figure.colorbar(dots, ax=axis, label=name, extend=extend)
    return figure


def to_png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG file's bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _grid(n: int, height: float, columns: int = 4, width: float | None = None):
    """`n` panels, at most `columns` in a row."""
    columns = min(columns, max(n, 1))
    rows = -(-max(n, 1) // columns)
    width = width or (WIDTH if columns > 1 else 0.6 * WIDTH)
    figure = Figure(figsize=(width, 0.7 + height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[n:]:
        axis.remove()
    return figure, axes[:n]


def _colours(panels: Sequence[Panel]) -> dict[str, str]:
    labels = list(dict.fromkeys(label for panel in panels for label in panel.predictions))
    return {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(labels)}


def _dash(panel: Panel, label: str) -> str:
    return "--" if label in panel.dashed else "-"


def _outer_labels(figure: Figure, axes: Sequence[Axes], x: str, y: str) -> None:
    figure.supxlabel(x, fontsize=9.5)
    figure.supylabel(y, fontsize=9.5)


def _shared_legend(figure: Figure, colours: Mapping[str, str], panels: Sequence[Panel]) -> None:
    """One legend above all panels: exact, each model, and what dashes mean if there are any."""
    handles = [Line2D([], [], color=colour, label=label) for label, colour in colours.items()]
    if any(panel.reference is not None for panel in panels):
        handles.insert(0, Line2D([], [], label="exact", **EXACT))
    if any(panel.dashed for panel in panels):
        handles.append(Line2D([], [], color="0.4", ls="--", label="dashed: loop not converged"))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4))


def _minus_imag(sigma: np.ndarray) -> np.ndarray:
    return -sigma.imag


def _real(sigma: np.ndarray) -> np.ndarray:
    return sigma.real


def _self_energy_axis(axis: Axes, omega, panel: Panel, part, colours, w_limit: float) -> None:
    """Main curves and the low-energy inset of one part of the self-energy."""
    curves = [(omega, part(sigma)) for sigma in panel.predictions.values()]
    looks = [{"color": colours[k], "ls": _dash(panel, k)} for k in panel.predictions]
    if panel.reference is not None:
        at = omega if panel.reference_omega is None else panel.reference_omega
        curves.insert(0, (at, part(panel.reference)))
        looks.insert(0, EXACT)
    inset = axis.inset_axes((0.58, 0.65, 0.41, 0.34))
    for (at, curve), look in zip(curves, looks, strict=True):
        axis.plot(at, curve, **look)
        inset.plot(at, curve, **look)
    low, high = _limits(curves[:1], CUT, w_limit)
    bottom, top = low - 0.3 * (high - low), high + 0.3 * (high - low)
    axis.set(xlim=(-w_limit, w_limit), ylim=(bottom, top + 1.0 * (top - bottom)))  # inset's room
    axis.set_yticks([t for t in MaxNLocator(4).tick_values(bottom, top) if bottom <= t <= top])
    low, high = _limits(curves, 0.0, INSET)
    inset.set(xlim=(-INSET, INSET), ylim=(low - 0.15 * (high - low), high + 0.15 * (high - low)))
    inset.tick_params(labelsize=6.5, length=2)
    inset.xaxis.set_major_locator(MaxNLocator(3))
    inset.yaxis.set_major_locator(MaxNLocator(3))
    bottom, top = axis.get_ylim()
    low, high = _limits(curves, 0.0, w_limit)
    if high > top or low < bottom:
        note = {"transform": axis.transAxes, "fontsize": 7, "color": "0.4", "va": "top"}
        axis.text(0.02, 0.96, "axis cut", **note)


def _limits(curves, inner: float, outer: float) -> tuple[float, float]:
    """Smallest and largest value of (omega, curve) pairs at inner < |w| <= outer, never equal."""
    inside = [c[(np.abs(w) > inner) & (np.abs(w) <= outer)] for w, c in curves]
    low, high = min(c.min() for c in inside), max(c.max() for c in inside)
    return low, max(high, low + 1e-3)


def _points(series: Sequence[Series], x: str, y: str, floor: float | None = None) -> Figure:
    groups = list(dict.fromkeys(entry.group for entry in series if entry.group))
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH * 0.78, 3.8), layout="constrained")
        axis = figure.subplots()
        for entry in series:
            order = np.argsort(entry.x, kind="stable")
            px, py, solid = entry.x[order], np.asarray(entry.y)[order], entry.mask[order]
            marker = ("x+12" if not entry.group else "os^D")[entry.variant % 4]
            look = {"marker": marker, "ls": ("-", "--", ":", "-.")[entry.variant % 4], "lw": 1.0}
            if entry.group:
                look |= {"color": PALETTE[groups.index(entry.group) % len(PALETTE)], "ms": 5}
            else:
                look |= {"color": "k", "ms": 7, "zorder": 5}
            axis.plot(px, py, label=entry.label, **look)
            if not solid.all():  # white over the filled markers
                axis.plot(px[~solid], py[~solid], ls="", marker=marker, ms=3.5, color="w", zorder=4)
        if any(not entry.mask.all() for entry in series):
            label = "hollow: not converged"
            axis.plot([], [], ls="", marker="o", mfc="w", color="0.4", label=label)
        axis.set(xlabel=x, ylabel=y)
        if floor is not None:
            axis.set_ylim(bottom=floor - 0.02)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure

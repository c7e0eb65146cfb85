"""Figures of curves: spectra, self-energies, quasiparticle weight with its hysteresis, fillings.

Arrays in, one matplotlib figure out. Callbacks and the report draw with the same functions; what
they share is in `dmftnet.report.style`, figures of single samples in `dmftnet.report.samples`. An
axis that cuts a curve says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dmftnet.report.style import (
    EXACT,
    STYLE,
    WIDTH,
    colours_of,
    outer_labels,
    panel_grid,
    shared_legend,
)

CUT = 0.3  # in D; the scale of a self-energy panel is that of the exact curve beyond this
TALL = 2.0  # times the exact maximum; a spectrum beyond is cut
INSET = 0.15  # in D; half-width of its low-energy inset
NOT_CONVERGED = "dashed: loop not converged"


@dataclass(frozen=True, eq=False)
class Panel:
    """One set of curves over frequency.

    Parameters
    ----------
    title : str
    reference : (n_w,) array or None
        The exact curve.
    predictions : dict of str to (n_w,) array
        One curve per model, by label.
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
class Branch:
    """A half-filled solution followed through U.

    Parameters
    ----------
    U : (n,) float64, in D
    Z : (n,) float64
    pinned : (n,) float64
        ``A(0) pi D / 2``, 1 in any half-filled metal on the Bethe lattice.
    on : (n,) bool
        Whether the solution is still on the branch.
    critical : float or None, in D
        Where the branch ends.
    """

    U: np.ndarray
    Z: np.ndarray
    pinned: np.ndarray
    on: np.ndarray
    critical: float | None = None


@dataclass(frozen=True, eq=False)
class Series:
    """Points of one method along a parameter.

    Parameters
    ----------
    label : str
        "" is the exact solver, black and on top.
    x, y : (n,) arrays
    solid : (n,) bool array, optional
        False where a loop did not converge; all True by default.
    errors : (n,) array, optional
        Standard errors of y: bars without a line.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    solid: np.ndarray = field(default_factory=lambda: np.ones(0, dtype=bool))
    errors: np.ndarray = field(default_factory=lambda: np.ones(0))

    @property
    def mask(self) -> np.ndarray:
        """(n,) bool, all True by default."""
        return np.asarray(self.solid) if len(self.solid) else np.ones(len(self.x), dtype=bool)


def spectra(omega: np.ndarray, panels: Sequence[Panel], w_limit: float = 4.5) -> Figure:
    """Spectral functions, exact (filled) against models, one panel per problem.

    The axis is cut, and says so, beyond `TALL` times the exact maximum: a model's spike would leave
    nothing else to see.
    """
    with rc_context(STYLE):
        figure, axes = panel_grid(len(panels), height=1.9)
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
            if panel.reference is not None and top > TALL * panel.reference[inside].max():
                top = TALL * panel.reference[inside].max()
                _note_cut(axis)
            axis.set(xlim=(-w_limit, w_limit), ylim=(0, 1.08 * top), title=panel.title)
            axis.yaxis.set_major_locator(MaxNLocator(4))
        outer_labels(figure, r"$\omega / D$", r"$A(\omega)\,D$")
        _legend(figure, colours, panels)
    return figure


def self_energies(omega: np.ndarray, panels: Sequence[Panel], w_limit: float = 3.0) -> Figure:
    """-Im and Re of complex self-energies, one column per problem, low energies as insets.

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
        _legend(figure, colours, panels)
    return figure


def hysteresis(
    exact: Mapping[str, Branch],
    models: Mapping[str, Mapping[str, Branch]],
    zoom: tuple[float, float],
) -> Figure:
    """Z(U), and A(0) around the transition, on both branches.

    Parameters
    ----------
    exact : dict of "metal" and "insulator" to Branch
    models : dict of str to the same
    zoom : (low, high), in D
        Range of the panel of A(0).
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
        axes = figure.subplots(1, 2)
        colours = colours_of(list(models))
        every = [("exact", "k", exact), *((k, colours[k], models[k]) for k in models)]
        for depth, (label, colour, branches) in enumerate(every):
            for name, branch in branches.items():
                _branch(axes, branch, name, colour, exact=label == "exact", depth=depth)
        axes[0].set(xlabel=r"$U / D$", ylabel=r"quasiparticle weight $Z$", ylim=(-0.03, 1.03))
        axes[0].set_xlim(left=0.0)
        axes[1].set(xlabel=r"$U / D$", ylabel=r"$A(0)\,\pi D/2$", xlim=zoom, ylim=(-0.06, 1.3))
        axes[1].set_title("triangles, lines: critical $U$", loc="right", color="0.35")
        handles = [
            Line2D([], [], color="k", marker="o", ms=4, label="exact"),
            *(Line2D([], [], color=colours[k], marker="o", ms=4, label=k) for k in models),
            Line2D([], [], color="0.4", marker="o", ls="-", ms=4, label="metal, U rising"),
            Line2D(
                [], [], color="0.4", marker="s", ls=":", mfc="w", ms=4, label="insulator, U falling"
            ),
        ]
        longest = max((len(handle.get_label()) for handle in handles), default=1)
        columns = max(1, min(len(handles), 4, int(140 / (longest + 8))))
        figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure


def _branch(axes, branch: Branch, name: str, colour: str, exact: bool, depth: int) -> None:
    """One branch in both panels, and its end."""
    order = np.argsort(branch.U, kind="stable")
    U, Z, pinned, on = (array[order] for array in (branch.U, branch.Z, branch.pinned, branch.on))
    metal = name == "metal"
    look = {"color": colour, "lw": 2.2 if exact else 1.1, "ms": 5.5 if exact else 3.8}
    look |= {"marker": "o", "ls": "-"} if metal else {"marker": "s", "ls": ":", "mfc": "w"}
    look["zorder"] = 2 + 0.1 * depth
    axes[0].plot(U[on], Z[on], **look)
    axes[1].plot(U, pinned, **look)
    if branch.critical is None:
        return
    axes[1].axvline(branch.critical, color=colour, lw=0.9, ls="-" if metal else ":", zorder=1)
    height = 1.24 - 0.035 * depth
    marker = ">" if metal else "<"
    axes[1].plot([branch.critical], [height], marker=marker, color=colour, ms=5, zorder=6)


def filling_curves(panels: Mapping[str, Sequence[Series]]) -> Figure:
    """Filling against the level, ``eps_d + U/2``, one panel per title."""
    x, y = r"$(\varepsilon_d + U/2) / D$", r"filling $n$ (both spins)"
    return _curves(panels, 3.1, 2, x, y)


def weight_curves(panels: Mapping[str, Sequence[Series]], columns: int = 3) -> Figure:
    """Z at the lowest Matsubara frequency against U, one panel per title."""
    return _curves(panels, 2.7, columns, r"$U / D$", r"$Z(i\omega_0)$")


def _curves(
    panels: Mapping[str, Sequence[Series]], height: float, columns: int, x: str, y: str
) -> Figure:
    """Series against a parameter, one panel per title; `x` and `y` are labels."""
    every = [entry for series in panels.values() for entry in series]
    colours = colours_of([entry.label for entry in every if entry.label])
    with rc_context(STYLE):
        figure, axes = panel_grid(len(panels), height=height, columns=columns)
        for axis, (title, series) in zip(axes, panels.items(), strict=True):
            for entry in series:
                _points(axis, entry, colours)
            axis.set(title=title, xlabel=x)
            if axis.get_subplotspec().is_first_col():
                axis.set_ylabel(y)
        exact = any(not entry.label for entry in every)
        hollow = any(not entry.mask.all() for entry in every)
        shared_legend(figure, colours, exact, hollow="hollow: not converged" if hollow else None)
    return figure


def _points(axis: Axes, entry: Series, colours: Mapping[str, str]) -> None:
    """One series in order; points that did not converge are hollow."""
    order = np.argsort(entry.x, kind="stable")
    x, y, solid = entry.x[order], np.asarray(entry.y)[order], entry.mask[order]
    if len(entry.errors):
        axis.errorbar(
            x, y, yerr=entry.errors[order], color=colours[entry.label], fmt="s", ms=5, mfc="none",
            capsize=3, lw=1.2, zorder=5,
        )  # fmt: skip
        return
    if entry.label:
        look = {"color": colours[entry.label], "marker": "o", "ms": 4.5, "lw": 1.0}
    else:
        look = {"color": "k", "marker": "x", "ms": 6, "lw": 1.8, "zorder": 1.9}
    axis.plot(x, y, **look)
    if not solid.all():  # white over the filled markers
        axis.plot(x[~solid], y[~solid], ls="", marker="o", ms=2.8, color="w", zorder=4)


def _colours(panels: Sequence[Panel]) -> dict[str, str]:
    return colours_of([label for panel in panels for label in panel.predictions])


def _dash(panel: Panel, label: str) -> str:
    return "--" if label in panel.dashed else "-"


def _legend(figure: Figure, colours: Mapping[str, str], panels: Sequence[Panel]) -> None:
    exact = any(panel.reference is not None for panel in panels)
    dashed = NOT_CONVERGED if any(panel.dashed for panel in panels) else None
    shared_legend(figure, colours, exact, dashed)


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
    inset = axis.inset_axes((0.67, 0.65, 0.32, 0.34))
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
        _note_cut(axis)


def _note_cut(axis: Axes) -> None:
    axis.text(0.02, 0.96, "axis cut", transform=axis.transAxes, fontsize=7, color="0.4", va="top")


def _limits(curves, inner: float, outer: float) -> tuple[float, float]:
    """Smallest and largest value of (omega, curve) pairs at inner < |w| <= outer, never equal."""
    inside = [c[(np.abs(w) > inner) & (np.abs(w) <= outer)] for w, c in curves]
    low, high = min(c.min() for c in inside), max(c.max() for c in inside)
    return low, max(high, low + 1e-3)

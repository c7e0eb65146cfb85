"""Sections of the report about closed loops: spectra, self-energies, Z(U), doping, lattices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from dmftnet.evaluation.assessment import Assessment
from dmftnet.evaluation.closure import COLUMNS, Closure, spectra_panels
from dmftnet.evaluation.exact_loops import Reference
from dmftnet.evaluation.hysteresis import BranchPath
from dmftnet.evaluation.loop_sets import REFERENCE, LoopSet
from dmftnet.evaluation.naming import NEAREST_NEIGHBOUR
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.report import figures
from dmftnet.report.figures import Panel, Series
from dmftnet.report.html import Section, Table
from dmftnet.report.results import critical

ZOOM = (2.0, 3.5)  # in D; the panel of A(0) around the transition
HEADERS = {
    "kl": "KL",
    "A0": "A(0)",
    "A0_exact": "A(0) exact",
    "Z_error": "+-",
    "Z_exact": "Z exact",
    "filling": "n",
    "filling_exact": "n exact",
}
DOPED_LIMIT = 5.5  # in D; a doped insulator's upper band lies above U


def closure_section(shown: Sequence[Assessment], shown_U: Sequence[float]) -> Section:
    """Loops closed by each model against the exact converged solutions."""
    columns = [name for name in COLUMNS if not name.startswith("double_occupancy")]
    keep = [COLUMNS.index(name) for name in columns]
    names = ("references", *(HEADERS.get(name, name) for name in columns), "right phase")
    tables = [
        Table(
            names,
            [
                [name, *(c.row()[i] for i in keep), c.right_branch]
                for name, loops in a.loops.items()
                for c in loops.closures
            ],
            a.label,
            folded=True,
        )
        for a in shown
    ]
    grid, own = common_grid(shown), _of_reference(shown)
    panels = spectra_panels({label: on_grid(loops.closures, grid) for label, loops in own.items()})
    first = next(iter(own.values())).closures
    few = [panels[index] for index in _half_filled(first, shown_U)]
    half = [p for p, c in zip(panels, first, strict=True) if c.reference.half_filled]
    return Section(
        "DMFT closure",
        "The self-consistency loop driven by each model on the Bethe lattice, from the same starts "
        "as the exact solver's loops; KL of the final spectra. Loops of a model that did not "
        "converge are dashed. Loops that the exact solver does not converge, or that end as "
        "neither metal nor insulator, are left out. Settings were chosen on the loops called "
        "'reference', which the figures show; nothing was on those called 'test', at other U and "
        "levels.",
        tables,
        _drawn("spectra", figures.spectra, grid, few)
        | _drawn("dmft_closure", figures.spectra, grid, half),
    )


def self_energy_section(shown: Sequence[Assessment], shown_U: Sequence[float]) -> Section:
    """Self-energies of the closed loops at a few U, half filling, metal start."""
    grid = common_grid(shown)
    own = {label: loops.closures for label, loops in _of_reference(shown).items()}
    loops = {label: on_grid(closures, grid) for label, closures in own.items()}
    first, panels = own[shown[0].label], []
    for index in _half_filled(first, shown_U):
        reference = first[index].reference
        curves = {label: closures[index].self_energy for label, closures in loops.items()}
        failed = frozenset(k for k, closures in loops.items() if not closures[index].converged)
        title = f"U = {reference.U:g}, {reference.start} start"
        fine = reference.fine_grid.omega
        panels.append(Panel(title, reference.self_energy, curves, failed, fine))
    return Section(
        "Self-energies",
        "From the closed loops by Dyson's equation, which magnifies small errors of A; insets: low "
        "energies. The exact curves come from the improved estimator on a fine grid, where a "
        "Mott insulator's pole at zero frequency has no width and shows in the real part alone.",
        (),
        _drawn("self_energies", figures.self_energies, grid, panels),
    )


def hysteresis_section(shown: Sequence[Assessment], exact: Mapping[str, BranchPath]) -> Section:
    """Z(U) and A(0) on both branches, and the two critical U."""
    paths = {a.label: a.paths for a in shown if a.paths}
    drawn = {
        label: {branch: path.drawn() for branch, path in own.items()}
        for label, own in {"exact": exact, **paths}.items()
    }
    figure = figures.hysteresis(drawn.pop("exact"), drawn, ZOOM)
    ends = {
        label: {branch: path.numbers() for branch, path in own.items()}
        for label, own in {"exact": exact, **paths}.items()
    }
    rows = [
        [label, *(critical(own.get(name)) for name in ("insulator", "metal"))]
        for label, own in ends.items()
    ]
    return Section(
        "Quasiparticle weight and hysteresis",
        "Both half-filled solutions followed through U, each loop started from the previous "
        "solution: the metal with rising, the insulator with falling U. A branch ends between two "
        "steps; the critical U is their midpoint, its error half the step. A(0) is pinned in a "
        "metal; a solution below 0.9 of that value, or an insulator without a gap, has left its "
        "branch.",
        [Table(("model", "insulator appears at U", "metal disappears at U"), rows)],
        {"hysteresis": figure} if exact or paths else {},
    )


def doped_section(shown: Sequence[Assessment]) -> Section:
    """Spectra at a given filling: the model's own search, and its loop at the exact level."""
    panels, rows, grid = [], [], common_grid(shown)
    ways = ("own search", "exact level")
    own = {label: loops.doped for label, loops in _of_reference(shown).items()}
    for index, (search, _) in enumerate(own[shown[0].label]):
        reference = search.reference
        for way, title in enumerate(ways):
            loops = {label: [doped[index][way].on_grid(grid)] for label, doped in own.items()}
            panel = spectra_panels(loops)[0]
            name = f"U = {reference.U:g}, n = {reference.target:g}, {title}"
            panels.append(Panel(name, panel.reference, panel.predictions, panel.dashed))
    for name in shown[0].loops:
        for index, (search, _) in enumerate(shown[0].loops[name].doped):
            for way, title in enumerate(ways):
                rows += [
                    [a.label, title, *_doped_row(a.loops[name].doped[index][way])] for a in shown
                ]
            rows.append(_exact_row(search.reference))
    return Section(
        "Doped spectrum",
        "The loop at a target filling: each model searches for the level, and is run once more at "
        "the exact solver's level. KL from the exact spectrum.",
        [
            Table(
                ("model", "level", "U", "converged", "eps_d", "filling", "KL", "A(0)", "Z"),
                rows,
                "Loops",
                folded=True,
            )
        ]
        if rows
        else (),
        _drawn("doped", partial(figures.spectra, w_limit=DOPED_LIMIT), grid, panels),
    )


def _exact_row(r: Reference) -> list:
    return ["exact", "", r.U, True, r.eps_d, r.filling, 0.0, r.A0, r.Z]


def _doped_row(closure: Closure) -> list:
    s = closure.summary
    head = [closure.reference.U, s["converged"], s["eps_d"], s["filling"]]
    return [*head, closure.kl, s["A0"], s["Z"]]


def filling_section(shown: Sequence[Assessment]) -> Section:
    """Filling against the level, for each U that has a doped series."""
    every = {a.label: [c for own in a.loops.values() for c in own.closures] for a in shown}
    loops = every[shown[0].label]
    doped = sorted({c.reference.U for c in loops if not c.reference.half_filled})
    panels, rows = {}, []
    for U in doped:
        chosen = [
            i for i, c in enumerate(loops) if c.reference.U == U and c.reference.start == "metal"
        ]
        chosen.sort(key=lambda i: loops[i].reference.shift)
        x = np.array([loops[i].reference.shift for i in chosen])
        n_exact = np.array([loops[i].reference.filling for i in chosen])
        series = [Series("", x, n_exact)]
        for a in shown:
            n = np.array([every[a.label][i].summary["filling"] for i in chosen])
            solid = np.array([every[a.label][i].converged for i in chosen])
            series.append(Series(a.label, x, n, solid))
            rows.append([a.label, U, float(np.abs(n - n_exact).max()), f"{solid.sum()}/{n.size}"])
        panels[f"U = {U:g}"] = series
    return Section(
        "Filling against the level",
        "Both spins, metal start; zero on the abscissa is half filling.",
        [Table(("model", "U", "largest error", "converged"), rows, "Errors", folded=True)]
        if rows
        else (),
        {"filling": figures.filling_curves(panels)} if panels else {},
    )


def lattice_section(shown: Sequence[Assessment], baselines: Sequence[Assessment]) -> Section:
    """Loops on lattices absent from the training data."""
    models = [*shown, *(a for a in baselines if a.label == NEAREST_NEIGHBOUR)]
    grid = common_grid(models)
    every = {a.label: [c for own in a.loops.values() for c in own.elsewhere] for a in models}
    panels = spectra_panels({label: on_grid(loops, grid) for label, loops in every.items()})
    names = ("references", "lattice", "U", "eps_d", "start", "converged", "iterations", "KL")
    names += ("A(0)", "A(0) exact", "n", "n exact", "clipped")
    tables = [
        Table(
            names,
            [[name, *_lattice_row(c)] for name, own in a.loops.items() for c in own.elsewhere],
            a.label,
            folded=True,
        )
        for a in models
        if every[a.label]
    ]
    return Section(
        "Lattices absent from the data",
        "The DMFT loop with other densities of states. It needs the self-energy, by Dyson's "
        "equation from the model's spectrum; the last column is the share of Im Sigma that had to "
        "be clipped.",
        tables,
        _drawn("lattice", figures.spectra, grid, panels),
    )


def _lattice_row(closure: Closure) -> list:
    r, s = closure.reference, closure.summary
    head = [r.lattice, r.U, r.eps_d, r.start, s["converged"], s["iterations"], closure.kl]
    return [*head, s["A0"], r.A0, s["filling"], r.filling, closure.clipped]


def causality_section(assessments: Sequence[Assessment]) -> Section:
    """How much of Im Sigma had to be clipped."""
    rows = []
    for a in assessments:
        for name, own in a.loops.items():
            for where, loops in (("Bethe", own.closures), ("others", own.elsewhere)):
                if loops:
                    rows.append(
                        [a.label, name, where, *_median_and_worst([c.clipped for c in loops])]
                    )
    for name, own in assessments[0].loops.items():
        exact = [c.reference.resolved[1] for c in own.closures]
        rows.append(["Exact spectra at this resolution", name, "Bethe", *_median_and_worst(exact)])
    return Section(
        "Causality of the self-energy",
        "Dyson's equation turns a predicted spectrum into a self-energy; Im Sigma > 0 is clipped. "
        "Share of the integral of |Im Sigma| that was clipped, in the last iteration of each "
        "loop. The last rows show what the data's resolution alone does: the exact spectra treated "
        "in the same way.",
        [Table(("model", "references", "lattice", "median", "worst"), rows, "Shares", folded=True)],
    )


def _median_and_worst(values: Sequence[float]) -> list[float]:
    return [float(np.median(values)), float(np.max(values))] if values else [np.nan, np.nan]


def _of_reference(shown: Sequence[Assessment]) -> dict[str, LoopSet]:
    """The loops that figures draw, by label."""
    return {a.label: a.loops[REFERENCE] for a in shown}


def common_grid(assessments: Sequence[Assessment]) -> FrequencyGrid:
    """The finest of the models' grids; figures draw all curves on it."""
    every = [own for a in assessments for own in a.loops.values()]
    grids = [c.grid for own in every for c in (*own.closures, *own.elsewhere)[:1]]
    return max(grids, key=lambda grid: grid.n_w)


def on_grid(closures: Sequence[Closure], grid: FrequencyGrid) -> list[Closure]:
    """The loops with their curves interpolated to another grid, for drawing."""
    return [closure.on_grid(grid) for closure in closures]


def _drawn(name: str, draw, grid: FrequencyGrid, panels: Sequence[Panel]) -> dict:
    """The figure under its name; nothing where the references leave no panel to draw."""
    return {name: draw(grid.omega, panels)} if panels else {}


def _half_filled(closures: Sequence[Closure], values: Sequence[float]) -> list[int]:
    """Indices of the half-filled metal-start loops nearest to the given U, each once."""
    candidates = [
        i
        for i, c in enumerate(closures)
        if c.reference.half_filled and c.reference.start == "metal"
    ]
    if not candidates:
        return []
    nearest = [min(candidates, key=lambda i: abs(closures[i].reference.U - U)) for U in values]
    return list(dict.fromkeys(nearest))

"""From assessments to the sections of the report: which table, which figure, how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dmftnet.callbacks.assessment import Assessment
from dmftnet.callbacks.dmft_closure import COLUMNS, Closure, spectra_panels
from dmftnet.models.scoring import kl_summary
from dmftnet.physics.grid import FrequencyGrid
from dmftnet.report import figures
from dmftnet.report.figures import Panel, Series
from dmftnet.report.html import Section, Table

KL_COLUMNS = ("kl_median", "kl_90", "kl_worst")


def report_sections(
    assessments: Sequence[Assessment],
    baselines: Mapping[str, np.ndarray],
    shown_U: Sequence[float],
) -> list[Section]:
    """All sections, in the order of the page."""
    return [
        test_errors(assessments, baselines),
        closure_section(assessments, shown_U),
        self_energy_section(assessments, shown_U),
        quasiparticle_section(assessments),
        filling_section(assessments),
        stability_section(assessments),
        latent_section(assessments),
    ]


def test_errors(assessments: Sequence[Assessment], baselines: Mapping[str, np.ndarray]) -> Section:
    """Single-shot errors on the test trajectories."""
    rows = [
        [a.label, a.n_parameters, *_quantiles(a.stability.kl_prediction), a.same_data]
        for a in assessments
    ]
    rows += [[f"baseline: {n}", None, *_quantiles(kl), None] for n, kl in baselines.items()]
    errors = {a.label: a.stability.kl_prediction for a in assessments}
    errors |= {f"baseline: {name}": kl for name, kl in baselines.items()}
    n = len(assessments[0].stability.kl_prediction)
    return Section(
        "Test error on the real axis",
        f"KL divergence of the predicted from the exact spectrum at angle zero, over {n} samples "
        "of whole trajectories that training never saw. Read each error beside that of the input "
        "hybridization: late in a DMFT loop it is itself close to the answer.",
        [
            Table(
                ("model", "parameters", "median", "90 %", "worst", "trained on this data"),
                rows,
            )
        ],
        {"test_kl": figures.kl_distribution(errors)},
    )


def closure_section(assessments: Sequence[Assessment], shown_U: Sequence[float]) -> Section:
    """Loops closed by each model against the exact converged solutions."""
    columns = [name for name in COLUMNS if not name.startswith("double_occupancy")]
    keep = [COLUMNS.index(name) for name in columns]
    tables = []
    for a in assessments:
        rows = [[a.label, *(c.row()[i] for i in keep)] for c in a.closures]
        tables.append(Table(("model", *columns), rows))
    grid = _common_grid(assessments)
    panels = spectra_panels({a.label: on_grid(a.closures, grid) for a in assessments})
    shown = [panels[index] for index in _half_filled(assessments[0].closures, shown_U)]
    return Section(
        "DMFT closure",
        "The self-consistency loop driven by each model on the Bethe lattice, from the same starts "
        "as the exact solver's loops. KL compares the converged spectra; where a model's loop did "
        "not converge, its last iteration is shown dashed. Loops in which the exact solver itself "
        "did not converge are left out.",
        tables,
        _drawn("spectra", figures.spectra, grid, shown)
        | _drawn("dmft_closure", figures.spectra, grid, panels),
    )


def self_energy_section(assessments: Sequence[Assessment], shown_U: Sequence[float]) -> Section:
    """Self-energies of the closed loops at a few U, half filling, metal start."""
    grid = _common_grid(assessments)
    loops = {a.label: on_grid(a.closures, grid) for a in assessments}
    panels = []
    for index in _half_filled(assessments[0].closures, shown_U):
        reference = assessments[0].closures[index].reference
        curves = {label: closures[index].self_energy for label, closures in loops.items()}
        failed = frozenset(k for k, closures in loops.items() if not closures[index].converged)
        title = f"U = {reference.U:g}, {reference.start} start"
        fine = reference.fine_grid.omega
        panels.append(Panel(title, reference.self_energy, curves, failed, fine))
    return Section(
        "Self-energies",
        "From the closed loops by Dyson's equation, which a spectrum must satisfy on all "
        "frequencies at once and which magnifies small errors of A; low energies in the insets. "
        "The exact curves come from the improved estimator on a fine grid; a Mott insulator's pole "
        "at zero frequency has no width there and shows in the real part alone.",
        (),
        _drawn("self_energies", figures.self_energies, grid, panels),
    )


def quasiparticle_section(assessments: Sequence[Assessment]) -> Section:
    """Z(U) at half filling, from both starts."""
    exact, models = [], []
    for variant, start in enumerate(("metal", "insulator")):
        chosen = [i for i, c in enumerate(assessments[0].closures) if _is(c, start)]
        if not chosen:
            continue
        references = [assessments[0].closures[i].reference for i in chosen]
        U, Z = np.array([r.U for r in references]), np.array([r.Z for r in references])
        exact.append(Series(f"exact, {start} start", U, Z, variant=variant))
        for a in assessments:
            Z = np.array([a.closures[i].summary["Z"] for i in chosen])
            solid = np.array([a.closures[i].converged for i in chosen])
            models.append(Series(f"{a.label}, {start} start", U, Z, a.label, variant, solid))
    series = [*exact, *models]
    return Section(
        "Quasiparticle weight",
        "Z from the slope of Re Sigma at zero frequency, half filling; zero in the insulator. "
        "Where the two starts differ, metal and insulator coexist.",
        (),
        {"quasiparticle_weight": figures.quasiparticle_weights(series)} if series else {},
    )


def filling_section(assessments: Sequence[Assessment]) -> Section:
    """Filling against the level, for each U that has a doped series."""
    loops = assessments[0].closures
    doped = sorted({c.reference.U for c in loops if not c.reference.half_filled})
    exact, models = [], []
    for variant, U in enumerate(doped):
        chosen = [
            i for i, c in enumerate(loops) if c.reference.U == U and c.reference.start == "metal"
        ]
        x = np.array([loops[i].reference.eps_d + U / 2 for i in chosen])
        n = np.array([loops[i].reference.filling for i in chosen])
        exact.append(Series(f"exact, U = {U:g}", x, n, variant=variant))
        for a in assessments:
            n = np.array([a.closures[i].summary["filling"] for i in chosen])
            solid = np.array([a.closures[i].converged for i in chosen])
            models.append(Series(f"{a.label}, U = {U:g}", x, n, a.label, variant, solid))
    series = [*exact, *models]
    return Section(
        "Filling against the level",
        "Both spins, metal start; zero on the abscissa is half filling.",
        (),
        {"filling": figures.filling_curves(series)} if series else {},
    )


def stability_section(assessments: Sequence[Assessment]) -> Section:
    """KL stability scatter on the test trajectories."""
    panels = {}
    rows = []
    for a in assessments:
        s = a.stability
        panels[a.label] = (s.kl_input, s.kl_prediction, s.U)
        scalars = s.scalars()
        rows.append([a.label, scalars["share_below_input"], scalars["rank_correlation"]])
    return Section(
        "KL stability",
        "Error of the prediction against the error of the input hybridization taken as the answer, "
        "each test sample one point. Below the diagonal the model knows more than its input; a "
        "model that is stable under iteration bends away below it on the right.",
        [Table(("model", "share below the input's error", "rank correlation"), rows)],
        {"kl_stability": figures.kl_stability(panels)},
    )


def latent_section(assessments: Sequence[Assessment]) -> Section:
    """Latent maps, and how well they order the physics."""
    rows = [[a.label, *a.latent.scalars().values()] for a in assessments]
    maps = {a.label: (a.latent.embedding, a.latent.A0, a.latent.filling) for a in assessments}
    return Section(
        "Latent map",
        "Latent vectors of the validation and test samples by PCA (50 components) and UMAP (2). "
        "R2: how well five neighbours in the map predict the rank of A(0), which tells metal from "
        "insulator, and that of the filling.",
        [Table(("model", "R2 of A(0)", "R2 of filling", "variance in two components"), rows)],
        {"latent_map": figures.latent_map(maps)},
    )


def _drawn(name: str, draw, grid: FrequencyGrid, panels: Sequence[Panel]) -> dict:
    """The figure under its name; nothing where the references leave no panel to draw."""
    return {name: draw(grid.omega, panels)} if panels else {}


def _quantiles(kl: np.ndarray) -> list[float]:
    summary = kl_summary(kl)
    return [summary[name] for name in KL_COLUMNS]


def _is(closure: Closure, start: str) -> bool:
    return closure.reference.half_filled and closure.reference.start == start


def _half_filled(closures: Sequence[Closure], values: Sequence[float]) -> list[int]:
    """Indices of the half-filled metal-start loops nearest to the given U, each once."""
    candidates = [i for i, closure in enumerate(closures) if _is(closure, "metal")]
    if not candidates:
        return []
    nearest = [min(candidates, key=lambda i: abs(closures[i].reference.U - U)) for U in values]
    return list(dict.fromkeys(nearest))


def _common_grid(assessments: Sequence[Assessment]) -> FrequencyGrid:
    """The finest of the models' grids; figures draw all curves on it."""
    grids = [a.closures[0].reference.grid for a in assessments]
    return max(grids, key=lambda grid: grid.n_w)


def on_grid(closures: Sequence[Closure], grid: FrequencyGrid) -> list[Closure]:
    """The loops with their curves interpolated to another grid, for drawing."""
    return [closure.on_grid(grid) for closure in closures]

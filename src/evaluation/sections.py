"""From assessments to the sections of the report: tables, figures, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmftnet.evaluation.assessment import Assessment, shown
from dmftnet.evaluation.hysteresis import BranchPath
from dmftnet.evaluation.loop_sections import (
    causality_section,
    closure_section,
    doped_section,
    filling_section,
    hysteresis_section,
    lattice_section,
    self_energy_section,
)
from dmftnet.models.training.scoring import kl_summary
from dmftnet.report import samples
from dmftnet.report.html import Section, Table
from dmftnet.report.results import with_spread

KL_COLUMNS = ("kl_median", "kl_90", "kl_worst")
BLOCK_COLUMNS = ("blocks_median", "blocks_90")
INPUT = "Input hybridization"


def report_sections(
    assessments: Sequence[Assessment],
    numbers: Mapping[str, Any],
    exact: Mapping[str, BranchPath],
    input_kl: np.ndarray,
    shown_U: Sequence[float],
) -> list[Section]:
    """All sections, in the order of the page.

    Parameters
    ----------
    assessments : sequence of Assessment
        Networks and baselines.
    numbers : mapping
        ``metrics.json``.
    exact : mapping of branch to BranchPath
    input_kl : (n,)
        Test errors of the input hybridization.
    shown_U : sequence of float, in D
        Spectra and self-energies drawn large.
    """
    drawn = shown(assessments, numbers["best"])
    baselines = [a for a in assessments if a.baseline]
    return [
        targets_section(numbers),
        variants_section(numbers),
        test_errors(drawn, baselines, input_kl),
        closure_section(drawn, shown_U),
        self_energy_section(drawn, shown_U),
        hysteresis_section(drawn, exact),
        doped_section(drawn),
        filling_section(drawn),
        lattice_section(drawn, baselines),
        causality_section([a for a in assessments if not a.baseline]),
        stability_section(drawn),
        calibration_section(assessments),
        latent_section(drawn),
    ]


def targets_section(numbers: Mapping[str, Any]) -> Section:
    """Targets, and what was reached."""
    words = {True: "met", False: "missed", None: ""}
    rows = [
        [t["what"], t["target"], t["measured"], words[t["met"]], t["reference"]]
        for t in numbers["targets"]
    ]
    return Section(
        "Targets",
        f"{numbers['best']} against the exact solver, on held-out trajectories and on loops on "
        "which nothing was chosen. The last column is the same for the loops on which settings "
        "were chosen.",
        [Table(("what", "target", "measured", "", "reference loops"), rows)],
    )


def variants_section(numbers: Mapping[str, Any]) -> Section:
    """All variants, over their seeds: errors of single solves, then of closed loops."""
    variants = numbers["variants"]
    errors = ("minutes", "val_median", *KL_COLUMNS, *BLOCK_COLUMNS)
    loops = ("converged", "right_branch", "loop_kl_median", "loop_kl_worst")
    loops += ("A0_error", "Z_error", "filling_error")
    rows = [
        [v["variant"], v["seeds"], v["parameters"], *(with_spread(v.get(k)) for k in errors)]
        for v in variants
    ]
    own = numbers["input hybridization"]
    rows.append([INPUT, *[None] * 4, *(own[k] for k in KL_COLUMNS), None, None])
    names = ("variant", "seeds", "parameters", "minutes of training", "validation median")
    names += ("test median", "90 %", "worst", "blocks of U: median", "90 %")
    closed = [[v["variant"], *(with_spread(v.get(k)) for k in loops)] for v in variants]
    columns = ("variant", "converged", "right phase", "KL median", "worst")
    columns += ("error of A(0)", "of Z", "of n")
    return Section(
        "Variants",
        "Mean and standard deviation over the seeds of each variant, lowest validation error "
        "first. Blocks of U are whole intervals of U, for networks trained without them. Loops: "
        "Bethe lattice, those on which nothing was chosen; shares that converged and that found "
        "the exact solution's phase, KL of their spectra, largest errors, that of Z relative.",
        [
            Table(names, rows, "KL of single solves on the real axis"),
            Table(columns, closed, "Closed DMFT loops"),
        ],
    )


def test_errors(
    drawn: Sequence[Assessment], baselines: Sequence[Assessment], input_kl: np.ndarray
) -> Section:
    """Single-shot errors on the test trajectories."""
    rows = [
        [a.label, a.n_parameters, *_quantiles(a.test_kl), a.same_data] for a in (*drawn, *baselines)
    ]
    rows.append([INPUT, None, *_quantiles(input_kl), None])
    errors = {a.label: a.test_kl for a in drawn}
    errors |= {f"baseline: {a.label}": a.test_kl for a in baselines}
    errors[f"baseline: {INPUT}"] = input_kl
    return Section(
        "Test error on the real axis",
        "KL of the predicted from the exact spectrum on whole trajectories that training never "
        "saw. Compare with the input hybridization: late in a DMFT loop it is already close to "
        "the answer.",
        [Table(("model", "parameters", "median", "90 %", "worst", "trained on this data"), rows)],
        {"test_kl": samples.kl_distribution(errors)},
    )


def stability_section(drawn: Sequence[Assessment]) -> Section:
    """KL stability scatter on the training and the test trajectories."""
    panels, rows = {}, []
    for split in ("train", "test"):  # one row of panels each
        for a in drawn:
            s = a.stability[split]
            panels[f"{a.label}: {split}"] = (s.kl_input, s.kl_prediction, s.U)
            scalars = s.scalars()
            names = ("kl_median", "kl_90", "share_below_input", "rank_correlation")
            rows.append([a.label, split, *(scalars[name] for name in names)])
    names = ("model", "split", "median", "90 %", "share below the input")
    return Section(
        "KL stability",
        "Error of the prediction against that of the input hybridization taken as the answer, one "
        "point a sample. Below the diagonal the model improves on its input; a model that is "
        "stable under iteration bends away from it on the right.",
        [Table((*names, "rank correlation"), rows)],
        {"kl_stability": samples.kl_stability(panels, columns=max(2, len(drawn)))},
    )


def calibration_section(assessments: Sequence[Assessment]) -> Section:
    """Whether an ensemble's spread predicts its error."""
    found = {a.label: a.calibration for a in assessments if a.calibration is not None}
    names = ("rank_correlation", "kl_median", "kl_median_kept", "kl_90", "kl_90_kept")
    rows = [[label, *(c.scalars()[name] for name in names)] for label, c in found.items()]
    columns = ("ensemble", "rank correlation", "KL median", "kept", "90 %")
    return Section(
        "Calibration of ensembles",
        "Spread of an ensemble's members (mean KL from their average) against its true error on "
        "the test trajectories; kept: without the fifth of widest spread."
        if found
        else "No ensemble in this report.",
        [Table((*columns, "kept"), rows)] if found else (),
        {"calibration": samples.calibration({k: (c.spread, c.kl, c.cut) for k, c in found.items()})}
        if found
        else {},
    )


def latent_section(drawn: Sequence[Assessment]) -> Section:
    """Latent maps, and how well they order the physics."""
    found = {a.label: a.latent for a in drawn if a.latent is not None}
    rows = [[label, *latent.scalars().values()] for label, latent in found.items()]
    maps = {label: (m.embedding, m.A0, m.filling) for label, m in found.items()}
    return Section(
        "Latent map",
        "Latent vectors of the validation and test samples, by PCA (50 components) and UMAP (2). "
        "R2: how well five neighbours in the map predict the rank of A(0), which distinguishes "
        "metal from insulator, and of the filling.",
        [Table(("model", "R2 of A(0)", "R2 of filling", "variance in two components"), rows)],
        {"latent_map": samples.latent_map(maps)} if maps else {},
    )


def _quantiles(kl: np.ndarray) -> list[float]:
    summary = kl_summary(kl)
    return [summary[name] for name in KL_COLUMNS]

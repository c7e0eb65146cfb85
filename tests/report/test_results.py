"""docs/results.md holds what docs/results.json says, and nothing else."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from dmftnet.errors import DmftnetError
from dmftnet.evaluation.assessment import with_conclusions
from dmftnet.report.results import (
    condensed,
    critical,
    render_results,
    rewrite_results,
    with_spread,
    write_results,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"


def loop(U=2.0, **changes):
    names = ("eps_d", "kl", "A0", "A0_exact", "Z", "Z_error", "Z_exact", "Z_error_exact")
    names += ("Z_resolved", "filling", "filling_exact", "clipped_self_energy")
    texts = {"start": "metal", "lattice": "bethe", "branch": "metal", "branch_exact": "metal"}
    values = dict.fromkeys(names, 0.123456789)
    fixed = {"U": U, "converged": True, "iterations": 12, "eps_d_exact": -U / 2}
    fixed["right_branch"] = True
    return {**values, **texts, **fixed, **changes}


def numbers():
    scores = {"kl_median": 1.23456789e-3, "kl_90": 0.02, "kl_worst": 0.3}
    split = {**scores, "share_below_input": 0.9, "rank_correlation": 0.5}
    path = {"critical_U": 3.025, "critical_U_error": 0.025, "U": [1.0], "Z": [0.7]}
    scalars = {"converged": 1.0, "kl_median": 1e-3, "kl_worst": 2e-3}
    own = {
        "closure": scalars,
        "elsewhere": scalars,
        "clipped_self_energy": {"median": 0.0, "worst": 0.01},
        "loops": [loop(), loop(eps_d_exact=-0.5, filling=0.7, filling_exact=0.71)],
        "loops_elsewhere": [loop(lattice="square")],
        "doped": [{"target": 0.85, "own": loop(), "exact_level": loop()}],
    }
    model = {
        "variant": "net",
        "baseline": False,
        "network": {"architecture": "mlp"},
        "parameters": 10,
        "resolution": [0.01, 0.05],
        "test": split,
        "val": split,
        "train": split,
        "blocks": split,
        "loops": {"reference": own, "test": own},
        "hysteresis": {"metal": path},
        "latent": {"r2_A0": 0.9, "r2_filling": 0.8},
    }
    value = {"mean": 1e-3, "spread": 1e-4}
    names = ("val_median", "kl_median", "kl_90", "kl_worst", "blocks_median", "blocks_90")
    names += ("converged", "right_branch", "loop_common_kl")
    names += ("A0_error", "Z_error", "filling_error")
    variant = {"variant": "net", "seeds": 2, **dict.fromkeys(names, value)}
    variant |= {"resolution": [0.01, 0.05], "commit": None}
    claim = {"claim": "stable", "what": "loops", "asked": "all", "found": "3 of 3", "met": True}
    target = {"what": "test KL", "target": "<= 1", "measured": "0.5", "met": True}
    target["reference"] = "0.4"
    origin = {
        "command": "evaluate.py results=docs hydra.run.dir=x",
        "config": "a: 1",
        "commit": "c",
    }
    return {
        "best": "net",
        "summary": [{"title": "How good", "lines": ["very"]}],
        "models": {"net": model, "other": {**model, "baseline": False}},
        "variants": [variant],
        "input hybridization": scores,
        "exact": {"metal": path},
        "samples": {"train": 5, "test": 3},
        "targets": [target],
        "reproduction": {"with": "net", "without": None, "rows": [{**claim, "without": None}]},
        "provenance": origin,
    }


def test_text_numbers_and_figures_are_written_together(tmp_path):
    figure = Figure(figsize=(1, 1))
    path = write_results(tmp_path, numbers(), {"spectra": figure})
    text = path.read_text(encoding="utf-8")
    assert (
        render_results(json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))) == text
    )
    assert "figures/results_spectra.png" in text and "results_latent_map" not in text
    assert (tmp_path / "figures" / "results_spectra.png").read_bytes().startswith(b"\x89PNG")
    assert "| test KL | <= 1 | 0.5 | met | 0.4 |" in text
    assert "| stable | loops | all | 3 of 3 | met | – |" in text
    assert "3.025 ± 0.025" in text and "hydra.run" not in text
    assert "\n\n\n" not in text


def test_the_text_is_written_again_from_its_numbers(tmp_path):
    path = write_results(tmp_path, numbers(), {"spectra": Figure(figsize=(1, 1))})
    before = path.read_text(encoding="utf-8")
    assert "**How good**\n\n- very\n" in before
    path.unlink()
    assert rewrite_results(tmp_path, dict) == path
    assert path.read_text(encoding="utf-8") == before
    lines = {"summary": [{"title": "How good", "lines": ["so so"]}]}
    rewrite_results(tmp_path, lambda found: {**found, **lines})
    assert path.read_text(encoding="utf-8") == before.replace("- very\n", "- so so\n")
    stored = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert stored["summary"] == lines["summary"] and stored["figures"] == ["spectra"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("[1]", "is not what this version writes"),
        ('{"best": "net"}', "is not what this version writes"),
        ('{"best": "net", "models": []}', "is not what this version writes"),
        ("{", "is not what this version writes"),
    ],
)
def test_what_cannot_be_written_again_is_one_line_with_the_remedy(tmp_path, content, message):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(DmftnetError, match=message) as error:
        rewrite_results(tmp_path, dict)
    assert f"results={tmp_path}" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "results.md").exists()


def test_tables_have_as_many_cells_as_columns(tmp_path):
    lines = write_results(tmp_path, numbers(), {}).read_text(encoding="utf-8").splitlines()
    for first, second in pairwise(lines):
        if first.startswith("|") and second.startswith("|"):
            assert first.count("|") == second.count("|"), (first, second)


def test_remarks_stand_in_the_text_until_others_take_their_place(tmp_path):
    written = write_results(tmp_path, numbers(), {}, ["First remark."])
    assert "First remark.\n" in written.read_text(encoding="utf-8")
    rewrite_results(tmp_path, dict)
    assert "First remark.\n" in written.read_text(encoding="utf-8")
    rewrite_results(tmp_path, dict, ["Another."])
    text = written.read_text(encoding="utf-8")
    assert "Another.\n" in text and "First remark." not in text


def test_loops_of_all_but_the_best_are_left_out():
    """And of the paper's networks, of which a section of the text tells."""
    full = numbers()
    full["models"]["other"]["variant"] = "other"
    kept = condensed(full)
    for name in ("reference", "test"):
        assert "loops" in kept["models"]["net"]["loops"][name]
        assert set(kept["models"]["other"]["loops"][name]) == {
            "closure", "elsewhere", "clipped_self_energy",
        }  # fmt: skip
    assert kept["models"]["net"]["test"]["kl_median"] == 1.23457e-3
    assert "config" not in kept["provenance"]


def test_cells():
    assert with_spread({"mean": 1.0, "spread": None}) == "1"
    assert with_spread({"mean": 1.0, "spread": 0.1}) == "1 ± 0.1"
    assert with_spread(None) == critical(None) == critical({"critical_U": None}) == "–"


def test_the_committed_conclusions_follow_from_the_committed_numbers():
    numbers = json.loads((DOCS / "results.json").read_text(encoding="utf-8"))
    again = with_conclusions(numbers)
    for key in ("targets", "summary", "reproduction"):
        assert again[key] == numbers[key]


def test_the_committed_text_is_that_of_the_committed_numbers():
    numbers, text = DOCS / "results.json", DOCS / "results.md"
    assert numbers.is_file() == text.is_file()  # both, or neither before the first results
    if numbers.is_file():
        written = text.read_text(encoding="utf-8")
        assert written == render_results(json.loads(numbers.read_text(encoding="utf-8")))
        figures = re.findall(r"^!\[.*\]\((.*)\)$", written, flags=re.MULTILINE)
        assert figures and all((DOCS / figure).is_file() for figure in figures)

"""evaluate_thermal.py through its real command line, on a correction of toy data."""

import json
from pathlib import Path

import pytest
from shell import run_script
from toy_loops import make_correction, make_loops, make_samples

ROOT = Path(__file__).resolve().parents[2]
LABELS = ["crude", "fair", "alone"]


def call(*arguments):
    return run_script("evaluate_thermal.py", *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate_thermal")
    samples = make_samples(folder / "samples.h5", n_models=12, failed=[(6, 0)])
    make_correction(folder / "alone", samples)
    make_loops(folder / "loops.h5")
    return folder


def arguments(folder, out, *more):
    return [
        f"checkpoints=[{folder}/alone]",
        f"bethe={folder}/samples.h5",
        f"models={folder}/samples.h5",
        f"continuous={folder}/samples.h5",
        f"fitted={folder}/samples.h5",
        f"held=[{folder}/samples.h5]",
        "solvers.ctseg.n_sweeps=3200",
        "solvers.ctseg.n_warmup=200",
        f"references={folder}/loops.h5",
        f"transition={folder}/loops.h5",
        f"finer={folder}/loops.h5",
        "orbitals=null",
        "U=[1.0]",
        "closed_by=[ipt]",
        "drawn_beta=[5.0]",
        "n_timed=1",
        "n_predictions=5",
        "loop.tolerance=1e-4",
        f"hydra.run.dir={folder}/{out}",
        *more,
    ]


@pytest.fixture(scope="module")
def report(folder):
    done = call(*arguments(folder, "out", f"results={folder}/docs"))
    assert done.returncode == 0, done.stderr
    return folder / "out", done.stdout


def test_every_number_is_in_the_metrics(report):
    out, _ = report
    text = (out / "metrics.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    numbers = json.loads(text)
    assert list(numbers["one_shot"]) == LABELS
    assert list(numbers["milliseconds"]) == [*LABELS, "ras"]
    assert numbers["one_shot"]["alone"] == pytest.approx(numbers["one_shot"]["crude"])
    assert numbers["one_shot"]["crude"]["failed"] == 1
    assert list(numbers["loops"]) == ["ipt", "alone"]
    assert len(numbers["loops"]["ipt"]["loops"]) == 2
    assert numbers["loops"]["ipt"]["scores"]["failed"] == 0
    assert list(numbers["finer"]) == ["ipt", "alone", "references"]
    for one, own in zip(numbers["finer"]["ipt"], numbers["loops"]["ipt"]["loops"], strict=True):
        assert one["Z_matsubara_exact"] == own["Z_matsubara_exact"]
    assert [t["start"] for t in numbers["transition"]["ipt"]] == ["metal", "atom"]
    broken = numbers["violations"]["exact labels"]["counts"]
    assert broken["predictions"] == 5 and broken["any"] == 0
    assert sum(entry["samples"] for entry in numbers["by_temperature"]) == 6
    assert numbers["corrections"]["alone"]["base"] == "crude"
    assert numbers["held"]["samples"]["alone"] == pytest.approx(numbers["one_shot"]["alone"])
    assert numbers["trust"] == {"samples": {}}  # a single run folder has no limits
    assert numbers["milliseconds"].pop("ras") > 0
    (seen,) = numbers["witness"]
    assert seen["U"] == 1.0 and abs(seen["Z"] - seen["Z_exact"]) < 6 * seen["Z_error"] < 0.5
    assert "sha256" in numbers["provenance"]["references"]


def test_page_document_and_log_have_the_same_tables(report):
    out, printed = report
    page = (out / "report.html").read_text()
    document = (out.parent / "docs" / "thermal.md").read_text()
    numbers = json.loads((out / "metrics.json").read_text())
    row = next(line for line in document.splitlines() if line.startswith("| fair | "))
    worst = numbers["one_shot"]["fair"]["error_worst"]
    assert f"{worst:.3g}" in row or f"{worst:.1e}" in row
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert all(f">{cell}</td>" in page and cell in printed for cell in cells)
    for name in ("thermal_errors", "thermal_weights"):
        assert f"(figures/{name}.png)" in document
        assert (out.parent / "docs" / "figures" / f"{name}.png").is_file()
        assert (out / f"{name}.png").is_file()
    assert "hydra.run.dir" not in document


def test_a_report_is_not_written_over_another(folder, report):
    done = call(*arguments(folder, "out"))
    assert done.returncode == 2 and "report.html" in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("closed_by=[other]", "closed_by[0] = 'other'"),
        ("U=[7.0]", "holds no loop at U = 7"),
        ("n_timed=0", "n_timed = 0"),
        ("witness=other", "witness = 'other'"),
        ("loops_of=[other]", "loops_of[0] = 'other'"),
        ("references=none.h5", "none.h5 does not exist; make it with"),
    ],
)
def test_bad_settings_are_one_line(folder, tmp_path, more, message):
    done = call(*arguments(folder, "bad", more, f"hydra.run.dir={tmp_path}"))
    assert done.returncode == 2 and message in done.stderr
    assert done.stderr.strip().count("\n") == 0

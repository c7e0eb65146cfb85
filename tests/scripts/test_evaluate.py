"""evaluate.py through its real command line, on two untrained networks and toy data."""

import json
import re
import shutil
import sys
from pathlib import Path

import markupsafe
import numpy as np
import pytest
import toy_files
import yaml
from shell import run_script

from dmftnet.config import run
from dmftnet.errors import StoreError
from dmftnet.evaluation.assessment import datamodule_of, find_checkpoints
from dmftnet.models.training.checkpoint import load_model
from dmftnet.models.training.scoring import kl_summary, real_axis_kl
from dmftnet.provenance import sha256
from dmftnet.report.results import render_results
from dmftnet.scripts import evaluate

ROOT = Path(__file__).resolve().parents[2]
BASELINES = ["Nearest neighbour", "Kernel ridge"]
FIGURES = {
    "test_kl",
    "spectra",
    "dmft_closure",
    "self_energies",
    "hysteresis",
    "doped",
    "filling",
    "lattice",
    "kl_stability",
    "calibration",
    "latent_map",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    toy_files.make_dataset(folder / "data.h5")
    toy_files.make_references(folder / "references.h5")
    shutil.copyfile(folder / "references.h5", folder / "test_references.h5")
    for i, name in enumerate("ab"):
        data = {"sha256": sha256(folder / "data.h5") if name == "a" else "of another file"}
        toy_files.make_checkpoint(folder / name, seed=i, loss={"lam": float(i)}, data=data)
    return folder


def arguments(files, out, *more):
    return [
        f"checkpoints=[{files}/a,{files}/b]",
        f"dataset.path={files}/data.h5",
        f"references={files}/references.h5",
        f"test_references={files}/test_references.h5",
        "loop.max_iterations=5",
        "hysteresis.metal=[0.5,1.0]",
        "hysteresis.insulator=[1.0,0.5]",
        "hysteresis.loop.max_iterations=3",
        "threads=1",
        f"hydra.run.dir={out}",
        *more,
    ]


@pytest.fixture(scope="module")
def report(files):
    """The folder that one real run writes, and what it prints."""
    out = files / "report"
    more = [f"+ensembles.both=[{files}/a,{files}/b]", "best=both", f"results={files}/docs"]
    done = run_script("evaluate.py", *arguments(files, out, *more))
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_report_holds_every_figure_and_names_itself(report):
    out, printed = report
    assert {path.stem for path in out.glob("*.png")} == FIGURES
    page = (out / "report.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<img src="data:image/png;base64,', page)) == len(FIGURES)
    for text in ("MLP, lambda = 0", "MLP, lambda = 1", *BASELINES):
        assert text in page and text in printed
    assert f"report: {out / 'report.html'}" in printed


def test_metrics_are_those_of_the_models(report, files):
    numbers = json.loads((report[0] / "metrics.json").read_text())
    assert [a for a in numbers["models"] if numbers["models"][a]["baseline"]] == BASELINES
    data = evaluate_data(files)
    for name, label in (("a", "MLP, lambda = 0"), ("b", "MLP, lambda = 1")):
        entry = numbers["models"][label]
        for split in ("train", "val", "test"):
            expected = kl_summary(real_axis_kl(load_model(files / name), data.arrays(split)))
            for key, value in expected.items():
                assert entry[split][key] == pytest.approx(value, rel=1e-5)
        assert entry["trained_on_this_data"] is (name == "a")
        assert entry["network"]["lam"] == (0 if name == "a" else 1)
        own, same = entry["loops"]["test"], entry["loops"]["reference"]  # one file, two names
        assert own["closure"] == same["closure"]
        loops = own["loops"]
        assert np.mean([loop["converged"] for loop in loops]) == own["closure"]["converged"]
        assert {loop["start"] for loop in loops} == {"metal", "insulator"}
        assert all(loop["reason"] for loop in loops)
        assert {loop["lattice"] for loop in own["loops_elsewhere"]} == {"square"}
        assert own["doped"][0]["target"] == 1.0
        assert set(entry["hysteresis"]) == {"metal", "insulator"}


def test_the_ensemble_is_a_model_of_its_own(report):
    numbers = json.loads((report[0] / "metrics.json").read_text())
    entry = numbers["models"]["Ensemble 'both' (2 x MLP)"]
    members = [numbers["models"][f"MLP, lambda = {lam}"] for lam in (0, 1)]
    assert entry["parameters"] == sum(member["parameters"] for member in members)
    assert -1 <= entry["calibration"]["rank_correlation"] <= 1
    assert "calibration" not in members[0]


def test_targets_are_printed_and_in_the_report(report):
    out, printed = report
    numbers = json.loads((out / "metrics.json").read_text())
    assert numbers["best"] == "Ensemble 'both' (2 x MLP)"  # asked for by its short name
    page = (out / "report.html").read_text(encoding="utf-8")
    for entry in numbers["targets"]:
        assert markupsafe.escape(entry["what"]) in page
    for part in numbers["summary"]:
        assert all(markupsafe.escape(line) in page for line in part["lines"])
    assert "missed" in printed and "test KL, median" in printed


def test_documents_come_from_the_same_numbers(report, files):
    numbers = json.loads((files / "docs" / "results.json").read_text())
    text = (files / "docs" / "results.md").read_text(encoding="utf-8")
    assert render_results(numbers) == text
    drawn = {path.stem.removeprefix("results_") for path in (files / "docs/figures").iterdir()}
    assert drawn == FIGURES - {"dmft_closure"}


def test_models_of_an_earlier_report_stay(report, files, tmp_path, monkeypatch):
    """One is evaluated again, one stays with its commit, the rest is left out."""
    earlier = files / "docs" / "results.json"
    argv = arguments(files, tmp_path / "report", f"kept={earlier}", "baselines=false")
    argv += ["kept_without=[Ensemble*,Kernel*]", "hysteresis=null"]
    argv[0] = f"checkpoints=[{files}/a]"
    monkeypatch.setattr(sys, "argv", ["evaluate.py", f"--config-path={ROOT / 'conf'}", *argv])
    evaluate.main()
    numbers = json.loads((tmp_path / "report" / "metrics.json").read_text())
    before = json.loads(earlier.read_text())
    commits = {row["variant"]: row["commit"] for row in numbers["variants"]}
    commit = before["provenance"]["commit"][:9]
    assert commits["MLP"] is None and commits["MLP, lambda = 1"] == commit
    assert "Nearest neighbour" in commits and "Kernel ridge" not in commits
    kept = numbers["models"]["MLP, lambda = 1"]
    assert kept == {**before["models"]["MLP, lambda = 1"], "commit": commit}


def test_the_text_is_written_again_without_evaluating(report, files, tmp_path, monkeypatch):
    shutil.copyfile(files / "docs" / "results.json", tmp_path / "results.json")
    argv = [
        f"--config-path={ROOT / 'conf'}",
        f"rerender={tmp_path}",
        f"hydra.run.dir={tmp_path}/run",
    ]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *argv])
    evaluate.main()
    for name in ("results.md", "results.json"):
        assert (tmp_path / name).read_bytes() == (files / "docs" / name).read_bytes()
    assert not (tmp_path / "run" / "report.html").exists()


def evaluate_data(files):
    return datamodule_of(load_model(files / "a").record, {"path": str(files / "data.h5")})


def test_report_says_where_it_comes_from(report, files):
    record = json.loads((report[0] / "metrics.json").read_text())["provenance"]
    assert sha256(files / "data.h5") in record["dataset"]
    assert sha256(files / "references.h5") in record["reference loops"]
    assert sha256(files / "test_references.h5") in record["test loops"]
    assert yaml.safe_load(record["config"])["loop"]["max_iterations"] == 5


def refused(monkeypatch, capsys, argv):
    """The one error line of a run in this process, which must exit with 2."""
    monkeypatch.setattr(sys, "argv", ["evaluate.py", f"--config-path={ROOT / 'conf'}", *argv])
    with pytest.raises(SystemExit) as exit_:
        run(evaluate.main)
    assert exit_.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def test_an_existing_report_is_not_overwritten(report, files, monkeypatch, capsys):
    before = sha256(report[0] / "report.html")
    line = refused(monkeypatch, capsys, arguments(files, report[0]))
    assert "report.html exists and is not overwritten" in line
    assert sha256(report[0] / "report.html") == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("checkpoints=[no/such/*]", "no folder with a model.yaml"),
        ("checkpoints=[no/such/run]", "no checkpoint at 'no/such/run'"),
        ("dataset.path=no/such.h5", "no/such.h5"),
        ("references=no/such.h5", "no/such.h5"),
        ("test_references=no/such.h5", "no/such.h5"),
        ("best=nobody", "best = 'nobody' is none of"),
        ("best={a: 1}", "best = {'a': 1}: give"),
        ("rerender=no/such", "no/such/results.json' cannot be read"),
        ("kept=no/such.json", "kept = 'no/such.json' cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_report(
    files, tmp_path, monkeypatch, capsys, override, message
):
    line = refused(monkeypatch, capsys, arguments(files, tmp_path, override))
    assert message in line
    assert not (tmp_path / "report.html").exists()


def test_patterns_find_runs_and_only_runs(files):
    assert find_checkpoints([f"{files}/*"]) == [files / "a", files / "b"]
    assert find_checkpoints([f"{files}/b", f"{files}/*"]) == [files / "b", files / "a"]
    with pytest.raises(StoreError, match=r"model\.yaml"):
        find_checkpoints([f"{files}/report*/*"])

"""evaluate.py through its real command line, on two untrained networks and toy data."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy_files
import yaml

import evaluate
from dmftnet.callbacks.assessment import datamodule_of, find_checkpoints, labels
from dmftnet.config import run
from dmftnet.errors import StoreError
from dmftnet.models.checkpoint import load_model
from dmftnet.models.scoring import kl_summary, real_axis_kl
from dmftnet.provenance import sha256

ROOT = Path(__file__).resolve().parents[2]
FIGURES = {
    "test_kl",
    "spectra",
    "dmft_closure",
    "self_energies",
    "quasiparticle_weight",
    "filling",
    "kl_stability",
    "latent_map",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    toy_files.make_dataset(folder / "data.h5")
    toy_files.make_references(folder / "references.h5")
    for i, name in enumerate("ab"):
        data = {"sha256": sha256(folder / "data.h5") if name == "a" else "of another file"}
        toy_files.make_checkpoint(folder / name, seed=i, loss={"lam": float(i)}, data=data)
    return folder


def arguments(files, out, *more):
    return [
        f"checkpoints=[{files}/a,{files}/b]",
        f"dataset.path={files}/data.h5",
        f"references={files}/references.h5",
        "loop.max_iterations=5",
        "threads=1",
        f"hydra.run.dir={out}",
        *more,
    ]


@pytest.fixture(scope="module")
def report(files):
    """The folder that one real run writes, and what it prints."""
    out = files / "report"
    command = [sys.executable, str(ROOT / "evaluate.py"), *arguments(files, out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_report_holds_every_figure_and_names_itself(report):
    out, printed = report
    assert {path.stem for path in out.glob("*.png")} == FIGURES
    page = (out / "report.html").read_text()
    assert len(re.findall(r'<img src="data:image/png;base64,', page)) == len(FIGURES)
    for text in ("mlp, rotated, lam 0", "mlp, rotated, lam 1", "kernel ridge", "nearest neighbour"):
        assert text in page and text in printed
    assert f"report: {out / 'report.html'}" in printed


def test_metrics_are_those_of_the_models(report, files):
    numbers = json.loads((report[0] / "metrics.json").read_text())
    assert set(numbers["baselines"]) == {"input hybridization", "nearest neighbour", "kernel ridge"}
    data = evaluate_data(files)
    for name, label in (("a", "mlp, rotated, lam 0"), ("b", "mlp, rotated, lam 1")):
        entry = numbers["models"][label]
        expected = kl_summary(real_axis_kl(load_model(files / name), data.arrays("test")))
        for key, value in expected.items():
            assert entry["test"][key] == pytest.approx(value, rel=1e-5)
        assert entry["trained_on_this_data"] is (name == "a")
        loops = entry["loops"]
        assert np.mean([loop["converged"] for loop in loops]) == entry["closure"]["converged"]
        assert {loop["start"] for loop in loops} == {"metal", "insulator"}
        assert all(loop["reason"] for loop in loops)


def evaluate_data(files):
    return datamodule_of(load_model(files / "a").record, {"path": str(files / "data.h5")})


def test_report_says_where_it_comes_from(report, files):
    record = json.loads((report[0] / "metrics.json").read_text())["provenance"]
    assert sha256(files / "data.h5") in record["dataset"]
    assert sha256(files / "references.h5") in record["references"]
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


def test_labels_are_unique():
    record = {"model": toy_files.NET, "head": toy_files.HEAD, "loss": {"lam": 0.5}}
    other = {**record, "loss": {"lam": 1.0}}
    baseline = {"model": {"_target_": "dmftnet.models.kernel_ridge.NearestNeighbour"}, "head": None}
    paths = [Path("x/one"), Path("x/two"), Path("x/three"), Path("x/four")]
    assert labels(paths, [record, record, other, baseline]) == [
        "mlp, rotated, lam 0.5 (one)",
        "mlp, rotated, lam 0.5 (two)",
        "mlp, rotated, lam 1",
        "NearestNeighbour",
    ]

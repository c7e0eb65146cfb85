"""Models of an earlier report in the tables of the next."""

import json

import pytest

from dmftnet.errors import DmftnetError
from dmftnet.evaluation.kept import Kept

ORIGIN = {"commit": "0123456789abcdef", "dataset": "a.h5 sha256 1", "reference loops": "b.h5"}
MODEL = {"variant": "MLP", "resolution": [0.01, 0.05]}


def report(path, **changes):
    models = {"MLP, seed 0": MODEL, "MLP, seed 1": MODEL, "Kernel ridge": MODEL}
    path.write_text(json.dumps({"models": models, "provenance": {**ORIGIN, **changes}}))
    return path


def test_models_stay_with_the_commit_that_measured_them(tmp_path):
    kept = Kept(report(tmp_path / "results.json"), ["MLP*1"]).models(ORIGIN)
    assert list(kept) == ["MLP, seed 0", "Kernel ridge"]
    assert kept["Kernel ridge"] == {**MODEL, "commit": "012345678"}


def test_a_model_that_was_kept_before_has_the_first_commit(tmp_path):
    path = report(tmp_path / "results.json")
    numbers = json.loads(path.read_text())
    numbers["models"]["Kernel ridge"]["commit"] = "earlier"
    path.write_text(json.dumps(numbers))
    assert Kept(path).models(ORIGIN)["Kernel ridge"]["commit"] == "earlier"


@pytest.mark.parametrize("key", ["dataset", "reference loops", "test loops"])
def test_other_data_are_refused(tmp_path, key):
    kept = Kept(report(tmp_path / "results.json", **{key: "another"}))
    with pytest.raises(DmftnetError, match=f"measured with {key} another, .*kept null"):
        kept.models(ORIGIN)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "is not what this version writes"),
        ("[]", "is not what this version writes"),
        ('{"models": {"a": {"variant": "x"}}, "provenance": {"commit": "c"}}', "'resolution'"),
    ],
)
def test_what_is_no_report_is_told(tmp_path, content, message):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(DmftnetError, match=message) as error:
        Kept(tmp_path / "results.json").models(ORIGIN)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("patterns", ["MLP*", 5, [5]])
def test_patterns_are_a_list(patterns):
    with pytest.raises(DmftnetError, match=r"kept_without = .*give a list"):
        Kept("results.json", patterns)

"""Where files come from, and the edge between Hydra and plain Python."""

import hashlib
import io
import sys
from pathlib import Path

import hydra
import pytest
import yaml
from omegaconf import OmegaConf

import dmftnet
from dmftnet.config import arguments, entry_point, instantiate, run, to_plain
from dmftnet.errors import DmftnetError, InvalidProblemError, SettingError
from dmftnet.places import SCRIPTS
from dmftnet.provenance import command_line, provenance, sha256

ROOT = Path(__file__).resolve().parents[1]


def test_record_holds_versions_commit_command_and_config(monkeypatch):
    monkeypatch.setattr(
        sys,
        "argv",
        ["/somewhere/train.py", "model=mlp", "loss.lam=0.1", "hydra.run.dir=/somewhere/run"],
    )
    record = provenance({"model": {"width": 3}})
    assert record["dmftnet"] == dmftnet.__version__
    assert record["command"] == "train.py model=mlp loss.lam=0.1"
    assert yaml.safe_load(record["config"]) == {"model": {"width": 3}}
    assert all(isinstance(value, str) for value in record.values())
    assert {"commit", "python", "numpy", "scipy"} <= set(record)
    assert not any("/somewhere" in value for value in record.values())


def test_the_command_is_named_as_it_was_typed(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(SCRIPTS / "train.py"), "model=mlp"])
    assert command_line() == "dmftnet train model=mlp"


def test_sha256(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"poles")
    assert sha256(path) == hashlib.sha256(b"poles").hexdigest()


def refuse(U):
    raise InvalidProblemError(f"U = {U}: too large; use less")


def give_back(**arguments):
    return arguments


def test_instantiate_hands_over_plain_containers():
    node = OmegaConf.create(
        {"_target_": f"{__name__}.give_back", "a": {"b": [1, 2]}, "c": "${a.b}"}
    )
    arguments = instantiate(node, extra=3)
    assert arguments == {"a": {"b": [1, 2]}, "c": [1, 2], "extra": 3}
    assert type(arguments["a"]) is dict and type(arguments["c"]) is list


def test_an_error_of_the_project_keeps_its_class_and_text():
    with pytest.raises(InvalidProblemError, match=r"^U = 9: too large; use less$"):
        instantiate({"_target_": f"{refuse.__module__}.refuse", "U": 9})


def chosen(size: int = 1, rate: float | None = None, kind: str = "a") -> dict:
    return {"size": size, "rate": rate, "kind": kind}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"a": 1}, "give a section with a class as _target_"),
        ({"_target_": 5}, r"the section._target_ = 5 is no class"),
        ({"_target_": "no.such.thing"}, "'no.such.thing' is no class or function"),
        ({"_target_": "math.pi"}, "'math.pi' is no class or function"),
        ({"_target_": "NAME.chosen", "sise": 1}, "sise is unknown; chosen takes size, rate, kind"),
        ({"_target_": "NAME.refuse"}, "the section.U is missing; refuse needs it"),
        ({"_target_": "NAME.chosen", "size": "x"}, "size = 'x': chosen takes int"),
        ({"_target_": "NAME.chosen", "size": True}, "size = True: chosen takes int"),
        ({"_target_": "NAME.chosen", "rate": "x"}, "rate = 'x': chosen takes None or float or int"),
        ({"_target_": "NAME.chosen", "kind": [1]}, r"kind = \[1\]: chosen takes str"),
        (
            {"_target_": "NAME.give_back", "a": {"_target_": "NAME.chosen", "b": 1}},
            r"the section\.a\.b is unknown",
        ),
        ({"_target_": "fractions.Fraction", "numerator": 1, "denominator": 0}, "refuses its argum"),
    ],
)
def test_sections_that_build_nothing_are_named(node, words):
    def named(value):
        if isinstance(value, dict):
            return {key: named(inner) for key, inner in value.items()}
        return value.replace("NAME", __name__) if isinstance(value, str) else value

    with pytest.raises(SettingError, match=words) as caught:
        instantiate(OmegaConf.create(named(node)))
    assert "\n" not in str(caught.value)


def test_sections_are_found_by_their_key_and_give_the_kind_that_is_asked_for():
    config = OmegaConf.create({"solver": {"_target_": f"{__name__}.chosen", "size": 3}})
    assert instantiate(config, "solver", dict)["size"] == 3
    with pytest.raises(SettingError, match=r"solver\._target_ = .* one of the kind list is needed"):
        instantiate(config, "solver", list)
    with pytest.raises(SettingError, match="grid = None: give a section"):
        instantiate(config, "grid")


def test_what_is_called_later_is_refused_later_in_the_same_words():
    node = {"_target_": "fractions.Fraction", "_partial_": True, "denominator": 0}
    later = instantiate(OmegaConf.create({"part": node}), "part")
    with pytest.raises(SettingError, match="part: Fraction refuses its arguments: Fraction"):
        later(1)


def test_arguments_of_a_known_function():
    assert arguments(chosen, "module", {"size": 2}) == {"size": 2}
    for section, words in (({"sise": 2}, "module.sise is unknown"), (5, "module = 5: give a sect")):
        with pytest.raises(SettingError, match=words):
            arguments(chosen, "module", section)


def test_to_plain_resolves():
    config = OmegaConf.create({"a": 1, "b": "${a}", "c": [{"d": "${b}"}]})
    assert to_plain(config) == {"a": 1, "b": 1, "c": [{"d": 1}]}


def test_entry_point_prints_one_line_and_exits_with_two(capsys):
    @entry_point
    def main(config):
        raise DmftnetError(f"value {config.U}: limit; remedy")

    with pytest.raises(SystemExit) as exit_:
        main(OmegaConf.create({"U": 5}))
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "error: value 5: limit; remedy\n"


def test_a_mandatory_value_that_is_missing_is_named(capsys):
    with pytest.raises(SystemExit) as exit_:
        entry_point(give_back)(OmegaConf.create({"lattice": {"path": "???"}}))
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("error: lattice.path has no default")


def test_an_unknown_group_member_is_one_line_with_the_choices(capsys, monkeypatch):
    @hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="dmft")
    def main(config):
        raise AssertionError("must not be reached")

    monkeypatch.setattr(sys, "argv", ["dmft.py", "solver=nonsense"])
    with pytest.raises(SystemExit) as exit_:
        run(main)
    assert exit_.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "solver/nonsense" in line and "ras" in line


def test_output_that_the_locale_cannot_write_is_replaced(monkeypatch):
    @entry_point
    def main(config):
        print("a • in a list", flush=True)

    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    main(OmegaConf.create({}))
    assert written.getvalue() == b"a ? in a list\n"


def test_entry_point_lets_defects_through():
    @entry_point
    def main(config):
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        main(OmegaConf.create({}))

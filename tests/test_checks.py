"""What a value must be, and what an error says of one that is not."""

import re
from pathlib import Path

import numpy as np
import pytest

from dmftnet import checks
from dmftnet.errors import DmftnetError, InvalidProblemError, SettingError, SpaceTooLargeError

NAN = float("nan")


def said(check, *arguments, **options):
    """The one line of a refusal."""
    with pytest.raises(SettingError) as caught:
        check("some.key", *arguments, **options)
    text = str(caught.value)
    assert text.startswith("some.key") and "\n" not in text
    return text


@pytest.mark.parametrize("value", [1, 1.5, np.float32(0.5), np.int64(3), -2.0])
def test_numbers_of_any_kind_come_back_as_floats(value):
    found = checks.number("key", value)
    assert type(found) is float and found == float(value)


@pytest.mark.parametrize(
    ("value", "limits", "text"),
    [
        ("abc", {}, "some.key = 'abc': give a number"),
        ("1e-4", {"above": 0}, "'1e-4': give a number > 0; YAML reads it as text: write it"),
        (True, {}, "some.key = True: give a number"),
        (None, {}, "some.key = None"),
        ([1.0], {}, r"some.key = [1.0]"),
        (NAN, {"at_least": 0}, "some.key = nan: give a finite number >= 0"),
        (float("inf"), {}, "some.key = inf: give a finite number"),
        (10**400, {"at_most": 1}, "give a finite number <= 1"),
        (0, {"above": 0}, "some.key = 0: give a number > 0"),
        (1.0, {"at_least": 0, "below": 1}, "some.key = 1.0: give a number >= 0 and < 1"),
        (-1e-9, {"at_least": 0}, ">= 0"),
    ],
)
def test_what_is_no_number_within_its_limits_is_refused(value, limits, text):
    assert text in said(checks.number, value, **limits)


def test_whole_numbers():
    assert checks.integer("key", 3.0) == 3 and type(checks.integer("key", np.int8(3))) is int
    for value in (1.5, "3", True, NAN, float("inf"), None, [3]):
        assert "give an integer" in said(checks.integer, value)
    assert "give an integer of at most 15 digits" in said(checks.integer, 10**40, at_least=1)
    assert "give an integer >= 1 and <= 4" in said(checks.integer, 10**40, at_least=1, at_most=4)
    assert checks.seed("key", 2**32 - 1) == 2**32 - 1
    said(checks.seed, -1)
    assert checks.threads("key", None) is None and checks.threads("key", 2) == 2
    said(checks.threads, 0)


def test_lists_of_numbers():
    assert checks.numbers("key", np.array([1, 2])) == (1.0, 2.0)
    assert "give a list of 2 numbers" in said(checks.numbers, [1], size=2)
    assert "give a list of at least 1 numbers" in said(checks.numbers, [], at_least_size=1)
    assert "give a list of numbers" in said(checks.numbers, "12")
    assert "some.key[1] = 'a'" in said(checks.numbers, [1, "a"])
    assert checks.resolution("key", [0.1, 0]) == (0.1, 0.0)
    for value in ([0, 0.1], [0.1], [0.1, -1], None, ["a", 1], [1e300, 0], [NAN, 0]):
        assert "give [eta, slope] with eta > 0" in said(checks.resolution, value)


def test_words_flags_and_sections():
    assert checks.flag("key", True) is True and checks.choice("key", "b", "ab") == "b"
    for value in (0, 1, "true", None):
        assert "give true or false" in said(checks.flag, value)
    assert "is unknown; use one of a, b" in said(checks.choice, ["a"], ("a", "b"))
    assert checks.mapping("key", {"a": 1}, ("a", "b")) == {"a": 1}
    assert "some.key.c is unknown" in said(checks.mapping, {"c": 1}, ("a", "b"))
    assert "some.key.b is missing" in said(checks.mapping, {"a": 1}, ("a", "b"), complete=True)
    assert "give a section" in said(checks.mapping, None, ("a",))
    assert "give a section" in said(checks.section, {1: 2})
    grid = {"w_min": 0.1, "w_max": 1.0, "n_w": 8}
    assert checks.grid("key", grid) == grid
    assert "some.key.n_w is missing" in said(checks.grid, {"w_min": 0.1, "w_max": 1.0})
    assert "some.key.n is unknown" in said(checks.grid, {**grid, "n": 1})


def test_names_of_arguments():
    def function(a, b=1, *, c=2):
        return a, b, c

    checks.names(function, "key", {"a": 1, "c": 2}, complete=True)
    with pytest.raises(SettingError, match=r"key\.d is unknown; function takes a, b, c"):
        checks.names(function, "key", {"d": 1})
    with pytest.raises(SettingError, match=r"key\.a is missing; function needs it"):
        checks.names(function, "key", {}, complete=True)


def test_paths(tmp_path):
    assert checks.path("key", tmp_path / "not" / "there") == tmp_path / "not" / "there"
    assert checks.paths("key", ["a", "b"]) == (Path("a"), Path("b"))
    assert checks.paths("key", "a") == (Path("a"),)
    for value in (None, "", 5, "a\0b", "x" * 5000, ["a"]):
        assert "give a file" in said(checks.path, value, "a file")
    for value in ([], None, 5, [None]):
        said(checks.paths, value)


def test_memory_names_the_option_that_allows_more():
    checks.memory("a thing", 2**30, 1.0, "some.max_memory", "take less")
    with pytest.raises(SpaceTooLargeError) as caught:
        checks.memory("a thing", 3e11, 8.0, "some.max_memory", "take less")
    assert str(caught.value) == (
        "a thing needs about 280 GiB, more than some.max_memory = 8 GiB; take less, or raise "
        "some.max_memory"
    )
    assert checks.gibibytes(5e21) == "4.7e+12 GiB"


def test_whatever_a_library_says_of_a_file_becomes_one_error():
    with pytest.raises(DmftnetError, match=r"^file a\.h5 cannot be read \(first\); do better$"):
        with checks.reading("a.h5", "do better"):
            raise AttributeError("first\nsecond")
    with pytest.raises(DmftnetError, match=r"\(KeyError\)"), checks.reading("a.h5", "x"):
        raise KeyError
    with pytest.raises(InvalidProblemError, match="as it is"), checks.reading("a.h5", "x"):
        raise InvalidProblemError("as it is")


@pytest.mark.parametrize(
    "value",
    ["a\nb", "x" * 1000, list(range(1000)), {i: i for i in range(99)}, np.arange(9), 10**90],
)
def test_values_are_shown_on_one_short_line(value):
    text = checks.shown(value)
    assert "\n" not in text and len(text) < 120
    assert re.fullmatch(r".+", text)

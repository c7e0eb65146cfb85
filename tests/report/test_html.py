"""The page: self-contained, escaped, every number and figure in it."""

import base64
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from dmftnet.report.html import Section, Table, cell, write_report


def a_figure():
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, 1], [0, 1])
    return figure


@pytest.fixture
def page(tmp_path):
    section = Section(
        "A <first> section",
        "What is shown & how to read it.",
        [
            Table(
                ("model", "median", "converged"), [["net <1>", 1.234e-3, True], ["x", None, False]]
            )
        ],
        {"a_figure": a_figure()},
    )
    path = write_report(tmp_path / "out", "Title", [section], {"commit": "abc", "config": "a: 1\n"})
    return path, path.read_text(encoding="utf-8")


def test_figures_are_embedded_and_lie_beside_the_page(page):
    path, text = page
    data = re.search(r'src="data:image/png;base64,([^"]+)"', text).group(1)
    assert base64.b64decode(data) == (path.parent / "a_figure.png").read_bytes()
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_page_needs_nothing_from_outside(page):
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page[1])
    assert "http" not in re.sub(r"<!DOCTYPE.*?>", "", page[1])


def test_text_is_escaped_and_numbers_are_readable(page):
    text = page[1]
    assert "A &lt;first&gt; section" in text and "net &lt;1&gt;" in text
    for shown in (
        "<td>1.2e-03</td>",
        "<td>yes</td>",
        "<td>no</td>",
        "<td>–</td>",
        ">net &lt;1&gt;<",
    ):
        assert shown in text
    assert "commit: abc" in text and "a: 1" in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.5, "0.5"),
        (0.01234, "0.0123"),
        (1.5e-5, "1.5e-05"),
        (-2.0, "-2"),
        (123.4, "123"),
        (np.float64(3.14159), "3.14"),
        (np.bool_(True), "yes"),
        (np.inf, "–"),
        (17, "17"),
        ("metal", "metal"),
    ],
)
def test_cells(value, shown):
    assert cell(value) == shown


def test_words_wrap_and_numbers_do_not():
    table = Table(("what", "KL", "loops"), [["net", "1e-3 ± 2e-4", "3 of 4"], ["x", 0.5, "all"]])
    assert table.textual == [True, False, True]
    assert not Table(("KL",), []).textual[0]


def test_a_spread_wraps_as_a_whole(tmp_path):
    section = Section("Loops", "Text.", [Table(("KL",), [["1e-3 ± 2e-4"]])])
    text = write_report(tmp_path, "Title", [section], {}).read_text(encoding="utf-8")
    assert '<td class="spread"><span>1e-3</span> <span>± 2e-4</span></td>' in text


@pytest.mark.parametrize("folded", [False, True])
def test_long_tables_are_folded_up(tmp_path, folded):
    section = Section("Loops", "Text.", [Table(("U",), [[1.0], [2.0]], "a net", folded)])
    text = write_report(tmp_path, "Title", [section], {}).read_text(encoding="utf-8")
    assert ("<details><summary>a net, 2 rows</summary>" in text) is folded
    assert "a net" in text and text.count("<tr><td>") == 2


def test_the_page_opens_with_the_summary(tmp_path):
    boxes = [{"title": "How good", "lines": ["KL < 1", "all loops"]}]
    section = Section("Targets", "Text.")
    path = write_report(tmp_path, "Title", [section], {}, boxes, "a net")
    text = path.read_text(encoding="utf-8")
    order = ["<b>a net</b>", "How good", "<li>KL &lt; 1</li>", "<li>all loops</li>", "<h2"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)

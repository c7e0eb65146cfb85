"""Bars on a terminal, lines in a log: what they say, and when; by a clock of the test's own."""

import io
from itertools import pairwise

import pytest
from rich.console import Console

from dmftnet.errors import DmftnetError
from dmftnet.progress import ProgressLines, duration, progress, rate


class Clock:
    """Stands still until told otherwise."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def test_a_line_says_how_far_how_fast_and_how_long():
    clock = Clock()
    lines = ProgressLines("jobs", 48, done=8, clock=clock)
    assert lines.line() == "jobs 8 of 48 (17 %), 0 s"
    clock.seconds += 600
    assert lines.line() == "jobs 8 of 48 (17 %), 10 min"  # no rate from another run's jobs
    lines.update(18, "130 solves/h")
    assert lines.line() == "jobs 18 of 48 (38 %), 10 min, 1/min, about 30 min left; 130 solves/h"
    lines.update(48)
    assert lines.line() == "jobs 48 of 48 (100 %), 10 min, 4/min, about 0 s left"


@pytest.mark.parametrize("total", [None, float("inf")])
def test_without_a_total_no_time_is_left(total):
    clock = Clock()
    lines = ProgressLines("step", total, clock=clock)
    clock.seconds += 10
    lines.update(40)
    assert lines.line() == "step 40, 10 s, 4/s"


def test_a_note_is_asked_when_the_line_is_printed():
    lines, loss = ProgressLines("step"), [1.0]
    lines.update(1, lambda: f"loss {loss[0]}")
    loss[0] = 0.5
    assert lines.line().endswith("; loss 0.5")


def test_lines_come_by_the_clock_without_any_update(capsys):
    """Three periods pass while nothing is done: three lines, then the task ends."""
    clock = Clock()
    waits = []

    def wait(seconds):
        waits.append(seconds)
        clock.seconds += seconds
        return len(waits) > 3

    lines = ProgressLines("models", 2, every=45.0, clock=clock, wait=wait)
    lines.start()
    lines._thread.join()
    lines.stop()
    assert waits == [45.0] * 4
    assert capsys.readouterr().out.splitlines() == [
        "models 0 of 2 (0 %), 45 s",
        "models 0 of 2 (0 %), 90 s",
        "models 0 of 2 (0 %), 2 min",
    ]


def test_none_is_silent_and_nonsense_is_refused(capsys):
    def wait(seconds):
        raise AssertionError("no thread must wait")

    lines = ProgressLines("jobs", 3, every=None, wait=wait)
    lines.start()
    lines.update(3)
    lines.stop()
    assert capsys.readouterr().out == ""
    for every in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(DmftnetError, match=r"progress_every = .*null"):
            ProgressLines("jobs", every=every)


def test_elsewhere_than_on_a_terminal_no_bar_is_drawn(capsys):
    console = Console(file=io.StringIO(), force_terminal=False)
    with progress("jobs", 3, 1, 3600.0, console) as update:
        update(2, "a note")
        assert update.__self__.line().startswith("jobs 2 of 3 (67 %)")
    assert not update.__self__._thread.is_alive()
    assert console.file.getvalue() == "" and capsys.readouterr().out == ""


def test_on_a_terminal_a_bar_is_drawn():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with progress("jobs", 3, 1, 3600.0, console) as update:
        update(2, "130 solves/h")
    drawn = console.file.getvalue()
    assert "jobs" in drawn and "2/3" in drawn and "130 solves/h" in drawn and "━" in drawn


def test_an_error_in_the_task_ends_the_lines():
    console = Console(file=io.StringIO(), force_terminal=False)
    with pytest.raises(KeyError), progress("jobs", 3, every=3600.0, console=console) as update:
        raise KeyError
    assert not update.__self__._thread.is_alive()


def test_durations_and_rates_keep_a_readable_unit():
    seconds = [1, 119, 120, 7199, 7200, 172799, 172800]
    assert [duration(s) for s in seconds] == [
        "1 s", "119 s", "2 min", "120 min", "2.0 h", "48.0 h", "2.0 d",
    ]  # fmt: skip
    rates = [2.0, 0.5, 1 / 120]
    assert [rate(r) for r in rates] == ["2/s", "30/min", "30/h"]
    assert all(a > b for a, b in pairwise(rates))

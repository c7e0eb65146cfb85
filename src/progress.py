"""How far a long task is: a bar on a terminal, a plain line every so often in a log.

    with progress("jobs", 48, every=30.0) as update:
        for done, result in enumerate(work, 1):
            update(done, "130 solves/h")

A bar that redraws itself shows nothing before its end where the output is no terminal. The lines
come by the clock, from a thread of their own, also while a single step lasts an hour.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dmftnet import checks
from dmftnet.errors import SettingError

EVERY = 30.0  # seconds between lines
LONGEST = 1e6  # a clock refuses to wait much longer

Note = str | Callable[[], str]
"""What a line says beside the numbers; a function is asked when the line is printed."""


class ProgressLines:
    """Prints a line about a task every so often, from `start` to `stop`.

    Parameters
    ----------
    label : str
        What is counted: jobs, steps, models.
    total : float, optional
        How many there are; None or infinite if nobody knows.
    done : int
        How many there are already, of an earlier run; they do not count for the rate.
    every : float, optional, in seconds
        None: no lines.
    clock : callable
        Seconds that have passed; for tests.
    wait : callable, optional
        ``wait(seconds) -> bool``, true at the end of the task; for tests.
    """

    def __init__(
        self,
        label: str,
        total: float | None = None,
        done: int = 0,
        every: float | None = EVERY,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float | None], bool] | None = None,
    ):
        check_every(every)
        self.label, self.every, self.clock = label, every, clock
        self.total = total if total is not None and math.isfinite(total) else None
        self.found = self.done = done
        self.note: Note = ""
        self.began = clock()
        self._ended = threading.Event()
        self._wait = wait or self._ended.wait
        self._thread = threading.Thread(target=self._print_lines, daemon=True)

    def start(self) -> None:
        """The task begins."""
        self.began = self.clock()
        if self.every is not None:
            self._thread.start()

    def stop(self) -> None:
        """The task has ended, or was never begun."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def update(self, done: int, note: Note = "") -> None:
        """So many are done by now."""
        self.done, self.note = done, note

    def line(self) -> str:
        """The line of this moment."""
        seconds = self.clock() - self.began
        new = self.done - self.found
        parts = [f"{self.label} {self.done}"]
        if self.total is not None:
            parts[0] += f" of {self.total:.0f} ({100 * self.done / max(self.total, 1):.0f} %)"
        parts.append(duration(seconds))
        if new > 0 and seconds > 0:
            parts.append(rate(new / seconds))
            if self.total is not None:
                parts.append(f"about {duration(seconds * (self.total - self.done) / new)} left")
        note = self.note() if callable(self.note) else self.note
        return ", ".join(parts) + (f"; {note}" if note else "")

    def _print_lines(self) -> None:
        while not self._wait(self.every):
            say(self.line())


def check_every(every: float | None) -> None:
    """Raise unless `every` is a time between two lines, or None.

    Raises
    ------
    SettingError
    """
    try:
        if every is not None:
            checks.number("progress_every", every, above=0, at_most=LONGEST)
    except SettingError as error:
        raise SettingError(f"{error}, in seconds, or null for no lines") from None


def say(line: str) -> None:
    """One line on stdout, at once: a log's buffer would keep it for hours."""
    print(line, file=sys.stdout, flush=True)


def duration(seconds: float) -> str:
    """In the unit that a person would choose."""
    for size, unit in ((86400, "d"), (3600, "h")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def rate(per_second: float) -> str:
    """A count in the unit of time that makes it at least 1, if an hour does."""
    for size, unit in ((1, "s"), (60, "min")):
        if per_second * size >= 1:
            return f"{per_second * size:.3g}/{unit}"
    return f"{per_second * 3600:.3g}/h"


@contextmanager
def progress(
    label: str,
    total: float | None = None,
    done: int = 0,
    every: float | None = EVERY,
    console: Console | None = None,
) -> Iterator[Callable[..., None]]:
    """``update(done, note="")`` of a bar on a terminal, of `ProgressLines` elsewhere."""
    console = console or Console()
    if not console.is_terminal:
        lines = ProgressLines(label, total, done, every)
        lines.start()
        try:
            yield lines.update
        finally:
            lines.stop()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total, completed=done, note="")
        yield lambda done, note="": bar.update(task, completed=done, note=note)

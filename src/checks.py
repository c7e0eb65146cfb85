"""Arguments that users set: of the right type, finite, inside their limits; and what they cost.

Each check takes the key that a user would set and its value, and gives the value back as plain
Python. What is wrong raises `SettingError`, one line with value, limit and remedy, so that a class
checks its arguments where they enter, in one line each. Imports nothing of the package but errors.
"""

from __future__ import annotations

import inspect
import math
import os
import reprlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet.errors import DmftnetError, SettingError, SpaceTooLargeError, StoreError

MAX_SEED = 2**32 - 1
"""Largest seed that numpy, torch and Lightning all take."""

LARGEST = 10**15
"""Largest integer: what it is squared into is still a float."""

MAX_THREADS = 1024
"""Threads of one process: beyond it the operating system refuses some."""

NARROWEST = 1e-9
"""Least width of a Gaussian, in D: its square is still far from underflow."""

MAX_MEMORY = 8.0
"""GiB that a calculation may take unless an option says otherwise."""


def shown(value: Any) -> str:
    """A value as an error shows it: text in quotes, long things shortened, on one line."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    short = reprlib.Repr()
    short.maxstring, short.maxother, short.maxlong, short.maxlist, short.maxdict = 80, 80, 30, 8, 6
    return " ".join(short.repr(str(value) if isinstance(value, os.PathLike) else value).split())


def number(
    key: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """A finite number within its limits.

    Parameters
    ----------
    key : str
        As on the command line, for example ``loss.lam``.
    above, at_least, below, at_most : float, optional
        Limits, exclusive and inclusive.

    Raises
    ------
    SettingError
    """
    if type(value) is not float and not _is_real(value):
        wanted = "a number" + _limits(above, at_least, below, at_most)
        raise SettingError(f"{key} = {shown(value)}: give {wanted}{_hint(value)}")
    try:
        result = float(value)
    except OverflowError:  # an integer beyond 1e308
        result = math.inf if value > 0 else -math.inf
    inside = (
        math.isfinite(result)
        and (above is None or result > above)
        and (at_least is None or result >= at_least)
        and (below is None or result < below)
        and (at_most is None or result <= at_most)
    )
    if not inside:
        kind = "a number" if math.isfinite(result) else "a finite number"
        wanted = kind + _limits(above, at_least, below, at_most)
        raise SettingError(f"{key} = {shown(value)}: give {wanted}")
    return result


def integer(
    key: str, value: Any, *, at_least: int | None = None, at_most: int | None = None
) -> int:
    """A whole number within its limits; ``3.0`` counts as one, as sweeps send it.

    Raises
    ------
    SettingError
    """
    whole = _is_real(value) and (
        isinstance(value, Integral) or (np.isfinite(value) and value == int(value))
    )
    inside = whole and (
        (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    )
    if not inside:
        wanted = "an integer" + _limits(None, at_least, None, at_most)
        raise SettingError(f"{key} = {shown(value)}: give {wanted}{_hint(value)}")
    if abs(value) > LARGEST:
        raise SettingError(f"{key} = {shown(value)}: give an integer of at most 15 digits")
    return int(value)


def seed(key: str, value: Any) -> int:
    """A seed of random numbers."""
    return integer(key, value, at_least=0, at_most=MAX_SEED)


def threads(key: str, value: Any) -> int | None:
    """A number of threads, or None for the library's own choice."""
    return None if value is None else integer(key, value, at_least=1, at_most=MAX_THREADS)


def numbers(
    key: str, value: Any, *, size: int | None = None, at_least_size: int = 0, **limits: float
) -> tuple[float, ...]:
    """A list of `number`.

    Parameters
    ----------
    size, at_least_size : int
        Its length, or the smallest.
    limits
        Of each entry, see `number`.

    Raises
    ------
    SettingError
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    right = listed and (len(value) == size if size is not None else len(value) >= at_least_size)
    if not right:
        count = f"{size}" if size is not None else f"at least {at_least_size}"
        count = "numbers" if count == "at least 0" else f"{count} numbers"
        raise SettingError(f"{key} = {shown(value)}: give a list of {count}")
    return tuple(number(f"{key}[{i}]", entry, **limits) for i, entry in enumerate(value))


def resolution(key: str, value: Any) -> tuple[float, float]:
    """``[eta, slope]`` of a Gaussian width ``eta + slope |w|``, in D: ``eta > 0, slope >= 0``."""
    try:
        eta, slope = numbers(key, value, size=2, at_least=0, at_most=100)
        return number(key, eta, at_least=NARROWEST), slope
    except SettingError:
        raise SettingError(
            f"{key} = {shown(value)}: give [eta, slope] with eta > 0 (at least {NARROWEST:g}) and "
            "slope >= 0, both at most 100, in D, e.g. [0.006, 0.06]"
        ) from None


def flag(key: str, value: Any) -> bool:
    """true or false.

    Raises
    ------
    SettingError
    """
    if not isinstance(value, bool | np.bool_):
        raise SettingError(f"{key} = {shown(value)}: give true or false")
    return bool(value)


def choice(key: str, value: Any, options: Collection[str]) -> str:
    """One of a few words.

    Raises
    ------
    SettingError
    """
    if not isinstance(value, str) or value not in options:
        raise SettingError(f"{key} = {shown(value)} is unknown; use one of {', '.join(options)}")
    return value


def mapping(key: str, value: Any, names: Collection[str], complete: bool = False) -> dict[str, Any]:
    """A section with no other keys than `names`, and with all of them where `complete`.

    Raises
    ------
    SettingError
    """
    wanted = "all of " if complete else ""
    if not isinstance(value, Mapping):
        raise SettingError(
            f"{key} = {shown(value)}: give a section with {wanted}{', '.join(names)}"
        )
    unknown = [name for name in value if name not in names]
    if unknown:
        raise SettingError(f"{key}.{unknown[0]} is unknown; {key} takes {', '.join(names)}")
    missing = [name for name in names if complete and name not in value]
    if missing:
        raise SettingError(f"{key}.{missing[0]} is missing; {key} needs {', '.join(names)}")
    return dict(value)


def section(key: str, value: Any) -> dict[str, Any]:
    """A section of a file or config, its keys words.

    Raises
    ------
    SettingError
    """
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise SettingError(f"{key} = {shown(value)}: give a section of keys and values")
    return dict(value)


def names(function: Callable, key: str, given: Collection[str], complete: bool = False) -> None:
    """The given arguments are among those of a function; all that it needs where `complete`.

    Raises
    ------
    SettingError
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a class without a Python signature
        return
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes = [p.name for p in named]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        unknown = [str(name) for name in given if name not in takes]
        if unknown:
            raise SettingError(
                f"{key}.{unknown[0]} is unknown; {function.__name__} takes {', '.join(takes)}"
            )
    missing = [p.name for p in named if p.default is p.empty and p.name not in given]
    if complete and missing:
        raise SettingError(f"{key}.{missing[0]} is missing; {function.__name__} needs it")


def grid(key: str, value: Any) -> dict[str, Any]:
    """``w_min, w_max, n_w`` of a geometric grid, and perhaps its ``max_memory``.

    Raises
    ------
    SettingError
        If a name is missing or unknown; the numbers are checked by the grid itself.
    """
    needed = ("w_min", "w_max", "n_w")
    result = mapping(key, value, (*needed, "max_memory"))
    mapping(key, {name: x for name, x in result.items() if name in needed}, needed, complete=True)
    return result


def path(key: str, value: Any, what: str = "a path") -> Path:
    """A path that the operating system can be asked about.

    Raises
    ------
    SettingError
    """
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise SettingError(f"{key} = {shown(value)}: give {what}")
    try:
        os.lstat(value)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # whoever opens it says so
    except OSError as error:  # a name too long, a loop of links
        raise SettingError(f"{key} = {shown(value)}: {error.strerror}; give {what}") from None
    return Path(value)


def paths(key: str, value: Any, what: str = "a path or a list of paths") -> tuple[Path, ...]:
    """One `path` or a list of at least one.

    Raises
    ------
    SettingError
    """
    single = isinstance(value, str | os.PathLike)
    if not single and (not isinstance(value, Sequence) or not value):
        raise SettingError(f"{key} = {shown(value)}: give {what}")
    return tuple(path(key, entry, what) for entry in ([value] if single else value))


@contextmanager
def reading(
    path: str | Path, remedy: str, error: type[DmftnetError] = StoreError
) -> Iterator[None]:
    """Around the calls of a library that reads a user's file, and nothing else.

    Of damaged files numpy, h5py, safetensors, PyYAML and torch raise almost anything; whatever
    comes is the file's fault, and becomes one error that names it.
    """
    try:
        yield
    except DmftnetError:
        raise
    except Exception as exc:
        raise error(f"file {path} cannot be read ({reason(exc)}); {remedy}") from exc


def reason(exc: BaseException) -> str:
    """First line of what an exception says, or its name where it says nothing."""
    return (str(exc).strip() or type(exc).__name__).splitlines()[0][:200]


def memory(what: str, n_bytes: float, max_memory: float, option: str, remedy: str) -> None:
    """Raise if something would take more than `max_memory` GiB; to be asked before it is made.

    Raises
    ------
    SpaceTooLargeError
    """
    if n_bytes / 2**30 > max_memory:
        raise SpaceTooLargeError(
            f"{what} needs about {gibibytes(n_bytes)}, more than {option} = {max_memory:g} GiB; "
            f"{remedy}, or raise {option}"
        )


def gibibytes(n_bytes: float) -> str:
    """A size in GiB as people read it, two digits."""
    gib = float(f"{n_bytes / 2**30:.2g}")
    return f"{gib:,.10g} GiB" if gib < 1e9 else f"{gib:.2g} GiB"


def _is_real(value: Any) -> bool:
    """A number, and none of the truth values that Python counts among them."""
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _limits(above, at_least, below, at_most) -> str:
    """ "> 0 and <= 1", with a blank before it; empty without limits."""
    signs = ((">", above), (">=", at_least), ("<", below), ("<=", at_most))
    parts = [f"{sign} {limit:.10g}" for sign, limit in signs if limit is not None]
    return f" {' and '.join(parts)}" if parts else ""


def _hint(value: Any) -> str:
    """What to say of a number that YAML has read as text."""
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return "; YAML reads it as text: write it without quotes, 1e-4 as 1.0e-4"

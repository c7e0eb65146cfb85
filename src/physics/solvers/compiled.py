"""Functions compiled by Numba, once a machine where the machine code can be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """``numba.njit``, its result kept for the next process; other threads run meanwhile.

    Numba refuses where neither the package nor the user's cache can be written, as in a container
    under another user's name. There each process compiles for itself, some seconds.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)

"""Arguments that the solvers with a discrete bath share, checked where they enter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dmftnet import checks
from dmftnet.errors import InvalidProblemError, SettingError
from dmftnet.physics.analysis.self_energy import ESTIMATORS
from dmftnet.physics.bath.protocol import SpectrumDiscretisation

MAX_SHIFTS = 1000
"""Baths that an average is taken over; a dozen smooth every ripple."""


def settle(solver: Any, **values: Any) -> None:
    """Put checked values in place of the arguments of a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(solver, name, value)


def check_bath(solver: Any, max_memory: float, otherwise: int | None = None) -> None:
    """``bath, broadening, estimator`` of a solver; the bath checks what it holds itself.

    Parameters
    ----------
    otherwise : int, optional
        Sites where ``bath.n_bath`` is left open; without it that is refused.

    Raises
    ------
    SettingError
        If one is of the wrong type or out of its limits.
    SpaceTooLargeError
        If the one-body matrix of the bath would not fit into `max_memory` GiB.
    """
    if not isinstance(solver.bath, SpectrumDiscretisation):
        raise SettingError(
            f"solver.bath = {checks.shown(solver.bath)}: give intervals of the real axis, see "
            "conf/bath/intervals.yaml, or a Wilson chain, conf/bath/wilson.yaml"
        )
    n_bath = otherwise if solver.bath.n_bath is None else solver.bath.n_bath
    n_bath = checks.integer("solver.bath.n_bath", n_bath, at_least=2)
    # the matrix, its eigenvectors and the workspace of both
    checks.memory(
        f"solver.bath.n_bath = {checks.shown(n_bath)}: the one-body matrix",
        32.0 * (n_bath + 1) ** 2,
        max_memory,
        "solver.max_memory",
        "take fewer bath sites",
    )
    settle(
        solver,
        broadening=checks.resolution("solver.broadening", solver.broadening),
        estimator=checks.choice("solver.estimator", solver.estimator, ESTIMATORS),
    )


def check_restricted(solver: Any) -> None:
    """All arguments of `dmftnet.physics.solvers.krylov.ras.RasSolver`.

    Raises
    ------
    SettingError, InvalidProblemError
        If one is of the wrong type or out of its limits.
    SpaceTooLargeError
        If the bath or the Lanczos run would exceed ``max_memory``.
    """
    settle(solver, max_memory=checks.number("solver.max_memory", solver.max_memory, above=0))
    check_bath(solver, solver.max_memory)
    for name in ("n_lanczos", "n_shifts", "max_determinants"):
        value = checks.integer(f"solver.{name}", getattr(solver, name))
        if value < 1:
            raise InvalidProblemError(f"solver.{name} = {value} must be >= 1")
        settle(solver, **{name: value})
    checks.integer("solver.n_shifts", solver.n_shifts, at_most=MAX_SHIFTS)
    check_lanczos(solver.n_lanczos, solver.max_memory)
    settle(
        solver,
        depths=_checked_depths(solver.depths),
        ground_state_tolerance=checks.number(
            "solver.ground_state_tolerance", solver.ground_state_tolerance, above=0, below=1
        ),
        with_self_energy=checks.flag("solver.with_self_energy", solver.with_self_energy),
    )


def check_lanczos(n_lanczos: int, max_memory: float) -> None:
    """Raise if the eigenvectors of a block Lanczos run would not fit into `max_memory` GiB."""
    checks.memory(
        f"solver.n_lanczos = {checks.shown(n_lanczos)}",
        64.0 * n_lanczos**2,
        max_memory,
        "solver.max_memory",
        "take fewer Lanczos steps",
    )


def _checked_depths(depths: Any) -> tuple[int | str, ...]:
    listed = isinstance(depths, Sequence) and not isinstance(depths, str)
    good = listed and all(d == "all" or (type(d) is int and d >= 1) for d in depths)
    if not good or not 1 <= len(depths) <= 7:
        value = checks.shown(tuple(depths) if listed else depths)
        raise InvalidProblemError(
            f'solver.depths = {value}: give 1 to 7 entries, each "all" or an integer >= 1, '
            'for example ["all", 8, 6, 1]'
        )
    return tuple(depths)

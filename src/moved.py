"""Names under which older files know what has moved since.

Checkpoints name classes, and the recipe of a dataset is a hash over such names. The first are read
through `renamed`; the second is taken over `former` names and `flat_baths`, so that a file made
before a move can be continued after it. A key of the configs that has moved is told by `remedy`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

MOVED = {
    f"dmftnet.{old}": f"dmftnet.{new}"
    for old, new in {
        "data.collected": "data.plans.collected",
        "data.driven": "data.plans.driven",
        "data.generation.TrajectoryPlan": "data.plans.trajectories.TrajectoryPlan",
        "data.reference_plan": "data.plans.exact_loops",
        "data.sampling": "data.plans.sampling",
        "models.crossattn": "models.networks.crossattn",
        "models.crossquery": "models.networks.crossquery",
        "models.encdec": "models.networks.encdec",
        "models.ensemble": "models.networks.ensemble",
        "models.film": "models.networks.film",
        "models.guarded_solver": "models.solvers.guarded",
        "models.heads": "models.networks.heads",
        "models.kernel_ridge": "models.training.baselines",
        "models.losses": "models.training.losses",
        "models.mlp": "models.networks.mlp",
        "models.network_solver": "models.solvers.network",
        "physics.dmft.DMFTLoop": "physics.dmft.loop.DMFTLoop",
        "physics.grid": "physics.grids.real_axis",
        "physics.lattice.Bethe": "physics.lattices.bethe.Bethe",
        "physics.lattice.DensityOfStates": "physics.lattices.density_of_states.DensityOfStates",
        "physics.lattice.Fixed": "physics.lattices.fixed.Fixed",
        "physics.mixing": "physics.dmft.mixing",
        "physics.solvers.ed": "physics.solvers.krylov.ed",
        "physics.solvers.ipt": "physics.solvers.perturbative.ipt",
        "physics.solvers.mps": "physics.solvers.tensor.mps",
        "physics.solvers.ras": "physics.solvers.krylov.ras",
    }.items()
}
"""Modules, or classes where a module was split, by their old names: all that files name."""

BETWEEN = {"dmftnet.models.shipping.ensemble": "dmftnet.models.networks.ensemble"}
"""Names that checkpoints were given between two moves, and no recipe was."""

FORMER = {new: old for old, new in MOVED.items()}

BATH = "dmftnet.physics.bath.intervals.Intervals"
BATH_ARGUMENTS = ("n_bath", "spacing", "stretch", "shift", "window_quantile")
"""Arguments that were a solver's own before it was given a bath."""

_OLD_KEY = re.compile(
    rf"(?:Could not override '|^)((?:\w+\.)*solver(?:\.\w+)?)\.({'|'.join(BATH_ARGUMENTS)})"
    r"(?:'| is unknown)"
)


def renamed(name: str) -> str:
    """Where what was called `name` is today; `name` itself if it never moved."""
    return _replaced(name, MOVED | BETWEEN)


def former(name: str) -> str:
    """The inverse of `renamed`: the first name of all."""
    return _replaced(name, FORMER)


def with_targets(node: Any, name: Callable[[str], str]) -> Any:
    """A copy of plain data in which `name` has been applied to every ``_target_``."""
    if isinstance(node, Mapping):
        copy = {key: with_targets(value, name) for key, value in node.items()}
        if isinstance(copy.get("_target_"), str):
            copy["_target_"] = name(copy["_target_"])
        return copy
    return [with_targets(value, name) for value in node] if isinstance(node, list) else node


def flat_baths(node: Any) -> Any:
    """A copy of plain data in which solvers hold the arguments of their `BATH` themselves.

    A shift of zero is left out where ``n_shifts`` sets shifts, as it was.
    """
    if isinstance(node, Mapping):
        copy = {key: flat_baths(value) for key, value in node.items()}
        if isinstance(copy.get("bath"), dict) and copy["bath"].get("_target_") == BATH:
            bath = copy.pop("bath")
            if "n_shifts" in copy and bath.get("shift") == 0:
                del bath["shift"]
            copy |= {key: value for key, value in bath.items() if key != "_target_"}
        return copy
    return [flat_baths(value) for value in node] if isinstance(node, list) else node


def remedy(error: str) -> str | None:
    """What to say in place of an error about a key that has moved; None of any other."""
    found = _OLD_KEY.search(error)
    if found is None:
        return None
    where, name = found.groups()
    return f"{where}.{name} is unknown; {name} is now {where}.bath.{name}"


def _replaced(name: str, table: Mapping[str, str]) -> str:
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        known = table.get(".".join(parts[:n]))
        if known is not None:
            return ".".join([known, *parts[n:]])
    return name

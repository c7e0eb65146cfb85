"""Ground states by the word that a config has for them."""

from __future__ import annotations

from collections.abc import Callable

from dmftnet import checks
from dmftnet.errors import SettingError
from dmftnet.physics.solvers.scol.ground_states import ExactGroundStates, GroundStates
from dmftnet.physics.solvers.scol.registry import REGISTERED
from dmftnet.physics.solvers.scol.restricted_states import RestrictedGroundStates
from dmftnet.physics.solvers.scol.tensor_states import TensorGroundStates

NAMED: dict[str, Callable[[int, float], GroundStates]] = {
    "exact": lambda n, memory: ExactGroundStates(max_determinants=n, max_memory=memory),
    "ras": lambda n, memory: RestrictedGroundStates(max_determinants=n, max_memory=memory),
    "mps": lambda _, memory: TensorGroundStates(max_memory=memory),
}


def ground_states(given: object, max_determinants: int, max_memory: float) -> GroundStates:
    """Those of a name, within the limits, or those given.

    Raises
    ------
    SettingError
    """
    known = NAMED | REGISTERED
    if isinstance(given, str) and given in known:
        return known[given](max_determinants, max_memory)
    if not isinstance(given, str) and isinstance(given, GroundStates):
        return given
    words = ", ".join(known)
    raise SettingError(
        f"solver.ground_state = {checks.shown(given)}: use one of {words}, or give an object that "
        "finds ground states"
    )

"""Ground states by the word that a config has for them.

Those of other rooms are named as a config's ``_target_`` names a class, and imported when they are
asked for: physics does not know them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from dmftnet import checks
from dmftnet.errors import SettingError
from dmftnet.physics.solvers.scol.ground_states import ExactGroundStates, GroundStates
from dmftnet.physics.solvers.scol.restricted_states import RestrictedGroundStates
from dmftnet.physics.solvers.scol.tensor_states import TensorGroundStates

NAMED: dict[str, Callable[[int, float], GroundStates]] = {
    "exact": lambda n, memory: ExactGroundStates(max_determinants=n, max_memory=memory),
    "ras": lambda n, memory: RestrictedGroundStates(max_determinants=n, max_memory=memory),
    "mps": lambda _, memory: TensorGroundStates(max_memory=memory),
}

ELSEWHERE = {"nqs": "dmftnet.models.nqs.ground_states.NeuralGroundStates"}
"""Classes of other rooms, with the values of their own defaults."""


def ground_states(given: object, max_determinants: int, max_memory: float) -> GroundStates:
    """Those of a name, within the limits, or those given.

    Raises
    ------
    SettingError
    """
    if isinstance(given, str) and given in NAMED:
        return NAMED[given](max_determinants, max_memory)
    if isinstance(given, str) and given in ELSEWHERE:
        module, _, name = ELSEWHERE[given].rpartition(".")
        return getattr(import_module(module), name)(
            max_determinants=max_determinants, max_memory=max_memory
        )
    if not isinstance(given, str) and isinstance(given, GroundStates):
        return given
    words = ", ".join((*NAMED, *ELSEWHERE))
    raise SettingError(
        f"solver.ground_state = {checks.shown(given)}: use one of {words}, or give an object that "
        "finds ground states"
    )

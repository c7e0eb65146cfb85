"""Names under which other rooms offer ground states to scol: physics does not know them."""

from __future__ import annotations

from collections.abc import Callable

from dmftnet.physics.solvers.scol.ground_states import GroundStates

REGISTERED: dict[str, Callable[[int, float], GroundStates]] = {}


def register(name: str, make: Callable[[int, float], GroundStates]) -> None:
    """Offer ground states by a name.

    Parameters
    ----------
    name : str
        What ``solver.ground_state`` says for it.
    make : callable
        From the largest number of determinants in one sector and the memory in GiB.
    """
    REGISTERED[name] = make

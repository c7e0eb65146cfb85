"""With this import operator Lanczos knows neural ground states by name; torch waits for the first.

The scripts import it; so does who writes ``ScolSolver(ground_state="nqs")``.
"""

from dmftnet.physics.solvers.scol.ground_states import GroundStates
from dmftnet.physics.solvers.scol.registry import register


def neural(max_determinants: int, max_memory: float) -> GroundStates:
    """Those with the values of their own defaults."""
    from dmftnet.models.nqs.ground_states import NeuralGroundStates

    return NeuralGroundStates(max_determinants=max_determinants, max_memory=max_memory)


register("nqs", neural)

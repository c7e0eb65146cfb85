"""Learned phases before a training: turned at moduli that are kept.

From random phases moduli would fall faster than phases align: the weight gathers where a few happen
to agree, and the training ends in an excited state. At fixed moduli, those of the correlated
determinant, all entries of the table count until they agree.
"""

from __future__ import annotations

import numpy as np

from dmftnet.models.nqs.energy import local_energies, normalised_weights
from dmftnet.models.nqs.phases import turned
from dmftnet.models.nqs.sampler import sample
from dmftnet.models.nqs.state import NeuralState

RATE = 2.0
"""Imaginary time of a step, in 1/D."""

REGULARISATION = 1e-4


def align(state: NeuralState, n_samples: int, rng: np.random.Generator, power: float) -> None:
    """Turn the phases of a state, in place; nothing where none are learned.

    Parameters
    ----------
    n_samples : int
        Draws a step.
    power : float
        Of the conditionals that are drawn from.
    """
    for _ in range(0 if state.phases is None else state.phases.steps):
        samples = sample(state.law, n_samples, rng, power)
        local, weights = local_energies(state, samples.states), normalised_weights(samples)
        state.turn(samples.states, turned, weights, local.imag, RATE, REGULARISATION)

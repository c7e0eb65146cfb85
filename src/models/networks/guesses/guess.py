"""What a guess is: a cheap spectrum, or self-energy, of every problem of a batch.

A new kind is one file in this folder with one subclass of `Guess`; ``model.guess_names`` then knows
the names that it gives (`dmftnet.models.networks.guesses.composed`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from dmftnet.models.networks.constants import Array, Constants
from dmftnet.physics.grids.real_axis import FrequencyGrid


class SelfEnergy(NamedTuple):
    """A causal self-energy, whose spectrum follows by Dyson's equation.

    ``shift`` (B, n_w) or (B, 1) float64, ``eps_d + Re Sigma`` in D; ``density`` (B, n_w)
    float64 >= 0, ``-Im Sigma / pi`` in D, or None where Sigma is real. Arrays of what the guess
    was given.
    """

    shift: Array
    density: Array | None = None


class Guess(Constants, ABC):
    """One cheap spectrum.

    Parameters
    ----------
    grid : FrequencyGrid
        Symmetric.
    name : str
        One of `partners`.

    Attributes
    ----------
    partners : mapping of str to str
        The names that this kind gives, and for each that of the guess whose image under
        particle-hole mirroring it is, ``A'(w) = A(-w)``.
    damped : bool
        Whether it gives a self-energy that is not real, which a network can correct.
    score : float
        Of the guess in the mixture that an untrained network starts from (an exponent).
    """

    partners: ClassVar[Mapping[str, str]]
    damped: bool = False
    score: float = 0.0

    def __init__(self, grid: FrequencyGrid, name: str):
        super().__init__()
        self.name, self.partner = name, self.partners[name]

    @abstractmethod
    def forward(self, hybridization: Array, params: Array) -> Array | SelfEnergy:
        """(B, n_w), (B, 2) ``[U, eps_d]``, float64 -> (B, n_w) spectrum in 1/D, or its Sigma.

        Arrays are numpy's on a CPU, where small operations cost a third of torch's, else torch's.
        A spectrum is non-negative, of norm one and at the data's resolution; that of a self-energy
        is brought there. Nothing is differentiated.
        """

"""The hybridization itself as a guess: close to the answer late in a DMFT loop."""

from __future__ import annotations

from typing import ClassVar

from dmftnet.models.networks.guesses.guess import Guess
from dmftnet.physics.grids.real_axis import FrequencyGrid


class Bath(Guess):
    """The normalised input, which has the data's resolution already."""

    partners: ClassVar = {"hybridization": "hybridization"}
    score = 1.0
    LEAST = 1e-6  # D, weight of a bath that is none

    def __init__(self, grid: FrequencyGrid, name: str = "hybridization"):
        super().__init__(grid, name)
        self.constant("weights", grid.weights)

    def forward(self, hybridization, params):
        weight = hybridization @ self.like(hybridization, "weights")
        return hybridization / weight.clip(self.LEAST)[:, None]

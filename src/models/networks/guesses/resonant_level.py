"""Resonant levels at ``eps_d + U (0, 1/2, 1)`` in the bath: Hubbard bands, bound states too."""

from __future__ import annotations

from typing import ClassVar

from dmftnet.models.networks.guesses.guess import Guess, SelfEnergy
from dmftnet.physics.grids.real_axis import FrequencyGrid


class ResonantLevel(Guess):
    """The level with the other spin absent (``lower``), half there (``middle``), there."""

    partners: ClassVar = {"lower": "upper", "middle": "middle", "upper": "lower"}
    score = -1.0
    OCCUPATION: ClassVar = {"lower": 0.0, "middle": 0.5, "upper": 1.0}

    def __init__(self, grid: FrequencyGrid, name: str):
        super().__init__(grid, name)
        self.occupation = self.OCCUPATION[name]

    def forward(self, hybridization, params) -> SelfEnergy:
        return SelfEnergy(params[:, :1] * self.occupation + params[:, 1:2])

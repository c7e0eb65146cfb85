"""What turns a continuous hybridization into bath levels, and the levels that come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from dmftnet.errors import InvalidProblemError, SettingError
from dmftnet.physics.bath.star import SPECTATOR_COUPLING, StarBath
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization


@dataclass(frozen=True, eq=False)
class DiscreteBath:
    """Bath levels that stand for a hybridization.

    Parameters
    ----------
    levels : PoleHybridization
    orbitals : tuple of int, optional
        The orbital that each level belongs to; None where levels couple to several.
    spectators : tuple of int
        Levels that stand in a gap at zero energy, there only to fix the particle number.
    diagnostics : dict of str to int, float, bool, str or None
        What a user should know of the quality.
    """

    levels: PoleHybridization
    orbitals: tuple[int, ...] | None = None
    spectators: tuple[int, ...] = ()
    diagnostics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_levels(cls, levels: PoleHybridization) -> DiscreteBath:
        """Levels that were given as they are."""
        owners = np.argmax(np.abs(levels.couplings), axis=1) if levels.is_diagonal else None
        return cls(levels, None if owners is None else tuple(owners.tolist()))

    @classmethod
    def of_stars(
        cls, stars: Sequence[StarBath], diagnostics: dict[str, Any] | None = None
    ) -> DiscreteBath:
        """Orbitals that do not mix, each with a bath of its own."""
        owners = np.repeat(np.arange(len(stars)), [star.n_bath for star in stars])
        couplings = np.zeros((owners.size, len(stars)))
        couplings[np.arange(owners.size), owners] = np.concatenate([s.couplings for s in stars])
        spectators = np.concatenate(
            [s.spectator & (s.energies == 0) & (s.couplings == SPECTATOR_COUPLING) for s in stars]
        )
        return cls(
            PoleHybridization(np.concatenate([s.energies for s in stars]), couplings),
            tuple(owners.tolist()),
            tuple(np.flatnonzero(spectators).tolist()),
            diagnostics or {},
        )

    def star(self, orbital: int) -> StarBath:
        """The bath of one orbital that mixes with no other.

        Raises
        ------
        InvalidProblemError
            If levels couple to several orbitals.
        """
        if self.orbitals is None:
            raise InvalidProblemError(
                "the levels of this bath couple to several orbitals; a star bath belongs to one"
            )
        own = np.flatnonzero(np.array(self.orbitals) == orbital)
        return StarBath(
            self.levels.energies[own],
            np.abs(self.levels.couplings[own, orbital]),
            bool(set(own.tolist()) & set(self.spectators)),
        )


@runtime_checkable
class Discretisation(Protocol):
    """A way to discretise.

    Attributes
    ----------
    n_bath : int or None
        Levels an orbital; None where the solver decides.
    """

    n_bath: int | None

    def discretise(self, hybridization: Hybridization) -> DiscreteBath:
        """Bath levels of a hybridization.

        Raises
        ------
        InvalidProblemError
            If it is of a kind that this discretisation does not take.
        """


@runtime_checkable
class SpectrumDiscretisation(Discretisation, Protocol):
    """A way to discretise a spectrum on the real axis, one orbital at a time.

    ``sites`` is `n_bath`, a SettingError if it is left open.
    """

    def star(self, grid: FrequencyGrid, spectrum: np.ndarray) -> StarBath:
        """The bath of one orbital, of its (n_w,) spectrum ``-Im Delta / pi`` in D."""

    def shifted(self, shift: float) -> Self:
        """The same with its edges moved outward by a fraction of an interval, modulo 1."""


def phased(couplings: np.ndarray) -> np.ndarray:
    """(n_levels, n_orb) couplings, the largest of each level real and positive: a free choice."""
    largest = np.argmax(np.abs(couplings), axis=1)[:, None]
    pivot = np.take_along_axis(couplings, largest, axis=1)
    size = np.abs(pivot)
    return couplings * np.where(size > 0, pivot.conj() / np.where(size > 0, size, 1.0), 1.0)


def required(key: str, n_bath: int | None, at_least: int) -> int:
    """A number of levels that a solver does not decide by itself."""
    if n_bath is None:
        raise SettingError(f"{key} = None: give an integer >= {at_least}")
    return n_bath

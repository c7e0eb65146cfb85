"""The dataset on the real axis as Lightning sees it, see `dmftnet.data.files_datamodule`.

Batches are dicts of tensors, those of `dmftnet.data.keys.Batch`. Splits are whole trajectories, as
the files record them. Neighbouring trajectories still differ little in U, so intervals of U can be
held out as well (`held_out_U`): their samples form the split "blocks", whose score measures
interpolation across a gap in the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from dmftnet import checks
from dmftnet.data.files_datamodule import FilesDataModule, joined
from dmftnet.data.keys import Trajectories
from dmftnet.data.labels import SMOOTHED, SpectralArrays, cached_labels, make_labels
from dmftnet.data.store import REMEDY, SpectralStore
from dmftnet.errors import DmftnetError, SettingError, StoreError
from dmftnet.physics.grids.real_axis import FrequencyGrid

GRID = {"w_min": 3e-3, "w_max": 6.0, "n_w": 160}
"""The network's grid for the small dataset, in D."""

BLOCKS = "blocks"
"""Name of the samples in the intervals of U that are held out."""


def _blocks(held_out_U: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    """Intervals of U as pairs of floats.

    Raises
    ------
    DmftnetError
        If they are none.
    """
    try:
        if isinstance(held_out_U, str) or not isinstance(held_out_U, Sequence):
            raise SettingError("no list")
        pairs = (checks.numbers("block", block, size=2) for block in held_out_U)
        blocks = tuple((low, high) for low, high in pairs)
        if all(low < high for low, high in blocks):
            return blocks
    except SettingError:
        pass
    raise DmftnetError(
        f"dataset.held_out_U = {checks.shown(held_out_U)}: give intervals [low, high] with "
        "low < high, in D"
    )


class SpectralDataModule(FilesDataModule):
    """Training, validation and test batches of a spectral dataset.

    Parameters
    ----------
    path : str or list of str
        Of the HDF5 files that generate.py wrote.
    grid : dict
        ``w_min, w_max, n_w`` of the network's symmetric geometric grid, in D.
    angles : list of float, in radians
        Complex-time angles of the labels, in (0, pi/2).
    resolution : (eta, slope)
        Gaussian width ``eta + slope |w|`` of every spectrum, in D.
    batch_size : int
    particle_hole_augmentation : bool
        Mirror a random half of the training samples in each epoch.
    seed : int
    held_out_U : sequence of (low, high), in D
        Samples with U in one of these intervals are kept out of training, validation and test.
    smoothed : {"spectrum", "self_energy"}
        What carries the resolution; the latter for ``head=self_energy``, with labels of Sigma.
    cache : bool
        Keep the labels in ``.labels/`` next to the dataset.

    Attributes
    ----------
    grid : FrequencyGrid
    angles : tuple of float
    resolution : tuple of float

    Raises
    ------
    StoreError
        If a file cannot be used; see `SpectralStore.open`.
    """

    def __init__(
        self,
        path: str | Path | Sequence[str | Path] = "data/bethe_small.h5",
        grid: Mapping[str, float] = GRID,
        angles: tuple[float, ...] = (0.1, 0.15, 0.2),
        resolution: tuple[float, float] = (0.006, 0.06),
        batch_size: int = 8,
        particle_hole_augmentation: bool = True,
        seed: int = 0,
        held_out_U: Sequence[Sequence[float]] = (),
        smoothed: str = "spectrum",
        cache: bool = True,
    ):
        super().__init__(path, batch_size, particle_hole_augmentation, seed, REMEDY)
        self.grid = FrequencyGrid.geometric(**checks.grid("dataset.grid", grid or GRID))
        self.angles = checks.numbers("dataset.angles", angles)
        if not self.angles or not all(0 < a < np.pi / 2 for a in self.angles):
            raise DmftnetError(
                f"dataset.angles = {list(self.angles)}: give at least one angle in (0, pi/2)"
            )
        self.resolution = checks.resolution("dataset.resolution", resolution)
        self.held_out_U = _blocks(held_out_U)
        self.smoothed = checks.choice("dataset.smoothed", smoothed, SMOOTHED)
        self.cache = checks.flag("dataset.cache", cache)

    @cached_property
    def stores(self) -> tuple[SpectralStore, ...]:
        """The dataset's files, read at first use."""
        return tuple(SpectralStore.open(path) for path in self.paths)

    @cached_property
    def _all(self) -> tuple[SpectralArrays, ...]:
        """The samples of each file, trajectories numbered on from file to file."""
        make = cached_labels if self.cache else make_labels
        parts, first_id = [], 0
        for store in self.stores:
            arrays = make(store, self.grid, self.angles, self.resolution, self.smoothed)
            parts.append(replace(arrays, trajectory=arrays.trajectory + first_id))
            first_id += int(store.columns[Trajectories.ID].max()) + 1
        return tuple(parts)

    def arrays(self, split: str) -> SpectralArrays:
        """All samples of "train", "val", "test" or "blocks" as numpy arrays, never mirrored."""
        chosen = [
            self._indices(store, arrays, split)
            for store, arrays in zip(self.stores, self._all, strict=True)
        ]
        if not sum(indices.size for indices in chosen):
            without = sum(
                int((a.consistent == 0).sum()) for a in self._all if a.consistent is not None
            )
            lost = f" ({without} have no label of Sigma)" if without else ""
            raise StoreError(
                f"file {self._names} has no {split} sample{lost}; raise sampling.n_trajectories "
                "and run generate.py again, or hold out other U"
            )
        return joined([part.take(i) for part, i in zip(self._all, chosen, strict=True)])

    def _indices(self, store: SpectralStore, arrays: SpectralArrays, split: str) -> np.ndarray:
        """(n,) int samples of one file in a split; those without a label of Sigma are in none."""
        held_out = np.zeros(len(store), dtype=bool)
        for low, high in self.held_out_U:
            held_out |= (low <= store["U"]) & (store["U"] <= high)
        usable = np.ones_like(held_out) if arrays.consistent is None else arrays.consistent > 0
        if split == BLOCKS:
            return np.flatnonzero(held_out & usable)
        indices = store.indices(split)
        return indices[(usable & ~held_out)[indices]]

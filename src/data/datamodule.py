"""The dataset as Lightning sees it: all samples in memory, batches cut from arrays.

Batches are dicts of tensors, those of `dmftnet.data.keys.Batch`.

A dataset is one file or several: their samples are put together split by split, file after file.
Splits are whole trajectories, as the files record them. Neighbouring trajectories still differ
little in U, so intervals of U can be held out as well (`held_out_U`): their samples form the split
"blocks", whose score measures interpolation across a gap in the data.
The order of training samples and which of them are particle-hole mirrored follow from (seed,
epoch) alone, so a resumed training sees what an uninterrupted one would. No worker processes: a
batch is one indexing operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from dmftnet import checks
from dmftnet.data.keys import SPLITS, Trajectories
from dmftnet.data.labels import SpectralArrays, cached_labels, make_labels
from dmftnet.data.store import REMEDY, SpectralStore
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.errors import DmftnetError, SettingError, StoreError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.provenance import sha256_of_all

GRID = {"w_min": 3e-3, "w_max": 6.0, "n_w": 160}
"""The network's grid for the small dataset, in D."""

BLOCKS = "blocks"
"""Name of the samples in the intervals of U that are held out."""


class ArraysDataset(Dataset):
    """Samples as tensors; index ``n + i`` is the particle-hole mirror of sample i.

    Parameters
    ----------
    arrays : SpectralArrays or ThermalArrays
        n samples.
    mirrored : bool
        Make the mirrored samples available.
    """

    def __init__(self, arrays: SpectralArrays | ThermalArrays, mirrored: bool = False):
        self.n_samples = len(arrays)
        parts = [arrays, arrays.particle_hole()] if mirrored else [arrays]
        self.tensors = {
            f.name: torch.from_numpy(np.concatenate([getattr(part, f.name) for part in parts]))
            for f in fields(arrays)
            if getattr(arrays, f.name) is not None
        }

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: tensor[index] for name, tensor in self.tensors.items()}

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        """A whole batch at once, as the loader asks."""
        chosen = torch.as_tensor(indices)
        return {name: tensor[chosen] for name, tensor in self.tensors.items()}


class EpochSampler(Sampler):
    """A random order, and random mirrors, that follow from (seed, epoch).

    Parameters
    ----------
    n_samples : int
    seed : int
    mirror : bool
        Yield ``n_samples + i`` in place of i for half of the samples.
    """

    def __init__(self, n_samples: int, seed: int, mirror: bool):
        self.n_samples, self.seed, self.mirror = n_samples, seed, mirror
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each training epoch, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_samples

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.n_samples)
        if self.mirror:
            order = order + self.n_samples * rng.integers(0, 2, self.n_samples)
        return iter(order.tolist())


def joined(parts: Sequence[SpectralArrays]) -> SpectralArrays:
    """The samples of all parts, one after the other."""
    return SpectralArrays(
        **{
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(parts[0])
        }
    )


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


def as_batch(items: Any) -> dict[str, torch.Tensor]:
    """The dataset makes batches itself; nothing is left to collate."""
    return items


class SpectralDataModule(LightningDataModule):
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
        cache: bool = True,
    ):
        super().__init__()
        if not isinstance(path, str | Path) and isinstance(path, Sequence) and not path:
            raise DmftnetError("dataset.path = []: give at least one file")
        self.paths = checks.paths("dataset.path", path, "a file or a list of files")
        if len(set(self.paths)) < len(self.paths):
            raise DmftnetError(f"dataset.path = {self._names}: names a file twice; give each once")
        self.grid = FrequencyGrid.geometric(**checks.grid("dataset.grid", grid or GRID))
        self.angles = checks.numbers("dataset.angles", angles)
        if not self.angles or not all(0 < a < np.pi / 2 for a in self.angles):
            raise DmftnetError(
                f"dataset.angles = {list(self.angles)}: give at least one angle in (0, pi/2)"
            )
        self.resolution = checks.resolution("dataset.resolution", resolution)
        self.batch_size = checks.integer("dataset.batch_size", batch_size)
        if self.batch_size < 1:
            raise DmftnetError(f"dataset.batch_size = {self.batch_size} must be at least 1")
        self.particle_hole_augmentation = checks.flag(
            "dataset.particle_hole_augmentation", particle_hole_augmentation
        )
        self.seed = checks.seed("dataset.seed", seed)
        self.held_out_U = _blocks(held_out_U)
        self.cache = checks.flag("dataset.cache", cache)

    @property
    def _names(self) -> str:
        return ", ".join(map(str, self.paths))

    @cached_property
    def stores(self) -> tuple[SpectralStore, ...]:
        """The dataset's files, read at first use."""
        return tuple(SpectralStore.open(path) for path in self.paths)

    @cached_property
    def data_hash(self) -> str:
        """SHA-256 of the dataset's files, for the provenance of checkpoints and reports."""
        for path in self.paths:
            if not path.is_file():
                raise StoreError(f"file {path} does not exist; {REMEDY}")
        return sha256_of_all(self.paths)

    @cached_property
    def _all(self) -> tuple[SpectralArrays, ...]:
        """The samples of each file, trajectories numbered on from file to file."""
        make = cached_labels if self.cache else make_labels
        parts, first_id = [], 0
        for store in self.stores:
            arrays = make(store, self.grid, self.angles, self.resolution)
            parts.append(replace(arrays, trajectory=arrays.trajectory + first_id))
            first_id += int(store.columns[Trajectories.ID].max()) + 1
        return tuple(parts)

    def arrays(self, split: str) -> SpectralArrays:
        """All samples of "train", "val", "test" or "blocks" as numpy arrays, never mirrored."""
        chosen = [self._indices(store, split) for store in self.stores]
        if not sum(indices.size for indices in chosen):
            raise StoreError(
                f"file {self._names} has no {split} sample; raise sampling.n_trajectories and run "
                "generate.py again, or hold out other U"
            )
        return joined([part.take(i) for part, i in zip(self._all, chosen, strict=True)])

    def _indices(self, store: SpectralStore, split: str) -> np.ndarray:
        """(n,) int samples of one file in a split."""
        held_out = np.zeros(len(store), dtype=bool)
        for low, high in self.held_out_U:
            held_out |= (low <= store["U"]) & (store["U"] <= high)
        if split == BLOCKS:
            return np.flatnonzero(held_out)
        indices = store.indices(split)
        return indices[~held_out[indices]]

    def setup(self, stage: str | None = None) -> None:
        """Read the file and make the labels, whatever the stage."""
        for split in SPLITS:
            self.arrays(split)

    def train_dataloader(self) -> DataLoader:
        mirror = self.particle_hole_augmentation
        data = ArraysDataset(self.arrays("train"), mirrored=mirror)
        sampler = EpochSampler(len(data), self.seed, mirror)
        return DataLoader(data, self.batch_size, sampler=sampler, collate_fn=as_batch)

    def val_dataloader(self) -> DataLoader:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def _loader(self, split: str) -> DataLoader:
        return DataLoader(ArraysDataset(self.arrays(split)), self.batch_size, collate_fn=as_batch)

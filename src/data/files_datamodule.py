"""What every data module does: files that are checked, splits, batches cut from arrays.

A dataset is one file or several: their samples are put together split by split, file after file.
The order of training samples and which of them are particle-hole mirrored follow from (seed,
epoch) alone, so a resumed training sees what an uninterrupted one would. No worker processes: a
batch is one indexing operation.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from dmftnet import checks
from dmftnet.data.keys import SPLITS
from dmftnet.data.labels import SpectralArrays
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.errors import DmftnetError, StoreError
from dmftnet.provenance import sha256_of_all

Arrays = SpectralArrays | ThermalArrays
A = TypeVar("A", SpectralArrays, ThermalArrays)


class ArraysDataset(Dataset):
    """Samples as tensors; index ``n + i`` is the particle-hole mirror of sample i.

    Parameters
    ----------
    arrays : SpectralArrays or ThermalArrays
        n samples.
    mirrored : bool
        Make the mirrored samples available.
    """

    def __init__(self, arrays: Arrays, mirrored: bool = False):
        self.n_samples = len(arrays)
        parts = [arrays, arrays.particle_hole()] if mirrored else [arrays]
        self.tensors = {
            f.name: torch.from_numpy(np.concatenate([getattr(part, f.name) for part in parts]))
            for f in fields(arrays)
            if getattr(arrays, f.name) is not None  # not known of one orbital
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


def joined(parts: Sequence[A]) -> A:
    """The samples of all parts, one after the other."""
    names = [f.name for f in fields(parts[0]) if getattr(parts[0], f.name) is not None]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return type(parts[0])(**columns)


def as_batch(items: Any) -> dict[str, torch.Tensor]:
    """The dataset makes batches itself; nothing is left to collate."""
    return items


class FilesDataModule(LightningDataModule):
    """Training, validation and test batches of the samples of files.

    Parameters
    ----------
    path : str or list of str
    batch_size : int
    particle_hole_augmentation : bool
        Mirror a random half of the training samples in each epoch.
    seed : int
    remedy : str
        How to get such a file.
    """

    def __init__(
        self,
        path: str | Path | Sequence[str | Path],
        batch_size: int,
        particle_hole_augmentation: bool,
        seed: int,
        remedy: str,
    ):
        super().__init__()
        if not isinstance(path, str | Path) and isinstance(path, Sequence) and not path:
            raise DmftnetError("dataset.path = []: give at least one file")
        self.paths = checks.paths("dataset.path", path, "a file or a list of files")
        if len(set(self.paths)) < len(self.paths):
            raise DmftnetError(f"dataset.path = {self._names}: names a file twice; give each once")
        self.batch_size = checks.integer("dataset.batch_size", batch_size, at_least=1)
        self.particle_hole_augmentation = checks.flag(
            "dataset.particle_hole_augmentation", particle_hole_augmentation
        )
        self.seed = checks.seed("dataset.seed", seed)
        self._remedy = remedy

    @abstractmethod
    def arrays(self, split: str) -> Arrays:
        """All samples of a split as numpy arrays, never mirrored."""

    @property
    def _names(self) -> str:
        return ", ".join(map(str, self.paths))

    @cached_property
    def data_hash(self) -> str:
        """SHA-256 of the files, for the provenance of checkpoints and reports."""
        for path in self.paths:
            if not path.is_file():
                raise StoreError(f"file {path} does not exist; {self._remedy}")
        return sha256_of_all(self.paths)

    def setup(self, stage: str | None = None) -> None:
        """Read the files, make the labels, whatever the stage."""
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

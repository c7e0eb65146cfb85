"""A dataset without a solver: pairs of semicircles whose position follows U and eps_d.

It has the batch format of `dmftnet.data.datamodule.SpectralDataModule` and exact rotated labels, so
that training, checkpoints and scripts can be tested in seconds. Not physics.
"""

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dmftnet.data.labels import SpectralArrays
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import (
    rotation_kernel,
    rotation_kernel_derivative,
    smoothing_kernel,
)

GRID = {"w_min": 0.02, "w_max": 6.0, "n_w": 32}
ANGLES = (0.1, 0.2)
RESOLUTION = (0.01, 0.05)


def semicircle(omega, centre, radius):
    """Normalised semicircles, (n, 1) centres -> (n, n_w)."""
    square = np.maximum(radius**2 - (omega - centre) ** 2, 0)
    return 2 / np.pi / radius**2 * np.sqrt(square)


def make_arrays(n, seed, grid=GRID, angles=ANGLES):
    """n samples of a smooth map from (U, eps_d, bandwidth) to two bands."""
    rng = np.random.default_rng(seed)
    fine = FrequencyGrid.geometric(2e-3, 8.0, 300)
    target = FrequencyGrid.geometric(**grid)
    U, radius = rng.uniform(0, 3, (n, 1)), rng.uniform(0.7, 1.2, (n, 1))
    eps_d = -U / 2 + rng.uniform(-0.5, 0.5, (n, 1))
    A = 0.5 * (semicircle(fine.omega, eps_d, radius) + semicircle(fine.omega, eps_d + U, radius))
    hybridization = 0.25 * semicircle(fine.omega, 0.0, radius)
    smooth = A @ smoothing_kernel(fine, *RESOLUTION).T
    arrays = {
        "hybridization": hybridization @ smoothing_kernel(fine, *RESOLUTION, target).T,
        "params": np.concatenate([U, eps_d], axis=1),
        "spectrum": A @ smoothing_kernel(fine, *RESOLUTION, target).T,
        "bare": A @ smoothing_kernel(fine, 7e-3, RESOLUTION[1], target).T,
        "rotated": np.stack([smooth @ rotation_kernel(fine, a, target).T for a in angles], 1),
        "derivative": np.stack(
            [smooth @ rotation_kernel_derivative(fine, a, target).T for a in angles], 1
        ),
        "filling": np.ones(n),
        "trajectory": np.arange(n) // 4,
        "iteration": np.arange(n) % 4,
    }
    integers = ("trajectory", "iteration")
    return SpectralArrays(
        **{k: v.astype("i8" if k in integers else "f4") for k, v in arrays.items()}
    )


class Samples(Dataset):
    """Dict samples as tensors."""

    def __init__(self, arrays):
        self.tensors = {k: torch.from_numpy(v) for k, v in arrays.known().items()}

    def __len__(self):
        return len(self.tensors["params"])

    def __getitem__(self, index):
        return {key: tensor[index] for key, tensor in self.tensors.items()}


class EpochSampler(Sampler):
    """Order that depends on (seed, epoch) alone; Lightning calls set_epoch."""

    def __init__(self, n, seed):
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.n

    def __iter__(self):
        return iter(np.random.default_rng((self.seed, self.epoch)).permutation(self.n).tolist())


class SyntheticDataModule(lightning.LightningDataModule):
    """Stands in for `SpectralDataModule` with the same arguments."""

    def __init__(
        self,
        grid=GRID,
        angles=ANGLES,
        resolution=RESOLUTION,
        batch_size=8,
        seed=0,
        held_out_U=(),
        smoothed="spectrum",
        n=32,
    ):
        super().__init__()
        self.grid, self.angles, self.resolution = dict(grid), tuple(angles), tuple(resolution)
        self.batch_size, self.seed, self.n = batch_size, seed, n
        self.held_out_U, self.smoothed = tuple(held_out_U), smoothed

    def setup(self, stage=None):
        sizes = {"train": self.n, "val": 8, "test": 8}
        self.splits = {
            split: make_arrays(size, (self.seed, i), self.grid, self.angles)
            for i, (split, size) in enumerate(sizes.items())
        }

    def arrays(self, split):
        return self.splits[split]

    def _loader(self, split, sampler=None):
        return DataLoader(Samples(self.splits[split]), batch_size=self.batch_size, sampler=sampler)

    def train_dataloader(self):
        return self._loader("train", EpochSampler(self.n, self.seed))

    def val_dataloader(self):
        return self._loader("val")

    def test_dataloader(self):
        return self._loader("test")

"""Samples at finite temperature as Lightning sees them; batches of `ThermalBatch`.

One file or several of schema ``dmftnet-thermal``, see `dmftnet.data.files_datamodule`; a mirror
image is in the split of its original.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.data.files_datamodule import FilesDataModule, joined
from dmftnet.data.keys import ThermalModels
from dmftnet.data.thermal import REMEDY, ThermalStore
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.errors import SettingError, StoreError


class ThermalDataModule(FilesDataModule):
    """Training, validation and test batches of problems at finite temperature.

    Parameters
    ----------
    path : str or list of str
        Of the HDF5 files that generate.py wrote.
    inputs : list of str
        The approximations that a model reads, by their names in the files. Samples for which one of
        them failed are left out, and counted in `left_out`.
    batch_size : int
    particle_hole_augmentation : bool
        Mirror a random half of the training samples in each epoch; models that are symmetric by
        construction, as all of `dmftnet.models.correction`, learn nothing from it.
    seed : int

    Attributes
    ----------
    inputs : tuple of str
    size, accuracy : float
        Of the files' axis, see `ImaginaryAxis.universal`.
    n_orb : int
        Degenerate orbitals of every sample.
    left_out : int

    Raises
    ------
    StoreError
        If a file cannot be used; see `ThermalStore.open`.
    """

    def __init__(
        self,
        path: str | Path | Sequence[str | Path] = "data/thermal_continuous.h5",
        inputs: Sequence[str] = ("embedded3",),
        batch_size: int = 64,
        particle_hole_augmentation: bool = False,
        seed: int = 0,
    ):
        super().__init__(path, batch_size, particle_hole_augmentation, seed, REMEDY)
        if isinstance(inputs, str) or not all(isinstance(name, str) for name in inputs):
            raise SettingError(f"dataset.inputs = {checks.shown(inputs)}: give a list of names")
        self.inputs = tuple(inputs)
        if len(set(self.inputs)) < len(self.inputs):
            raise SettingError(f"dataset.inputs = {list(self.inputs)}: give each once")

    @cached_property
    def stores(self) -> tuple[ThermalStore, ...]:
        """The files, read at first use.

        Raises
        ------
        StoreError
            If their axes or their numbers of orbitals differ.
        """
        stores = tuple(ThermalStore.open(path) for path in self.paths)
        kinds = {(s.attributes["axis_size"], s.attributes["axis_accuracy"]) for s in stores}
        if len(kinds) > 1:
            raise StoreError(
                f"files {self._names} are on axes of different size or accuracy: {sorted(kinds)}; "
                "train on files of one"
            )
        if len({s.n_orb for s in stores}) > 1:
            raise StoreError(
                f"files {self._names} have {[s.n_orb for s in stores]} orbitals; train on files "
                "that agree"
            )
        return stores

    @property
    def n_orb(self) -> int:
        return self.stores[0].n_orb

    @property
    def size(self) -> float:
        return float(self.stores[0].attributes["axis_size"])

    @property
    def accuracy(self) -> float:
        return float(self.stores[0].attributes["axis_accuracy"])

    @cached_property
    def solvers(self) -> dict[str, Any]:
        """Plain configs of the solvers that made the inputs, by name; the first file's.

        Raises
        ------
        StoreError
            If the files' differ: a model must know what it corrects.
        """
        found = [store.solvers for store in self.stores]
        for name in self.inputs:
            if any(solvers[name] != found[0][name] for solvers in found):
                raise StoreError(
                    f"files {self._names}: '{name}' was made with different settings; train on "
                    "files that agree"
                )
        return {name: found[0][name] for name in self.inputs}

    @cached_property
    def _all(self) -> tuple[ThermalArrays, ...]:
        """The samples of each file, models numbered on from file to file."""
        parts, first_id = [], 0
        for store in self.stores:
            arrays = ThermalArrays.of(store, self.inputs)
            parts.append(replace(arrays, model=arrays.model + first_id))
            first_id += int(store.columns[ThermalModels.ID].max()) + 1
        return tuple(parts)

    @property
    def left_out(self) -> int:
        """Samples that lack one of the inputs."""
        return sum(int((~arrays.complete).sum()) for arrays in self._all)

    def arrays(self, split: str) -> ThermalArrays:
        """All samples of "train", "val" or "test" as numpy arrays, never mirrored."""
        chosen = []
        for store, arrays in zip(self.stores, self._all, strict=True):
            indices = store.indices(split)
            chosen.append(indices[arrays.complete[indices]])
        if not sum(indices.size for indices in chosen):
            raise StoreError(
                f"file {self._names} has no {split} sample with all of {list(self.inputs)}; "
                "generate more, or name other dataset.inputs"
            )
        return joined([part.take(i) for part, i in zip(self._all, chosen, strict=True)])

    def ranges(self) -> dict[str, list[float]]:
        """Of the training samples: U, the distance of the level from half filling and beta,

        lowest and highest; of several orbitals J too.
        """
        arrays = self.arrays("train")
        mean_field = arrays.U if arrays.mean_field is None else arrays.mean_field
        values = {
            "U": arrays.U,
            "shift": np.abs(arrays.eps_d + mean_field / 2),
            "beta": arrays.beta,
        } | ({} if arrays.J is None else {"J": arrays.J})
        return {name: [float(v.min()), float(v.max())] for name, v in values.items()}

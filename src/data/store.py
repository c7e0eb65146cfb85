"""The spectral dataset: problems with their continuous hybridization, and poles, not labels.

One HDF5 file (`dmftnet.data.jobfile`), schema ``dmftnet-spectra`` version 1, its arrays those of
`dmftnet.data.keys`.

The weights of G = <<d; d+>>, F = <<q; d+>> and I = <<q; q+>> (``q = [d, H_int]``) are kept in
factored form: a pole carries ``a_d^2`` in G, ``a_d a_q`` in F and ``a_q^2`` in I. Two numbers hold
three weights, and every residue stays positive in single precision. From them follow the exact
filling, moments, self-energy and the spectrum at any complex-time angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dmftnet import checks
from dmftnet.arrays import check_arrays
from dmftnet.data.jobfile import Columns, read_jobs
from dmftnet.data.keys import OMEGA, SCHEMAS, SPLITS, Poles, Samples, Trajectories
from dmftnet.errors import InvalidProblemError, StoreError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.places import how_to_get

SCHEMA = "dmftnet-spectra"
VERSION = 1
SAMPLES = Samples.U.rpartition("/")[0]
REMEDY = how_to_get("dataset=<name>", "dataset.path")


@dataclass(frozen=True, eq=False)
class SpectralStore:
    """A dataset in memory.

    Parameters
    ----------
    path : Path
    attributes : dict
        Schema, recipe hash, config and provenance.
    columns : dict of str to array
        By the keys of `dmftnet.data.keys`.
    grid : FrequencyGrid
        Of all hybridizations.
    """

    path: Path
    attributes: dict
    columns: Columns
    grid: FrequencyGrid

    @classmethod
    def open(cls, path: str | Path, allow_incomplete: bool = False) -> SpectralStore:
        """Read and check a dataset.

        Raises
        ------
        StoreError
            If the file is missing, truncated, of another schema or version, or not complete.
        """
        path = Path(path)
        attributes, columns = read_jobs(path, SCHEMA, VERSION, REMEDY)
        if not attributes["complete"] and not allow_incomplete:
            raise StoreError(
                f"file {path} holds {attributes['n_jobs']} trajectories of a generation that was "
                "interrupted; run the same generate.py command again to finish it"
            )
        if Samples.U not in columns:
            raise StoreError(f"file {path} holds no sample yet; {REMEDY}")
        check_file(path, SCHEMA, columns, REMEDY)
        orphans = np.setdiff1d(columns[Samples.TRAJECTORY], columns[Trajectories.ID])
        if orphans.size or columns[Samples.N_POLES].sum() != len(columns[Poles.ENERGIES]):
            raise StoreError(f"file {path}: samples, poles and trajectories disagree; {REMEDY}")
        return cls(path, attributes, columns, grid_of(path, columns, REMEDY))

    def __getitem__(self, name: str) -> np.ndarray:
        """A column of the samples by its short name."""
        return self.columns[f"{SAMPLES}/{name}"]

    def __len__(self) -> int:
        """Number of samples."""
        return self["U"].size

    @property
    def resolution(self) -> tuple[float, float] | None:
        """Gaussian (eta, slope) that all hybridizations already have, in D; None for none."""
        found = self.attributes.get("resolution")
        return None if found is None else checks.resolution(f"{self.path}: resolution", found)

    @cached_property
    def splits(self) -> np.ndarray:
        """(n,) int split code of each sample, that of its trajectory."""
        ids, codes = self.columns[Trajectories.ID], self.columns[Trajectories.SPLIT]
        order = np.argsort(ids)
        return codes[order][np.searchsorted(ids[order], self["trajectory"])]

    def indices(self, split: str) -> np.ndarray:
        """Indices of the samples of "train", "val" or "test"."""
        if split not in SPLITS:
            raise StoreError(f"split '{split}' is unknown; use one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def poles(self, sample: int) -> ResponsePoles:
        """Poles and amplitudes of one sample."""
        start, stop = self["pole_offsets"][sample : sample + 2]
        return ResponsePoles(
            self.columns[Poles.ENERGIES][start:stop], self.columns[Poles.AMPLITUDES][start:stop]
        )

    def problem(self, sample: int) -> ImpurityProblem:
        """The impurity problem of one sample."""
        return ImpurityProblem.on_grid(
            float(self["U"][sample]),
            float(self["eps_d"][sample]),
            self.grid,
            self["hybridization"][sample],
        )

    def solution(self, sample: int) -> PoleSolution:
        """The exact solver's answer for one sample."""
        eta, slope = map(float, self["broadening"][sample])
        return PoleSolution(
            problem=self.problem(sample),
            greens=(self.poles(sample),),
            filling=float(self["filling"][sample]),
            double_occupancy=float(self["double_occupancy"][sample]),
            broadening=(eta, slope),
        )


def check_file(path: Path, schema: str, columns: Columns, remedy: str) -> None:
    """Raise unless a file's columns are those of its schema.

    Raises
    ------
    StoreError
    """
    sizes = {"n_w": columns[OMEGA].size}
    check_arrays(f"file {path}", columns, SCHEMAS[schema], sizes, remedy)


def read_complete(
    path: Path, schema: str, version: int, remedy: str
) -> tuple[dict[str, Any], Columns]:
    """As `read_jobs`, of a file whose generation has ended, and that holds what its schema says."""
    attributes, columns = read_jobs(path, schema, version, remedy)
    if not attributes["complete"]:
        raise StoreError(
            f"file {path} comes from a run that was interrupted; run the same generate.py "
            "command again to finish it"
        )
    check_file(path, schema, columns, remedy)
    return attributes, columns


def grid_of(path: Path, columns: Columns, remedy: str) -> FrequencyGrid:
    """The grid of a file's curves.

    Raises
    ------
    StoreError
        If its frequencies are none.
    """
    try:
        return FrequencyGrid(columns[OMEGA])
    except InvalidProblemError as error:
        raise StoreError(f"file {path}: {error}; {remedy}") from error

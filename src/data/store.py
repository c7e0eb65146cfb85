"""The spectral dataset: problems with their continuous hybridization, and poles, not labels.

One HDF5 file (`dmftnet.data.jobfile`), schema ``dmftnet-spectra`` version 1:

=========================  =========  ============================================================
column                     type       meaning
=========================  =========  ============================================================
grid/omega                 (n_w,) f8  frequencies of all hybridizations, in D
samples/trajectory         i4         id of the trajectory
samples/iteration          i4         number of the DMFT iteration, from 0
samples/U, eps_d           f8         in D
samples/filling            f8         exact, both spins
samples/double_occupancy   f8         exact
samples/start              i4         index into `dmftnet.data.plans.sampling.STARTS`
samples/broadening         (2,) f8    (eta, slope): Gaussian width eta + slope |E| in Sigma, in D
samples/hybridization      (n_w,) f4  ``-Im Delta / pi``, in D
samples/n_poles            i8         number of poles
samples/pole_offsets       (n+1,) i8  sample s owns the poles offsets[s] .. offsets[s + 1]
poles/energies             f4         in D; E > 0 addition, E < 0 removal
poles/amplitudes           (2,) f4    (a_d, a_q), see below
trajectories/id            i4         every trajectory that was run
trajectories/split         i4         index into `dmftnet.data.plans.sampling.SPLITS`
trajectories/status        i4         index into `STATUS`: why it ended
trajectories/message       str        the solver's error where the status is "failed"
trajectories/start, U, eps_d, mixing, n_samples
=========================  =========  ============================================================

The weights of G = <<d; d+>>, F = <<q; d+>> and I = <<q; q+>> (``q = [d, H_int]``) are kept in
factored form: a pole carries ``a_d^2`` in G, ``a_d a_q`` in F and ``a_q^2`` in I. Two numbers hold
three weights, and every residue stays positive in single precision. From them follow the exact
filling, moments, self-energy and the spectrum at any complex-time angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dmftnet import checks
from dmftnet.data.columns import Column, check_columns
from dmftnet.data.jobfile import Columns, read_jobs
from dmftnet.data.plans.sampling import SPLITS, STARTS
from dmftnet.errors import InvalidProblemError, StoreError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.solutions import PoleSolution
from dmftnet.places import how_to_get

SCHEMA = "dmftnet-spectra"
VERSION = 1
REMEDY = how_to_get("dataset=<name>", "dataset.path")

STATUS = ("finished", "norm", "sector", "filling", "failed")
"""Why a trajectory ended: all its iterations; or the next solve was dropped because the norm was
off by more than 2 %, the particle sector was not the ground state's, the filling of the ground
state and of the poles disagreed, or the solver raised an error."""

COLUMNS = {
    "samples/trajectory": Column("integer"),
    "samples/iteration": Column("integer"),
    "samples/U": Column("number"),
    "samples/eps_d": Column("number"),
    "samples/filling": Column("number"),
    "samples/double_occupancy": Column("number"),
    "samples/start": Column("integer", limits=(0, len(STARTS) - 1)),
    "samples/broadening": Column("number", (2,)),
    "samples/hybridization": Column("number", ("n_w",)),
    "samples/n_poles": Column("integer"),
    "samples/pole_offsets": Column("integer"),
    "poles/energies": Column("number"),
    "poles/amplitudes": Column("number", (2,)),
    "trajectories/id": Column("integer"),
    "trajectories/split": Column("integer", limits=(0, len(SPLITS) - 1)),
    "trajectories/status": Column("integer", limits=(0, len(STATUS) - 1)),
    "trajectories/n_samples": Column("integer"),
}
"""What is read of a file; see the module's table."""


@dataclass(frozen=True, eq=False)
class SpectralStore:
    """A dataset in memory.

    Parameters
    ----------
    path : Path
    attributes : dict
        Schema, recipe hash, config and provenance.
    columns : dict of str to array
        See the module's table.
    grid : FrequencyGrid
        Of all hybridizations.
    """

    path: Path
    attributes: dict
    columns: Columns
    grid: FrequencyGrid

    @classmethod
    def open(cls, path: str | Path, allow_incomplete: bool = False) -> SpectralStore:
        """Read a dataset and check that it is what this program writes.

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
        if "samples/U" not in columns:
            raise StoreError(f"file {path} holds no sample yet; {REMEDY}")
        check_columns(path, columns, COLUMNS, REMEDY)
        orphans = np.setdiff1d(columns["samples/trajectory"], columns["trajectories/id"])
        if orphans.size or columns["samples/n_poles"].sum() != len(columns["poles/energies"]):
            raise StoreError(f"file {path}: samples, poles and trajectories disagree; {REMEDY}")
        return cls(path, attributes, columns, grid_of(path, columns, REMEDY))

    def __getitem__(self, name: str) -> np.ndarray:
        """A column of the samples by its short name."""
        return self.columns[f"samples/{name}"]

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
        ids, codes = self.columns["trajectories/id"], self.columns["trajectories/split"]
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
            self.columns["poles/energies"][start:stop], self.columns["poles/amplitudes"][start:stop]
        )

    def problem(self, sample: int) -> ImpurityProblem:
        """The impurity problem of one sample."""
        return ImpurityProblem(
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


def grid_of(path: Path, columns: Columns, remedy: str) -> FrequencyGrid:
    """The grid of a file's curves.

    Raises
    ------
    StoreError
        If its frequencies are none.
    """
    try:
        return FrequencyGrid(columns["grid/omega"])
    except InvalidProblemError as error:
        raise StoreError(f"file {path}: {error}; {remedy}") from error

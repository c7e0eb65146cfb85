"""Impurity problems at finite temperature: the exact Sigma(i w_n) and every approximation's.

One HDF5 file (`dmftnet.data.jobfile`), schema ``dmftnet-thermal`` version 1, its arrays those of
`dmftnet.data.keys`; the plans `dmftnet.data.plans.thermal_models` and `thermal_continuous` make it.

All energies are in units of each sample's own ``D = 2 sqrt(m0)``, m0 the weight of its
hybridization. The axis is universal: ``beta w_max`` is one number for the whole file, so that every
sample has the same Matsubara indices (``grid/omega``, odd integers) at any temperature. G is not
stored: it follows by Dyson's equation from Sigma and the hybridization that was given.

Precision. Sigma is stored in single precision: G(tau) is kept to 1e-6, as by the axis itself. An
approximation is stored as what it deviates from the exact Sigma, in half precision: to 5e-4 of its
own error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dmftnet import checks
from dmftnet.data.jobfile import Columns, read_jobs
from dmftnet.data.keys import ODD, SEVERAL, SPLITS
from dmftnet.data.keys import ThermalModels as Models
from dmftnet.data.keys import ThermalSamples as Samples
from dmftnet.data.keys import Witness as WitnessKeys
from dmftnet.data.store import check_file, read_complete
from dmftnet.errors import StoreError
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.places import how_to_get
from dmftnet.provenance import sha256

SCHEMA = "dmftnet-thermal"
VERSION = 1
WITNESS, WITNESS_VERSION = "dmftnet-witness", 1
SAMPLES = Samples.U.rpartition("/")[0]
SOURCE_SOLVERS = "source_solvers"
"""Attribute: plain configs, as YAML, of approximations taken over from another file."""

OF_SEVERAL = (Samples.J, Samples.STRENGTH, Samples.STRENGTHS, Samples.MISFIT)
"""Arrays of files of several orbitals alone."""

WITNESS_REMEDY = how_to_get(
    "dataset=thermal_witness solver=<name> sampling.source=<file>", "dataset.path"
)
REMEDY = how_to_get("dataset=thermal_models solver=ed", "dataset.path")


@dataclass(frozen=True, eq=False)
class ThermalStore:
    """A file in memory; n samples, n_iw Matsubara frequencies.

    Several orbitals (`n_orb`) are degenerate, and all columns are those of one of them.

    Parameters
    ----------
    path : Path
    attributes : dict
        Schema, recipe hash, config and provenance; ``approximations``, ``axis_size``,
        ``axis_accuracy``.
    columns : dict of str to array
        By the keys of `dmftnet.data.keys`.
    approximations : tuple of str
    """

    path: Path
    attributes: dict
    columns: Columns
    approximations: tuple[str, ...]

    @classmethod
    def open(cls, path: str | Path, allow_incomplete: bool = False) -> ThermalStore:
        """Read and check a file.

        Raises
        ------
        StoreError
            If it is missing, truncated, of another schema or version, or not complete; if its
            tables disagree, or it holds no sample.
        """
        path = Path(path)
        attributes, columns = read_jobs(path, SCHEMA, VERSION, REMEDY)
        if not attributes["complete"] and not allow_incomplete:
            raise StoreError(
                f"file {path} holds {attributes['n_jobs']} jobs of a generation that was "
                "interrupted; run the same generate.py command again to finish it"
            )
        if not len(columns.get(Samples.U, ())):
            raise StoreError(f"file {path} holds no sample yet; {REMEDY}")
        check_file(path, SCHEMA, columns, REMEDY)
        names = tuple(map(str, attributes.get("approximations", ())))
        store = cls(path, attributes, columns, names)
        store._check()
        return store

    def _check(self) -> None:
        columns, n_approx = self.columns, self["deviation"].shape[1]
        if len(self.approximations) != n_approx or len(set(self.approximations)) < n_approx:
            raise StoreError(
                f"file {self.path} names the approximations {list(self.approximations)}, and holds "
                f"{n_approx}; {REMEDY}"
            )
        counts = dict(zip(columns[Models.ID], columns[Models.N_SAMPLES], strict=True))
        owners, found = np.unique(self["model"], return_counts=True)
        wrong = [i for i, n in zip(owners, found, strict=True) if counts.get(i) != n]
        if len(counts) < columns[Models.ID].size or wrong or sum(counts.values()) != len(self):
            raise StoreError(f"file {self.path}: samples and models disagree; {REMEDY}")
        baths = [self.is_discrete, Samples.HYBRIDIZATION in columns]
        if sum(baths) != 1 or (Samples.BATH_ENERGIES in columns) != baths[0]:
            raise StoreError(f"file {self.path}: give bath levels or Delta(i w_n); {REMEDY}")
        several = [key in columns for key in OF_SEVERAL]
        checks.integer(f"{self.path}: {SEVERAL}", self.attributes.get(SEVERAL, 1), at_least=1)
        if any(has != (self.n_orb > 1) for has in several) or (baths[0] and self.n_orb > 1):
            raise StoreError(
                f"file {self.path} of {self.n_orb} orbitals: several orbitals come with J, "
                f"strengths and continuous baths, one without; {REMEDY}"
            )
        size, accuracy = (self.attributes.get(f"axis_{name}") for name in ("size", "accuracy"))
        size = checks.number(f"{self.path}: axis_size", size, above=0)
        accuracy = checks.number(f"{self.path}: axis_accuracy", accuracy, above=0)
        axis = ImaginaryAxis.universal(1.0, size, accuracy)
        if not np.array_equal(axis.indices, self.odd):
            raise StoreError(
                f"file {self.path} has other Matsubara frequencies than an axis of beta w_max = "
                f"{size:g} and accuracy {accuracy:g}; {REMEDY}"
            )

    def __getitem__(self, name: str) -> np.ndarray:
        """A column of the samples by its short name."""
        return self.columns[f"{SAMPLES}/{name}"]

    def __len__(self) -> int:
        """Number of samples."""
        return self["U"].size

    @cached_property
    def told_solvers(self) -> dict[str, Any]:
        """Plain configs of solvers by name, as far as the file says how it was made."""
        try:
            found = dict(yaml.safe_load(self.attributes.get(SOURCE_SOLVERS, "{}")))
            config = yaml.safe_load(self.attributes["config"])
            return found | config["sampling"]["approximations"]
        except (KeyError, TypeError, ValueError, yaml.YAMLError):
            return {}

    @cached_property
    def solvers(self) -> dict[str, Any]:
        """Plain configs of the solvers that made the approximations, by name.

        Raises
        ------
        StoreError
            If the file does not hold them.
        """
        found = self.told_solvers
        missing = [name for name in self.approximations if name not in found]
        if missing:
            raise StoreError(f"file {self.path} does not say how {missing} were made; {REMEDY}")
        return found

    @property
    def n_orb(self) -> int:
        """Degenerate orbitals of each sample."""
        return int(self.attributes.get(SEVERAL, 1))

    @property
    def J(self) -> np.ndarray:
        """(n,) float64 Hund's coupling, in D."""
        return self.columns[Samples.J] if self.n_orb > 1 else np.zeros(len(self))

    def interaction(self, sample: int) -> Interaction:
        """That of one sample, in D."""
        return Interaction(float(self["U"][sample]), float(self.J[sample]))

    @property
    def is_discrete(self) -> bool:
        """Whether baths are levels; else they are values on the axis."""
        return Samples.BATH_COUPLINGS in self.columns

    @property
    def odd(self) -> np.ndarray:
        """(n_iw,) float64 odd integers: Matsubara frequencies in units of pi / beta."""
        return self.columns[ODD]

    @property
    def omega_n(self) -> np.ndarray:
        """(n, n_iw) float64 Matsubara frequencies, in D."""
        return np.pi * self.odd / self["beta"][:, None]

    @cached_property
    def _model_rows(self) -> np.ndarray:
        ids = self.columns[Models.ID]
        order = np.argsort(ids)
        return order[np.searchsorted(ids[order], self["model"])]

    @property
    def splits(self) -> np.ndarray:
        """(n,) int split code of each sample, that of its model or trajectory."""
        return self.columns[Models.SPLIT][self._model_rows]

    @property
    def origins(self) -> np.ndarray:
        """(n,) int code of where each sample comes from, of `dmftnet.data.keys.ORIGINS`."""
        return self.columns[Models.ORIGIN][self._model_rows]

    def indices(self, split: str) -> np.ndarray:
        """Indices of the samples of "train", "val" or "test"."""
        if split not in SPLITS:
            raise StoreError(f"split '{split}' is unknown; use one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.splits == SPLITS.index(split))

    @cached_property
    def hybridization(self) -> np.ndarray:
        """(n, n_iw) complex128 Delta(i w_n), in D."""
        if not self.is_discrete:
            return self["hybridization"].astype(np.complex128)
        energies, couplings = (
            self[name].astype(np.float64) for name in ("bath_energies", "bath_couplings")
        )
        propagators = 1 / (1j * self.omega_n[:, :, None] - energies[:, None, :])
        return (propagators @ (couplings**2)[:, :, None])[:, :, 0]

    def self_energy(self, name: str | None = None) -> np.ndarray:
        """(n, n_iw) complex128 Sigma(i w_n), in D; of an approximation NaN where it failed."""
        exact = self["self_energy"].astype(np.complex128)
        if name is None:
            return exact
        parts = self["deviation"][:, self._place(name)].astype(np.float64)
        return exact + parts[..., 0] + 1j * parts[..., 1]

    def greens(self, name: str | None = None) -> np.ndarray:
        """(n, n_iw) complex128 G(i w_n) by Dyson's equation with the given Delta, in 1/D."""
        inverse = 1j * self.omega_n - self["eps_d"][:, None] - self.hybridization
        with np.errstate(invalid="ignore"):  # NaN where an approximation failed
            return 1 / (inverse - self.self_energy(name))

    def greens_tau(self, x: np.ndarray, name: str | None = None) -> np.ndarray:
        """(n, n_x) float64 G(tau) at ``x = tau / beta`` in [0, 1]; NaN where `name` failed."""
        axis, greens = self._axis_at(1.0), self.greens(name) / self["beta"][:, None]
        found = np.isfinite(greens).all(axis=1)
        values = np.full((len(self), np.size(x)), np.nan)
        values[found] = axis.at_tau(axis.to_coefficients(greens[found]), x)
        return values

    def density(self, name: str | None = None) -> np.ndarray:
        """(n,) float64 density of one spin, as the solver gives it."""
        return self["density"] if name is None else self._of("densities", name)

    def double_occupancy(self, name: str | None = None) -> np.ndarray:
        """(n,) float64 ``<n_up n_dn>``, likewise."""
        return self["double_occupancy"] if name is None else self._of("doubles", name)

    def strength(self, name: str | None = None) -> np.ndarray:
        """(n,) float64 weight of ``Sigma - Sigma(inf)`` over ``n (1 - n)``, in D^2, likewise."""
        if self.n_orb == 1:
            return self["U"] ** 2
        return self["strength"] if name is None else self._of("strengths", name)

    def misfit(self, name: str) -> np.ndarray:
        """(n, n_iw) complex128 Delta of an approximation's levels less the given one, in D;

        of several orbitals."""
        parts = self["misfit"][:, self._place(name)].astype(np.float64)
        return parts[..., 0] + 1j * parts[..., 1]

    def seconds(self, name: str | None = None) -> np.ndarray:
        """(n,) float64 seconds of each solve."""
        return self["seconds"].astype(np.float64) if name is None else self._of("times", name)

    def axis(self, sample: int) -> ImaginaryAxis:
        """The imaginary axis of one sample."""
        return self._axis_at(float(self["beta"][sample]))

    def _axis_at(self, beta: float) -> ImaginaryAxis:
        size, accuracy = (float(self.attributes[f"axis_{key}"]) for key in ("size", "accuracy"))
        return ImaginaryAxis.universal(beta, size, accuracy)

    def problem(self, sample: int) -> ImpurityProblem:
        """The impurity problem of one sample, in units of its D."""
        eps_d, beta = (float(self[name][sample]) for name in ("eps_d", "beta"))
        n_orb = self.n_orb
        bath: Hybridization
        if self.is_discrete:
            couplings = self["bath_couplings"][sample].astype(np.float64)
            bath = PoleHybridization(self["bath_energies"][sample], couplings[:, None])
        else:
            values = np.tile(self["hybridization"][sample], (n_orb, 1))
            bath = MatsubaraHybridization(self.axis(sample), values)
        return ImpurityProblem(np.full(n_orb, eps_d), self.interaction(sample), bath, beta)

    def _place(self, name: str) -> int:
        if name not in self.approximations:
            raise StoreError(
                f"file {self.path} holds no approximation '{name}'; use one of "
                f"{', '.join(self.approximations)}"
            )
        return self.approximations.index(name)

    def _of(self, column: str, name: str) -> np.ndarray:
        return self[column][:, self._place(name)].astype(np.float64)


@dataclass(frozen=True, eq=False)
class WitnessStore:
    """Samples of a thermal file as another solver answers them.

    Parameters
    ----------
    path : Path
    attributes : dict
    columns : dict of str to array
    """

    path: Path
    attributes: dict
    columns: Columns

    @classmethod
    def open(cls, path: str | Path, source: ThermalStore | None = None) -> WitnessStore:
        """Read and check a file.

        Parameters
        ----------
        source : ThermalStore, optional
            That it must belong to.

        Raises
        ------
        StoreError
            If it is missing, damaged, of another schema, not complete, or of another source.
        """
        path = Path(path)
        attributes, columns = read_complete(path, WITNESS, WITNESS_VERSION, WITNESS_REMEDY)
        if source is not None:
            if sha256(source.path) != attributes.get("source_sha256"):
                raise StoreError(
                    f"file {path} is the witness of another file than {source.path}, of "
                    f"{attributes.get('source')}; {WITNESS_REMEDY}"
                )
        return cls(path, attributes, columns)

    def __getitem__(self, name: str) -> np.ndarray:
        """A column by its short name."""
        return self.columns[f"{WitnessKeys.SAMPLE.rpartition('/')[0]}/{name}"]

    def __len__(self) -> int:
        """Number of samples."""
        return self["sample"].size

"""A DMFT solution on disk: ``solution.h5`` with the curves, and the summary of its numbers.

Schema ``dmftnet-solution``, version 1. Its arrays are `SOLUTION`, those of further inequivalent
sites the same in groups ``sites/<i>``; attributes are U, J, eps_d and beta of each site, the
summary's keys, kl_history, reason and provenance.

The file is written under a temporary name and renamed, so it is whole or not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dmftnet import checks
from dmftnet.arrays import ArrayKey, check_arrays
from dmftnet.errors import InvalidProblemError, StoreError
from dmftnet.physics.dmft.fitted import FittedSpectrum
from dmftnet.physics.dmft.iterations import DMFTResult
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution
from dmftnet.physics.impurity.spectral_hybridization import (
    CurveHybridization,
    SpectralHybridization,
)

SCHEMA, SCHEMA_VERSION = "dmftnet-solution", 1
REMEDY = "write it again with dmft.py"


def _key(name: str, dtype: str, shape: tuple, unit: str, meaning: str) -> ArrayKey:
    return ArrayKey(name, dtype, shape, unit, meaning, optional=True)


OMEGA = _key("grid/omega", "f8", ("n_w",), "D", "frequencies")
SPECTRUM = _key("spectrum", "f8", ("n_orb", "n_w"), "1/D", "A(w) of one spin")
SELF_ENERGY = _key("self_energy", "c16", ("n_orb", "n_w"), "D", "retarded Sigma(w)")
HYBRIDIZATION = _key(
    "hybridization", "f8", ("n_orb", "n_w"), "D", "-Im Delta / pi of the last impurity problem"
)
REAL = (SPECTRUM, SELF_ENERGY, HYBRIDIZATION)
ENERGIES = _key("poles/<orb>/energies", "f8", ("n_pole",), "D", "of solvers that know poles")
AMPLITUDES = _key(
    "poles/<orb>/amplitudes", "f8", ("n_pole", 2), "1, D",
    "a_d, a_q: weight a_d^2 in G, a_d a_q in F, a_q^2 in I",
)  # fmt: skip
OMEGA_N = _key("matsubara/omega_n", "f8", ("n_iw",), "D", "positive Matsubara frequencies")
GREENS = _key("matsubara/greens", "c16", ("n_orb", "n_iw"), "1/D", "G(i omega_n) of one spin")
SIGMA = _key("matsubara/self_energy", "c16", ("n_orb", "n_iw"), "D", "Sigma(i omega_n)")
DELTA = _key(
    "matsubara/hybridization", "c16", ("n_orb", "n_iw"), "D", "Delta of the last impurity problem"
)
MATSUBARA = (GREENS, SIGMA, DELTA)
TAU = _key("tau/tau", "f8", ("n_tau",), "1/D", "imaginary times, 0 and beta included")
GREENS_TAU = _key("tau/greens", "f8", ("n_orb", "n_tau"), "1", "G(tau) of one spin")
DENSITY = _key("density_matrix", "c16", ("n_orb", "n_orb"), "", "<d+_b d_a> of one spin")
DOUBLES = _key("double_occupancies", "f8", ("n_orb", "n_orb"), "", "<n_a,up n_b,down>")
FIT_OMEGA = _key("fit/omega", "f8", ("n_fit",), "D", "frequencies of the fit on the real axis")
FIT_SPECTRUM = _key(
    "fit/spectrum", "f8", ("n_orb", "n_fit"), "1/D", "A(w) of poles fitted to G(i omega_n)"
)
FIT_ENERGIES = _key("fit/<orb>/energies", "c16", ("n_fit_pole",), "D", "these poles")
FIT_WEIGHTS = _key("fit/<orb>/weights", "c16", ("n_fit_pole",), "", "their weights in G")


OF_ORBITAL = (ENERGIES, AMPLITUDES, FIT_ENERGIES, FIT_WEIGHTS)


def _of_matrix(key: ArrayKey) -> ArrayKey:
    """The same of orbitals that mix: one orbital axis more."""
    return _key(f"matrix/{key}", "c16", ("n_orb", *key.shape), key.unit, key.meaning)


MATRIX = {key: _of_matrix(key) for key in (*REAL, *MATSUBARA, GREENS_TAU)}
SOLUTION = (
    OMEGA, *REAL, ENERGIES, AMPLITUDES, OMEGA_N, *MATSUBARA, TAU, GREENS_TAU, DENSITY, DOUBLES,
    FIT_OMEGA, FIT_SPECTRUM, FIT_ENERGIES, FIT_WEIGHTS, *MATRIX.values(),
)  # fmt: skip
"""Arrays of the file, for each site; ``<orb>`` is the number of an orbital. A real-axis solution
has the first six, one on the imaginary axis those of ``matsubara`` and ``tau``, and of ``fit``
where a fit was asked for (`dmftnet.physics.dmft.fitted`)."""


@dataclass(frozen=True, eq=False)
class StoredSolution:
    """What `load_solution` reads back of the first site; None where the file has nothing.

    Parameters
    ----------
    grid : FrequencyGrid, optional
    U : float, in D
    eps_d : (n_orb,) float64, in D
    spectrum, self_energy, hybridization : arrays as of `SOLUTION`, optional
    summary : dict
    bath : CurveHybridization
        That of the last impurity problem.
    """

    grid: FrequencyGrid | None
    U: float
    eps_d: np.ndarray
    spectrum: np.ndarray | None
    self_energy: np.ndarray | None
    hybridization: np.ndarray | None
    summary: dict[str, Any]
    bath: CurveHybridization


def save_solution(
    path: str | Path,
    result: DMFTResult,
    summary: Mapping[str, Any],
    provenance: Mapping[str, str] | None = None,
    fits: Sequence[FittedSpectrum] = (),
) -> None:
    """Write ``solution.h5``; `fits` are of all sites, or none.

    Raises
    ------
    StoreError
        If the file exists: a solution is never overwritten.
    """
    path = Path(path)
    refuse_to_overwrite(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
            _write(file, result, summary, provenance or {}, fits)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_to_overwrite(path: str | Path) -> None:
    """Raise StoreError if a solution lies at `path` already; ask before the work is done."""
    if Path(path).exists():
        raise StoreError(
            f"{path} exists and is not overwritten; choose another hydra.run.dir or remove it"
        )


def _write(file: h5py.File, result: DMFTResult, summary, provenance, fits) -> None:
    file.attrs["schema"], file.attrs["schema_version"] = SCHEMA, SCHEMA_VERSION
    file.attrs["kl_history"] = np.array(result.kl_history)
    file.attrs["reason"] = result.reason
    file.attrs["summary"] = json.dumps(dict(summary))
    for key, value in provenance.items():
        file.attrs[f"provenance/{key}"] = value
    for site, (problem, solution) in enumerate(zip(result.problems, result.solutions, strict=True)):
        group = file if site == 0 else file.create_group(f"sites/{site}")
        group.attrs["U"], group.attrs["J"] = problem.U, problem.J
        group.attrs["eps_d"], group.attrs["beta"] = problem.eps_d, problem.beta
        group.attrs["diagnostics"] = json.dumps(solution.diagnostics, default=_plain)
        if isinstance(problem.hybridization, MatsubaraHybridization):
            group.attrs["axis"] = json.dumps(asdict(problem.axis))
        for key, values in _arrays(problem, solution).items():
            group[key] = values
        for orb, poles in enumerate(solution.greens or ()):
            group[_of_orbital(ENERGIES, orb)] = poles.energies
            group[_of_orbital(AMPLITUDES, orb)] = poles.amplitudes
        for fit in fits[site : site + 1]:
            group[FIT_OMEGA], group[FIT_SPECTRUM] = fit.grid.omega, fit.spectrum
            for orb, poles in enumerate(fit.poles):
                group[_of_orbital(FIT_ENERGIES, orb)] = poles.energies
                group[_of_orbital(FIT_WEIGHTS, orb)] = poles.weights
        _check(f"solution of {problem.n_orb} orbitals", group, problem.n_orb, strict=True)


def _plain(value: Any) -> Any:
    """What JSON has no word for: numbers and arrays of numpy as lists, complex ones by part."""
    if isinstance(value, np.ndarray | np.generic):
        return [value.real, value.imag] if np.iscomplexobj(value) else value.tolist()
    return str(value)


def _arrays(problem: ImpurityProblem, solution: ImpuritySolution) -> dict[ArrayKey, np.ndarray]:
    bath = problem.hybridization
    arrays: dict[ArrayKey, np.ndarray] = {}
    if isinstance(bath, MatsubaraHybridization):
        axis = bath.axis
        arrays[OMEGA_N] = axis.omega_n
        curves = (
            solution.matsubara_greens(axis),
            solution.matsubara_self_energy(axis),
            bath.values,
        )
        named = dict(zip(MATSUBARA, curves, strict=True))
        if np.isfinite(problem.beta):
            arrays[TAU] = np.concatenate([[0.0], axis.tau, [problem.beta]])
            named[GREENS_TAU] = solution.greens_tau(arrays[TAU])
    else:
        arrays[OMEGA] = problem.grid.omega
        curves = (solution.spectrum(), solution.self_energy(), problem.spectrum)
        named = dict(zip(REAL, curves, strict=True))
    mixing = any(values.ndim == 3 for values in named.values())
    for key, values in named.items():
        arrays[MATRIX[key] if mixing else key] = _with_axes(values, 3) if mixing else values
    if problem.n_orb > 1 and solution.knows_densities:
        arrays[DENSITY] = solution.density_matrix().astype(np.complex128)
        arrays[DOUBLES] = solution.double_occupancies()
    return arrays


def _with_axes(values: np.ndarray, n: int) -> np.ndarray:
    """complex128, a diagonal written out as a matrix."""
    if values.ndim == n:
        return values.astype(np.complex128)
    return np.eye(len(values))[:, :, None] * values[None].astype(np.complex128)


def _of_orbital(key: ArrayKey, orb: int) -> str:
    return key.replace("<orb>", str(orb))


def _check(where: str, file: h5py.File, n_orb: int, strict: bool = False) -> dict[str, np.ndarray]:
    """The arrays of a file, which are as `SOLUTION` says; raises StoreError if they are not."""
    arrays: dict[str, np.ndarray] = {key: file[key][()] for key in SOLUTION if key in file}
    check_arrays(where, arrays, SOLUTION, {"n_orb": n_orb}, REMEDY, strict)
    for orb in range(n_orb):
        names = {key: _of_orbital(key, orb) for key in OF_ORBITAL}
        there = [key for key, name in names.items() if name in file]
        poles: dict[str, np.ndarray] = {key: file[names[key]][()] for key in there}
        check_arrays(f"{where}: poles of orbital {orb}", poles, there, {}, REMEDY, strict)
    return arrays


def load_solution(path: str | Path) -> StoredSolution:
    """Read a ``solution.h5``.

    Raises
    ------
    StoreError
        If the file is missing, no HDF5 file, truncated, or of another schema.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"solution {path} does not exist; dmft.py writes one")
    try:
        with checks.reading(path, REMEDY), h5py.File(path, "r") as file:
            stored = _read(file, path)
    except InvalidProblemError as error:
        raise StoreError(f"solution {path}: {error}; {REMEDY}") from error
    return stored


def _read(file: h5py.File, path: Path) -> StoredSolution:
    schema, version = file.attrs.get("schema"), file.attrs.get("schema_version")
    if schema != SCHEMA or version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema {schema} version {version}, expected {SCHEMA} version "
            f"{SCHEMA_VERSION}; give a solution.h5 that dmft.py wrote"
        )
    eps_d = np.atleast_1d(file.attrs["eps_d"])
    arrays = _check(f"solution {path}", file, eps_d.size)
    return StoredSolution(
        grid=FrequencyGrid(arrays[OMEGA]) if OMEGA in arrays else None,
        U=float(file.attrs["U"]),
        eps_d=eps_d,
        spectrum=_either(arrays, SPECTRUM),
        self_energy=_either(arrays, SELF_ENERGY),
        hybridization=_either(arrays, HYBRIDIZATION),
        summary=json.loads(file.attrs["summary"]),
        bath=_bath(arrays, file.attrs.get("axis"), path),
    )


def _either(arrays: Mapping[str, np.ndarray], key: ArrayKey) -> np.ndarray | None:
    return arrays.get(key, arrays.get(MATRIX[key]))


def _bath(arrays: Mapping[str, np.ndarray], axis: str | None, path: Path) -> CurveHybridization:
    """The hybridization; all curves of its axis must be there with it."""
    frequencies, curves = (OMEGA, REAL) if axis is None else (OMEGA_N, MATSUBARA)
    for key in (frequencies, *curves):
        if key not in arrays and MATRIX.get(key) not in arrays:
            raise StoreError(f"solution {path} lacks the column {key}; {REMEDY}")
    values = arrays[curves[-1] if curves[-1] in arrays else MATRIX[curves[-1]]]
    if axis is None:
        return SpectralHybridization(FrequencyGrid(arrays[OMEGA]), values)
    return MatsubaraHybridization(ImaginaryAxis(**json.loads(axis)), values)

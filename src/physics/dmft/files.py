"""A DMFT solution on disk: ``solution.h5`` with the curves, and the summary of its numbers.

Schema ``dmftnet-solution``, version 1. Its arrays are `SOLUTION`; attributes are U, J, eps_d, the
summary's keys, kl_history, reason and provenance.

The file is written under a temporary name and renamed, so it is whole or not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dmftnet import checks
from dmftnet.arrays import ArrayKey, check_arrays
from dmftnet.errors import InvalidProblemError, StoreError
from dmftnet.physics.analysis.observables import gap
from dmftnet.physics.analysis.quasiparticle import matsubara_weight, quasiparticle_weights
from dmftnet.physics.dmft.loop import DMFTResult
from dmftnet.physics.grids.real_axis import FrequencyGrid

SCHEMA, SCHEMA_VERSION = "dmftnet-solution", 1
OMEGA = ArrayKey("grid/omega", "f8", ("n_w",), "D", "frequencies")
SPECTRUM = ArrayKey("spectrum", "f8", ("n_orb", "n_w"), "1/D", "A(w) of one spin")
SELF_ENERGY = ArrayKey("self_energy", "c16", ("n_orb", "n_w"), "D", "retarded Sigma(w)")
HYBRIDIZATION = ArrayKey(
    "hybridization", "f8", ("n_orb", "n_w"), "D", "-Im Delta / pi of the last impurity problem"
)
ENERGIES = ArrayKey(
    "poles/<orb>/energies", "f8", ("n_pole",), "D", "of solvers that know poles", optional=True
)
AMPLITUDES = ArrayKey(
    "poles/<orb>/amplitudes", "f8", ("n_pole", 2), "1, D",
    "a_d, a_q: weight a_d^2 in G, a_d a_q in F, a_q^2 in I", optional=True,
)  # fmt: skip
SOLUTION = (OMEGA, SPECTRUM, SELF_ENERGY, HYBRIDIZATION, ENERGIES, AMPLITUDES)
"""Arrays of the file; ``<orb>`` is the number of an orbital."""
REMEDY = "write it again with dmft.py"
Z_AT = 0.01  # D, of Z_matsubara
SUMMARY_KEYS = (
    "solver",
    "lattice",
    "U",
    "eps_d",
    "converged",
    "iterations",
    "filling",
    "double_occupancy",
    "Z",
    "Z_error",
    "Z_matsubara",
    "A0",
    "gap",
    "kl_last",
    "fallbacks",
    "warning",
    "seconds",
)


@dataclass(frozen=True, eq=False)
class StoredSolution:
    """What `load_solution` reads back; arrays as of `SOLUTION`."""

    grid: FrequencyGrid
    U: float
    eps_d: np.ndarray
    spectrum: np.ndarray
    self_energy: np.ndarray
    hybridization: np.ndarray
    summary: dict[str, Any]


def summarize(result: DMFTResult, solver: str, lattice: str, seconds: float) -> dict[str, Any]:
    """The numbers of a solution, ready for JSON; one-orbital values are plain numbers.

    ``Z`` with its error is that of `dmftnet.physics.analysis.quasiparticle`, ``Z_matsubara`` is
    ``1/(1 - Im Sigma(iy)/y)`` at y = 0.01 D; all are zero in an insulator, where no quasiparticle
    lives, and None where no estimate is physical. ``A0`` is in 1/D, ``gap`` in D. ``fallbacks``
    counts the iterations that a guarded solver left to the exact one; ``warning`` is what the
    solver warned of and what is wrong with Z, or None.
    """
    problem, solution = result.problem, result.solution
    grid, A = problem.grid, solution.spectrum()
    gaps = [gap(grid, a) for a in A]
    Z = quasiparticle_weights(solution)
    Z_matsubara = np.where(np.array(gaps) > 0, 0.0, matsubara_weight(problem, A, [Z_AT])[:, 0])
    kl = result.kl_history[-1]
    warnings = [text for text in (result.warning, *(z.note for z in Z)) if text]
    return {
        "solver": solver,
        "lattice": lattice,
        "U": problem.U,
        "eps_d": _plain(problem.eps_d),
        "converged": bool(result.converged),
        "iterations": int(result.iterations),
        "filling": float(solution.filling),
        "double_occupancy": float(solution.double_occupancy),
        "Z": _plain([z.value for z in Z]),
        "Z_error": _plain([z.error for z in Z]),
        "Z_matsubara": _plain(Z_matsubara),
        "A0": _plain(grid.at_zero(A)),
        "gap": _plain(gaps),
        "kl_last": float(kl) if np.isfinite(kl) else None,
        "fallbacks": sum(bool(step.get("fallback")) for step in result.diagnostics),
        "warning": "; ".join(dict.fromkeys(warnings)) or None,
        "seconds": float(seconds),
    }


def save_solution(
    path: str | Path,
    result: DMFTResult,
    summary: Mapping[str, Any],
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write ``solution.h5``.

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
            _write(file, result, summary, provenance or {})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_to_overwrite(path: str | Path) -> None:
    """Raise StoreError if a solution lies at `path` already; ask before the work is done."""
    if Path(path).exists():
        raise StoreError(
            f"{path} exists and is not overwritten; choose another hydra.run.dir or remove it"
        )


def _write(file: h5py.File, result: DMFTResult, summary, provenance) -> None:
    problem, solution = result.problem, result.solution
    file.attrs["schema"], file.attrs["schema_version"] = SCHEMA, SCHEMA_VERSION
    file.attrs["U"], file.attrs["J"], file.attrs["eps_d"] = problem.U, problem.J, problem.eps_d
    file.attrs["kl_history"] = np.array(result.kl_history)
    file.attrs["reason"] = result.reason
    file.attrs["summary"] = json.dumps(dict(summary))
    file.attrs["diagnostics"] = json.dumps(solution.diagnostics, default=str)
    for key, value in provenance.items():
        file.attrs[f"provenance/{key}"] = value
    file[OMEGA] = problem.grid.omega
    file[SPECTRUM] = solution.spectrum()
    file["self_energy"] = solution.self_energy()
    file["hybridization"] = problem.spectrum
    for orb, poles in enumerate(solution.greens or ()):
        file[_of_orbital(ENERGIES, orb)] = poles.energies
        file[_of_orbital(AMPLITUDES, orb)] = poles.amplitudes
    _check(f"solution of {problem.n_orb} orbitals", file, problem.n_orb, strict=True)


def _of_orbital(key: ArrayKey, orb: int) -> str:
    return key.replace("<orb>", str(orb))


def _check(where: str, file: h5py.File, n_orb: int, strict: bool = False) -> dict[str, np.ndarray]:
    """The arrays of a file, which are as `SOLUTION` says; raises StoreError if they are not."""
    arrays = {key: file[key][()] for key in SOLUTION if key in file}
    check_arrays(where, arrays, SOLUTION, {"n_orb": n_orb}, REMEDY, strict)
    for orb in range(n_orb):
        names = {key: _of_orbital(key, orb) for key in (ENERGIES, AMPLITUDES)}
        poles = {key: file[name][()] for key, name in names.items() if name in file}
        check_arrays(f"{where}: poles of orbital {orb}", poles, (*poles,), {}, REMEDY, strict)
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
        grid=FrequencyGrid(arrays[OMEGA]),
        U=float(file.attrs["U"]),
        eps_d=eps_d,
        spectrum=arrays[SPECTRUM],
        self_energy=arrays[SELF_ENERGY],
        hybridization=arrays[HYBRIDIZATION],
        summary=json.loads(file.attrs["summary"]),
    )


def _plain(values) -> float | list[float | None] | None:
    values = [float(value) if np.isfinite(value) else None for value in np.atleast_1d(values)]
    return values[0] if len(values) == 1 else values

"""Where a DMFT loop starts: the problem from parameters, and its first hybridization.

At T = 0 and intermediate U a metallic and an insulating solution are both stable, and the start
decides which one the loop finds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.dmft.files import load_solution
from dmftnet.physics.grids.curve_file import read_curve
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.lattices.protocol import Lattice


def one_orbital_problem(
    grid: FrequencyGrid,
    lattice: Lattice,
    U: float,
    eps_d: float | None = None,
    filling: float | None = None,
    hybridization: str | Path = "semicircle",
    start: str | Path = "metal",
) -> ImpurityProblem:
    """The impurity problem that a run starts from.

    Parameters
    ----------
    grid : FrequencyGrid
    lattice : Lattice
    U : float, in D
    eps_d : float, optional, in D
    filling : float, optional
        Both spins; in place of `eps_d`. Without either: half filling.
    hybridization : "semicircle" or path
        For the lattice `fixed` alone: the hybridization that stays; a file of two columns
        (energy, ``-Im Delta/pi``), or a solution.h5.
    start : "metal", "insulator" or path of a solution.h5
        For every other lattice.

    Returns
    -------
    ImpurityProblem
        With ``filling`` set where eps_d is still to be searched (a particle-hole symmetric lattice
        needs no search at half filling).
    """
    U = checks.number("problem.U", U)
    eps_d = None if eps_d is None else checks.number("problem.eps_d", eps_d)
    filling = None if filling is None else checks.number("problem.filling", filling)
    if eps_d is not None and filling is not None:
        raise InvalidProblemError(
            f"problem.eps_d = {eps_d} and problem.filling = {filling} are both given; give one"
        )
    if eps_d is None and filling is None and not lattice.particle_hole_symmetric:
        filling = 1.0
    level = -U / 2 if eps_d is None else eps_d
    if lattice.self_consistent:
        spectrum = starting_hybridization(lattice, grid, U, level, start)
    else:
        spectrum = named_hybridization(lattice, grid, hybridization)
    reach = max(abs(level), abs(level + U)) + 1.0
    if reach > np.abs(grid.omega[[0, -1]]).min():
        raise InvalidProblemError(
            f"U = {U}, eps_d = {level}: spectral weight reaches |w| = {reach:.3g}, the grid ends "
            f"at {np.abs(grid.omega[[0, -1]]).min():.3g}; raise grid.w_max"
        )
    return ImpurityProblem.on_grid(U, level, grid, spectrum, filling=filling)


def starting_hybridization(
    lattice: Lattice, grid: FrequencyGrid, U: float, eps_d: float, start: str | Path = "metal"
) -> np.ndarray:
    """First hybridization spectrum of a loop.

    Parameters
    ----------
    start : "metal", "insulator" or path
        metal: the non-interacting lattice. insulator: two semi-elliptic bands around the atomic
        levels ``eps_d`` and ``eps_d + U``, moved apart where these are closer than 1 D or on one
        side of zero, of the metal's total weight; gapped at any U. path: the hybridization of an
        earlier solution.h5.

    Returns
    -------
    (n_w,) float64, in D
    """
    checks.path("start", start, "metal, insulator or a solution.h5")
    if str(start) == "metal":
        return lattice.bare_hybridization(grid)
    if str(start) == "insulator":
        weight = 0.5 * grid.integrate(lattice.bare_hybridization(grid))
        lower, upper = max(-eps_d, 0.5), max(eps_d + U, 0.5)
        return semicircle(grid, -lower, min(1.0, 0.8 * lower), weight) + semicircle(
            grid, upper, min(1.0, 0.8 * upper), weight
        )
    return _from_solution(start, grid, "start")


def named_hybridization(lattice: Lattice, grid: FrequencyGrid, name: str | Path) -> np.ndarray:
    """(n_w,) hybridization of a `fixed` problem: "semicircle", a two-column file or solution.h5."""
    key = "problem.hybridization"
    checks.path(key, name, "semicircle, a two-column file or a solution.h5")
    if str(name) == "semicircle":
        return lattice.bare_hybridization(grid)
    if Path(name).suffix in (".h5", ".hdf5"):
        return _from_solution(name, grid, key)
    energies, values = read_curve(name, ("energies", "values"), key)
    return FrequencyGrid(energies).interpolate(values, grid.omega)


def _from_solution(path: str | Path, grid: FrequencyGrid, key: str) -> np.ndarray:
    if not Path(path).is_file():
        words = "metal, insulator" if key == "start" else "semicircle, a two-column file"
        raise InvalidProblemError(f"{key} = {path}: no such file; use {words} or a solution.h5")
    earlier = load_solution(path)
    if earlier.hybridization.shape[0] != 1:
        raise InvalidProblemError(
            f"{key} = {path}: holds {earlier.hybridization.shape[0]} orbitals, one is needed"
        )
    return earlier.grid.interpolate(earlier.hybridization[0], grid.omega)


def shifted(grid: FrequencyGrid, spectrum: np.ndarray, shift: float) -> np.ndarray:
    """Spectrum moved rigidly by `shift` (in D) to higher energy, its weight kept; (..., n_w)."""
    moved = grid.interpolate(spectrum, grid.omega - shift)
    before, after = grid.integrate(spectrum), grid.integrate(moved)
    return moved * np.where(after > 0, before / np.where(after > 0, after, 1.0), 1.0)[..., None]

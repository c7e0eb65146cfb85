"""Where a DMFT loop starts: the problem from parameters, and its first hybridization.

At T = 0 and intermediate U a metallic and an insulating solution are both stable, and the start
decides which one the loop finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.dmft.files import load_solution
from dmftnet.physics.grids.curve_file import read_curve
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization_file import holds_matsubara, read_hybridization
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.spectral_hybridization import (
    CurveHybridization,
    SpectralHybridization,
)
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.lattices.protocol import Lattice

MAX_ORBITALS = 8


def starting_problem(
    grid: FrequencyGrid,
    lattice: Lattice,
    U: float,
    eps_d: float | None = None,
    filling: float | None = None,
    hybridization: str | Path = "semicircle",
    start: str | Path = "metal",
    *,
    n_orb: int = 1,
    J: float = 0.0,
    U_prime: float | None = None,
    spin_flip: bool = True,
    pair_hopping: bool = True,
    crystal_field: Sequence[float] | None = None,
    beta: float | None = None,
    axis: ImaginaryAxis | None = None,
    site: int = 0,
) -> ImpurityProblem:
    """The impurity problem that a run starts from.

    Parameters
    ----------
    grid : FrequencyGrid
    lattice : Lattice
    U, J, U_prime, spin_flip, pair_hopping
        See `Interaction`.
    eps_d : float, optional, in D
    filling : float, optional
        Both spins, all orbitals; in place of `eps_d`. Without either: half filling.
    hybridization : "semicircle" or path
        For the lattice `fixed` alone: the hybridization that stays; see `named_bath`.
    start : "metal", "insulator", "atom" or path of a solution.h5
        For every other lattice; see `starting_bath`.
    n_orb : int
    crystal_field : (n_orb,) float, optional, in D
        What each orbital's level lies above `eps_d`.
    beta : float, optional, in 1/D
        Without: T = 0.
    axis : ImaginaryAxis, optional
        The loop then runs at its Matsubara frequencies, else on `grid`.
    site : int
        One of the lattice's inequivalent sites.

    Returns
    -------
    ImpurityProblem
        With ``filling`` set where eps_d is still to be searched (a particle-hole symmetric lattice
        needs no search at half filling).
    """
    n_orb = checks.integer("problem.n_orb", n_orb, at_least=1, at_most=MAX_ORBITALS)
    interaction = Interaction(checks.number("problem.U", U), J, U_prime, spin_flip, pair_hopping)
    eps_d = None if eps_d is None else checks.number("problem.eps_d", eps_d)
    filling = None if filling is None else checks.number("problem.filling", filling)
    beta = np.inf if beta is None else checks.number("problem.beta", beta, above=0)
    field = _crystal_field(crystal_field, n_orb)
    if eps_d is not None and filling is not None:
        raise InvalidProblemError(
            f"problem.eps_d = {eps_d} and problem.filling = {filling} are both given; give one"
        )
    if eps_d is None and filling is None:
        if not lattice.particle_hole_symmetric or field.any():
            filling = float(n_orb)
    half = interaction.half_filling(n_orb)
    level = half if eps_d is None else eps_d
    # half the distance of the Hubbard bands, and where they stand
    gap = interaction.U + (n_orb - 1) * interaction.J
    lower = level - half - gap / 2
    reach = max(abs(lower + f) + abs(field).max() for f in (0.0, gap)) + 1.0
    if reach > np.abs(grid.omega[[0, -1]]).min():
        raise InvalidProblemError(
            f"U = {U}, eps_d = {level}: spectral weight reaches |w| = {reach:.3g}, the grid ends "
            f"at {np.abs(grid.omega[[0, -1]]).min():.3g}; raise grid.w_max"
        )
    if lattice.self_consistent:
        bath = starting_bath(lattice, grid, gap, lower, start, n_orb, axis, site)
    else:
        bath = named_bath(lattice, grid, hybridization, n_orb, axis)
    one_body = np.diag(level + field) + lattice.local_levels(site)
    if np.any(one_body != np.diag(np.diag(one_body))):
        bath = bath.with_matrix()  # orbitals that mix will have a matrix after one iteration
    return ImpurityProblem(one_body, interaction, bath, beta, filling)


def _crystal_field(field: Sequence[float] | None, n_orb: int) -> np.ndarray:
    if field is None:
        return np.zeros(n_orb)
    values = np.array(checks.numbers("problem.crystal_field", field))
    if values.size != n_orb:
        raise InvalidProblemError(
            f"problem.crystal_field = {checks.shown(values)}: give one level an orbital, {n_orb}"
        )
    return values


def starting_bath(
    lattice: Lattice,
    grid: FrequencyGrid,
    gap: float,
    lower: float,
    start: str | Path,
    n_orb: int = 1,
    axis: ImaginaryAxis | None = None,
    site: int = 0,
) -> CurveHybridization:
    """First hybridization of a loop, the same for all orbitals; see `starting_hybridization`.

    Parameters
    ----------
    gap, lower : float, in D
        Distance of the Hubbard bands of an insulator, and the energy of the lower one.
    start : "metal", "insulator", "atom" or path of a solution.h5
        atom: no hybridization, on the imaginary axis alone, where the next one is still a smooth
        function.
    axis : ImaginaryAxis, optional
        Where it is wanted; on `grid` without.
    """
    if str(start) == "atom":
        if axis is None:
            raise InvalidProblemError(
                "start = atom: poles of the bare atom are no curve on the real axis; set "
                "axis=imaginary, or start from insulator"
            )
        return MatsubaraHybridization(axis, np.zeros((n_orb, axis.omega_n.size)))
    if str(start) in ("metal", "insulator"):
        curve = starting_hybridization(lattice, grid, gap, lower, str(start), site)
        return _on(axis, _spectral(grid, curve, n_orb))
    return _from_solution(start, grid, "start", n_orb, axis)


def starting_hybridization(
    lattice: Lattice,
    grid: FrequencyGrid,
    U: float,
    eps_d: float,
    start: str = "metal",
    site: int = 0,
) -> np.ndarray:
    """First hybridization spectrum of a loop with one orbital.

    Parameters
    ----------
    start : "metal" or "insulator"
        metal: the non-interacting lattice. insulator: two semi-elliptic bands around the atomic
        levels ``eps_d`` and ``eps_d + U``, moved apart where these are closer than 1 D or on one
        side of zero, of the metal's total weight; gapped at any U.

    Returns
    -------
    (n_w,) float64, in D
    """
    checks.choice("start", str(start), ("metal", "insulator"))
    bare = lattice.bare_hybridization(grid, site)
    if str(start) == "metal":
        return bare
    weight = 0.5 * float(grid.integrate(bare))
    lower, upper = max(-eps_d, 0.5), max(eps_d + U, 0.5)
    return semicircle(grid, -lower, min(1.0, 0.8 * lower), weight) + semicircle(
        grid, upper, min(1.0, 0.8 * upper), weight
    )


def named_bath(
    lattice: Lattice,
    grid: FrequencyGrid,
    name: str | Path,
    n_orb: int = 1,
    axis: ImaginaryAxis | None = None,
) -> CurveHybridization:
    """Hybridization of a `fixed` problem: "semicircle", or that of a file.

    Parameters
    ----------
    name : "semicircle" or path
        A solution.h5, a two-column file of ``-Im Delta / pi``, or values at Matsubara frequencies
        (`dmftnet.physics.impurity.hybridization_file`), which need an axis.
    """
    key = "problem.hybridization"
    path = checks.path(key, name, "semicircle, a file of columns or a solution.h5")
    if str(name) == "semicircle":
        return _on(axis, _spectral(grid, lattice.bare_hybridization(grid), n_orb))
    if not path.is_file():
        raise InvalidProblemError(
            f"{key} = {path}: no such file; use semicircle, a file of columns or a solution.h5"
        )
    if holds_matsubara(path):
        if axis is None:
            raise InvalidProblemError(
                f"{key} = {path}: holds Delta at Matsubara frequencies; set axis=imaginary and "
                "problem.beta"
            )
        return read_hybridization(path, axis, n_orb)
    if path.suffix in (".h5", ".hdf5"):
        bath = _from_solution(path, grid, key, 1, axis)
        if isinstance(bath, MatsubaraHybridization):
            return MatsubaraHybridization(bath.axis, np.tile(bath.values, (n_orb, 1)))
        return _spectral(grid, bath.spectrum[0], n_orb)
    energies, values = read_curve(path, ("energies", "values"), key)
    curve = FrequencyGrid(energies).interpolate(values, grid.omega)
    return _on(axis, _spectral(grid, curve, n_orb))


def _from_solution(
    path: str | Path, grid: FrequencyGrid, key: str, n_orb: int, axis: ImaginaryAxis | None
) -> CurveHybridization:
    earlier = _earlier(path, key, n_orb)
    if axis is None or isinstance(earlier, SpectralHybridization):
        return _on(axis, _on_grid(earlier, grid, f"{key} = {path}"))
    if earlier.axis == axis:
        return earlier
    return MatsubaraHybridization(axis, earlier.at(1j * axis.omega_n))


def _earlier(path: str | Path, key: str, n_orb: int) -> CurveHybridization:
    """That of a solution file, which must have the orbitals."""
    checks.path(key, path, "metal, insulator, atom or a solution.h5")
    if not Path(path).is_file():
        raise InvalidProblemError(
            f"{key} = {path}: no such file; use metal, insulator, atom or a solution.h5"
        )
    earlier = load_solution(path).bath
    if earlier.n_orb != n_orb:
        needed = "one is" if n_orb == 1 else f"{n_orb} are"
        raise InvalidProblemError(
            f"{key} = {path}: holds {earlier.n_orb} orbitals, {needed} needed"
        )
    return earlier


def _on_grid(earlier: CurveHybridization, grid: FrequencyGrid, where: str) -> SpectralHybridization:
    if not isinstance(earlier, SpectralHybridization):
        raise InvalidProblemError(
            f"{where}: a solution on the imaginary axis does not start a loop on the real axis; "
            "use metal or insulator, or axis=imaginary"
        )
    return SpectralHybridization(grid, earlier.grid.interpolate(earlier.spectrum, grid.omega))


def _spectral(grid: FrequencyGrid, curve: np.ndarray, n_orb: int) -> SpectralHybridization:
    return SpectralHybridization(grid, np.tile(curve, (n_orb, 1)))


def _on(axis: ImaginaryAxis | None, bath: SpectralHybridization) -> CurveHybridization:
    return bath if axis is None else bath.at_axis(axis)


def shifted(grid: FrequencyGrid, spectrum: np.ndarray, shift: float) -> np.ndarray:
    """Spectrum moved rigidly by `shift` (in D) to higher energy, its weight kept; (..., n_w)."""
    moved = grid.interpolate(spectrum, grid.omega - shift)
    before, after = grid.integrate(spectrum), grid.integrate(moved)
    return moved * np.where(after > 0, before / np.where(after > 0, after, 1.0), 1.0)[..., None]

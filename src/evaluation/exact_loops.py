"""The exact solver's converged loops as a network sees them: on its grid, at its resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from dmftnet.data.exact_loops import REMEDY, References, ReferenceStore, lattice_named
from dmftnet.data.labels import network_spectrum
from dmftnet.errors import StoreError
from dmftnet.physics.analysis.phases import phase_of
from dmftnet.physics.analysis.quasiparticle import quasiparticle_weight
from dmftnet.physics.analysis.self_energy import dyson_self_energy
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem

COMMON = (0.006, 0.06)
"""Resolution (eta, slope), in D, at which networks of several resolutions are compared: that of the
coarsest, which put out spectra."""


@dataclass(frozen=True, eq=False)
class Reference:
    """One exact converged solution, as a network sees it.

    Parameters
    ----------
    grid : FrequencyGrid
        The network's.
    kind : {"point", "path", "filling"}
    lattice : str
        A name of `dmftnet.data.exact_loops.LATTICES`.
    U, eps_d : float, in D
    start : "metal" or "insulator"
    filling, double_occupancy, Z, Z_error, A0 : float
        Exact, from the fine grid; Z is zero where there is a gap.
    target : float
        Filling that was searched for, or NaN.
    branch : {"metal", "insulator", "neither"}
    hybridization, spectrum : (n_w,) float64, in D and 1/D
        At the network's resolution.
    common : (n_w,) float64, in 1/D
        The spectrum at `COMMON`.
    resolution : (eta, slope), in D
    fine_grid : FrequencyGrid
        The exact solver's.
    self_energy : (n_fine,) complex128, in D
        On the fine grid, where an insulator's pole at zero frequency can be seen.
    """

    grid: FrequencyGrid
    kind: str
    lattice: str
    U: float
    eps_d: float
    start: str
    filling: float
    double_occupancy: float
    Z: float
    Z_error: float
    A0: float
    target: float
    branch: str
    hybridization: np.ndarray = field(repr=False)
    spectrum: np.ndarray = field(repr=False)
    common: np.ndarray = field(repr=False)
    fine_grid: FrequencyGrid = field(repr=False)
    self_energy: np.ndarray = field(repr=False)
    resolution: tuple[float, float]

    @property
    def half_filled(self) -> bool:
        return abs(self.eps_d + self.U / 2) < 1e-9

    @property
    def shift(self) -> float:
        """``eps_d + U/2``, in D."""
        return self.eps_d + self.U / 2

    @cached_property
    def resolved(self) -> tuple[float, float]:
        """The exact answer at the network's grid and resolution.

        Returns
        -------
        Z : float
            From the exact spectrum as a perfect network would give it, by Dyson's equation.
        clipped : float
            Share of Im Sigma that this makes positive, see `dyson_self_energy`.
        """
        problem = ImpurityProblem.on_grid(self.U, self.eps_d, self.grid, self.hybridization)
        spectrum = self.spectrum / self.grid.integrate(self.spectrum)
        sigma, clipped = dyson_self_energy(problem, spectrum[None])
        return quasiparticle_weight(problem, spectrum[None], sigma, smeared=True).value, clipped


def load_references(
    path: str | Path,
    grid: FrequencyGrid,
    resolution: tuple[float, float],
    kinds: Sequence[str] = ("point",),
    lattices: Sequence[str] | None = ("bethe",),
    only_converged: bool = True,
) -> list[Reference]:
    """References from a file.

    Parameters
    ----------
    grid, resolution
        The network's grid and the Gaussian resolution of its data.
    kinds : sequence of str
        See `dmftnet.data.exact_loops.KINDS`.
    lattices : sequence of str or None
        None: every lattice.
    only_converged : bool
        Leave out loops that the exact solver did not converge, or that ended as neither metal nor
        insulator: there is no truth to compare with.

    Raises
    ------
    StoreError
        If the file cannot be used, or holds no converged loop at all.
    """
    store = ReferenceStore.open(path)
    if not store["converged"].any():
        raise StoreError(
            f"file {path} holds no converged loop; raise sampling.loop.max_iterations and {REMEDY}"
        )
    every = store.on(grid, tuple(resolution))
    common = every.spectrum
    if tuple(resolution) != COMMON:
        common = network_spectrum(store.grid, grid, COMMON, store.normalized_spectrum)
    references = []
    for i in range(len(every)):
        if only_converged and not every.converged[i]:
            continue
        if every.kind[i] in kinds and (lattices is None or every.lattice[i] in lattices):
            reference = _reference(store, every, common, i, tuple(resolution))
            if reference.branch != "neither" or not only_converged:
                references.append(reference)
    return references


def _reference(
    store: ReferenceStore,
    every: References,
    common: np.ndarray,
    i: int,
    resolution: tuple[float, float],
) -> Reference:
    lattice = lattice_named(every.lattice[i])
    names = ("U", "eps_d", "filling", "double_occupancy", "Z", "Z_error", "A0", "target")
    return Reference(
        grid=every.grid,
        kind=every.kind[i],
        lattice=every.lattice[i],
        start=every.start[i],
        branch=phase_of(
            store.grid, np.float64(store["spectrum"][i]), lattice, float(every.filling[i])
        ),
        hybridization=every.hybridization[i],
        spectrum=every.spectrum[i],
        common=common[i],
        fine_grid=store.grid,
        self_energy=np.complex128(store["self_energy"][i]),
        resolution=resolution,
        **{name: float(getattr(every, name)[i]) for name in names},
    )

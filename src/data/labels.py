"""Labels of the training data: from stored poles to spectra at any complex-time angle.

For each sample

1. the input: the continuous hybridization at one Gaussian resolution ``S``, width
   ``eta + slope |w|``, its weight kept. In a DMFT loop on the network's grid it is such a curve,
   and a dataset can be made of such (`dmftnet.physics.analysis.resolution`);
2. the self-energy by the symmetric improved estimator from the Gaussian-broadened poles, on the
   store's fine grid;
3. ``A(w) = -Im 1/(w - eps_d - S Delta - Sigma) / pi``, divided by its norm (off by less than 2 %,
   or the solve is not in the store): no comb of the discrete bath;
4. ``S`` on the real axis, and after it the exact rotation ``K_alpha`` and ``dK_alpha/dalpha`` for
   each angle.

The label is thus the answer to the hybridization that the network sees. With the unsmoothed one in
step 3 it would depend on what ``S`` has removed: early iterations of a doped loop have combs of
bound states far below the resolution, and no function of the input could reproduce such labels
better than to a KL of 1e-3 to 1e-2. At self-consistency both agree to a KL below 1e-4.

With ``smoothed="self_energy"`` it is the self-energy that carries the resolution, for networks that
put it out (`dmftnet.models.networks.self_energy_head`): ``-Im Sigma / pi`` of step 2 with the
weight of all its poles (`dmftnet.physics.analysis.self_energy_density`) and its exact integral
``U^2 n (1 - n)`` is smoothed, Re Sigma follows by Kramers-Kronig, and A of step 3 is what the
rotations act on; on the real axis ``S A`` is kept, for scores. All is in units of the sample's own
bath (`dmftnet.data.own_units`). A sample whose sum rule is off by more than `WRONG_SUM`, or whose A
does not have the exact filling within `WRONG_FILLING`, has a bath too coarse for its levels near
the Fermi energy, and one may reach beyond the grid: no label, and `consistent` is 0.

Since smoothing precedes rotation, the data at all angles, and on the real axis, are images of one
curve under known linear maps, as the rotated head requires. ``S`` and the rotations are matrices,
made once for all samples.

Cost: about 30 ms per sample and core for step 2 (threads are used), a few matrix products for the
rest. The result is cached next to the dataset, by the hash of the file, of the code and of all
settings.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from dmftnet.arrays import ArrayKey
from dmftnet.data.keys import LABELS
from dmftnet.data.own_units import OwnUnits
from dmftnet.data.store import SpectralStore
from dmftnet.errors import StoreError
from dmftnet.physics.analysis.observables import filling_from_spectrum
from dmftnet.physics.analysis.resolution import at_resolution, scaled_to
from dmftnet.physics.analysis.self_energy import dyson_spectrum
from dmftnet.physics.analysis.self_energy_density import self_energy_density
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import rotation_kernel, rotation_kernel_derivative
from dmftnet.provenance import sha256, sha256_of_all

Samples = SpectralStore | OwnUnits

SMOOTHED = ("spectrum", "self_energy")
"""What carries the resolution, and what a network of such data puts out."""

WRONG_SUM, WRONG_FILLING = 0.05, 0.01
"""Largest errors of a label of Sigma: relative, of the integral of -Im Sigma; of the filling."""

BARE = 1 / 3
"""Constant part of the resolution of `SpectralArrays.bare`, in smallest frequencies of the
network's grid: finer structure falls between its points."""


def source_files() -> list[Path]:
    """The code that makes labels: this module, the store, and all physics but solvers."""
    here = Path(__file__).resolve()
    physics = here.parents[1] / "physics"
    own = (path for path in physics.rglob("*.py") if path.parts[len(physics.parts)] != "solvers")
    return [here, *map(here.with_name, ("store.py", "own_units.py")), *sorted(own)]


@cache
def sources() -> str:
    """Hash of `source_files`; part of the cache's key, so that any change makes new labels."""
    return sha256_of_all(source_files())


@dataclass(frozen=True, eq=False)
class SpectralArrays:
    """Inputs and labels of n samples on the network's grid, as of `dmftnet.data.keys.Batch`.

    `bare` is without the constant part of the resolution, see `BARE`; `rotated` and `derivative`
    are labels at the finite angles.
    """

    hybridization: np.ndarray
    params: np.ndarray
    spectrum: np.ndarray
    bare: np.ndarray
    rotated: np.ndarray
    derivative: np.ndarray
    filling: np.ndarray
    trajectory: np.ndarray
    iteration: np.ndarray
    self_energy: np.ndarray | None = None
    consistent: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.params)

    def take(self, samples: np.ndarray) -> SpectralArrays:
        """The given samples, in the given order."""
        return replace(self, **{name: values[samples] for name, values in self.known().items()})

    def known(self) -> dict[str, np.ndarray]:
        """The arrays by name, less those of the self-energy where it is no label."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: array for name, array in values.items() if array is not None}

    def particle_hole(self) -> SpectralArrays:
        """Mirrored samples: ``w -> -w, eps_d -> -U - eps_d, n -> 2 - n``; needs an even grid."""
        U, eps_d = self.params.T
        return replace(
            self,
            hybridization=self.hybridization[..., ::-1],
            params=np.stack([U, -U - eps_d], axis=1),
            spectrum=self.spectrum[..., ::-1],
            bare=self.bare[..., ::-1],
            rotated=self.rotated[..., ::-1],
            derivative=self.derivative[..., ::-1],
            filling=2 - self.filling,
            self_energy=None if self.self_energy is None else self.self_energy[..., ::-1],
        )


def network_spectrum(
    fine: FrequencyGrid, target: FrequencyGrid, resolution: tuple[float, float], curve: np.ndarray
) -> np.ndarray:
    """Curves on the network's grid at the data's resolution, norm kept.

    Parameters
    ----------
    resolution : (eta, slope)
        Gaussian width ``eta + slope |w|``, in D.
    curve : (..., n_fine) float64

    Returns
    -------
    (..., n_target) float64
    """
    eta, slope = resolution
    return _read_off(fine, target, at_resolution(fine, curve, (eta, slope)))


def _read_off(fine: FrequencyGrid, target: FrequencyGrid, smooth: np.ndarray) -> np.ndarray:
    """Smooth curves at the network's points, which should be closer than 1.5 widths.

    Divided by what that costs in norm: below 1 %.
    """
    return scaled_to(target, fine.interpolate(smooth, target.omega), fine.integrate(smooth))


def _inputs(store: Samples, resolution: tuple[float, float], smoothed: str) -> np.ndarray:
    """(n, n_fine) float64 hybridizations of all samples at the resolution.

    Where Sigma carries it, a file of a broader one is taken as it is: Dyson's equation has the
    hybridization as given.
    """
    raw = store["hybridization"].astype(np.float64)
    if store.resolution is None:
        return at_resolution(store.grid, raw, resolution)
    broader = all(own >= asked for own, asked in zip(store.resolution, resolution, strict=True))
    if store.resolution != resolution and not (smoothed == "self_energy" and broader):
        raise StoreError(
            f"file {store.path} was made at resolution {list(store.resolution)}, and "
            f"dataset.resolution = {list(resolution)} asks for another; use the file's"
        )
    return raw


def fine_spectra(store: Samples, hybridizations: np.ndarray) -> np.ndarray:
    """(n, n_fine) float64 real-axis spectra of norm 1: steps 2 and 3 of the module.

    Parameters
    ----------
    hybridizations : (n, n_fine) float64, in D
        What enters Dyson's equation.
    """

    def one(sample: int) -> np.ndarray:
        solution = store.solution(sample)
        problem = solution.problem.replace(spectrum=hybridizations[sample])
        return dyson_spectrum(problem, solution.self_energy())[0]

    return _normalised(store, one)


def fine_self_energies(
    store: Samples, hybridizations: np.ndarray, resolution: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``-Im Sigma / pi`` at a resolution, the spectra that follow, and which of them are labels.

    Parameters
    ----------
    hybridizations : see `fine_spectra`

    Returns
    -------
    densities, spectra : (n, n_fine) float64, in D and 1/D
    consistent : (n,) bool
    """
    grid, U, n = store.grid, store["U"], store["filling"] / 2
    raw = np.stack(
        _each(
            store,
            lambda i: self_energy_density(
                grid, store.poles(i), *map(float, store["broadening"][i])
            ),
        )
    )
    exact, found = U**2 * n * (1 - n), grid.integrate(raw)
    densities = scaled_to(grid, at_resolution(grid, raw, resolution), exact)

    def one(sample: int) -> np.ndarray:
        problem = store.problem(sample).replace(spectrum=hybridizations[sample])
        density = densities[sample]
        sigma = U[sample] * n[sample] + grid.greens_function(density)
        return dyson_spectrum(problem, sigma[None])[0]

    spectra = _normalised(store, one)
    fillings = np.array([filling_from_spectrum(grid, A) for A in spectra])
    consistent = np.abs(found - exact) <= WRONG_SUM * exact
    return densities, spectra, consistent & (np.abs(fillings - 2 * n) <= WRONG_FILLING)


def _each(store: Samples, one: Callable[[int], np.ndarray]) -> list[np.ndarray]:
    """A function of all samples, in threads."""
    store.grid.hilbert  # noqa: B018 - cached once, before the threads ask for it
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(one, range(len(store))))


def _normalised(store: Samples, one: Callable[[int], np.ndarray]) -> np.ndarray:
    """(n, n_fine) curves of all samples over their norms."""
    spectra = np.stack(_each(store, one))
    return spectra / store.grid.integrate(spectra)[:, None]


def make_labels(
    store: SpectralStore,
    grid: FrequencyGrid,
    angles: tuple[float, ...],
    resolution: tuple[float, float],
    smoothed: str = "spectrum",
) -> SpectralArrays:
    """Inputs and labels of the whole dataset.

    Parameters
    ----------
    grid : FrequencyGrid
        The network's.
    angles : tuple of float, in radians
        In (0, pi/2).
    resolution : (eta, slope)
        See `network_spectrum`.
    smoothed : {"spectrum", "self_energy"}
        What carries it.
    """
    fine, (eta, slope) = store.grid, resolution
    resolution = (eta, slope)  # a list in a config
    f4 = np.float32
    more: dict[str, np.ndarray] = {}
    samples: Samples = store
    if smoothed == "self_energy":
        samples = own = OwnUnits(store)
        hybridizations = _inputs(own, resolution, smoothed)
        densities, spectra, consistent = fine_self_energies(own, hybridizations, resolution)
        more = {
            "self_energy": (
                grid.shared(fine.omega, fine.weights * densities) / grid.weights
            ).astype(f4),
            "consistent": (consistent & own.inside(float(grid.omega[-1]))).astype(f4),
        }
    else:
        hybridizations = _inputs(store, resolution, smoothed)
        spectra = fine_spectra(store, hybridizations)
    smooth = at_resolution(fine, spectra, resolution)
    bare = at_resolution(fine, spectra, (BARE * float(np.abs(grid.omega).min()), resolution[1]))
    rotated_from = spectra if more else smooth
    rotated = [rotated_from @ rotation_kernel(fine, a, grid).T for a in angles]
    derivative = [rotated_from @ rotation_kernel_derivative(fine, a, grid).T for a in angles]
    return SpectralArrays(
        hybridization=_read_off(fine, grid, hybridizations).astype(f4),
        params=np.stack([samples["U"], samples["eps_d"]], axis=1).astype(f4),
        spectrum=_read_off(fine, grid, smooth).astype(f4),
        bare=_read_off(fine, grid, bare).astype(f4),
        rotated=np.stack(rotated, axis=1).astype(f4),
        derivative=np.stack(derivative, axis=1).astype(f4),
        filling=store["filling"].astype(f4),
        trajectory=store["trajectory"].astype(np.int64),
        iteration=store["iteration"].astype(np.int64),
        **more,
    )


def cached_labels(
    store: SpectralStore,
    grid: FrequencyGrid,
    angles: tuple[float, ...],
    resolution: tuple[float, float],
    smoothed: str = "spectrum",
) -> SpectralArrays:
    """`make_labels`, or its earlier result from ``.labels/`` next to the dataset."""
    inputs = [sources(), sha256(store.path), grid.omega.tolist(), angles, resolution, smoothed]
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    folder = Path(store.path).parent / ".labels"
    file = folder / f"{Path(store.path).stem}-{key}.safetensors"
    wanted = [key for key in LABELS if smoothed == "self_energy" or not key.optional]
    found = _from_cache(file, wanted, {"B": len(store), "n_w": grid.n_w, "n_angle": len(angles)})
    if found is not None:
        return found
    arrays = make_labels(store, grid, angles, resolution, smoothed)
    values = {name: np.ascontiguousarray(array) for name, array in arrays.known().items()}
    temporary = file.with_suffix(f".{os.getpid()}.part")
    try:
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
        save_file(values, temporary)
        os.replace(temporary, file)
    except (OSError, SafetensorError):  # a folder that only others may write, or a full disk
        with suppress(OSError):
            temporary.unlink()
    return arrays


def _from_cache(
    file: Path, wanted: Sequence[ArrayKey], sizes: dict[str, int]
) -> SpectralArrays | None:
    """What the cache holds; None where it holds nothing, or what cannot be the labels."""
    try:
        arrays = load_file(file)
    except Exception:  # of a damaged file safetensors raises almost anything
        return None
    if arrays.keys() != set(wanted):
        return None
    if any(key.objection(arrays[key], sizes, strict=True) for key in wanted):
        return None
    return SpectralArrays(**arrays)

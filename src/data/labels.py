"""Labels of the training data: from stored poles to spectra at any complex-time angle.

For each sample

1. the self-energy by the symmetric improved estimator from the Gaussian-broadened poles, on the
   store's fine grid;
2. ``A(w) = -Im 1/(w - eps_d - Delta - Sigma) / pi`` with the *continuous* hybridization, divided by
   its norm (off by less than 2 %, or the solve is not in the store): no comb of the discrete bath;
3. one Gaussian resolution ``eta + slope |w|`` on the real axis;
4. after it the exact rotation ``K_alpha`` and ``dK_alpha/dalpha`` for each angle.

Smoothing first and rotating after makes the data at every angle, on the real axis too, images of
one curve under known linear maps, which a network with a rotated head uses. The input
hybridization gets the same resolution, because in a DMFT loop on the network's grid it is such a
spectrum. Step 3 and 4 are matrices, made once for all samples.

Cost: step 1 some 30 ms a sample and core (threads are used), the rest a few matrix products. The
result is cached beside the dataset, by the hash of the file and of everything that enters.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from dmftnet.data.store import SpectralStore
from dmftnet.physics.contour import rotation_kernel, rotation_kernel_derivative, smoothing_kernel
from dmftnet.physics.grid import FrequencyGrid
from dmftnet.provenance import sha256

LABEL_VERSION = 2
"""Part of the cache's key: to be raised whenever this module computes something else."""


@dataclass(frozen=True, eq=False)
class SpectralArrays:
    """Inputs and labels of n samples on the network's grid, float32.

    Parameters
    ----------
    hybridization : (n, n_w)
        ``-Im Delta / pi`` at the data's resolution, in D.
    params : (n, 2)
        U and eps_d, in D.
    spectrum : (n, n_w)
        A(w, 0), for validation and test only, in 1/D.
    rotated : (n, n_angle, n_w)
        A(w, alpha), in 1/D.
    derivative : (n, n_angle, n_w)
        dA(w, alpha)/dalpha, in 1/D.
    filling : (n,)
        Exact, both spins.
    trajectory, iteration : (n,) int64
    """

    hybridization: np.ndarray
    params: np.ndarray
    spectrum: np.ndarray
    rotated: np.ndarray
    derivative: np.ndarray
    filling: np.ndarray
    trajectory: np.ndarray
    iteration: np.ndarray

    def __len__(self) -> int:
        return len(self.params)

    def take(self, samples: np.ndarray) -> SpectralArrays:
        """The given samples, in the given order."""
        return replace(self, **{f.name: getattr(self, f.name)[samples] for f in fields(self)})

    def particle_hole(self) -> SpectralArrays:
        """Mirrored samples: ``w -> -w, eps_d -> -U - eps_d, n -> 2 - n``; needs an even grid."""
        U, eps_d = self.params.T
        return replace(
            self,
            hybridization=self.hybridization[..., ::-1],
            params=np.stack([U, -U - eps_d], axis=1),
            spectrum=self.spectrum[..., ::-1],
            rotated=self.rotated[..., ::-1],
            derivative=self.derivative[..., ::-1],
            filling=2 - self.filling,
        )


def network_spectrum(
    fine: FrequencyGrid, target: FrequencyGrid, resolution: tuple[float, float], curve: np.ndarray
) -> np.ndarray:
    """Curves on the network's grid at the data's resolution, norm kept.

    Smoothed on their own grid, read off at the network's points (which should be closer than 1.5
    widths), divided by what that costs in norm: below 1 %.

    Parameters
    ----------
    resolution : (eta, slope)
        Gaussian width ``eta + slope |w|``, in D.
    curve : (..., n_fine) float64

    Returns
    -------
    (..., n_target) float64
    """
    smooth = fine.interpolate(curve @ _smoothing(fine, tuple(resolution)).T, target.omega)
    norm = target.integrate(smooth)
    kept = np.divide(fine.integrate(curve), norm, out=np.ones_like(norm), where=norm > 0)
    return smooth * kept[..., None]


@lru_cache(maxsize=4)
def _smoothing(fine: FrequencyGrid, resolution: tuple[float, float]) -> np.ndarray:
    """(n_fine, n_fine) `smoothing_kernel`, made once a grid."""
    return smoothing_kernel(fine, *resolution)


def fine_spectra(store: SpectralStore) -> np.ndarray:
    """(n, n_fine) float64 real-axis spectra of all samples before any smoothing, of norm 1."""
    store.grid.hilbert  # noqa: B018 - cached once, before the threads ask for it

    def one(sample: int) -> np.ndarray:
        return store.solution(sample).spectrum()[0]

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        spectra = np.stack(list(threads.map(one, range(len(store)))))
    return spectra / store.grid.integrate(spectra)[:, None]


def make_labels(
    store: SpectralStore,
    grid: FrequencyGrid,
    angles: tuple[float, ...],
    resolution: tuple[float, float],
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
    """
    fine = store.grid
    spectra = fine_spectra(store)
    smooth = spectra @ _smoothing(fine, tuple(resolution)).T
    rotated = [smooth @ rotation_kernel(fine, a, grid).T for a in angles]
    derivative = [smooth @ rotation_kernel_derivative(fine, a, grid).T for a in angles]
    f4 = np.float32
    return SpectralArrays(
        hybridization=network_spectrum(fine, grid, resolution, store["hybridization"]).astype(f4),
        params=np.stack([store["U"], store["eps_d"]], axis=1).astype(f4),
        spectrum=network_spectrum(fine, grid, resolution, spectra).astype(f4),
        rotated=np.stack(rotated, axis=1).astype(f4),
        derivative=np.stack(derivative, axis=1).astype(f4),
        filling=store["filling"].astype(f4),
        trajectory=store["trajectory"].astype(np.int64),
        iteration=store["iteration"].astype(np.int64),
    )


def cached_labels(
    store: SpectralStore,
    grid: FrequencyGrid,
    angles: tuple[float, ...],
    resolution: tuple[float, float],
) -> SpectralArrays:
    """`make_labels`, or what it gave before, from ``.labels/`` beside the dataset."""
    inputs = [LABEL_VERSION, sha256(store.path), grid.omega.tolist(), angles, resolution]
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    folder = Path(store.path).parent / ".labels"
    file = folder / f"{Path(store.path).stem}-{key}.safetensors"
    if file.is_file():
        return SpectralArrays(**load_file(file))
    arrays = make_labels(store, grid, angles, resolution)
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    temporary = file.with_suffix(f".{os.getpid()}.part")
    save_file(
        {f.name: np.ascontiguousarray(getattr(arrays, f.name)) for f in fields(arrays)}, temporary
    )
    os.replace(temporary, file)
    return arrays

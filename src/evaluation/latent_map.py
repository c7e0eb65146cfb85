"""Latent map: a network's representation of its inputs, in two dimensions.

The latent vectors go through PCA (at most 50 components) and UMAP (2); the map is coloured by the
exact A(0), which distinguishes metal from insulator, and by the exact filling. A cross-validated
5-nearest-neighbour regression of their ranks measures how well the map orders them.

Cost: about 5 s of UMAP for 600 samples, and 10 s once for its compilation; hence by default only at
the end of training.

Reference: L. McInnes, J. Healy, J. Melville, arXiv:1802.03426 (UMAP).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from dmftnet.data.labels import SpectralArrays
from dmftnet.errors import DmftnetError
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.training.scoring import evaluating
from dmftnet.report.html import Table

MIN_SAMPLES = 12  # below this neither UMAP's neighbourhood graph nor the regression means anything


@dataclass(frozen=True, eq=False)
class LatentMap:
    """A two-dimensional map of samples.

    Parameters
    ----------
    embedding : (n, 2) float64
    A0 : (n,) float64, in 1/D
    filling : (n,) float64
    U : (n,) float64, in D
    explained : float
        Share of the latent variance in the first two principal components.
    """

    embedding: np.ndarray
    A0: np.ndarray
    filling: np.ndarray
    U: np.ndarray
    explained: float

    def scalars(self) -> dict[str, float]:
        """How well position in the map predicts A(0) and filling (R^2), and the PCA share."""
        return {
            "r2_A0": _neighbour_r2(self.embedding, self.A0),
            "r2_filling": _neighbour_r2(self.embedding, self.filling),
            "variance_in_two_components": self.explained,
        }

    def table(self) -> Table:
        """One row a sample."""
        columns = (*self.embedding.T, self.U, self.filling, self.A0)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return Table(("umap_1", "umap_2", "U", "filling", "A0"), list(rows))


def latent_map(
    latent: np.ndarray, A0: np.ndarray, filling: np.ndarray, U: np.ndarray, seed: int = 0
) -> LatentMap:
    """PCA, then UMAP, of (n, d) latent vectors.

    Raises
    ------
    DmftnetError
        With fewer than 12 samples.
    """
    from umap import UMAP  # compiles for seconds on import; only where a map is drawn

    require_samples(len(latent))
    pca = PCA(n_components=min(50, *latent.shape), random_state=seed)
    components = pca.fit_transform(latent)
    neighbours = min(15, len(latent) - 1)
    # n_jobs = 1: a seeded map is computed serially, and UMAP warns where it must say so itself
    umap = UMAP(n_components=2, n_neighbors=neighbours, random_state=seed, n_jobs=1)
    explained = float(pca.explained_variance_ratio_[:2].sum())
    embedding = np.asarray(umap.fit_transform(components), dtype=np.float64)
    return LatentMap(embedding, np.asarray(A0), np.asarray(filling), np.asarray(U), explained)


def require_samples(n: int) -> None:
    """Raise if there are too few samples for a map."""
    if n < MIN_SAMPLES:
        raise DmftnetError(
            f"a latent map of {n} samples: at least {MIN_SAMPLES} are needed; "
            "use a larger dataset, or train with callbacks=none"
        )


def map_of_model(
    model: SpectralModel, parts: Sequence[SpectralArrays], seed: int = 0, max_samples: int = 1000
) -> LatentMap:
    """The map of a model's latent vectors over several splits, at most `max_samples` of them."""
    names = ("hybridization", "params", "spectrum", "filling")
    data = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    n = len(data["params"])
    if n > max_samples:
        chosen = np.sort(np.random.default_rng(seed).permutation(n)[:max_samples])
        data = {name: values[chosen] for name, values in data.items()}
    A0 = model.frequency_grid.at_zero(np.float64(data["spectrum"]))
    U, filling = np.float64(data["params"][:, 0]), np.float64(data["filling"])
    latent = latent_vectors(model, data["hybridization"], data["params"])
    return latent_map(latent, A0, filling, U, seed)


def latent_vectors(model: SpectralModel, hybridization, params, batch: int = 256) -> np.ndarray:
    """(n, d) float64 latent vectors of (n, n_w) hybridizations and (n, 2) ``[U, eps_d]``."""
    device = model.weights.device
    inputs = [torch.as_tensor(x, dtype=torch.float32).split(batch) for x in (hybridization, params)]
    with evaluating(model):
        parts = [
            model.latent(h.to(device), p.to(device)).cpu() for h, p in zip(*inputs, strict=True)
        ]
    return torch.cat(parts).double().numpy()


def _neighbour_r2(embedding: np.ndarray, values: np.ndarray) -> float:
    """Cross-validated R^2 of a 5-nearest-neighbour regression; 1 if all values are equal.

    Of ranks, since a few first iterations have an A(0) far above all others.
    """
    if np.ptp(values) == 0:
        return 1.0
    values = rankdata(values)
    folds = KFold(5, shuffle=True, random_state=0)
    regression = KNeighborsRegressor(min(5, len(values) // 2))
    return float(r2_score(values, cross_val_predict(regression, embedding, values, cv=folds)))

"""Scores of real-axis spectra on a split of a dataset: KL divergences, in float64.

Compare every error with `hybridization_kl`: late in a DMFT loop the input hybridization is itself
close to the answer, so that copying it looks good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from dmftnet.errors import ConvergenceError
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.training.baselines import KernelRidgeRegression, NearestNeighbour
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.analysis.resolution import sharpened
from dmftnet.physics.grids.real_axis import FrequencyGrid

BATCH = 256
SUMMARY = ("kl_median", "kl_90", "kl_worst", "kl_geometric")
"""Keys of `kl_summary`."""


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Inference mode without dropout; restores the training flag afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def predict_members(model: SpectralModel, hybridization, params) -> np.ndarray:
    """Real-axis spectra of each member of an ensemble, or of the one model (M = 1).

    Parameters
    ----------
    hybridization : (n, n_w), in D
    params : (n, 2)
        U and eps_d, in D.

    Returns
    -------
    (M, n, n_w) float64, in 1/D

    Raises
    ------
    ConvergenceError
        If one is not finite.
    """
    return predict_curves(model, hybridization, params)[1]


def predict_curves(
    model: SpectralModel, hybridization, params, finished: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """What each member puts out (`SpectralModel.curve`), and its spectra, in one pass.

    See `predict_members`; (M, n, n_w) float64, twice, in 1/D. No spectra without `finished`.
    """
    hybridization = torch.as_tensor(np.asarray(hybridization), dtype=torch.float32)
    params = torch.as_tensor(np.asarray(params), dtype=torch.float32)
    device = model.weights.device
    several = isinstance(model, Ensemble)
    one_by_one = model.member_curves if several else model.curve
    curves, spectra = [], []
    with torch.inference_mode():
        for h, p in zip(hybridization.split(BATCH), params.split(BATCH), strict=True):
            h, p = h.to(device), p.to(device)
            curves.append(one_by_one(h, p))
            if finished:
                spectra.append(model.finished(curves[-1], h, p))
    found = [
        np.concatenate([values.cpu().numpy() for values in part], axis=-2).astype(np.float64)
        for part in (curves, spectra)
        if part
    ]
    if not all(np.isfinite(values).all() for values in found):
        raise ConvergenceError(
            "the network's spectrum is not finite: its training diverged, or its file is damaged; "
            "train with a lower optimizer.lr, or copy the weights again"
        )
    if not several:
        found = [values[None] for values in found]
    return found[0], (found[1] if finished else None)


def predict_real_axis(model: SpectralModel, hybridization, params) -> np.ndarray:
    """(n, n_w) float64 real-axis spectra of (n, n_w) hybridizations and (n, 2) ``[U, eps_d]``.

    Of an ensemble the mean over its members.
    """
    return predict_members(model, hybridization, params).mean(axis=0)


def answers(members: np.ndarray, grid: FrequencyGrid, eta: float, steps: int) -> np.ndarray:
    """The solver's answers: members' mean without the constant part of the data's resolution.

    Parameters
    ----------
    members : (M, n, n_w) float64, in 1/D
    eta : float, in D
    steps : int
        Of sharpening, see `dmftnet.physics.analysis.resolution.sharpened`.

    Returns
    -------
    (n, n_w) float64
    """
    return sharpened(grid, members.mean(axis=0), eta, steps)


def real_axis_kl(model: SpectralModel, arrays) -> np.ndarray:
    """(n,) ``KL(A_ref || A_pred)`` over a split (`SpectralArrays`)."""
    predicted = predict_real_axis(model, arrays.hybridization, arrays.params)
    return kl_divergence(model.frequency_grid, np.float64(arrays.spectrum), predicted)


def hybridization_kl(grid: FrequencyGrid, arrays) -> np.ndarray:
    """(n,) ``KL(A_ref || normalised input hybridization)`` over a split."""
    hybridization = np.float64(arrays.hybridization)
    guess = hybridization / grid.integrate(hybridization)[:, None]
    return kl_divergence(grid, np.float64(arrays.spectrum), guess)


def scores_beside(
    name: str, model: SpectralModel, datamodule, dataset: Mapping[str, Any] | None
) -> dict[str, dict[str, float]]:
    """Test scores of a model and of the baselines.

    Parameters
    ----------
    name : str
        The model's row.
    datamodule
        With ``arrays(split)``, see `dmftnet.data.datamodule`.
    dataset : mapping, optional
        ``grid`` and ``angles`` of the baselines; without it they are left out.

    Returns
    -------
    dict of row to `kl_summary`
    """
    test = datamodule.arrays("test")
    scores = {name: kl_summary(real_axis_kl(model, test))}
    if dataset is not None:
        for label, cls in (
            ("nearest neighbour", NearestNeighbour),
            ("kernel ridge", KernelRidgeRegression),
        ):
            baseline = cls(dataset["grid"], dataset["angles"])
            baseline.fit(datamodule.arrays("train"), datamodule.arrays("val"))
            scores[label] = kl_summary(real_axis_kl(baseline, test))
    scores["input hybridization"] = kl_summary(hybridization_kl(model.frequency_grid, test))
    return scores


def kl_summary(kl: np.ndarray) -> dict[str, float]:
    """Median, 90 % quantile, worst and geometric mean of (n,) KL divergences."""
    kl = np.asarray(kl, dtype=np.float64)
    values = (
        np.median(kl),
        np.quantile(kl, 0.9),
        kl.max(),
        np.exp(np.mean(np.log(np.maximum(kl, 1e-12)))),
    )
    return {name: float(value) for name, value in zip(SUMMARY, values, strict=True)}

"""Baselines without a gradient: kernel ridge regression and the nearest neighbour (scikit-learn).

Both map ``(hybridization, U, eps_d)`` to the real-axis spectrum and are fitted on real-axis labels
directly, which the networks never see: they measure what interpolation between samples achieves.
They are `SpectralModel`s, so that training, evaluation, checkpoints and the DMFT loop treat them
like a network. Samples and their particle-hole mirror images are both used.

Kernel ridge regresses ``sqrt(A)`` (positive after squaring; an L2 error there is the Hellinger
distance) with a Gaussian kernel; width and ridge are chosen on the validation split. Cost:
O(n_train^3) once, O(n_train n_w) a prediction.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.neighbors import NearestNeighbors

from dmftnet import checks
from dmftnet.errors import DmftnetError, StoreError
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.networks.symmetry import mirror
from dmftnet.physics.analysis.distances import kl_divergence


class Baseline(SpectralModel):
    """A model that is fitted at once, not trained.

    Parameters
    ----------
    grid, angles : see `SpectralModel`
    parameter_scale : float
        Weight of the parameters against the hybridization in the distance of two problems.
    """

    def __init__(self, grid: Mapping, angles: Sequence[float], parameter_scale: float = 1.0):
        super().__init__(grid, angles)
        self.parameter_scale = checks.number(
            "model.parameter_scale", parameter_scale, at_least=0, at_most=1e6
        )

    @abstractmethod
    def fit(self, train, validation) -> None:
        """Fit on `train`, choose what is open on `validation` (both `SpectralArrays`)."""

    def features(self, hybridization: torch.Tensor, params: torch.Tensor) -> np.ndarray:
        """(B, n_w), (B, 2) -> (B, n_w + 2) float64, Euclidean distance = distance of problems."""
        scale = torch.sqrt(self.weights)  # the L2 distance of two curves by quadrature
        U, shift = params[:, 0], params[:, 1] + 0.5 * params[:, 0]
        columns = torch.stack([0.25 * U, shift], dim=-1) * self.parameter_scale
        return torch.cat([4.0 * hybridization * scale, columns], dim=-1).double().cpu().numpy()

    def latent(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.features(hybridization, params)).float()

    def _training_set(self, train) -> tuple[np.ndarray, np.ndarray]:
        """Features (2 n, n_w + 2) and spectra (2 n, n_w) of samples and mirror images."""
        hybridization = torch.as_tensor(train.hybridization, dtype=torch.float32)
        params = torch.as_tensor(train.params, dtype=torch.float32)
        mirrored = self.features(hybridization.flip(-1), mirror(params))
        X = np.concatenate([self.features(hybridization, params), mirrored])
        A = np.asarray(train.spectrum, dtype=np.float64)
        return X, np.concatenate([A, A[:, ::-1]])

    def prepare(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over the sizes of stored arrays, which depend on the number of samples.

        Raises
        ------
        StoreError
            If they are no samples with their spectra.
        """
        n_w = self.frequency_grid.n_w
        n = len(state["samples"]) if "samples" in state and state["samples"].ndim else 0
        shapes = {"samples": (n, n_w + 2), "gamma": ()}
        for name, tensor in state.items():
            expected = shapes.get(name, (n, n_w))
            if not n or tuple(tensor.shape) != expected:
                raise StoreError(
                    f"weights of {type(self).__name__}: {name} has shape {tuple(tensor.shape)}, "
                    f"{n} samples on {n_w} frequencies need {expected}; fit it again"
                )
        for name, buffer in self.named_buffers():
            if name in state and name in self.state_dict():
                setattr(self, name, state[name].new_zeros(state[name].shape, dtype=buffer.dtype))

    def _learned(self, name: str, values: np.ndarray | None = None) -> None:
        tensor = torch.zeros(0, dtype=torch.float64) if values is None else torch.tensor(values)
        self.register_buffer(name, tensor)

    def _require_fit(self, buffer: torch.Tensor) -> None:
        if buffer.numel() == 0:
            raise DmftnetError(f"this {type(self).__name__} was never fitted; call fit() first")


class NearestNeighbour(Baseline):
    """The spectrum of the most similar training problem."""

    def __init__(self, grid: Mapping, angles: Sequence[float], parameter_scale: float = 1.0):
        super().__init__(grid, angles, parameter_scale)
        self._learned("samples")
        self._learned("spectra")

    def fit(self, train, validation) -> None:
        self.eval()
        X, A = self._training_set(train)
        self._learned("samples", X)
        self._learned("spectra", A)

    def predict(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        self._require_fit(self.samples)
        search = NearestNeighbors(n_neighbors=1).fit(self.samples.cpu().numpy())
        nearest = search.kneighbors(self.features(hybridization, params), return_distance=False)
        return self.normalise(self.spectra[torch.from_numpy(nearest[:, 0])].float())


class KernelRidgeRegression(Baseline):
    """Gaussian-kernel ridge regression of ``sqrt(A)``.

    Parameters
    ----------
    grid, angles, parameter_scale : see `Baseline`
    gammas, ridges : sequences of float
        Kernel parameters ``exp(-gamma |x - y|^2)`` and ridges to choose from.
    """

    def __init__(
        self,
        grid: Mapping,
        angles: Sequence[float],
        parameter_scale: float = 1.0,
        gammas: Sequence[float] = (0.03, 0.1, 0.3, 1.0, 3.0),
        ridges: Sequence[float] = (1e-6, 1e-5, 1e-4, 1e-3),
    ):
        super().__init__(grid, angles, parameter_scale)
        positive = {"at_least_size": 1, "at_least": 1e-12, "at_most": 1e12}
        self.gammas = checks.numbers("model.gammas", gammas, **positive)
        self.ridges = checks.numbers("model.ridges", ridges, **positive)
        for name in ("samples", "coefficients", "gamma"):
            self._learned(name)

    def fit(self, train, validation) -> None:
        self.eval()
        X, A = self._training_set(train)
        reference = np.asarray(validation.spectrum, dtype=np.float64)
        inputs = (
            torch.as_tensor(validation.hybridization, dtype=torch.float32),
            torch.as_tensor(validation.params, dtype=torch.float32),
        )
        best = np.inf
        for gamma, ridge in product(self.gammas, self.ridges):
            kernel = KernelRidge(kernel="rbf", gamma=gamma, alpha=ridge).fit(X, np.sqrt(A))
            candidate = (kernel.X_fit_, kernel.dual_coef_, np.array(gamma))
            kept = (self.samples, self.coefficients, self.gamma)
            self._set(*candidate)
            predicted = self.real_axis(*inputs).double().numpy()
            score = np.median(kl_divergence(self.frequency_grid, reference, predicted))
            if score < best:
                best = score
            else:
                self.samples, self.coefficients, self.gamma = kept

    def _set(self, samples, coefficients, gamma) -> None:
        for name, values in zip(
            ("samples", "coefficients", "gamma"), (samples, coefficients, gamma), strict=True
        ):
            self._learned(name, values)

    def predict(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        self._require_fit(self.samples)
        kernel = KernelRidge(kernel="rbf", gamma=float(self.gamma))
        kernel.X_fit_, kernel.dual_coef_ = self.samples.cpu().numpy(), self.coefficients.numpy()
        root = torch.from_numpy(kernel.predict(self.features(hybridization, params)))
        return self.normalise((root**2).float())

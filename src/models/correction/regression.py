"""Corrections without a network: least squares with products of the features, kernel ridge.

Both map the features to the coefficients of `CorrectionModel`, fitted at once to the training
samples and their mirror images; what is open is chosen on the validation samples by the median
error of G(tau) of the causal answer. They measure what a network adds.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, product
from math import comb
from typing import Any

import numpy as np
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from dmftnet import checks
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.errors import DmftnetError, SettingError, StoreError
from dmftnet.models.correction.answers import errors
from dmftnet.models.correction.model import CorrectionModel

RIDGES = (1e-8, 1e-6, 1e-4, 1e-2)

MOST_TERMS = 4096
"""Of a polynomial: their normal matrix has 128 MiB."""

Learned = dict[str, np.ndarray]
Candidates = Iterator[tuple[dict[str, float], Callable[[], Learned]]]


class Regression(CorrectionModel):
    """A correction that is fitted at once.

    Parameters
    ----------
    inputs, size, accuracy, base, n_components : see `CorrectionModel`
    ridges : sequence of float
        To choose from; of a polynomial relative to the mean square of each term, of a kernel to its
        diagonal, which is one.

    Attributes
    ----------
    chosen : dict
        What `fit` chose, and the median error on the validation samples, ``error``.
    """

    needs_gradient = False
    learned: tuple[str, ...] = ()
    """Buffers whose shapes depend on the data."""
    counted: tuple[str, int]
    """Buffer and axis whose length decides them all, see `shapes`."""

    def __init__(
        self,
        inputs: Sequence[str],
        size: float,
        accuracy: float,
        ridges: Sequence[float] = RIDGES,
        **options: Any,
    ):
        super().__init__(inputs, size, accuracy, **options)
        self.ridges = checks.numbers(
            "model.ridges", ridges, at_least_size=1, at_least=1e-14, at_most=1e6
        )
        self.chosen: dict[str, float] = {}
        for name in self.learned:
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    @abstractmethod
    def candidates(self, X: np.ndarray, Y: np.ndarray, weights: np.ndarray) -> Candidates:
        """What there is to choose from: settings, and a function that fits them.

        To features X, coefficients Y and weights of samples, see `CorrectionModel.prepare`.
        """

    @abstractmethod
    def shapes(self, n: int) -> dict[str, tuple[int, ...]]:
        """Of the learned buffers, where `counted` has length n."""

    def fit(self, train: ThermalArrays, validation: ThermalArrays) -> None:
        self.eval()
        X, Y, weights = (part.numpy() for part in self.prepare(train))
        best: Learned = {}
        self.chosen = {"error": np.inf}
        for settings, fitted in self.candidates(X, Y, weights):
            learned = fitted()
            self._set(learned)
            error = float(np.median(errors(self, validation)))
            if error < self.chosen["error"]:
                best, self.chosen = learned, {**settings, "error": error}
        self._set(best)

    def resize(self, state: Mapping[str, torch.Tensor]) -> None:
        found = {name: tuple(state[name].shape) for name in self.learned if name in state}
        name, axis = self.counted
        shape = found.get(name, ())
        n = shape[axis] if len(shape) > axis else 0
        for name, wanted in self.shapes(n).items():
            if not n or found.get(name) != wanted:
                raise StoreError(
                    f"weights of {type(self).__name__}: {name} has shape "
                    f"{found.get(name, 'none')}, the model wants {wanted}; fit it again"
                )
        for name in self.learned:
            setattr(self, name, torch.zeros(found[name], dtype=torch.float64))

    def _set(self, learned: Learned) -> None:
        for name in self.learned:
            setattr(self, name, torch.tensor(np.array(learned[name], order="C")))

    def _require_fit(self, buffer: torch.Tensor) -> None:
        if buffer.numel() == 0:
            raise DmftnetError(f"this {type(self).__name__} was never fitted; call fit() first")


class PolynomialCorrection(Regression):
    """Ridge least squares of the products of the leading principal components of the features.

    Parameters
    ----------
    inputs, size, accuracy, base, n_components, ridges : see `Regression`
    degree : int
        Of the polynomial; 1 is linear.
    n_leading : sequence of int
        Numbers of principal components to choose from.

    Attributes
    ----------
    axes : (n_features, n_leading) float64
        Principal axes, over the spread along them.
    weights : (n_terms, n_components) float64
        Of the monomials, the constant first.
    """

    learned = ("axes", "weights")
    counted = ("axes", 1)

    def __init__(
        self,
        inputs: Sequence[str],
        size: float,
        accuracy: float,
        degree: int = 2,
        n_leading: Sequence[int] = (8, 16, 32, 48),
        ridges: Sequence[float] = RIDGES,
        **options: Any,
    ):
        super().__init__(inputs, size, accuracy, ridges, **options)
        self.degree = checks.integer("model.degree", degree, at_least=1, at_most=3)
        checks.numbers("model.n_leading", n_leading, at_least_size=1)
        limits = {"at_least": 1, "at_most": self.n_features}
        self.n_leading = tuple(checks.integer("model.n_leading", n, **limits) for n in n_leading)
        for n in self.n_leading:
            if (n_terms := comb(n + self.degree, self.degree)) > MOST_TERMS:
                raise SettingError(
                    f"model.n_leading = {n} with degree {self.degree} makes {n_terms} products; at "
                    f"most {MOST_TERMS}: give fewer, or a lower degree"
                )

    def candidates(self, X: np.ndarray, Y: np.ndarray, weights: np.ndarray) -> Candidates:
        _, spreads, axes = np.linalg.svd(X, full_matrices=False)
        most = min(max(self.n_leading), int((spreads > 1e-12 * spreads[0]).sum()))
        axes = axes[:most].T / (spreads[:most] / np.sqrt(len(X)))
        for n in sorted({min(n, most) for n in self.n_leading}):
            terms = self._terms(torch.from_numpy(X @ axes[:, :n])).numpy()
            for ridge in self.ridges:
                yield (
                    {"n_leading": n, "ridge": ridge},
                    lambda n=n, terms=terms, ridge=ridge: {
                        "axes": axes[:, :n],
                        "weights": least_squares(terms, Y, weights, ridge),
                    },
                )

    def shapes(self, n: int) -> dict[str, tuple[int, ...]]:
        n_terms = comb(n + self.degree, self.degree)
        return {"axes": (self.n_features, n), "weights": (n_terms, self.n_components)}

    def coefficients(self, features: torch.Tensor) -> torch.Tensor:
        self._require_fit(self.axes)
        return self._terms(features @ self.axes) @ self.weights

    def _terms(self, leading: torch.Tensor) -> torch.Tensor:
        """(B, n) -> (B, n_terms) monomials, from the constant up."""
        terms = [torch.ones_like(leading[:, :1])]
        for degree in range(1, self.degree + 1):
            chosen = combinations_with_replacement(range(leading.shape[1]), degree)
            terms.append(leading[:, torch.tensor(list(chosen))].prod(-1))
        return torch.cat(terms, dim=-1)


class KernelRidgeCorrection(Regression):
    """Gaussian-kernel ridge regression.

    Cost: O(n^3) for each candidate, O(n n_features) a prediction, n twice the samples.

    Parameters
    ----------
    inputs, size, accuracy, base, n_components, ridges : see `Regression`
    gammas : sequence of float
        Kernel parameters ``exp(-gamma |x - y|^2 / n_features)`` to choose from.
    most : int
        Training samples that are used; of more, evenly spaced ones.

    Attributes
    ----------
    samples : (n, n_features), dual : (n, n_components), gamma : (), all float64
    """

    learned = ("samples", "dual", "gamma")
    counted = ("samples", 0)

    def __init__(
        self,
        inputs: Sequence[str],
        size: float,
        accuracy: float,
        gammas: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0),
        most: int = 3000,
        ridges: Sequence[float] = RIDGES,
        **options: Any,
    ):
        super().__init__(inputs, size, accuracy, ridges, **options)
        self.gammas = checks.numbers(
            "model.gammas", gammas, at_least_size=1, at_least=1e-12, at_most=1e12
        )
        self.most = checks.integer("model.most", most, at_least=1, at_most=20000)

    def candidates(self, X: np.ndarray, Y: np.ndarray, weights: np.ndarray) -> Candidates:
        n = len(X) // 2  # mirror images follow
        if n > self.most:
            some = np.linspace(0, n - 1, self.most).round().astype(int)
            chosen = np.concatenate([some, n + some])
            X, Y, weights = X[chosen], Y[chosen], weights[chosen]

        def fitted(gamma: float, ridge: float) -> Learned:
            kernel = KernelRidge(kernel="rbf", gamma=gamma, alpha=ridge)
            kernel.fit(X, Y, sample_weight=weights**2)
            return {"samples": X, "dual": kernel.dual_coef_, "gamma": np.array(gamma)}

        for gamma, ridge in product(self.gammas, self.ridges):
            settings = {"gamma": gamma, "ridge": ridge}
            yield settings, lambda g=gamma / self.n_features, r=ridge: fitted(g, r)

    def shapes(self, n: int) -> dict[str, tuple[int, ...]]:
        return {"samples": (n, self.n_features), "dual": (n, self.n_components), "gamma": ()}

    def coefficients(self, features: torch.Tensor) -> torch.Tensor:
        self._require_fit(self.samples)
        distance = torch.cdist(features, self.samples) ** 2
        return torch.exp(-self.gamma * distance) @ self.dual


def least_squares(terms: np.ndarray, Y: np.ndarray, weights: np.ndarray, ridge: float):
    """(n_terms, n_components) slopes; the first term is constant, and no ridge holds it."""
    spread = terms[:, 1:].std(0) + 1e-12
    model = Ridge(alpha=ridge * len(terms), solver="cholesky")
    model.fit(terms[:, 1:] / spread, Y, sample_weight=weights**2)
    return np.concatenate([model.intercept_[None], model.coef_.T / spread[:, None]])

"""What every learned correction is: approximations in, what is missing from one of them out.

The self-energy of the *base* approximation enters as ``q`` (`dmftnet.models.correction.thermal`).
A model puts out coefficients c of the principal components of what is missing in the training data,

``q = q_base + sum_k c_k v_k(i w_n)``,

and G follows by Dyson's equation with the density of G itself. The components are those of the
errors of G(tau) that they make, a dozen matter. A prediction is averaged with the mirror image of
that for the particle-hole mirrored problem, so the symmetry is exact.

For use, q is projected onto positive measures (`answers`): the result is causal whatever the model
puts out, and nearer to a causal truth than before. Without a base, what is missing is everything;
`dmftnet.models.correction.measures` then puts out the measure itself.
Models that are compared with, `is_projected` False, answer as they are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from dmftnet import checks
from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.errors import ConvergenceError, DmftnetError, SettingError
from dmftnet.models.correction.thermal import Answer, Problems, ThermalDyson
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure

HIGHEST = 600
"""Odd integer of the last Matsubara frequency that is a feature; above it all is known."""

N_COMPONENTS = 24
LARGEST = 8.0
"""Of a coefficient, in standard deviations of the training data."""

FIXED = 0.05, 10.0
"""First and last of the fixed frequencies, in D; below the axis' first its value stands."""

CHUNK = 2048


class Prediction(NamedTuple):
    """What a model says before it is projected: ``q`` (B, n_iw), and the answer that it makes.

    ``spread``, of an ensemble: (B,) mean of ``(1/beta) integral |G_i - G| dtau`` over its members.
    ``measures`` (B, J), of models that put them out: then nothing is left to project.
    """

    q: torch.Tensor
    answer: Answer
    spread: torch.Tensor | None = None
    measures: torch.Tensor | None = None


class CorrectionModel(nn.Module, ABC):
    """Base of all models.

    Parameters
    ----------
    inputs : sequence of str
        Approximations that are read.
    size, accuracy : float
        Of the universal axis.
    base : str, optional
        The approximation that is corrected; by default the last of `inputs`. "none": everything is
        predicted.
    n_components : int
    n_fixed : int
        Features are also read off at so many fixed frequencies, in D: the axis' are in units of T.

    Attributes
    ----------
    dyson : ThermalDyson
    n_features : int
    components : (n_components, 2 n_iw)
        Real and imaginary parts of ``v_k``, scaled to a coefficient of order one.
    """

    needs_gradient = True
    is_projected = True

    def __init__(
        self,
        inputs: Sequence[str],
        size: float,
        accuracy: float,
        base: str | None = None,
        n_components: int = N_COMPONENTS,
        n_fixed: int = 0,
    ):
        super().__init__()
        self.inputs = tuple(inputs)
        if base is None:
            base = self.inputs[-1] if self.inputs else "none"
        if base != "none" and base not in self.inputs:
            raise SettingError(
                f"model.base = {checks.shown(base)}: give one of dataset.inputs = "
                f"{list(self.inputs)}, or none"
            )
        self.base = None if base == "none" else self.inputs.index(base)
        self.dyson = ThermalDyson(size, accuracy)
        self.measure = SelfEnergyMeasure(size, accuracy)
        n_iw = self.dyson.odd.numel()
        self.n_components = checks.integer(
            "model.n_components", n_components, at_least=1, at_most=2 * n_iw
        )
        self.n_low = int((self.dyson.odd < HIGHEST).sum())
        self.n_fixed = checks.integer("model.n_fixed", n_fixed, at_least=0, at_most=200)
        n_curves, n_points = 1 + 2 * len(self.inputs), self.n_low + self.n_fixed
        self.n_features = 3 + 2 * len(self.inputs) + 2 * n_points * n_curves
        fixed = torch.logspace(*map(math.log10, FIXED), self.n_fixed, dtype=torch.float64)
        self.register_buffer("log_fixed", fixed.log(), persistent=False)
        self.register_buffer("mirror", self._mirror(), persistent=False)
        for name, shape in (
            ("offset", (self.n_features,)),
            ("scale", (self.n_features,)),
            ("components", (self.n_components, 2 * n_iw)),
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    # --- what subclasses give -----------------------------------------------------------------

    @abstractmethod
    def coefficients(self, features: torch.Tensor) -> torch.Tensor:
        """(B, n_features) float64, of order one -> (B, n_components) float64."""

    def fit(self, train: ThermalArrays, validation: ThermalArrays) -> None:
        """Fit at once what is not trained by gradients; choices on `validation`."""
        raise DmftnetError(f"{type(self).__name__} is trained, not fitted")

    def resize(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over the sizes of stored arrays where they depend on the data.

        Raises
        ------
        StoreError
            If they cannot be those of this model.
        """

    # --- from problems to answers -------------------------------------------------------------

    def forward(self, problems: Problems) -> Answer:
        """Batch of `ThermalBatch` inputs -> the answer as it is trained, not projected."""
        return self.dyson(problems, self.reduced(problems))

    def predict(self, problems: Problems, features: torch.Tensor | None = None) -> Prediction:
        """What is to be projected; `features` where they are known already.

        Raises
        ------
        ConvergenceError
            If q is not finite.
        """
        q = require_finite(self.reduced(problems, features))
        return Prediction(q, self.dyson(problems, q))

    def reduced(self, problems: Problems, features: torch.Tensor | None = None) -> torch.Tensor:
        """(B, n_iw) complex128 q of the answer."""
        return self.reduced_base(problems) + self.predicted(problems, features)

    def predicted(self, problems: Problems, features: torch.Tensor | None = None) -> torch.Tensor:
        """(B, n_iw) complex128 what is predicted, averaged with its mirror image."""
        own = self.features(problems) if features is None else features
        here, there = self._curve(self._coefficients(self.both(own))).chunk(2)
        return 0.5 * (here + there.conj())

    def both(self, features: torch.Tensor) -> torch.Tensor:
        """(B, n_features) -> (2 B, n_features): of the problems, then of their mirror images."""
        return torch.cat([features, features * self.mirror])

    def reduced_base(self, problems: Problems) -> torch.Tensor:
        """(B, n_iw) complex128 q of what is corrected; zero without a base."""
        if self.base is None:
            return torch.zeros_like(problems[Batch.HYBRIDIZATION])
        return self._reduced_input(problems, self.base)

    def features(self, problems: Problems) -> torch.Tensor:
        """(B, n_features) float64: parameters, densities, and bounded functions of frequency."""
        U, beta = problems[Batch.U], problems[Batch.BETA]
        z = self.dyson.frequencies(beta)
        columns = [U / 2, problems[Batch.EPS_D] + U / 2, torch.log(beta) / 2]
        curves = [4.0 * z * problems[Batch.HYBRIDIZATION]]
        for i in range(len(self.inputs)):
            greens = self.dyson.greens(problems, problems[Batch.SELF_ENERGIES][:, i])
            own = self.dyson.density(greens, beta)
            columns += [4.0 * (own - 0.5), 4.0 * (problems[Batch.DENSITIES][:, i] - 0.5)]
            curves += [self._reduced_input(problems, i), z * greens]
        curve = torch.stack(curves, dim=1)  # (B, n_curves, n_iw)
        low = torch.cat([curve[..., : self.n_low], self._at_fixed(curve, z.imag)], dim=-1)
        parts = torch.stack([low.real, low.imag], dim=-2).flatten(1)
        return torch.cat([torch.stack(columns, dim=-1), parts.clamp(-3.0, 3.0)], dim=-1)

    def _at_fixed(self, curves: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """(B, C, n_iw) at (B, n_iw) w -> (B, C, n_fixed), linear in log w."""
        x, own = self.log_fixed.expand(len(w), -1).contiguous(), w.log()
        right = torch.searchsorted(own, x).clamp(1, own.shape[1] - 1)
        ends = own.gather(1, right - 1), own.gather(1, right)
        share = ((x - ends[0]) / (ends[1] - ends[0])).clamp(0.0, 1.0)[:, None]
        index = right[:, None].expand(-1, curves.shape[1], -1)
        return curves.gather(2, index - 1) * (1 - share) + curves.gather(2, index) * share

    def _mirror(self) -> torch.Tensor:
        """(n_features,) float64 signs by which `features` of the mirror image differ."""
        even = torch.ones(self.n_low + self.n_fixed, dtype=torch.float64)
        parameters = [1.0, -1.0, 1.0] + [-1.0] * (2 * len(self.inputs))
        curves = torch.cat([even, -even]).repeat(1 + 2 * len(self.inputs))
        return torch.cat([torch.tensor(parameters, dtype=torch.float64), curves])

    def _reduced_input(self, problems: Problems, i: int) -> torch.Tensor:
        sigma, n = problems[Batch.SELF_ENERGIES][:, i], problems[Batch.DENSITIES][:, i]
        return self.dyson.reduced(problems, sigma, n)

    def _coefficients(self, features: torch.Tensor) -> torch.Tensor:
        return self.coefficients((features - self.offset) / self.scale)

    def _curve(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Far beyond what the training data hold a coefficient saturates."""
        bounded = LARGEST * torch.tanh(coefficients / LARGEST)
        return torch.complex(*(bounded @ self.components).chunk(2, dim=-1))

    # --- from the training data ---------------------------------------------------------------

    @torch.no_grad()
    def prepare(self, train: ThermalArrays) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scales of the features and components of what is missing, from training samples.

        Returns
        -------
        features, coefficients : (2 n, n_features), (2 n, n_components)
            Of the samples and their mirror images.
        weights : (2 n,)
            What an error of a sample's coefficients makes of its G, rms one: an error of q means
            little where U is small.
        """
        both = [as_problems(part) for part in (train, train.particle_hole())]
        features = torch.cat([self.features(problems) for problems in both])
        parts = zip(*map(self.missing, both), strict=True)
        missing, errors_made = (torch.cat(part) for part in parts)
        self.offset.copy_(features.mean(0))
        self.scale.copy_(features.std(0) + 1e-3)
        weight = errors_made.pow(2).mean(0).sqrt().repeat(2).clamp_min(1e-12)
        of_sample = errors_made.pow(2).mean(1).sqrt()
        of_sample = of_sample / of_sample.pow(2).mean().sqrt().clamp_min(1e-300)
        rows = torch.cat([missing.real, missing.imag], dim=-1) * weight
        vectors = torch.linalg.svd(rows * of_sample[:, None], full_matrices=False)[2]
        vectors = vectors[: self.n_components]
        found = rows @ vectors.T
        spread = (found * of_sample[:, None]).pow(2).mean(0).sqrt().clamp_min(1e-12)
        self.components.copy_(vectors * spread[:, None] / weight)
        return (features - self.offset) / self.scale, found / spread, of_sample

    def missing(self, problems: Problems) -> tuple[torch.Tensor, torch.Tensor]:
        """What is to be `predicted`, and what an error of it makes of G(tau), about:

        (B, n_iw) each, complex128 and float64. Here what is missing in q.
        """
        n, beta = problems[Batch.DENSITY], problems[Batch.BETA]
        q = self.dyson.reduced(problems, problems[Batch.SELF_ENERGY], n)
        greens = self.dyson.greens(problems, problems[Batch.SELF_ENERGY])
        scale = problems[Batch.U] ** 2 * n * (1 - n) / beta
        weight = greens.abs() ** 2 * scale[:, None] / self.dyson.frequencies(beta).abs()
        return q - self.reduced_base(problems), weight


def as_problems(arrays: ThermalArrays, device: torch.device | str = "cpu") -> Problems:
    """Arrays as a batch of tensors."""
    return {
        f.name: torch.as_tensor(np.ascontiguousarray(getattr(arrays, f.name))).to(device)
        for f in fields(arrays)
    }


def require_finite(values: torch.Tensor) -> torch.Tensor:
    """The same complex values; ConvergenceError where they are not finite."""
    if not torch.isfinite(torch.view_as_real(values)).all():
        raise ConvergenceError(
            "the correction is not finite: its training diverged, or its file is damaged; train "
            "with a lower optimizer.lr, or copy the weights again"
        )
    return values


def project(
    model: CorrectionModel, problems: Problems, q: torch.Tensor, greens: torch.Tensor | None = None
) -> np.ndarray:
    """(B, J) measures nearest to q, weighted by the error of G that they make.

    ``greens`` (B, n_iw) is that of q, where it is known.
    """
    beta, U = problems[Batch.BETA].cpu().numpy(), problems[Batch.U].cpu().numpy()
    greens = (model.dyson(problems, q).greens if greens is None else greens).cpu().numpy()
    z = model.dyson.frequencies(problems[Batch.BETA]).cpu().numpy()
    values = q.cpu().numpy() / z / beta[:, None]
    weights = np.abs(greens) ** 2 * (U**2)[:, None]
    return np.stack([model.measure.fit(v, w) for v, w in zip(values, weights, strict=True)])


@torch.no_grad()
def answers(
    model: CorrectionModel, problems: Problems, prediction: Prediction | None = None
) -> tuple[np.ndarray | None, Answer]:
    """Causal answers: the measures (B, J) of the self-energy, and n, Sigma, G at the axis.

    Of a model that is not projected no measures, and the answer as it is. `prediction` is that of
    the model, where it is known.

    Raises
    ------
    ConvergenceError
        If the model's output is not finite.
    """
    if not model.is_projected:
        answer = model(problems)
        require_finite(answer.greens)
        return None, answer
    q, answer, _, given = model.predict(problems) if prediction is None else prediction
    if given is not None:
        return given.cpu().numpy(), answer
    measures = project(model, problems, q, answer.greens)
    return measures, model.dyson(problems, measured(model, problems, measures))


def measured(model: CorrectionModel, problems: Problems, measures: np.ndarray) -> torch.Tensor:
    """(B, n_iw) complex128 q of (B, J) measures."""
    beta = problems[Batch.BETA]
    t = torch.as_tensor(measures @ model.measure.kernel.T).to(beta.device) * beta[:, None]
    return model.dyson.frequencies(beta) * t


@torch.no_grad()
def errors(model: CorrectionModel, arrays: ThermalArrays) -> np.ndarray:
    """(n,) ``(1/beta) integral |G - G_exact| dtau`` of causal answers, in chunks."""
    found = []
    for start in range(0, len(arrays), CHUNK):
        part = as_problems(arrays.take(np.arange(start, min(start + CHUNK, len(arrays)))))
        exact = model.dyson.greens(part, part[Batch.SELF_ENERGY])
        found.append(model.dyson.distance(answers(model, part)[1].greens, exact, part[Batch.BETA]))
    return torch.cat(found).cpu().numpy()

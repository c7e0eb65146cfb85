"""What every learned correction is: approximations in, what is missing from one of them out.

The self-energy of the *base* approximation enters as ``q`` (`dmftnet.models.correction.thermal`).
A model puts out coefficients c of the principal components of what is missing in the training data,

``q = q_base + sum_k c_k v_k(i w_n)``,

and G follows by Dyson's equation with the density of G itself. The components are those of the
errors of G(tau) that they make, a dozen matter. A prediction is averaged with the mirror image of
that for the particle-hole mirrored problem, so the symmetry is exact.

Of several orbitals the strength S of Sigma and the double occupancy d (no sum over G alone) are
outputs of their own, each the base's with a correction that is even under the mirror: a factor of
S, so that it stays positive, and a term of ``d - n^2``.

For use, q is projected onto positive measures (`answers`): the result is causal whatever the model
puts out, and nearer to a causal truth than before. Without a base, what is missing is everything;
`dmftnet.models.correction.measures` then puts out the measure itself.
Models that are compared with, `is_projected` False, answer as they are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from dmftnet import checks
from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.errors import DmftnetError, SettingError
from dmftnet.models.correction.outputs import Outputs, Prediction, require_finite
from dmftnet.models.correction.thermal import (
    SMALLEST,
    Answer,
    Problems,
    ThermalDyson,
    mean_field,
    second_order,
)
from dmftnet.physics.analysis.self_energy_measure import SelfEnergyMeasure

HIGHEST = 600
"""Odd integer of the last Matsubara frequency that is a feature; above it all is known."""

N_COMPONENTS = 24
LARGEST = 8.0
"""Of a coefficient: twice the largest in the training data, or standard deviations of it if that is
more."""

LARGEST_FEATURE = 3.0
"""Of a function of frequency."""

FIXED = 0.05, 10.0
"""First and last of the fixed frequencies, in D; below the axis' first its value stands."""
N_SCALARS = 2
"""Outputs of several orbitals beside q: of the strength and of the double occupancy."""

DOUBLE_WEIGHT = 0.3
"""Error of G as which an error of the double occupancy counts, in the choice of components."""

LEAST_CONTRAST = 1e-7
"""Of q: differences below it are what labels and fits are precise to."""

MISFIT_SCALE = 40.0
"""Over that of Delta, of what a few levels miss of it, so that both are of order one."""


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
    contrast : str, optional
        Another of `inputs`, that the base improves on: how far it is from the base is the unit of
        what is missing, and its own shape a feature. None: the unit is the same for all problems.
    n_orb : int
        Degenerate orbitals of all problems.

    Attributes
    ----------
    dyson : ThermalDyson
    n_features : int
    components : (n_components, 2 n_iw), of several orbitals (n_components, 2 n_iw + N_SCALARS)
        Real and imaginary parts of ``v_k``, scaled to a coefficient of order one; and what a
        coefficient makes of the logarithm of S and of ``d - n^2``.
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
        *,
        contrast: str | None = None,
        n_orb: int = 1,
    ):
        super().__init__()
        self.n_orb = checks.integer("n_orb", n_orb, at_least=1)
        self.inputs = tuple(inputs)
        if base is None:
            base = self.inputs[-1] if self.inputs else "none"
        if base != "none" and base not in self.inputs:
            raise SettingError(
                f"model.base = {checks.shown(base)}: give one of dataset.inputs = "
                f"{list(self.inputs)}, or none"
            )
        self.base = None if base == "none" else self.inputs.index(base)
        others = [name for name in self.inputs if name != base]
        if contrast is not None and (base == "none" or contrast not in others):
            raise SettingError(
                f"model.contrast = {checks.shown(contrast)}: give null or, beside a base, another "
                f"of dataset.inputs = {list(self.inputs)}"
            )
        self.contrast = None if contrast is None else self.inputs.index(contrast)
        self.dyson = ThermalDyson(size, accuracy)
        self.measure = SelfEnergyMeasure(size, accuracy)
        n_iw = self.dyson.odd.numel()
        self.n_components = checks.integer(
            "model.n_components", n_components, at_least=1, at_most=2 * n_iw
        )
        self.n_low = int((self.dyson.odd < HIGHEST).sum())
        self.n_fixed = checks.integer("model.n_fixed", n_fixed, at_least=0, at_most=200)
        n_in, several = len(self.inputs), self.n_orb > 1
        n_curves, n_points = 1 + (3 if several else 2) * n_in, self.n_low + self.n_fixed
        n_columns = 4 + 4 * n_in if several else 3 + 2 * n_in
        if self.contrast is not None:
            n_columns, n_curves = n_columns + 1, n_curves + 1
        self.n_features = n_columns + 2 * n_points * n_curves
        n_scalars = N_SCALARS if several else 0
        fixed = torch.logspace(*map(math.log10, FIXED), self.n_fixed, dtype=torch.float64)
        self.register_buffer("log_fixed", fixed.log(), persistent=False)
        self.register_buffer("mirror", self._mirror(), persistent=False)
        for name, shape in (
            ("offset", (self.n_features,)),
            ("scale", (self.n_features,)),
            ("components", (self.n_components, 2 * n_iw + n_scalars)),
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
        found = self.outputs(problems)
        return self.dyson(problems, found.q, found.strength)

    def predict(self, problems: Problems, features: torch.Tensor | None = None) -> Prediction:
        """What is to be projected; `features` where they are known already.

        Raises
        ------
        ConvergenceError
            If an output is not finite.
        """
        found = require_finite(self.outputs(problems, features))
        return Prediction(found, self.dyson(problems, found.q, found.strength))

    def outputs(self, problems: Problems, features: torch.Tensor | None = None) -> Outputs:
        """The base's, corrected; `features` where they are known already."""
        curve, scalars = self.predicted(problems, features)
        q = self.reduced_base(problems) + curve
        if self.n_orb == 1:
            return Outputs(q)
        strength, correlation = self.scalars_base(problems)
        change, more = scalars.unbind(dim=-1)
        return Outputs(q, strength * torch.exp(change), correlation + more)

    def predicted(
        self, problems: Problems, features: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, n_iw) complex128 what is predicted, averaged with its mirror image;

        and (B, N_SCALARS) of several orbitals, which are even: their mean."""
        own = self.features(problems) if features is None else features
        unit = self._unit(problems)[0][:, None]
        # two passes: rows of one batch may be rounded differently, and half filling be lost
        (here, ours), (there, theirs) = (
            self._outputs(self._coefficients(rows)) for rows in (own, own * self.mirror)
        )
        return 0.5 * (here + there.conj()) * unit, 0.5 * (ours + theirs)

    def scalars_base(self, problems: Problems) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) strength and ``d - n^2`` of what is corrected; without correlations, of no base."""
        if self.base is None:
            strength = second_order(problems)
            return strength, torch.zeros_like(strength)
        n = problems[Batch.DENSITIES][:, self.base]
        strength = problems[Batch.STRENGTHS][:, self.base]
        return strength, problems[Batch.DOUBLES][:, self.base] - n**2

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
        level = problems[Batch.EPS_D] + mean_field(problems) / 2
        columns = [U / 2, level, torch.log(beta) / 2]
        if self.n_orb > 1:
            columns.append(problems[Batch.J])
        curves = [4.0 * z * problems[Batch.HYBRIDIZATION]]
        for i in range(len(self.inputs)):
            greens = self.dyson.greens(problems, problems[Batch.SELF_ENERGIES][:, i])
            own = self.dyson.density(greens, beta)
            columns += [4.0 * (own - 0.5), 4.0 * (problems[Batch.DENSITIES][:, i] - 0.5)]
            curves += [self._reduced_input(problems, i), z * greens]
            if self.n_orb > 1:
                n, strength = problems[Batch.DENSITIES][:, i], problems[Batch.STRENGTHS][:, i]
                correlation = problems[Batch.DOUBLES][:, i] - n**2
                columns += [log_ratio(strength, second_order(problems)), 4.0 * correlation]
                curves.append(MISFIT_SCALE * z * problems[Batch.MISFITS][:, i])
        if self.contrast is not None:
            unit, change = self._unit(problems)
            columns.append(unit.log() / 4)
            curves.append(change / unit[:, None])
        curve = torch.stack(curves, dim=1)  # (B, n_curves, n_iw)
        low = torch.cat([curve[..., : self.n_low], self._at_fixed(curve, z.imag)], dim=-1)
        parts = torch.stack([low.real, low.imag], dim=-2).flatten(1)
        return torch.cat(
            [torch.stack(columns, dim=-1), parts.clamp(-LARGEST_FEATURE, LARGEST_FEATURE)], dim=-1
        )

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
        several, n_in = self.n_orb > 1, len(self.inputs)
        columns = [1.0, -1.0, 1.0] + [1.0] * several
        columns += ([-1.0, -1.0] + [1.0, 1.0] * several) * n_in
        columns += [1.0] * (self.contrast is not None)
        even = torch.ones(self.n_low + self.n_fixed, dtype=torch.float64)
        n_curves = 1 + (3 if several else 2) * n_in + (self.contrast is not None)
        curves = torch.cat([even, -even]).repeat(n_curves)
        return torch.cat([torch.tensor(columns, dtype=torch.float64), curves])

    def _unit(self, problems: Problems) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) unit of what is missing in q, and (B, n_iw) the difference that it is the size of.

        One, and nothing, without a contrast.
        """
        if self.contrast is None:
            return torch.ones_like(problems[Batch.U]), problems[Batch.HYBRIDIZATION] * 0
        change = self.reduced_base(problems) - self._reduced_input(problems, self.contrast)
        greens = self.dyson.greens(problems, problems[Batch.SELF_ENERGIES][:, self.base])
        weight = greens.abs() ** 2 / self.dyson.frequencies(problems[Batch.BETA]).abs()
        weight = weight**2 / weight.pow(2).sum(dim=1, keepdim=True)
        size = (weight * change.abs() ** 2).sum(dim=1)
        return (size + LEAST_CONTRAST**2).sqrt(), change

    def _reduced_input(self, problems: Problems, i: int) -> torch.Tensor:
        sigma, n = problems[Batch.SELF_ENERGIES][:, i], problems[Batch.DENSITIES][:, i]
        strength = problems[Batch.STRENGTHS][:, i] if self.n_orb > 1 else None
        return self.dyson.reduced(problems, sigma, n, strength)

    def _coefficients(self, features: torch.Tensor) -> torch.Tensor:
        return self.coefficients((features - self.offset) / self.scale)

    def _outputs(self, coefficients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Curve and scalars; far beyond what the training data hold a coefficient saturates."""
        bounded = LARGEST * torch.tanh(coefficients / LARGEST)
        n_iw = self.dyson.odd.numel()
        parts = bounded @ self.components
        return torch.complex(*parts[:, : 2 * n_iw].chunk(2, dim=-1)), parts[:, 2 * n_iw :]

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
        if self.contrast is not None:  # relative to its unit each sample counts alike
            unit = torch.cat([self._unit(problems)[0] for problems in both])
            missing, of_sample = missing / unit[:, None], torch.ones_like(of_sample)
        of_sample = of_sample / of_sample.pow(2).mean().sqrt().clamp_min(1e-300)
        rows = torch.cat([missing.real, missing.imag], dim=-1)
        if self.n_orb > 1:
            rows = torch.cat([rows, torch.cat([self.missing_scalars(p) for p in both])], dim=-1)
            # a relative error of the strength is one of all of q, about one
            of_strength = errors_made.pow(2).sum(1).mean().sqrt()
            more = torch.stack([of_strength, torch.full_like(of_strength, DOUBLE_WEIGHT)])
            weight = torch.cat([weight, more])
        rows = rows * weight
        vectors = torch.linalg.svd(rows * of_sample[:, None], full_matrices=False)[2]
        vectors = vectors[: self.n_components]
        found = rows @ vectors.T
        spread = (found * of_sample[:, None]).pow(2).mean(0).sqrt().clamp_min(1e-12)
        spread = torch.maximum(spread, 2 * found.abs().amax(0) / LARGEST)
        self.components.copy_(vectors * spread[:, None] / weight)
        return (features - self.offset) / self.scale, found / spread, of_sample

    def missing(self, problems: Problems) -> tuple[torch.Tensor, torch.Tensor]:
        """What is to be `predicted`, and what an error of it makes of G(tau), about:

        (B, n_iw) each, complex128 and float64. Here what is missing in q.
        """
        n, beta = problems[Batch.DENSITY], problems[Batch.BETA]
        strength = problems[Batch.STRENGTH] if self.n_orb > 1 else second_order(problems)
        q = self.dyson.reduced(problems, problems[Batch.SELF_ENERGY], n, strength)
        greens = self.dyson.greens(problems, problems[Batch.SELF_ENERGY])
        scale = strength * n * (1 - n) / beta
        weight = greens.abs() ** 2 * scale[:, None] / self.dyson.frequencies(beta).abs()
        return q - self.reduced_base(problems), weight

    def missing_scalars(self, problems: Problems) -> torch.Tensor:
        """(B, N_SCALARS) what is missing in the logarithm of S and in ``d - n^2``."""
        strength, correlation = self.scalars_base(problems)
        exact = problems[Batch.DOUBLE_OCCUPANCY] - problems[Batch.DENSITY] ** 2
        change = log_ratio(problems[Batch.STRENGTH], strength)
        return torch.stack([change, exact - correlation], dim=-1)


def log_ratio(strength: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Of two strengths; zero of two that vanish."""
    return torch.log((strength + SMALLEST) / (other + SMALLEST))


def as_problems(arrays: ThermalArrays, device: torch.device | str = "cpu") -> Problems:
    """Arrays as a batch of tensors."""
    return {
        name: torch.as_tensor(np.ascontiguousarray(values)).to(device)
        for name, values in arrays.items()
    }

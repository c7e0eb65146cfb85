"""Base of the architectures: inputs of a network, and the meaning of its outputs.

A new architecture is one file with a subclass of `SpectralNetwork` and one YAML in ``conf/model``.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from dmftnet import checks
from dmftnet.data.labels import SMOOTHED
from dmftnet.errors import DmftnetError, SettingError
from dmftnet.models.networks.cells import compiles
from dmftnet.models.networks.constants import Array, library, precise, rounded
from dmftnet.models.networks.guesses.composed import GUESS_NAMES, Guesses, chosen_guesses
from dmftnet.models.networks.tangents import DefinedNorm
from dmftnet.physics.grids.real_axis import FrequencyGrid

# U runs to 4 D, the shift from half filling to about 2 D and angles to about 0.3: inputs of order 1
PARAMETER_SCALES = (0.5, 1.0, 5.0)
# scores of the perturbative self-energy, the hybridization and the broad curve, likewise
SELF_ENERGY_SCORES = (2.0, 0.0, -2.0)
# scores of the corrected spectrum and of the broad background in the mixture that an untrained
# log-residual network starts from; each guess has its own
CORRECTED_SCORE, BROAD_SCORE = 2.0, -3.0

BYTES_EACH = 16  # of a parameter: itself, its gradient, two moments of the optimizer
ROWS_KEPT = 16  # hidden vectors a token that one block keeps for its gradient, about


class ParameterInput(nn.Module):
    """Physical parameters as numbers of order one, odd under particle-hole mirroring where exact.

    ``[U, eps_d] -> [U/2 - 1, eps_d + U/2]``, and ``5 alpha`` where the angle is an input.
    """

    def __init__(self, n_params: int):
        super().__init__()
        if n_params not in (2, 3):
            raise DmftnetError(
                f"n_params = {n_params}: parameters are [U, eps_d] (rotated head) or "
                "[U, eps_d, alpha] (direct head); use 2 or 3"
            )
        self.n_params = n_params

    def forward(self, params: torch.Tensor) -> torch.Tensor:
        """(..., n_params) in D (and radians) -> (..., n_params) dimensionless."""
        if params.shape[-1] != self.n_params:
            raise DmftnetError(
                f"the network takes {self.n_params} parameters, got {params.shape[-1]}; the direct "
                "head needs [U, eps_d, alpha], the rotated head [U, eps_d]"
            )
        U, eps_d = params[..., 0], params[..., 1]
        columns = [PARAMETER_SCALES[0] * U - 1.0, PARAMETER_SCALES[1] * (eps_d + 0.5 * U)]
        if self.n_params == 3:
            columns.append(PARAMETER_SCALES[2] * params[..., 2])
        return torch.stack(columns, dim=-1)


class HybridizationInput(nn.Module):
    """Features of each frequency token from the hybridization spectrum.

    The complex function ``Delta(w)`` as ``[-4 Im Delta / pi, 4 Re Delta]`` (the real part by
    Kramers-Kronig; 4 because the weight of a Bethe bath is 1/4), on request also
    ``log10(-Im Delta / pi)``, in which a pseudogap and a gap differ.

    Parameters
    ----------
    grid : mapping
        ``w_min, w_max, n_w`` of `FrequencyGrid.geometric`.
    logarithm : bool
    """

    LOG_FLOOR = 1e-5

    def __init__(self, grid: Mapping, logarithm: bool = False):
        super().__init__()
        frequencies = FrequencyGrid.geometric(**grid)
        self.logarithm = logarithm
        hilbert = torch.tensor(frequencies.hilbert, dtype=torch.float32)
        self.register_buffer("hilbert", hilbert, persistent=False)
        self.kramers_kronig = frequencies.kramers_kronig

    @property
    def n_features(self) -> int:
        """Number of features per token."""
        return 3 if self.logarithm else 2

    def forward(self, hybridization: Array) -> Array:
        """(..., n_w) -> (..., n_w, n_features)."""
        xp = library(hybridization)
        if xp is torch:
            real = hybridization @ self.hilbert.T
        else:
            real = rounded(self.kramers_kronig(precise(hybridization)), hybridization)
        features = [4.0 * hybridization, 4.0 * real]
        if self.logarithm:
            floor = xp.clip(hybridization, self.LOG_FLOOR, None)
            features.append(0.4 * xp.log10(floor) + 1.0)
        return xp.stack(features, -1)


class SpectralNetwork(nn.Module, ABC):
    """Base of the architectures: hybridization and parameters in, numbers per frequency out.

    Parameters
    ----------
    grid : mapping
        ``w_min, w_max, n_w`` of the network grid.
    resolution : (eta, slope)
        Gaussian width ``eta + slope |w|``, in D, of the data and of the cheap spectra.
    n_params : int
        2 for ``[U, eps_d]``, 3 where the angle is an input.
    guesses : bool
        The logarithms of the guesses (`dmftnet.models.networks.guesses`) are features of the
        frequency tokens.
    log_residual : bool
        The output corrects those spectra, see `first_outputs`; the head
        (`dmftnet.models.networks.heads`) reads this.
    guess_names : sequence of str
        Which guesses, in the order of their rows.
    corrects : {"spectrum", "self_energy"}
        What the output is of; the head says it.
    max_memory : float, in GiB
        Of weights, gradients and moments; a larger network is refused.

    Notes
    -----
    These are the inputs of every architecture: a subclass takes them as ``**inputs``, lists its own
    arguments alone, and keeps in `defaults` what it wants otherwise; its signature shows all.

    A subclass implements ``embed(hybridization, params, guesses) -> (B, n_w, d) or (B, d)``, the
    last hidden layer, from `tokens` and ``parameter_input(params)``, and has a ``projection`` from
    there or a ``project`` of its own. It calls `check_sizes` before it makes layers, which also
    says in ``sample_bytes`` what a sample takes in training. Where the caller has the guesses
    already, they need not be computed again. More axes may stand before B, those of an ensemble's
    members (`dmftnet.models.networks.stacking`): count the others from the end.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    logarithm = True  # see `HybridizationInput`

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        own, shared = (
            inspect.signature(function).parameters
            for function in (cls.__init__, SpectralNetwork.__init__)
        )
        together = {name: p for name, p in own.items() if p.kind is not p.VAR_KEYWORD}
        together = dict(shared) | together
        del together["self"]
        parameters = [
            p.replace(kind=p.KEYWORD_ONLY, default=cls.defaults.get(name, p.default))
            for name, p in together.items()
        ]
        cls.__signature__ = inspect.Signature(parameters)

    def __init__(
        self,
        grid: Mapping,
        resolution: Sequence[float],
        n_params: int = 2,
        guesses: bool = True,
        log_residual: bool = True,
        guess_names: Sequence[str] = GUESS_NAMES,
        corrects: str = "spectrum",
        max_memory: float = checks.MAX_MEMORY,
    ):
        super().__init__()
        self.corrects = checks.choice("model.corrects", corrects, SMOOTHED)
        checks.flag("model.guesses", guesses)
        checks.flag("model.log_residual", log_residual)
        self.grid, self.n_w = grid, checks.integer("grid.n_w", grid["n_w"])
        self.n_params, self.max_memory = n_params, max_memory
        self.parameter_input = ParameterInput(n_params)
        self.hybridization_input = HybridizationInput(grid, self.logarithm)
        self.log_residual = log_residual
        self.guess_features = guesses
        chosen_guesses(guess_names)  # said also where none is used
        used = guesses or log_residual
        self.guesses = Guesses(grid, resolution, guess_names) if used else None
        if log_residual and self.guesses.corrected_name is None:
            raise SettingError(
                f"model.guess_names = {checks.shown(list(guess_names))}: none has a self-energy to "
                "correct; add ipt, or set model.log_residual=false"
            )
        self.n_outputs = len(self.first_outputs)

    @property
    def first_outputs(self) -> tuple[float, ...]:
        """What an untrained network puts out, about.

        Of a log-residual network: the residual, the corrections of -Im Sigma and of the level, and
        the scores of the corrected spectrum, the guesses in their order and the broad background.
        Of a self-energy: the residual, and the scores of the curves that it corrects.
        """
        if not self.log_residual:
            return (0.0,)
        if self.corrects == "self_energy":
            return (0.0, *SELF_ENERGY_SCORES)
        return (0.0, 0.0, 0.0, CORRECTED_SCORE, *self.guesses.scores, BROAD_SCORE)

    def check_sizes(self, dropout: float, depth: int, n_sequence: int, **sizes: int) -> None:
        """Raise unless an architecture's sizes are numbers that make a network of moderate size.

        Parameters
        ----------
        depth : int
            Blocks in all.
        n_sequence : int
            Frequency tokens, that is rows of the hidden layers.
        sizes
            Integers >= 1 by the names of the arguments, ``width`` among them.

        Raises
        ------
        SettingError
            If a size or the share of dropout is out of its limits.
        SpaceTooLargeError
            If weights, gradients and the optimizer's moments would exceed `max_memory` GiB.
        """
        for name, size in (*sizes.items(), ("n_blocks", depth)):
            checks.integer(f"model.{name}", size, at_least=1)
        checks.number("model.dropout", dropout, at_least=0, below=1)
        width, tokens = sizes["width"], sizes.get("n_tokens", 1)
        ends = self.n_outputs + self.n_features + 2
        parameters = width**2 * (12 * depth + 16 + 2 * tokens) + width * self.n_w * ends
        checks.memory(
            f"a network of width = {checks.shown(width)} with {checks.shown(depth)} blocks",
            float(BYTES_EACH * parameters),
            checks.number("model.max_memory", self.max_memory, above=0),
            "model.max_memory",
            "take a smaller one",
        )
        scores = 0 if self.fused else 3 * sizes.get("n_heads", 0) * n_sequence
        guesses = 0 if self.guesses is None else self.guesses.kept_bytes * self.n_w
        self.sample_bytes = 4 * depth * n_sequence * (ROWS_KEPT * width + scores) + guesses

    def output_layer(self, width: int, n_points: int) -> nn.Linear:
        """Projection to the outputs of `n_points` frequencies, output by output.

        A log-residual network starts close to the mixture in which the first guesses dominate.
        """
        layer = nn.Linear(width, self.n_outputs * n_points)
        if self.log_residual:
            with torch.no_grad():
                layer.weight *= 0.1
                layer.bias.copy_(torch.tensor(self.first_outputs).repeat_interleave(n_points))
        return layer

    @abstractmethod
    def embed(
        self,
        hybridization: torch.Tensor,
        params: torch.Tensor,
        guesses: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, n_w), (B, n_params), (B, n_guess, n_w) -> (B, n_w, d) or (B, d), the last layer."""

    def tokens(self, hybridization: torch.Tensor, guesses: torch.Tensor | None) -> torch.Tensor:
        """(B, n_w, n_features) features of the frequencies."""
        if compiles(hybridization):
            arrays = (None if x is None else x.numpy() for x in (hybridization, guesses))
            return torch.from_numpy(self._tokens(*arrays))
        return self._tokens(hybridization, guesses)

    def _tokens(self, hybridization: Array, guesses: Array | None) -> Array:
        """The same of arrays of either library."""
        features = self.hybridization_input(hybridization)
        if not self.guess_features:
            return features
        return library(features).concatenate(
            (features, self.guesses.features(hybridization, guesses)), -1
        )

    @property
    def n_features(self) -> int:
        """Number of features a frequency token."""
        extra = self.guesses.n_rows if self.guess_features else 0
        return self.hybridization_input.n_features + extra

    @property
    def fused(self) -> bool:
        """Whether attention may use the fused kernel: nothing is differentiated in the angle."""
        return self.n_params == 2

    def project(self, embedding: torch.Tensor) -> torch.Tensor:
        """(B, n_w, d) -> (B, n_outputs, n_w); per token unless a subclass says otherwise."""
        return self.projection(embedding).mT

    def forward(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(B, n_w) hybridization spectrum in D, (B, n_params) -> (B, n_outputs, n_w) raw output."""
        return self.project(self._embedding(hybridization, params, guesses))

    def with_slope(self, hybridization, params, guesses=None) -> tuple[torch.Tensor, torch.Tensor]:
        """Raw output and its derivative in the angle, the last of `params`, (B, n_outputs, n_w).

        A subclass may write the tangents out, which is faster.
        """
        physical, angle = params[..., :-1], params[..., -1:]
        if guesses is None and self.guesses is not None:
            guesses = self.guesses(hybridization, params)  # which know no angle

        def output(angle: torch.Tensor) -> torch.Tensor:
            return self(hybridization, torch.cat([physical, angle], dim=-1), guesses)

        with DefinedNorm():
            return torch.func.jvp(output, (angle,), (torch.ones_like(angle),))

    def latent(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(B, d') representation of a problem: the last hidden layer, tokens side by side."""
        return self._embedding(hybridization, params, guesses).flatten(1)

    def _embedding(self, hybridization, params, guesses) -> torch.Tensor:
        """`embed` with the guesses, computed where the network has some and the caller none."""
        if guesses is None and self.guesses is not None:
            guesses = self.guesses(hybridization, params)
        return self.embed(hybridization, params, guesses)

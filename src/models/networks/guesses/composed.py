"""The guesses that a network has, as rows of one array: what it reads and what it corrects.

Each is non-negative, of norm one and at the data's resolution. They depend on no weight: a training
computes them once for all samples. The five that networks have had from the start:

* ``ipt``: modified second-order perturbation theory, exact at U = 0, to order U^2 and in the atomic
  limit;
* ``hybridization``: the normalised input, close to the answer late in a DMFT loop;
* ``lower``, ``middle``, ``upper``: resonant levels at ``eps_d + U (0, 1/2, 1)``.

The first with a self-energy that is not real is what a network corrects by Dyson's equation; behind
the spectra two more rows hold its ``-Im Sigma / pi`` and ``eps_d + Re Sigma``.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache

import torch

from dmftnet import checks
from dmftnet.errors import SettingError
from dmftnet.models.networks import guesses as folder
from dmftnet.models.networks.cells import compiles, pole_weights
from dmftnet.models.networks.constants import Array, Constants, library, precise, rounded
from dmftnet.models.networks.guesses.guess import Guess, SelfEnergy
from dmftnet.physics.analysis.causal_dyson import cell_weights
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import Banded, smoothing_kernel

GUESS_NAMES = ("ipt", "hybridization", "lower", "middle", "upper")
KEPT_FOR_DYSON = 1800  # bytes a frequency that the corrected spectrum keeps for its gradient, about
KEPT_FOR_ROW = 100  # and each row, about


@cache
def known_guesses() -> dict[str, type[Guess]]:
    """Every kind of guess by the names that it gives."""
    modules = [
        importlib.import_module(f"{folder.__name__}.{module.name}")
        for module in pkgutil.iter_modules(folder.__path__)
        if f"{folder.__name__}.{module.name}" != __name__
    ]
    kinds = {
        kind
        for module in modules
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Guess) and not inspect.isabstract(kind)
    }
    return {name: kind for kind in kinds for name in kind.partners}


def chosen_guesses(names: Sequence[str]) -> tuple[str, ...]:
    """Names of guesses as a user gives them: known, each once, mirror images together.

    Raises
    ------
    SettingError
    """
    known = known_guesses()
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise SettingError(
            f"model.guess_names = {checks.shown(names)}: give a list of {', '.join(sorted(known))}"
        )
    for i, name in enumerate(names):
        checks.choice(f"model.guess_names[{i}]", name, sorted(known))
        partner = known[name].partners[name]
        if partner not in names:
            raise SettingError(
                f"model.guess_names has {name}, but not its mirror image {partner}; name both"
            )
    if len(set(names)) < len(names):
        raise SettingError(f"model.guess_names = {checks.shown(names)}: give each once")
    return tuple(names)


class Guesses(Constants):
    """The guesses of these names.

    Parameters
    ----------
    grid : mapping
        ``w_min, w_max, n_w`` of the network grid.
    resolution : (eta, slope)
        Gaussian width ``eta + slope |w|`` of the training data, in D, that self-energies' spectra
        are smoothed with.
    names : sequence of str
        In the order of the rows.

    Attributes
    ----------
    members : nn.ModuleList of Guess
    n_spectra, n_rows : int
        Rows with spectra, and with those of the corrected self-energy.
    corrected_name : str or None
        The guess whose self-energy that is.
    """

    LOG_FLOOR = 1e-4  # 1/D

    def __init__(
        self, grid: Mapping, resolution: Sequence[float], names: Sequence[str] = GUESS_NAMES
    ):
        super().__init__()
        frequencies, self.names = FrequencyGrid.geometric(**grid), chosen_guesses(names)
        known = known_guesses()
        self.members = torch.nn.ModuleList(known[name](frequencies, name) for name in self.names)
        damped = [guess.name for guess in self.members if guess.damped]
        self.corrected_name = damped[0] if damped else None
        self.n_spectra = len(self.names)
        self.n_rows = self.n_spectra + (2 if damped else 0)
        self.image_of = [self.names.index(guess.partner) for guess in self.members]
        self.constant("omega", frequencies.omega)
        self.constant("weights", frequencies.weights)
        self.constant("width", frequencies.omega[1:] - frequencies.omega[:-1])
        self.constant("hilbert", frequencies.hilbert.T.copy())
        smoothing = smoothing_kernel(frequencies, *resolution)
        self.constant("smoothing", smoothing.T.copy())
        self.smoothed = Banded(smoothing)
        self.kramers_kronig = frequencies.kramers_kronig

    @property
    def scores(self) -> tuple[float, ...]:
        """Of each spectrum in the mixture that a network starts from."""
        return tuple(guess.score for guess in self.members)

    @property
    def kept_bytes(self) -> int:
        """What the correction of one sample keeps a frequency for its gradient, about."""
        return KEPT_FOR_DYSON + KEPT_FOR_ROW * self.n_rows

    @torch.no_grad()
    def forward(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """(B, n_w), (B, >= 2) ``[U, eps_d]`` -> (B, n_rows, n_w), in the input's precision."""
        h, p = hybridization.double(), params[:, :2].double()
        if h.device.type == "cpu":
            return torch.from_numpy(self._rows(h.numpy(), p.numpy())).to(hybridization.dtype)
        return self._rows(h, p).to(hybridization.dtype)

    def _rows(self, hybridization: Array, params: Array) -> Array:
        """The same of float64 arrays, all of numpy or all of torch."""
        xp = library(hybridization)
        answers = [guess(hybridization, params) for guess in self.members]
        spectra: list[Array] = list(answers)
        damped = [i for i, answer in enumerate(answers) if isinstance(answer, SelfEnergy)]
        if damped:
            shape = hybridization.shape
            shift = xp.stack([xp.broadcast_to(answers[i].shift, shape) for i in damped], 1)
            density = xp.zeros_like(shift)
            for row, i in enumerate(damped):
                if answers[i].density is not None:
                    density[:, row] = answers[i].density
            drawn = self.dyson(hybridization[:, None, :], shift, density)
            for row, i in enumerate(damped):
                spectra[i] = drawn[:, row]
        if self.corrected_name is not None:
            sigma = answers[self.names.index(self.corrected_name)]
            spectra += [sigma.density, sigma.shift]
        return xp.stack(spectra, 1)

    def dyson(self, hybridization: Array, shift: Array, density: Array) -> Array:
        """Spectra at the data's resolution, of norm one, from ``eps_d + Re Sigma`` and ``-Im/pi``.

        All (..., n_w), in float64, in D and 1/D; differentiable where they are torch's.
        """
        real = self.like(shift, "omega") - self._real_part(hybridization) - shift
        imag = math.pi * (hybridization + density)
        weights = self.like(shift, "weights")
        if library(shift) is torch:
            curves = (pole_weights(real, imag, self.width) / weights) @ self.smoothing
        else:
            poles = cell_weights(real, imag, self.width.numpy()) / weights
            curves = self.smoothed(poles.reshape(-1, poles.shape[-1])).reshape(poles.shape)
        return curves / (curves @ weights)[..., None]

    def _real_part(self, curves: Array) -> Array:
        """(..., n_w) Kramers-Kronig of curves in float64."""
        on_torch = library(curves) is torch
        return curves @ self.hilbert if on_torch else self.kramers_kronig(curves)

    def corrected(
        self,
        hybridization: torch.Tensor,
        guesses: torch.Tensor,
        factor: torch.Tensor,
        level: torch.Tensor,
    ) -> torch.Tensor:
        """`corrected_name` with ``-Im Sigma`` times `factor` and the level shifted by `level`.

        ``Re Sigma`` follows by Kramers-Kronig, so that the result is causal, keeps the bath's
        features and is exact wherever a causal Sigma of this shape is.

        Parameters
        ----------
        hybridization, factor : (..., n_w)
        guesses : (..., n_rows, n_w)
        level : (...), in D

        Returns
        -------
        (..., n_w), in 1/D
        """
        given = [hybridization, guesses[..., -2, :], guesses[..., -1, :], factor, level]
        given = [values.double() for values in given]
        if compiles(factor):
            found = torch.from_numpy(self._corrected(*(values.numpy() for values in given)))
        else:
            found = self._corrected(*given)
        return found.to(guesses.dtype)

    def _corrected(self, hybridization, density, shift, factor, level) -> Array:
        """The same of float64 arrays of either library."""
        changed = density * factor
        shift = shift + self._real_part(changed - density) + level[..., None]
        return self.dyson(hybridization, shift, changed)

    def features(self, hybridization: Array, guesses: Array) -> Array:
        """(..., n_w), (..., n_rows, n_w) -> (..., n_w, n_rows) numbers of order one.

        Logarithms of the spectra and of ``-Im Sigma``, and the inverse of ``Re G``, which passes
        through zero at the quasiparticle energies.
        """
        xp = library(guesses)
        positive = guesses if self.corrected_name is None else guesses[..., :-1, :]
        logarithms = 0.4 * xp.log10(xp.clip(positive, self.LOG_FLOOR, None)) + 0.4
        if self.corrected_name is None:
            return logarithms.mT
        level = precise(guesses[..., -1, :])
        real = self.like(level, "omega") - self._real_part(precise(hybridization)) - level
        inverse = rounded(0.3 * xp.asinh(10.0 * real), guesses)
        return xp.concatenate((logarithms, inverse[..., None, :]), -2).mT

    def mirrored(self, guesses: torch.Tensor) -> torch.Tensor:
        """(..., n_rows, n_w) guesses of the particle-hole mirrored problems.

        Every spectrum is the image of its partner; of the self-energy ``-Im Sigma`` is even, and
        ``eps_d + Re Sigma`` odd.
        """
        rows = [*self.image_of, *range(self.n_spectra, self.n_rows)]
        images = guesses[..., rows, :].flip(-1)
        if self.corrected_name is not None:
            images[..., -1, :] *= -1.0
        return images

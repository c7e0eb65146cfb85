"""Base of all models: rotations to the training angles, particle-hole symmetric use.

``spectrum`` is for training, ``real_axis`` for use, ``latent`` for looking inside. Outside training
``real_axis`` averages a problem with its particle-hole mirror image, so that the symmetry is
exact; both share one batch, and a problem that is its own mirror image is evaluated once.

The matrices act on values at the network grid's points. Between them the rotation uses a cubic
spline in ``asinh w`` on a finer grid: with 160 points that is ten times closer (KL 1e-6 to 5e-5)
to the rotation of the underlying curve than linear interpolation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import nn

from dmftnet import checks
from dmftnet.errors import DmftnetError
from dmftnet.models.networks.symmetry import is_even, mirror
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import rotation_kernel, rotation_kernel_derivative

FINE_FACTOR = 5  # points of the fine grid, on which the rotation is integrated, per network point


def rotation_matrices(
    grid: FrequencyGrid, angles: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """``K_alpha`` and ``dK_alpha/dalpha`` on values at the grid's points, spline between them.

    Returns
    -------
    (n_angle, n_w, n_w) float64, twice
    """
    w_min, w_max = grid.omega[grid.n_w // 2], grid.omega[-1]
    fine = FrequencyGrid.geometric(w_min, w_max, FINE_FACTOR * grid.n_w)
    coordinate = np.arcsinh(grid.omega / w_min)
    spline = CubicSpline(coordinate, np.eye(grid.n_w))(np.arcsinh(fine.omega / w_min))
    kernels = [rotation_kernel(fine, angle, grid) @ spline for angle in angles]
    derivatives = [rotation_kernel_derivative(fine, angle, grid) @ spline for angle in angles]
    return np.stack(kernels), np.stack(derivatives)


class SpectralModel(nn.Module, ABC):
    """Base of all models, networks and baselines alike.

    Parameters
    ----------
    grid : mapping
        ``w_min, w_max, n_w`` of the network grid.
    angles : sequence of float, in radians
        The complex-time angles of the training data, all > 0.

    Attributes
    ----------
    frequency_grid : FrequencyGrid
    weights : (n_w,) float32 buffer
        Quadrature weights in D.
    rotation, rotation_derivative : (n_angle, n_w, n_w) float32 buffers
    corrects : {"spectrum", "self_energy"}
        What `predict` gives, see there.
    angles_are_free : bool
        Whether one prediction serves all angles, so that drawing a few saves nothing.
    """

    angles_are_free = True
    corrects = "spectrum"

    def __init__(self, grid: Mapping, angles: Sequence[float]):
        super().__init__()
        angles = checks.numbers("angles", angles)
        if len(angles) == 0 or min(angles) <= 0:
            raise DmftnetError(f"angles = {list(angles)}: training needs angles > 0, e.g. [0.1]")
        grid = checks.grid("grid", grid)
        self.frequency_grid = FrequencyGrid.geometric(**grid)
        checks.memory(  # complex kernels on the fine grid, some copies, and the result
            f"n_w = {self.frequency_grid.n_w}: the rotation of spectra",
            self.frequency_grid.n_w**2 * (160.0 * FINE_FACTOR + 16 * len(angles)),
            grid.get("max_memory", checks.MAX_MEMORY),
            "grid.max_memory",
            "take fewer points",
        )
        kernels, derivatives = self.rotations(self.frequency_grid, angles)
        self._constant("weights", self.frequency_grid.weights)
        self._constant("angles", angles)
        self._constant("rotation", kernels)
        self._constant("rotation_derivative", derivatives)

    rotations = staticmethod(rotation_matrices)
    """How values at the grid's points are rotated."""

    def _constant(self, name: str, values) -> None:
        tensor = torch.tensor(np.asarray(values), dtype=torch.float32)
        self.register_buffer(name, tensor, persistent=False)  # follows from the config

    def normalise(self, curve: torch.Tensor) -> torch.Tensor:
        """(..., n_w) non-negative curve -> the same with integral one by quadrature."""
        return curve / (curve @ self.weights).unsqueeze(-1)

    def guesses(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor | None:
        """(B, n_guess, n_w) cheap spectra that the model corrects, to be computed once; or None."""
        return None

    def known(self, hybridization, params, guesses=None) -> tuple[torch.Tensor, ...]:
        """The guesses, computed where the caller has none; nothing where the model has none."""
        if guesses is None:
            guesses = self.guesses(hybridization, params)
        return () if guesses is None else (guesses,)

    def mirrored_guesses(self, guesses: torch.Tensor) -> torch.Tensor:
        """(B, n_guess, n_w) guesses of the particle-hole mirrored problems."""
        raise DmftnetError(f"{type(self).__name__} has no guesses; call it without")

    def symmetric(
        self,
        predict: Callable[..., torch.Tensor],
        hybridization: torch.Tensor,
        params: torch.Tensor,
        *guesses: torch.Tensor,
    ) -> torch.Tensor:
        """(..., B, n_w) mean of what `predict` says of problems and of their mirror images."""
        n, uneven = len(params), ~is_even(hybridization, params)
        if not uneven.any():
            A = predict(hybridization, params, *guesses)
            return 0.5 * (A + A.flip(-1))
        guesses = tuple(torch.cat([g, self.mirrored_guesses(g[uneven])]) for g in guesses)
        both = predict(
            torch.cat([hybridization, hybridization[uneven].flip(-1)]),
            torch.cat([params, mirror(params[uneven])]),
            *guesses,
        )
        A = both[..., :n, :]
        image = A.flip(-1)
        image[..., uneven, :] = both[..., n:, :].flip(-1)
        return 0.5 * (A + image)

    @abstractmethod
    def predict(
        self,
        hybridization: torch.Tensor,
        params: torch.Tensor,
        guesses: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, n_w), (B, 2) -> (B, n_w) curve of integral one, on the real axis.

        The spectrum, or where ``corrects`` is "self_energy" the shape of -Im Sigma; what the
        mirror image and the members of an ensemble are averaged in.
        """

    def finished(
        self, curve: torch.Tensor, hybridization: torch.Tensor, params: torch.Tensor
    ) -> torch.Tensor:
        """(..., B, n_w) spectra in 1/D of such curves: themselves, unless a head says otherwise."""
        return curve

    @abstractmethod
    def latent(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """(B, n_w), (B, 2) -> (B, d) representation of each problem."""

    def real_axis(
        self,
        hybridization: torch.Tensor,
        params: torch.Tensor,
        guesses: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, n_w) hybridization spectrum, (B, 2) ``[U, eps_d]`` -> (B, n_w) spectrum in 1/D."""
        curve = self.curve(hybridization, params, guesses)
        return self.finished(curve, hybridization, params)

    def curve(
        self,
        hybridization: torch.Tensor,
        params: torch.Tensor,
        guesses: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, n_w) what `predict` gives, outside training averaged with the mirror image's."""
        known = self.known(hybridization, params, guesses)
        if self.training:
            return self.predict(hybridization, params, *known)
        return self.symmetric(self.predict, hybridization, params, *known)

    def spectrum(
        self,
        hybridization: torch.Tensor,
        params: torch.Tensor,
        index: torch.Tensor | None = None,
        guesses: torch.Tensor | None = None,
        slopes: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Spectra at the training angles and their angle derivatives, by exact rotation.

        Parameters
        ----------
        index : (B, k) int64, optional
            Which of the angles, for each sample; all by default (k = n_angle).
        guesses : (B, n_guess, n_w), optional
            What `guesses` gave, where the caller kept it.
        slopes : bool
            Whether the derivatives are needed; if not, a model may return None.

        Returns
        -------
        A, dA : (B, k, n_w), in 1/D
        """
        return self.rotated(self.predict(hybridization, params, guesses), index)

    def rotated(self, curve: torch.Tensor, index: torch.Tensor | None = None):
        """``K_alpha`` and ``dK_alpha/dalpha`` applied to (B, ..., n_w); (B, k, ..., n_w) twice."""
        shape = (*curve.shape[:-1], len(self.angles), curve.shape[-1])
        both = [
            (curve @ matrix.flatten(0, 1).T).reshape(shape).movedim(-2, 1)
            for matrix in (self.rotation, self.rotation_derivative)
        ]
        return tuple(both if index is None else (select(curves, index) for curves in both))


def select(curves: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """(B, n_angle, ...), (B, k) -> (B, k, ...): each sample's own choice of angles."""
    return curves[torch.arange(len(index), device=index.device)[:, None], index]

"""Heads: from a network's raw output to spectra at finite angles and on the real axis.

Training data live on complex-time contours, ``A(w, alpha)`` and ``dA/dalpha``; what is wanted is
``A(w, 0)``. Two ways lead there:

* `DirectHead` (the seed paper's): the angle is an input of the network, trained at finite angles
  and asked at zero. ``dA/dalpha`` is the forward-mode derivative of the network. It inherits the
  error of extrapolating in the angle.
* `RotatedHead`: the network's output *is* the real-axis spectrum, compared with the data through
  the exact rotation ``K_alpha`` and ``dK_alpha/dalpha`` (`dmftnet.physics.contour`). Inverting the
  rotation amplifies noise, so the output passes through a Gaussian of width ``eta + slope |w|``.

A head owns its network and is the whole model: ``spectrum`` for training, ``real_axis`` for use,
``latent`` for looking inside. Outside training ``real_axis`` averages a problem with its
particle-hole mirror image, so that the symmetry holds exactly.

The matrices act on values at the network grid's points. Between them the rotation uses a cubic
spline in ``asinh w`` on a finer grid: with 160 points that is ten times closer (KL 1e-6 to 5e-5)
to the rotation of the underlying curve than straight lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import nn

from dmftnet.errors import DmftnetError
from dmftnet.models.layers import SpectralNetwork
from dmftnet.physics.contour import rotation_kernel, rotation_kernel_derivative, smoothing_kernel
from dmftnet.physics.grid import FrequencyGrid

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


def mirror(params: torch.Tensor) -> torch.Tensor:
    """Particle-hole mirrored ``[U, eps_d] -> [U, -U - eps_d]``; (B, 2) -> (B, 2)."""
    U, eps_d = params[:, 0], params[:, 1]
    return torch.stack([U, -U - eps_d], dim=-1)


class SpectralModel(nn.Module, ABC):
    """What every trained model offers, networks and baselines alike.

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
    angles_are_free : bool
        Whether one prediction serves every angle, so that nothing is saved by drawing a few.
    """

    angles_are_free = True

    def __init__(self, grid: Mapping, angles: Sequence[float]):
        super().__init__()
        if len(angles) == 0 or min(angles) <= 0:
            raise DmftnetError(f"angles = {list(angles)}: training needs angles > 0, e.g. [0.1]")
        self.frequency_grid = FrequencyGrid.geometric(**grid)
        kernels, derivatives = rotation_matrices(self.frequency_grid, angles)
        self._constant("weights", self.frequency_grid.weights)
        self._constant("angles", angles)
        self._constant("rotation", kernels)
        self._constant("rotation_derivative", derivatives)

    def _constant(self, name: str, values) -> None:
        tensor = torch.tensor(np.asarray(values), dtype=torch.float32)
        self.register_buffer(name, tensor, persistent=False)  # follows from the config

    def normalise(self, curve: torch.Tensor) -> torch.Tensor:
        """(..., n_w) non-negative curve -> the same with integral one by quadrature."""
        return curve / (curve @ self.weights).unsqueeze(-1)

    @abstractmethod
    def predict(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """(B, n_w), (B, 2) -> (B, n_w) real-axis spectrum, normalised."""

    @abstractmethod
    def latent(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """(B, n_w), (B, 2) -> (B, d) representation of each problem."""

    def real_axis(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """(B, n_w) hybridization spectrum, (B, 2) ``[U, eps_d]`` -> (B, n_w) spectrum in 1/D."""
        A = self.predict(hybridization, params)
        if self.training:
            return A
        return 0.5 * (A + self.predict(hybridization.flip(-1), mirror(params)).flip(-1))

    def spectrum(
        self, hybridization: torch.Tensor, params: torch.Tensor, index: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Spectra at the training angles and their angle derivatives, by exact rotation.

        Parameters
        ----------
        index : (B, k) int64, optional
            Which of the angles, for each sample; all by default (k = n_angle).

        Returns
        -------
        A, dA : (B, k, n_w), in 1/D
        """
        return self.rotated(self.predict(hybridization, params), index)

    def rotated(self, curve: torch.Tensor, index: torch.Tensor | None = None):
        """``K_alpha`` and ``dK_alpha/dalpha`` applied to (B, n_w) curves; (B, k, n_w) twice."""
        A = torch.einsum("aij,bj->bai", self.rotation, curve)
        dA = torch.einsum("aij,bj->bai", self.rotation_derivative, curve)
        return (A, dA) if index is None else (select(A, index), select(dA, index))


def select(curves: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """(B, n_angle, n_w), (B, k) -> (B, k, n_w): each sample's own choice of angles."""
    return curves.gather(1, index.unsqueeze(-1).expand(-1, -1, curves.shape[-1]))


class Head(SpectralModel):
    """A network and the way from its raw output to a positive curve.

    ``softplus(raw)``, or ``reference * exp(raw)`` where the network is a log-residual one; the
    reference is the normalised input hybridization with a share of a broad Lorentzian, so that no
    frequency is out of reach.
    """

    n_params: int
    BROAD_SHARE = 0.1
    BROAD_WIDTH = 1.5  # in D

    def __init__(self, net: SpectralNetwork, grid: Mapping, angles: Sequence[float]):
        super().__init__(grid, angles)
        if net.n_params != self.n_params:
            raise DmftnetError(
                f"{type(self).__name__} feeds {self.n_params} parameters, but the network was "
                f"built for {net.n_params}; set model.n_params={self.n_params}"
            )
        self.net = net
        omega = self.frequency_grid.omega
        broad = 1.0 / (omega**2 + self.BROAD_WIDTH**2)
        self._constant("broad", broad / self.frequency_grid.integrate(broad))

    def reference(self, hybridization: torch.Tensor) -> torch.Tensor:
        """(B, n_w) positive curve of integral one."""
        weight = (hybridization @ self.weights).clamp_min(1e-6).unsqueeze(-1)
        guess = hybridization / weight
        return (1.0 - self.BROAD_SHARE) * guess + self.BROAD_SHARE * self.broad

    def latent(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        return self.net.latent(hybridization, self._complete(params))

    def _complete(self, params: torch.Tensor) -> torch.Tensor:
        """``[U, eps_d]`` as the network wants it on the real axis."""
        return params


class RotatedHead(Head):
    """The output is the real-axis spectrum; finite angles follow by exact rotation.

    Parameters
    ----------
    net : SpectralNetwork
        Built for ``n_params = 2``.
    grid, angles : see `SpectralModel`
    eta, slope : float
        The output is smoothed by a Gaussian of width ``eta + slope |w|``, in D; a little below
        the data's resolution, so that every label is in reach.
    power : float
        The positive curve is ``softplus(raw)^power``; 2 empties gaps and tails sooner than 1, where
        a remainder of 1e-4 over the whole window is a KL of 1e-3.
    """

    n_params = 2

    def __init__(
        self,
        net: SpectralNetwork,
        grid: Mapping,
        angles: Sequence[float],
        eta: float = 0.0045,
        slope: float = 0.045,
        power: float = 2.0,
    ):
        super().__init__(net, grid, angles)
        self.power = power
        self._constant("smoothing", smoothing_kernel(self.frequency_grid, eta, slope))

    def predict(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        raw = self.net(hybridization, params)
        if self.net.log_residual:
            curve = self.reference(hybridization) * torch.exp(raw.clamp(-20.0, 5.0))
        else:
            curve = nn.functional.softplus(raw) ** self.power
        return self.normalise(curve @ self.smoothing.T)


class DirectHead(Head):
    """The angle is the network's third parameter; the real axis is the output at angle zero.

    At finite angle part of the weight leaves the grid (about 1 %), so that only the real-axis
    spectrum is divided by its quadrature.
    """

    n_params = 3
    angles_are_free = False

    def predict(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        curve = self._curve(hybridization, self._complete(params), self.reference(hybridization))
        return self.normalise(curve)

    def spectrum(
        self, hybridization: torch.Tensor, params: torch.Tensor, index: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `SpectralModel.spectrum`; ``dA`` is the network's forward-mode derivative."""
        if index is None:
            index = torch.arange(len(self.angles), device=params.device).expand(len(params), -1)
        k = index.shape[1]
        repeated = hybridization.repeat_interleave(k, dim=0)  # (B k, n_w)
        fixed = params.repeat_interleave(k, dim=0)
        at = self.angles[index].flatten()
        reference, slope = (
            curves.flatten(0, 1) for curves in self.rotated(self.reference(hybridization), index)
        )

        def curve(angle: torch.Tensor) -> torch.Tensor:
            moved = reference + slope * (angle - at).unsqueeze(-1)  # carries the exact tangent
            full = torch.cat([fixed, angle.unsqueeze(-1)], dim=-1)
            return self._curve(repeated, full, moved)

        A, dA = torch.func.jvp(curve, (at,), (torch.ones_like(at),))
        return A.unflatten(0, (-1, k)), dA.unflatten(0, (-1, k))

    def _complete(self, params: torch.Tensor) -> torch.Tensor:
        return torch.cat([params, torch.zeros_like(params[:, :1])], dim=-1)

    def _curve(self, hybridization, params, reference) -> torch.Tensor:
        raw = self.net(hybridization, params)
        if self.net.log_residual:
            return reference * torch.exp(raw.clamp(-20.0, 5.0))
        return nn.functional.softplus(raw)

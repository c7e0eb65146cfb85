"""Deep ensembles: several trained networks as one model that predicts its own error.

The spectrum is the mean over the members, ``A = (1/M) sum_m A_m``; where they put out a
self-energy it is the mean of their shapes, and A follows. Members that differ
only in their seed agree where the data determine them and disagree elsewhere, so that their spread

    ``spread = 1/2 [ (1/M) sum_m integral |A_m - A| dw ]^2``

shows which answers to trust. By Pinsker's inequality it is a lower bound of a KL divergence. It
ranks errors; `dmftnet.models.solvers.applicability` calibrates the limit beyond which an answer
should not be used, together with the distance to the training data, which detects errors that all
members share.

Unlike means of ``KL(A_m || A)``, the squared total variation does not count gaps and tails, where
members differ harmlessly. ``evaluate.py`` reports how spread and distance rank the true errors
(section "calibration").

Reference: B. Lakshminarayanan, A. Pritzel, C. Blundell, NeurIPS 30 (2017).
Cost: M times a member in training, in use less: members of one architecture are one network
(`dmftnet.models.networks.stacking`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from dmftnet.errors import DmftnetError
from dmftnet.models.networks.heads import Head
from dmftnet.models.networks.spectral_model import SpectralModel
from dmftnet.models.networks.stacking import alike, stacked
from dmftnet.physics.grids.real_axis import FrequencyGrid


class Ensemble(SpectralModel):
    """Trained models with one grid as a single model.

    Parameters
    ----------
    members : sequence of SpectralModel
        At least two; the angles of the first are the ensemble's.

    Raises
    ------
    DmftnetError
        If there are fewer than two, or their grids differ.
    """

    def __init__(self, members: Sequence[SpectralModel]):
        if len(members) < 2:
            raise DmftnetError(f"an ensemble of {len(members)} has no spread; give at least two")
        first = members[0].frequency_grid
        for number, member in enumerate(members):
            own = member.frequency_grid
            if own != first:
                raise DmftnetError(
                    f"ensemble: member {number} has {own.n_w} frequencies up to "
                    f"{own.omega[-1]:.4g} D, member 0 {first.n_w} up to {first.omega[-1]:.4g} D; "
                    "train all with one dataset.grid"
                )
        half = first.omega[first.n_w // 2 :]
        grid = {"w_min": half[0], "w_max": half[-1], "n_w": first.n_w}
        kinds = sorted({member.corrects for member in members})
        if len(kinds) > 1:
            raise DmftnetError(
                f"ensemble: members put out {' and '.join(kinds)}; train all with one head"
            )
        super().__init__(grid, members[0].angles.tolist())
        self.corrects = kinds[0]
        self.frequency_grid = first  # to the last bit, whatever geomspace makes of its ends
        self.members = nn.ModuleList(members)
        self.guessing = _first_with_guesses(self.members)
        self.together = _in_one_pass(self.members)

    def guesses(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor | None:
        """The members' cheap spectra, which hold no weight and are the same for all."""
        if self.guessing is None:
            return None
        return self.members[self.guessing].guesses(hybridization, params)

    def mirrored_guesses(self, guesses: torch.Tensor) -> torch.Tensor:
        return self.members[self.guessing].mirrored_guesses(guesses)

    def predict(self, hybridization, params, guesses=None) -> torch.Tensor:
        known = self.known(hybridization, params, guesses)
        return self._each(hybridization, params, *known).mean(dim=0)

    def finished(self, curve, hybridization, params) -> torch.Tensor:
        return self.members[0].finished(curve, hybridization, params)

    def member_curves(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(B, n_w), (B, 2) -> (M, B, n_w) what each member puts out, see `SpectralModel.curve`."""
        known = self.known(hybridization, params, guesses)
        return self.symmetric(self._each, hybridization, params, *known)

    def member_spectra(self, hybridization, params, guesses=None) -> torch.Tensor:
        """(B, n_w), (B, 2) -> (M, B, n_w) real-axis spectrum of each member, in 1/D."""
        curves = self.member_curves(hybridization, params, guesses)
        return self.finished(curves, hybridization, params)

    def curve(self, hybridization, params, guesses=None) -> torch.Tensor:
        return self.member_curves(hybridization, params, guesses).mean(dim=0)

    def _each(self, hybridization, params, *guesses) -> torch.Tensor:
        """(M, B, n_w) predictions of the members."""
        if self.together is not None:
            inputs = (hybridization, params, *guesses)
            return self.together.predict(*(x.unsqueeze(0) for x in inputs))  # one for all members
        answers = [
            member.predict(hybridization, params, *(guesses if _uses_guesses(member) else ()))
            for member in self.members
        ]
        return torch.stack(answers)

    def latent(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """The members' latent vectors side by side."""
        return torch.cat([member.latent(hybridization, params) for member in self.members], dim=-1)

    def spread(self, hybridization: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """(B, n_w), (B, 2) -> (B,) float64 disagreement of the members; see `disagreement`."""
        members = self.member_spectra(hybridization, params).double().cpu().numpy()
        return torch.from_numpy(disagreement(self.frequency_grid, members))


def _in_one_pass(members: Sequence[SpectralModel]) -> Head | None:
    """The members as one model with stacked networks; None if they differ in kind."""
    if not (all(isinstance(member, Head) for member in members) and alike(members)):
        return None
    model = copy.copy(members[0])
    model._modules = {**model._modules, "net": stacked([member.net for member in members])}
    return model


def _first_with_guesses(members: Sequence[SpectralModel]) -> int | None:
    """Number of the member that makes the guesses of all; None where none wants any.

    Raises
    ------
    DmftnetError
        If two want different ones.
    """
    names = {i: m.net.guesses.names for i, m in enumerate(members) if _uses_guesses(m)}
    first = next(iter(names), None)
    for number, own in names.items():
        if own != names[first]:
            raise DmftnetError(
                f"ensemble: member {number} has guesses {list(own)}, member {first} "
                f"{list(names[first])}; train all with one model.guess_names"
            )
    return first


def _uses_guesses(member: SpectralModel) -> bool:
    return isinstance(member, Head) and member.net.guesses is not None


def disagreement(grid: FrequencyGrid, members: np.ndarray) -> np.ndarray:
    """Half the square of the members' mean L1 distance from their mean.

    Parameters
    ----------
    members : (M, ..., n_w) float64, in 1/D

    Returns
    -------
    (...) float64, >= 0
    """
    distances = grid.integrate(np.abs(members - members.mean(axis=0)))
    return 0.5 * distances.mean(axis=0) ** 2

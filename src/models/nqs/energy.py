"""Energy of a neural state, from samples.

``E(s) = sum_s' H_ss' psi(s') / psi(s)``. Where in the line's signs no element off the diagonal is
positive, none is computed: ``H_ss - sum_(s' != s) |H_ss'| |psi(s') / psi(s)|``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.models.nqs.sampler import Samples
from dmftnet.models.nqs.state import NeuralState


@dataclass(frozen=True)
class Energy:
    """An energy with its standard error.

    Parameters
    ----------
    mean, error : float, in D
    variance : float, in D^2
        ``<H^2> - <H>^2``; zero of an eigenstate.
    n_distinct : int
        Determinants that were found.
    """

    mean: float
    error: float
    variance: float
    n_distinct: int

    @classmethod
    def of(cls, samples: Samples, local: np.ndarray) -> Energy:
        """Ratio of sums over distinct determinants.

        Parameters
        ----------
        local : (n,) float64 or complex128, in D

        Notes
        -----
        The error takes determinants for found independently of one another, to first order in the
        deviations; it vanishes where all are found.
        """
        weights = normalised_weights(samples)
        mean = float((weights @ local).real)
        squares = weights * np.abs(local - mean) ** 2
        error = float(np.sqrt(np.sum((1 - samples.inclusion) * weights * squares)))
        return cls(mean, error, float(squares.sum()), local.size)


def normalised_weights(samples: Samples) -> np.ndarray:
    """(n,) inclusion weights, their sum one."""
    weights = samples.inclusion_weights()
    return weights / weights.sum()


def local_energies(state: NeuralState, states: np.ndarray) -> np.ndarray:
    """Local energies.

    Parameters
    ----------
    states : (n, n_sites) int64
        Canonical local states of the sector.

    Returns
    -------
    (n,) float64, in D; complex128 of a state with learned phases
    """
    codes = state.line.codes(states)
    rows, found, elements = state.H.connected(codes)
    images = state.law.symmetry.canonical(state.line.states(found))
    ratios = np.exp(state.log_ratios(states, rows, images))
    if state.line.is_stoquastic:
        elements = -np.abs(elements)
    else:
        turned = state.line.signs(states)[rows] * state.line.signs(state.line.states(found))
        elements = elements * turned
    diagonal, n = state.H.diagonal(codes), len(states)
    if state.phases is None:
        return diagonal + np.bincount(rows, elements * ratios, minlength=n)
    turned = state.phase(images) - state.phase(states)[rows]
    parts = (np.bincount(rows, elements * ratios * f(turned), n) for f in (np.cos, np.sin))
    return diagonal + next(parts) + 1j * next(parts)

"""Densities and one orbital's poles from ground states, and the noise of either.

Addition poles lie above zero and removal poles below it, if no sector has a lower ground state and
the state has no error. A pole on the wrong side is one of a state that is not the ground state, or
noise; its weight is `OrbitalPoles.wrong_weight`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dmftnet.physics.fermions.kanamori import DOWN, UP
from dmftnet.physics.fermions.operators import Operator, mode
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.solvers.krylov.ras_sector import mirrored
from dmftnet.physics.solvers.scol.ground_states import OperatorState, ResampledState
from dmftnet.physics.solvers.scol.impurity import ImpurityChains
from dmftnet.physics.solvers.scol.projection import Projection
from dmftnet.physics.solvers.scol.sampled_states import jackknife_error
from dmftnet.physics.solvers.scol.sets import StringSet

WRONG_SIDE = 1e-7
"""Energy from which on a pole lies on the wrong side of zero, in D; nearer ones are rounding."""

VISIBLE = 1e-6
"""Weight from which on a pole is one of the spectrum."""

CERTAIN = 2.0
"""Standard errors by which the lowest pole must differ from zero."""


SMALLEST = 1e-12
"""Occupation that is none."""


class OrbitalPoles(NamedTuple):
    """Poles of one orbital.

    Parameters
    ----------
    poles : ResponsePoles
        Of the spin-averaged Green's functions.
    spans : list of Projection
    wrong_weight : float
        Of G, at poles on the wrong side of zero.
    """

    poles: ResponsePoles
    spans: list[Projection]
    wrong_weight: float


def densities(
    chains: ImpurityChains, states: Sequence[OperatorState]
) -> tuple[np.ndarray, np.ndarray]:
    """(n_orb, n_orb) ``<d+_b d_a>`` of one spin and ``<n_a,up n_b,dn>``, symmetrised."""
    n_orb, n = chains.cluster.n_orb, chains.cluster.n_sites

    def mean(operator: Operator) -> float:
        return sum(state.weight * state.mean(operator).real for state in states)

    density, doubles = np.zeros((n_orb, n_orb)), np.zeros((n_orb, n_orb))
    for a in range(n_orb):
        for b in range(n_orb):
            up, down = mode(a, UP, n), mode(b, DOWN, n)
            doubles[a, b] = mean(Operator.of((up, down), (down, up)))
        modes = (mode(a, spin, n) for spin in (UP, DOWN))
        density[a, a] = 0.5 * sum(mean(Operator.of((i,), (i,))) for i in modes)
    return density, 0.5 * (doubles + doubles.T)


def broken_symmetry(chains: ImpurityChains, density: np.ndarray, doubles: np.ndarray) -> float:
    """Largest relative difference of the occupations, single or double, of equal orbitals.

    Zero of exact states, all of a degenerate energy together; 0 without equal orbitals.

    Parameters
    ----------
    chains : ImpurityChains
    density, doubles : (n_orb, n_orb)
        See `densities`.
    """
    largest = 0.0
    for orbital in range(chains.cluster.n_orb):
        twin = chains.equal_orbital(orbital)
        if twin is not None:
            for values in (np.diag(density), np.diag(doubles)):
                own, other = values[orbital], values[twin]
                largest = max(largest, 2 * abs(own - other) / max(abs(own + other), SMALLEST))
    return largest


def orbital_poles(
    states: Sequence[OperatorState],
    sets: Sequence[StringSet],
    threshold: float,
    repulsion: float | None = None,
) -> OrbitalPoles:
    """Poles of one orbital.

    Parameters
    ----------
    sets : (up, down)
    repulsion : float, optional
        Of a particle-hole symmetric impurity, in D: what q gains, ``q -> repulsion d+ - q+``, when
        its addition side is mirrored in place of a removal side.
    """
    energies, amplitudes, spans, wrong = [], [], [], 0.0
    for state in states:
        # of as many electrons of either spin the two answers are mirror images, and equal
        spins = (UP,) if state.sector[UP] == state.sector[DOWN] else (UP, DOWN)
        for spin in spins:
            sides = {1: sets[spin], -1: sets[spin].adjoint()}
            if repulsion is not None:
                del sides[-1]
            for side, strings in sides.items():
                span = state.projection(strings.strings, threshold)
                if span is None:
                    continue
                seeds = np.stack([strings.coefficients(x) for x in (strings.d, strings.q)], axis=1)
                found, overlap = span.poles(seeds)
                energies.append(side * found)
                amplitudes.append(overlap * np.sqrt(state.weight / len(spins)))
                wrong += float((np.abs(amplitudes[-1][found < -WRONG_SIDE, 0]) ** 2).sum())
                spans.append(span)
    E, a = np.concatenate(energies), np.concatenate(amplitudes).real
    if repulsion is not None:
        other = mirrored(E, a, repulsion)
        E, a = np.concatenate([E, other[0]]), np.concatenate([a, other[1]])
        wrong *= 2
    return OrbitalPoles(ResponsePoles(E, a).compressed(), spans, wrong)


def resampled_poles(
    states: Sequence[ResampledState],
    sets: Sequence[StringSet],
    threshold: float,
    repulsion: float | None = None,
) -> list[ResponsePoles]:
    """As `orbital_poles`, once without each block of samples: what is drawn of them scatters.

    The standard error of anything made of poles, a spectrum or Sigma, is
    `dmftnet.physics.solvers.scol.sampled_states.jackknife_error` of what each of them gives.
    """
    blocks = range(min(state.n_blocks for state in states))
    return [
        orbital_poles([state.without(b) for state in states], sets, threshold, repulsion).poles
        for b in blocks
    ]


def infrared_cutoff(each: Sequence[ResponsePoles]) -> float:
    """Energy below which noise decides, in D: of the lowest pole, twice the standard error.

    Parameters
    ----------
    each : sequence of ResponsePoles
        Of `resampled_poles`.
    """
    lowest = [np.abs(p.energies[p.amplitudes[:, 0] ** 2 > VISIBLE]).min() for p in each]
    return CERTAIN * float(jackknife_error(np.array(lowest)))

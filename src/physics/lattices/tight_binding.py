"""A unit cell of inequivalent sites coupled by hoppings, as a sum over the Brillouin zone.

``G_loc(z) = mean_k [z - eps - Sigma(z) - H(k)]^-1``, eps and Sigma diagonal in the sites, and for
each site i, with the block ``G_i`` of its orbitals, ``Delta_i = z - eps_i - Sigma_i - G_i^-1``.
``H(k) = sum_R t(R) exp(-i k R)`` and its Hermitian conjugate; its mean over k within a site, the
`local_levels`, belongs to the impurity, so that Delta vanishes at high frequency.

At Matsubara frequencies the sum converges exponentially in `n_k`. On the real axis every level is a
pole: there z has an imaginary part, `broadening`, which the spectra show.

Cost: O(n_k^dim n_frequencies n_orbitals^3) an iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError, SpaceTooLargeError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization import Hybridization, positive_part
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution
from dmftnet.physics.lattices.protocol import on_axis, same_kind, site_argument

MAX_ELEMENTS = 2**31
"""Of all matrices of one iteration, as a limit of time."""

BLOCK = 2**18
"""Matrix elements that are inverted at once."""


class TightBinding:
    """A periodic lattice with several sites in its unit cell, an impurity problem each.

    Parameters
    ----------
    hoppings : sequence of (cell, i, j, t)
        Amplitude t, in D, of ``c+_i(R + cell) c_j(R)``; its conjugate is added. `cell` is a list of
        integers, one a dimension; i and j count the orbitals of the cell from 0. An entry with
        i = j in the same cell is a level and is not doubled.
    sites : sequence of sequence of int, optional
        Orbitals of each inequivalent site; by default each orbital is a site of its own.
    n_k : int
        Points of the mesh in each direction.
    broadening : float, in D
        Imaginary part of real frequencies.
    name : str
    """

    self_consistent = True

    def __init__(
        self,
        hoppings: Sequence[Sequence],
        sites: Sequence[Sequence[int]] | None = None,
        n_k: int = 32,
        broadening: float = 0.02,
        name: str = "tight_binding",
    ):
        self._terms = [_term(i, entry) for i, entry in enumerate(hoppings)]
        if not self._terms:
            raise InvalidProblemError("lattice.hoppings is empty; give [[cell, i, j, t], ...]")
        dimensions = {len(cell) for cell, *_ in self._terms}
        if len(dimensions) > 1:
            raise InvalidProblemError(
                f"lattice.hoppings: cells of {sorted(dimensions)} dimensions; give one integer a "
                "dimension, the same for all"
            )
        self.n_k = checks.integer("lattice.n_k", n_k, at_least=1, at_most=10_000)
        self.broadening = checks.number("lattice.broadening", broadening, above=0)
        self.name = name
        n = 1 + max(max(i, j) for _, i, j, _ in self._terms)
        self.sites = [[i] for i in range(n)] if sites is None else [list(s) for s in sites]
        if sorted(i for site in self.sites for i in site) != list(range(n)):
            raise InvalidProblemError(
                f"lattice.sites = {self.sites}: each of the {n} orbitals belongs to one site"
            )
        if self.n_k ** dimensions.pop() * n * n > MAX_ELEMENTS // 64:
            raise SpaceTooLargeError(
                f"lattice.n_k = {self.n_k}: the mesh has too many points; take fewer"
            )

    @property
    def n_sites(self) -> int:
        """Inequivalent sites of the cell."""
        return len(self.sites)

    @cached_property
    def hamiltonians(self) -> np.ndarray:
        """(n_k^dim, n, n) complex128 H(k) on the mesh, in D."""
        dimension = len(self._terms[0][0])
        n = sum(map(len, self.sites))
        k = np.array(list(product(2 * np.pi * np.arange(self.n_k) / self.n_k, repeat=dimension)))
        H = np.zeros((len(k), n, n), dtype=np.complex128)
        for cell, i, j, t in self._terms:
            phase = t * np.exp(-1j * k @ np.array(cell, dtype=float))
            if i == j and not any(cell):
                H[:, i, i] += t
                continue
            H[:, i, j] += phase
            H[:, j, i] += phase.conj()
        return H

    def local_levels(self, site: int = 0) -> np.ndarray:
        """See `Lattice`."""
        orbitals = self.sites[site]
        return self.hamiltonians.mean(axis=0)[np.ix_(orbitals, orbitals)]

    @cached_property
    def _hops(self) -> np.ndarray:
        """H(k) without the local levels."""
        H = self.hamiltonians.copy()
        for i, orbitals in enumerate(self.sites):
            rows, columns = np.ix_(orbitals, orbitals)
            H[:, rows, columns] -= self.local_levels(i)
        return H

    @cached_property
    def particle_hole_symmetric(self) -> bool:
        """Whether every orbital's non-interacting density of states is even."""
        n = self.hamiltonians.shape[1]
        z = 1j * np.array([0.1, 0.3, 1.0])
        levels = np.concatenate([np.diag(self.local_levels(i)) for i in range(self.n_sites)])
        G = np.einsum("aaw->aw", self._local(z * np.eye(n)[:, :, None]))
        return bool(max(np.abs(levels).max(), np.abs(G.real).max()) < 1e-10)

    def update(
        self, problems: Sequence[ImpurityProblem], solutions: Sequence[ImpuritySolution]
    ) -> list[Hybridization]:
        """See `Lattice`."""
        self._check(problems)
        shift = on_axis(
            problems[0].hybridization, lambda grid: 1j * self.broadening, lambda axis: 0.0
        )
        arguments = [
            _as_matrix(site_argument(p, s)) + shift * np.eye(p.n_orb)[:, :, None]
            for p, s in zip(problems, solutions, strict=True)
        ]
        n = sum(map(len, self.sites))
        total = np.zeros((n, n, arguments[0].shape[-1]), dtype=np.complex128)
        for site, argument in zip(self.sites, arguments, strict=True):
            total[np.ix_(site, site)] = argument
        greens = self._local(total)
        return [
            self._hybridization(problem, argument - _inverse(greens[np.ix_(site, site)]))
            for problem, argument, site in zip(problems, arguments, self.sites, strict=True)
        ]

    def _check(self, problems: Sequence[ImpurityProblem]) -> None:
        shapes, given = [len(site) for site in self.sites], [p.n_orb for p in problems]
        if shapes != given:
            raise InvalidProblemError(
                f"lattice '{self.name}' has sites of {shapes} orbitals, the problems have {given}"
            )

    def _local(self, argument: np.ndarray) -> np.ndarray:
        """Mean over k of ``[argument - H(k)]^-1``, H without local levels; (n, n, n_z) alike."""
        H, n = self._hops, argument.shape[0]
        out = np.empty_like(argument, dtype=np.complex128)
        step = max(1, BLOCK // H.size)
        for start in range(0, argument.shape[-1], step):
            z = np.moveaxis(argument[..., start : start + step], -1, 0)
            inverse = np.linalg.inv(z[:, None] - H[None])
            out[..., start : start + step] = np.moveaxis(inverse.mean(axis=1), 0, -1)
        return out.reshape(n, n, -1)

    def _hybridization(self, problem: ImpurityProblem, delta: np.ndarray) -> Hybridization:
        if problem.hybridization.is_diagonal and not problem.has_off_diagonal:
            delta = np.einsum("aaw->aw", delta)  # what mixes orbitals of one site is left out

        def spectrum() -> np.ndarray:
            if delta.ndim == 2:
                return positive_part(-delta.imag / np.pi)
            return positive_part((delta.conj().swapaxes(0, 1) - delta) / (2j * np.pi))

        return same_kind(problem.hybridization, spectrum, lambda axis: delta)

    def bare_hybridization(self, grid: FrequencyGrid, site: int = 0) -> np.ndarray:
        """See `Lattice`: the mean over the site's orbitals, local levels at zero."""
        n, orbitals = sum(map(len, self.sites)), self.sites[site]
        z = grid.omega + 1j * self.broadening
        greens = self._local(z * np.eye(n)[:, :, None])[np.ix_(orbitals, orbitals)]
        delta = z * np.eye(len(orbitals))[:, :, None] - _inverse(greens)
        return np.maximum(-np.einsum("aaw->w", delta).imag / np.pi / len(orbitals), 0.0)


def _term(number: int, entry: Sequence) -> tuple[tuple[int, ...], int, int, complex]:
    key = f"lattice.hoppings[{number}]"
    if not isinstance(entry, Sequence) or isinstance(entry, str) or len(entry) != 4:
        raise InvalidProblemError(f"{key} = {checks.shown(entry)}: give [cell, i, j, t]")
    cell, i, j, t = entry
    if not isinstance(cell, Sequence) or isinstance(cell, str) or not 1 <= len(cell) <= 3:
        raise InvalidProblemError(
            f"{key}: cell = {checks.shown(cell)}; give one to three integers, e.g. [1, 0]"
        )
    return (
        tuple(checks.integer(f"{key}.cell", c) for c in cell),
        checks.integer(f"{key}.i", i, at_least=0),
        checks.integer(f"{key}.j", j, at_least=0),
        t if isinstance(t, complex) else checks.number(f"{key}.t", t),
    )


def _as_matrix(argument: np.ndarray) -> np.ndarray:
    if argument.ndim == 3:
        return argument
    return np.eye(len(argument))[:, :, None] * argument[None]


def _inverse(values: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.linalg.inv(np.moveaxis(values, -1, 0)), 0, -1)

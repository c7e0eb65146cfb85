"""`hubbard1`: the self-energy of the isolated atom.

Method (J. Hubbard, Proc. R. Soc. A 276, 238 (1963)): ``G = 1/(iw - eps_d - Delta - Sigma_atom)``,

``Sigma_atom = U n_a + U^2 n_a (1 - n_a) / (iw - eps_d - (1 - n_a) U)``,

exact for ``Delta = 0``; n_a is the atom's own occupation of one spin at the problem's temperature.
Range
    Exact at U = 0 and in the atomic limit. No Fermi liquid: every U > 0 splits the band, and away
    from half filling n_a is not the occupation that G has, so that the first moment of G is wrong
    by ``U (n_a - n)``; diagnostics say it.
Cost
    Some arithmetic; a tenth of a millisecond.
Otherwise
    ``ipt`` at weak coupling and in between, ``nca`` at strong coupling, ``ed`` for the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Capabilities
from dmftnet.physics.impurity.solutions import MatsubaraSolution
from dmftnet.physics.solvers.perturbative.thermal import (
    THERMAL,
    Batch,
    ThermalSolver,
    answered,
    self_energy,
    time_maps,
)

OCCUPATION_ERROR = 1e-3
"""Of one spin: a difference between G and the atom that is warned of."""


@dataclass(frozen=True)
class Hubbard1Solver(ThermalSolver):
    """Impurity solver in the Hubbard-I approximation."""

    name: ClassVar[str] = "hubbard1"
    capabilities: ClassVar[Capabilities] = THERMAL

    def solve(self, problem: ImpurityProblem) -> MatsubaraSolution:
        """Solve one problem."""
        return self.solve_batch([problem])[0]

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> list[MatsubaraSolution]:
        """Solve several problems, in order, all together."""
        for problem in problems:
            self.require(problem)
        return self.in_batches(problems)

    def self_energies_of(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        n, s, occupation = self._found(batch)
        return self_energy(batch, n, s), occupation

    def solutions_of(
        self, batch: Batch, problems: Sequence[ImpurityProblem]
    ) -> list[MatsubaraSolution]:
        n, s, occupation = self._found(batch)
        said = [
            _said(*values) for values in zip(batch.U / batch.beta, n, n - occupation, strict=True)
        ]
        # at U = 0 spins are independent, though of the bath's density, not the atom's
        n = np.where(batch.U == 0, occupation, n)
        return answered(batch, problems, n, s, said, self.name)

    def _found(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The atom's occupation, s of `answered`, and the occupation of G."""
        n = atomic_occupation(batch.U, batch.eps_d, batch.axis.beta)
        s = 1 / (1j * batch.axis.omega_n - (batch.eps_d + (1 - n) * batch.U)[:, None])
        greens = batch.greens(self_energy(batch, n, s))
        return n, s, time_maps(batch.axis).occupation(greens)


def atomic_occupation(U: np.ndarray, eps_d: np.ndarray, beta: float) -> np.ndarray:
    """(B,) occupation of one spin of the isolated atom; beta in 1/D."""
    logs = -beta * np.stack([np.zeros_like(U), eps_d, eps_d, 2 * eps_d + U])
    weights = np.exp(logs - logs.max(axis=0))
    return (weights[1] + weights[3]) / weights.sum(axis=0)


def _said(U: float, n: float, missed: float) -> dict:
    wrong = U > 0 and abs(missed) > OCCUPATION_ERROR
    warning = f"Sigma is that of n = {n:.4g} a spin, G has {n - missed:.4g}" if wrong else ""
    return {
        "atomic_occupation": float(n),
        "moment_error": float(U * missed),
        "warning": warning,
    }

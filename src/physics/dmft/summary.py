"""The numbers of a DMFT solution, ready for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from dmftnet.physics.analysis.energies import galitskii_migdal, kinetic_energy
from dmftnet.physics.analysis.observables import gap
from dmftnet.physics.analysis.quasiparticle import matsubara_weight, quasiparticle_weights
from dmftnet.physics.dmft.iterations import DMFTResult
from dmftnet.physics.impurity.hybridization import diagonal
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution

Z_AT = 0.01  # D, of Z_matsubara on the real axis

RESIDUAL = 1e-3
"""Of a user's hybridization, above which the summary warns."""

SUMMARY_KEYS = (
    "solver",
    "lattice",
    "U",
    "eps_d",
    "converged",
    "iterations",
    "filling",
    "double_occupancy",
    "Z",
    "Z_error",
    "Z_matsubara",
    "A0",
    "gap",
    "kl_last",
    "fallbacks",
    "warning",
    "seconds",
)
"""Of every solution; None where the solution does not say."""


def summarize(
    result: DMFTResult, solver: str, lattice: str, seconds: float, self_consistent: bool = True
) -> dict[str, Any]:
    """The numbers of a solution; values of one orbital are plain numbers, of several lists.

    ``Z`` with its error is that of `dmftnet.physics.analysis.quasiparticle`, ``Z_matsubara`` is
    ``1/(1 - Im Sigma(iy)/y)`` at y = 0.01 D; all are zero in an insulator, where no quasiparticle
    lives, and None where no estimate is physical. ``A0`` is in 1/D, ``gap`` in D. ``fallbacks``
    counts the iterations that a guarded solver left to the exact one; ``warning`` is what the
    solver warned of and what is wrong with Z, or None.

    On the imaginary axis ``Z_matsubara`` is at the lowest frequency, ``A_beta_half`` is
    ``-beta G(beta/2) / pi``, which tends to A(0) as T falls, and ``change_last`` stands in for
    ``kl_last``. At finite temperature there are energies of a site, in D: ``kinetic_energy`` (of a
    self-consistent lattice), ``interaction_energy``, their sum ``internal_energy``, and apart from
    it ``level_energy``, ``sum_a eps_a n_a``, which holds the chemical potential.
    ``hybridization_residual`` says how well a user's Delta(iw) is met. Several orbitals, several
    sites and finite temperature add ``n_orb, J, occupations, double_occupancies`` (by orbital pair,
    where known), ``sites`` (what differs from site to site) and ``beta``.

    Parameters
    ----------
    self_consistent : bool
        Whether the lattice is; see `Lattice`.
    """
    problem, solution = result.problem, result.solution
    on_axis = isinstance(problem.hybridization, MatsubaraHybridization)
    if on_axis:
        numbers, notes = _imaginary(problem, solution, self_consistent)
    else:
        numbers, notes = _real(problem, solution)
    last = float(result.kl_history[-1]) if np.isfinite(result.kl_history[-1]) else None
    said = dict.fromkeys(text for text in (result.warning, *notes) if text)
    summary = {
        "solver": solver,
        "lattice": lattice,
        "U": problem.U,
        "eps_d": plain(problem.eps_d),
        "converged": bool(result.converged),
        "iterations": int(result.iterations),
        "filling": float(solution.filling),
        "double_occupancy": float(solution.double_occupancy),
        "Z": None,
        "Z_error": None,
        "Z_matsubara": None,
        "A0": None,
        "gap": None,
        "kl_last": None if on_axis else last,
        "fallbacks": sum(bool(step.get("fallback")) for step in result.diagnostics),
        "warning": "; ".join(said) or None,
        "seconds": float(seconds),
    }
    if on_axis:
        summary["change_last"] = last
    return summary | numbers | _beyond_one_orbital(result, self_consistent)


def _real(problem: ImpurityProblem, solution: ImpuritySolution) -> tuple[dict, list[str]]:
    grid, spectrum = problem.grid, solution.spectrum()
    A = diagonal(spectrum).real
    gaps = [gap(grid, a) for a in A]
    numbers = {"A0": plain(grid.at_zero(A)), "gap": plain(gaps)}
    if spectrum.ndim == 3:
        return numbers, []  # Z is a matrix where orbitals mix
    Z = quasiparticle_weights(solution)
    at = matsubara_weight(problem, A, np.array([Z_AT]))[:, 0]
    numbers |= {
        "Z": plain([z.value for z in Z]),
        "Z_error": plain([z.error for z in Z]),
        "Z_matsubara": plain(np.where(np.array(gaps) > 0, 0.0, at)),
    }
    return numbers, [z.note for z in Z]


def _imaginary(
    problem: ImpurityProblem, solution: ImpuritySolution, self_consistent: bool
) -> tuple[dict, list[str]]:
    axis, notes = problem.axis, []
    numbers = {"Z_matsubara": plain(lowest_weight(solution))}
    if np.isfinite(problem.beta):
        middle = diagonal(solution.greens_tau(np.array([0.5 * problem.beta])))[:, 0].real
        numbers["A_beta_half"] = plain(-axis.beta * middle / np.pi)
        numbers |= _energies(problem, solution, self_consistent)
    residual = getattr(problem.hybridization, "residual", None)
    if residual is not None:
        numbers["hybridization_residual"] = residual
        if residual > RESIDUAL:
            notes.append(
                f"the hybridization's file is met to {100 * residual:.2g} % of its largest value; "
                "the rest is noise, or beyond matsubara.w_max"
            )
    return numbers, notes


def _energies(
    problem: ImpurityProblem, solution: ImpuritySolution, self_consistent: bool
) -> dict[str, float]:
    """Of one site, in D; the kinetic one where there is a lattice."""
    if problem.n_orb == 1:
        interaction = problem.U * float(solution.double_occupancy)
        levels = float(problem.eps_d[0] * solution.filling)
    else:
        interaction = galitskii_migdal(problem, solution)
        levels = 2 * float(np.einsum("ab,ba->", problem.one_body, _density(solution)).real)
    energies = {"interaction_energy": interaction, "level_energy": levels}
    if not self_consistent:
        return energies
    kinetic = kinetic_energy(problem, solution)
    return {"kinetic_energy": kinetic, **energies, "internal_energy": kinetic + interaction}


def _density(solution: ImpuritySolution) -> np.ndarray:
    """(n_orb, n_orb) of one spin, ``-G(beta)``."""
    values = -solution.greens_tau(np.array([solution.problem.beta]))[..., 0]
    return np.diag(values) if values.ndim == 1 else values


def lowest_weight(solution: ImpuritySolution) -> np.ndarray:
    """(n_orb,) ``1 / (1 - Im Sigma(i w_0) / w_0)`` at the lowest Matsubara frequency."""
    axis = solution.problem.axis
    sigma = diagonal(solution.matsubara_self_energy(axis))[:, 0]
    return 1 / (1 - sigma.imag / axis.omega_n[0])


def _beyond_one_orbital(result: DMFTResult, self_consistent: bool) -> dict[str, Any]:
    problem, solution = result.problem, result.solution
    more: dict[str, Any] = {}
    if np.isfinite(problem.beta):
        more["beta"] = problem.beta
    if problem.n_orb > 1:
        more |= {"n_orb": problem.n_orb, "J": problem.J}
        if solution.knows_densities:
            more["occupations"] = plain(2 * np.diag(solution.density_matrix()).real)
            more["double_occupancies"] = np.round(solution.double_occupancies(), 12).tolist()
    thermal = np.isfinite(problem.beta) and isinstance(
        problem.hybridization, MatsubaraHybridization
    )
    if len(result.problems) > 1:
        more["sites"] = [
            {
                "eps_d": plain(p.eps_d),
                "filling": float(s.filling),
                "double_occupancy": float(s.double_occupancy),
                **(_energies(p, s, self_consistent) if thermal else {}),
            }
            for p, s in zip(result.problems, result.solutions, strict=True)
        ]
    return more


def plain(values) -> float | list[float | None] | None:
    """Numbers for JSON: None where one is not finite, no list around a single one."""
    values = [float(value) if np.isfinite(value) else None for value in np.atleast_1d(values)]
    return values[0] if len(values) == 1 else values

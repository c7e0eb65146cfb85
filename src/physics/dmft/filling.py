"""DMFT at a given filling: a search in eps_d over converged loops.

``n(eps_d)`` falls monotonically, so the target is bracketed and then closed in on by
`scipy.optimize.brentq`; each loop starts from the nearest one before, which makes the later ones
short. Inside a gap n does not depend on eps_d, and any level there would do: the search returns the
plateau's centre. There the solution only moves rigidly with eps_d, so the edges of the plateau are
the edges of the gap in the spectrum, and the centre costs one or two loops more, not a scan.

Cost: about 5 to 10 loops. At half filling of a particle-hole symmetric lattice ``eps_d = -U/2`` is
exact and no search takes place.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.observables import gap_edges
from dmftnet.physics.dmft.iterations import DMFTResult
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.starts import shifted
from dmftnet.physics.impurity.hybridization import Hybridization, diagonal
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization

CURVE_ERROR = 0.05
"""Error of n up to which a gapped curve counts as the integer required by the gap; noted where it
exceeds the tolerance. Beyond, the search goes on and reports that it failed."""


def solve_filling(
    loop: DMFTLoop,
    problem: ImpurityProblem,
    filling: float,
    tolerance: float = 1e-3,
    max_loops: int = 30,
) -> DMFTResult:
    """Converged solution with occupation `filling` (both spins).

    Parameters
    ----------
    problem : ImpurityProblem
        Its eps_d and hybridization start the search.
    filling : float
        In (0, 2 n_orb).
    tolerance : float
        On the filling.
    max_loops : int
        DMFT loops to spend at most.

    Returns
    -------
    DMFTResult
        Not converged, with the reason, where no loop met the target: n jumps at a first-order
        transition, or the last loop itself did not converge. `plateau` holds the range of eps_d
        where the target lies inside a gap.
    """
    tolerance = checks.number("filling_search.tolerance", tolerance)
    max_loops = checks.integer("filling_search.max_loops", max_loops)
    if not tolerance > 0 or max_loops < 2:
        raise InvalidProblemError(
            f"filling search with tolerance = {tolerance}, max_loops = {max_loops}: needs "
            "tolerance > 0 and max_loops >= 2"
        )
    template = problem.replace(filling=filling)  # checks the target
    centred = np.mean(problem.eps_d) - problem.interaction.half_filling(problem.n_orb)
    half = template.replace(eps_d=problem.eps_d - centred, filling=None)
    if (
        filling == problem.n_orb
        and loop.lattice.particle_hole_symmetric
        and half.is_particle_hole_symmetric()
    ):
        return _Search(loop, template, tolerance, max_loops).judge(loop.run_one(half))
    return _Search(loop, template, tolerance, max_loops).run()


class _Search:
    """The loops so far, and the rules by which the next level is chosen."""

    def __init__(self, loop, template, tolerance, max_loops):
        self.loop, self.template = loop, template
        self.tolerance, self.max_loops = tolerance, max_loops
        self.done: list[DMFTResult] = []

    def run(self) -> DMFTResult:
        level = self.template.eps_d[0]
        surplus = self.surplus(level)
        if surplus != 0:
            self._bracket_and_close(level, surplus)
        best = min(self.done, key=lambda result: abs(self._excess(result)))
        if abs(self._excess(best)) > self.tolerance:
            return self._missed(best)
        return self._centred(best)

    def judge(self, result: DMFTResult) -> DMFTResult:
        """The only loop where no search is needed: its level is known, its filling is not."""
        self.done.append(result)
        missed = abs(self._excess(result)) > self.tolerance
        return self._missed(result) if missed else self._labelled(result, None)

    def surplus(self, level: float) -> float:
        """``n - target`` after a loop at this level; exactly 0 within the tolerance ends brentq."""
        excess = self._excess(self._solve(level, self._nearest(level)))
        return 0.0 if abs(excess) <= self.tolerance else excess

    def _bracket_and_close(self, level: float, surplus: float) -> None:
        """n falls with the level: step away from the surplus until it changes sign, then close."""
        reach = self._reach() - self.template.U - 1.0
        step = 0.25 * np.sign(surplus)
        while len(self.done) < self.max_loops:
            following = float(np.clip(level + step, -reach - self.template.U, reach))
            if following == level:
                return
            other = self.surplus(following)
            if other == 0:
                return
            if other * surplus < 0:
                left = self.max_loops - len(self.done)
                if left > 0:
                    ends = sorted((level, following))
                    brentq(self._memo, *ends, xtol=1e-7, maxiter=left, disp=False)
                return
            level, surplus, step = following, other, 2 * step

    def _reach(self) -> float:
        """Energy up to which spectra may lie, in D."""
        bath = self.template.hybridization
        if isinstance(bath, MatsubaraHybridization):
            return bath.axis.w_max
        return float(np.abs(self.template.grid.omega[[0, -1]]).min())

    def _memo(self, level: float) -> float:
        """`surplus` without solving a level twice (brentq evaluates the two ends again)."""
        for result in self.done:
            if result.problem.eps_d[0] == level:
                return self._excess(result)
        return self.surplus(level)

    def _excess(self, result: DMFTResult) -> float:
        """``n - target``; inside a gap n is an integer at T = 0, to the curve's own error."""
        return _filling(result) - self.template.filling

    def _nearest(self, level: float) -> Hybridization:
        if not self.done:
            return self.template.hybridization
        return min(
            self.done, key=lambda result: abs(result.problem.eps_d[0] - level)
        ).problem.hybridization

    def _solve(self, level: float, hybridization: Hybridization) -> DMFTResult:
        levels = self.template.eps_d + (level - self.template.eps_d[0])
        result = self.loop.run_one(
            self.template.replace(eps_d=levels, hybridization=hybridization, filling=None)
        )
        self.done.append(result)
        return result

    def _centred(self, result: DMFTResult) -> DMFTResult:
        """The result itself in a metal, the plateau's centre in an insulator."""
        for _ in range(4):
            edges = _gap(result)
            if edges is None:
                return self._labelled(result, None)
            level = result.problem.eps_d[0]
            plateau = (level - edges[1], level - edges[0])
            shift = -0.5 * (edges[0] + edges[1])
            if abs(shift) <= 0.02 * (edges[1] - edges[0]):
                break
            start = result.problem.hybridization
            if self.loop.lattice.self_consistent:
                curve = shifted(result.problem.grid, result.problem.spectrum, shift)
                start = SpectralHybridization(result.problem.grid, curve)
            moved = self._solve(level + shift, start)
            if abs(self._excess(moved)) > self.tolerance or _gap(moved) is None:
                break
            result = moved
        return self._labelled(result, plateau)

    def _labelled(self, result: DMFTResult, plateau: tuple[float, float] | None) -> DMFTResult:
        where = (
            f"filling {result.solution.filling:.4f} at eps_d = {result.problem.eps_d[0]:.6g} "
            f"after {len(self.done)} loops"
        )
        if plateau is not None:
            where += f", plateau from {plateau[0]:.4g} to {plateau[1]:.4g}"
        note, n = "", _filling(result)
        if abs(result.solution.filling - n) > self.tolerance:
            note = (
                f"filling {result.solution.filling:.4f} of the curve counts as {n:g}: inside a gap "
                "it is an integer, and the curve is wrong by the difference"
            )
        return replace(result, reason=f"{where}; {result.reason}", plateau=plateau, note=note)

    def _missed(self, best: DMFTResult) -> DMFTResult:
        above = [r for r in self.done if self._excess(r) > 0]
        below = [r for r in self.done if self._excess(r) < 0]
        seen = ", ".join(
            f"n = {r.solution.filling:.4f} at eps_d = {r.problem.eps_d[0]:.6g}"
            for r in (
                *sorted(above, key=self._excess)[:1],
                *sorted(below, key=self._excess, reverse=True)[:1],
            )
        )
        return replace(
            best,
            converged=False,
            reason=(
                f"filling {self.template.filling} was not met within {self.tolerance} after "
                f"{len(self.done)} loops ({seen}); n jumps there, or raise max_loops"
            ),
        )


def _filling(result: DMFTResult) -> float:
    """Occupation, rounded to an integer inside a gap if the curve is off by little."""
    n = result.solution.filling
    if abs(n - round(n)) <= CURVE_ERROR and _gap(result) is not None:
        return float(round(n))
    return n


def _gap(result: DMFTResult) -> tuple[float, float] | None:
    """Gap edges around zero energy shared by all orbitals at T = 0, or None in a metal.

    None on the imaginary axis too, where n changes inside a gap, if little.
    """
    if not isinstance(result.problem.hybridization, SpectralHybridization):
        return None
    if np.isfinite(result.problem.beta):
        return None
    return gap_edges(result.problem.grid, diagonal(result.solution.spectrum()).real.max(axis=0))

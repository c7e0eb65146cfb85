"""A solution on the imaginary axis as files of columns, for other programs.

===================  ============================================================================
`greens.txt`         w_n, Re G, Im G
`self_energy.txt`    w_n, Re Sigma, Im Sigma
`hybridization.txt`  w_n, Re Delta, Im Delta, of the last impurity problem; dmft.py reads it back
`greens_tau.txt`     tau, G(tau); not at T = 0
===================  ============================================================================

In units of D, of one spin, all Matsubara frequencies from pi/beta up to a cutoff; a pair of columns
(of G(tau) one column) an orbital, or a matrix row by row: 11, 12, ... Conventions: docs/physics,
imaginary axis. Values between sampling points are those of the intermediate representation, 1e-10.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmftnet import checks
from dmftnet.errors import SettingError
from dmftnet.physics.dmft.iterations import DMFTResult
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution

NAMES = ("greens.txt", "self_energy.txt", "hybridization.txt", "greens_tau.txt")

MAX_LINES = 100_000


@dataclass(frozen=True)
class TextFiles:
    """What is written.

    Parameters
    ----------
    cutoff : float, in D
        Largest Matsubara frequency.
    n_tau : int
        Points of G(tau) at equal steps, 0 and beta included.
    """

    cutoff: float = 20.0
    n_tau: int = 1001

    def __post_init__(self):
        cutoff = checks.number("text.cutoff", self.cutoff, above=0, at_most=1e6)
        n_tau = checks.integer("text.n_tau", self.n_tau, at_least=2, at_most=MAX_LINES)
        object.__setattr__(self, "cutoff", cutoff)
        object.__setattr__(self, "n_tau", n_tau)

    def indices(self, beta: float) -> np.ndarray:
        """(n,) odd integers of the frequencies up to the cutoff, the first at least.

        Raises
        ------
        SettingError
            If there are more than `MAX_LINES`.
        """
        number = max(1, int((self.cutoff * beta / np.pi + 1) / 2 + 1e-9))
        if number > MAX_LINES:
            raise SettingError(
                f"text.cutoff = {self.cutoff:g}: {number} frequencies at beta = {beta:g}, more "
                f"than {MAX_LINES}; lower it, or set text=null"
            )
        return 2 * np.arange(number) + 1

    def write(self, folder: Path, result: DMFTResult) -> list[Path]:
        """Write the files; those of further sites into ``sites/<i>``.

        Returns
        -------
        list of Path
            Nothing of a loop on the real axis.
        """
        written = []
        for site, (problem, solution) in enumerate(
            zip(result.problems, result.solutions, strict=True)
        ):
            if isinstance(problem.hybridization, MatsubaraHybridization):
                where = folder if site == 0 else folder / "sites" / str(site)
                where.mkdir(parents=True, exist_ok=True)
                written += self._write_site(where, problem, solution, problem.hybridization)
        return written

    def _write_site(
        self,
        folder: Path,
        problem: ImpurityProblem,
        solution: ImpuritySolution,
        bath: MatsubaraHybridization,
    ) -> list[Path]:
        axis: ImaginaryAxis = bath.axis
        indices = self.indices(axis.beta)
        omega_n = indices * np.pi / axis.beta
        about = f"beta = {axis.beta:.12g}, U = {problem.U:.12g}, eps_d = {problem.eps_d.tolist()}"
        curves = {
            "greens.txt": ("G", solution.matsubara_greens(axis)),
            "self_energy.txt": ("Sigma", solution.matsubara_self_energy(axis)),
            "hybridization.txt": ("Delta", bath.values),
        }
        written = []
        for name, (symbol, values) in curves.items():
            rows = _rows(axis.interpolated(values, indices))
            pairs = np.stack([rows.real, rows.imag], axis=1).reshape(-1, omega_n.size)
            heads = [
                f"{part} {symbol}{label}" for label in _labels(values) for part in ("Re", "Im")
            ]
            written.append(_save(folder / name, about, ["w_n", *heads], omega_n, pairs))
        if np.isfinite(problem.beta):
            tau = np.linspace(0.0, problem.beta, self.n_tau)
            values = solution.greens_tau(tau)
            rows, heads = _rows(values), [f"G{label}" for label in _labels(values)]
            if np.iscomplexobj(rows):
                heads = [f"{part} {head}" for head in heads for part in ("Re", "Im")]
                rows = np.stack([rows.real, rows.imag], axis=1).reshape(-1, tau.size)
            written.append(_save(folder / "greens_tau.txt", about, ["tau", *heads], tau, rows))
        return written


def _rows(values: np.ndarray) -> np.ndarray:
    """(n_column, n) a row an orbital, or an element of the matrix."""
    return values.reshape(-1, values.shape[-1])


def _labels(values: np.ndarray) -> list[str]:
    """Names of the rows: none of a single one."""
    n = len(values)
    if values.ndim == 3:
        return [f"_{a + 1}{b + 1}" for a in range(n) for b in range(n)]
    return [""] if n == 1 else [f"_{a + 1}" for a in range(n)]


def _save(path: Path, about: str, heads: list[str], first: np.ndarray, rows: np.ndarray) -> Path:
    """Under a temporary name and renamed, so that a file is whole or not there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        header = f"{about}; energies in D, one spin\n{', '.join(heads)}"
        np.savetxt(temporary, np.vstack([first, rows]).T, fmt="%.14e", header=header)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path

"""Figures of operator Lanczos on a chain of ten sites.

OMP_NUM_THREADS=1 python benchmarks/scol_figures.py [folder]      default: docs/figures

Half-filled Wilson chain of the semicircle, Lambda = 2, Gamma = 0.1 D; exact ground states.

* scol_convergence.png: narrow KL and first pole against the number of strings, as depth, segments
  and the length of strings grow, U / Gamma = 10; and the table that it draws;
* scol_spectra.png: A(w) at three U for several depths beside block Lanczos, width .1;
* scol_sigma.png: -Im Sigma(iw) from draws with standard errors beside all determinants,
  U / Gamma = 10; where the error passes the value, noise decides.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table
from scol import GAMMA, VERY_FINE, first_pole, half_filled, reference, shown, sigma, singlet

from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.fermions.kanamori import UP
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.solvers.scol.ground_states import ExplicitState
from dmftnet.physics.solvers.scol.impurity import ImpurityChains
from dmftnet.physics.solvers.scol.responses import orbital_poles, resampled_poles
from dmftnet.physics.solvers.scol.sampled_states import (
    SampledState,
    VectorAmplitudes,
    jackknife_error,
)
from dmftnet.physics.solvers.scol.sets import Reach

N_SITES = 10
RATIOS = (2.0, 5.0, 10.0)
SERIES = {
    "depth": [Reach(depth, 1, 5) for depth in range(5)],
    "segments (depth 2)": [Reach(2, n, 5) for n in (1, 2, 3, 4, 9)],
    "length (depth 3)": [Reach(3, 1, length) for length in (1, 3, 5, 7)],
}
SHARP = 0.1
DRAWS = (300, 1_000, 10_000)
MATSUBARA = np.geomspace(1e-4, 10.0, 60)


def chain(ratio: float) -> tuple[ImpurityChains, ExplicitState, float]:
    """Chains, ground state, U."""
    problem = half_filled(1, N_SITES - 1, ratio * GAMMA, 0.0)
    chains = ImpurityChains.of(problem)
    return chains, singlet(chains), problem.interaction.U


def poles_of(chains: ImpurityChains, state, reach: Reach, U: float) -> tuple[int, ResponsePoles]:
    """Number of strings and poles of both sides."""
    sets = [chains.string_set(0, UP, reach)] * 2
    return len(sets[0].strings), orbital_poles([state], sets, 1e-10, repulsion=U).poles


def convergence(folder: Path) -> Table:
    """Depth, segments and length."""
    chains, state, U = chain(RATIOS[-1])
    exact = reference(state)
    up = VERY_FINE.omega
    curve = exact.G.log_gaussian_spectrum(up, 0.3)
    table = Table("grows", "reach", "strings", "narrow KL", "first pole")
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for name, reaches in SERIES.items():
        sizes, rows = [], []
        for reach in reaches:
            n, poles = poles_of(chains, state, reach, U)
            narrow = kl_divergence(VERY_FINE, curve, poles.G.log_gaussian_spectrum(up, 0.3))
            rows.append((float(narrow), abs(first_pole(poles) / first_pole(exact) - 1)))
            sizes.append(n)
            table.add_row(name, shown(reach), str(n), *(f"{x:.0e}" for x in rows[-1]))
        for axis, errors in zip(axes, zip(*rows, strict=True), strict=True):
            axis.semilogy(sizes, errors, "o-", label=name)
    for axis, label in zip(axes, ("KL of A(w), width .3", "error of the first pole"), strict=True):
        axis.set(xlabel="strings", ylabel=label)
    axes[0].legend()
    figure.savefig(folder / "scol_convergence.png", dpi=120)
    return table


def spectra(folder: Path) -> None:
    """Three U."""
    up = VERY_FINE.omega
    figure, axes = plt.subplots(1, len(RATIOS), figsize=(9, 3), sharey=True, layout="constrained")
    for axis, ratio in zip(axes, RATIOS, strict=True):
        chains, state, U = chain(ratio)
        exact = reference(state).G.log_gaussian_spectrum(up, SHARP)
        axis.semilogx(up, exact, "k", label="block Lanczos")
        for depth in (0, 1, 3):
            n, poles = poles_of(chains, state, Reach(depth, 1, 5), U)
            curve = poles.G.log_gaussian_spectrum(up, SHARP)
            axis.semilogx(up, curve, "--", label=f"depth {depth}, {n} strings")
        axis.set(title=f"U / Gamma = {ratio:g}", xlabel="w / D", xlim=(5e-2, 3), ylim=(0, 4))
    axes[0].set_ylabel("A(w) D")
    axes[-1].legend(fontsize="small")
    figure.savefig(folder / "scol_spectra.png", dpi=120)


def self_energies(folder: Path) -> None:
    """From draws of the exact state."""
    chains, state, U = chain(RATIOS[-1])
    sets = [chains.string_set(0, UP, Reach(3, 1, 5))] * 2
    source = VectorAmplitudes(state.cluster, state.sector, state.vectors[:, 0])

    def curve(poles: ResponsePoles) -> np.ndarray:
        return -sigma(poles, U, MATSUBARA).imag

    figure, axis = plt.subplots(figsize=(5, 3.5), layout="constrained")
    exact = orbital_poles([state], sets, 1e-10, repulsion=U).poles
    axis.loglog(MATSUBARA, curve(exact), "k", label="all determinants")
    for n_samples in DRAWS:
        drawn = SampledState(source, n_samples)
        found = curve(orbital_poles([drawn], sets, 1e-10, repulsion=U).poles)
        each = resampled_poles([drawn], sets, 1e-10, repulsion=U)
        error = jackknife_error(np.array([curve(poles) for poles in each]))
        (line,) = axis.loglog(MATSUBARA, np.abs(found), label=f"{n_samples:,} draws")
        axis.fill_between(
            MATSUBARA, np.maximum(found - error, 1e-9), found + error,
            color=line.get_color(), alpha=0.25,
        )  # fmt: skip
    axis.set(xlabel="w / D", ylabel="-Im Sigma(iw) / D", ylim=(1e-3 * curve(exact).max(), None))
    axis.legend()
    figure.savefig(folder / "scol_sigma.png", dpi=120)


def main(folder: str = "docs/figures") -> None:
    Console(width=100).print(convergence(Path(folder)))
    spectra(Path(folder))
    self_energies(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])

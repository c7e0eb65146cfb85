"""The quasiparticle weight of the reference loops beside an independent NRG, estimate by estimate.

    python benchmarks/quasiparticle.py

Half-filled metals of data/bethe_reference.h5 (``ras_fine``). The upper table has the same estimator
on both sides, ``Z(iy) = 1/(1 - Im Sigma(iy)/y)``; the lower one how Z with its error comes about
(`dmftnet.physics.analysis.quasiparticle`).
"""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.physics.analysis.quasiparticle import matsubara_weight
from dmftnet.physics.impurity.problem import ImpurityProblem

Y = (0.005, 0.01, 0.02)
NRG = {  # Z(iy), and Z at y -> 0 (docs/physics, calibration)
    1.0: ((0.7249, 0.7265, 0.7295), "0.725(1)"),
    2.0: ((0.2687, 0.2718, 0.2778), "0.265(2)"),
    2.8: ((0.0293, 0.0318, 0.0356), ""),
}


def metals(store: ReferenceStore) -> list[int]:
    """Rows of the half-filled Bethe metals from the metallic start, in the order of U."""
    points = (store["kind"] == 0) & (store["lattice"] == "bethe") & (store["start"] == 0)
    half = np.abs(store["eps_d"] + store["U"] / 2) < 1e-9
    metal = (store["converged"] == 1) & (store["gap"] == 0) & (store["U"] > 0)
    rows = np.flatnonzero(points & half & metal)
    return sorted(rows.tolist(), key=lambda row: store["U"][row])


def main() -> None:
    store = ReferenceStore.open()
    axis = Table("U", *(f"y = {y:g}" for y in Y), *("NRG" for _ in Y), "largest difference")
    parts = Table("U", "Z", "+-", "matsubara", "window", "slope", "NRG")
    for row in metals(store):
        U = float(store["U"][row])
        if U in NRG:
            problem = ImpurityProblem.on_grid(U, -U / 2, store.grid, store["hybridization"][row])
            own = matsubara_weight(problem, store["spectrum"][row][None], Y)[0]
            off = np.abs(own / np.array(NRG[U][0]) - 1).max()
            values = [f"{value:.4f}" for value in (*own, *NRG[U][0])]
            axis.add_row(f"{U:g}", *values, f"{100 * off:.1f} %")
        Z = store.quasiparticle_weight(row)
        names = ("matsubara", "window", "slope")
        estimates = [f"{Z.estimates[name]:.4f}" for name in names]
        nrg = NRG[U][1] if U in NRG else ""
        parts.add_row(f"{U:g}", f"{Z.value:.4f}", f"{Z.error:.4f}", *estimates, nrg)
    console = Console(width=110)
    console.print(axis)
    console.print(parts)


if __name__ == "__main__":
    main()

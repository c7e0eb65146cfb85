"""The tensor-network solver's sweeps beside TeNPy's own DMRG and TDVP on the same operator.

    OMP_NUM_THREADS=1 python benchmarks/mps_tenpy.py [n_bath t_max ...]      default: 9 3, 19 5

`mps` takes its Hamiltonian as an MPO from TeNPy; states and sweeps are its own blocks. Here TeNPy
does all of it: ground state at U = 2 in the semicircle, then ``d+|gs>`` by two-site TDVP along the
contour of angle 0.1. Printed are CPU seconds of one core and how far the two are from each other;
`mps` evolves d+ and q+ in its time, TeNPy d+ alone.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings

import numpy as np
from rich.console import Console
from rich.table import Table
from tenpy.algorithms.dmrg import TwoSiteDMRGEngine
from tenpy.algorithms.tdvp import TwoSiteTDVPEngine
from tenpy.models.lattice import TrivialLattice
from tenpy.models.model import MPOModel
from tenpy.networks.mps import MPS

from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.tensor.impurity import PreparedImpurity
from dmftnet.physics.solvers.tensor.layout import UP
from dmftnet.physics.solvers.tensor.mps import MpsSolver

ANY_SIZE = {"max_N_sites_per_ring": 10_000}  # TeNPy asks to confirm large unit cells


def tenpy_ground_state(prepared: PreparedImpurity, weight: float) -> tuple[float, MPS]:
    """Energy in D and state, by TeNPy's two-site DMRG.

    Parameters
    ----------
    weight : float
        Dropped at a bond; Schmidt values below its root are cut.
    """
    model, mpo = prepared.model, prepared.model.mpo
    product = ["full" if n else "empty" for n in model.filled_modes(*prepared.electrons)]
    psi = MPS.from_product_state(mpo.sites, product, bc="finite", unit_cell_width=mpo.L)
    options = {
        "mixer": True,
        "trunc_params": {"chi_max": 500, "svd_min": 0.1 * weight**0.5, "trunc_cut": weight**0.5},
        "max_E_err": 1e-10,
        "max_sweeps": 40,
        **ANY_SIZE,
    }
    engine = TwoSiteDMRGEngine(psi, MPOModel(TrivialLattice(mpo.sites), mpo), options)
    energy, psi = engine.run()
    return float(energy), psi


def tenpy_signal(
    prepared: PreparedImpurity, energy: float, psi: MPS, weight: float
) -> tuple[np.ndarray, int]:
    """``<d e^{-i (H - E) z} d+>`` at the solver's times, by TeNPy's two-site TDVP; and its bond."""
    solver, mpo = prepared.solver, prepared.model.mpo
    ket = psi.copy()
    here = prepared.model.layout.position(0, UP)
    ket.apply_local_op(here, "Cd", unitary=False, renormalize=False)
    bra = ket.copy()
    options = {
        "dt": solver.dt * np.exp(-1j * solver.angle),
        "N_steps": 1,
        "trunc_params": {"chi_max": 500, "svd_min": 0.1 * weight**0.5, "trunc_cut": weight**0.5},
        "preserve_norm": False,
        **ANY_SIZE,
    }
    engine = TwoSiteTDVPEngine(ket, MPOModel(TrivialLattice(mpo.sites), mpo), options)
    signal = [bra.overlap(ket)]
    for _ in range(round(solver.t_max / solver.dt)):
        engine.run()
        signal.append(bra.overlap(ket) * np.exp(1j * energy * engine.evolved_time))
    return np.array(signal), max(ket.chi)


def compare(table: Table, n_bath: int, t_max: float) -> None:
    """One row: both engines at one size."""
    grid = FrequencyGrid.geometric(1e-3, 8.0, 800)
    intervals = Intervals(n_bath)
    bath = intervals.star(grid, Bethe().bare_hybridization(grid))
    solver = MpsSolver(bath=intervals, t_max=t_max, squared=False)
    clock = [time.process_time()]

    def lap() -> float:
        clock.append(time.process_time())
        return clock[-1] - clock[-2]

    prepared = PreparedImpurity.of(solver, [bath], -1.0, 2.0, 0.0, True)
    own_ground = lap()
    signals = prepared.signals()
    own_evolution = lap()
    energy, psi = tenpy_ground_state(prepared, solver.ground_truncation)
    ground = lap()
    found, bond = tenpy_signal(prepared, energy, psi, solver.truncation)
    evolution = lap()
    error = np.abs(found - signals.addition[0, :, 0, 0]).max()
    table.add_row(
        str(n_bath), f"{t_max:g}", f"{prepared.ground.energy - energy:.1e}", f"{error:.1e}",
        f"{own_ground:.1f}", f"{ground:.1f}", f"{ground / own_ground:.0f}",
        f"{own_evolution:.1f}", f"{evolution:.1f}", f"{evolution / own_evolution:.0f}",
        f"{signals.bond_dimension}, {bond}",
    )  # fmt: skip


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    numbers = [float(x) for x in sys.argv[1:]] or [9, 3, 19, 5]
    columns = ("bath", "t", "E - E(TeNPy)", "G - G(TeNPy)")
    columns += ("s ground", "TeNPy", "ratio", "s evolution", "TeNPy", "ratio", "bonds")
    table = Table(*columns, title="mps beside TeNPy's own engines, U = 2")
    for n_bath, t_max in zip(numbers[::2], numbers[1::2], strict=True):
        compare(table, int(n_bath), t_max)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

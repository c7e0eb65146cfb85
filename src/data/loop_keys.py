"""Arrays of files of loops at finite temperature, registered in `dmftnet.data.keys`."""

from __future__ import annotations

from dmftnet.arrays import ArrayKey

THERMAL_STARTS = ("metal", "insulator", "atom")
"""Starts of a loop at finite temperature, by the integer code that files store."""


class ThermalLoops:
    """One row a loop of the exact solver at finite temperature; D is that of the lattice."""

    U = ArrayKey("loops/U", "f8", ("n",), "D", "interaction")
    EPS_D = ArrayKey("loops/eps_d", "f8", ("n",), "D", "level")
    BETA = ArrayKey("loops/beta", "f8", ("n",), "1/D", "inverse temperature")
    START = ArrayKey(
        "loops/start",
        "i4",
        ("n",),
        "",
        ", ".join(THERMAL_STARTS),
        limits=(0, len(THERMAL_STARTS) - 1),
    )
    CONVERGED = ArrayKey("loops/converged", "i4", ("n",), "", "whether it did", limits=(0, 1))
    ITERATIONS = ArrayKey("loops/iterations", "i4", ("n",), "", "of the loop")
    CHANGE = ArrayKey(
        "loops/change", "f8", ("n",), "", "of Delta in the last one, over its largest value"
    )
    FILLING = ArrayKey("loops/filling", "f8", ("n",), "", "both spins")
    DOUBLE_OCCUPANCY = ArrayKey("loops/double_occupancy", "f8", ("n",), "", "<n_up n_down>")
    Z_MATSUBARA = ArrayKey("loops/Z_matsubara", "f8", ("n",), "", "1/(1 - Im Sigma(i w_0)/w_0)")
    A_BETA_HALF = ArrayKey("loops/A_beta_half", "f8", ("n",), "1/D", "-beta G(beta/2)/pi")
    INTERNAL_ENERGY = ArrayKey(
        "loops/internal_energy", "f8", ("n",), "D", "kinetic and interaction energy of a site"
    )
    HYBRIDIZATION = ArrayKey("loops/hybridization", "c16", ("n", "n_iw"), "D", "Delta(i w_n)")
    SELF_ENERGY = ArrayKey("loops/self_energy", "c16", ("n", "n_iw"), "D", "Sigma(i w_n)")
    SECONDS = ArrayKey("loops/seconds", "f4", ("n",), "s", "of the loop")
    REASON = ArrayKey("loops/reason", "str", ("n",), "", "why it ended")

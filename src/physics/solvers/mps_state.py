"""Tensor-network states: ground state by DMRG, operators, overlaps, a safe file format.

Two-site DMRG from the mean-field product state, a mixer in the first sweeps. H is real and so is
the ground state; ``conjugated`` uses it for the squared-state trick,
``<a| exp(-i H (z1 + z2)) |b> = (exp(-i H z1) a)^T (exp(-i H z2) b)``.

A state is stored tensor by tensor as dense arrays with their charges, numbers only: nothing in the
file is executed when it is read.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import h5py
import numpy as np
from tenpy.algorithms.dmrg import TwoSiteDMRGEngine
from tenpy.linalg import np_conserved as npc
from tenpy.networks.mpo import MPO
from tenpy.networks.mps import MPS
from tenpy.tools.optimization import temporary_level

from dmftnet.errors import DmftnetWarning
from dmftnet.physics.solvers.mps_model import DOWN, UP, ImpurityModel


@dataclass(frozen=True)
class Truncation:
    """What a bond may keep.

    Parameters
    ----------
    bond_dimension : int
        At most so many Schmidt values.
    weight : float
        Sum of the squared Schmidt values that may be dropped at each bond.
    """

    bond_dimension: int
    weight: float

    def params(self) -> dict:
        """In TeNPy's words."""
        return {"chi_max": self.bond_dimension, "trunc_cut": np.sqrt(self.weight), "svd_min": 1e-14}


@dataclass(frozen=True, eq=False)
class GroundState:
    """A converged (or not) ground state.

    Parameters
    ----------
    psi : MPS
    energy : float, in D
    variance : float, in D^2
        ``<H^2> - <H>^2``, of H counted from the energy, so that rounding stays small.
    sweeps : int
    converged : bool
    """

    psi: MPS
    energy: float
    variance: float
    sweeps: int
    converged: bool


def ground_state(
    model: ImpurityModel,
    n_up: int,
    n_down: int,
    truncation: Truncation,
    energy_tolerance: float = 1e-8,
    max_sweeps: int = 30,
    mixed_sweeps: int = 6,
) -> GroundState:
    """Lowest state with the given particle numbers.

    Parameters
    ----------
    energy_tolerance : float, in D
        Change of the energy in one sweep that ends the search.
    mixed_sweeps : int
        Sweeps with a density-matrix mixer, which lets the product state grow.
    """
    psi = MPS.from_product_state(
        model.lat.mps_sites(), model.filled_modes(n_up, n_down), bc="finite", dtype=np.float64,
        unit_cell_width=model.lat.mps_unit_cell_width,
    )  # fmt: skip
    options = {
        "trunc_params": truncation.params(),
        "max_N_sites_per_ring": 10**9,
        "max_trunc_err": 1e9,
        "min_sweeps": min(mixed_sweeps + 1, max_sweeps),
        "max_sweeps": max_sweeps,
        "max_E_err": energy_tolerance / max(1.0, abs(model.lowest_level())),
        "max_S_err": 1.0,
        "mixer": True,
        "mixer_params": {"amplitude": 1e-4, "decay": 4.0, "disable_after": mixed_sweeps},
        "lanczos_params": {"N_max": 10, "N_min": 2, "E_tol": 0.1 * energy_tolerance},
        "P_tol_to_trunc": None,
    }
    engine = TwoSiteDMRGEngine(psi, model, options)
    engine.lanczos_params.touch(*engine.lanczos_params)  # small bonds are diagonalised without it
    with temporary_level("skip_arg_checks"):
        energy, psi = engine.run()
    history = np.array(engine.sweep_stats["E"])
    converged = len(history) > 1 and abs(history[-1] - history[-2]) <= energy_tolerance
    energy = float(np.real(model.H_MPO.expectation_value(psi)))
    variance = float(np.real(model.shifted(energy).H_MPO.variance(psi, 0.0)))
    if not converged:
        warnings.warn(
            f"DMRG stopped after {max_sweeps} sweeps with the energy still moving by "
            f"{abs(history[-1] - history[-2]):.1e}; raise solver.max_sweeps or bond_dimension",
            DmftnetWarning,
            stacklevel=2,
        )
    return GroundState(psi, energy, variance, engine.sweeps, bool(converged))


def with_operator(psi: MPS, model: ImpurityModel, orbital: int, spin: int, name: str) -> MPS:
    """``O psi`` for ``d, d+`` or ``q, q+`` with ``q = [d, H_int]``, not normalised; a new state.

    Parameters
    ----------
    name : {"d", "d+", "q", "q+"}
    """
    op = "Cd" if name.endswith("+") else "C"
    here = model.layout.position(orbital, spin)
    if name[0] == "d":
        out = psi.copy()
        out.apply_local_op(here, op)
        return out
    if len(model.orbitals) == 1:
        out = psi.copy()
        out.apply_local_op(model.layout.position(orbital, DOWN if spin == UP else UP), "N")
        out.apply_local_op(here, op)
        out.norm *= model.U
        return out
    exact = Truncation(10_000, 1e-26)
    first = with_operator(psi, model, orbital, spin, "d" + name[1:])
    first = applied(model.interaction, first, exact)
    second = applied(model.interaction, psi, exact)
    second = with_operator(second, model, orbital, spin, "d" + name[1:])
    sign = 1.0 if name.endswith("+") else -1.0  # q+ = [H_int, d+], q = [d, H_int]
    out = first.add(second, sign, -sign)
    out.compress_svd(exact.params())
    return out


def applied(mpo: MPO, psi: MPS, truncation: Truncation) -> MPS:
    """``H psi``, compressed; a new state."""
    out = psi.copy()
    mpo.apply(out, {"compression_method": "SVD", "trunc_params": truncation.params()})
    return out


def as_complex(psi: MPS) -> MPS:
    """A copy with complex tensors."""
    out = psi.copy()
    for i in range(out.L):
        out._B[i] = out._B[i].astype(np.complex128)
    out.dtype = np.dtype(np.complex128)
    return out


def conjugated(psi: MPS) -> MPS:
    """The complex conjugate: as a bra it gives the product without conjugation."""
    out = psi.copy()
    for i in range(out.L):
        out._B[i] = out._B[i].complex_conj()
    return out


def memory_estimate(n_sites: int, bond_dimension: int, mpo_dimension: int, n_states: int) -> float:
    """Upper bound in GiB: states, their environments and the Krylov vectors of one bond."""
    bond = 16.0 * bond_dimension**2
    return bond * (n_sites * (2 * n_states + 2 * mpo_dimension) + 4 * (24 + mpo_dimension)) / 2**30


def save_state(group: h5py.Group, psi: MPS) -> None:
    """Write a state into an empty group."""
    group.attrs["norm"] = psi.norm
    group.attrs["n_sites"] = psi.L
    for i in range(psi.L):
        B = psi.get_B(i, "B").copy().itranspose(["vL", "p", "vR"])
        node = group.create_group(str(i))
        node["tensor"] = B.to_ndarray()
        node["qtotal"] = B.qtotal
        for label in ("vL", "vR"):
            leg = B.get_leg(label)
            node[f"{label}_charges"] = leg.to_qflat()
            node.attrs[f"{label}_sign"] = leg.qconj
        node["schmidt"] = psi.get_SL(i)
    group["schmidt_last"] = psi.get_SR(psi.L - 1)


def load_state(group: h5py.Group, model: ImpurityModel) -> MPS:
    """Read what `save_state` wrote, for the same model."""
    sites = model.lat.mps_sites()
    tensors, schmidt = [], []
    for i, site in enumerate(sites):
        node = group[str(i)]
        legs = [
            _leg(site, node["vL_charges"][()], node.attrs["vL_sign"]),
            site.leg,
            _leg(site, node["vR_charges"][()], node.attrs["vR_sign"]),
        ]
        tensors.append(
            npc.Array.from_ndarray(
                node["tensor"][()],
                legs,
                qtotal=node["qtotal"][()],
                labels=["vL", "p", "vR"],
                cutoff=0.0,
                raise_wrong_sector=False,
            )
        )
        schmidt.append(node["schmidt"][()])
    schmidt.append(group["schmidt_last"][()])
    psi = MPS(
        sites, tensors, schmidt, bc="finite", form="B",
        unit_cell_width=model.lat.mps_unit_cell_width,
    )  # fmt: skip
    psi.norm = group.attrs["norm"]
    return psi


def _leg(site, charges: np.ndarray, sign: int) -> npc.LegCharge:
    return npc.LegCharge.from_qflat(site.leg.chinfo, charges, int(sign))

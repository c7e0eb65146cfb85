"""TeNPy's own DMRG and TDVP on the same operator: the second engine behind the tensor networks."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.solvers.tensor.impurity import PreparedImpurity
from dmftnet.physics.solvers.tensor.mps import MpsSolver

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "mps_tenpy.py"


@pytest.fixture(name="tenpy", scope="module")
def _tenpy():
    spec = importlib.util.spec_from_file_location("mps_tenpy", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")  # of TeNPy, about options that it does not read
def test_tenpys_engines_agree(tenpy):
    """Not half filled, three bath sites, a singlet: energy and signal along the contour."""
    bath = StarBath(np.array([-0.6, -0.1, 0.5]), np.array([0.3, 0.25, 0.3]))
    solver = MpsSolver(
        bath=Intervals(3), t_max=1.0, dt=0.25, squared=False, truncation=1e-14,
        ground_truncation=1e-18, energy_tolerance=1e-12, krylov_tolerance=1e-8,
    )  # fmt: skip
    prepared = PreparedImpurity.of(solver, [bath], -0.5, 2.0, 0.0, False)
    assert prepared.electrons[0] == prepared.electrons[1]
    energy, psi = tenpy.tenpy_ground_state(prepared, 1e-18)
    assert prepared.ground.energy == pytest.approx(energy, abs=1e-9)
    found, _ = tenpy.tenpy_signal(prepared, energy, psi, 1e-14)
    own = prepared.signals().addition[0, :, 0, 0]
    assert abs(own[0]) > 0.3 and abs(own[-1] - own[0]) > 0.1
    np.testing.assert_allclose(found, own, rtol=0, atol=1e-6)

"""Imported by the server that scripts are forked from (`shell`): axes that take seconds to make."""

from dmftnet.data.plans.thermal import ACCURACY
from dmftnet.physics.grids.matsubara import ImaginaryAxis

AXES = [ImaginaryAxis.universal(1.0), ImaginaryAxis.universal(1.0, accuracy=ACCURACY)]
for axis in AXES:
    axis.to_coefficients(1 / (1j * axis.omega_n - 1))

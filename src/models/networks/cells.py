"""Where compiled code takes over from torch; spectra integrated over the cells of a grid."""

from __future__ import annotations

import torch
from torch._C._functorch import peek_interpreter_stack

from dmftnet.physics.analysis.causal_dyson import cell_weights
from dmftnet.physics.analysis.self_energy import inverse_weights


def compiles(values: torch.Tensor) -> bool:
    """Whether numpy and compiled code may take over: on a CPU, where nothing is differentiated.

    Within `torch.func.jvp` nothing is numpy's, not even what the tangent does not depend on.
    """
    followed = torch.is_grad_enabled() or peek_interpreter_stack() is not None
    return values.device.type == "cpu" and not followed


def pole_weights(real: torch.Tensor, imag: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Weights ``-Im (1/d) dw / pi`` of denominators, `inverse_weights`.

    With gradients, tangents or off the CPU by logarithms in torch; to 1e-7 of the compiled ones.

    Parameters
    ----------
    real, imag : (..., n_w) float64, in D
        Parts of the denominator, ``imag >= 0``.
    width : (n_w - 1,) float64, in D
        Of the cells.

    Returns
    -------
    (..., n_w) float64, non-negative
    """
    if not compiles(real):
        return inverse_weights(real, imag, width, precise=False, xp=torch)
    return torch.from_numpy(cell_weights(real.numpy(), imag.numpy(), width.numpy()))

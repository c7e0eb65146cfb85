"""The unit of energy that an impurity problem brings along: that of its bath."""

from __future__ import annotations

import numpy as np

from dmftnet.errors import InvalidProblemError


def unit_of(weight: float) -> float:
    """``D = 2 sqrt(m0)``, m0 the weight of the hybridization; of the semicircle its half-bandwidth.

    Raises
    ------
    InvalidProblemError
        If there is no bath.
    """
    if not weight > 0:
        raise InvalidProblemError(f"the hybridization has weight {weight:g}; D needs it > 0")
    return 2 * float(np.sqrt(weight))

"""The environment in which tests start the scripts: the same from every shell.

Scripts draw tables as wide as the terminal, bars and colours where one is claimed, and follow
variables of Hydra and W&B.
"""

import os

FOLLOWED = ("FORCE_COLOR", "TTY_COMPATIBLE", "HYDRA_FULL_ERROR")
FIXED = {"COLUMNS": "200", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "WANDB_MODE": "offline"}


def python_path(folder) -> str:
    """``PYTHONPATH`` with one more folder; what the tests themselves are found by stays in it."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


def environment(**more: str) -> dict[str, str]:
    """For `subprocess`, with further variables."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in FOLLOWED and not key.startswith("WANDB_")
    }
    return kept | FIXED | more

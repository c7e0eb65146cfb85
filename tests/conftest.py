"""Settings that every test shares."""

import atexit
import os
import shutil
import tempfile

for name in [name for name in os.environ if name.startswith("WANDB_")]:
    del os.environ[name]
os.environ |= {"MPLBACKEND": "Agg", "WANDB_MODE": "offline"}
if "PYTEST_XDIST_WORKER" not in os.environ:  # graphs of networks go to a cache of this run's own
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="dmftnet-tests-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
# Before numpy is imported: matrices here are small, and threads wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings  # noqa: E402 - imports numpy

# The same examples in every run, and no clock: a busy machine is no failure.
settings.register_profile(
    "dmftnet", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("dmftnet")

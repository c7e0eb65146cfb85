"""Runs the physics tests once for each kind of processor that this one can stand in for.

    python tests/kernels.py KERNEL... [-- arguments of pytest]

``make test-kernels`` calls it. A kernel is OpenBLAS' code for a family of processors; numpy's loops
(exp, log, arctan) have a like choice, and follow it here. Each rounds in its own way. The
processor's own choice is ``default``. A kernel that does not run here, that this build of OpenBLAS
replaces by another, or that is the default, is one line and no run. Exit status 1: a run failed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = "default"
WIDE, FUSED = ("AVX512", "X86_V4"), ("AVX2", "FMA3", "X86_V3")
LACKS = {"Haswell": WIDE, "Zen": WIDE, "Sandybridge": WIDE + FUSED, "Nehalem": WIDE + FUSED}
"""Instructions that numpy would choose and that processors of the family do not have."""
PROBE = """
import numpy, scipy.linalg, threadpoolctl
A = numpy.random.default_rng(0).normal(size=(200, 200))
scipy.linalg.eigh(A @ A.T)  # an unknown instruction ends the process here
found = {i["architecture"] for i in threadpoolctl.threadpool_info() if "architecture" in i}
print(" ".join(sorted(found)))
"""


def environment(kernel: str) -> dict[str, str]:
    """Of a run with a kernel, in one thread."""
    chosen = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    if kernel != DEFAULT:
        loops = numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
        without = [name for name in loops if name.startswith(LACKS.get(kernel, ()))]
        chosen |= {"OPENBLAS_CORETYPE": kernel, "NPY_DISABLE_CPU_FEATURES": " ".join(without)}
    decided = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES")
    return {key: value for key, value in os.environ.items() if key not in decided} | chosen


def architecture(kernel: str) -> str:
    """What OpenBLAS really uses in numpy and scipy; empty without OpenBLAS, or if it died."""
    command = [sys.executable, "-c", PROBE]
    run = subprocess.run(command, env=environment(kernel), capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else ""


def why_not(kernel: str, found: str, own: str) -> str | None:
    """The reason for which a kernel is not run, if there is one."""
    if kernel == DEFAULT:
        return None
    if found.lower() != kernel.lower():
        return f"it would run as {found}" if found else "it does not run here"
    return "it is the default" if found == own else None


def main(arguments: list[str]) -> int:
    """Run, then report on all; the exit status."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    kernels, options = arguments[:split], arguments[split + 1 :]
    own, report, failed = architecture(DEFAULT), [], False
    for kernel in kernels:
        name = f"Python {platform.python_version()}, kernel {kernel}"
        reason = why_not(kernel, architecture(kernel), own)
        if reason is not None:
            report.append(f"{name}: skipped, {reason}")
            continue
        name += f" ({own or 'no OpenBLAS'})" if kernel == DEFAULT else ""
        print(f"--- {name}", flush=True)
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", str(ROOT / "tests" / "physics"), *options]
        status = subprocess.run(command, cwd=ROOT, env=environment(kernel)).returncode
        failed |= status != 0
        seconds = time.monotonic() - began
        report.append(f"{name}: {'FAILED' if status else 'passed'} in {seconds:.0f} s")
    print("\n".join(report))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How tests start the scripts: in an environment that is the same from every shell.

Scripts draw tables as wide as the terminal, bars and colours where one is claimed, and follow
variables of Hydra and W&B.

`run_script` gives each script a process of its own, forked from a server that has the imports
behind it: they cost more than most of what the tests run.
"""

import atexit
import os
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from multiprocessing.reduction import DupFd
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLLOWED = ("FORCE_COLOR", "TTY_COMPATIBLE", "HYDRA_FULL_ERROR")
FIXED = {"COLUMNS": "200", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "WANDB_MODE": "offline"}
IMPORTED = [
    "dmftnet.scripts.train",
    "dmftnet.scripts.dmft",
    "dmftnet.scripts.evaluate_thermal",
    "warm",
]

SERVED = get_context("forkserver")
SERVED.set_forkserver_preload(IMPORTED)


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


def run_script(name, *arguments, cwd=ROOT, env=None) -> subprocess.CompletedProcess:
    """Run a script of the top level as ``python name arguments`` would; text of both streams."""
    command = [str(ROOT / name), *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        streams = [DupFd(stream.fileno()) for stream in (out, err)]
        process = SERVED.Process(
            target=_script, args=(command, str(cwd), env or environment(), streams)
        )
        process.start()
        process.join()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read())
    return subprocess.CompletedProcess(command, process.exitcode, *texts)


def _script(command, cwd, env, streams) -> None:
    """In the new process: the script, with its own environment, folder and streams."""
    for number, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream.detach(), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    folders = [str(Path(command[0]).parent), *env.get("PYTHONPATH", "").split(os.pathsep)]
    sys.path[:0] = [folder for folder in folders if folder and folder not in sys.path]
    sys.argv[:] = command
    try:
        runpy.run_path(command[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()

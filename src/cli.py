"""The command ``dmftnet``: a word for each of the scripts, then what that script takes."""

from __future__ import annotations

import sys
from importlib import import_module

from dmftnet import __version__
from dmftnet.commit import source_commit
from dmftnet.config import run

COMMANDS = {
    "generate": "exact data: impurity problems, each solved, in one HDF5 file",
    "train": "a network on complex-time spectra",
    "dmft": "a DMFT problem, solved with any solver",
    "evaluate": "networks beside each other, in one report",
    "ship": "trained networks as one solver, with limits and a model card",
    "evaluate_thermal": "corrections at finite temperature beside each other, in one report",
}

USAGE = "\n".join(
    [
        "usage: dmftnet COMMAND [key=value ...]",
        "",
        *(f"  {name:<18}{what}" for name, what in COMMANDS.items()),
        "",
        "dmftnet dmft solver=network problem.U=2.0",
        "dmftnet COMMAND --help    prints the configuration of a command",
        "dmftnet --version         prints version and commit",
    ]
)


def main() -> None:
    """Run one command; its exit status and its errors are those of the script of that name."""
    word, arguments = "".join(sys.argv[1:2]), sys.argv[2:]
    if word in ("-h", "--help"):
        print(USAGE)
    elif word == "--version":
        print(f"dmftnet {__version__}, commit {source_commit()}")
    elif word in COMMANDS:
        script = import_module(f"dmftnet.scripts.{word}")
        sys.argv = [str(script.__file__), *arguments]  # what starts further processes runs this
        run(script.main)
    else:
        print(USAGE, file=sys.stderr)
        said = f"'{word}' is no command" if word else "no command is given"
        print(f"error: {said}; use one of {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)

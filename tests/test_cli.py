"""The command ``dmftnet``: the scripts under one name, with their statuses and their errors."""

import json
import subprocess
import sys

import pytest
from shell import environment

import dmftnet
from dmftnet import places
from dmftnet.cli import COMMANDS, USAGE
from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.errors import StoreError
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.places import command, how_to_get


def dmftnet_command(folder, *arguments):
    """What the console script runs, in a folder of one's own; (exit status, stdout, stderr)."""
    code = "import sys; sys.argv[0] = 'dmftnet'; from dmftnet.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    return run.returncode, run.stdout, run.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "error: no command is given; use one of generate, train, dmft, evaluate, ship"),
        (("trian",), "error: 'trian' is no command; use one of generate, train, dmft"),
        (("problem.U=2.0",), "error: 'problem.U=2.0' is no command"),
    ],
)
def test_wrong_words_get_the_usage(tmp_path, arguments, error):
    status, out, err = dmftnet_command(tmp_path, *arguments)
    assert status == 2 and not out
    assert err.startswith(f"{USAGE}\n") and err.splitlines()[-1].startswith(error)
    assert not list(tmp_path.iterdir())


def test_usage_and_version_on_request(tmp_path):
    status, out, err = dmftnet_command(tmp_path, "--help")
    assert (status, out, err) == (0, f"{USAGE}\n", "")
    assert all(f"  {name} " in out for name in COMMANDS)
    status, out, err = dmftnet_command(tmp_path, "--version")
    assert status == 0 and out.startswith(f"dmftnet {dmftnet.__version__}, commit ")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_prints_its_configuration(tmp_path, name):
    status, out, err = dmftnet_command(tmp_path, name, "--help")
    assert status == 0 and f"{name} is powered by Hydra" in out, err


def test_a_solve_in_an_empty_folder_with_the_weights_that_ship(tmp_path):
    """One iteration is quick, and no convergence is status 1."""
    solve = ("dmft", "solver=network", "problem.U=2.0", "hydra.run.dir=run")
    status, _, err = dmftnet_command(tmp_path, *solve, "loop.max_iterations=1")
    assert status == 1 and err.startswith("not converged: "), err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["solver"] == "network" and summary["U"] == 2.0
    status, _, err = dmftnet_command(tmp_path, *solve)
    assert status == 2 and "not overwritten" in err and err.count("\n") == 1


def test_data_that_are_not_there_are_one_line(tmp_path):
    status, _, err = dmftnet_command(tmp_path, "train", "hydra.run.dir=run", "logger=csv")
    assert status == 2 and err.count("\n") == 1
    assert err.startswith("error: file data/bethe_small.h5 does not exist; make it with: ")
    assert "dataset.path names the file" in err


def test_the_weights_that_ship_are_the_default_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert NetworkSolver().identity == NetworkSolver(places.WEIGHTS / "self_energy").identity
    assert NetworkSolver().label == "self_energy"


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        (False, "make it with: python generate.py dataset=x; key names the file"),
        (True, "make it with: dmftnet generate dataset=x, or take it from data/ of a clone of the "
               "repository; key names the file"),
    ],
)  # fmt: skip
def test_a_remedy_speaks_to_whom_it_concerns(monkeypatch, installed, words):
    monkeypatch.setattr(places, "INSTALLED", installed)
    assert how_to_get("dataset=x", "key") == words
    assert command("dmft") == ("dmftnet dmft" if installed else "python dmft.py")


def test_references_that_are_not_there_name_both_keys(tmp_path):
    with pytest.raises(
        StoreError, match=r"none\.h5 does not exist.*callbacks\.closure\.references"
    ):
        ReferenceStore.open(tmp_path / "none.h5")

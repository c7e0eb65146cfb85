"""dmft.py with several orbitals or sites, at finite temperature: files, summaries, restarts."""

import json
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
from shell import run_script

from dmftnet.physics.dmft.files import load_solution
from dmftnet.physics.dmft.summary import SUMMARY_KEYS
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization

ROOT = Path(__file__).resolve().parents[2]
ED = ("solver=ed", "grid.n_w=80", "solver.bath.n_bath=2", "solver.fit.n_bath=2", "problem.U=2.0")
LOOSE = ("loop.tolerance=1.0e-3", "loop.zero_tolerance=0.05", "loop.max_iterations=30")
TWO = ("problem=kanamori", "problem.J=0.3", "problem.crystal_field=[-0.1,0.1]", *LOOSE)
THERMAL = ("problem.beta=10", "loop.tolerance=1.0e-6")
CHAIN = ("lattice=tight_binding", "lattice.hoppings=[[[1],0,1,-0.4],[[0],0,1,-0.3]]")


def dmft(folder, *arguments):
    """Run the script; (exit status, stderr)."""
    run = run_script("dmft.py", *ED, *arguments, f"hydra.run.dir={folder}")
    return run.returncode, run.stderr


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def two_orbitals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    status, err = dmft(folder, *TWO)
    assert status == 0, err
    return folder


@pytest.fixture(scope="module")
def thermal(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thermal")
    status, err = dmft(folder, *THERMAL)
    assert status == 0, err
    return folder


def test_several_orbitals_have_lists(two_orbitals):
    """Levels apart by the crystal field, searched for half filling."""
    summary = summary_of(two_orbitals)
    assert tuple(summary)[: len(SUMMARY_KEYS)] == SUMMARY_KEYS
    assert summary["n_orb"] == 2 and summary["J"] == 0.3 and "beta" not in summary
    assert np.diff(summary["eps_d"])[0] == pytest.approx(0.2)
    assert summary["filling"] == pytest.approx(2, abs=2e-3)
    assert summary["filling"] == pytest.approx(sum(summary["occupations"]), abs=1e-9)
    doubles = np.array(summary["double_occupancies"])
    assert np.diag(doubles).mean() == pytest.approx(summary["double_occupancy"], abs=1e-9)
    for key in ("Z", "A0", "gap"):
        assert len(summary[key]) == 2
    stored = load_solution(two_orbitals / "solution.h5")
    assert stored.spectrum.shape == stored.hybridization.shape == (2, 80)
    with h5py.File(two_orbitals / "solution.h5") as file:
        filled = 2 * np.diag(file["density_matrix"][:]).real
        np.testing.assert_allclose(filled, summary["occupations"], rtol=0, atol=1e-9)
        assert file["double_occupancies"].shape == (2, 2) and file.attrs["beta"] == np.inf


def test_several_orbitals_start_from_an_earlier_solution(two_orbitals, tmp_path):
    eps_d = np.mean(summary_of(two_orbitals)["eps_d"])
    start = f"start={two_orbitals / 'solution.h5'}"
    status, err = dmft(tmp_path / "again", *TWO, f"problem.eps_d={eps_d}", start)
    assert status == 0, err
    assert summary_of(tmp_path / "again")["iterations"] <= 6
    status, err = dmft(tmp_path / "other", start)
    assert status == 2 and "holds 2 orbitals, one is needed" in err


def test_the_imaginary_axis_has_files_of_its_own(thermal):
    summary = summary_of(thermal)
    assert tuple(summary)[: len(SUMMARY_KEYS)] == SUMMARY_KEYS
    assert summary["beta"] == 10 and summary["kl_last"] is None and summary["A0"] is None
    assert summary["change_last"] <= 1e-6 and 0 < summary["Z_matsubara"] < 1
    assert summary["filling"] == pytest.approx(1, abs=1e-9)
    with h5py.File(thermal / "solution.h5") as file:
        n = file["matsubara/omega_n"].size
        assert file["matsubara/omega_n"][0] == pytest.approx(np.pi / 10)
        for name in ("greens", "self_energy", "hybridization"):
            assert file[f"matsubara/{name}"].shape == (1, n)
        tau, G = file["tau/tau"][:], file["tau/greens"][:]
        assert tau[0] == 0 and tau[-1] == 10 and G.shape == (1, tau.size)
        assert G[0, 0] + G[0, -1] == pytest.approx(-1, abs=1e-10)
        # the loop is closed: Delta = G/4
        gap = file["matsubara/hybridization"][:] - file["matsubara/greens"][:] / 4
        assert np.abs(gap).max() < 1e-6
        assert "spectrum" not in file and file.attrs["beta"] == 10
    bath = load_solution(thermal / "solution.h5").bath
    assert isinstance(bath, MatsubaraHybridization) and bath.axis.beta == 10


def test_a_loop_on_the_imaginary_axis_starts_from_an_earlier_solution(thermal, tmp_path):
    start = f"start={thermal / 'solution.h5'}"
    status, err = dmft(tmp_path / "again", *THERMAL, start)
    assert status == 0, err
    assert summary_of(tmp_path / "again")["iterations"] == 2
    status, err = dmft(tmp_path / "real", start)
    assert status == 2 and "does not start a loop on the real axis" in err
    status, err = dmft(tmp_path / "cold", "problem.beta=20", start)
    assert status == 2 and "known at Matsubara frequencies alone" in err


def test_a_hybridization_in_and_a_self_energy_out(thermal, tmp_path):
    """What the loop wrote as text is one impurity with the same answer."""
    fixed = ("lattice=fixed", f"problem.hybridization={thermal / 'hybridization.txt'}")
    status, err = dmft(tmp_path / "one", *fixed, "problem.beta=10")
    assert status == 0, err
    before, after = summary_of(thermal), summary_of(tmp_path / "one")
    assert after["hybridization_residual"] < 1e-9 and "hybridization_residual" not in before
    assert after["double_occupancy"] == pytest.approx(before["double_occupancy"], abs=1e-8)
    assert after["iterations"] == 1 and "kinetic_energy" not in after
    for name in ("self_energy.txt", "greens.txt", "greens_tau.txt"):
        first, second = (np.loadtxt(folder / name) for folder in (thermal, tmp_path / "one"))
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-7)
    assert np.loadtxt(thermal / "greens.txt")[-1, 0] == pytest.approx(63 * np.pi / 10)  # below 20 D
    status, err = dmft(tmp_path / "cold", *fixed, "problem.beta=20")
    assert status == 2 and "is of beta = 10, set problem.beta" in err
    status, err = dmft(tmp_path / "real", *fixed)
    assert status == 2 and "set axis=imaginary and problem.beta" in err


def test_a_loop_may_start_from_the_atom_and_write_no_text(thermal, tmp_path):
    status, err = dmft(tmp_path / "atom", *THERMAL, "start=atom", "text=null")
    assert status == 0, err
    assert not list((tmp_path / "atom").glob("*.txt"))
    found, before = summary_of(tmp_path / "atom"), summary_of(thermal)
    for key in ("double_occupancy", "internal_energy", "A_beta_half"):
        assert found[key] == pytest.approx(before[key], abs=1e-5)
    assert (thermal / "self_energy.txt").is_file()


def test_a_filling_at_finite_temperature(tmp_path):
    doped = ("problem.filling=0.85", "lattice=square", "filling_search.tolerance=1.0e-4")
    status, err = dmft(tmp_path / "doped", *THERMAL, *doped)
    assert status == 0, err
    assert summary_of(tmp_path / "doped")["filling"] == pytest.approx(0.85, abs=1e-4)


def test_sites_stand_side_by_side(tmp_path):
    """Equal sites of one chain: the same answer twice."""
    status, err = dmft(tmp_path / "run", *CHAIN, *THERMAL)
    assert status == 0, err
    summary = summary_of(tmp_path / "run")
    first, second = summary["sites"]
    assert first["double_occupancy"] == pytest.approx(second["double_occupancy"], abs=1e-9)
    with h5py.File(tmp_path / "run" / "solution.h5") as file:
        np.testing.assert_allclose(
            file["matsubara/greens"][:], file["sites/1/matsubara/greens"][:], rtol=0, atol=1e-9
        )


def test_orbitals_that_mix_are_matrices(tmp_path):
    """The chain's cell as one site of two orbitals."""
    two = ("problem=kanamori", "problem.J=0.3", "lattice.sites=[[0,1]]", "problem.beta=10")
    status, err = dmft(tmp_path / "run", *CHAIN, *two, "loop.max_iterations=2")
    assert status == 1, err  # two iterations are enough to see
    with h5py.File(tmp_path / "run" / "solution.h5") as file:
        G = file["matrix/matsubara/greens"][:]
        assert G.shape[:2] == (2, 2) and np.abs(G[0, 1]).max() > 0.05
        assert file["matrix/tau/greens"].shape[:2] == (2, 2)
    bath = load_solution(tmp_path / "run" / "solution.h5").bath
    assert not bath.is_diagonal and bath.n_orb == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("solver=ras", "problem.beta=20"), "solver 'ras' works at T = 0"),
        (("solver=network", *TWO), "solver 'network' treats one orbital, the problem has 2"),
        (("start=atom",), "set axis=imaginary, or start from insulator"),
        (("problem.beta=10", "text.cutoff=0"), "text.cutoff = 0: give a number > 0"),
        (("axis=both",), "axis = 'both' is unknown; use one of real, imaginary"),
        (("problem.beta=-1",), "beta = -1: give a number > 0"),
        ((*TWO, "problem.J=2.0"), "Hund's coupling needs 0 <= J <= U/3"),
        ((*TWO, "problem.crystal_field=[0.1]"), "give one level an orbital, 2"),
        ((*TWO, "problem.n_orb=9"), "problem.n_orb = 9: give an integer"),
        ((*TWO, "solver.bath.n_bath=7"), "more than solver.max_determinants"),
        ((*CHAIN, "problem.filling=0.9", *THERMAL), "2 inequivalent sites"),
        (("lattice=tight_binding", "lattice.hoppings=[]"), "lattice.hoppings is empty"),
    ],
)
def test_bad_input_is_one_line(arguments, words, tmp_path):
    kept = [a for a in ED if not (a.startswith("solver") and arguments[0].startswith("solver="))]
    run = run_script("dmft.py", *kept, *arguments, f"hydra.run.dir={tmp_path / 'run'}")
    lines = run.stderr.strip().splitlines()
    assert run.returncode == 2 and len(lines) == 1 and words in lines[0], run.stderr


def test_poles_of_a_loop_on_the_imaginary_axis(tmp_path):
    """Where the library is installed; the file, the summary and the warning have them."""
    for name in ("mini_pole", "kneed"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'dmftnet[poles]'")
    status, err = dmft(tmp_path, *THERMAL, "poles=mini_pole")
    summary = summary_of(tmp_path)
    assert status == 0 and summary["fit"]["residual"] < 1
    assert "warning: " in err and "the fit on the real axis: " in summary["warning"]
    with h5py.File(tmp_path / "solution.h5") as file:
        assert file["fit/spectrum"].shape == (1, file["fit/omega"].size)
        energies, weights = (file[f"fit/0/{name}"][:] for name in ("energies", "weights"))
        assert summary["fit"]["n_poles"] == [energies.size] == [weights.size]
        values, z = file["matsubara/greens"][0], 1j * file["matsubara/omega_n"][:]
    missed = np.abs((1 / (z[:, None] - energies)) @ weights - values).max()
    assert summary["fit"]["residual"] == pytest.approx(missed / np.abs(values).max())
    load_solution(tmp_path / "solution.h5")


@pytest.mark.parametrize("arguments", [("problem.beta=null",), THERMAL])
def test_poles_that_cannot_be_are_one_line(tmp_path, arguments):
    """On the real axis there is no need, without the library no way; nothing is written."""
    there = all(find_spec(name) for name in ("mini_pole", "kneed"))
    if there and arguments == THERMAL:
        pytest.skip("mini_pole is installed")
    status, err = dmft(tmp_path, *arguments, "poles=mini_pole")
    assert status == 2 and err.startswith("error: poles: ") and err.strip().count("\n") == 0
    assert ("set axis=imaginary" if there else "pip install 'dmftnet[poles]'") in err
    assert not (tmp_path / "solution.h5").exists()

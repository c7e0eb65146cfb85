"""dmft.py through its real command line, on a small bath and a coarse grid."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from shell import environment, python_path, run_script

from dmftnet.errors import StoreError
from dmftnet.physics.dmft.files import load_solution
from dmftnet.physics.dmft.summary import SUMMARY_KEYS
from dmftnet.physics.grids.real_axis import FrequencyGrid

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("solver.bath.n_bath=11", "solver.depths=[all,4,1]", "solver.n_lanczos=25", "grid.n_w=80")
LOOSE = ("loop.tolerance=1.0e-2", "loop.zero_tolerance=0.05", "loop.max_iterations=30")


def dmft(folder, *arguments):
    """Run the script; (exit status, stdout, stderr)."""
    run = run_script("dmft.py", *SMALL, *arguments, f"hydra.run.dir={folder}")
    return run.returncode, run.stdout, run.stderr


def error_line(stderr):
    """The one line that an error is."""
    lines = stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), stderr
    return lines[0]


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """One solve with the semicircle that stays."""
    folder = tmp_path_factory.mktemp("fixed")
    status, out, err = dmft(folder, "lattice=fixed")
    assert status == 0, err
    return folder, out


def test_summary_has_the_promised_keys(fixed):
    summary = json.loads((fixed[0] / "summary.json").read_text())
    assert tuple(summary) == SUMMARY_KEYS
    assert summary["solver"] == "ras" and summary["lattice"] == "fixed"
    assert summary["U"] == 2.0 and summary["eps_d"] == -1.0
    assert summary["converged"] is True and summary["iterations"] == 1
    assert summary["filling"] == pytest.approx(1.0, abs=1e-6)
    assert 0 < summary["double_occupancy"] < 0.25
    assert 0 < summary["Z"] < 1 and 0 < summary["Z_matsubara"] < 1


def test_solution_file_has_the_promised_curves_and_its_origin(fixed):
    with h5py.File(fixed[0] / "solution.h5") as file:
        omega = file["grid/omega"][:]
        assert file["spectrum"].shape == file["hybridization"].shape == (1, omega.size)
        assert (
            np.iscomplexobj(file["self_energy"][:]) and file["self_energy"][:].imag.max() <= 1e-12
        )
        assert file["spectrum"][:].min() >= 0
        assert "lattice=fixed" in file.attrs["provenance/command"]
        assert "n_bath: 11" in file.attrs["provenance/config"]
        assert file["poles/0/amplitudes"].shape == (file["poles/0/energies"].size, 2)
    stored = load_solution(fixed[0] / "solution.h5")
    assert stored.grid.integrate(stored.hybridization[0]) == pytest.approx(0.25)
    assert stored.summary["A0"] == pytest.approx(stored.grid.at_zero(stored.spectrum)[0])


def test_an_existing_solution_is_not_overwritten(fixed):
    folder = fixed[0]
    before = (folder / "solution.h5").read_bytes()
    status, _, err = dmft(folder, "lattice=fixed", "problem.U=1.0")
    assert status == 2
    assert "not overwritten" in error_line(err)
    assert (folder / "solution.h5").read_bytes() == before


def test_loop_without_convergence_writes_what_it_has_then_one_with_it(tmp_path):
    status, out, err = dmft(tmp_path / "a", "loop.max_iterations=2", "start=insulator")
    assert status == 1
    assert "not converged" in err and "after 2 iterations" in err
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["converged"] is False and summary["iterations"] == 2
    start = f"start={tmp_path / 'a' / 'solution.h5'}"
    wide = "solver.broadening=[0.02,0.1]"  # with ras's own peaks the map of 11 sites is rough
    status, out, err = dmft(tmp_path / "b", *LOOSE, start, wide, "lattice=square")
    assert status == 0, err
    assert "KL" in out and "A(0)" in out and "converged: KL" in out


def test_a_loop_in_which_a_solve_fails_writes_what_it_has(tmp_path):
    run = run_script(
        "dmft.py", "solver=ipt", "~solver.step", "~solver.tolerance",
        "solver._target_=toy_solver.TiringSolver", "grid.n_w=80", f"hydra.run.dir={tmp_path}",
        env=environment(PYTHONPATH=python_path(ROOT / "tests")),
    )  # fmt: skip
    assert run.returncode == 1, run.stderr
    assert "not converged: iteration 3 failed: stopped at a residual" in run.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["converged"] is False and summary["iterations"] == 2
    assert load_solution(tmp_path / "solution.h5").summary["A0"] == summary["A0"]


def test_filling_search_and_a_density_from_a_file(tmp_path):
    energies = np.linspace(-1, 1, 41)
    np.savetxt(tmp_path / "dos.txt", np.stack([energies, 1 - np.abs(energies)], axis=1))
    status, _, err = dmft(
        tmp_path / "run", *LOOSE, "lattice=dos", f"lattice.path={tmp_path / 'dos.txt'}",
        "problem.U=0.5", "problem.filling=0.85", "filling_search.tolerance=0.02",
    )  # fmt: skip
    assert status == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["lattice"] == "dos"
    assert summary["filling"] == pytest.approx(0.85, abs=0.02)
    assert summary["eps_d"] > -0.25


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("solver=magic",), ("solver/magic", "ras")),
        (("problem.U=-1",), ("U = -1",)),
        (("lattice=dos",), ("lattice.path",)),
        (("start=nowhere.h5",), ("nowhere.h5", "metal")),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, arguments, words):
    status, out, err = dmft(tmp_path, *arguments)
    assert status == 2
    assert all(word in error_line(err) for word in words)
    assert not out
    assert not list(tmp_path.glob("s*"))


@pytest.mark.parametrize(("value", "word"), [(-0.1, ">= 0"), (np.nan, "nan")])
def test_bad_hybridization_is_refused(tmp_path, value, word):
    omega = np.linspace(-1.5, 1.5, 31)
    spectrum = np.where(np.abs(omega) < 1, 0.1, 0.0)
    spectrum[15] = value
    np.savetxt(tmp_path / "hyb.txt", np.stack([omega, spectrum], axis=1))
    status, _, err = dmft(
        tmp_path / "run", "lattice=fixed", f"problem.hybridization={tmp_path / 'hyb.txt'}"
    )
    assert status == 2
    assert word in error_line(err)


def test_damaged_and_foreign_solutions_are_refused(fixed, tmp_path):
    whole = (fixed[0] / "solution.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["schema"] = "something else"
    for name in ("cut.h5", "other.h5", "absent.h5"):
        with pytest.raises(StoreError, match=name) as caught:
            load_solution(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_solution_moves_to_another_grid(fixed):
    from dmftnet.physics.dmft.starts import starting_bath
    from dmftnet.physics.lattices.bethe import Bethe

    fine = FrequencyGrid.geometric(1e-3, 8.0, 400)
    spectrum = starting_bath(Bethe(), fine, 2.0, -1.0, fixed[0] / "solution.h5").spectrum[0]
    assert fine.integrate(spectrum) == pytest.approx(0.25, abs=5e-3)

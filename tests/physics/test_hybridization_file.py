"""Delta(iw) from files: what is read, how well, and what is refused in one line."""

import h5py
import numpy as np
import pytest

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization_file import holds_matsubara, read_hybridization
from dmftnet.physics.lattices.fixed import Fixed

BETA = 20.0
AXIS = ImaginaryAxis(BETA)
GRID = FrequencyGrid.geometric(2e-3, 8.0, 200)
OMEGA = (2 * np.arange(300) + 1) * np.pi / BETA


def levels(omega_n, shift=0.0):
    energies, weights = np.array([-0.8, 0.05, 0.6]) + shift, np.array([0.1, 0.05, 0.12])
    return (weights / (1j * omega_n[:, None] - energies)).sum(1)


def text(path, omega_n, *columns, fmt="%.12e", header="w_n, Re Delta, Im Delta"):
    pairs = [part for values in columns for part in (values.real, values.imag)]
    np.savetxt(path, np.stack([omega_n, *pairs], axis=1), fmt=fmt, header=header)
    return path


@pytest.mark.parametrize(
    "chosen",
    [slice(None), slice(0, 60), [*range(20), *range(20, 300, 7)]],
    ids=["full", "short", "subset"],
)
def test_a_text_file_is_met(tmp_path, chosen):
    """At every sampling point, whether the file holds it or not."""
    path = text(tmp_path / "delta.txt", OMEGA[chosen], levels(OMEGA[chosen]))
    bath = read_hybridization(path, AXIS, 1)
    assert bath.residual < 1e-11
    np.testing.assert_allclose(bath.values[0], levels(AXIS.omega_n), rtol=0, atol=1e-10)


def test_digits_and_comments_of_other_programs(tmp_path):
    """Five digits, a comment of Fortran or Matlab kind, blank lines, tabs."""
    path = tmp_path / "delta.dat"
    rows = [
        f"{w:.5e}\t{d.real:.5e}\t{d.imag:.5e}" for w, d in zip(OMEGA, levels(OMEGA), strict=True)
    ]
    path.write_text("% w Re Im\n# second\n\n" + "\n".join(rows) + "\n")
    bath = read_hybridization(path, AXIS, 1)
    assert 1e-7 < bath.residual < 3e-5
    np.testing.assert_allclose(bath.values[0], levels(AXIS.omega_n), rtol=0, atol=1e-5)


def test_noise_is_told_and_stays_causal(tmp_path):
    rng = np.random.default_rng(0)
    noise = 5e-3 * (rng.normal(size=300) + 1j * rng.normal(size=300))
    spoiled = levels(OMEGA) + noise
    assert spoiled.imag.max() > 0  # somewhere in the tail
    bath = read_hybridization(text(tmp_path / "d.txt", OMEGA, spoiled), AXIS, 1)
    largest = np.abs(spoiled).max()
    assert 0.5 * np.abs(noise).max() < bath.residual * largest < 1.5 * np.abs(noise).max()
    assert bath.values.imag.max() < 0
    np.testing.assert_allclose(bath.values[0], levels(AXIS.omega_n), rtol=0, atol=1e-2)


def test_particle_hole_symmetry_of_a_file_is_kept(tmp_path):
    """Rounded numbers, Re Delta zero: half filling stays exact."""
    even = 0.5 * (levels(OMEGA) - levels(OMEGA).conj())
    path = text(tmp_path / "d.txt", OMEGA, even, fmt="%.5e")
    bath = read_hybridization(path, AXIS, 1)
    assert bath.is_particle_hole_symmetric() and 1e-8 < bath.residual < 1e-4


def test_orbitals(tmp_path):
    """One pair of columns for all, or one for each."""
    one, other = levels(OMEGA), levels(OMEGA, 0.3)
    both = read_hybridization(text(tmp_path / "two.txt", OMEGA, one, other), AXIS, 2)
    alike = read_hybridization(text(tmp_path / "one.txt", OMEGA, one), AXIS, 2)
    for orbital, shift in enumerate((0.0, 0.3)):
        exact = levels(AXIS.omega_n, shift)
        np.testing.assert_allclose(both.values[orbital], exact, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(alike.values[0], alike.values[1])
    with pytest.raises(InvalidProblemError, match="Delta of 2 orbitals, the problem 3"):
        read_hybridization(tmp_path / "two.txt", AXIS, 3)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_hdf5(tmp_path, rows):
    values = levels(OMEGA) if rows == 0 else np.tile(levels(OMEGA), (rows, 1))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["matsubara/omega_n"], file["matsubara/hybridization"] = OMEGA, values
    assert holds_matsubara(tmp_path / "d.h5")
    bath = read_hybridization(tmp_path / "d.h5", AXIS, max(rows, 1))
    exact = levels(AXIS.omega_n)
    np.testing.assert_allclose(bath.values, np.tile(exact, (max(rows, 1), 1)), rtol=0, atol=1e-10)


def test_a_problem_takes_it(tmp_path):
    path = text(tmp_path / "d.txt", OMEGA, levels(OMEGA))
    made = {"hybridization": path, "beta": BETA, "n_orb": 2}
    problem = starting_problem(GRID, Fixed(), 2.0, axis=AXIS, **made)
    np.testing.assert_allclose(problem.hybridization.values[1], levels(AXIS.omega_n), atol=1e-10)
    with pytest.raises(InvalidProblemError, match="set axis=imaginary and"):
        starting_problem(GRID, Fixed(), 2.0, **made)


def test_two_columns_are_a_spectrum(tmp_path):
    """A file of an earlier kind, on the imaginary axis too."""
    energies = np.linspace(-1, 1, 401)
    spectrum = np.sqrt(1 - energies**2) / (2 * np.pi)
    np.savetxt(tmp_path / "s.txt", np.stack([energies, spectrum], axis=1))
    assert not holds_matsubara(tmp_path / "s.txt")
    made = {"hybridization": tmp_path / "s.txt", "beta": BETA, "axis": AXIS}
    values = starting_problem(GRID, Fixed(), 2.0, **made).hybridization.values[0]
    z = 1j * AXIS.omega_n
    exact = 0.5 / (z + np.sqrt(z - 1) * np.sqrt(z + 1))
    np.testing.assert_allclose(values, exact, rtol=0, atol=1e-3)  # 200 points of the grid


def spoil(**changes):
    """Columns of a file with something wrong."""
    omega_n, values = OMEGA.copy(), levels(OMEGA)
    if "drop" in changes:
        omega_n, values = omega_n[changes["drop"]], values[changes["drop"]]
    if "factor" in changes:
        omega_n = omega_n * changes["factor"]
    if "add" in changes:
        values = values + changes["add"]
    if "sign" in changes:
        values = changes["sign"](values)
    if "at" in changes:
        index, frequency = changes["at"]
        omega_n[index] = frequency
    if "value" in changes:
        values[7] = changes["value"]
    return omega_n, values


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"factor": 0.4}, "is of beta = 50, set problem.beta"),
        ({"drop": slice(1, None)}, "the first frequency is 0.471239, pi/beta is 0.15708"),
        ({"drop": slice(None, None, -1)}, "frequency 93.7765 follows 94.0907; they must rise"),
        ({"drop": [0, 1, 1, *range(2, 30)]}, "frequency 0.471239 follows 0.471239"),
        ({"at": (0, -0.157)}, "frequency -0.157; give positive ones alone"),
        ({"at": (0, 0.0)}, "frequency 0; give positive ones alone"),
        ({"at": (5, np.nan)}, "row 6 of the data holds a value that is not finite"),
        ({"value": np.inf}, "row 8 of the data holds a value that is not finite"),
        ({"at": (1, 0.314159)}, "is 2.0000 pi/beta; fermionic frequencies are odd multiples"),
        ({"sign": np.conj}, "it must be <= 0 at positive frequencies"),
        ({"add": 0.2}, "must vanish at high frequency"),
        ({"drop": slice(0, 5)}, "has 5 frequencies; give 8 at least"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, changes, words):
    path = text(tmp_path / "delta.txt", *spoil(**changes))
    with pytest.raises(InvalidProblemError, match="delta") as caught:
        read_hybridization(path, AXIS, 1)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read"),
        ("w Re Im\n1 2 3\n", "it must hold the columns w_n, Re Delta, Im Delta"),
        ("1 2 3\n1 2\n", "cannot be read"),
        ("1 2 3 4\n" * 9, "has 4 columns; give w_n, and Re and Im of Delta"),
    ],
)
def test_no_table_is_one_line(tmp_path, content, words):
    path = tmp_path / "delta.txt"
    path.write_text(content)
    with pytest.raises(InvalidProblemError) as caught:
        read_hybridization(path, AXIS, 1)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["names", "shape", "bytes"])
def test_no_such_arrays_is_one_line(tmp_path, damage):
    path = tmp_path / "delta.h5"
    if damage == "bytes":
        path.write_bytes(b"not HDF5")
    else:
        with h5py.File(path, "w") as file:
            file["matsubara/omega_n"] = OMEGA[:-1] if damage == "shape" else OMEGA
            file["delta" if damage == "names" else "matsubara/hybridization"] = levels(OMEGA)
    with pytest.raises(InvalidProblemError) as caught:
        read_hybridization(path, AXIS, 1)
    assert "matsubara/hybridization" in str(caught.value) and "\n" not in str(caught.value)

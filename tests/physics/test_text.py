"""Files of columns, against sums over the poles that a solution consists of."""

import numpy as np
import pytest

from dmftnet.errors import SettingError
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.dmft.iterations import DMFTResult
from dmftnet.physics.dmft.starts import starting_problem
from dmftnet.physics.dmft.text import NAMES, TextFiles
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.hybridization_file import read_hybridization
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.lattices.tight_binding import TightBinding
from dmftnet.physics.solvers.krylov.ed import EdSolver

GRID = FrequencyGrid.geometric(2e-3, 8.0, 120)
BETA = 8.0
AXIS = ImaginaryAxis(BETA)
SOLVER = EdSolver(fit=MatsubaraFit(n_bath=2))


def solved(*problems):
    """One solve of each site, as a result."""
    solutions = tuple(SOLVER.solve(problem) for problem in problems)
    return DMFTResult(problems, solutions, True, 1, (0.0,), "one solve")


def problem(**options):
    made = {"eps_d": -0.7, "beta": BETA, "axis": AXIS, **options}
    return starting_problem(GRID, Bethe(), 2.0, **made)


def semicircle(omega_n):
    """``G/4`` of the Bethe lattice."""
    iw = 1j * omega_n
    return 0.5 / (iw + np.sqrt(iw - 1) * np.sqrt(iw + 1))


def complex_columns(path):
    table = np.loadtxt(path)
    return table[:, 0], (table[:, 1::2] + 1j * table[:, 2::2]).T


def test_every_frequency_up_to_the_cutoff(tmp_path):
    given = problem().moved(MatsubaraHybridization(AXIS, semicircle(AXIS.omega_n)))
    result = solved(given)
    paths = TextFiles(cutoff=25.0, n_tau=33).write(tmp_path, result)
    assert sorted(path.name for path in paths) == sorted(NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    poles = result.solution.greens[0]
    count = sum(1 for n in range(1000) if (2 * n + 1) * np.pi / BETA <= 25.0)
    omega_n = (2 * np.arange(count) + 1) * np.pi / BETA
    z = 1j * omega_n[:, None]
    greens = (poles.G.weights / (z - poles.G.energies)).sum(1)
    f = (poles.F.weights / (z - poles.F.energies)).sum(1)
    i = (poles.I.weights / (z - poles.I.energies)).sum(1)
    sigma = poles.F.weights.sum() + i - f**2 / greens
    exact = {
        "greens.txt": greens,
        "self_energy.txt": sigma,
        "hybridization.txt": semicircle(omega_n),
    }
    for name, values in exact.items():
        found_at, found = complex_columns(tmp_path / name)
        np.testing.assert_allclose(found_at, omega_n, rtol=1e-13)
        assert found.shape == (1, count)
        np.testing.assert_allclose(found[0], values, rtol=0, atol=1e-9)
    tau, values = np.loadtxt(tmp_path / "greens_tau.txt").T
    np.testing.assert_allclose(tau, np.linspace(0, BETA, 33), atol=1e-13)
    boltzmann = np.exp(-np.outer(tau, poles.G.energies)) / (1 + np.exp(-BETA * poles.G.energies))
    np.testing.assert_allclose(values, -boltzmann @ poles.G.weights, rtol=0, atol=1e-12)
    assert values[0] + values[-1] == pytest.approx(-1, abs=1e-12)


def test_what_is_written_can_be_read(tmp_path):
    result = solved(problem())
    TextFiles().write(tmp_path, result)
    bath = read_hybridization(tmp_path / "hybridization.txt", AXIS, 1)
    np.testing.assert_allclose(bath.values, result.problem.hybridization.values, rtol=0, atol=1e-9)
    header = (tmp_path / "hybridization.txt").read_text().splitlines()[:2]
    assert header == [
        "# beta = 8, U = 2, eps_d = [-0.7]; energies in D, one spin",
        "# w_n, Re Delta, Im Delta",
    ]


def test_orbitals_stand_side_by_side(tmp_path):
    result = solved(problem(n_orb=2, J=0.2, crystal_field=[-0.1, 0.2]))
    TextFiles().write(tmp_path, result)
    head = (tmp_path / "greens.txt").read_text().splitlines()[1]
    assert head == "# w_n, Re G_1, Im G_1, Re G_2, Im G_2"
    omega_n, greens = complex_columns(tmp_path / "greens.txt")
    at = np.isin(np.rint(omega_n * BETA / np.pi), AXIS.indices)
    inside = AXIS.indices <= np.rint(omega_n[-1] * BETA / np.pi)
    exact = result.solution.matsubara_greens(AXIS)[:, inside]
    np.testing.assert_allclose(greens[:, at], exact, rtol=0, atol=1e-9)
    assert np.loadtxt(tmp_path / "greens_tau.txt").shape == (1001, 3)


def test_matrices_row_by_row(tmp_path):
    lattice = TightBinding([[[1], 0, 1, -0.4], [[0], 0, 1, -0.3]], [[0, 1]])
    mixed = starting_problem(GRID, lattice, 1.0, eps_d=-0.4, n_orb=2, beta=BETA, axis=AXIS, J=0.1)
    result = solved(mixed)
    TextFiles(n_tau=11).write(tmp_path, result)
    assert "Re G_11, Im G_11, Re G_12" in (tmp_path / "greens.txt").read_text()
    _, sigma = complex_columns(tmp_path / "self_energy.txt")
    exact = result.solution.matsubara_self_energy(AXIS)
    np.testing.assert_allclose(sigma[:, 0].reshape(2, 2), exact[..., 0], rtol=0, atol=1e-8)
    assert np.abs(sigma[1, 0]) > 1e-3
    tau, *columns = np.loadtxt(tmp_path / "greens_tau.txt").T
    exact = result.solution.greens_tau(tau)
    step = 2 if np.iscomplexobj(exact) else 1
    np.testing.assert_allclose(columns[step], exact[0, 1].real, rtol=0, atol=1e-9)


def test_each_site_has_its_files(tmp_path):
    TextFiles().write(tmp_path, solved(problem(), problem(eps_d=-1.0)))
    assert sorted(p.name for p in (tmp_path / "sites" / "1").iterdir()) == sorted(NAMES)
    first, second = (
        complex_columns(folder / "self_energy.txt")[1]
        for folder in (tmp_path, tmp_path / "sites" / "1")
    )
    assert np.abs(first - second).max() > 0.01


def test_no_times_at_zero_temperature(tmp_path):
    """A loop on the imaginary axis, beta infinite: frequencies of the axis alone."""
    cold = starting_problem(GRID, Bethe(), 2.0, axis=AXIS)
    written = TextFiles().write(tmp_path, solved(cold))
    assert {path.name for path in written} == set(NAMES) - {"greens_tau.txt"}


def test_nothing_of_the_real_axis(tmp_path):
    real = starting_problem(GRID, Bethe(), 2.0)
    solution = EdSolver().solve(real)
    assert TextFiles().write(tmp_path, DMFTResult((real,), (solution,), True, 1, (0.0,), "")) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TextFiles(cutoff=0.0), "text.cutoff = 0.0: give a number > 0"),
        (lambda: TextFiles(n_tau=1), "text.n_tau = 1: give an integer >= 2"),
        (lambda: TextFiles(1e4).indices(100.0), "more than 100000; lower it, or set text=null"),
    ],
)
def test_bad_settings(make, words):
    with pytest.raises(SettingError) as caught:
        make()
    assert words in str(caught.value)

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from toy_dataset import make_file
from toy_solver import ToySolver

from dmftnet.data.exact_loops import KINDS, ReferenceStore
from dmftnet.data.labels import network_spectrum
from dmftnet.data.plans.exact_loops import ReferencePlan
from dmftnet.errors import InvalidProblemError, StoreError
from dmftnet.physics.analysis.quasiparticle import matsubara_weight
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.lattices.tight_binding import TightBinding
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.krylov.ras import RasSolver

ROOT = Path(__file__).resolve().parents[2]
SERIES = [
    {"U": [0.0, 1.0], "shift": [0.0], "start": ["metal", "insulator"]},
    {"U": [1.0], "shift": [0.3], "start": ["metal"]},
    {"U": [1.0], "filling": [0.85], "start": ["metal"], "settings": {"max_iterations": 4}},
    {"path": [0.5, 0.8, 1.0], "start": "metal"},
    {"U": [0.0], "shift": [0.0], "start": ["metal"], "lattice": "square"},
]
RESOLUTION = (0.003, 0.03)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    plan = ReferencePlan(SERIES, partial(DMFTLoop, tolerance=1e-4, max_iterations=40))
    file = tmp_path_factory.mktemp("references") / "r.h5"
    return make_file(file, plan, ToySolver(n_bath=21), n_w=300)


def test_series_become_jobs():
    """Products of the lists; a path is one job."""
    jobs = ReferencePlan(SERIES).jobs
    assert [(j.kind, j.U, j.shift, j.start, j.series) for j in jobs] == [
        ("point", (0.0,), 0.0, "metal", 0),
        ("point", (0.0,), 0.0, "insulator", 0),
        ("point", (1.0,), 0.0, "metal", 0),
        ("point", (1.0,), 0.0, "insulator", 0),
        ("point", (1.0,), 0.3, "metal", 1),
        ("filling", (1.0,), 0.0, "metal", 2),
        ("path", (0.5, 0.8, 1.0), 0.0, "metal", 3),
        ("point", (0.0,), 0.0, "metal", 4),
    ]
    assert jobs[5].target == 0.85 and jobs[7].lattice == "square"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"U": [1.0], "shift": [0.0], "start": ["other"]}, "start 'other' is unknown"),
        ({"U": [1.0], "start": ["metal"]}, r"entry 0 has keys \['U', 'start'\]"),
        ({"path": [1.0], "U": [1.0], "start": "metal"}, "entry 0 has keys"),
        ({"U": [1.0], "shift": [0.0], "start": "metal", "dos": "x"}, "entry 0 has keys"),
        ({"U": [1.0], "shift": [0.0], "start": "metal", "lattice": "x"}, "lattice 'x' cannot"),
    ],
)
def test_series_that_say_too_little_or_too_much_are_refused(part, message):
    with pytest.raises(InvalidProblemError, match=message):
        ReferencePlan([part])


def test_a_lattice_without_density_of_states_is_refused():
    """Metal and insulator are told apart by it."""
    chain = TightBinding([[[1], 0, 0, -0.5]], n_k=8)
    plan = ReferencePlan([{"U": [1.0], "shift": [0.0], "start": "metal"}])
    with pytest.raises(InvalidProblemError, match="'tight_binding' has no density of states"):
        plan.run(0, ToySolver(n_bath=5), chain, FrequencyGrid.geometric(1e-2, 6.0, 100))


def test_converged_loops_without_correlation_are_semicircles(path):
    store = ReferenceStore.open(path)
    assert len(store) == 10
    w = store.grid.omega
    exact = 2 / np.pi * np.sqrt(np.maximum(1 - w**2, 0))
    for row in np.flatnonzero(store["converged"])[:2]:
        assert store["U"][row] == 0
        error = store.grid.integrate(np.abs(store["spectrum"][row] - exact))
        assert error < 0.06
        assert store.quasiparticle_weight(row).value == pytest.approx(1)
        assert store["A0"][row] == pytest.approx(2 / np.pi, rel=0.02)
    assert store["converged"][0]


def test_references_come_on_the_network_grid(path):
    store = ReferenceStore.open(path)
    grid = FrequencyGrid.geometric(3e-3, 6.0, 160)
    references = store.on(grid, RESOLUTION)
    assert len(references) == 10
    assert references.start[:5] == ("metal", "insulator", "metal", "insulator", "metal")
    assert references.half_filled.tolist() == [True] * 4 + [False] * 2 + [True] * 4
    assert references.kind == ("point",) * 5 + ("filling",) + ("path",) * 3 + ("point",)
    assert references.lattice == ("bethe",) * 9 + ("square",)
    assert references.spectrum.shape == references.self_energy.shape == (10, 160)
    np.testing.assert_allclose(grid.integrate(references.spectrum), 1, atol=1e-6)
    weight = store.grid.integrate(store["hybridization"])
    np.testing.assert_allclose(grid.integrate(references.hybridization), weight, rtol=1e-5)
    smooth = network_spectrum(store.grid, grid, RESOLUTION, store["hybridization"])
    assert np.array_equal(references.hybridization, smooth)
    np.testing.assert_allclose(references.Z[:2], 1, atol=1e-2)
    assert np.all(references.filling > 0) and np.all(references.filling < 2)


def test_a_filling_search_stores_the_level_it_found(path):
    store = ReferenceStore.open(path)
    row = int(np.flatnonzero(np.isfinite(store["target"]))[0])
    assert store["target"][row] == 0.85 and store["eps_d"][row] > -0.5
    assert store["filling"][row] == pytest.approx(0.85, abs=0.06)  # a bath of 21 sites: n jumps


def test_a_path_is_rows_in_its_order(path):
    store = ReferenceStore.open(path)
    rows = np.flatnonzero(store["kind"] == KINDS.index("path"))
    assert store["U"][rows].tolist() == [0.5, 0.8, 1.0]
    assert np.all(store["series"][rows] == 3)
    direct = int(np.flatnonzero((store["U"] == 1.0) & (store["kind"] == 0))[0])
    assert store["A0"][rows[-1]] == pytest.approx(store["A0"][direct], rel=1e-2)


class Resonance(ToySolver):
    """Keeps its metal up to U = 1, then a resonance of half the height, then none."""

    def solve(self, problem):
        solution = super().solve(problem)
        grid = problem.grid
        height = np.interp(problem.U, [1.0, 1.2, 1.4], [1.0, 0.5, 0.0])
        A = 2 / np.pi * np.sqrt(np.maximum(1 - grid.omega**2, 0))
        A = A * (1 - (1 - height) * (np.abs(grid.omega) < 0.3))
        object.__setattr__(solution, "spectrum", lambda: A[None] / grid.integrate(A))
        object.__setattr__(solution, "self_energy", lambda: np.zeros((1, grid.n_w), complex))
        return solution


def test_an_unpinned_metal_is_marked_and_ends_its_path(tmp_path):
    series = [
        {"path": [0.8, 1.0, 1.2, 1.4], "start": "metal"},
        {"U": [1.2, 1.4], "shift": [0.0], "start": "metal"},
    ]
    file = make_file(tmp_path / "r.h5", ReferencePlan(series), Resonance(), n_w=200)
    store = ReferenceStore.open(file)
    assert store["U"].tolist() == [0.8, 1.0, 1.2, 1.2, 1.4]
    assert store["converged"].tolist() == [1, 1, 0, 0, 1]
    assert "0.62 of the Fermi liquid's value" in store["reason"][2]


def test_a_path_goes_on_where_a_loop_did_not_converge(tmp_path):
    series = [{"path": [0.8, 1.0], "start": "metal", "settings": {"max_iterations": 1}}]
    store = ReferenceStore.open(make_file(tmp_path / "r.h5", ReferencePlan(series), Resonance()))
    assert store["U"].tolist() == [0.8, 1.0] and store["converged"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("U", "tolerance", "nrg"),
    [
        (1.0, 5e-3, (0.7249, 0.7265, 0.7295)),
        (2.0, 2e-2, (0.2687, 0.2718, 0.2778)),
        (2.8, 4e-2, (0.0293, 0.0318, 0.0356)),
    ],
)
def test_the_references_that_ship_against_nrg(U, tolerance, nrg):
    """Z(iy) at y = .005, .01, .02 of an independent NRG, by the same estimator (docs/physics)."""
    store = ReferenceStore.open(ROOT / "data" / "bethe_reference.h5")
    point = (store["kind"] == 0) & (store["lattice"] == "bethe") & (store["start"] == 0)
    row = int(np.flatnonzero(point & (store["U"] == U) & (store["eps_d"] == -U / 2))[0])
    problem = ImpurityProblem.on_grid(U, -U / 2, store.grid, store["hybridization"][row])
    found = matsubara_weight(problem, store["spectrum"][row][None], [0.005, 0.01, 0.02])[0]
    np.testing.assert_allclose(found, nrg, rtol=tolerance)
    Z = store.quasiparticle_weight(row)
    assert Z.error < 0.15 * Z.value
    slope = 2 * (1 / nrg[0] - 1) - (1 / nrg[1] - 1)  # linear in y to zero
    assert abs(Z.value - 1 / (1 + slope)) <= Z.error + 1e-3


def test_unusable_files_are_refused(path, dataset, tmp_path):
    with pytest.raises(StoreError, match="dataset=bethe_reference"):
        ReferenceStore.open(tmp_path / "none.h5")
    with pytest.raises(StoreError, match="schema dmftnet-spectra version 1"):
        ReferenceStore.open(dataset)


def test_the_stored_solve_averages_over_baths():
    series = [{"U": [1.0], "shift": [0.0], "start": ["metal"]}]
    solver, lattice = RasSolver(("all", 2), Intervals(15), n_lanczos=15), Bethe()
    grid = FrequencyGrid.geometric(1e-2, 6.0, 200)
    one, two = (
        ReferencePlan(series, partial(DMFTLoop, max_iterations=2), n_shifts=n).run(
            0, solver, lattice, grid
        )
        for n in (1, 2)
    )
    same, sigma = "references/hybridization", "references/self_energy"
    np.testing.assert_array_equal(one[same], two[same])
    assert np.abs(one[sigma] - two[sigma]).max() > 1e-3
    with pytest.raises(InvalidProblemError, match="n_shifts = 2: solver 'ed' cannot average"):
        ReferencePlan(series, n_shifts=2, loop=partial(DMFTLoop, max_iterations=1)).run(
            0, EdSolver(bath=Intervals(3)), lattice, grid
        )

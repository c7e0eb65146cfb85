"""Impurities at finite temperature: exact answers and approximations side by side."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from toy_dataset import make_file
from toy_plans import FAMILIES, assert_same, contents, ed, loops_plan, models_plan

from dmftnet.data.generation import generate, open_journal
from dmftnet.data.keys import SPLITS
from dmftnet.data.keys import ThermalModels as Models
from dmftnet.data.thermal import ThermalStore
from dmftnet.errors import SettingError, StoreError
from dmftnet.physics.bath.fit import MatsubaraFit
from dmftnet.physics.grids.matsubara import thermal_tau
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.perturbative.hubbard1 import Hubbard1Solver


def brute_force(eps_d, U, energies, couplings, beta):
    """Density, <n_up n_dn> and poles of G in the whole Fock space, plain numpy."""
    n = 2 * (energies.size + 1)
    lower = np.array([[0.0, 1.0], [0.0, 0.0]])
    c = []
    for mode in range(n):
        matrix = np.eye(1)
        for other in range(n):
            part = lower if other == mode else np.eye(2) if other > mode else np.diag([1.0, -1.0])
            matrix = np.kron(matrix, part)
        c.append(matrix)
    up, down = c[: n // 2], c[n // 2 :]
    H = U * up[0].T @ up[0] @ down[0].T @ down[0]
    for spin in (up, down):
        H = H + eps_d * spin[0].T @ spin[0]
        for k, (energy, coupling) in enumerate(zip(energies, couplings, strict=True), start=1):
            hop = coupling * spin[0].T @ spin[k]
            H = H + energy * spin[k].T @ spin[k] + hop + hop.T
    levels, states = np.linalg.eigh(H)
    p = np.exp(-beta * (levels - levels[0]))
    p /= p.sum()
    d, n_up, n_down = (states.T @ o @ states for o in (up[0], up[0].T @ up[0], down[0].T @ down[0]))
    poles = (levels[None, :] - levels[:, None]).ravel()
    weights = (d**2 * (p[:, None] + p[None, :])).ravel()
    return p @ np.diag(n_up), p @ np.diag(n_up @ n_down), poles, weights


def test_answers_are_those_of_brute_force(models):
    """G by Dyson's equation, density, double occupancy; single precision keeps G(tau) to 1e-6."""
    store = ThermalStore.open(models)
    G = store.greens()
    for i in range(0, len(store), 3):
        energies, couplings = (
            store[f"bath_{name}"][i].astype(float) for name in ("energies", "couplings")
        )
        eps_d, U, beta = (store[name][i] for name in ("eps_d", "U", "beta"))
        density, double, poles, weights = brute_force(eps_d, U, energies, couplings, beta)
        assert store.density()[i] == pytest.approx(density, abs=1e-10)
        assert store.double_occupancy()[i] == pytest.approx(double, abs=1e-10)
        exact = (weights / (1j * store.omega_n[i][:, None] - poles)).sum(axis=1)
        np.testing.assert_allclose(G[i], exact, rtol=1e-6)
        axis = store.axis(i)
        tau = beta * np.linspace(0, 1, 101)
        found = axis.at_tau(axis.to_coefficients(G[i]), tau)
        np.testing.assert_allclose(found, thermal_tau(poles, weights, tau, beta), atol=1e-6)
        np.testing.assert_allclose(store.greens_tau(tau / beta)[i], found, atol=1e-10)


def test_models_lie_in_their_ranges(models):
    """In units of each model's own D = 2 sqrt(weight), which a column keeps."""
    plan, store = models_plan(), ThermalStore.open(models)
    weight = (store["bath_couplings"].astype(float) ** 2).sum(axis=1)
    np.testing.assert_allclose(2 * np.sqrt(weight), 1, atol=1e-6)
    assert np.abs(store["bath_energies"]).max() <= 1
    D, U, beta = store["unit"], store["U"] * store["unit"], store["beta"] / store["unit"]
    assert D.min() >= 1 and D.max() <= 10 and 0 < np.mean(D == 1) < 1
    assert U.min() >= 1 and U.max() <= 10
    drawn = np.unique(np.round(beta, 9))
    assert set(drawn) <= {b for family in FAMILIES for b in family["beta"]} and drawn.size > 4
    shift = store["eps_d"] * D + U / 2
    assert np.abs(shift).max() <= 1
    for i in range(len(store)):
        problem = store.problem(i)
        again = plan.model(int(store["model"][i])).problem
        assert problem.U == again.U and problem.beta == again.beta
        np.testing.assert_array_equal(problem.hybridization.energies, again.hybridization.energies)


def test_a_share_is_exactly_particle_hole_symmetric(models):
    store = ThermalStore.open(models)
    symmetric = [i for i in range(len(store)) if store.problem(i).is_particle_hole_symmetric()]
    assert 4 <= len(symmetric) <= 20
    np.testing.assert_allclose(store.density()[symmetric], 0.5, atol=1e-12)
    half = store["U"][symmetric][:, None] / 2
    np.testing.assert_allclose(store.self_energy()[symmetric].real, half + 0 * store.odd, rtol=1e-6)
    others = np.setdiff1d(np.arange(len(store)), symmetric)
    assert np.abs(store.density()[others] - 0.5).max() > 1e-3


def test_as_many_levels_as_the_model_has_are_exact(models):
    """And one level is not; each G follows from its Sigma with the hybridization that was given."""
    store = ThermalStore.open(models)
    exact = store.greens()
    one, two = (np.abs(store.greens(name) - exact).max(axis=1) for name in ("ed1", "ed2"))
    assert np.median(two) < 1e-6 and np.quantile(one, 0.75) > 1e-3
    np.testing.assert_allclose(
        store.density("ed2")[two < 1e-6], store.density()[two < 1e-6], atol=1e-5
    )
    i = int(np.argmax(one))
    solution = ed(1).solve(continuous(store, i))
    sigma = solution.matsubara_self_energy(store.axis(i))[0]
    half = np.abs(sigma - store.self_energy()[i]).max() * 2.0**-11  # precision, 11 bits
    np.testing.assert_allclose(store.self_energy("ed1")[i], sigma, atol=half + 1e-6)
    inverse = 1j * store.omega_n[i] - store["eps_d"][i] - store.hybridization[i]
    np.testing.assert_allclose(1 / store.greens("ed1")[i], inverse - store.self_energy("ed1")[i])


def test_a_poor_bath_spoils_less_with_the_given_hybridization(models):
    """One level for two: G by Dyson's equation against that of the discrete model itself."""
    store = ThermalStore.open(models)
    x = np.linspace(0, 1, 101)
    exact, dyson = store.greens_tau(x), store.greens_tau(x, "ed1")
    cold = np.flatnonzero(store["beta"] > 10)
    discrete = [ed(1).solve(continuous(store, i)).greens_tau(store["beta"][i] * x)[0] for i in cold]
    errors = [np.abs(G - exact[cold]).mean(axis=1) for G in (discrete, dyson[cold])]
    for measure in (np.median, np.max):
        poor, good = measure(errors, axis=1)
        assert cold.size > 10 and good < 0.9 * poor, (poor, good)


def continuous(store, i):
    problem = store.problem(i)
    return problem.moved(MatsubaraHybridization(store.axis(i), store.hybridization[i]))


def test_the_axis_is_one_for_all_temperatures(models, loops):
    for path in (models, loops):
        store = ThermalStore.open(path)
        assert np.ptp(store["beta"]) > 1
        np.testing.assert_array_equal(store.axis(0).indices, store.odd)
        np.testing.assert_array_equal(store.axis(len(store) - 1).indices, store.odd)
        np.testing.assert_allclose(store.axis(1).omega_n, store.omega_n[1], rtol=1e-14)


@pytest.mark.parametrize(("pool", "n_workers"), [(ThreadPoolExecutor, 3), (ProcessPoolExecutor, 2)])
def test_workers_change_nothing(models, tmp_path, pool, n_workers):
    executor = pool(n_workers)
    assert_same(models, make_file(tmp_path / "m.h5", models_plan(), EdSolver(), executor=executor))


def test_jobs_of_another_size_change_nothing_but_the_rows_of_jobs(models, tmp_path):
    other = make_file(tmp_path / "m.h5", models_plan(per_job=4), EdSolver())
    one, two = contents(models), contents(other)
    for name in one:
        if not name.startswith("rows/"):
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)


@pytest.mark.parametrize("kind", ["models", "loops"])
def test_an_interruption_changes_nothing(models, loops, tmp_path, kind):
    plan, solver, whole = {
        "models": (models_plan(), EdSolver(), models), "loops": (loops_plan(), ed(3), loops),
    }[kind]  # fmt: skip
    path = tmp_path / "part.h5"
    grid = FrequencyGrid.geometric(1e-3, 8.0, 400)
    for count in (1, 2):
        journal = open_journal(path, plan, grid, {"recipe": "test", "config": ""})
        with ThreadPoolExecutor(2) as pool:
            steps = generate(plan, solver, Bethe(), grid, pool, journal, max_in_flight=1)
            for _, _ in zip(range(count), steps, strict=False):
                pass
            steps.close()
        journal.close()
        with pytest.raises(StoreError, match="interrupted"):
            ThermalStore.open(path)
    assert 0 < len(ThermalStore.open(path, allow_incomplete=True)) < len(ThermalStore.open(whole))
    assert_same(whole, make_file(path, plan, solver))


def test_a_file_grows(models, tmp_path):
    few = make_file(tmp_path / "m.h5", models_plan(20), EdSolver())
    short, long = ThermalStore.open(few), ThermalStore.open(models)
    np.testing.assert_array_equal(short["U"], long["U"][: len(short)])
    np.testing.assert_array_equal(short.splits, long.splits[: len(short)])


def test_no_model_and_no_interval_of_U_lies_in_two_splits(models, loops):
    store = ThermalStore.open(models)
    counts = [store.indices(split).size for split in SPLITS]
    assert counts == [32, 4, 4]  # of ten one each
    store = ThermalStore.open(loops)
    block = store.columns[Models.BLOCK][np.searchsorted(store.columns[Models.ID], store["model"])]
    np.testing.assert_array_equal(block, (store["U"] / 0.2).astype(int))
    indices = [store.indices(split) for split in SPLITS]
    assert sum(map(len, indices)) == len(store) and min(map(len, indices[::2])) > 0
    for owners in (store["model"], block):
        sets = [set(owners[i].tolist()) for i in indices]
        assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    with pytest.raises(StoreError, match="split 'other' is unknown"):
        store.indices("other")


def test_splits_of_intervals_hold_for_many_trajectories():
    """All trajectories of an interval, over the whole range of U, of the plan alone."""
    plan = loops_plan(600)
    found = {}
    for id in range(600):
        trajectory = plan.drawn(id)[0]
        found.setdefault(int(trajectory.U / 0.2), set()).add(trajectory.split)
    assert all(len(splits) == 1 for splits in found.values()) and len(found) > 18
    shares = [sum(splits == {name} for splits in found.values()) for name in SPLITS]
    assert shares[0] > 10 and min(shares) >= 3


def test_loops_follow_the_bethe_lattice(loops):
    """Their hybridizations have D = 1, and each next is the mixture with G / 4."""
    store, plan = ThermalStore.open(loops), loops_plan()
    is_loop = store.origins == 1
    assert is_loop.any() and (store.origins == 2).any()
    np.testing.assert_allclose(store["unit"][is_loop], 1, atol=1e-12)
    np.testing.assert_array_equal(np.isnan(store["change"]), ~is_loop)
    for i in range(len(store)):
        axis = store.axis(i)
        ends = axis.at_tau(axis.to_coefficients(store.hybridization[i]), np.array([0, axis.beta]))
        assert -ends.sum() == pytest.approx(0.25, abs=2e-6)
    last = np.flatnonzero(is_loop & (store["iteration"] == 2))
    assert last.size and set(store["iteration"][is_loop]) == {0, 2}
    for id in np.unique(store["model"]):
        trajectory, loop, beta = plan.drawn(int(id))
        own = store["model"] == id
        np.testing.assert_array_equal(store["beta"][own], beta)
        np.testing.assert_array_equal(store["U"][own], trajectory.U)
        assert loop == is_loop[own].all() and (own.sum() == 1 or loop)


def test_a_fit_in_place_of_each_bath_is_solved_exactly(tmp_path):
    """The levels of the file are the very problem; they fit what the loop asked for."""
    fit = MatsubaraFit(n_bath=3, n_starts=2)
    plan, close = loops_plan(8, fit=fit), loops_plan(8)
    fitted = ThermalStore.open(make_file(tmp_path / "f.h5", plan, EdSolver()))
    continuous = ThermalStore.open(make_file(tmp_path / "c.h5", close, ed(3)))
    assert fitted.is_discrete and not continuous.is_discrete
    np.testing.assert_array_equal(fitted.splits, continuous.splits)
    np.testing.assert_array_equal(fitted["model"], continuous["model"])
    couplings = fitted["bath_couplings"].astype(float)
    np.testing.assert_allclose((couplings**2).sum(axis=1), 0.25, atol=1e-7)
    first = np.flatnonzero(fitted["iteration"] == 0)
    away = np.abs(fitted.hybridization[first] - continuous.hybridization[first]).max(axis=1)
    assert away.max() < 0.1 and np.median(away) < 0.02  # D, values up to one
    for i in (0, len(fitted) - 1):
        energies = fitted["bath_energies"][i].astype(float)
        eps_d, U, beta = (fitted[name][i] for name in ("eps_d", "U", "beta"))
        density, double, *_ = brute_force(eps_d, U, energies, couplings[i], beta)
        assert fitted.density()[i] == pytest.approx(density, abs=1e-10)
        assert fitted.double_occupancy()[i] == pytest.approx(double, abs=1e-10)


def test_any_solver_may_drive_the_loops(tmp_path):
    """It decides on the problems, whose fits are solved exactly; its identity is in the recipe."""

    class Driver(Hubbard1Solver):
        identity = "of its weights"

    options = {"loop_fraction": 1.0, "fit": MatsubaraFit(n_bath=2, n_starts=2)}
    plan = loops_plan(2, driver=Driver(), **options)
    assert plan.inputs == "of its weights" and not hasattr(loops_plan(2, **options), "inputs")
    own, driven = (
        ThermalStore.open(make_file(tmp_path / name, made, EdSolver()))
        for name, made in (("o.h5", loops_plan(2, **options)), ("d.h5", plan))
    )
    for store in (own, driven):
        np.testing.assert_array_equal(store["iteration"], [0, 2, 0, 2])
    np.testing.assert_array_equal(driven.hybridization[::2], own.hybridization[::2])
    away = np.abs(driven.hybridization[1::2] - own.hybridization[1::2]).max(axis=1)
    assert away.max() > 1e-2  # D: the next problems are those of another solver's loop
    energies, couplings = (
        driven[f"bath_{name}"][1].astype(float) for name in ("energies", "couplings")
    )
    eps_d, U, beta = (driven[name][1] for name in ("eps_d", "U", "beta"))
    assert driven.density()[1] == pytest.approx(
        brute_force(eps_d, U, energies, couplings, beta)[0], abs=1e-10
    )


def test_a_fit_that_is_none_is_refused():
    with pytest.raises(SettingError, match=r"sampling\.fit = 5: give a fit of bath levels"):
        loops_plan(fit=5)


def test_problems_of_a_file_are_those_that_were_solved(loops):
    store = ThermalStore.open(loops)
    solution = ed(3).solve(store.problem(1))
    assert solution.filling / 2 == pytest.approx(store.density()[1], abs=1e-6)
    sigma = solution.matsubara_self_energy(store.axis(1))[0]
    np.testing.assert_allclose(store.self_energy()[1], sigma, rtol=1e-4)

"""Neural ground states in operator Lanczos, against exact ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2
from toy_nqs import CASES, HUND, chains, exact

import dmftnet.models.nqs.by_name  # noqa: F401
from dmftnet.errors import ConvergenceError, InvalidProblemError, SettingError, SpaceTooLargeError
from dmftnet.models.nqs import training
from dmftnet.models.nqs.ground_states import NeuralGroundStates
from dmftnet.models.nqs.training import Training
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.scol.ground_states import GroundStates
from dmftnet.physics.solvers.scol.impurity import DiscreteImpurity
from dmftnet.physics.solvers.scol.named import ground_states
from dmftnet.physics.solvers.scol.registry import REGISTERED
from dmftnet.physics.solvers.scol.solver import ScolSolver

GRID = FrequencyGrid.geometric(1e-3, 8.0, 400)
SHORT = Training(100, 150, rate=(0.5, 0.05), momentum=0.9, n_final=500)
NEURAL = NeuralGroundStates(SHORT)
Z = np.array([0.05j, 0.3j, 0.4 + 0.2j, -0.7 + 0.2j])


def half_filled(U=1.0, Gamma=0.1):
    """One orbital with a semicircular hybridization."""
    bath = SpectralHybridization(GRID, semicircle(GRID, 0.0, 1.0, Gamma / 2)[None])
    return ImpurityProblem([-U / 2], Interaction(U), bath)


def test_it_is_a_way_to_find_ground_states():
    assert isinstance(NEURAL, GroundStates)
    assert ScolSolver(ground_state=NEURAL).capabilities.orbitals == 4


def test_the_word_of_a_config_is_the_class_with_its_defaults():
    """As conf/ground_state/nqs.yaml has them, with the limits of the solver."""
    found = ground_states("nqs", 3000, 2.0)
    assert found == NeuralGroundStates(max_determinants=3000, max_memory=2.0)
    with pytest.raises(SpaceTooLargeError, match="max_determinants"):
        ScolSolver(ground_state="nqs", max_determinants=3000, bath=Wilson(n_bath=7))
    with pytest.raises(SettingError, match="use one of exact, ras, mps, nqs"):
        ScolSolver(ground_state="neural")


def test_a_name_has_one_memory_for_all_solves(monkeypatch):
    """The second solve starts from the weights of the first."""
    monkeypatch.setitem(REGISTERED, "nqs", lambda *_: replace(NEURAL, warm_steps=7))
    runs, real = [], training.Training.run
    monkeypatch.setattr(
        training.Training, "run", lambda own, *given: runs.append(own.steps) or real(own, *given)
    )
    solver = ScolSolver(ground_state="nqs", bath=Wilson(n_bath=3))
    for U in (1.0, 1.1):
        solver.solve(half_filled(U))
    assert runs == [SHORT.steps, 7]


def test_explicit_state_is_the_neural_one():
    found, sector = CASES["one orbital, doped"]
    state, trained = replace(NEURAL, training=replace(SHORT, steps=5)).trained(found, sector)
    explicit = NEURAL.explicit(state)
    H = found.cluster.hamiltonian(sector).toarray()
    psi = explicit.vectors[:, 0]
    np.testing.assert_allclose(psi, state.vector(), atol=1e-12)
    assert explicit.weight == 1.0 and explicit.sector == sector
    assert explicit.energy == pytest.approx(psi @ H @ psi, abs=1e-12)
    assert explicit.variance == pytest.approx(psi @ H @ H @ psi - explicit.energy**2, abs=1e-10)
    assert explicit.variance > 1e-4
    assert trained.n_steps == 5


def test_spectra_are_those_of_exact_ground_states():
    """Six sites. Poles converge with the state: a percent where the energy is good to 1e-4."""
    problem = half_filled()
    exactly, neural = (
        ScolSolver(bath=Wilson(n_bath=5), ground_state=kind).solve(problem)
        for kind in ("exact", NEURAL)
    )
    energies = [s.diagnostics["ground_energy"] for s in (exactly, neural)]
    assert -1e-10 < energies[1] - energies[0] < 3e-4
    assert exactly.diagnostics["energy_variance"] < 1e-12
    assert 1e-12 < neural.diagnostics["energy_variance"] < 3e-3
    assert neural.double_occupancy == pytest.approx(exactly.double_occupancy, rel=0.05)
    assert neural.filling == pytest.approx(1.0, abs=1e-10)
    for a, b in zip(exactly.greens[0].responses(Z), neural.greens[0].responses(Z), strict=True):
        np.testing.assert_allclose(b, a, atol=0.02 * np.abs(a).max())
    weight = (neural.greens[0].amplitudes[:, 0] ** 2).sum()
    assert weight == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_draws_are_those_of_the_amplitudes(case):
    """Frequencies of 200,000 draws over the whole sector, chi-squared."""
    found, sector = CASES[case]
    state, _ = replace(NEURAL, training=replace(SHORT, steps=5)).trained(found, sector)
    up, down = state.cluster.strings(sector)
    every = (up.codes[:, None] | down.codes[None, :] << state.cluster.n_sites).ravel()
    codes, counts = state.draw(200_000, np.random.default_rng(3))
    assert counts.sum() == 200_000 and np.unique(codes).size == codes.size
    assert np.isin(codes, every).all()
    p = dict(zip(every.tolist(), state.vector() ** 2, strict=True))
    assert sum(p.values()) == pytest.approx(1.0, abs=1e-5)
    seen = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    expected = np.array([200_000 * p[code] for code in every.tolist()])
    often = expected > 20
    away = np.array([seen.get(code, 0) for code in every.tolist()]) - expected
    squares = (away[often] ** 2 / expected[often]).sum()
    # wrong frequencies end far below; another processor may round to other draws
    assert chi2.sf(squares, often.sum()) > 1e-6


def test_spectra_from_samples_are_those_of_the_whole_sector():
    """All of six sites is found in so many draws: the sums are the same."""
    whole, sampled = (
        ScolSolver(bath=Wilson(n_bath=5), ground_state=finder).solve(half_filled())
        for finder in (NEURAL, replace(NEURAL, n_samples=100_000))
    )
    told = sampled.diagnostics
    assert told["energy_error"] < 1e-4
    away = told["ground_energy"] - whole.diagnostics["ground_energy"]
    assert abs(away) < 5 * told["energy_error"] + 1e-6
    for a, b in zip(whole.greens[0].responses(Z), sampled.greens[0].responses(Z), strict=True):
        np.testing.assert_allclose(b, a, atol=0.005 * np.abs(a).max())


def test_a_sector_is_given_away_from_half_filling():
    """Three levels: the removal side is computed too, the norm is one."""
    bath = PoleHybridization([-0.5, 0.1, 0.6], np.array([[0.3], [0.25], [0.35]]))
    problem = ImpurityProblem([-0.4], Interaction(1.5), bath)
    finder = replace(NEURAL, sector=(2, 2))
    exactly, neural = (ScolSolver(ground_state=g).solve(problem) for g in ("exact", finder))
    assert neural.diagnostics["ground_energy"] == pytest.approx(
        exactly.diagnostics["ground_energy"], abs=1e-3
    )
    assert neural.filling == pytest.approx(exactly.filling, abs=0.02)
    assert (neural.greens[0].amplitudes[:, 0] ** 2).sum() == pytest.approx(1.0, abs=1e-10)


def test_a_star_has_the_spectra_of_its_chain():
    """Four sites: all strings of either basis span the excited states; errors are the state's."""
    exactly, neural = (
        ScolSolver(bath=Wilson(n_bath=3), depth=4, ground_state=kind).solve(half_filled())
        for kind in ("exact", replace(NEURAL, geometry="star"))
    )
    energies = [s.diagnostics["ground_energy"] for s in (exactly, neural)]
    assert -1e-10 < energies[1] - energies[0] < 1e-5
    assert neural.double_occupancy == pytest.approx(exactly.double_occupancy, rel=1e-2)
    for a, b in zip(exactly.greens[0].responses(Z), neural.greens[0].responses(Z), strict=True):
        np.testing.assert_allclose(b, a, atol=0.01 * np.abs(a).max())


def test_a_star_takes_one_orbital():
    bath = StarBath(np.array([-0.2, 0.3, 0.4]), np.full(3, 0.2))
    pair = DiscreteImpurity(np.zeros(2), HUND, (bath, bath))
    with pytest.raises(InvalidProblemError, match="takes one orbital, not 2; use 'chain'"):
        replace(NEURAL, geometry="star", sector=(4, 4)).find(pair)


@pytest.mark.parametrize(("n_orb", "sector"), [(2, (2, 2)), (3, (3, 3))])
def test_several_orbitals(n_orb, sector):
    found = chains(1, Interaction(1.2, 0.2), n_orb=n_orb)
    state, _ = NEURAL.trained(found, sector)
    lowest = exact(found.cluster, sector)[0][0]
    assert -1e-10 < NEURAL.explicit(state).energy - lowest < 3e-3


def test_what_is_not_known_is_refused():
    bath = PoleHybridization([-0.5, 0.1, 0.6], np.array([[0.3], [0.25], [0.35]]))
    problem = ImpurityProblem([-0.4], Interaction(1.5), bath)
    with pytest.raises(InvalidProblemError, match=r"give solver\.ground_state\.sector"):
        ScolSolver(ground_state=NEURAL).solve(problem)
    with pytest.raises(InvalidProblemError, match=r"give solver\.ground_state\.sector"):
        ScolSolver(bath=Wilson(n_bath=4), ground_state=NEURAL).solve(half_filled())
    with pytest.raises(SpaceTooLargeError, match="12 spatial orbitals"):
        ScolSolver(bath=Wilson(n_bath=11), ground_state=NEURAL)


def test_a_training_that_breaks_off_is_an_error(monkeypatch):
    monkeypatch.setattr(training, "spring", lambda *_: None)
    with pytest.raises(ConvergenceError, match="not finite in step 1;"):
        ScolSolver(bath=Wilson(n_bath=5), ground_state=NEURAL).solve(half_filled())


@pytest.mark.parametrize(
    "wrong",
    [
        {"training": None},
        {"ansatz": "rwkv"},
        {"geometry": "Star"},
        {"warm_steps": -1},
        {"folder": 3},
        {"loggers": "csv"},
        {"loggers": {"csv": None}},
        {"seed": -1},
        {"sector": (2,)},
        {"sector": (1.5, 2)},
        {"max_determinants": 0},
        {"max_memory": 0},
    ],
    ids=str,
)
def test_settings_are_checked(wrong):
    with pytest.raises(SettingError, match=f"solver.ground_state.{next(iter(wrong))}"):
        NeuralGroundStates(**wrong)

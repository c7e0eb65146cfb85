"""The contract beyond one orbital at T = 0 on the real axis.

Every solver meets every problem: what it says it can solve obeys the laws, what it says it cannot
is refused in one line with its name.
"""

from functools import lru_cache

import numpy as np
import pytest
from physics.contract import GRID, SOLVERS, THERMAL

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.hybridization import diagonal
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution
from dmftnet.physics.impurity.solutions import MatsubaraSolution
from dmftnet.physics.impurity.spectral_hybridization import SpectralHybridization
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.tensor.mps import MpsSolver

BETA = 12.0
AXIS = ImaginaryAxis(BETA)
FINE = ImaginaryAxis(50.0)  # to look at T = 0 solutions off the real axis
BAND = semicircle(GRID, 0.0, 1.0, 0.25)
SHIFTED = semicircle(GRID, 0.3, 0.9, 0.2)
HUND, DENSITY = Interaction(2.0, 0.3), Interaction(2.0, 0.3, spin_flip=False, pair_hopping=False)
HALF = HUND.half_filling(2)
TURN = np.array([[1.0, 0.4j], [0.4j, 1.0]]) / np.sqrt(1.16)  # unitary: nothing real is left
MATRIX = SpectralHybridization(
    GRID, np.einsum("ab,bw,cb->acw", TURN, np.stack([BAND, SHIFTED]), TURN.conj())
)
TWO = SpectralHybridization(GRID, np.stack([BAND, SHIFTED]))
LEVELS = PoleHybridization([-0.6, 0.1, 0.7], [[0.3, 0.1j], [0.2, 0.2], [-0.1j, 0.35]])


def on_axis(hybridization):
    return hybridization.at_axis(AXIS)


PROBLEMS = {
    "two orbitals": ImpurityProblem([HALF - 0.1, HALF + 0.2], HUND, TWO),
    "two orbitals, half filled": ImpurityProblem(
        [HALF, HALF], HUND, SpectralHybridization(GRID, np.stack([BAND, BAND]))
    ),
    "two orbitals, density-density": ImpurityProblem([HALF, HALF + 0.3], DENSITY, TWO),
    "two orbitals, free": ImpurityProblem([0.2, 0.3], Interaction(0.0), TWO),
    "mixing levels": ImpurityProblem([[HALF, 0.2], [0.2, HALF]], HUND, TWO),
    "mixing bath": ImpurityProblem([HALF, HALF + 0.2], HUND, MATRIX),
    "thermal": ImpurityProblem(
        [-0.8], Interaction(2.0), SpectralHybridization(GRID, BAND), beta=BETA
    ),
    "thermal, axis": ImpurityProblem(
        [-1.0], Interaction(2.0), on_axis(SpectralHybridization(GRID, BAND)), beta=BETA
    ),
    "ground state, axis": ImpurityProblem(
        [-0.7], Interaction(2.0), on_axis(SpectralHybridization(GRID, BAND))
    ),
    "thermal, two orbitals, axis": ImpurityProblem(
        [HALF - 0.1, HALF + 0.2], HUND, on_axis(TWO), beta=BETA
    ),
    "thermal, equal orbitals, axis": ImpurityProblem(
        [HALF + 0.4, HALF + 0.4],
        HUND,
        on_axis(SpectralHybridization(GRID, np.stack([BAND, BAND]))),
        beta=BETA,
    ),
    "thermal, mixing bath, axis": ImpurityProblem(
        [HALF, HALF + 0.2], HUND, on_axis(MATRIX), beta=BETA
    ),
    "levels": ImpurityProblem(
        [-0.9], Interaction(2.0), PoleHybridization([-0.5, 0.6], [[0.3], [0.3]])
    ),
    "thermal, doped, axis": ImpurityProblem(
        [-0.6], Interaction(2.0), on_axis(SpectralHybridization(GRID, SHIFTED)), beta=BETA
    ),
    "thermal, levels": ImpurityProblem(
        [-0.7], Interaction(2.0), PoleHybridization([-0.5, 0.1, 0.6], [[0.3], [0.2], [0.3]]), BETA
    ),
    "thermal, levels of a bath that mixes": ImpurityProblem(
        [HALF, HALF + 0.2], HUND, LEVELS, beta=BETA
    ),
}
MEAN_FIELD = {
    "hubbard1": "Sigma has the occupation of the isolated atom, not that of G",
    "nca": "without crossing diagrams the anticommutator of d and its bath is not kept",
}
"""Why the self-energy does not start from the mean field, away from half filling."""

TOLERANCE = {"mps": 1e-4}  # poles fitted to signals; else 1e-8


# two sites an orbital, and half as long: seconds instead of minutes
FASTER = {"mps": lambda: MpsSolver(bath=Intervals(2), t_max=20.0, dt=1.0, bond_dimension=60)}


@lru_cache
def solver_named(name):
    return (SOLVERS | FASTER)[name]()


@lru_cache
def solved(name, problem):
    return solver_named(name).solve(PROBLEMS[problem])


def can(name, problem):
    return not solver_named(name).capabilities.objection(PROBLEMS[problem])


PAIRS = [(name, problem) for name in SOLVERS for problem in PROBLEMS]
ABLE = [pair for pair in PAIRS if can(*pair)]
AT_BETA = [(n, p) for n, p in ABLE if np.isfinite(PROBLEMS[p].beta)]
SPECTRAL = [(n, p) for n, p in ABLE if isinstance(PROBLEMS[p].hybridization, SpectralHybridization)]
REAL = [(n, p) for n, p in SPECTRAL if n not in THERMAL]


def axis_of(problem):
    known = isinstance(problem.hybridization, MatsubaraHybridization) or np.isfinite(problem.beta)
    return problem.axis if known else FINE


def tolerance(name):
    return TOLERANCE.get(name, 1e-8)


def matrices(values):
    """(n, n_orb, n_orb) of curves of either shape."""
    if values.ndim == 2:
        values = np.eye(len(values))[:, :, None] * values[None]
    return np.moveaxis(values, -1, 0)


@pytest.mark.parametrize(("name", "problem"), [pair for pair in PAIRS if not can(*pair)])
def test_what_a_solver_cannot_is_refused_in_one_line(name, problem):
    solver = solver_named(name)
    with pytest.raises(InvalidProblemError, match=f"^solver '{solver.name}' ") as caught:
        solver.solve(PROBLEMS[problem])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_every_problem_is_solved_by_someone():
    assert {problem for _, problem in ABLE} == PROBLEMS.keys()


@pytest.mark.parametrize(("name", "problem"), ABLE)
def test_a_solution_is_one(name, problem):
    solution = solved(name, problem)
    assert isinstance(solution, ImpuritySolution) and solution.problem is PROBLEMS[problem]
    assert isinstance(solution.filling, float) and isinstance(solution.double_occupancy, float)
    if name in FASTER:
        return
    again = solver_named(name).solve_batch([PROBLEMS[problem]])[0]
    axis = axis_of(solution.problem)
    first, second = solution.matsubara_greens(axis), again.matsubara_greens(axis)
    # a fit's last bits depend on where in memory its arrays lie
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("name", "problem"), ABLE)
def test_green_and_self_energy_are_causal_at_matsubara_frequencies(name, problem):
    """``(X - X^+) / 2i <= 0``, to rounding of the largest value; G tends to ``1 / iw``.

    `ctseg` obeys within its error bars alone: of Sigma, here 1/40 of it and less."""
    solution = solved(name, problem)
    axis = axis_of(solution.problem)
    G, sigma = solution.matsubara_greens(axis), solution.matsubara_self_energy(axis)
    mixing = solution.problem.has_off_diagonal
    assert G.shape[:-1] == sigma.shape[:-1] == (solution.problem.n_orb,) * (2 if mixing else 1)
    for values in map(matrices, (G, sigma)):
        damping = np.linalg.eigvalsh((values - values.conj().swapaxes(1, 2)) / 2j)
        assert damping.max() <= max(1e-12, tolerance(name)) * np.abs(values).max()
    tail = 1j * axis.omega_n[-1] * matrices(G)[-1]
    assert np.abs(tail - np.eye(solution.problem.n_orb)).max() < 3 / axis.omega_n[-1]


@pytest.mark.parametrize(("name", "problem"), REAL)
def test_spectra_are_positive_and_normalised(name, problem):
    """3 %: a bound state at a band edge, through Dyson's equation, on cells of 8 %."""
    solution = solved(name, problem)
    A, sigma = matrices(solution.spectrum()), matrices(solution.self_energy())
    assert np.linalg.eigvalsh(A).min() >= -1e-12 * np.abs(A).max()
    damping = np.linalg.eigvalsh((sigma - sigma.conj().swapaxes(1, 2)) / 2j)
    assert damping.max() <= 1e-12 * max(np.abs(sigma).max(), 1)
    norm = np.einsum("wab,w->ab", A, GRID.weights)
    np.testing.assert_allclose(norm, np.eye(len(norm)), rtol=0, atol=3e-2)
    np.testing.assert_array_equal(diagonal(solution.spectrum(angle=0.1)).real >= -1e-12, True)


@pytest.mark.parametrize(("name", "problem"), [pair for pair in SPECTRAL if pair not in REAL])
def test_solutions_without_a_real_axis_say_so(name, problem):
    solution = solved(name, problem)
    for ask in (solution.spectrum, solution.self_energy):
        with pytest.raises(InvalidProblemError, match=r"has no .* on the real axis; "):
            ask()


@pytest.mark.parametrize(("name", "problem"), ABLE)
def test_densities_agree_with_one_another(name, problem):
    solution = solved(name, problem)
    if not solution.knows_densities:
        with pytest.raises(InvalidProblemError, match="has no double occupancies by orbital; use"):
            solution.double_occupancies()
        return
    rho, doubles = solution.density_matrix(), solution.double_occupancies()
    np.testing.assert_allclose(rho, rho.conj().T, rtol=0, atol=1e-12)
    filled = np.linalg.eigvalsh(rho)
    assert filled.min() >= -1e-12 and filled.max() <= 1 + 1e-12
    assert solution.filling == pytest.approx(2 * np.trace(rho).real, abs=1e-10)
    assert solution.double_occupancy == pytest.approx(np.diag(doubles).mean(), abs=1e-10)
    n = np.diag(rho).real
    assert np.all(doubles >= -1e-12) and np.all(doubles <= np.minimum.outer(n, n) + 1e-10)
    if solution.problem.U == 0:
        np.testing.assert_allclose(doubles, np.outer(n, n), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "problem"), ABLE)
def test_the_self_energy_starts_from_the_mean_field(name, problem):
    """``Sigma(i inf)`` of each orbital: its occupation and those of the others, from the same

    solution; to the next moment, over 2000 D or over the last frequency of its axis."""
    solution = solved(name, problem)
    if not solution.knows_densities:
        return
    far = ImaginaryAxis(np.pi / 2000.0, w_max=8.0)
    axis = solution.problem.axis if isinstance(solution, MatsubaraSolution) else far
    sigma = diagonal(solution.matsubara_self_energy(axis))[:, -1].real
    n, interaction = np.diag(solution.density_matrix()).real, solution.problem.interaction
    repulsion = interaction.opposite_spins(n.size) + interaction.parallel_spins(n.size)
    if name in MEAN_FIELD and not solution.problem.is_particle_hole_symmetric():
        assert abs(sigma - repulsion @ n).max() > 1e-3, f"no longer true: {MEAN_FIELD[name]}"
        return
    next_moment = solution.problem.U**2 / axis.omega_n[-1] ** 2
    allowed = max(1e-4, next_moment, tolerance(name))
    np.testing.assert_allclose(sigma, repulsion @ n, rtol=0, atol=allowed)


@pytest.mark.parametrize(("name", "problem"), AT_BETA)
def test_imaginary_time(name, problem):
    """``G(0) + G(beta) = -1``, ``-G(beta)`` the density, -G positive and convex; and G(iw) is its

    transform: through the intermediate representation, to that of the axis. Convex within error
    bars alone in `ctseg`: here by fifteen of them."""
    solution = solved(name, problem)
    beta, axis = solution.problem.beta, solution.problem.axis
    tau = np.concatenate([[0.0], axis.tau, [beta]])
    G = matrices(solution.greens_tau(tau))
    np.testing.assert_allclose(G[0] + G[-1], -np.eye(G.shape[1]), rtol=0, atol=1e-8)
    if solution.knows_densities:
        np.testing.assert_allclose(-G[-1], solution.density_matrix(), rtol=0, atol=1e-8)
    even = matrices(solution.greens_tau(np.linspace(0, beta, 101)))
    curve = -np.einsum("waa->wa", even).real
    assert curve.min() > 0 and np.diff(curve, 2, axis=0).min() > -1e-10
    coefficients = axis.to_coefficients(solution.matsubara_greens(axis))
    again = axis.at_tau(coefficients, axis.tau)
    np.testing.assert_allclose(again, solution.greens_tau(axis.tau), rtol=0, atol=1e-7)
    with pytest.raises(InvalidProblemError, match=r"imaginary times lie in \[0, beta"):
        solution.greens_tau(np.array([1.1 * beta]))


@pytest.mark.parametrize(("name", "problem"), [pair for pair in REAL if pair[0] != "mps"])
def test_particle_hole(name, problem):
    """The mirrored problem has ``A_ba(-w)`` and ``2 n_orb - n``; ground states to 1e-6."""
    solution = solved(name, problem)
    mirror = solver_named(name).solve(solution.problem.particle_hole())
    A, other = matrices(solution.spectrum()), matrices(mirror.spectrum())
    gap = np.abs(A - other[::-1].swapaxes(1, 2))
    assert np.einsum("wab,w->ab", gap, GRID.weights).max() < 1e-6
    assert solution.filling + mirror.filling == pytest.approx(2 * solution.problem.n_orb, abs=1e-8)

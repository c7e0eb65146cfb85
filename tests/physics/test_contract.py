"""One contract for every impurity solver; the laws that only exact solvers owe come after.

One orbital at T = 0 on the real axis, which all but solvers at finite temperature treat; wider
problems are in `test_contract_wide`, the solvers in `contract`.
"""

import numpy as np
import pytest
from physics.contract import EXACT, GRID, GROUND, LEARNED, SYMMETRY, WITNESSES
from physics.properties import (
    assert_causal,
    assert_particle_hole,
    assert_sum_rule,
    exact_moments,
)

from dmftnet.physics.analysis.self_energy import dyson_spectrum
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import ImpuritySolution, ImpuritySolver
from dmftnet.physics.lattices.bethe import semicircle

PROBLEMS = {
    "metal": (1.0, -0.5, 0.0),
    "doped": (2.0, -0.4, 0.2),
    "strong": (4.0, -2.0, 0.0),
    "free": (0.0, 0.3, -0.1),
}


def make(name, weight=0.25):
    U, eps_d, centre = PROBLEMS[name]
    return ImpurityProblem.on_grid(U, eps_d, GRID, semicircle(GRID, centre, 1.0, weight))


@pytest.fixture(scope="module", params=GROUND, name="solver")
def _solver(request):
    return GROUND[request.param]()


@pytest.fixture(scope="module", params=EXACT, name="exact")
def _exact(request):
    return EXACT[request.param]()


# --- every solver ---------------------------------------------------------------------------------


def test_protocol(solver):
    assert isinstance(solver, ImpuritySolver)
    assert solver.name in ("ras", "ed", "scol", "mps", "ipt", *LEARNED)
    problem = make("metal")
    solution = solver.solve(problem)
    assert isinstance(solution, ImpuritySolution) and solution.problem is problem
    assert isinstance(solution.filling, float) and isinstance(solution.double_occupancy, float)
    kinds = {type(value) for value in solution.diagnostics.values()}
    assert kinds <= {int, float, bool, str, np.float64, type(None)}
    coarse = FrequencyGrid.geometric(0.05, 4.0, 20)
    assert solution.self_energy(coarse).shape == (1, 20)
    assert solution.spectrum(coarse, angle=0.1).shape == (1, 20)


@pytest.mark.parametrize("name", PROBLEMS)
def test_causality_and_sum_rule(solver, name):
    """Networks normalise by quadrature. Poles go through Dyson's equation on a grid of 8 % cells,

    where a bound state next to the band edge costs up to 3 % of the norm."""
    solution = solver.solve(make(name))
    assert_causal(solution)
    assert_sum_rule(solution, 1e-12 if solution.greens is None else 3e-2)
    assert 0 <= solution.filling <= 2


@pytest.mark.parametrize("name", ["doped", "strong", "free"])
def test_particle_hole(solver, name):
    """Exact solvers mirror term by term; 1e-6 is the ground state's residual and the doped Lanczos

    run's. The network computes in float32, where mirroring changes the order of sums. Truncations
    and the fit of poles to a signal leave `mps` 2e-6 away."""
    assert_particle_hole(solver, make(name), SYMMETRY.get(solver.name, 1e-6))


def test_half_filled_spectra_are_even(solver):
    """The mirrored problem is the problem itself; the tolerances of `test_particle_hole`."""
    solution = solver.solve(make("metal"))
    A = solution.spectrum()[0]
    tolerance = SYMMETRY.get(solver.name, 1e-6)
    assert GRID.integrate(np.abs(A - A[::-1])) < tolerance
    assert solution.filling == pytest.approx(1, abs=tolerance)


def test_determinism(solver):
    """Bit by bit: nothing depends on the clock, on threads or on a global random state."""
    problem = make("doped")
    first, second = solver.solve(problem), solver.solve(problem)
    np.testing.assert_array_equal(first.spectrum(), second.spectrum())
    assert first.double_occupancy == second.double_occupancy


def test_batches_equal_single_solves(solver):
    """Exact solvers bit by bit; a network's float32 sums depend on the batch: 1e-5."""
    problems = [make(name) for name in PROBLEMS]
    together = solver.solve_batch(problems)
    assert [s.problem for s in together] == problems
    assert solver.solve_batch([]) == []
    for one, other in zip(map(solver.solve, problems), together, strict=True):
        tolerance = 0 if solver.name not in LEARNED else 1e-5
        np.testing.assert_allclose(one.spectrum(), other.spectrum(), rtol=0, atol=tolerance)


# --- exact solvers --------------------------------------------------------------------------------


def test_no_interaction(exact):
    """Sigma is zero exactly, so the spectrum is Dyson's with the continuous bath, to rounding."""
    problem = make("free")
    solution = exact.solve(problem)
    np.testing.assert_array_equal(solution.self_energy(), 0)
    expected = dyson_spectrum(problem, np.zeros((1, GRID.n_w), complex))
    np.testing.assert_allclose(solution.spectrum(), expected, rtol=0, atol=1e-12)
    assert solution.double_occupancy == pytest.approx((solution.filling / 2) ** 2, abs=1e-9)


@pytest.mark.parametrize("U", [2.0, 5.0])
def test_atomic_limit(exact, U):
    """A bath of total weight V^2 = 1e-4 shifts levels by V^2/U and weights by (V/U)^2: 1e-3.

    Half filled: levels at +-U/2 of weight 1/2, no double occupancy, ``Sigma = U/2 + U^2/(4w)``.
    """
    problem = ImpurityProblem.on_grid(U, -U / 2, GRID, semicircle(GRID, 0.0, 1.0, 1e-4))
    solution = exact.solve(problem)
    G = solution.greens[0].G
    upper = np.abs(G.energies - U / 2) < 0.05
    assert G.weights[upper].sum() == pytest.approx(0.5, abs=1e-3)
    assert G.weights[np.abs(G.energies + U / 2) < 0.05].sum() == pytest.approx(0.5, abs=1e-3)
    assert solution.filling == pytest.approx(1, abs=1e-6)
    assert solution.double_occupancy < 1e-3
    # where the broadening of the poles (0.1 U/2 at most) has died out
    far = np.abs(GRID.omega) > U / 2 + 5 * (0.1 * U / 2 + 0.02)
    sigma = solution.self_energy()[0, far]
    atom = U / 2 + U**2 / 4 / GRID.omega[far]
    np.testing.assert_allclose(sigma.real, atom, rtol=2e-2)


@pytest.mark.parametrize("name", PROBLEMS)
def test_moments_and_commutators(exact, name):
    """``<{d, d+}>, <{[d, H], d+}>, <{q, d+}>, <{q, q+}>`` and the lesser weight of F.

    They hold in any restricted space; 1e-6 is U times the residual 1e-8 with room for rounding.
    """
    problem = make(name)
    solution = exact.solve(problem)
    U, n = problem.U, solution.filling / 2
    G, F, I = (getattr(solution.greens[0], part) for part in "GFI")
    np.testing.assert_allclose(
        G.moments(2), exact_moments(U, problem.eps_d[0], 2 * n), rtol=0, atol=1e-6
    )
    assert F.moments(1)[0] == pytest.approx(U * n, abs=1e-6)
    assert I.moments(1)[0] == pytest.approx(U**2 * n, abs=1e-6)
    assert G.occupied_weight == pytest.approx(n, abs=1e-6)
    assert F.weights[F.energies < 0].sum() == pytest.approx(U * solution.double_occupancy, abs=1e-6)


@pytest.mark.parametrize("name", ["metal", "doped", "strong"])
@pytest.mark.parametrize("kind", sorted(WITNESSES))
def test_zeroth_moment_of_the_self_energy(kind, name):
    """``integral -Im Sigma / pi = U^2 (n/2)(1 - n/2)``, and the tail of the poles' Sigma(iy).

    On a grid that resolves the broadening to 1e-4, the fit of `mps` to its signals included; the
    pole of a Mott insulator may be sharper than any grid. At y = 1e3 D the next moments are 1e-5.
    """
    solution = WITNESSES[kind]().solve(make(name))
    U, n = solution.problem.U, solution.filling / 2
    moment = U**2 * n * (1 - n)
    if name != "strong":
        fine = FrequencyGrid.geometric(2e-5, 12.0, 6000)
        S = -solution.self_energy(fine)[0].imag / np.pi
        assert fine.integrate(S) == pytest.approx(moment, rel=1e-4)
    G, F, I = (getattr(solution.greens[0], part).greens(np.array([1e3j])) for part in "GFI")
    assert (1e3j * (I - F**2 / G))[0].real == pytest.approx(moment, rel=1e-5)


def test_double_occupancy_falls_with_the_interaction(exact):
    """From n^2/4 without interaction, and never below zero."""
    bath = semicircle(GRID, 0.0, 1.0, 0.25)
    values = [
        s.double_occupancy
        for s in exact.solve_batch(
            [ImpurityProblem.on_grid(U, -U / 2, GRID, bath) for U in (0, 1, 2, 4)]
        )
    ]
    assert values[0] == pytest.approx(0.25, abs=1e-9)
    assert np.all(np.diff(values) < 0) and values[-1] > 0

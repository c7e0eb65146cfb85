"""The tensor-network solver against diagonalisation of the whole Fock space."""

from dataclasses import replace

import numpy as np
import pytest
from physics.brute_force import BruteForce
from physics.kanamori import Kanamori

from dmftnet.errors import DmftnetWarning, InvalidProblemError, SpaceTooLargeError, StoreError
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.time_contour import TimeContour, signal_of_poles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.tensor.algebra import overlap
from dmftnet.physics.solvers.tensor.blocks import Truncation
from dmftnet.physics.solvers.tensor.evolution import Evolution, EvolutionPlan
from dmftnet.physics.solvers.tensor.impurity import PreparedImpurity
from dmftnet.physics.solvers.tensor.layout import UP, orbital_of
from dmftnet.physics.solvers.tensor.model import ImpurityModel
from dmftnet.physics.solvers.tensor.mps import MpsSolver
from dmftnet.physics.solvers.tensor.state import ground_state, with_operator

ENERGIES, COUPLINGS = np.array([-0.1, 0.3]), np.array([0.4, 0.35])
BATH = StarBath(ENERGIES, COUPLINGS)
U, EPS_D = 2.0, -0.6
# nothing dropped: what is left is the error of the integrator and of the Krylov vectors
EXACT = Truncation(64, 1e-20)


@pytest.fixture(scope="module", name="exact")
def _exact():
    return BruteForce(EPS_D, U, ENERGIES, COUPLINGS)


@pytest.fixture(scope="module", name="impurity")
def _impurity():
    """(model counted from the ground state, ground state) of two bath sites, not half filled."""
    orbital = orbital_of(BATH, EPS_D, U, "natural")
    model = ImpurityModel([orbital], U)
    ground = ground_state(model, 1, 1, EXACT, 1e-14, open_sweeps=2)
    return model.shifted(ground.energy), ground


def kets(impurity, names):
    model, ground = impurity
    return [with_operator(ground.psi, model, 0, UP, name) for name in names]


def exact_signal(exact, side, z, order):
    """(order + 1, n_t, 2, 2) correlators from the eigenstates."""
    energies, amplitudes = exact.poles()
    chosen = side * energies > 0
    a = amplitudes[chosen]
    return signal_of_poles(np.abs(energies[chosen]), a[:, :, None] * a[:, None, :], z, order + 1)


def test_ground_state(impurity, exact):
    """DMRG with every Schmidt value is diagonalisation."""
    model, ground = impurity
    assert ground.converged
    assert ground.energy == pytest.approx(exact.energy, abs=1e-10)
    assert abs(ground.variance(model)) < 1e-10
    here = [model.layout.position(0, s) for s in (0, 1)]
    assert sum(map(ground.occupation, here)) == pytest.approx(exact.filling, abs=1e-8)


def test_truncation_is_reported_by_the_variance(impurity):
    model, ground = impurity
    with pytest.warns(DmftnetWarning, match="DMRG stopped after 2 sweeps"):
        poor = ground_state(model, 1, 1, Truncation(2, 0.0), 1e-11, max_sweeps=2)
    assert poor.variance(model) > 1e-5 and poor.energy > ground.energy + 1e-6
    assert max(poor.psi.bond_dimensions) <= 2


@pytest.mark.parametrize(
    ("shape", "angle", "order", "squared"),
    [("constant", 0.1, 1, False), ("decreasing", 0.2, 4, False), ("constant", 0.0, 0, False),
     ("constant", 0.1, 0, True)],
)  # fmt: skip
@pytest.mark.parametrize("side", [1, -1])
def test_correlators_on_contours(impurity, exact, shape, angle, order, squared, side):
    """Every component and H insertion; 1e-7 (the Krylov tolerance) of the value at t = 0."""
    names = ("d+", "q+") if side > 0 else ("d", "q")
    plan = EvolutionPlan(TimeContour(1.0, angle, shape), 0.5, EXACT, order, squared, 1e-7)
    found = Evolution(impurity[0], kets(impurity, names), plan).run()
    expected = exact_signal(exact, side, plan.contour.z(plan.times), order)
    assert found.shape == expected.shape == (order + 1, plan.times.size, 2, 2)
    for n in range(order + 1):
        np.testing.assert_allclose(
            found[n], expected[n], rtol=0, atol=1e-7 * np.abs(expected[n, 0]).max()
        )


def test_one_site_steps_keep_the_bond_dimension(impurity):
    """From a full bond on, and no error for it here: the manifold holds the exact state."""
    plan = EvolutionPlan(TimeContour(1.0, 0.1), 0.5, Truncation(6, 0.0), 0, False, 1e-7)
    evolution = Evolution(impurity[0], kets(impurity, ("d+",)), plan)
    evolution.run()
    assert max(evolution.bond_dimensions) <= 6


def test_a_killed_evolution_goes_on(impurity, tmp_path):
    """Interrupted in the third of four steps, resumed from the file: the same signal."""
    plan = EvolutionPlan(TimeContour(1.0, 0.1), 0.25, EXACT, 0, False, 1e-7)
    path = tmp_path / "run" / "state.h5"
    whole = Evolution(impurity[0], kets(impurity, ("d+",)), plan).run()

    def kill(done, total, bond):
        if done == 3:
            raise KeyboardInterrupt

    options = {"checkpoint": path, "checkpoint_every": 0.0}
    first = Evolution(impurity[0], kets(impurity, ("d+",)), plan, progress=kill, **options)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    steps = []
    report = {"progress": lambda done, total, bond: steps.append(done), **options}
    second = Evolution(impurity[0], kets(impurity, ("d+",)), plan, **report)
    resumed = second.run()
    assert steps == [3, 4]  # the second was the last that was saved
    assert len(second.bond_dimensions) == 4 and not list(path.parent.glob("*.partial"))
    np.testing.assert_allclose(resumed, whole, rtol=0, atol=1e-9)
    other = Evolution(impurity[0], kets(impurity, ("d+",)), plan, "another", **options)
    with pytest.raises(StoreError, match="another problem"):
        other.run()
    path.write_bytes(b"broken")
    with pytest.raises(StoreError, match="cannot be read"):
        Evolution(impurity[0], kets(impurity, ("d+",)), plan, **options).run()


def test_a_killed_evolution_goes_on_elsewhere(impurity, tmp_path):
    """Another processor: other last digits in the bath, the ground state with the other sign.

    The digits differ by up to 3e-15 between OpenBLAS' kernels, with 59 bath sites. They may change
    the number of Krylov vectors in a step, which end at 1e-7; a wrong sign is an error of order 1.
    """
    plan = EvolutionPlan(TimeContour(1.0, 0.1), 0.25, EXACT, 1, False, 1e-7)
    whole = Evolution(impurity[0], kets(impurity, ("d+", "q+")), plan).run()

    def kill(done, total, bond):
        if done == 3:
            raise KeyboardInterrupt

    options = {"checkpoint": tmp_path / "state.h5", "checkpoint_every": 0.0}
    first = Evolution(impurity[0], kets(impurity, ("d+", "q+")), plan, progress=kill, **options)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    model, ground = impurity
    orbital = model.orbitals[0]
    noise = 3e-15 * np.random.default_rng(0).choice([-1, 1], orbital.one_body.shape)
    there = replace(orbital, one_body=orbital.one_body + noise + noise.T)
    there = ImpurityModel([there], U).shifted(ground.energy)
    other_sign = [ket.scaled(-1.0) for ket in kets(impurity, ("d+", "q+"))]
    second = Evolution(there, other_sign, plan, **options)
    np.testing.assert_allclose(second.run(), whole, rtol=0, atol=1e-7)


def test_solution_of_a_star(exact):
    """Occupations and sum rules to the ground state's accuracy; from t = 16 all eleven poles.

    1e-4 is the tolerance of the exponential fit (1e-6) times what the worst-resolved pair of poles
    makes of it.
    """
    solver = MpsSolver(
        truncation=1e-16, energy_tolerance=1e-13, krylov_tolerance=1e-8, t_max=16.0, dt=1.0,
        sector="mean_field", tolerance=1e-6,
    )  # fmt: skip
    state = solver.solve_star([BATH], [EPS_D], U)
    assert state.filling == pytest.approx(exact.filling, abs=1e-7)
    assert state.double_occupancy == pytest.approx(exact.double_occupancy, abs=1e-7)
    found = np.stack([getattr(state.greens[0], part).moments(2) for part in "GFI"])
    np.testing.assert_allclose(found[:, 0], exact.moments(1)[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], exact.moments(2)[:, 1], rtol=0, atol=1e-3)
    z = 1j * np.array([0.1, 0.5, 2.0])
    np.testing.assert_allclose(state.greens[0].G.greens(z), exact.greens(z), rtol=0, atol=1e-4)


def test_the_particle_number_is_searched_for():
    """The mean field's (1, 1) is not the lowest here: a doublet of three electrons is."""
    energies, couplings = np.array([-0.5, 0.4]), np.array([0.4, 0.35])
    exact = BruteForce(-1.0, 4.0, energies, couplings)
    prepared = PreparedImpurity.of(
        MpsSolver(ground_truncation=1e-20), [StarBath(energies, couplings)], -1.0, 4.0, 0.0, False
    )
    assert sum(prepared.electrons) == pytest.approx(exact.electrons) == pytest.approx(3)
    assert prepared.ground.energy == pytest.approx(exact.energy, abs=1e-8)
    filling, double_occupancy = prepared.occupations()
    assert filling == pytest.approx(exact.filling, abs=1e-6)
    assert double_occupancy == pytest.approx(exact.double_occupancy, abs=1e-6)


@pytest.mark.parametrize("n_last", [2, 3])
def test_two_orbitals_against_diagonalisation(n_last):
    """Ground-state energy 1e-7, moments of the addition part 1e-6, of d and of q = [d, H_int]."""
    J, levels = 0.3, (-1.2, -0.9)
    baths = [
        (np.array([-0.3, 0.4]), np.array([0.4, 0.3])),
        (np.array([-0.2, 0.1, 0.5])[:n_last], np.array([0.5, 0.2, 0.35])[:n_last]),
    ]
    exact = Kanamori(levels, 2.0, J, baths)
    solver = MpsSolver(
        geometry="star", truncation=1e-20, ground_truncation=1e-20, energy_tolerance=1e-13, order=2,
        squared=False, angle=0.1, t_max=2.0, dt=0.5, sector="mean_field",
    )  # fmt: skip
    prepared = PreparedImpurity.of(
        solver, [StarBath(*bath) for bath in baths], np.array(levels), 2.0, J, False
    )
    energy, state = exact.ground_state(*prepared.electrons)
    assert prepared.ground.energy == pytest.approx(energy, abs=1e-7)
    names = ("d+", "q+")
    found = [with_operator(prepared.ground.psi, prepared.model, 0, UP, name) for name in names]
    plan = EvolutionPlan(TimeContour(2.0, 0.1), 0.5, EXACT, 2, False, 1e-7)
    evolution = Evolution(prepared.model, found, plan)
    bras = evolution._bra_states()
    moments = np.array([[[overlap(a, b).real for b in found] for a in row] for row in bras])
    d = exact.d[0][UP]
    expected = exact.moments(energy, state, (d, exact.commutator(d)), 3)
    np.testing.assert_allclose(moments, expected, rtol=1e-7, atol=1e-6)


def test_dyson_takes_each_orbitals_own_bath():
    """Two orbitals with baths of unlike weight, U = 0: Sigma vanishes, if Delta is the right one.

    With the other orbital's it would be 0.1/8 at the far end; 1e-3 is the fit of the signals."""
    grid = FrequencyGrid.geometric(1e-2, 8.0, 60)
    hybridization = np.stack([semicircle(grid, 0.0, 1.0, w) for w in (0.25, 0.15)])
    problem = ImpurityProblem.on_grid(0.0, [0.1, -0.1], grid, hybridization)
    solver = MpsSolver(
        bath=Intervals(2), t_max=20.0, dt=1.0, estimator="dyson", broadening=(1e-3, 1e-3)
    )
    solution = solver.solve(problem)
    far = FrequencyGrid(np.array([-8.0, -6.0, 6.0, 8.0]))
    assert np.abs(solution.self_energy(far)).max() < 2e-3
    assert np.abs(np.subtract(*(b[0].couplings ** 2 for b in solution.baths)).sum()) > 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 5}, "order = 5"),
        ({"contour": "decreasing"}, "squared=true needs a straight contour"),
        ({"dt": 9.0}, "dt = 9.0"),
        ({"bond_dimension": 1}, "bond_dimension = 1"),
        ({"sector": "any"}, "'any' is unknown"),
        ({"method": "guess"}, "'guess' is unknown"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(InvalidProblemError, match=message) as caught:
        MpsSolver(**options)
    assert "\n" not in str(caught.value)


def test_too_much_memory_is_refused():
    solver = MpsSolver(bond_dimension=100_000)
    with pytest.raises(SpaceTooLargeError, match="GiB, more than"):
        solver.solve_star([BATH], [EPS_D], U)

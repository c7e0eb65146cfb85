"""Physical laws as assertions, for every solver and solution; the contract suite calls them."""

import numpy as np


def assert_causal(solution):
    """Finite curves of the right shape with ``A >= 0`` and ``Im Sigma <= 0``, on and off the axis.

    No tolerance on A. Im Sigma may exceed zero by rounding: it is a difference of terms of the size
    of Sigma's largest value, so 1e-12 of that.
    """
    problem = solution.problem
    shape = (problem.n_orb, problem.grid.n_w)
    A, sigma = solution.spectrum(), solution.self_energy()
    assert A.shape == sigma.shape == shape
    assert A.dtype == np.float64 and sigma.dtype == np.complex128
    assert np.all(np.isfinite(A)) and np.all(np.isfinite(sigma))
    assert A.min() >= 0
    assert sigma.imag.max() <= 1e-12 * np.abs(sigma).max()
    assert solution.spectrum(angle=0.15).min() >= 0


def assert_sum_rule(solution, tolerance):
    """``integral A = 1`` for every orbital; poles, where there are any, carry it to 1e-8.

    Not to rounding: a half-filled run mirrors one side, so that the norm is twice ``1 - <n_s>`` of
    a ground state with a residual.
    """
    norm = solution.problem.grid.integrate(solution.spectrum())
    np.testing.assert_allclose(norm, 1.0, rtol=0, atol=tolerance)
    for poles in solution.greens or ():
        assert abs(poles.G.weights.sum() - 1) < 1e-8


def assert_particle_hole(solver, problem, tolerance):
    """The mirrored problem has ``A(-w)``, ``2 - n`` and ``D + 1 - n``.

    `tolerance` bounds the L1 distance of the spectra and the error of both numbers. The double
    occupancy only of solutions with poles: read off a curve it mirrors if the curve is exact.
    """
    solution, mirror = solver.solve_batch([problem, problem.particle_hole()])
    difference = np.abs(solution.spectrum() - mirror.spectrum()[:, ::-1])
    assert problem.grid.integrate(difference).max() <= tolerance
    assert abs(solution.filling + mirror.filling - 2) <= tolerance
    expected = solution.double_occupancy + 1 - solution.filling
    assert solution.greens is None or abs(mirror.double_occupancy - expected) <= tolerance


def exact_moments(U: float, eps_d: float, filling: float) -> np.ndarray:
    """First two moments of A from the commutators: 1 and ``eps_d + U n/2`` (n both spins)."""
    return np.array([1.0, eps_d + U * filling / 2])

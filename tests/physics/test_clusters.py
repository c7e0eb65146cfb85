"""Clusters of interacting orbitals: against the whole Fock space, and against pyscf."""

from functools import reduce
from itertools import permutations

import numpy as np
import pytest
from pyscf import fci
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from dmftnet.errors import ConvergenceError, InvalidProblemError
from dmftnet.physics.fermions.kanamori import UP, KanamoriCluster
from dmftnet.physics.fermions.strings import Strings
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.krylov.ensemble import ensemble
from dmftnet.physics.solvers.krylov.response import matrix_poles

Z = np.array([0.1j, 0.7j, 3j, 0.3 + 0.2j])
INTERACTIONS = {
    "Hund": Interaction(2.0, 0.4),
    "density": Interaction(2.0, 0.4, spin_flip=False, pair_hopping=False),
    "spin flip alone": Interaction(2.0, 0.4, U_prime=1.5, pair_hopping=False),
    "pair hopping alone": Interaction(2.0, 0.4, spin_flip=False),
    "no J": Interaction(2.0),
}


class FockSpace:
    """A slow, independent witness: all states of all sectors, operators by definition."""

    def __init__(self, h, interaction, n_orb, beta):
        n_sites = len(h)
        c = _jordan_wigner(2 * n_sites)
        spins = c[:n_sites], c[n_sites:]
        U, J, U_prime = interaction.U, interaction.J, interaction.between_orbitals
        n = [[s[a].T @ s[a] for a in range(n_orb)] for s in spins]
        local = sum(U * n[0][a] @ n[1][a] for a in range(n_orb))
        for a, b in permutations(range(n_orb), 2):
            local = local + U_prime * n[0][a] @ n[1][b]
            for s in (0, 1):
                local = local + 0.5 * (U_prime - J) * n[s][a] @ n[s][b]
            up, down = spins
            if interaction.spin_flip:
                local = local - J * up[a].T @ down[a] @ down[b].T @ up[b]
            if interaction.pair_hopping:
                local = local + J * up[a].T @ down[a].T @ down[b] @ up[b]
        H = local + sum(
            h[p, q] * s[p].T @ s[q] for s in spins for p in range(n_sites) for q in range(n_sites)
        )
        self.levels, states = np.linalg.eigh(H)
        above = self.levels - self.levels[0]
        self.weights = (above < 1e-9) * 1.0 if np.isinf(beta) else np.exp(-beta * above)
        self.weights /= self.weights.sum()

        def transform(operator):
            return states.conj().T @ operator @ states

        rho = [[[transform(s[b].T @ s[a]) for b in range(n_orb)] for a in range(n_orb)]
               for s in spins]  # fmt: skip
        pairs = [[transform(n[0][a] @ n[1][b]) for b in range(n_orb)] for a in range(n_orb)]
        self.density = 0.5 * sum(np.einsum("abnn,n->ab", np.array(r), self.weights) for r in rho)
        double = np.einsum("abnn,n->ab", np.array(pairs), self.weights).real
        self.double = 0.5 * (double + double.T)
        d = [transform(spins[0][a]) for a in range(n_orb)]
        q = [transform(spins[0][a] @ local - local @ spins[0][a]) for a in range(n_orb)]
        self.operators = np.array(d + q)
        self.beta = beta

    def response(self, z):
        """(2 n_orb, 2 n_orb, n_z) ``<<A; B+>>`` of the d and the q, by its Lehmann sum."""
        gaps = self.levels[None, :] - self.levels[:, None]
        weights = self.weights[:, None] + self.weights[None, :]
        A = self.operators
        return np.stack(
            [np.einsum("anm,bnm,nm->ab", A, A.conj(), weights / (x - gaps)) for x in z], axis=-1
        )

    def greens_tau(self, tau):
        """(n_orb, n_orb, n_tau) ``-<d_a(tau) d+_b>``."""
        A = self.operators[: len(self.operators) // 2]
        gaps = self.levels[None, :] - self.levels[:, None]
        return np.stack(
            [
                -np.einsum("anm,bnm,nm->ab", A, A.conj(), self.weights[:, None] * np.exp(-t * gaps))
                for t in tau
            ],
            axis=-1,
        )


def _jordan_wigner(n):
    lower, sign, one = np.array([[0, 1], [0, 0.0]]), np.diag([1.0, -1.0]), np.eye(2)
    return [reduce(np.kron, [sign] * i + [lower] + [one] * (n - i - 1)) for i in range(n)]


def random_one_body(n_sites, n_orb, complex_hoppings, seed):
    """Crystal field, off-diagonal hybridization: nothing vanishes."""
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(n_sites, n_sites)).astype(complex if complex_hoppings else float)
    if complex_hoppings:
        h += 1j * rng.normal(size=h.shape)
    h = 0.5 * (h + h.conj().T)
    h[:n_orb, :n_orb] -= 1.2 * np.eye(n_orb)
    return h


@pytest.mark.parametrize("dense", [1500, 10], ids=["all states", "Lanczos"])
@pytest.mark.parametrize("beta", [np.inf, 5.0, 50.0])
@pytest.mark.parametrize("interaction", INTERACTIONS.values(), ids=INTERACTIONS)
@pytest.mark.parametrize(
    ("n_orb", "n_sites", "complex_hoppings"), [(1, 3, False), (2, 4, False), (2, 4, True)]
)
def test_everything_against_the_whole_fock_space(
    n_orb, n_sites, complex_hoppings, interaction, beta, dense
):
    h = random_one_body(n_sites, n_orb, complex_hoppings, seed=n_orb)
    exact = FockSpace(h, interaction, n_orb, beta)
    cluster = KanamoriCluster(h, interaction, n_orb)
    found = ensemble(cluster, beta, dense=dense, smallest_weight=1e-14)
    assert found.energy == pytest.approx(exact.levels[0], abs=1e-11)
    np.testing.assert_allclose(found.mean("density", cluster), exact.density, atol=1e-11)
    np.testing.assert_allclose(found.mean("double", cluster), exact.double, atol=1e-11)
    energies, amplitudes = matrix_poles(cluster, found, n_lanczos=60, dense=dense)
    a = amplitudes.reshape(energies.size, -1)
    own = np.einsum("pa,pb,pz->abz", a, a.conj(), 1 / (Z - energies[:, None]))
    np.testing.assert_allclose(own, exact.response(Z), atol=1e-10)
    weights = np.concatenate(list(found.weights))
    assert weights.sum() == pytest.approx(1, abs=1e-12) and found.dropped < 1e-12


@pytest.mark.parametrize(("sector", "side"), [((2, 0), 1), ((0, 0), -1)])
def test_excitations_out_of_a_full_or_an_empty_spin_are_refused(sector, side):
    cluster = KanamoriCluster(np.diag([-1.0, 0.0]), Interaction(2.0), 1)
    assert cluster.target(sector, UP, side) is None
    with pytest.raises(InvalidProblemError, match="has no neighbour with one electron"):
        cluster.excitations(sector, UP, side, np.ones((1, 1)))


def pyscf_ground_state(h, interaction, n_orb, electrons):
    """Energy, vector and integrals of one sector; both J terms on, or both off."""
    n, options = len(h), {"tol": 1e-14, "max_cycle": 1000, "max_space": 30, "lindep": 1e-20}
    U, J, U_prime = interaction.U, interaction.J, interaction.between_orbitals
    same, opposite = np.zeros((n,) * 4), np.zeros((n,) * 4)
    for a in range(n_orb):
        same[a, a, a, a] = opposite[a, a, a, a] = U
        for b in set(range(n_orb)) - {a}:
            same[a, a, b, b] = opposite[a, a, b, b] = U_prime
            if interaction.spin_flip:  # the exchange integrals: J terms of both kinds
                for eri in (same, opposite):
                    eri[a, b, a, b] = eri[a, b, b, a] = J
            else:
                same[a, a, b, b] -= J
    if interaction.spin_flip:
        return *fci.direct_spin1.kernel(h, same, n, electrons, **options), same
    return *fci.direct_uhf.kernel((h, h), (same, opposite, same), n, electrons, **options), same


@pytest.mark.parametrize("name", ["Hund", "density", "no J"])
@pytest.mark.parametrize("electrons", [(3, 3), (3, 2), (4, 1)])
def test_energies_against_pyscf(name, electrons):
    """Two orbitals with two bath sites each, 400 determinants at half filling."""
    h, interaction = random_one_body(6, 2, False, seed=4), INTERACTIONS[name]
    cluster = KanamoriCluster(h, interaction, 2)
    own = eigsh(cluster.hamiltonian(electrons), k=1, which="SA", tol=1e-13)[0][0]
    assert own == pytest.approx(pyscf_ground_state(h, interaction, 2, electrons)[0], abs=1e-10)


@pytest.mark.parametrize("name", ["Hund", "no J"])
@pytest.mark.parametrize("crystal_field", [0.0, 0.4])
def test_moments_against_pyscf(name, crystal_field):
    """Lesser moments of G, ``<d+_b d_a>`` and ``<d+_b [d_a, H]>``, and of F, from density matrices

    of pyscf's ground state: all with off-diagonal elements, to 1e-8."""
    h, interaction = random_one_body(6, 2, False, seed=7), INTERACTIONS[name]
    h[0, 0] += crystal_field
    cluster = KanamoriCluster(h, interaction, 2)
    found = ensemble(cluster, np.inf)
    assert [s.energies.size for s in found.states] == [1]
    sector = found.states[0].sector
    assert sector[0] == sector[1]  # a singlet, no other state beside it
    energy, vector, eri = pyscf_ground_state(h, interaction, 2, sector)
    assert found.energy == pytest.approx(energy, abs=1e-10)
    rdm1, rdm2 = fci.direct_spin1.make_rdm12(vector, 6, sector)
    density = 0.5 * rdm1[:2, :2].T
    np.testing.assert_allclose(found.mean("density", cluster), density, rtol=0, atol=1e-8)
    force = 0.5 * np.einsum("aqrs,bqrs->ab", eri[:2], rdm2[:2])  # <d+_b [d_a, H_int]> of a spin
    first = 0.5 * np.einsum("aq,bq->ab", h[:2], rdm1[:2]) + force
    energies, amplitudes = matrix_poles(cluster, found, n_lanczos=200)
    d, q = np.moveaxis(amplitudes[energies < 0], 1, 0)
    below = energies[energies < 0]
    np.testing.assert_allclose(d.T @ d.conj(), density, rtol=0, atol=1e-8)
    np.testing.assert_allclose((d * below[:, None]).T @ d.conj(), first, rtol=0, atol=1e-8)
    np.testing.assert_allclose(q.T @ d.conj(), force, rtol=0, atol=1e-8)


def test_degenerate_states_of_one_sector_are_all_found():
    """Two equal atoms and two equal bath sites, uncoupled: sixfold and more within a sector."""
    h = np.diag([-1.0, -1.0, 0.0, 0.0])
    cluster = KanamoriCluster(h, Interaction(2.0, 0.0, U_prime=0.0), 2)
    few, all_states = (ensemble(cluster, np.inf, dense=n) for n in (5, 100))
    assert few.energy == pytest.approx(-2.0) and all_states.energy == pytest.approx(-2.0)
    for name in ("density", "double"):
        np.testing.assert_allclose(
            few.mean(name, cluster), all_states.mean(name, cluster), atol=1e-10
        )
    assert sum(w.size for w in few.weights) == sum(w.size for w in all_states.weights)


@pytest.mark.parametrize("single_too", [False, True])
def test_states_that_arpack_does_not_find_together_are_found_one_by_one(monkeypatch, single_too):
    """It may stall at a multiplet that the number of states asked for cuts."""
    h, interaction = np.diag([-1.0, -1.0, 0.3, 0.3, 0.5, 0.5]), Interaction(1.0)
    h[0, 2] = h[2, 0] = h[1, 3] = h[3, 1] = 0.4
    cluster = KanamoriCluster(h, interaction, 2)
    exact = ensemble(cluster, 20.0, dense=1000, smallest_weight=1e-3)

    def stalls(operator, k, **options):
        if k > 1 or single_too:
            raise ArpackNoConvergence("No convergence", np.empty(0), np.empty((len(h), 0)))
        return eigsh(operator, k=k, **options)

    monkeypatch.setattr("dmftnet.physics.solvers.krylov.ensemble.eigsh", stalls)
    if single_too:
        with pytest.raises(ConvergenceError, match=r"raise solver\.dense above that number"):
            ensemble(cluster, 20.0, dense=5)
    else:
        found = ensemble(cluster, 20.0, dense=5, smallest_weight=1e-3)
        assert found.energy == pytest.approx(exact.energy, abs=1e-10)
        count = sum(w.size for w in exact.weights)
        assert count > 3 and sum(w.size for w in found.weights) == count


def test_the_weight_that_is_dropped_is_told():
    """A high temperature, few states kept: the estimate is of the size of what is missing."""
    cluster = KanamoriCluster(random_one_body(5, 1, False, 0), Interaction(2.0), 1)
    exact = ensemble(cluster, 1.0, dense=1000)
    few = ensemble(cluster, 1.0, dense=20, max_states=6)
    kept = sum(s.copies * np.exp(-1.0 * (s.energies - few.energy)).sum() for s in few.states)
    total = sum(s.copies * np.exp(-1.0 * (s.energies - exact.energy)).sum() for s in exact.states)
    missing = 1 - kept / total
    assert 0.01 < missing < 0.5 and few.dropped == pytest.approx(missing, rel=0.5)


def test_strings_obey_the_algebra():
    """``{c_i, c+_j} = delta_ij`` between neighbouring particle numbers."""
    for i in range(4):
        for j in range(4):
            s = Strings.of(4, 2)
            more, fewer = Strings.of(4, 3), Strings.of(4, 1)
            product = more.destroy(i) @ s.create(j) + fewer.create(j) @ s.destroy(i)
            np.testing.assert_array_equal(product.toarray(), (i == j) * np.eye(len(s)))


@pytest.mark.parametrize("wrong", [{"J": 1.0}, {"U": -1.0}, {"J": 0.5, "U_prime": 0.2}])
def test_an_attractive_interaction_is_refused(wrong):
    with pytest.raises(InvalidProblemError, match=r"J = |U = "):
        Interaction(**{"U": 2.0, **wrong})


@pytest.mark.parametrize("beta", [5.0, 40.0])
@pytest.mark.parametrize(
    ("levels", "couplings"),
    [
        ([[-0.8]], [[0.4], [0.3]]),
        ([[-1.3, 0.1j], [-0.1j, -0.9]], [[0.4, 0.2j], [0.1, -0.35]]),
    ],
    ids=["one orbital", "two that mix"],
)
def test_imaginary_time_and_frequency_of_the_solver(levels, couplings, beta):
    """`ed` on given bath levels: G(tau), G(iw), Sigma(iw), densities by brute-force sums, 1e-10."""
    levels, couplings = np.array(levels), np.array(couplings)
    n_orb, interaction = len(levels), INTERACTIONS["Hund"]
    bath = PoleHybridization(np.array([-0.5, 0.6]), couplings)
    exact = FockSpace(bath.one_body(levels), interaction, n_orb, beta)
    solution = EdSolver().solve(ImpurityProblem(levels, interaction, bath, beta))
    axis = ImaginaryAxis(beta)
    z, tau = 1j * axis.omega_n, np.linspace(0, beta, 9)
    response = exact.response(z)
    G, F = response[:n_orb, :n_orb], response[n_orb:, :n_orb]
    by_ratio = np.einsum("abw,bcw->acw", F, _inverse(G))
    found = solution.matsubara_greens(axis), solution.matsubara_self_energy(axis)
    times = solution.greens_tau(tau)
    if n_orb == 1:
        found, times = [x[None] for x in found], times[None]
    np.testing.assert_allclose(found[0], G, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found[1], by_ratio, rtol=0, atol=1e-9)
    np.testing.assert_allclose(times, exact.greens_tau(tau), rtol=0, atol=1e-10)
    np.testing.assert_allclose(solution.density_matrix(), exact.density, rtol=0, atol=1e-10)
    np.testing.assert_allclose(solution.double_occupancies(), exact.double, rtol=0, atol=1e-10)


def _inverse(values):
    return np.moveaxis(np.linalg.inv(np.moveaxis(values, -1, 0)), 0, -1)

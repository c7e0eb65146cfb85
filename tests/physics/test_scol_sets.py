"""Operator Lanczos: sets of strings, and projections onto their span."""

import numpy as np
import pytest
from physics.toy_chains import chain_matrix

from dmftnet.errors import SpaceTooLargeError
from dmftnet.physics.fermions.action import target_sector
from dmftnet.physics.fermions.hamiltonian import kanamori, quadratic
from dmftnet.physics.fermions.operators import Operator, length, mode
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.solvers.scol.projection import Projection, orthonormalised
from dmftnet.physics.solvers.scol.sets import Reach, string_set

HUND = Interaction(1.2, 0.2)


# --- sets -----------------------------------------------------------------------------------------


def test_first_order_set_by_hand():
    """``d+, n_dn d+``, both bare c+, and the one hop of ``n_dn d+``'s commutator either way."""
    h, chains = chain_matrix(2)
    up, first, second, down, first_down = 1, 2, 4, 8, 16
    found = string_set(h, Interaction(2.0), chains, 0, 0, Reach(1, 1, 3))
    assert set(found.strings) == {
        (up, 0),
        (up | down, down),
        (first, 0),
        (second, 0),
        (first | down, down),
        (up | first_down, down),
        (up | down, first_down),
    }
    assert found.d.terms == {(up, 0): 1.0}
    assert found.q.terms == {(up | down, down): 2.0}  # U n_dn d+
    np.testing.assert_array_equal(found.coefficients(found.q), [0, 2.0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("n_orb", [1, 2])
@pytest.mark.parametrize("n_segments", [1, 2, 9])
def test_strings_are_distinct_add_one_electron_and_mirror_into_the_set(n_orb, n_segments):
    h, chains = chain_matrix(3, levels=(-0.4, -0.3)[:n_orb])
    n = len(h)
    interaction = HUND if n_orb > 1 else Interaction(1.2)
    found = string_set(h, interaction, chains, 0, 1, Reach(3, n_segments, 5))
    strings = set(found.strings)
    assert len(strings) == len(found.strings) > 20
    assert {target_sector(term, (2, 2), n) for term in strings} == {(2, 3)}
    assert max(map(length, strings)) == 5
    assert {(1 << mode(site, 1, n), 0) for site in chains[0]} <= strings
    for creators, annihilators in strings:  # c -> +-c+, put in order again
        mirrored = Operator.of(annihilators=bits_of(creators)) @ Operator.of(bits_of(annihilators))
        assert {(A, C) for C, A in mirrored.terms} <= strings


def bits_of(mask):
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_set_holds_the_nested_commutators(depth):
    """``[H, [H, ... d+]]`` of the whole chain, coefficients and all, without a limit of length."""
    h, chains = chain_matrix(4, levels=(-0.4, -0.3))
    H = quadratic(h) + kanamori(HUND, 2, len(h))
    found = string_set(h, HUND, chains, 1, 0, Reach(depth, 1, 99))
    nested = [found.d, found.q]
    for _ in range(depth):
        nested = [H.commutator(operator) for operator in nested]
    assert all(operator.terms.keys() <= set(found.strings) for operator in nested)


def test_too_many_strings_are_refused():
    h, chains = chain_matrix(5)
    with pytest.raises(SpaceTooLargeError, match=r"solver.depth = 9 with solver.max_length = 99 m"):
        string_set(h, Interaction(1.0), chains, 0, 0, Reach(9, 1, 99, max_strings=500))


# --- projections ----------------------------------------------------------------------------------


def random_span(n_dim, n, condition, seed=0):
    """Vectors whose singular values fall to 1/condition, and a Hermitian matrix."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(m, n)))[0] for m in (n_dim, n))
    H = rng.normal(size=(n_dim, n_dim))
    return left * np.geomspace(1, 1 / condition, n) @ right.T, H + H.T


def test_vectors_and_matrices_give_one_projection():
    W, H = random_span(30, 6, 10.0)
    one = Projection.of_vectors(W.copy(), H.__matmul__, 1e-10)
    other = Projection.of_matrices(W.T @ W, W.T @ H @ W, 1e-7)
    assert one.rank == other.rank == 6 and one.dropped == other.dropped == 0
    operators = np.random.default_rng(1).normal(size=(6, 2))
    (E, a), (E_too, b) = one.poles(operators), other.poles(operators)
    np.testing.assert_allclose(E_too, E, rtol=0, atol=1e-12)
    np.testing.assert_allclose(b**2, a**2, rtol=0, atol=1e-12)
    span = np.linalg.qr(W)[0]
    np.testing.assert_allclose(E, np.linalg.eigvalsh(span.T @ H @ span), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_dim", [30, 300])
def test_vectors_reach_where_the_overlap_matrix_has_no_digits(n_dim):
    """A condition of 1e9 is one of 1e18 in S; QR, of either kind, has all eigenvalues to 1e-5."""
    W, H = random_span(n_dim, 6, 1e9)
    span = np.linalg.qr(W)[0]
    exact = np.linalg.eigvalsh(span.T @ H @ span)
    found = Projection.of_vectors(W.copy(), H.__matmul__, 1e-12)
    np.testing.assert_allclose(np.linalg.eigvalsh(found.hamiltonian), exact, rtol=0, atol=1e-5)
    assert Projection.of_matrices(W.T @ W, W.T @ H @ W, 1e-7).rank < 6


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8, 1e11])
def test_tall_vectors_are_orthonormalised(condition):
    """Q and R as defined; Q to rounding."""
    W, _ = random_span(400, 12, condition)
    Q, R = orthonormalised(W.copy())
    np.testing.assert_allclose(Q @ R, W, rtol=0, atol=1e-14)
    np.testing.assert_allclose(Q.T @ Q, np.eye(12), rtol=0, atol=1e-13)
    values = np.linalg.svd(R, compute_uv=False)
    np.testing.assert_allclose(values, np.geomspace(1, 1 / condition, 12), rtol=1e-3, atol=0)


@pytest.mark.parametrize("n_dim", [30, 300])
def test_dependent_strings_are_dropped_and_reported(n_dim):
    W, H = random_span(n_dim, 6, 10.0)
    W = np.concatenate([W, W[:, :2] @ np.array([[1.0], [2.0]]), np.zeros((n_dim, 1))], axis=1)
    found = Projection.of_vectors(W.copy(), H.__matmul__, 1e-10)
    assert found.rank == 6 and found.dropped < 1e-14 < 1e-3 < found.smallest
    gram = found.states.T @ found.states
    np.testing.assert_allclose(gram, W.T @ W, rtol=0, atol=1e-13)

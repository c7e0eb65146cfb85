"""Operator strings against Jordan-Wigner matrices: products, adjoints, commutators, states."""

from functools import lru_cache, reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from physics.kanamori import Kanamori, sparse_annihilators

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.fermions.action import expectation, image, operator_image, target_sector
from dmftnet.physics.fermions.hamiltonian import kanamori, quadratic
from dmftnet.physics.fermions.kanamori import KanamoriCluster
from dmftnet.physics.fermions.operators import Operator, length, mode
from dmftnet.physics.fermions.strings import Strings
from dmftnet.physics.impurity.interaction import Interaction

SITES = st.integers(1, 5)
NUMBERS = st.floats(-2, 2, allow_nan=False).map(lambda x: round(x, 3))


@st.composite
def operators(draw, n_modes, most=3, parity=None):
    masks = st.integers(0, 2**n_modes - 1).map(lambda m: _thinned(m, 3))
    terms = draw(st.dictionaries(st.tuples(masks, masks), NUMBERS, max_size=most))
    return Operator({t: x for t, x in terms.items() if x and parity in (None, length(t) % 2)})


@lru_cache
def jordan_wigner(n_modes):
    return sparse_annihilators(n_modes)


def _thinned(mask, most):
    kept = [i for i in range(mask.bit_length()) if mask >> i & 1][:most]
    return sum(1 << i for i in kept)


def modes_of(mask):
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


def dense(operator, c):
    """By its definition: creators rising, then annihilators falling."""
    total = 0 * c[0]
    for (C, A), x in operator.terms.items():
        factors = [c[i].T for i in modes_of(C)] + [c[j] for j in reversed(modes_of(A))]
        one = (c[0] @ c[0].T + c[0].T @ c[0]).tocsr()
        total = total + x * reduce(lambda a, b: a @ b, factors, one)
    return total.tocsr()


def close(a, b):
    return abs(a - b).max() <= 1e-12


@given(st.data(), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_products_sums_and_adjoints(data, n_modes):
    a, b = (data.draw(operators(n_modes)) for _ in range(2))
    c = jordan_wigner(n_modes)
    A, B = dense(a, c), dense(b, c)
    assert close(dense(a @ b, c), A @ B)
    assert close(dense(a - 2.0 * b, c), A - 2 * B)
    assert close(dense(a.adjoint(), c), A.T)


@given(st.data(), SITES)
@settings(max_examples=60, deadline=None)
def test_commutators_of_any_parity(data, n_sites):
    c = jordan_wigner(2 * n_sites)
    a, b = (data.draw(operators(2 * n_sites)) for _ in range(2))
    A, B = dense(a, c), dense(b, c)
    assert close(dense(a.commutator(b), c), A @ B - B @ A)


def test_an_operator_in_any_order_is_brought_to_normal_order():
    c = jordan_wigner(4)
    found = Operator.of((2, 0), (1, 3))
    assert close(dense(found, c), c[2].T @ c[0].T @ c[1] @ c[3])
    assert not Operator.of((1, 1)).terms


@lru_cache
def basis(n_sites, sector):
    """Columns: determinants ``c+_up ... c+_dn ... |0>`` of a sector in the whole Fock space."""
    c = jordan_wigner(2 * n_sites)
    vacuum = np.zeros(4**n_sites)
    vacuum[0] = 1
    columns = []
    for up in Strings.of(n_sites, sector[0]).codes.tolist():
        for down in Strings.of(n_sites, sector[1]).codes.tolist():
            filled = modes_of(up) + [n_sites + i for i in modes_of(down)]
            columns.append(reduce(lambda v, i: c[i].T @ v, reversed(filled), vacuum))
    return np.stack(columns, axis=1)


@given(st.data(), st.integers(2, 4), st.integers(0, 1), st.sampled_from([1, -1]))
@settings(max_examples=40, deadline=None)
def test_strings_on_states(data, n_sites, spin, side):
    """Every string that adds or removes one electron of a spin, on a random state."""
    sector = tuple(data.draw(st.integers(1, n_sites - 1)) for _ in range(2))
    new = tuple(n + side * (s == spin) for s, n in enumerate(sector))
    pairs = data.draw(st.lists(st.tuples(*[st.integers(0, n_sites - 1)] * 3), max_size=2))
    seed = Operator.of(
        *(((mode(0, spin, n_sites),), ()), ((), (mode(0, spin, n_sites),)))[side < 0]
    )
    for s, i, j in ((s % 2, i, j) for s, i, j in pairs):
        seed = Operator.of((mode(i, s, n_sites),), (mode(j, s, n_sites),)) @ seed
    psi = np.random.default_rng(0).normal(size=(len(basis(n_sites, sector).T), 2))
    c = jordan_wigner(2 * n_sites)
    expected = dense(seed, c) @ (basis(n_sites, sector) @ psi)
    found = operator_image(seed, sector, n_sites, psi)
    if not seed.terms:
        np.testing.assert_array_equal(found, 0)
        return
    np.testing.assert_allclose(basis(n_sites, new) @ found, expected, rtol=0, atol=1e-12)
    number = seed.adjoint() @ seed
    values = expectation(number, sector, n_sites, psi)
    np.testing.assert_allclose(values, (expected**2).sum(axis=0), rtol=0, atol=1e-11)


def test_an_operator_to_several_sectors_is_refused():
    operator = Operator.of((0,)) + Operator.of((), (0,))
    with pytest.raises(InvalidProblemError, match=r"from \(1, 1\) electrons to \[\(0, 1\), "):
        operator_image(operator, (1, 1), 2, np.ones((4, 1)))


INTERACTIONS = {
    "full": Interaction(2.0, 0.3),
    "density-density": Interaction(2.0, 0.3, spin_flip=False, pair_hopping=False),
    "pairs alone": Interaction(2.0, 0.3, spin_flip=False),
}


@pytest.mark.parametrize("name", INTERACTIONS)
def test_hamiltonian_acts_as_the_matrix_of_a_sector(name):
    """Two orbitals with a bath site each: string by string and as `KanamoriCluster` has it."""
    interaction = INTERACTIONS[name]
    h = np.array(
        [[-0.7, 0.1, 0.4, 0.0], [0.1, -0.5, 0.0, 0.3], [0.4, 0.0, 0.2, 0], [0, 0.3, 0, -0.1]]
    )
    cluster = KanamoriCluster(h, interaction, 2)
    H = quadratic(h) + kanamori(interaction, 2, 4)
    for sector in [(2, 2), (3, 1), (1, 2)]:
        matrix = cluster.hamiltonian(sector).toarray()
        found = operator_image(H, sector, 4, np.eye(len(matrix)))
        np.testing.assert_allclose(found, matrix, rtol=0, atol=1e-12)


def test_hamiltonian_is_the_textbook_one():
    """Against the witness in the whole Fock space, whose modes stand up first, then down."""
    witness = Kanamori([-0.7, -0.5], 2.0, 0.3, [([0.2], [0.4]), ([-0.1], [0.3])])
    order = [0, 2, 1, 3]  # the witness has each bath behind its orbital
    h = np.zeros((4, 4))
    h[0, 0], h[1, 1], h[2, 2], h[3, 3] = -0.7, -0.5, 0.2, -0.1
    h[0, 2] = h[2, 0] = 0.4
    h[1, 3] = h[3, 1] = 0.3
    c = jordan_wigner(8)
    c = [c[order[i]] for i in range(4)] + [c[4 + order[i]] for i in range(4)]
    H = quadratic(h) + kanamori(INTERACTIONS["full"], 2, 4)
    assert close(dense(H, c), witness.H)
    d = Operator.of((), (0,))
    q = d.commutator(kanamori(INTERACTIONS["full"], 2, 4))
    assert close(dense(q, c), witness.commutator(witness.d[0][0]))


def test_sectors_of_strings():
    n = 40  # beyond any machine word
    term = (1 << mode(39, 1, n) | 1, 1 << mode(3, 1, n))
    assert target_sector(term, (20, 20), n) == (21, 20)
    a = Operator({term: 1.0})
    assert (a.commutator(quadratic(np.eye(n)))).terms == {term: -1.0}


def test_an_image_of_a_string_is_the_matrix_element_by_hand():
    """``c+_0,up c_1,up`` on ``c+_1,up c+_0,dn |0>``, two sites."""
    found = image((1, 2), (1, 1), 2, np.array([[0.0], [0.0], [1.0], [0.0]]))
    np.testing.assert_array_equal(found[:, 0], [1.0, 0.0, 0.0, 0.0])

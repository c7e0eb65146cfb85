"""The impurity as an MPO: the same Hamiltonian, in every geometry, as operators built by hand."""

import numpy as np
import pytest
from physics.brute_force import BruteForce
from physics.kanamori import Kanamori

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.solvers.tensor.layout import (
    DOWN,
    GEOMETRIES,
    UP,
    Layout,
    Orbital,
    orbital_of,
)
from dmftnet.physics.solvers.tensor.model import ImpurityModel

ENERGIES, COUPLINGS = np.array([-0.7, -0.05, 0.6]), np.array([0.3, 0.2, 0.35])


def dense(operator):
    """The operator as a matrix, the first site slowest."""
    left = {operator.first[0]: np.ones((1, 1))}
    for entries in operator.entries:
        right = {}
        for a, b, p, q, value in entries:
            if a in left:
                local = np.zeros((2, 2))
                local[p, q] = value
                right[b] = right.get(b, 0) + np.kron(left[a], local)
        left = right
    return left[operator.last[-1]]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_geometry_has_the_spectrum_of_the_star(geometry):
    U, eps_d = 2.5, -0.9
    exact = BruteForce(eps_d, U, ENERGIES, COUPLINGS).levels
    model = ImpurityModel([orbital_of(StarBath(ENERGIES, COUPLINGS), eps_d, U, geometry)], U)
    H = dense(model.operator)
    np.testing.assert_allclose(H, H.T, atol=1e-14)
    np.testing.assert_allclose(np.linalg.eigvalsh(H), exact, rtol=0, atol=1e-12)
    shifted = dense(model.shifted(0.7).operator)
    np.testing.assert_allclose(shifted, H - 0.7 * np.eye(len(H)), atol=1e-14)


@pytest.mark.parametrize("J", [0.0, 0.4])
def test_two_orbitals(J):
    """Hubbard-Kanamori with spin flip and pair hopping, different orbitals."""
    U, eps_d = 2.0, (-1.1, -0.8)
    baths = [(np.array([-0.3]), np.array([0.4])), (np.array([0.2]), np.array([0.5]))]
    orbitals = [
        orbital_of(StarBath(*bath), level, U, "star")
        for bath, level in zip(baths, eps_d, strict=True)
    ]
    model = ImpurityModel(orbitals, U, J)
    exact = Kanamori(eps_d, U, J, baths)
    levels = np.linalg.eigvalsh(exact.H.toarray())
    np.testing.assert_allclose(np.linalg.eigvalsh(dense(model.operator)), levels, atol=1e-12)
    levels = np.linalg.eigvalsh(exact.interaction.toarray())
    np.testing.assert_allclose(np.linalg.eigvalsh(dense(model.interaction)), levels, atol=1e-12)


@pytest.mark.parametrize(("geometry", "largest"), [("natural", 6), ("star", 4), ("chain", 4)])
def test_the_mpo_stays_narrow_for_any_bath(geometry, largest):
    energies = np.linspace(-1, 1, 41)
    bath = StarBath(energies, np.full(41, 0.08))
    model = ImpurityModel([orbital_of(bath, -1.0, 2.0, geometry)], 2.0)
    assert max(model.mpo.chi) <= largest


def test_spins_lie_on_different_sides_of_the_impurity():
    layout = Layout.of([Orbital(np.zeros((4, 4)), 2)])
    assert [mode[1] for mode in layout.modes] == [UP] * 4 + [DOWN] * 4
    assert layout.position(0, UP) == 3 and layout.position(0, DOWN) == 4
    two = Layout.of([Orbital(np.zeros((3, 3)), 1), Orbital(np.zeros((2, 2)), 1)])
    assert [two.position(o, s) for o in (0, 1) for s in (UP, DOWN)] == [4, 5, 6, 7]
    assert len(two.modes) == 10


def test_bad_input_is_named():
    bath = StarBath(ENERGIES, COUPLINGS)
    with pytest.raises(InvalidProblemError, match="'ring' is unknown"):
        orbital_of(bath, -1.0, 2.0, "ring")
    model = ImpurityModel([orbital_of(bath, -1.0, 2.0, "star")], 2.0)
    with pytest.raises(InvalidProblemError, match="5 electrons"):
        model.filled_modes(5, 2)

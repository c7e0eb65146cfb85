"""Block Lanczos: on columns of a matrix, and on vectors that are something else."""

import numpy as np
import pytest

from dmftnet.physics.solvers.krylov.blocks import ARRAYS, ArraySpace
from dmftnet.physics.solvers.krylov.lanczos import response_poles

Z = np.array([0.9j, -1.5 + 0.5j, 2.0 + 1.0j])


class Polynomials:
    """Blocks are lists of numpy polynomials, with the scalar product of [-1, 1]."""

    def overlap(self, a, b):
        primitive = [[(p * q).integ() for q in b] for p in a]
        return np.array([[f(1.0) - f(-1.0) for f in row] for row in primitive])

    def combine(self, block, matrix):
        zero = np.polynomial.Polynomial([0.0])
        return [sum((c * p for c, p in zip(column, block, strict=True)), zero)
                for column in matrix.T]  # fmt: skip

    def without(self, block, other, matrix):
        return [p - q for p, q in zip(block, self.combine(other, matrix), strict=True)]

    def subtract(self, image, block, alpha, previous, back):
        image = self.without(image, block, alpha)
        if previous is not None:
            image = self.without(image, previous, back)
        return image, self.overlap(image, image)


def response(energies, amplitudes):
    return np.einsum("pa,pb,pz->abz", amplitudes.conj(), amplitudes, 1 / (Z - energies[:, None]))


def test_vectors_may_be_anything():
    """H multiplies by x: from 1 and x, Gauss-Legendre quadrature of ``x^(a+b) / (z - x)``."""
    x = np.polynomial.Polynomial([0.0, 1.0])
    start = [np.polynomial.Polynomial([1.0]), x]
    found = response_poles(lambda block: [x * p for p in block], start, 12, space=Polynomials())
    nodes, weights = np.polynomial.legendre.leggauss(400)
    powers = np.stack([np.ones_like(nodes), nodes])
    exact = np.einsum("ap,bp,pz->abz", powers, weights * powers, 1 / (Z - nodes[:, None]))
    np.testing.assert_allclose(response(*found), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("dtype", [float, complex])
def test_all_columns_and_types_give_the_exact_response(width, dtype):
    """Compiled loops for one or two real columns, general products else."""
    rng = np.random.default_rng(width)
    H = rng.normal(size=(12, 12)).astype(dtype)
    start = rng.normal(size=(12, width)).astype(dtype)
    if dtype is complex:
        H += 1j * rng.normal(size=H.shape)
        start += 1j * rng.normal(size=start.shape)
    H = 0.1 * (H + H.conj().T)
    found = response_poles(H.dot, start, 40)
    levels, vectors = np.linalg.eigh(H)
    np.testing.assert_allclose(
        response(*found), response(levels, vectors.conj().T @ start), rtol=0, atol=1e-7
    )


def test_nothing_to_start_from_gives_no_poles():
    energies, amplitudes = response_poles(np.diag([1.0, 2.0]).dot, np.zeros((2, 2)), 5)
    assert energies.size == 0 and amplitudes.shape == (0, 2)
    assert isinstance(ARRAYS, ArraySpace)

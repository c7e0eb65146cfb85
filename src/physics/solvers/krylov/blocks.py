"""Blocks of vectors, and the few operations on them that block Lanczos is made of.

Whatever can be combined linearly and has a scalar product has a Krylov space: columns of a matrix
here (`ArraySpace`), tensor networks or operators elsewhere.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from dmftnet.physics.solvers.compiled import compiled

Block = Any
"""Some vectors of a `BlockSpace`; arrays have one a column."""


class BlockSpace(Protocol):
    """What blocks of vectors can do; k, m, p are numbers of vectors."""

    def overlap(self, a: Block, b: Block) -> np.ndarray:
        """(k, m) ``<a_i|b_j>``."""

    def combine(self, block: Block, matrix: np.ndarray) -> Block:
        """``sum_i block_i matrix_ij``, a new block."""

    def without(self, block: Block, other: Block, matrix: np.ndarray) -> Block:
        """``block - other matrix``; may reuse the memory of `block`."""

    def subtract(
        self,
        image: Block,
        block: Block,
        alpha: np.ndarray,
        previous: Block | None,
        back: np.ndarray,
    ) -> tuple[Block, np.ndarray]:
        """``image - block alpha - previous back`` and its overlap with itself, (k, k).

        May reuse the memory of `image`; `previous` is None in the first step.
        """


class ArraySpace:
    """Columns of (n, k) arrays, float64 or complex128; narrow real ones by compiled loops."""

    def overlap(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a.conj().T @ b

    def combine(self, block: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        return (_times if _is_narrow(block) else np.matmul)(block, matrix)

    def without(self, block: np.ndarray, other: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        block -= other @ matrix
        return block

    def subtract(
        self,
        image: np.ndarray,
        block: np.ndarray,
        alpha: np.ndarray,
        previous: np.ndarray | None,
        back: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        if _is_narrow(image):
            previous = np.zeros_like(block) if previous is None else previous
            return image, _subtract(image, block, alpha, previous, np.ascontiguousarray(back))
        image -= block @ alpha
        if previous is not None:
            image -= previous @ back
        return image, image.conj().T @ image


ARRAYS = ArraySpace()


def _is_narrow(block: np.ndarray) -> bool:
    """Real and of one or two columns, as with one orbital: there a general product is overhead."""
    return block.dtype == np.float64 and block.shape[1] <= 2


@compiled
def _subtract(image, block, alpha, previous, back):
    """``image -= block alpha + previous back`` in place; returns ``image^T image``."""
    k, m, p = image.shape[1], block.shape[1], previous.shape[1]
    gram = np.zeros((k, k))
    if k == 2 and m == 2 and p == 2:
        for i in range(image.shape[0]):
            x, y, u, v = block[i, 0], block[i, 1], previous[i, 0], previous[i, 1]
            a = image[i, 0] - x * alpha[0, 0] - y * alpha[1, 0] - u * back[0, 0] - v * back[1, 0]
            b = image[i, 1] - x * alpha[0, 1] - y * alpha[1, 1] - u * back[0, 1] - v * back[1, 1]
            image[i, 0], image[i, 1] = a, b
            gram[0, 0] += a * a
            gram[0, 1] += a * b
            gram[1, 1] += b * b
        gram[1, 0] = gram[0, 1]
        return gram
    if k == 1 and m == 1 and p == 1:
        for i in range(image.shape[0]):
            a = image[i, 0] - block[i, 0] * alpha[0, 0] - previous[i, 0] * back[0, 0]
            image[i, 0] = a
            gram[0, 0] += a * a
        return gram
    for i in range(image.shape[0]):
        for j in range(k):
            for n in range(m):
                image[i, j] -= block[i, n] * alpha[n, j]
            for n in range(p):
                image[i, j] -= previous[i, n] * back[n, j]
        for j in range(k):
            for n in range(k):
                gram[j, n] += image[i, j] * image[i, n]
    return gram


@compiled
def _times(block, matrix):
    """``block @ matrix`` for a tall block, without the overhead of a general product."""
    out = np.empty((block.shape[0], matrix.shape[1]))
    if matrix.shape == (1, 1):
        for i in range(block.shape[0]):
            out[i, 0] = block[i, 0] * matrix[0, 0]
        return out
    if matrix.shape == (2, 2):
        for i in range(block.shape[0]):
            x, y = block[i, 0], block[i, 1]
            out[i, 0] = x * matrix[0, 0] + y * matrix[1, 0]
            out[i, 1] = x * matrix[0, 1] + y * matrix[1, 1]
        return out
    for i in range(block.shape[0]):
        for j in range(matrix.shape[1]):
            total = 0.0
            for n in range(block.shape[1]):
                total += block[i, n] * matrix[n, j]
            out[i, j] = total
    return out

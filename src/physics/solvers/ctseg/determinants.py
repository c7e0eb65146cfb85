"""The inverse of a matrix and its determinant when a row and a column come, go, or change.

``A_ij`` has a row for each annihilator and a column for each creator; `inverse` is ``A^-1``, so its
rows are creators and its columns annihilators. Each ratio of determinants costs one or two
products of the inverse with a vector, each update one of rank one: k^2 operations, k the order.
Rounding accumulates over updates; `refreshed` recomputes the inverse and says how far it was off.

Reference: A. N. Rubtsov, V. V. Savkin, A. I. Lichtenstein, PRB 72, 035122 (2005), appendix.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.solvers.compiled import compiled

TINY_PIVOT = 1e-40
"""Of the largest element of a matrix: far below rounding, and far from the end of the exponents."""


@compiled
def grown_ratio(inverse, k, column, row, corner, by_column):
    """``det A' / det A`` with a further column and row, both in last place.

    Parameters
    ----------
    inverse : (>= k, >= k) float64
    column, row : (>= k,) float64
        ``A'_i,new`` and ``A'_new,j``.
    corner : float
        ``A'_new,new``.
    by_column : (>= k,) float64
        Takes ``A^-1 column``, which `grow` needs.
    """
    ratio = corner
    for j in range(k):
        total = 0.0
        for i in range(k):
            total += inverse[j, i] * column[i]
        by_column[j] = total
        ratio -= row[j] * total
    return ratio


@compiled
def grow(inverse, k, place, row, by_column, by_row, ratio):
    """Put a new creator and annihilator at ``place = (creator, annihilator)``.

    Parameters
    ----------
    inverse : (> k, > k) float64
        Changed.
    row, by_column : (>= k,) float64
        See `grown_ratio`.
    by_row : (>= k,) float64
        Scratch.
    ratio : float
        That of `grown_ratio`.
    """
    creator, annihilator = place
    for i in range(k):
        total = 0.0
        for j in range(k):
            total += row[j] * inverse[j, i]
        by_row[i] = total / ratio
    for j in range(k - 1, -1, -1):  # downwards, since entries move up in place
        to = j + (j >= creator)
        for i in range(k - 1, -1, -1):
            inverse[to, i + (i >= annihilator)] = inverse[j, i] + by_column[j] * by_row[i]
    for j in range(k):
        inverse[j + (j >= creator), annihilator] = -by_column[j] / ratio
        inverse[creator, j + (j >= annihilator)] = -by_row[j]
    inverse[creator, annihilator] = 1 / ratio


@compiled
def shrink(inverse, k, place):
    """Take out a creator and an annihilator; the ratio of determinants was ``inverse[place]``."""
    creator, annihilator = place
    corner = inverse[creator, annihilator]
    for j in range(k):
        if j != creator:
            share = inverse[j, annihilator] / corner
            for i in range(k):
                if i != annihilator:
                    inverse[j, i] -= share * inverse[creator, i]
    for j in range(k):
        if j != creator:
            for i in range(k):
                if i != annihilator:
                    inverse[j - (j > creator), i - (i > annihilator)] = inverse[j, i]


@compiled
def row_ratio(inverse, k, annihilator, row):
    """``det A' / det A`` with another row ``A'_ij`` of one annihilator."""
    ratio = 0.0
    for j in range(k):
        ratio += row[j] * inverse[j, annihilator]
    return ratio


@compiled
def replace_row(inverse, k, annihilator, row, ratio):
    """Put that row in."""
    for i in range(k):
        if i == annihilator:
            continue
        share = 0.0
        for j in range(k):
            share += row[j] * inverse[j, i]
        share /= ratio
        for j in range(k):
            inverse[j, i] -= share * inverse[j, annihilator]
    for j in range(k):
        inverse[j, annihilator] /= ratio


@compiled
def column_ratio(inverse, k, creator, column):
    """``det A' / det A`` with another column ``A'_ij`` of one creator."""
    ratio = 0.0
    for i in range(k):
        ratio += inverse[creator, i] * column[i]
    return ratio


@compiled
def replace_column(inverse, k, creator, column, ratio):
    """Put that column in."""
    for j in range(k):
        if j == creator:
            continue
        share = 0.0
        for i in range(k):
            share += inverse[j, i] * column[i]
        share /= ratio
        for i in range(k):
            inverse[j, i] -= share * inverse[creator, i]
    for i in range(k):
        inverse[creator, i] /= ratio


@compiled
def turn(values, k, step):
    """Move entries by one place around a circle, ``step = 1`` to higher places or -1."""
    if step > 0:
        last = values[k - 1]
        for i in range(k - 1, 0, -1):
            values[i] = values[i - 1]
        values[0] = last
    else:
        first = values[0]
        for i in range(k - 1):
            values[i] = values[i + 1]
        values[k - 1] = first


@compiled
def refreshed(inverse, matrix, k):
    """Put ``matrix^-1`` in place of the inverse; the largest relative change.

    Parameters
    ----------
    inverse : (>= k, >= k) float64
        Changed.
    matrix : (k, k) float64
    """
    exact = np.linalg.inv(matrix)
    change, size = 0.0, 0.0
    for j in range(k):
        for i in range(k):
            change = max(change, abs(exact[j, i] - inverse[j, i]))
            size = max(size, abs(exact[j, i]))
            inverse[j, i] = exact[j, i]
    return change / size


@compiled
def adjugate(matrix, k, columns):
    """``det A``; ``adj A = det A A^-1`` goes to columns, also where A is singular.

    By an LU decomposition with row exchanges, in which a pivot that is rounding is set to
    `TINY_PIVOT` of the largest element: both are those of a matrix that differs from A by rounding.

    Parameters
    ----------
    matrix : (k, k) float64
        Its decomposition on return.
    columns : (>= k, >= k) float64
        Changed.
    """
    largest = 0.0
    for i in range(k):
        for j in range(k):
            largest = max(largest, abs(matrix[i, j]))
            columns[i, j] = 1.0 if i == j else 0.0
    least, determinant = TINY_PIVOT * largest, 1.0
    if k > 0 and largest == 0:
        columns[:k, :k] = 1.0 if k == 1 else 0.0
        return 0.0
    for c in range(k):
        best = c
        for i in range(c + 1, k):
            if abs(matrix[i, c]) > abs(matrix[best, c]):
                best = i
        if best != c:
            determinant = -determinant
            for j in range(k):
                matrix[c, j], matrix[best, j] = matrix[best, j], matrix[c, j]
                columns[c, j], columns[best, j] = columns[best, j], columns[c, j]
        if abs(matrix[c, c]) < least:
            matrix[c, c] = least
        pivot = matrix[c, c]
        determinant *= pivot
        for i in range(c + 1, k):
            share = matrix[i, c] / pivot
            if share != 0:
                for j in range(c + 1, k):
                    matrix[i, j] -= share * matrix[c, j]
                for j in range(k):
                    columns[i, j] -= share * columns[c, j]
    for c in range(k - 1, -1, -1):
        for j in range(k):
            total = columns[c, j]
            for i in range(c + 1, k):
                total -= matrix[c, i] * columns[i, j]
            columns[c, j] = total / matrix[c, c]
    for i in range(k):
        for j in range(k):
            columns[i, j] *= determinant
    return determinant

"""Non-negative least squares of small, nearly dependent systems, one at a time.

Method
    Lawson and Hanson's active set: the column that the residual points along most enters, the
    least squares of those that are in follow from a QR decomposition that columns join
    (Gram and Schmidt, twice) and leave (Givens rotations); a weight that would turn negative
    leaves at zero. Columns are compared at unit length: some of them first, and all of them where
    none of these would enter, of which those that would are looked at from then on.
Range
    Some dozens of equations and unknowns, in rows of memory. SciPy's routine has no such bounds.
Error
    No column that is out has a projection on the residual above 1e-16 of the goal's length, or the
    residual is rounding. Where columns are nearly dependent, other weights may do as well: what
    they add up to then is that of the best to 2e-8 of the goal, the root of that projection, and to
    rounding where the goal is far from what weights can meet (`tests/physics/test_nonnegative.py`).
Cost
    A microsecond a step at 50 x 80, some 70 steps; compiled. A third of SciPy's.

Reference: C. Lawson, R. Hanson, Solving Least Squares Problems (1974), chapter 23.
"""

from __future__ import annotations

import numpy as np

from dmftnet.physics.solvers.compiled import compiled

TOLERANCE = 1e-16
"""Of the projection of a column of unit length on the residual, over the length of the goal."""

MET = 1e-14
"""Of the residual over the length of the goal: less is rounding, along which no column points."""

INDEPENDENT = 1e-10
"""Least share of a column that those already in do not span."""


@compiled
def nonnegative(columns, goal, max_steps, stride=1, start=0):
    """Weights ``x >= 0`` that minimise ``|sum_j x_j columns_j - goal|``.

    Parameters
    ----------
    columns : (n, m) float64
        Contiguous; each row is a column of the system, none of them zero.
    goal : (m,) float64
    max_steps : int
    stride, start : int
        Columns that are looked at first: every so many, from this one on.

    Returns
    -------
    x : (n,) float64
    ended : bool
        False where `max_steps` were not enough; x is then not the minimum.
    """
    n, m = columns.shape
    length = np.empty(n)
    for j in range(n):
        length[j] = np.sqrt(np.dot(columns[j], columns[j]))
    unit = columns / length.reshape(-1, 1)
    Q, R, c = np.empty((m, m)), np.zeros((m, m)), np.empty(m)  # rows of Q are orthonormal
    inside, x, z = np.empty(m, np.int64), np.zeros(m), np.zeros(m)
    free = np.ones(n, np.bool_)  # neither in, nor refused since the last change
    size = np.sqrt(np.dot(goal, goal))
    least, met = TOLERANCE * size, MET * size
    k, steps, residual = 0, 0, goal.copy()
    looked_at = np.zeros(n, np.bool_)
    looked_at[start::stride] = True
    few = unit[looked_at]
    while k < m and np.sqrt(np.dot(residual, residual)) > met:
        best = _most_along(few, np.flatnonzero(looked_at), residual, free, least)
        if best < 0 and len(few) < n:
            looked_at |= free & (np.dot(unit, residual) > least)
            few = unit[looked_at]
            best = _most_along(few, np.flatnonzero(looked_at), residual, free, least)
        if best < 0:
            break
        free[best] = False
        if not _join(unit[best], Q, R, k):
            continue
        c[k], x[k], inside[k] = np.dot(Q[k], goal), 0.0, best
        k, refused = k + 1, False
        while True:
            steps += 1
            if steps > max_steps:
                return np.zeros(n), False
            _back_substituted(R, c, k, z)
            share, first = 1.0, -1
            for i in range(k):
                if z[i] <= 0 and (first < 0 or x[i] < share * (x[i] - z[i])):
                    share, first = x[i] / (x[i] - z[i]) if x[i] > 0 else 0.0, i
            if first < 0:
                break
            refused = refused or inside[first] == best
            for i in range(k):
                x[i] += share * (z[i] - x[i])
            x[first] = 0.0
            for i in range(k - 1, -1, -1):
                if x[i] <= 0 and z[i] <= 0:
                    if inside[i] != best:
                        free[inside[i]] = True
                    _leave(Q, R, c, i, k)
                    inside[i : k - 1] = inside[i + 1 : k]
                    x[i : k - 1] = x[i + 1 : k]
                    z[i : k - 1] = z[i + 1 : k]
                    k -= 1
        x[:k] = z[:k]
        residual = goal - np.dot(c[:k], Q[:k])
        if not refused:
            free[:] = True
            free[inside[:k]] = False
    found = np.zeros(n)
    for i in range(k):
        found[inside[i]] = x[i] / length[inside[i]]
    return found, True


@compiled
def _most_along(columns, places, residual, free, least):
    """Place of the free column that the residual points along most, beyond `least`; else -1."""
    along = np.dot(columns, residual)
    best, most = -1, least
    for i in range(places.size):
        if free[places[i]] and along[i] > most:
            best, most = places[i], along[i]
    return best


@compiled
def _join(column, Q, R, k):
    """Append a column to ``A = Q^T R``; False where the others span it."""
    rest = column.copy()
    if k:
        shares = np.dot(Q[:k], rest)
        rest -= np.dot(shares, Q[:k])
        again = np.dot(Q[:k], rest)
        rest -= np.dot(again, Q[:k])
        R[:k, k] = shares + again
    left = np.sqrt(np.dot(rest, rest))
    if left < INDEPENDENT:
        return False
    R[k, k] = left
    Q[k] = rest / left
    return True


@compiled
def _leave(Q, R, c, i, k):
    """Take column i of k out of the decomposition."""
    for row in range(k):
        R[row, i : k - 1] = R[row, i + 1 : k]
    for row in range(i, k - 1):
        size = np.hypot(R[row, row], R[row + 1, row])
        cos, sin = R[row, row] / size, R[row + 1, row] / size
        for j in range(row, k - 1):
            upper, lower = R[row, j], R[row + 1, j]
            R[row, j], R[row + 1, j] = cos * upper + sin * lower, cos * lower - sin * upper
        for j in range(Q.shape[1]):
            upper, lower = Q[row, j], Q[row + 1, j]
            Q[row, j], Q[row + 1, j] = cos * upper + sin * lower, cos * lower - sin * upper
        c[row], c[row + 1] = cos * c[row] + sin * c[row + 1], cos * c[row + 1] - sin * c[row]


@compiled
def _back_substituted(R, c, k, z):
    """``R z = c`` of the first k."""
    for i in range(k - 1, -1, -1):
        total = c[i]
        for j in range(i + 1, k):
            total -= R[i, j] * z[j]
        z[i] = total / R[i, i]

"""Matrix-product states as blocks of plain matrices, one for each conserved charge.

The bonds of an impurity's chain are narrow (5 to 50 states), and there the general bookkeeping of a
block-sparse library costs ten times its arithmetic. Here a charge is one integer, the number of
electrons to the left of a bond (up spins, and down spins times `DOWN_UNIT`), and a site's tensor
is a dictionary ``(c, p) -> (n_left(c), n_right(c + q_p))`` with the local states' charges ``q_p``.

Two shapes of a site's tensor, both a matrix for each charge k of a bond:

* left-fused: rows ``(c, p)`` with ``c + q_p = k``, columns the right bond;
* right-fused: rows the left bond, columns ``(p, c)`` with ``c - q_p = k``.
"""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np

DOWN_UNIT = 1 << 12

Fused = dict[int, np.ndarray]
Blocks = dict[tuple[int, int], np.ndarray]


@dataclass(frozen=True)
class Truncation:
    """What a bond may keep.

    Parameters
    ----------
    bond_dimension : int
        At most so many Schmidt values.
    weight : float
        Sum of the squared Schmidt values that may be dropped at each bond, of a normalised state.
    """

    bond_dimension: int
    weight: float

    def kept(self, values: dict[int, np.ndarray]) -> dict[int, int]:
        """How many of each charge's descending singular values to keep; at least one in all."""
        flat = np.sort(np.concatenate(list(values.values())))[::-1]
        total = float(flat @ flat)
        tail = np.cumsum((flat**2)[::-1])[::-1]
        n = int(np.count_nonzero((tail > self.weight * total) & (flat > 1e-14 * np.sqrt(total))))
        n = max(1, min(n, self.bond_dimension))
        return {k: int(np.count_nonzero(s >= flat[n - 1])) for k, s in values.items()}


@dataclass(eq=False)
class BlockState:
    """A matrix-product state.

    Parameters
    ----------
    charges : list of (d,) int64
        Charge of each site's local states.
    tensors : list of dict (c, p) -> (n_left, n_right) array
    """

    charges: list[np.ndarray]
    tensors: list[Blocks]

    @classmethod
    def product(cls, charges: list[np.ndarray], occupied: list[int]) -> BlockState:
        """The product of one local state a site."""
        tensors, total = [], 0
        for q, p in zip(charges, occupied, strict=True):
            tensors.append({(total, p): np.ones((1, 1))})
            total += int(q[p])
        return cls(list(charges), tensors)

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.tensors)

    @property
    def dtype(self) -> np.dtype:
        """Of the matrices."""
        return np.result_type(*(block for blocks in self.tensors for block in blocks.values()))

    def as_complex(self) -> BlockState:
        """A copy with complex matrices."""
        return BlockState(
            list(self.charges),
            [
                {key: b.astype(np.complex128) for key, b in blocks.items()}
                for blocks in self.tensors
            ],
        )

    def dims(self, bond: int) -> dict[int, int]:
        """States of each charge at a bond, 0 .. n_sites; also those that one side alone has."""
        out = {}
        if bond > 0:
            q = self.charges[bond - 1]
            for (c, p), block in self.tensors[bond - 1].items():
                out[c + int(q[p])] = block.shape[1]
        if bond < self.n_sites:
            for (c, _), block in self.tensors[bond].items():
                out[c] = block.shape[0]
        return out

    @property
    def bond_dimensions(self) -> list[int]:
        """Of the inner bonds."""
        return [sum(self.dims(i).values()) for i in range(1, self.n_sites)]

    def copy(self) -> BlockState:
        """Another list of the same (never overwritten) matrices."""
        return BlockState(list(self.charges), [dict(blocks) for blocks in self.tensors])

    def rows(self, site: int) -> dict[int, list[tuple[int, int, int, int]]]:
        """Left-fused index: k -> (c, p, start, stop)."""
        groups: dict[int, list[tuple[int, int, int, int]]] = {}
        for c, n in sorted(self.dims(site).items()):
            for p, q in enumerate(self.charges[site]):
                group = groups.setdefault(c + int(q), [])
                start = group[-1][3] if group else 0
                group.append((c, p, start, start + n))
        return groups

    def columns(self, site: int) -> dict[int, list[tuple[int, int, int, int]]]:
        """Right-fused index: k -> (c, p, start, stop), c the charge of the right bond."""
        groups: dict[int, list[tuple[int, int, int, int]]] = {}
        for c, n in sorted(self.dims(site + 1).items()):
            for p, q in enumerate(self.charges[site]):
                group = groups.setdefault(c - int(q), [])
                start = group[-1][3] if group else 0
                group.append((c, p, start, start + n))
        return groups

    def left_fused(self, site: int) -> Fused:
        """Matrix (rows, right bond) of each charge of the right bond."""
        tensor, out = self.tensors[site], {}
        rows = self.rows(site)
        for k, n in self.dims(site + 1).items():
            if k in rows:
                parts = [
                    tensor[c, p] if (c, p) in tensor else np.zeros((stop - start, n))
                    for c, p, start, stop in rows[k]
                ]
                out[k] = np.concatenate(parts)
        return out

    def right_fused(self, site: int) -> Fused:
        """Matrix (left bond, columns) of each charge of the left bond."""
        tensor, out = self.tensors[site], {}
        columns = self.columns(site)
        for k, n in self.dims(site).items():
            if k in columns:
                parts = [
                    tensor[k, p] if (k, p) in tensor else np.zeros((n, stop - start))
                    for _, p, start, stop in columns[k]
                ]
                out[k] = np.concatenate(parts, axis=1)
        return out

    def set_left_fused(self, site: int, fused: Fused, rows: dict) -> None:
        """Tensor of a site from left-fused matrices."""
        self.tensors[site] = {
            (c, p): fused[k][start:stop] for k in fused for c, p, start, stop in rows[k]
        }

    def set_right_fused(self, site: int, fused: Fused, columns: dict) -> None:
        """Tensor of a site from right-fused matrices."""
        self.tensors[site] = {
            (k, p): fused[k][:, start:stop] for k in fused for _, p, start, stop in columns[k]
        }

    def canonicalise(self, truncation: Truncation) -> None:
        """Right-canonical form with its norm in the first site, bonds cut."""
        for i in range(self.n_sites - 1):  # to the right, exact
            fused, rows = self.left_fused(i), self.rows(i)
            factors = {k: np.linalg.qr(matrix) for k, matrix in fused.items()}
            self.set_left_fused(i, {k: q for k, (q, _) in factors.items()}, rows)
            self.tensors[i + 1] = {
                (c, p): factors[c][1] @ block
                for (c, p), block in self.tensors[i + 1].items()
                if c in factors
            }
        for i in range(self.n_sites - 1, 0, -1):
            columns = self.columns(i)
            u, s, v = truncated(self.right_fused(i), truncation)
            self.set_right_fused(i, v, columns)
            q = self.charges[i - 1]
            self.tensors[i - 1] = {
                (c, p): block @ (u[c + int(q[p])] * s[c + int(q[p])])
                for (c, p), block in self.tensors[i - 1].items()
                if c + int(q[p]) in u
            }

    def norm(self) -> float:
        """Of a state in right-canonical form."""
        return float(np.sqrt(sum(np.vdot(b, b).real for b in self.tensors[0].values())))

    def scaled(self, factor: float) -> BlockState:
        """``factor |psi>``."""
        out = self.copy()
        out.tensors[0] = {key: factor * block for key, block in out.tensors[0].items()}
        return out

    def save(self, group: h5py.Group) -> None:
        """Write into an empty group, numbers only: nothing in it is executed when it is read."""
        blocks = [(i, *key, b) for i, part in enumerate(self.tensors) for key, b in part.items()]
        group["index"] = np.array([(i, c, p, *b.shape) for i, c, p, b in blocks])
        group["values"] = np.concatenate([b.ravel() for *_, b in blocks])
        group["charges"] = np.concatenate(self.charges)
        group["n_local"] = np.array([q.size for q in self.charges])

    @classmethod
    def load(cls, group: h5py.Group) -> BlockState:
        """Read what `save` wrote."""
        n_local, values = group["n_local"][()], group["values"][()]
        charges = np.split(group["charges"][()], np.cumsum(n_local)[:-1])
        tensors: list[Blocks] = [{} for _ in n_local]
        start = 0
        for i, c, p, n, m in group["index"][()].tolist():
            tensors[i][c, p] = values[start : start + n * m].reshape(n, m)
            start += n * m
        return cls(charges, tensors)


def truncated(matrices: Fused, truncation: Truncation) -> tuple[Fused, Fused, Fused]:
    """Singular value decompositions, charge by charge, cut together: (U, s, V)."""
    parts = {k: _svd(m) for k, m in matrices.items() if m.size}
    kept = truncation.kept({k: s for k, (_, s, _) in parts.items()})
    u = {k: parts[k][0][:, :n] for k, n in kept.items() if n}
    s = {k: parts[k][1][:n] for k, n in kept.items() if n}
    v = {k: parts[k][2][:n] for k, n in kept.items() if n}
    return u, s, v


def _svd(matrix: np.ndarray):
    try:
        return np.linalg.svd(matrix, full_matrices=False)
    except np.linalg.LinAlgError:  # divide and conquer fails on rare matrices; the order helps
        u, s, v = np.linalg.svd(matrix[::-1].T, full_matrices=False)
        return v.T[::-1], s, u.T

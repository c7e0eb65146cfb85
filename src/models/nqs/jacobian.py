"""Derivatives of ``log p`` of a batch of determinants, as far as an optimiser needs them.

Sampled natural gradients take the Gram matrix ``J J^T`` and products with J and J^T, never J
itself. A law of one small network a position has a J of outer products (`FactoredJacobian`); of any
other network J is written out (`DenseJacobian`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

Direction = tuple[torch.Tensor, ...]
"""A change of a law's parameters, in the order in which the module has them."""


class Jacobian(Protocol):
    """(n, n_parameters) derivatives of ``log p``."""

    def gram(self) -> torch.Tensor:
        """(n, n) ``J J^T``."""

    def times(self, direction: Direction) -> torch.Tensor:
        """(n,) ``J phi``."""

    def transposed(self, values: torch.Tensor) -> Direction:
        """``J^T v`` of (n,) values."""


BLOCK = 256
"""Rows and columns of a Gram matrix at a time, which stay in the cache."""


@dataclass(frozen=True, eq=False)
class Factors:
    """Derivatives of ``log p`` by the parameters of one position, for a batch.

    ``dW = delta h^T, db = delta, dV = gate x^T, da = gate``.

    Parameters
    ----------
    delta : (n, 4)
        By the logits.
    h : (n, width)
    gate : (n, width)
        By what tanh is taken of.
    x : (n, 2 n_sites)
        Zero from the position on, as V is there.
    """

    delta: torch.Tensor
    h: torch.Tensor
    gate: torch.Tensor
    x: torch.Tensor


@dataclass(frozen=True, eq=False)
class FactoredJacobian:
    """Of ``V, a, W, b``, the factors position by position."""

    factors: Sequence[Factors]

    def gram(self) -> torch.Tensor:
        """See `Jacobian`; block by block, the upper half by symmetry."""
        n = len(self.factors[0].h)
        total = torch.empty(n, n, dtype=self.factors[0].h.dtype)
        blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
        for i, rows in enumerate(blocks):
            for columns in blocks[: i + 1]:
                total[rows, columns] = block = self._block(rows, columns)
                total[columns, rows] = block.T
        return total

    def _block(self, rows: slice, columns: slice) -> torch.Tensor:
        total = torch.zeros(1, dtype=self.factors[0].h.dtype)
        for f in self.factors:
            for left, right in ((f.delta, f.h), (f.gate, f.x)):
                inner = (right[rows] @ right[columns].T).add_(1)  # of the bias: one
                total = torch.addcmul(total, left[rows] @ left[columns].T, inner)
        return total

    def times(self, direction: Direction) -> torch.Tensor:
        """See `Jacobian`."""
        total = torch.zeros_like(self.factors[0].h[:, 0])
        for f, V, a, W, b in zip(self.factors, *direction, strict=True):
            total += (f.delta * (f.h @ W.T + b)).sum(dim=1)
            total += (f.gate * (f.x @ V.T + a)).sum(dim=1)
        return total

    def transposed(self, values: torch.Tensor) -> Direction:
        """See `Jacobian`."""
        v = values[:, None]
        parts = [
            (f.gate.T @ (v * f.x), values @ f.gate, f.delta.T @ (v * f.h), values @ f.delta)
            for f in self.factors
        ]
        return tuple(torch.stack(part) for part in zip(*parts, strict=True))


@dataclass(frozen=True, eq=False)
class DenseJacobian:
    """Derivatives by each parameter, (n, ...) of its own shape."""

    parts: Direction

    @classmethod
    def of(cls, law: torch.nn.Module, states: torch.Tensor, chunk: int = 128) -> DenseJacobian:
        """One gradient a state, `chunk` at a time."""
        parameters = {name: p.detach() for name, p in law.named_parameters()}

        def log_p(values: dict[str, torch.Tensor], state: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(law, values, (state[None],))[0]

        gradient = torch.func.vmap(torch.func.grad(log_p), (None, 0), chunk_size=chunk)
        found = gradient(parameters, states)
        return cls(tuple(found[name] for name in parameters))

    def gram(self) -> torch.Tensor:
        """See `Jacobian`."""
        rows = [part.flatten(1) for part in self.parts]
        return sum(row @ row.T for row in rows[1:]) + rows[0] @ rows[0].T

    def times(self, direction: Direction) -> torch.Tensor:
        """See `Jacobian`."""
        pairs = zip(self.parts, direction, strict=True)
        return torch.stack([part.flatten(1) @ own.flatten() for part, own in pairs]).sum(dim=0)

    def transposed(self, values: torch.Tensor) -> Direction:
        """See `Jacobian`."""
        # in one order of memory: sums of a training that goes on from its file are the same
        return tuple(torch.tensordot(values, part, dims=1).contiguous() for part in self.parts)

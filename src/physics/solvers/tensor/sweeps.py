"""Sweeps over a block state: ground state (two-site DMRG) and evolution (two- and one-site TDVP).

DMRG takes the lowest Lanczos vector of each local problem (`local`); TDVP applies
``exp(-i dz H)`` forwards on two sites and backwards on one, or forwards on one and backwards on the
bond. Every step is a sweep to the right and back, second order in dz.

Two-site steps open a bond only between neighbours, and hops over several sites would be projected
away. So each decomposition may keep directions of ``L_w M`` (or ``M R_w``) outside the kept space,
with Schmidt value zero: the state is unchanged, the next step may use them (subspace expansion;
Hubig et al., PRB 91, 155115 (2015); Yang, White, PRB 102, 094315 (2020)).

References: Haegeman et al., PRB 94, 165116 (2016); Schollwoeck, Ann. Phys. 326, 96 (2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet.physics.solvers.tensor.algebra import BlockOperator
from dmftnet.physics.solvers.tensor.blocks import BlockState, Fused, Truncation, truncated
from dmftnet.physics.solvers.tensor.local import Environment, LocalProblem, exponential, lowest

LANCZOS_MAX = 10  # vectors of a local ground state


@dataclass(frozen=True)
class Expansion:
    """Room for directions outside the kept space.

    Parameters
    ----------
    strength : float
        Of the perturbation: ``dz`` of a step, or an amplitude in DMRG.
    weight : float
        Directions of less than this weight, relative to the state's norm, stay outside.
    at_most : int
        Directions a bond and charge.
    """

    strength: float
    weight: float
    at_most: int


class Sweeper:
    """A state with its environments; the centre stands on the first site between sweeps.

    Parameters
    ----------
    state : BlockState
        Right-canonical; changed in place.
    operator : BlockOperator
    """

    def __init__(self, state: BlockState, operator: BlockOperator):
        self.state, self.operator = state, operator
        self.dtype = state.dtype
        n = state.n_sites
        self.left: list[Environment] = [{}] * (n + 1)
        self.right: list[Environment] = [{}] * (n + 1)
        self.left[0] = {operator.first[0]: {(c, c): np.eye(d) for c, d in state.dims(0).items()}}
        self.right[n] = {operator.last[n]: {(c, c): np.eye(d) for c, d in state.dims(n).items()}}
        for i in range(n - 1, 0, -1):
            self._carry_right(i, state.right_fused(i), self._with_right(i))

    # --- environments -----------------------------------------------------------------------------

    def _with_left(self, i: int) -> Environment:
        """Left environment with site i absorbed, on its left-fused rows."""
        rows = self.state.rows(i)
        at = {(c, p): (k, a, b) for k, group in rows.items() for c, p, a, b in group}
        size = {k: group[-1][3] for k, group in rows.items()}
        return self._absorbed(self.left[i], self.operator.entries[i], at, size, 0)

    def _with_right(self, i: int) -> Environment:
        """Right environment with site i absorbed, on its right-fused columns."""
        columns = self.state.columns(i)
        at = {(c, p): (k, a, b) for k, group in columns.items() for c, p, a, b in group}
        size = {k: group[-1][3] for k, group in columns.items()}
        return self._absorbed(self.right[i + 1], self.operator.entries[i], at, size, 1)

    def _absorbed(self, environment: Environment, entries, at: dict, size: dict, side: int):
        out: Environment = {}
        for entry in entries:
            known = environment.get(entry[side])
            if known is None:
                continue
            p_out, p_in, value = entry[2:]
            target = out.setdefault(entry[1 - side], {})
            for (bra, ket), matrix in known.items():
                if (bra, p_out) not in at or (ket, p_in) not in at:
                    continue
                k_bra, a, b = at[bra, p_out]
                k_ket, c, d = at[ket, p_in]
                block = target.get((k_bra, k_ket))
                if side:  # right environments are stored (ket, bra), to stand behind M
                    a, b, c, d = c, d, a, b
                if block is None:
                    shape = (size[k_ket], size[k_bra]) if side else (size[k_bra], size[k_ket])
                    block = target[k_bra, k_ket] = np.zeros(shape, self.dtype)
                block[a:b, c:d] += value * matrix
        return out

    def _carry_left(self, i: int, fused: Fused, absorbed: Environment) -> None:
        """Left environment of bond i + 1 from the left-canonical tensor of site i."""
        first = self.operator.first[i + 1]
        dagger = {k: A.conj().T for k, A in fused.items()}
        self.left[i + 1] = {
            w: {
                (bra, ket): np.eye(fused[ket].shape[1]) if w == first
                else dagger[bra] @ (X @ fused[ket])
                for (bra, ket), X in blocks.items() if bra in fused and ket in fused
            }
            for w, blocks in absorbed.items()
        }  # fmt: skip

    def _carry_right(self, i: int, fused: Fused, absorbed: Environment) -> None:
        """Right environment of bond i from the right-canonical tensor of site i."""
        last = self.operator.last[i]
        dagger = {k: B.conj().T for k, B in fused.items()}
        self.right[i] = {
            w: {
                (bra, ket): np.eye(fused[ket].shape[0]) if w == last
                else (fused[ket] @ X) @ dagger[bra]
                for (bra, ket), X in blocks.items() if bra in fused and ket in fused
            }
            for w, blocks in absorbed.items()
        }  # fmt: skip

    def _problem(self, left: Environment, right: Environment, bond: int, M: Fused) -> LocalProblem:
        shapes = {k: m.shape for k, m in M.items()}
        return LocalProblem(
            left, right, self.operator.first[bond], self.operator.last[bond], shapes
        )

    # --- sweeps -----------------------------------------------------------------------------------

    def two_site(self, update, truncation: Truncation, expansion: Expansion | None = None) -> None:
        """To the right and back; `update` is called with (problem, M, sign).

        sign +1 for two sites, -1 for the one site that the next pair shares with this one.
        """
        n = self.state.n_sites
        for i in range(n - 1):
            self._pair(i, update, truncation, expansion, to_right=True)
        for i in range(n - 2, -1, -1):
            self._pair(i, update, truncation, expansion, to_right=False)

    def _pair(self, i: int, update, truncation, expansion, to_right: bool) -> None:
        state, n = self.state, self.state.n_sites
        A, B = state.left_fused(i), state.right_fused(i + 1)
        rows, columns = state.rows(i), state.columns(i + 1)
        left, right = self._with_left(i), self._with_right(i + 1)
        M = {
            k: A[k] @ B[k] if k in A and k in B else np.zeros((rows[k][-1][3], columns[k][-1][3]))
            for k in rows.keys() & columns.keys()
        }
        M = dict(sorted(M.items()))
        M = update(self._problem(left, right, i + 1, M), M, 1)
        u, s, v = truncated(M, truncation)
        limit = truncation.bond_dimension
        if to_right:
            centre = {k: s[k][:, None] * v[k] for k in s}
            if expansion is not None:
                u, centre = self._expanded(u, centre, M, left, right, i + 1, expansion, limit)
            state.set_left_fused(i, u, rows)
            state.set_right_fused(i + 1, centre, columns)
            self._carry_left(i, u, left)
            if i < n - 2:
                problem = self._problem(self.left[i + 1], right, i + 1, centre)
                state.set_right_fused(i + 1, update(problem, centre, -1), columns)
            return
        centre = {k: u[k] * s[k] for k in s}
        if expansion is not None:
            turned = {k: x.T for k, x in v.items()}, {k: x.T for k, x in centre.items()}
            mirror = {k: x.T for k, x in M.items()}
            x, y = self._expanded(*turned, mirror, right, left, i + 1, expansion, limit, True)
            v, centre = {k: m.T for k, m in x.items()}, {k: m.T for k, m in y.items()}
        state.set_right_fused(i + 1, v, columns)
        state.set_left_fused(i, centre, rows)
        self._carry_right(i + 1, v, right)
        if i > 0:
            problem = self._problem(left, self.right[i + 1], i + 1, centre)
            state.set_left_fused(i, update(problem, centre, -1), rows)

    def _expanded(self, u, centre, M, left, right, bond, expansion, limit, mirrored=False):
        """Directions of ``L_w M`` outside u, added to u with zeros in the centre."""
        outside: dict[int, list[np.ndarray]] = {}
        local = (self.operator.first[bond], self.operator.last[bond])
        # `local` ones lie within the space of M, or are M itself
        for w in sorted(left.keys() - set(local)):
            for (bra, ket), L in left[w].items():
                if ket not in M:
                    continue
                partner = right.get(w, {}).get((bra, ket))
                reach = 1.0  # of what the other side does not know yet
                if partner is not None:
                    reach = np.linalg.norm(partner) / np.sqrt(max(partner.shape))
                Y = reach * ((L.T if mirrored else L) @ M[ket])
                if bra in u:
                    Y = Y - u[bra] @ (u[bra].conj().T @ Y)
                outside.setdefault(bra, []).append(Y)
        norm = sum(np.vdot(m, m).real for m in M.values())
        least = max(expansion.weight / expansion.strength**2, 1e-20) * norm
        u, centre = dict(u), dict(centre)
        free = limit - sum(matrix.shape[1] for matrix in u.values())
        for k, parts in outside.items():
            gram = sum(Y @ Y.conj().T for Y in parts)
            weights, vectors = np.linalg.eigh(gram)
            new = vectors[:, weights > least]
            new = new[:, max(0, new.shape[1] - min(expansion.at_most, free)) :]
            old = u.get(k, new[:, :0])
            new = np.linalg.qr(np.hstack([old, new]))[0][:, old.shape[1] :]
            free -= new.shape[1]
            if new.shape[1]:
                u[k] = np.hstack([old, new])
                if k in M:
                    zeros = np.zeros((new.shape[1], M[k].shape[1]))
                    centre[k] = np.vstack([centre[k], zeros]) if k in centre else zeros
        return u, centre

    def one_site(self, update) -> None:
        """To the right and back at constant bonds; sign +1 for a site, -1 for a bond."""
        state, n = self.state, self.state.n_sites
        for i in range(n):
            rows, absorbed = state.rows(i), self._with_left(i)
            M = state.left_fused(i)
            M = update(self._problem(absorbed, self.right[i + 1], i + 1, M), M, 1)
            if i == n - 1:
                state.set_left_fused(i, M, rows)
                break
            factors = {k: np.linalg.qr(m) for k, m in M.items()}
            state.set_left_fused(i, {k: q for k, (q, _) in factors.items()}, rows)
            self._carry_left(i, {k: q for k, (q, _) in factors.items()}, absorbed)
            bond = {k: r for k, (_, r) in factors.items()}
            bond = update(self._problem(self.left[i + 1], self.right[i + 1], i + 1, bond), bond, -1)
            state.tensors[i + 1] = {
                (c, p): bond[c] @ block
                for (c, p), block in state.tensors[i + 1].items()
                if c in bond
            }
        for i in range(n - 1, -1, -1):
            columns, absorbed = state.columns(i), self._with_right(i)
            M = state.right_fused(i)
            M = update(self._problem(self.left[i], absorbed, i, M), M, 1)
            if i == 0:
                state.set_right_fused(i, M, columns)
                break
            factors = {k: np.linalg.qr(m.conj().T) for k, m in M.items()}
            unitary = {k: q.conj().T for k, (q, _) in factors.items()}
            state.set_right_fused(i, unitary, columns)
            self._carry_right(i, unitary, absorbed)
            bond = {k: r.conj().T for k, (_, r) in factors.items()}
            bond = update(self._problem(self.left[i], self.right[i], i, bond), bond, -1)
            q = state.charges[i - 1]
            state.tensors[i - 1] = {
                (c, p): block @ bond[c + int(q[p])]
                for (c, p), block in state.tensors[i - 1].items()
                if c + int(q[p]) in bond
            }


def evolve(
    sweeper: Sweeper, dz: complex, tolerance: float, truncation: Truncation | None,
    expansion: Expansion | None = None,
) -> None:  # fmt: skip
    """One step ``exp(-i H dz)`` of TDVP, second order in dz.

    Parameters
    ----------
    truncation : Truncation or None
        Of two-site steps; None: one-site steps at constant bonds.
    """

    def update(problem: LocalProblem, M: Fused, sign: int) -> Fused:
        delta = -0.5j * sign * dz
        return problem.matrices(exponential(problem, problem.flat(M), delta, tolerance))

    if truncation is None:
        sweeper.one_site(update)
    else:
        sweeper.two_site(update, truncation, expansion)


def minimise(
    sweeper: Sweeper, truncation: Truncation, tolerance: float, expansion: Expansion | None
) -> float:
    """One sweep of two-site DMRG to the right and back; the last local energy."""
    energies: list[float] = []

    def update(problem: LocalProblem, M: Fused, sign: int) -> Fused:
        if sign < 0:
            return M
        energy, v = lowest(problem, problem.flat(M), tolerance, LANCZOS_MAX)
        energies.append(energy)
        return problem.matrices(v)

    sweeper.two_site(update, truncation, expansion)
    return energies[-1]

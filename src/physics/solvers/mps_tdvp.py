"""TDVP engines of TeNPy with a faster exponential for small bonds.

Along the chains of an impurity most bonds are narrow: there the charge bookkeeping of a
block-sparse product costs far more than its arithmetic. A local problem with few variables is
therefore written as one dense Hermitian matrix on the entries that the charges allow,

``H[(a'b'), (ab)] = sum_w L_w[a', a] R_w[b, b']``

(L, R: environments with the site's tensors absorbed), and ``exp(delta H) v`` comes from Lanczos
vectors in plain numpy. Wide bonds go the way of TeNPy. Both have the same tolerance.
"""

from __future__ import annotations

import numpy as np
from tenpy.algorithms.mps_common import OneSiteH, TwoSiteH, ZeroSiteH
from tenpy.algorithms.tdvp import SingleSiteTDVPEngine, TwoSiteTDVPEngine
from tenpy.linalg import np_conserved as npc

DENSE_LIMIT = 220  # variables; beyond, block-sparse products are faster


def exponential(H: np.ndarray, v: np.ndarray, delta: complex, tolerance: float) -> np.ndarray:
    """``exp(delta H) v`` of a Hermitian matrix by Lanczos.

    Parameters
    ----------
    H : (n, n) complex128 or float64
    v : (n,) complex128
    delta : complex
    tolerance : float
        Last coefficient of the normalised result in the Krylov basis.
    """
    norm = np.linalg.norm(v)
    if norm == 0:
        return v
    basis = [v / norm]
    diagonal: list[float] = []
    off: list[float] = []
    while True:
        w = H @ basis[-1]
        diagonal.append(float(np.vdot(basis[-1], w).real))
        w = w - diagonal[-1] * basis[-1]
        if off:
            w -= off[-1] * basis[-2]
        beta = float(np.linalg.norm(w))
        k = len(diagonal)
        exhausted = k == len(v) or beta < 1e-13
        if k > 2 or exhausted:
            T = np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
            levels, vectors = np.linalg.eigh(T)
            result = vectors @ (np.exp(delta * levels) * vectors[0])
            if exhausted or abs(result[-1]) < tolerance * np.linalg.norm(result):
                return norm * (result @ np.array(basis))
        off.append(beta)
        basis.append(w / beta)


class _DenseSmallBonds:
    """Mixin for TDVP engines: overrides the local exponential."""

    def _krylov_evolve(self, H, theta, dt):
        labels = theta.get_leg_labels()
        order = _ORDER.get(type(H))
        if order is None or getattr(H, "combine", False):
            return super()._krylov_evolve(H, theta, dt)
        theta = theta.transpose(order)
        allowed = _allowed(theta)
        if len(allowed[0]) > DENSE_LIMIT:
            return super()._krylov_evolve(H, theta.itranspose(labels), dt)
        left, right, n_left = self._environments(H)
        dense = theta.to_ndarray()
        shape = dense.shape
        matrix = dense.reshape(int(np.prod(shape[:n_left])), -1)
        a, b = np.divmod(allowed[0], matrix.shape[1])
        operator = np.zeros((a.size, a.size), dtype=np.result_type(left, right))
        for L_w, R_w in zip(left, right, strict=True):
            operator += L_w[a[:, None], a[None, :]] * R_w[b[None, :], b[:, None]]
        out = np.zeros(dense.size, dtype=np.complex128)
        flat = matrix.reshape(-1)[allowed[0]]
        out[allowed[0]] = exponential(operator, flat, dt, self.lanczos_params["P_tol"])
        result = npc.Array.from_ndarray(
            out.reshape(shape), theta.legs, qtotal=theta.qtotal, labels=order, cutoff=0.0
        )
        return result.itranspose(labels), 0

    def _environments(self, H) -> tuple[np.ndarray, np.ndarray, int]:
        """(w, a', a) left and (w, b, b') right factors, and how many legs of theta stand left."""
        left = H.LP.transpose(["wR", "vR*", "vR"]).to_ndarray()
        right = H.RP.transpose(["wL", "vL", "vL*"]).to_ndarray()
        if isinstance(H, ZeroSiteH):
            return left, right, 1
        left = np.einsum("xab,xwpq->wapbq", left, self._site_tensor(H.i0), optimize=True)
        w, a, p = left.shape[:3]
        left = left.reshape(w, a * p, a * p)
        if isinstance(H, TwoSiteH):
            right = np.einsum("wxpq,xab->wqapb", self._site_tensor(H.i0 + 1), right, optimize=True)
            w, q, b = right.shape[:3]
            right = right.reshape(w, q * b, q * b)
        return left, right, 2

    def _site_tensor(self, i: int) -> np.ndarray:
        """(wL, wR, p, p*) tensor of the MPO, made once."""
        tensors = self.__dict__.setdefault("_site_tensors", {})
        if i not in tensors:
            W = self.env.H.get_W(i)
            tensors[i] = W.transpose(["wL", "wR", "p", "p*"]).to_ndarray()
        return tensors[i]


class TwoSiteEngine(_DenseSmallBonds, TwoSiteTDVPEngine):
    """Two-site TDVP: bonds grow as the truncation asks for."""


class OneSiteEngine(_DenseSmallBonds, SingleSiteTDVPEngine):
    """One-site TDVP: constant bonds."""


_ORDER = {
    TwoSiteH: ["vL", "p0", "p1", "vR"],
    OneSiteH: ["vL", "p0", "vR"],
    ZeroSiteH: ["vL", "vR"],
}


def _allowed(theta: npc.Array) -> tuple[np.ndarray, tuple[int, ...]]:
    """Flat indices of the entries whose charges add up to the state's, and the shape."""
    total = np.zeros((1, theta.chinfo.qnumber), dtype=np.int64)
    for leg in theta.legs:
        charges = leg.to_qflat() * leg.qconj
        total = (total[:, None, :] + charges[None, :, :]).reshape(-1, theta.chinfo.qnumber)
    return np.flatnonzero(np.all(total == theta.qtotal, axis=1)), theta.shape

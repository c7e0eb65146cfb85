"""From a hybridization spectrum to a discrete bath, and the bath's star, chain and natural forms.

Discretisation cuts the frequency axis into intervals; interval k becomes one bath site with
``V_k^2 = integral_k Gamma`` and ``eps_k`` its centroid, ``Gamma = -Im Delta/pi``. The edges are
equal, or finer near zero (sinh, geometric), where a Kondo resonance needs them. The window
follows the bulk of the hybridization's weight on either side of zero; what lies beyond it goes to
the outermost interval, so the total weight is kept exactly.

Forms of the same bath:

* star: what the discretisation gives;
* chain: Lanczos tridiagonalisation from the impurity's neighbour;
* natural orbitals: the mean-field ground state has exactly one partially filled bath orbital b;
  the other filled (valence) and empty (conduction) orbitals form two chains that start at the
  pair (impurity, b). In this basis a correlated ground state needs very few excitations
  (Lu, Hoeppner, Gunnarsson, Haverkort, PRB 90, 085102 (2014)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, hessenberg
from scipy.optimize import brentq

from dmftnet.errors import InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.poles import PoleSpectrum

SPACINGS = ("equal", "sinh", "geometric")
# A site in a gap carries no weight, yet fixes the particle number of a local moment: this
# "spectator" sits at zero energy with this coupling (in D), far below any weight that matters.
SPECTATOR_COUPLING = 1e-4
# An interval with less than this fraction of the weight gives no site.
NEGLIGIBLE = 1e-6
# A central interval with less counts as a gap: a resonance pinned at its metallic height would be
# over ten times narrower than the interval, far below what the bath resolves. Without this, traces
# of weight at zero would grow in a DMFT loop and turn every Mott insulator into a metal.
GAPPED = 1e-4


@dataclass(frozen=True, eq=False)
class StarBath:
    """Bath sites coupled to the impurity alone.

    Parameters
    ----------
    energies : (n_bath,) float64, in D
    couplings : (n_bath,) float64, in D
        ``V_k >= 0``.
    spectator : bool
        Whether one site stands in a gap at zero energy, there only to fix the particle number.
    """

    energies: np.ndarray
    couplings: np.ndarray
    spectator: bool = False

    @property
    def n_bath(self) -> int:
        """Number of bath sites."""
        return self.energies.size

    def one_body(self, eps_d: float) -> np.ndarray:
        """(n_bath + 1, n_bath + 1) one-body matrix, the impurity first."""
        h = np.diag(np.concatenate([[eps_d], self.energies]))
        h[0, 1:] = h[1:, 0] = self.couplings
        return h

    def hybridization_function(self, z: np.ndarray) -> np.ndarray:
        """``Delta(z) = sum_k V_k^2 / (z - eps_k)`` at complex z; same shape."""
        z = np.asarray(z)
        return (self.couplings**2 / (z[..., None] - self.energies)).sum(axis=-1)

    def gaussian_hybridization(self, omega: np.ndarray, eta: float, slope: float) -> np.ndarray:
        """(n_w,) retarded Delta, each site a Gaussian of width ``eta + slope |E|``, in D."""
        return PoleSpectrum(self.energies, self.couplings**2).gaussian_greens(omega, eta, slope)


@dataclass(frozen=True, eq=False)
class ChainBath:
    """Bath sites in a line: ``hoppings[0]`` couples the impurity to the first.

    Parameters
    ----------
    onsite : (n_bath,) float64, in D
    hoppings : (n_bath,) float64, in D
    """

    onsite: np.ndarray
    hoppings: np.ndarray

    def one_body(self, eps_d: float) -> np.ndarray:
        """(n_bath + 1, n_bath + 1) tridiagonal one-body matrix, the impurity first."""
        return (
            np.diag(np.concatenate([[eps_d], self.onsite]))
            + np.diag(self.hoppings, 1)
            + np.diag(self.hoppings, -1)
        )


@dataclass(frozen=True, eq=False)
class NaturalOrbitalBath:
    """The impurity d, its natural partner b, and the valence and conduction chains.

    Depth 1 is the site next to (d, b). All energies in D; ``n_d`` is the mean-field occupation of
    one spin. The one-body matrix couples d and b to each other and both to the two first sites.

    Parameters
    ----------
    valence, conduction : (n_v,), (n_c,) float64
        On-site energies of the filled and the empty chain.
    valence_hoppings, conduction_hoppings : (n_v - 1,), (n_c - 1,) float64
        Between depth i and i + 1.
    eps_b, t_db : float
        Level of b and its coupling to d.
    t_vd, t_vb, t_cd, t_cb : float
        Couplings of the first chain sites to d and b (zero where a chain is empty).
    n_d : float
        Mean-field occupation of the impurity, one spin.
    n_pairs : int
        Electrons of one spin in the mean-field ground state: ``n_v + 1``.
    """

    valence: np.ndarray
    valence_hoppings: np.ndarray
    conduction: np.ndarray
    conduction_hoppings: np.ndarray
    eps_b: float
    t_db: float
    t_vd: float
    t_vb: float
    t_cd: float
    t_cb: float
    n_d: float
    n_pairs: int

    def one_body(self, eps_d: float) -> np.ndarray:
        """One-body matrix in the order (v_nv .. v_1, d, b, c_1 .. c_nc)."""
        n_v, n_c = self.valence.size, self.conduction.size
        h = np.diag(np.concatenate([self.valence[::-1], [eps_d, self.eps_b], self.conduction]))
        off = np.zeros(n_v + n_c + 1)
        off[: max(n_v - 1, 0)] = self.valence_hoppings[::-1]
        off[n_v] = self.t_db
        off[n_v + 2 :] = self.conduction_hoppings
        h += np.diag(off, 1) + np.diag(off, -1)
        d, b = n_v, n_v + 1
        couplings = []
        if n_v:
            couplings += [(d - 1, d, self.t_vd), (d - 1, b, self.t_vb)]
        if n_c:
            couplings += [(b + 1, d, self.t_cd), (b + 1, b, self.t_cb)]
        for i, j, t in couplings:
            h[i, j] = h[j, i] = t
        return h


def interval_edges(
    n_bath: int,
    window: tuple[float, float],
    spacing: str = "sinh",
    stretch: float = 4.5,
    shift: float = 0.0,
) -> np.ndarray:
    """Edges of the bath intervals.

    Parameters
    ----------
    n_bath : int
    window : (low, high) float, in D
        ``low < 0 < high``.
    spacing : {"equal", "sinh", "geometric"}
    stretch : float
        For "sinh" the argument at the window's end, ``w = W sinh(stretch x) / sinh(stretch)``; for
        "geometric" the natural logarithm of the ratio of the largest to the smallest edge.
    shift : float in [0, 1)
        Moves the edges outward on either side of zero, at the window's ends by this fraction of an
        interval, so that baths of several shifts interleave and a symmetric one stays symmetric.

    Returns
    -------
    (n_bath + 1,) float64, in D, increasing
    """
    low, high = window
    if not low < 0 < high:
        raise InvalidProblemError(f"bath window {window} must contain zero in its inside")
    if n_bath < 2:
        raise InvalidProblemError(f"n_bath = {n_bath}: a bath needs at least 2 sites")
    if not 0 <= shift < 1:
        raise InvalidProblemError(f"bath shift = {shift}: it must lie in [0, 1)")
    x, step = 2 * np.arange(n_bath + 1) / n_bath - 1, 2 / n_bath
    if spacing == "equal":
        edges = low + (high - low) * (x + 1) / 2
        factor = 1 + shift * step
    elif spacing in ("sinh", "geometric"):
        side = np.where(x < 0, -low, high)
        if spacing == "sinh":
            shape = np.sinh(stretch * x) / np.sinh(stretch)
            factor = np.sinh(stretch * (1 + shift * step)) / np.sinh(stretch)
        else:
            inner = 1.0 / n_bath  # half an interval: an odd bath has one interval around zero
            shape = np.sign(x) * np.exp(stretch * (np.abs(x) - 1) / (1 - inner))
            shape[np.abs(x) < 1e-12] = 0.0
            factor = np.exp(stretch * shift * step / (1 - inner))
        edges = side * shape
    else:
        raise InvalidProblemError(
            f"bath spacing '{spacing}' is unknown; use equal, sinh or geometric"
        )
    edges[0], edges[-1] = low, high
    return factor * edges


def weight_window(
    grid: FrequencyGrid, hybridization: np.ndarray, quantile: float = 0.999
) -> tuple[float, float]:
    """Window that leaves ``(1 - quantile)/2`` of the weight outside on either side of zero.

    Between the points of the grid too: edges that snap to them make a step of every small change,
    and a DMFT loop may cycle over it.
    """
    tail = 0.5 * (1 - quantile) * grid.integrate(hybridization)
    low = _quantile(grid, hybridization, tail)
    mirror = FrequencyGrid(-grid.omega[::-1])
    high = -_quantile(mirror, hybridization[::-1], tail)  # the same from the right: keeps symmetry
    floor = 0.05 * max(abs(low), abs(high), 1e-3)  # a bath on one side of zero only
    return min(float(low), -floor), max(float(high), floor)


def _quantile(grid: FrequencyGrid, values: np.ndarray, tail: float) -> float:
    """Where the weight below is `tail`; its growth taken linear in the cell."""
    below = grid.cumulative(values, grid.omega)
    k = max(int(np.argmax(below >= tail)), 1)
    share = (tail - below[k - 1]) / max(below[k] - below[k - 1], 1e-300)
    return float(grid.omega[k - 1] + np.clip(share, 0, 1) * (grid.omega[k] - grid.omega[k - 1]))


def discretise(
    grid: FrequencyGrid,
    hybridization: np.ndarray,
    n_bath: int,
    spacing: str = "sinh",
    stretch: float = 4.5,
    shift: float = 0.0,
    quantile: float = 0.999,
) -> StarBath:
    """Discrete bath of a hybridization spectrum.

    Parameters
    ----------
    grid : FrequencyGrid
    hybridization : (n_w,) float64, in D
        ``-Im Delta / pi >= 0``.
    n_bath : int
        Number of intervals; empty ones give no site, except the one around zero.
    spacing, stretch, shift
        See `interval_edges`.
    quantile : float
        See `weight_window`.

    Returns
    -------
    StarBath
        ``sum V_k^2`` equals the spectrum's integral exactly (up to the spectator in a gap).
    """
    total = grid.integrate(hybridization)
    if total <= 0:
        raise InvalidProblemError(
            "the hybridization spectrum vanishes everywhere; an isolated atom has no bath to "
            "discretise (use solver=hubbard1 or a small finite hybridization)"
        )
    edges = interval_edges(
        n_bath, weight_window(grid, hybridization, quantile), spacing, stretch, shift
    )
    centre = int(np.searchsorted(edges, 0.0, side="right")) - 1
    cuts = np.concatenate([[grid.omega[0]], edges[1:-1], [grid.omega[-1]]])
    weight = np.diff(grid.cumulative(hybridization, cuts))
    first = np.diff(_cumulative_first_moment(grid, hybridization, cuts))
    negligible = weight < NEGLIGIBLE * total
    negligible[centre] = weight[centre] < GAPPED * total
    energies = np.where(
        negligible, 0.5 * (edges[1:] + edges[:-1]), first / np.where(negligible, 1.0, weight)
    )
    couplings = np.sqrt(np.maximum(weight, 0.0))
    keep = ~negligible
    if negligible[centre]:
        energies[centre], couplings[centre], keep[centre] = 0.0, SPECTATOR_COUPLING, True
    return StarBath(energies[keep], couplings[keep], bool(negligible[centre]))


def _cumulative_first_moment(grid: FrequencyGrid, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """``integral_{-inf}^{at} E f(E) dE`` of the piecewise-linear curve, exactly."""
    nodes = np.unique(np.concatenate([grid.omega, at]))
    f = grid.interpolate(values, nodes)
    h, f0, f1, x0 = np.diff(nodes), f[:-1], f[1:], nodes[:-1]
    cell = x0 * h * (f0 + f1) / 2 + h**2 * (f0 / 6 + f1 / 3)
    running = np.concatenate([[0.0], np.cumsum(cell)])
    return running[np.searchsorted(nodes, at)]


def star_to_chain(bath: StarBath) -> ChainBath:
    """The same bath as a chain (Householder tridiagonalisation that keeps the impurity)."""
    diagonal, off = _tridiagonalise(bath.energies, bath.couplings)
    return ChainBath(diagonal, off)


def chain_to_star(chain: ChainBath) -> StarBath:
    """The same bath as a star, by diagonalising the chain."""
    h = np.diag(chain.onsite) + np.diag(chain.hoppings[1:], 1) + np.diag(chain.hoppings[1:], -1)
    energies, vectors = eigh(h)
    return StarBath(energies, np.abs(chain.hoppings[0] * vectors[0]))


def _tridiagonalise(energies: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tridiagonal form of ``diag(energies)`` from a start vector: (diagonal, off-diagonal).

    ``off[0]`` is the start vector's norm. Householder reflections fix the bordering vector, so no
    orthogonality is lost however long the chain.
    """
    n = energies.size
    bordered = np.zeros((n + 1, n + 1))
    bordered[0, 1:] = bordered[1:, 0] = start
    bordered[1:, 1:] = np.diag(energies)
    h = hessenberg(bordered)
    return np.diag(h)[1:].copy(), np.abs(np.diag(h, 1))


@dataclass(frozen=True)
class MeanField:
    """Restricted Hartree-Fock solution of a star impurity at fixed particle number.

    Parameters
    ----------
    n_pairs : int
        Electrons of each spin.
    n_d : float
        Impurity occupation of one spin.
    energy : float, in D
        Total mean-field energy of both spins.
    """

    n_pairs: int
    n_d: float
    energy: float


def mean_field(bath: StarBath, eps_d: float, U: float, n_pairs: int) -> MeanField:
    """Restricted Hartree-Fock at fixed `n_pairs`: ``n_d = <n_d>[eps_d + U n_d]`` by bisection."""

    def occupation(n: float) -> tuple[float, float]:
        levels, C = eigh(bath.one_body(eps_d + U * n))
        return float((C[0, :n_pairs] ** 2).sum()), float(2 * levels[:n_pairs].sum() - U * n**2)

    if U == 0:
        n_d = occupation(0.0)[0]
    else:
        n_d = brentq(lambda n: occupation(n)[0] - n, -1e-9, 1 + 1e-9, xtol=1e-12)
    return MeanField(n_pairs, n_d, occupation(n_d)[1])


def mean_field_ground_state(bath: StarBath, eps_d: float, U: float) -> MeanField:
    """Restricted Hartree-Fock over the particle numbers around the Fermi level; lowest energy."""
    below = int((bath.energies < 0).sum())
    candidates = range(max(1, below - 1), min(bath.n_bath, below + 2) + 1)
    return min((mean_field(bath, eps_d, U, n) for n in candidates), key=lambda state: state.energy)


def natural_orbitals(
    bath: StarBath, eps_d: float, U: float, state: MeanField
) -> NaturalOrbitalBath:
    """Natural-orbital form of a star bath about a mean-field state.

    In the basis of mean-field eigenstates the chain of the filled states is the Lanczos chain that
    starts at the impurity's filled part (the bonding orbital ``B``), that of the empty states at
    its empty part (antibonding, ``A``), and ``d = sqrt(n) B + sqrt(1 - n) A``,
    ``b = sqrt(1 - n) B - sqrt(n) A``. The result is exact for any mean field; a self-consistent one
    makes the fewest excitations necessary.
    """
    levels, C = eigh(bath.one_body(eps_d + U * state.n_d))
    n_pairs = state.n_pairs
    if not 1 <= n_pairs <= bath.n_bath:
        raise InvalidProblemError(
            f"n_pairs = {n_pairs}: {bath.n_bath} bath sites need 1 <= n_pairs <= {bath.n_bath}"
        )
    filled, empty = C[0, :n_pairs], C[0, n_pairs:]
    n_d = float(filled @ filled)
    root, coroot = np.sqrt(n_d), np.linalg.norm(empty)  # 1 - n_d would lose a nearly full impurity
    if root == 0 or coroot == 0:
        states = "filled" if root == 0 else "empty"
        raise InvalidProblemError(
            f"the impurity is decoupled from the bath's {states} states in the mean field; give "
            "the bath sites a finite coupling"
        )
    v_diag, v_off = _tridiagonalise(levels[:n_pairs], filled / root)
    c_diag, c_off = _tridiagonalise(levels[n_pairs:], empty / coroot)
    eps_B, eps_A = v_diag[0], c_diag[0]
    t_v = v_off[1] if v_diag.size > 1 else 0.0
    t_c = c_off[1] if c_diag.size > 1 else 0.0
    return NaturalOrbitalBath(
        valence=v_diag[1:],
        valence_hoppings=v_off[2:],
        conduction=c_diag[1:],
        conduction_hoppings=c_off[2:],
        eps_b=(1 - n_d) * eps_B + n_d * eps_A,
        t_db=root * coroot * (eps_B - eps_A),
        t_vd=t_v * root,
        t_vb=t_v * coroot,
        t_cd=t_c * coroot,
        t_cb=-t_c * root,
        n_d=n_d,
        n_pairs=n_pairs,
    )

"""A trained correction of one orbital, compiled: from inputs to causal answers without torch.

One problem is so small that calling torch costs ten times what there is to compute. Here features,
all members of an ensemble, Dyson's equation and the projection are one compiled routine, problem by
problem, so that no answer depends on what else is in its batch. The formulas are those of
`dmftnet.models.correction.model`, `networks`, `thermal` and `answers`, which training uses;
`tests/models/test_correction_compiled.py` holds the two together.

Range: `CorrectionNetwork`s of one orbital without fixed frequencies, or ensembles of some of one
shape and one contrast. For all other models `compiled_correction` is None, and `answers` does it.
Cost: a fifth of a millisecond for three members. A problem that is its own mirror image to the last
bit has an answer that is, for a third of that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import ConvergenceError
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import (
    LARGEST,
    LARGEST_FEATURE,
    LEAST_CONTRAST,
    CorrectionModel,
)
from dmftnet.models.correction.networks import HIGHEST_SCALE, LOWEST_SCALE, CorrectionNetwork
from dmftnet.models.correction.outputs import NOT_FINITE
from dmftnet.models.correction.thermal import N_MIN, SMALLEST
from dmftnet.physics.analysis.consistent_density import search_densities
from dmftnet.physics.analysis.self_energy_measure import FOUND, NO_MEASURE, nearest_measure
from dmftnet.physics.solvers.compiled import compiled

DIVERGED = -1
"""Beside what becomes of a measure: the network's output is not finite."""


class Network(NamedTuple):
    """Weights of M members, L hidden layers of width W, F features, K components."""

    offset: np.ndarray  # (M, F) float64
    scale: np.ndarray  # (M, F) float64
    first: np.ndarray  # (M, W, F) float32
    first_bias: np.ndarray  # (M, W)
    hidden: np.ndarray  # (M, L - 1, W, W)
    hidden_bias: np.ndarray  # (M, L - 1, W)
    last: np.ndarray  # (M, K + 1, W)
    last_bias: np.ndarray  # (M, K + 1)
    components: np.ndarray  # (M, 2 n_iw, K) float64


class Axis(NamedTuple):
    """Constants of `ThermalDyson` and `SelfEnergyMeasure`, and signs of mirrored features."""

    odd: np.ndarray  # (n_iw,)
    to_density: np.ndarray  # (n_iw,)
    to_tau: np.ndarray  # (n_tau, 2 n_iw)
    quadrature: np.ndarray  # (n_tau,)
    kernel: np.ndarray  # (n_iw, J) complex128
    mirror: np.ndarray  # (F,)


class CompiledAnswers(NamedTuple):
    """Causal answers of B problems, in D.

    ``spread`` is that of `Prediction`, None of a single model; ``doubles`` the double occupancies.
    """

    features: np.ndarray  # (B, F)
    measures: np.ndarray  # (B, J)
    density: np.ndarray  # (B,)
    sigma: np.ndarray  # (B, n_iw) complex128
    greens: np.ndarray  # (B, n_iw) complex128
    doubles: np.ndarray  # (B,)
    spread: np.ndarray | None  # (B,)


class CompiledCorrection:
    """See the module.

    Parameters
    ----------
    members : sequence of CorrectionNetwork
        Of one shape; their weights are taken now, and later changes of them are not seen.
    """

    def __init__(self, members: list[CorrectionNetwork]):
        first = members[0]
        self.base = -1 if first.base is None else first.base
        self.contrast = -1 if first.contrast is None else first.contrast
        self.n_low, self.stride = first.n_low, first.measure.stride
        dyson = first.dyson
        self.axis = Axis(
            *(_array(part) for part in (dyson.odd, dyson.to_density, dyson.to_tau.T)),
            _array(dyson.quadrature),
            np.ascontiguousarray(first.measure.kernel),
            _array(first.mirror),
        )
        layers = [[m for m in member.net if isinstance(m, torch.nn.Linear)] for member in members]

        def stacked(parts, shape=()) -> np.ndarray:
            return np.ascontiguousarray([_array(part) for part in parts]).reshape(-1, *shape)

        width, n_hidden = layers[0][0].out_features, len(layers[0]) - 2
        hidden = [layer for own in layers for layer in own[1:-1]]
        square = (n_hidden, width, width)
        self.network = Network(
            *(stacked([m.get_buffer(name) for m in members], (first.n_features,))
              for name in ("offset", "scale")),
            stacked([own[0].weight for own in layers], (width, first.n_features)),
            stacked([own[0].bias for own in layers], (width,)),
            _float32([layer.weight for layer in hidden]).reshape(len(members), *square),
            _float32([layer.bias for layer in hidden]).reshape(len(members), *square[:2]),
            stacked([own[-1].weight for own in layers], (layers[0][-1].out_features, width)),
            stacked([own[-1].bias for own in layers], (layers[0][-1].out_features,)),
            stacked([m.components.T for m in members], tuple(first.components.T.shape)),
        )  # fmt: skip

    @property
    def scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """(F,) each: offset and scale of the first member's features."""
        return self.network.offset[0], self.network.scale[0]

    def __call__(self, arrays: dict[str, np.ndarray]) -> CompiledAnswers:
        """Answers of a batch.

        Parameters
        ----------
        arrays : mapping
            The inputs of `ThermalBatch` of one orbital.

        Raises
        ------
        ConvergenceError
            If what the network puts out is not finite, or has no positive measure.
        """
        n, n_iw = arrays[Batch.HYBRIDIZATION].shape
        n_nodes, n_features = self.axis.kernel.shape[1], self.axis.mirror.size
        found = CompiledAnswers(
            np.empty((n, n_features)), np.empty((n, n_nodes)), np.empty(n),
            np.empty((n, n_iw), dtype=np.complex128), np.empty((n, n_iw), dtype=np.complex128),
            np.empty(n), np.empty(n),
        )  # fmt: skip
        given = (
            arrays[Batch.U], arrays[Batch.EPS_D], arrays[Batch.BETA], arrays[Batch.HYBRIDIZATION],
            arrays[Batch.SELF_ENERGIES], arrays[Batch.DENSITIES],
        )  # fmt: skip
        roles = self.base, self.contrast, self.n_low, self.stride
        status = _answered(given, self.network, self.axis, roles, found)
        if status != FOUND:
            raise ConvergenceError(NOT_FINITE if status == DIVERGED else NO_MEASURE[status])
        return found if len(self.network.offset) > 1 else found._replace(spread=None)


def compiled_correction(model: CorrectionModel | CorrectionEnsemble) -> CompiledCorrection | None:
    """The compiled form of a model as it is now; None of a kind that has none, see the module."""
    members = list(model.members) if isinstance(model, CorrectionEnsemble) else [model]
    if not all(type(m) is CorrectionNetwork and m.n_orb == 1 and not m.n_fixed for m in members):
        return None
    kinds = {
        (m.base, m.contrast, *(tuple(p.shape) for p in m.state_dict().values())) for m in members
    }
    return CompiledCorrection(members) if len(kinds) == 1 else None


def _array(values: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.detach().cpu().numpy())


def _float32(parts: list[torch.Tensor]) -> np.ndarray:
    return np.array([_array(part) for part in parts], dtype=np.float32)


@compiled
def _answered(given, network, axis, roles, out):
    """Fill the arrays of `out`; what became of the first problem that has no answer."""
    base, _, _, stride = roles
    U, eps_d, beta, delta, sigmas, densities = given
    features, measures, density, sigma, greens, doubles, spread = out
    odd, to_density, to_tau, quadrature, kernel, mirror = axis
    n_members, n_iw = network.offset.shape[0], odd.size
    rows = 1 + n_members  # the mean first
    q = np.empty((rows, n_iw), np.complex128)
    g = np.empty((rows, n_iw), np.complex128)
    bare, dynamic = np.empty_like(q), np.empty_like(q)
    strengths, weights = np.empty(rows), np.empty((rows, n_iw))
    n, slope = np.empty(rows), np.empty(rows)
    for i in range(U.size):
        z = 1j * (np.pi / beta[i]) * odd
        x = features[i]
        unit = _featured(
            U[i], eps_d[i], beta[i], z, delta[i], sigmas[i], densities[i], axis, roles, x
        )
        even = True
        for j in range(mirror.size):
            even = even and (mirror[j] > 0 or x[j] == 0)
        q[0] = 0
        for m in range(n_members):
            _missing(x, even, m, network, mirror, q[1 + m])
            q[1 + m] *= unit
            if base >= 0:
                q[1 + m] += _reduced(U[i], z, sigmas[i, base], densities[i, base])
            q[0] += q[1 + m] / n_members
        if not np.isfinite(q.real + q.imag).all():
            return DIVERGED
        bare[:] = z - eps_d[i] - delta[i]
        strengths[:] = U[i]
        weights[:] = to_density / beta[i]
        for k in range(rows):
            dynamic[k] = U[i] ** 2 * q[k] / z
        search_densities(bare, dynamic, strengths, weights, n, slope)
        for k in range(rows):
            g[k] = 1 / (bare[k] - U[i] * n[k] - dynamic[k] * (n[k] * (1 - n[k])))
        away = 0.0
        for k in range(1, rows):
            away += np.dot(np.abs(_in_tau(g[k] - g[0], beta[i], to_tau)), quadrature)
        spread[i] = away / n_members
        size = np.abs(g[0])
        found, status = nearest_measure(q[0] / z / beta[i], size * size * U[i] ** 2, kernel, stride)
        if status != FOUND:
            return status
        measures[i] = found / found.sum()
        t = np.empty(n_iw, np.complex128)
        for k in range(n_iw):
            real, imag = 0.0, 0.0
            for j in range(found.size):
                real += kernel[k, j].real * measures[i, j]
                imag += kernel[k, j].imag * measures[i, j]
            t[k] = complex(0.0 if even else real, imag)
        dynamic[0] = (U[i] ** 2 * beta[i]) * t
        search_densities(bare[:1], dynamic[:1], strengths[:1], weights[:1], n[:1], slope[:1])
        part = n[0] * (1 - n[0]) * dynamic[0]
        density[i] = n[0]
        sigma[i] = U[i] * n[0] + part
        greens[i] = 1 / (bare[0] - sigma[i])
        product = part * greens[i] / (max(U[i], 1e-12) * beta[i])
        end = to_tau[-1]
        doubles[i] = n[0] ** 2
        for k in range(n_iw):  # at tau = beta
            doubles[i] -= product[k].real * end[k] + product[k].imag * end[n_iw + k]
    return FOUND


@compiled
def _featured(U, eps_d, beta, z, delta, sigmas, densities, axis, roles, out):
    """`CorrectionModel.features` of one problem; the unit of what is missing."""
    odd, to_density = axis.odd, axis.to_density
    base, contrast, n_low, _ = roles
    n_in = densities.size
    curve = 3 + 2 * n_in + (1 if contrast >= 0 else 0)
    out[0], out[1], out[2] = U / 2, eps_d + U / 2, np.log(beta) / 2
    curve = _noted(4.0 * z * delta, curve, n_low, out)
    for a in range(n_in):
        g = 1 / (z - eps_d - delta - sigmas[a])
        own = 0.0
        for k in range(odd.size):
            own += g[k].real / beta * to_density[k]
        out[3 + 2 * a] = 4.0 * own
        out[4 + 2 * a] = 4.0 * (densities[a] - 0.5)
        curve = _noted(_reduced(U, z, sigmas[a], densities[a]), curve, n_low, out)
        curve = _noted(z * g, curve, n_low, out)
    if contrast < 0:
        return 1.0
    change = _reduced(U, z, sigmas[base], densities[base])
    change -= _reduced(U, z, sigmas[contrast], densities[contrast])
    total, size = 0.0, 0.0
    for k in range(odd.size):
        g = 1 / (z[k] - eps_d - delta[k] - sigmas[base, k])
        weight = (abs(g) ** 2 / abs(z[k])) ** 2
        total += weight
        size += weight * abs(change[k]) ** 2
    unit = np.sqrt(size / total + LEAST_CONTRAST**2)
    out[3 + 2 * n_in] = np.log(unit) / 4
    _noted(change / unit, curve, n_low, out)
    return unit


@compiled
def _noted(values, start, n_low, out):
    """Real and imaginary parts of the low frequencies, bounded; where the next begin."""
    for k in range(n_low):
        out[start + k] = min(max(values[k].real, -LARGEST_FEATURE), LARGEST_FEATURE)
        out[start + n_low + k] = min(max(values[k].imag, -LARGEST_FEATURE), LARGEST_FEATURE)
    return start + 2 * n_low


@compiled
def _reduced(U, z, sigma, n):
    """`ThermalDyson.reduced`."""
    n = min(max(n, N_MIN), 1 - N_MIN)
    return z * (sigma - U * n) / max(U**2 * n * (1 - n), SMALLEST)


@compiled
def _missing(features, even, m, network, mirror, out):
    """`CorrectionModel.predicted` by one member: averaged with the mirror image."""
    n_iw = out.size
    here = _curve(features, m, network)
    for k in range(n_iw):
        out[k] = complex(here[k], 0.0 if even else here[n_iw + k])
    if not even:
        there = _curve(features * mirror, m, network)
        for k in range(n_iw):
            out[k] = 0.5 * (out[k] + complex(there[k], -there[n_iw + k]))


@compiled
def _curve(features, m, network):
    """(2 n_iw,) real and imaginary parts of what one network puts out."""
    x = ((features - network.offset[m]) / network.scale[m]).astype(np.float32)
    x = _silu(np.dot(network.first[m], x) + network.first_bias[m])
    for layer in range(network.hidden.shape[1]):
        x = _silu(np.dot(network.hidden[m, layer], x) + network.hidden_bias[m, layer])
    y = (np.dot(network.last[m], x) + network.last_bias[m]).astype(np.float64)
    common = np.exp(min(max(y[-1], LOWEST_SCALE), HIGHEST_SCALE))
    bounded = LARGEST * np.tanh(y[:-1] * common / LARGEST)
    return np.dot(network.components[m], bounded)


@compiled
def _silu(x):
    return x / (np.float32(1.0) + np.exp(-x))


@compiled
def _in_tau(values, beta, to_tau):
    """`ThermalDyson.greens_tau` of one function."""
    n_iw = values.size
    parts = np.empty(2 * n_iw)
    for k in range(n_iw):
        parts[k], parts[n_iw + k] = values[k].real / beta, values[k].imag / beta
    return np.dot(to_tau, parts)

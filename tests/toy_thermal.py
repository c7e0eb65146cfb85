"""Impurities whose G is known exactly: levels coupled to a few levels, Sigma from a measure.

With Delta and Sigma sums of poles, ``G(z) = [z - eps_d - Delta(z) - Sigma(z)]^-1`` is the corner of
the resolvent of one matrix, level and poles in a star: its eigenvalues give G(tau) in closed form.
No physics here is that of the code which it checks.
"""

import numpy as np
import yaml
from scipy.special import expit

from dmftnet.data.jobfile import write_jobs
from dmftnet.data.keys import ThermalModels as Models
from dmftnet.data.keys import ThermalRemarks as Remarks
from dmftnet.data.keys import ThermalSamples as Samples
from dmftnet.data.keys import arrays_of
from dmftnet.data.thermal import SCHEMA, VERSION
from dmftnet.data.thermal_arrays import ThermalArrays

SIZE, ACCURACY = 1600.0, 1e-7
INPUTS = ("crude", "fair")


def star(level, energies, weights):
    """Poles and weights of ``[z - level - sum_k w_k / (z - e_k)]^-1``."""
    n = len(energies) + 1
    matrix = np.diag(np.concatenate([[level], energies]))
    matrix[0, 1:] = matrix[1:, 0] = np.sqrt(weights)
    poles, vectors = np.linalg.eigh(matrix)
    assert poles.size == n
    return poles, vectors[0] ** 2


def poles_of(U, eps_d, levels, couplings, nodes, measure, n):
    """Poles and weights of G at a density n of one spin; energies in D."""
    dynamic = U**2 * n * (1 - n) * measure
    energies, weights = np.concatenate([levels, nodes]), np.concatenate([couplings**2, dynamic])
    return star(eps_d + U * n, energies, weights)


def surplus_of(n, beta, **problem):
    """The density of G[n] less n."""
    poles, weights = poles_of(n=n, **problem)
    return weights @ expit(-beta * poles) - n


def bisected(beta, **problem):
    """The root of `surplus_of`, by halving."""
    low, high = 0.0, 1.0
    for _ in range(50):
        n = 0.5 * (low + high)
        low, high = (n, high) if surplus_of(n, beta, **problem) > 0 else (low, n)
    return n


def pole_sum(poles, weights, z):
    """(..., n) ``sum_k w_k / (z - e_k)``."""
    return (weights / (np.asarray(z)[..., None] - poles)).sum(-1)


def random_arrays(n, odd, seed=0):
    """Four bath levels, Sigma of three poles; approximations of it that lack something smooth.

    Parameters
    ----------
    odd : (n_iw,) odd integers of the axis.
    """
    rng = np.random.default_rng(seed)
    samples = [_sample(rng, np.asarray(odd)) for _ in range(n)]
    columns = {name: np.array([sample[name] for sample in samples]) for name in samples[0]}
    return ThermalArrays(**columns, model=np.arange(n, dtype=np.int64))


def _sample(rng, odd):
    U, beta = rng.uniform(1, 3), rng.choice([5.0, 10.0, 20.0])
    eps_d = -U / 2 + rng.uniform(-0.3, 0.3)
    levels, couplings = rng.uniform(-1, 1, 4), np.sqrt(0.25 * rng.dirichlet(np.ones(4) * 3))
    problem = {"U": U, "eps_d": eps_d, "levels": levels, "couplings": couplings}
    z = 1j * np.pi / beta * odd
    found = [_answer(problem, beta, z, quality) for quality in (0.5, 0.8, 1.0)]
    *others, (sigma, density) = found
    return {
        "U": U,
        "eps_d": eps_d,
        "beta": beta,
        "hybridization": pole_sum(levels, couplings**2, z),
        "self_energies": np.array([other[0] for other in others]),
        "densities": np.array([other[1] for other in others]),
        "self_energy": sigma,
        "density": density,
        "double_occupancy": density**2 / 2,
    }


def _answer(problem, beta, z, quality):
    """Sigma at z and the density; quality one is exact, less has less of a central pole."""
    U, asymmetry = problem["U"], problem["eps_d"] / problem["U"] + 0.5
    width = 0.6 + 0.4 * U + (problem["levels"] ** 2) @ problem["couplings"] ** 2
    central = quality / (1 + U)
    sides = (1 - central) * (0.5 + 0.3 * quality * asymmetry * np.array([-1, 1]))
    nodes = np.array([-width, 0.3 * asymmetry, width])
    measure = np.array([sides[0], central, sides[1]])
    density = bisected(beta, nodes=nodes, measure=measure, **problem)
    dynamic = U**2 * density * (1 - density) * pole_sum(nodes, measure, z)
    return U * density + dynamic, density


def write_file(path, odd, n_models=24, first_id=0, seed=0, failed=(), size=SIZE, solvers=None):
    """A file of schema ``dmftnet-thermal``, two samples a model; of 4 models one is for
    validation, one for the test.

    Parameters
    ----------
    failed : sequence of (sample, approximation)
        Numbers of approximations that gave no answer.
    solvers : mapping, optional
        Plain configs of those that are said to have made the approximations.
    """
    arrays, n = random_arrays(2 * n_models, odd, seed), 2 * n_models
    missing = np.zeros((n, 2), dtype=bool)
    for sample, approximation in failed:
        missing[sample, approximation] = True
    away = arrays.self_energies - arrays.self_energy[:, None]
    deviation = np.stack([away.real, away.imag], axis=-1)
    deviation[missing] = np.nan
    ids = first_id + np.arange(n_models)
    one, none = np.ones(n), np.full(n, np.nan)
    values = {
        Samples.MODEL: np.repeat(ids, 2),
        Samples.ITERATION: np.tile([0, 1], n_models),
        Samples.U: arrays.U,
        Samples.EPS_D: arrays.eps_d,
        Samples.BETA: arrays.beta,
        Samples.UNIT: one,
        Samples.HYBRIDIZATION: arrays.hybridization,
        Samples.SELF_ENERGY: arrays.self_energy,
        Samples.DENSITY: arrays.density,
        Samples.DOUBLE_OCCUPANCY: arrays.double_occupancy,
        Samples.BEYOND: none,
        Samples.RESIDUAL: none,
        Samples.CHANGE: none,
        Samples.SECONDS: one,
        Samples.DEVIATION: deviation,
        Samples.DENSITIES: np.where(missing, np.nan, arrays.densities),
        Samples.DOUBLES: np.where(missing, np.nan, arrays.densities**2 / 2),
        Samples.TIMES: np.ones((n, 2)),
        Models.ID: ids,
        Models.ORIGIN: np.zeros(n_models),
        Models.SPLIT: np.array([0, 0, 1, 2])[np.arange(n_models) % 4],
        Models.BLOCK: np.full(n_models, -1),
        Models.STATUS: np.zeros(n_models),
        Models.N_SAMPLES: np.full(n_models, 2),
        Remarks.MODEL: np.array([0])[:0],
        Remarks.TEXT: np.array(["x"])[:0],
    }
    keys = [key for group in (Samples, Models, Remarks) for key in arrays_of(group)]
    columns = {
        key: values[key] if key.dtype == "str" else values[key].astype(key.dtype)
        for key in keys
        if key in values
    }
    attributes = {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "complete": True,
        "approximations": list(INPUTS),
        "axis_size": size,
        "axis_accuracy": ACCURACY,
    }
    if solvers is not None:
        attributes["config"] = yaml.safe_dump({"sampling": {"approximations": solvers}})
    write_jobs(path, attributes, np.asarray(odd, dtype=float), {0: columns})
    return path

"""Every array of data files and batches: name, type, shape, unit, meaning.

``python -m dmftnet.data.keys`` prints docs/arrays.md, which holds those of solutions too. Whoever
writes or reads an array names it by its key; files are checked against their `SCHEMAS` both times.
"""

from __future__ import annotations

from dmftnet.arrays import ArrayKey, table
from dmftnet.data.loop_keys import ThermalLoops
from dmftnet.data.thermal_keys import ThermalBatch, Witness
from dmftnet.physics.dmft.files import SOLUTION

STARTS = ("metal", "insulator", "random", "quasiparticle", "agnostic", "collected")
"""Kinds of starting hybridization by the integer code that files store; the last is never drawn
(`dmftnet.data.plans.collected`)."""

SPLITS = ("train", "val", "test")
"""Names by the integer code that files store."""

STATUS = ("finished", "norm", "sector", "filling", "failed")
"""Why a trajectory ended: all its iterations; or the next solve was dropped because the norm was
off by more than 2 %, the particle sector was not the ground state's, the filling of the ground
state and of the poles disagreed, or the solver raised an error."""

KINDS = ("point", "path", "filling")
"""What a row of reference solutions is, by the integer code that files store."""

SEVERAL = "n_orb"
"""Attribute of thermal files: number of degenerate orbitals, one where it is missing."""

ORIGINS = ("random", "loop", "spectrum")
"""Where a problem at finite temperature comes from, by the integer code that files store: a random
discrete bath, a DMFT loop, a random continuous bath."""

THERMAL_STATUS = ("finished", "beyond", "failed")
"""How a thermal model ended: in order; the next solve was dropped because weight of G lies above
the axis, or because the exact solver raised an error."""


def _codes(names: tuple[str, ...]) -> tuple[int, int]:
    return 0, len(names) - 1


OMEGA = ArrayKey("grid/omega", "f8", ("n_w",), "D", "frequencies of every curve of the file")
ODD = ArrayKey(
    OMEGA, "f8", ("n_iw",), "pi/beta", "odd integers 2n + 1, of all Matsubara frequencies"
)
JOBS = ArrayKey("rows/id", "i8", ("n_job",), "", "ids of the jobs, whose rows follow in this order")


def rows_of(group: str) -> str:
    """Name of the array with the number of rows that each job has in a group."""
    return f"{JOBS.rpartition('/')[0]}/{group}"


class Poles:
    """Poles of all solves of a file, one after the other."""

    ENERGIES = ArrayKey("poles/energies", "f4", ("n_pole",), "D", "E > 0 addition, E < 0 removal")
    AMPLITUDES = ArrayKey(
        "poles/amplitudes", "f4", ("n_pole", 2), "1, D",
        "a_d, a_q of a pole, whose weight is a_d^2 in G, a_d a_q in F, a_q^2 in I",
    )  # fmt: skip


class Samples:
    """One row a solve."""

    TRAJECTORY = ArrayKey("samples/trajectory", "i4", ("n",), "", "id of the trajectory")
    ITERATION = ArrayKey("samples/iteration", "i4", ("n",), "", "of the DMFT loop, from 0")
    U = ArrayKey("samples/U", "f8", ("n",), "D", "interaction")
    EPS_D = ArrayKey("samples/eps_d", "f8", ("n",), "D", "level")
    FILLING = ArrayKey("samples/filling", "f8", ("n",), "", "exact, both spins")
    DOUBLE_OCCUPANCY = ArrayKey("samples/double_occupancy", "f8", ("n",), "", "exact")
    START = ArrayKey(
        "samples/start", "i4", ("n",), "", f"start of the trajectory: {', '.join(STARTS)}",
        limits=_codes(STARTS),
    )  # fmt: skip
    BROADENING = ArrayKey(
        "samples/broadening", "f8", ("n", 2), "D, 1",
        "eta, slope: Gaussian width eta + slope abs(E) of the poles in Sigma",
    )  # fmt: skip
    HYBRIDIZATION = ArrayKey("samples/hybridization", "f4", ("n", "n_w"), "D", "-Im Delta / pi")
    N_POLES = ArrayKey("samples/n_poles", "i8", ("n",), "", "poles of the solve")
    POLE_OFFSETS = ArrayKey(
        "samples/pole_offsets", "i8", ("n + 1",), "",
        "sample s owns the poles from offset s to offset s + 1",
    )  # fmt: skip


class Trajectories:
    """One row a trajectory, also where it gave no sample."""

    ID = ArrayKey("trajectories/id", "i4", ("n_job",), "", "every trajectory that was run")
    SPLIT = ArrayKey(
        "trajectories/split", "i4", ("n_job",), "", ", ".join(SPLITS), limits=_codes(SPLITS)
    )
    STATUS = ArrayKey(
        "trajectories/status", "i4", ("n_job",), "", f"why it ended: {', '.join(STATUS)}",
        limits=_codes(STATUS),
    )  # fmt: skip
    START = ArrayKey("trajectories/start", "i4", ("n_job",), "", "as of samples", optional=True)
    U = ArrayKey("trajectories/U", "f8", ("n_job",), "D", "interaction", optional=True)
    EPS_D = ArrayKey("trajectories/eps_d", "f8", ("n_job",), "D", "level", optional=True)
    MIXING = ArrayKey("trajectories/mixing", "f8", ("n_job",), "", "of the loop", optional=True)
    N_SAMPLES = ArrayKey("trajectories/n_samples", "i4", ("n_job",), "", "samples that it gave")
    MESSAGE = ArrayKey(
        "trajectories/message", "str", ("n_job",), "", "the error where the status is failed",
        optional=True,
    )  # fmt: skip


class References:
    """One row a converged loop of an exact solver."""

    KIND = ArrayKey(
        "references/kind", "i4", ("n",), "",
        "an independent loop, a step of a path in U, the end of a filling search: "
        + ", ".join(KINDS),
        limits=_codes(KINDS),
    )  # fmt: skip
    SERIES = ArrayKey("references/series", "i4", ("n",), "", "number of the series in the config")
    LATTICE = ArrayKey("references/lattice", "str", ("n",), "", "its name")
    U = ArrayKey("references/U", "f8", ("n",), "D", "interaction")
    EPS_D = ArrayKey("references/eps_d", "f8", ("n",), "D", "level")
    START = ArrayKey(
        "references/start", "i4", ("n",), "",
        f"{', '.join(STARTS[:2])}; of a path, the branch that it follows", limits=(0, 1),
    )  # fmt: skip
    TARGET = ArrayKey(
        "references/target", "f8", ("n",), "", "filling that was searched for, else NaN", nan=True
    )
    CONVERGED = ArrayKey(
        "references/converged", "i4", ("n",), "",
        "0 also where the solution is neither metal nor insulator", limits=(0, 1),
    )  # fmt: skip
    ITERATIONS = ArrayKey("references/iterations", "i4", ("n",), "", "of the (last) loop")
    STATUS = ArrayKey(
        "references/status", "i4", ("n",), "", f"of the last solve: {', '.join(STATUS)}",
        limits=_codes(STATUS),
    )  # fmt: skip
    FILLING = ArrayKey("references/filling", "f8", ("n",), "", "exact, both spins")
    DOUBLE_OCCUPANCY = ArrayKey("references/double_occupancy", "f8", ("n",), "", "exact")
    A0 = ArrayKey("references/A0", "f8", ("n",), "1/D", "A(0)")
    GAP = ArrayKey("references/gap", "f8", ("n",), "D", "of the spectrum")
    KL_LAST = ArrayKey(
        "references/kl_last", "f8", ("n",), "", "of the last iteration's spectrum and the one "
        "before, infinite where it was the first", nan=True, optional=True,
    )  # fmt: skip
    HYBRIDIZATION = ArrayKey("references/hybridization", "f4", ("n", "n_w"), "D", "-Im Delta / pi")
    SPECTRUM = ArrayKey("references/spectrum", "f4", ("n", "n_w"), "1/D", "A(w) of one spin")
    SELF_ENERGY = ArrayKey("references/self_energy", "c8", ("n", "n_w"), "D", "retarded Sigma(w)")
    REASON = ArrayKey("references/reason", "str", ("n",), "", "why it ended", optional=True)


class Problems:
    """One row a problem that a learned solver left to the exact one."""

    U = ArrayKey("problems/U", "f8", ("n",), "D", "interaction")
    EPS_D = ArrayKey("problems/eps_d", "f8", ("n",), "D", "level")
    FILLING = ArrayKey("problems/filling", "f8", ("n",), "", "exact, both spins")
    DOUBLE_OCCUPANCY = ArrayKey("problems/double_occupancy", "f8", ("n",), "", "exact")
    BROADENING = ArrayKey(
        "problems/broadening", "f8", ("n", 2), "D, 1", "eta, slope of the poles in Sigma"
    )
    SECTOR_VERIFIED = ArrayKey(
        "problems/sector_verified", "i4", ("n",), "", "whether the ground state's sector was found"
    )
    AT_RESOLUTION = ArrayKey(
        "problems/at_resolution", "i4", ("n",), "",
        "1: the curve is what the learned solver took; 0: it smoothed it onto its grid first",
        limits=(0, 1),
    )  # fmt: skip
    REASON = ArrayKey(
        "problems/reason", "str", ("n",), "", "why the solver was not trusted", optional=True
    )
    OMEGA = ArrayKey("curves/omega", "f8", ("n_curve",), "D", "grids of the problems in turn")
    HYBRIDIZATION = ArrayKey(
        "curves/hybridization", "f8", ("n_curve",), "D", "-Im Delta / pi on it"
    )
    ENERGIES = ArrayKey(Poles.ENERGIES, "f8", ("n_pole",), "D", Poles.ENERGIES.meaning)
    AMPLITUDES = ArrayKey(Poles.AMPLITUDES, "f8", ("n_pole", 2), "1, D", Poles.AMPLITUDES.meaning)


class ThermalModels:
    """One row a random model, or a trajectory of a DMFT loop, also where it gave no sample."""

    ID = ArrayKey("models/id", "i4", ("n_model",), "", "every one that was drawn")
    ORIGIN = ArrayKey(
        "models/origin", "i4", ("n_model",), "", ", ".join(ORIGINS), limits=_codes(ORIGINS)
    )
    SPLIT = ArrayKey(
        "models/split", "i4", ("n_model",), "", ", ".join(SPLITS), limits=_codes(SPLITS)
    )
    BLOCK = ArrayKey(
        "models/block", "i4", ("n_model",), "",
        "interval of U that shares a split; -1 where splits are by model alone",
    )  # fmt: skip
    STATUS = ArrayKey(
        "models/status", "i4", ("n_model",), "", f"how it ended: {', '.join(THERMAL_STATUS)}",
        limits=_codes(THERMAL_STATUS),
    )  # fmt: skip
    N_SAMPLES = ArrayKey("models/n_samples", "i4", ("n_model",), "", "samples that it gave")


class ThermalRemarks:
    """One row a thing that went wrong."""

    MODEL = ArrayKey("remarks/model", "i4", ("n_remark",), "", "id of the model or trajectory")
    TEXT = ArrayKey(
        "remarks/text", "str", ("n_remark",), "",
        "why it ended early, or why an approximation failed on one of its samples",
    )  # fmt: skip


class ThermalSamples:
    """One row an impurity problem at finite temperature; D = 2 sqrt(weight of Delta)."""

    MODEL = ArrayKey("samples/model", "i4", ("n",), "", "id of the model or trajectory")
    ITERATION = ArrayKey("samples/iteration", "i4", ("n",), "", "of the DMFT loop, from 0")
    U = ArrayKey("samples/U", "f8", ("n",), "D", "interaction")
    J = ArrayKey(
        "samples/J", "f8", ("n",), "D", "Hund's coupling, of several orbitals", optional=True
    )
    EPS_D = ArrayKey("samples/eps_d", "f8", ("n",), "D", "level")
    BETA = ArrayKey("samples/beta", "f8", ("n",), "1/D", "inverse temperature")
    UNIT = ArrayKey("samples/unit", "f8", ("n",), "as drawn", "D where the sample was drawn, in eV")
    BATH_ENERGIES = ArrayKey(
        "samples/bath_energies", "f4", ("n", "n_level"), "D", "levels, of a discrete bath",
        optional=True,
    )  # fmt: skip
    BATH_COUPLINGS = ArrayKey(
        "samples/bath_couplings", "f4", ("n", "n_level"), "D", "their couplings", optional=True
    )
    HYBRIDIZATION = ArrayKey(
        "samples/hybridization", "c8", ("n", "n_iw"), "D", "Delta(i w_n), of a continuous bath",
        optional=True,
    )  # fmt: skip
    SELF_ENERGY = ArrayKey("samples/self_energy", "c8", ("n", "n_iw"), "D", "exact Sigma(i w_n)")
    STRENGTH = ArrayKey(
        "samples/strength", "f8", ("n",), "D^2",
        "exact weight of Sigma - Sigma(inf) over n (1 - n), of several orbitals", optional=True,
    )  # fmt: skip
    DENSITY = ArrayKey("samples/density", "f8", ("n",), "", "exact, one spin and orbital")
    DOUBLE_OCCUPANCY = ArrayKey(
        "samples/double_occupancy", "f8", ("n",), "", "exact, mean over orbitals"
    )
    BEYOND = ArrayKey(
        "samples/beyond", "f4", ("n",), "", "weight of G above the axis' w_max; NaN: not known",
        nan=True,
    )  # fmt: skip
    RESIDUAL = ArrayKey(
        "samples/residual", "f4", ("n",), "",
        "of the fit of bath levels in the exact solve, over the largest Delta; NaN: none", nan=True,
    )  # fmt: skip
    CHANGE = ArrayKey(
        "samples/change", "f4", ("n",), "",
        "of Delta in this iteration of the loop, over its largest value; NaN: no loop", nan=True,
    )  # fmt: skip
    SECONDS = ArrayKey("samples/seconds", "f4", ("n",), "s", "of the exact solve")
    DEVIATION = ArrayKey(
        "samples/deviation", "f2", ("n", "n_approx", "n_iw", 2), "D",
        "Sigma(i w_n) of each approximation less the exact one, real and imaginary part; NaN where "
        "it failed",
        nan=True,
    )  # fmt: skip
    STRENGTHS = ArrayKey(
        "samples/strengths", "f8", ("n", "n_approx"), "D^2",
        "strength of each approximation, of several orbitals", optional=True, nan=True,
    )  # fmt: skip
    MISFIT = ArrayKey(
        "samples/misfit", "f2", ("n", "n_approx", "n_iw", 2), "D",
        "Delta(i w_n) of the levels of each approximation less the given one, real and imaginary "
        "part, of several orbitals", optional=True, nan=True,
    )  # fmt: skip
    DENSITIES = ArrayKey(
        "samples/densities", "f4", ("n", "n_approx"), "", "of each approximation", nan=True
    )
    DOUBLES = ArrayKey(
        "samples/doubles", "f4", ("n", "n_approx"), "", "double occupancies, likewise", nan=True
    )
    TIMES = ArrayKey(
        "samples/times", "f4", ("n", "n_approx"), "s", "of each approximation, failed or not"
    )


class Batch:
    """Tensors of training, validation and test, B samples on the network's grid."""

    HYBRIDIZATION = ArrayKey(
        "hybridization", "f4", ("B", "n_w"), "D", "input: -Im Delta / pi at the data's resolution"
    )
    PARAMS = ArrayKey("params", "f4", ("B", 2), "D", "input: U and eps_d")
    SPECTRUM = ArrayKey(
        "spectrum", "f4", ("B", "n_w"), "1/D", "A(w, 0), for validation and test alone"
    )
    BARE = ArrayKey(
        "bare", "f4", ("B", "n_w"), "1/D", "the same without the resolution's constant part, as "
        "solvers answer",
    )  # fmt: skip
    ROTATED = ArrayKey("rotated", "f4", ("B", "n_angle", "n_w"), "1/D", "label: A(w, alpha)")
    DERIVATIVE = ArrayKey(
        "derivative", "f4", ("B", "n_angle", "n_w"), "1/D", "label: dA(w, alpha)/dalpha"
    )
    FILLING = ArrayKey("filling", "f4", ("B",), "", "exact, both spins")
    TRAJECTORY = ArrayKey(
        "trajectory", "i8", ("B",), "", "id of the DMFT trajectory, unique over all files"
    )
    ITERATION = ArrayKey("iteration", "i8", ("B",), "", "of the DMFT loop, from 0")
    SELF_ENERGY = ArrayKey(
        "self_energy", "f4", ("B", "n_w"), "D",
        "label: -Im Sigma / pi at the data's resolution, where Sigma carries it", optional=True,
    )  # fmt: skip
    CONSISTENT = ArrayKey(
        "consistent", "f4", ("B",), "", "1: it obeys its sum rule and gives the exact filling; "
        "0: not, and the sample is left out", optional=True,
    )  # fmt: skip
    GUESSES = ArrayKey(
        "guesses", "f4", ("B", "n_row", "n_w"), "1/D, D",
        "cheap spectra, -Im Sigma / pi and eps_d + Re Sigma of one; of models that have any",
        optional=True,
    )  # fmt: skip


def arrays_of(*groups: type) -> tuple[ArrayKey, ...]:
    """The keys of these groups, in their order."""
    return tuple(key for g in groups for key in vars(g).values() if isinstance(key, ArrayKey))


LABELS = tuple(key for key in arrays_of(Batch) if key != Batch.GUESSES)
"""What the data module makes; a training adds the guesses."""

OFFSETS: dict[str, str] = {Samples.N_POLES: Samples.POLE_OFFSETS}
"""Arrays of counts, and those of the offsets into the flat arrays that follow from them."""

SCHEMAS = {
    "dmftnet-spectra": (OMEGA, *arrays_of(Samples, Poles, Trajectories)),
    "dmftnet-references": (OMEGA, *arrays_of(References)),
    "dmftnet-collected": arrays_of(Problems),
    "dmftnet-thermal": (ODD, *arrays_of(ThermalModels, ThermalRemarks, ThermalSamples)),
    "dmftnet-witness": (ODD, *arrays_of(Witness)),
    "dmftnet-thermal-loops": (ODD, *arrays_of(ThermalLoops)),
}
"""Arrays of the files of each schema, beside the rows of jobs."""

TITLES = {
    "dmftnet-spectra": "Datasets",
    "dmftnet-references": "Reference solutions",
    "dmftnet-collected": "Collected problems",
    "dmftnet-thermal": "Impurities at finite temperature",
    "dmftnet-witness": "Witnesses of them",
    "dmftnet-thermal-loops": "Reference loops at finite temperature",
}


INTRODUCTION = """# Arrays

Every array of a file or batch; `python -m dmftnet.data.keys` prints this page. Energies are in
units of the half-bandwidth D. Symbols of shapes: `n_w` frequencies, `n_angle` complex-time angles,
`n_orb` orbitals, `n_iw` Matsubara frequencies, `n_approx` approximations, `n_level` bath levels,
`n_model` models, `n_remark` remarks, `n_job` jobs of a file, `n` rows, `n_pole` poles and `n_curve`
points of all rows, `B` samples, `n_row` rows of
guesses, `n_input` approximations that a model reads. Codes count from 0 in the order of the
names."""


def document() -> str:
    """docs/arrays.md."""
    parts = [INTRODUCTION]
    jobs = [JOBS, ArrayKey(rows_of("<group>"), "i8", ("n_job",), "", "rows of each job in a group")]
    for schema, keys in SCHEMAS.items():
        parts += [f"## {TITLES[schema]} (`{schema}`)", table([*keys, *jobs])]
    parts += ["## Solutions (`dmftnet-solution`)", table(SOLUTION)]
    parts += ["## Batches", table(arrays_of(Batch))]
    parts += ["## Batches at finite temperature", table(arrays_of(ThermalBatch))]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(document(), end="")

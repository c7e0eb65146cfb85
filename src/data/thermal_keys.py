"""Arrays of training batches at finite temperature, and of witnesses of thermal files."""

from __future__ import annotations

from dmftnet.arrays import ArrayKey


class Witness:
    """One row a sample of a thermal file, solved by another solver; D is that of the sample."""

    SAMPLE = ArrayKey("witness/sample", "i4", ("n",), "", "row of the sample in the source")
    GREENS = ArrayKey("witness/greens", "c16", ("n", "n_iw"), "1/D", "G(i w_n)")
    GREENS_ERROR = ArrayKey(
        "witness/greens_error", "c16", ("n", "n_iw"), "1/D",
        "its standard error, of real and imaginary part; NaN of a solver without", nan=True,
    )  # fmt: skip
    SELF_ENERGY = ArrayKey("witness/self_energy", "c16", ("n", "n_iw"), "D", "Sigma(i w_n)")
    SELF_ENERGY_ERROR = ArrayKey(
        "witness/self_energy_error", "c16", ("n", "n_iw"), "D", "likewise", nan=True
    )
    TAU_ERROR = ArrayKey(
        "witness/tau_error", "f8", ("n",), "1", "largest standard error of G(tau)", nan=True
    )
    DENSITY = ArrayKey("witness/density", "f8", ("n",), "", "of one spin")
    DENSITY_ERROR = ArrayKey(
        "witness/density_error", "f8", ("n",), "", "its standard error", nan=True
    )
    DOUBLE_OCCUPANCY = ArrayKey("witness/double_occupancy", "f8", ("n",), "", "<n_up n_down>")
    DOUBLE_ERROR = ArrayKey(
        "witness/double_error", "f8", ("n",), "", "its standard error", nan=True
    )
    SECONDS = ArrayKey("witness/seconds", "f4", ("n",), "s", "of the solve")


class ThermalBatch:
    """Tensors of training, validation and test at finite temperature; see `ThermalSamples`."""

    U = ArrayKey("U", "f8", ("B",), "D", "input: interaction")
    J = ArrayKey(
        "J", "f8", ("B",), "D",
        "input: Hund's coupling; of several orbitals alone, as all that is optional", optional=True,
    )  # fmt: skip
    MEAN_FIELD = ArrayKey(
        "mean_field", "f8", ("B",), "D",
        "input: Hartree-Fock self-energy over the density of one spin", optional=True,
    )  # fmt: skip
    SECOND_ORDER = ArrayKey(
        "second_order", "f8", ("B",), "D^2",
        "input: strength without correlations", optional=True,
    )  # fmt: skip
    EPS_D = ArrayKey("eps_d", "f8", ("B",), "D", "input: level")
    BETA = ArrayKey("beta", "f8", ("B",), "1/D", "input: inverse temperature")
    HYBRIDIZATION = ArrayKey("hybridization", "c16", ("B", "n_iw"), "D", "input: Delta(i w_n)")
    SELF_ENERGIES = ArrayKey(
        "self_energies", "c16", ("B", "n_input", "n_iw"), "D", "input: of each approximation"
    )
    DENSITIES = ArrayKey(
        "densities", "f8", ("B", "n_input"), "", "input: of each approximation, one spin"
    )
    STRENGTHS = ArrayKey(
        "strengths", "f8", ("B", "n_input"), "D^2",
        "input: of each approximation, weight of Sigma - Sigma(inf) over n (1 - n)", optional=True,
    )  # fmt: skip
    MISFITS = ArrayKey(
        "misfits", "c16", ("B", "n_input", "n_iw"), "D",
        "input: Delta(i w_n) of the levels of each approximation less the given one", optional=True,
    )  # fmt: skip
    DOUBLES = ArrayKey(
        "doubles", "f8", ("B", "n_input"), "", "input: double occupancy of each approximation",
        optional=True,
    )  # fmt: skip
    SELF_ENERGY = ArrayKey("self_energy", "c16", ("B", "n_iw"), "D", "label: exact Sigma(i w_n)")
    STRENGTH = ArrayKey("strength", "f8", ("B",), "D^2", "label: the exact one's", optional=True)
    DENSITY = ArrayKey(
        "density", "f8", ("B",), "", "label: the exact solver's, one spin and orbital"
    )
    DOUBLE_OCCUPANCY = ArrayKey(
        "double_occupancy", "f8", ("B",), "", "label: likewise, mean over orbitals"
    )
    MODEL = ArrayKey(
        "model", "i8", ("B",), "", "id of the model or trajectory, unique over all files"
    )

"""The cards of what ships, data/README.md and weights/README.md: python tools/cards.py

Every number is read from the files beside them. ``make cards`` runs this.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import yaml

from dmftnet.data.exact_loops import SCHEMA as LOOPS
from dmftnet.data.exact_loops import ReferenceStore
from dmftnet.data.plans.sampling import SPLITS
from dmftnet.data.store import SCHEMA as SPECTRA
from dmftnet.data.store import SpectralStore
from dmftnet.data.thermal import SCHEMA as THERMAL
from dmftnet.data.thermal import WITNESS, ThermalStore, WitnessStore
from dmftnet.data.thermal_labels import BEYOND, COMPARED, PRECISION, by_interval
from dmftnet.data.thermal_loops import SCHEMA as THERMAL_LOOPS
from dmftnet.data.thermal_loops import ThermalLoopStore
from dmftnet.evaluation.thermal_sections import INTERVALS
from dmftnet.models.shipping.correction_card import CORRECTION_CARD
from dmftnet.models.shipping.model_card import card
from dmftnet.models.shipping.network_card import NETWORK_CARD
from dmftnet.models.solvers.network import SHIPPED
from dmftnet.moved import flat_baths
from dmftnet.physics.solvers.krylov.ed import FITTED_LEVELS
from dmftnet.provenance import sha256

ROOT = Path(__file__).resolve().parents[1]
AnyStore = SpectralStore | ReferenceStore | ThermalStore | ThermalLoopStore | WitnessStore

WHAT = {
    "bethe_small": "Bethe lattice, metal, insulator and doped; small enough for a demo",
    "bethe": "Bethe lattice, full size",
    "lattices": "loops on random densities of states",
    "near_half": "the same near half filling",
    "agnostic": "hybridizations of no lattice, a solve each",
    "gap_edge": "Bethe lattice, doped, at the edge of the Mott gap",
    "driven": "what networks met in their own loops at the edge of the Mott gap",
    "driven_metal": "what networks met in their own loops close to the end of the metal",
    "mps": "Bethe lattice, by tensor networks on complex-time contours",
    "bethe_reference": "converged loops, by which settings were chosen",
    "bethe_reference_test": "converged loops, by which nothing was chosen",
    "lattices_reference": "converged loops on lattices by name, by which nothing was chosen",
    "thermal_models": "random Anderson models at finite temperature, four bath levels",
    "thermal_continuous": "continuous baths at finite temperature: Bethe loops, random spectra",
    "thermal_continuous_witness": "some of its samples by quantum Monte Carlo, a continuous bath",
    "thermal_fitted": "continuous baths once more, with baths of five levels that fit them",
    "thermal_driven": "what a correction met in its loops, beta = 15 to 115, likewise",
    "thermal_kanamori": "two degenerate orbitals at finite temperature, three levels an orbital",
    "thermal_kanamori_witness": "some of its test samples by four levels an orbital",
    "thermal_bethe": "converged Bethe loops at beta = 50, U that no training saw",
    "thermal_beta7": "the same at beta = 7, baths of five levels",
    "thermal_beta35": "the same at beta = 35, baths of five levels",
    "thermal_square": "converged loops on the square lattice, baths of five levels",
    "thermal_hypercubic": "the same on the hypercubic lattice",
    "thermal_reference": "converged loops at finite temperature, beta = 20 to 100",
    "thermal_reference_finer": "some of them with seven bath levels",
    "thermal_transition": "converged loops through the Mott transition at beta = 50",
}
"""The files, in the order of the card."""

FRONT = {
    "license": "mit",
    "pretty_name": "dmftnet: exact quantum impurities on the real axis",
    "tags": ["physics", "dmft", "quantum-impurity", "spectral-function"],
}

CARD = """# Data card: exact impurities and DMFT loops

Impurity problems with their exact solutions, {total:.0f} MB of HDF5, on which the networks of this
repository are trained and judged. They come with a clone of the repository, not with the wheel.
One orbital, spin-symmetric, T = 0, real frequencies; energies in units of the half-bandwidth D.

## Impurity solves

{spectra}

Each sample holds U, eps_d, the continuous hybridization on {n_w} frequencies, and the poles and
amplitudes of the answer, not labels: from them follow filling, moments, self-energy and the
spectrum at any complex-time angle. The schema is the table in `src/data/store.py`. Splits are whole
trajectories, recorded in the files. "Dropped" are trajectories that ended early because a solve
failed or was not good enough to keep.

## Closed DMFT loops

{loops}

Curves of the self-consistent solution: hybridization, spectrum, self-energy; at finite temperature
at Matsubara frequencies, without a spectrum. The schemas are tables in `docs/arrays.md`. Loops that
did not converge are marked in the file.

{thermal}## How they were made

{made}

Commands and commits are those on record in the files, beside the full configuration, the seed and
the versions. Solver `ras` works on a discrete bath with a restricted active space, `mps` with
matrix product states (docs/physics.md, docs/tensor_networks.md). The two `driven` files depend on
the networks that drove, those that put out spectra (`weights/` of their commit).

## Limits

- A discrete bath stands for the continuous one; spectra carry a Gaussian broadening, recorded for
  each sample.
- `bethe_small` and `agnostic` are by plain `ras`, which overestimates Z close to the Mott
  transition (benchmarks/z_convergence.py); the other files of `ras` are by `ras_fine`.
- Neighbouring trajectories differ little in U: the test split asks for interpolation.
  `+experiment=[laptop,blocks]` holds out whole intervals of U instead.
- `mps` has a short bath and is there to be interchanged with `ras`, not to train on.

## Checksums

{checksums}

## Licence

MIT, like the code.
"""

THERMAL_SECTION = """## Impurities at finite temperature

{samples}

Samples are impurity problems on the imaginary axis, in units of their own D = 2 sqrt(weight of
Delta): U, eps_d, beta, the bath (levels, or Delta at {n_iw} Matsubara frequencies, the same odd
integers at every temperature), and of the exact solver and of every approximation Sigma(i w_n),
density, double occupancy and seconds. G follows by Dyson's equation with the given Delta. "Dropped"
are models of which a solve failed, or G has weight above the axis. Discrete baths are split by
model; continuous ones by trajectory and by intervals of U at once. The schema is the table in
`docs/arrays.md`; `dmftnet.data.thermal.ThermalStore` reads the files.

Some samples were solved again, to tell how good the answers are:

{witnesses}

Where the second solver tells standard errors, labels are off by so many of them, as a root mean
square: one, if they are right. G is that at the Matsubara frequencies of the axis; errors below
{precision:g}, what a file keeps of G, are left out. Then the largest error of G(tau), and the share
of samples of which any number is off by more than {beyond:g}:

{labels}

How far each approximation is from the exact answer, as the mean of |dG(tau)| over tau:

{approximations}

"""
"""Of the card, where files of this kind ship."""

TAUS = np.linspace(0, 1, 201)
"""Times tau / beta at which approximations are compared."""


weights_card, correction_card = partial(card, NETWORK_CARD), partial(card, CORRECTION_CARD)


def data_card(folder: Path) -> str:
    """The card of a folder of datasets."""
    files = [folder / f"{name}.h5" for name in WHAT]
    stores = [_opened(file) for file in files]
    spectra = [store for store in stores if store.attributes["schema"] == SPECTRA]
    loops = [store for store in stores if store.attributes["schema"] in (LOOPS, THERMAL_LOOPS)]
    header = ["file", "what", "MB", "trajectories", "dropped", "solves", *SPLITS, "U", "filling"]
    columns = ["file", "what", "MB", "loops", "converged", "lattices", "U", "filling"]
    thermal = [store for store in stores if store.attributes["schema"] == THERMAL]
    witnesses = [store for store in stores if store.attributes["schema"] == WITNESS]
    made = [[f"`{store.path.name}`", *_origin(store)] for store in stores]
    body = CARD.format(
        total=sum(file.stat().st_size for file in files) / 1e6,
        n_w=_the_same(store.grid.n_w for store in spectra),
        spectra=_table(header, [_solves(store) for store in spectra]),
        loops=_table(columns, [_loops(store) for store in loops]),
        thermal=_thermal(thermal, witnesses) if thermal else "",
        made=_table(["file", "command", "solver", "sites", "commit"], made),
        checksums=_table(["file", "SHA-256"], [[f"`{f.name}`", f"`{sha256(f)}`"] for f in files]),
    )
    return f"---\n{yaml.safe_dump(FRONT, sort_keys=False)}---\n\n{body}"


def _opened(file: Path) -> AnyStore:
    kinds = {
        "thermal_reference": ThermalLoopStore,
        "thermal_transition": ThermalLoopStore,
        "witness": WitnessStore,
        "reference": ReferenceStore,
        "thermal": ThermalStore,
    }
    kind = next((kind for word, kind in kinds.items() if word in file.name), SpectralStore)
    return kind.open(file)


def _thermal(stores: list[ThermalStore], witnesses: list[WitnessStore]) -> str:
    """The section of files at finite temperature."""
    seen = ["file", "what", "MB", "samples", "of"]
    header = ["file", "what", "MB", "models", "dropped", "samples", *SPLITS, "U", "density", "beta"]
    columns = ["file", "approximation", "median", "worst", "missing", "ms"]
    labels = ["file", "beta", "samples", *COMPARED, "error of G(tau)", f"beyond {BEYOND:g}"]
    return THERMAL_SECTION.format(
        precision=PRECISION,
        beyond=BEYOND,
        labels=_table(labels, [row for witness in witnesses for row in _labels(stores, witness)]),
        n_iw=_the_same(store.odd.size for store in stores),
        samples=_table(header, [_models(store) for store in stores]),
        witnesses=_table(seen, [_witnessed(store) for store in witnesses]),
        approximations=_table(columns, [row for store in stores for row in _approximated(store)]),
    )


def _witnessed(store: WitnessStore) -> list[str]:
    """A row of the table of witnesses."""
    return [*_name(store), str(len(store)), f"`{store.attributes['source']}`"]


def _labels(stores: list[ThermalStore], witness: WitnessStore) -> list[list[str]]:
    """Rows of the table of labels; none of a witness without errors."""
    if np.isnan(witness["tau_error"]).all():
        return []
    source = next(s for s in stores if s.path.name == witness.attributes["source"])
    return [
        [
            f"`{source.path.name}`",
            "{:g} to {:g}".format(*entry["beta"]),
            str(entry["samples"]),
            *(f"{entry['rms'][name]:.2f}" for name in COMPARED),
            f"{entry['tau_error']:.1e}",
            f"{entry['beyond']:.3f}",
        ]
        for entry in by_interval(source, witness, INTERVALS)
    ]


def _models(store: ThermalStore) -> list[str]:
    """A row of their first table."""
    status = store.columns["models/status"]
    counts = [status.size, np.count_nonzero(status), len(store)]
    counts += [store.indices(split).size for split in SPLITS]
    ranges = [f"{store[key].min():.2f} to {store[key].max():.2f}" for key in ("U", "density")]
    beta = f"{store['beta'].min():.3g} to {store['beta'].max():.3g}"
    return [*_name(store), *(f"{n:,}" for n in counts), *ranges, beta]


def _approximated(store: ThermalStore) -> list[list[str]]:
    """Rows of their second table."""
    exact, rows = store.greens_tau(TAUS), []
    rows.append([f"`{store.path.name}`", "exact", "", "", "", f"{_ms(store.seconds())}"])
    for name in store.approximations:
        error = np.trapezoid(np.abs(store.greens_tau(TAUS, name) - exact), TAUS, axis=1)
        missing = np.isnan(error)
        values = [f"{value:.1e}" for value in (np.nanmedian(error), np.nanmax(error))]
        seconds = _ms(store.seconds(name)[~missing])
        rows.append([f"`{store.path.name}`", name, *values, f"{missing.sum():,}", seconds])
    return rows


def _ms(seconds: np.ndarray) -> str:
    return f"{1e3 * np.median(seconds):.3g}"


def _solves(store: SpectralStore) -> list[str]:
    """A row of the first table."""
    status = store.columns["trajectories/status"]
    counts = [status.size, np.count_nonzero(status), len(store)]
    counts += [store.indices(split).size for split in SPLITS]
    return [*_name(store), *(f"{n:,}" for n in counts), *_ranges(store)]


def _loops(store: ReferenceStore | ThermalLoopStore) -> list[str]:
    """A row of the second table."""
    counts = [len(store), np.count_nonzero(store["converged"])]
    lattices = "bethe"
    if isinstance(store, ReferenceStore):
        lattices = ", ".join(sorted(set(map(str, store["lattice"]))))
    return [*_name(store), *map(str, counts), lattices, *_ranges(store)]


def _name(store: AnyStore) -> list[str]:
    size = store.path.stat().st_size / 1e6
    return [f"`{store.path.name}`", WHAT[store.path.stem], f"{size:.1f}"]


def _ranges(store: SpectralStore | ReferenceStore | ThermalLoopStore) -> list[str]:
    return [f"{store[key].min():.2f} to {store[key].max():.2f}" for key in ("U", "filling")]


def _origin(store: AnyStore) -> list[str]:
    """Command, solver, bath sites and commit on record."""
    solver = flat_baths(yaml.safe_load(store.attributes["config"])["solver"])
    commit = yaml.safe_load(store.attributes["provenance"])["commit"]
    name = solver["_target_"].rpartition(".")[2].removesuffix("Solver").lower()
    return [f"`{store.attributes['command']}`", name, _sites(store, solver), commit[:12]]


def _sites(store: AnyStore, solver: dict) -> str:
    """Bath sites of the solver that made a file; a dash for a continuous bath."""
    if isinstance(store, SpectralStore | ReferenceStore):
        return str(solver["n_bath"])
    if isinstance(store, ThermalStore) and store.is_discrete:
        return str(store["bath_energies"].shape[1])
    if "fit" not in solver:
        return "–"
    n_orb = store.n_orb if isinstance(store, ThermalStore) else 1
    return str(solver["fit"]["n_bath"] or FITTED_LEVELS[n_orb])


def _the_same(values) -> int:
    (value,) = set(values)
    return value


def _table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


if __name__ == "__main__":
    cards = {"data": data_card}
    for name in SHIPPED:
        cards[f"weights/{name}"] = weights_card
    for folder in sorted((ROOT / "weights").glob("correction*")):
        cards[f"weights/{folder.name}"] = correction_card
    for place, text in cards.items():
        (ROOT / place / "README.md").write_text(text(ROOT / place), encoding="utf-8")

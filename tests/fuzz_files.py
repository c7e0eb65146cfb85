"""Small files that all five scripts read, and ways to spoil a copy of one.

A spoiling says whether the file is then no good for certain; what only may be (single bytes
overwritten, an entry of a description changed) may also pass.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import torch
import yaml
from numpy.random import Generator
from safetensors.numpy import load_file, save_file
from toy_files import ANGLES, GRID, RESOLUTION, make_checkpoint, make_dataset, make_references

from dmftnet.data.datamodule import SpectralDataModule
from dmftnet.data.plans.collected import ProblemCollector
from dmftnet.models.shipping.shipped import save_shipped
from dmftnet.models.solvers.applicability import TrainingDistance
from dmftnet.models.training.checkpoint import NETWORKS, describe_data
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.dmft.files import save_solution
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.krylov.ras import RasSolver

SMALL = RasSolver(depths=("all", 2), bath=Intervals(5), n_lanczos=10, broadening=(0.05, 0.1))
COLUMNS = {
    "data.h5": ("samples/U", "samples/hybridization", "samples/n_poles", "poles/energies",
                "trajectories/split", "grid/omega", "rows/samples"),
    "references.h5": ("references/U", "references/spectrum", "references/self_energy",
                      "references/lattice", "references/kind", "grid/omega", "rows/id"),
    "collected.h5": ("problems/U", "curves/omega", "curves/hybridization", "poles/amplitudes"),
    "solution.h5": ("grid/omega", "hybridization", "spectrum", "self_energy"),
}  # fmt: skip
"""Datasets of the HDF5 files without which, or with nonsense in which, none is of use."""

RECORD = ("grid", "angles", "resolution", "model", "head", "ranges", "schema")
"""Entries of a model.yaml that are read whatever the model is for."""


class Serial(Executor):
    """Runs a job where it is submitted."""

    def submit(self, fn, /, *args, **kwargs) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def serial() -> Iterator[Executor]:
    """For ``executor=serial``."""
    yield Serial()


def make_base(folder: Path) -> None:
    """Every file but the training's checkpoint, which takes a training."""
    make_dataset(folder / "data.h5", 80)
    make_references(folder / "references.h5")
    options = {"grid": GRID, "angles": ANGLES, "resolution": RESOLUTION}
    data = SpectralDataModule(folder / "data.h5", **options)
    record = describe_data(data, {**options, "path": str(folder / "data.h5")})
    record |= {"training": {"seconds": 60.0, "device": "cpu"}, "loss": {"lam": 1.0}}
    for seed in range(2):
        make_checkpoint(folder / f"run{seed}", seed, **record)
    train = data.arrays("train")
    grid = FrequencyGrid.geometric(**GRID)
    distance = TrainingDistance.fit(grid, train.hybridization, train.params)
    limits = {"limits": {"spread": 10.0, "distance": 10.0}}
    members = [folder / "run0", folder / "run1"]
    save_shipped(folder / "weights", members, lambda _: (limits, distance), NETWORKS)
    _make_solves(folder)
    _make_curves(folder)


def _make_solves(folder: Path) -> None:
    grid, lattice = FrequencyGrid.geometric(0.02, 8.0, 60), Bethe()
    problem = ImpurityProblem.on_grid(1.0, -0.5, grid, lattice.bare_hybridization(grid))
    result = DMFTLoop(SMALL, lattice, max_iterations=2).run_one(problem)
    save_solution(folder / "solution.h5", result, summarize(result, "ras", "bethe", 1.0))
    collector = ProblemCollector(folder / "collected.h5", grid, (0.02, 0.05))
    for U in (0.5, 1.0, 1.5):
        own = problem.replace(U=U, eps_d=-U / 2)
        collector.add(own, SMALL.solve(own), "a test")
    collector.close()


def _make_curves(folder: Path) -> None:
    energies = np.linspace(-1, 1, 31)
    values = np.sqrt(np.maximum(1 - energies**2, 0.0))
    for name, norm in (("dos", 1.0), ("hyb", 0.2)):
        table = np.stack([energies, norm * values], axis=1)
        np.savetxt(folder / f"{name}.txt", table)
        np.savez(folder / f"{name}.npz", energies=energies, values=norm * values)


def spoil(path: Path, rng: Generator) -> tuple[str, bool]:
    """Spoil a file in one way; what was done, and whether it is no good for certain."""
    ways: list[Callable] = [_truncate, _empty, _noise, _overwrite, _own, _own]
    return ways[rng.integers(len(ways))](path, rng)


def _truncate(path: Path, rng: Generator) -> tuple[str, bool]:
    content = path.read_bytes()
    kept = int(rng.integers(1, len(content)))
    path.write_bytes(content[:kept])
    certain = path.suffix not in (".txt", ".yaml")  # the first lines of a table are a table
    return f"{path.name} cut to {kept} of {len(content)} bytes", certain


def _empty(path: Path, rng: Generator) -> tuple[str, bool]:
    path.write_bytes(b"")
    return f"{path.name} emptied", True


def _noise(path: Path, rng: Generator) -> tuple[str, bool]:
    path.write_bytes(rng.bytes(int(rng.integers(1, 5000))))
    return f"{path.name} is noise", True


def _overwrite(path: Path, rng: Generator) -> tuple[str, bool]:
    content = bytearray(path.read_bytes())
    places = rng.integers(len(content), size=int(rng.integers(1, 20)))
    for place in places:
        content[place] = int(rng.integers(256))
    path.write_bytes(bytes(content))
    return f"{path.name} overwritten at {sorted(places.tolist())}", False


def _own(path: Path, rng: Generator) -> tuple[str, bool]:
    """A way that knows the format."""
    ways = {
        ".h5": _spoil_hdf5,
        ".safetensors": _spoil_safetensors,
        ".yaml": _spoil_yaml,
        ".npz": _spoil_npz,
        ".txt": _spoil_text,
        ".ckpt": _spoil_checkpoint,
    }
    return ways[path.suffix](path, rng)


def _spoil_hdf5(path: Path, rng: Generator) -> tuple[str, bool]:
    name = str(rng.choice(COLUMNS[path.name]))
    way = str(rng.choice(["missing", "nan", "text", "shape", "rows", "schema", "version"]))
    with h5py.File(path, "a") as file:
        if way in ("schema", "version"):
            file.attrs["schema" if way == "schema" else "schema_version"] = 99
            return f"{path.name} of another {way}", True
        values = file[name][()]
        if way == "nan" and values.dtype.kind not in "fc":
            way = "missing"
        del file[name]
        if way == "nan":
            values.flat[int(rng.integers(values.size))] = np.nan
        elif way == "text":
            values = np.full(values.shape, b"words")
        elif way == "shape":
            values = values[..., None]
        elif way == "rows":
            values = values[:-1]
        if way != "missing":
            file[name] = values
    return f"{path.name}: {name}, {way}", True


def _spoil_safetensors(path: Path, rng: Generator) -> tuple[str, bool]:
    arrays = load_file(path)
    name = str(rng.choice(sorted(arrays)))
    way = str(rng.choice(["missing", "nan", "shape", "extra", "type"]))
    if way == "missing":
        del arrays[name]
    elif way == "nan":
        arrays[name] = np.full_like(arrays[name], np.nan)
    elif way == "shape":
        arrays[name] = np.stack([arrays[name], arrays[name]])
    elif way == "extra":
        arrays["unknown"] = np.zeros(3, np.float32)
    else:
        arrays[name] = arrays[name].astype(np.int64)
    save_file(arrays, path)
    return f"{path.name}: {name}, {way}", way != "type"


def _spoil_yaml(path: Path, rng: Generator) -> tuple[str, bool]:
    """Any entry, at any depth, replaced by something else; those in `RECORD` by nonsense."""
    record = yaml.safe_load(path.read_text())
    if rng.random() < 0.5:
        key = str(rng.choice([key for key in RECORD if key in record]))
        junk = ["words", 5, [None], {"a": {}}, [[]], True][rng.integers(6)]
        record[key] = junk
        path.write_text(yaml.safe_dump(record))
        return f"{path.name}: {key} = {junk}", True
    junk = [None, "", -1, 0, 1e300, float("nan"), [], {}, "../x", [1, "a"], True][rng.integers(11)]
    node, place = record, []
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = keys[rng.integers(len(keys))]
        place.append(str(key))
        if not (isinstance(node[key], dict | list) and node[key]) or rng.random() < 0.3:
            break
        node = node[key]
    node[key] = junk
    path.write_text(yaml.safe_dump(record))
    return f"{path.name}: {'.'.join(place)} = {junk}", False


def _spoil_npz(path: Path, rng: Generator) -> tuple[str, bool]:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    way = str(rng.choice(["missing", "nan", "text", "object", "shape", "rows", "order"]))
    values = arrays["values"]
    changed = {
        "nan": np.full_like(values, np.nan),
        "text": np.array(["words"] * values.size),
        "object": np.array([{}] * values.size),
        "shape": values[:, None],
        "rows": values[:-1],
    }
    if way == "missing":
        del arrays["values"]
    elif way == "order":
        arrays["energies"] = arrays["energies"][::-1]
    else:
        arrays["values"] = changed[way]
    np.savez(path, **arrays)
    return f"{path.name}: {way}", True


def _spoil_text(path: Path, rng: Generator) -> tuple[str, bool]:
    lines = path.read_text().splitlines()
    place = int(rng.integers(1, len(lines) - 1))
    way = str(rng.choice(["words", "nan", "columns", "order", "negative"]))
    energy, value = lines[place].split()
    lines[place] = {
        "words": "no numbers",
        "nan": f"{energy} nan",
        "columns": f"{energy} {value} 1.0",
        "order": f"-5.0 {value}",
        "negative": f"{energy} -3.0",
    }[way]
    path.write_text("\n".join(lines) + "\n")
    return f"{path.name}, line {place + 1}: {way}", True


def _spoil_checkpoint(path: Path, rng: Generator) -> tuple[str, bool]:
    content = torch.load(path, weights_only=True)
    name = sorted(content["state_dict"])[0]
    way = str(rng.choice(["list", "empty", "weights", "shape", "nan", "key"]))
    if way == "list":
        content = [1, 2]
    elif way == "empty":
        content = {}
    elif way == "weights":
        content["state_dict"] = {}
    elif way == "shape":
        content["state_dict"][name] = torch.zeros(3, 3, 3)
    elif way == "nan":
        content["state_dict"][name] = content["state_dict"][name] * torch.nan
    else:
        del content[str(rng.choice(["state_dict", "optimizer_states", "loops", "epoch"]))]
    torch.save(content, path)
    return f"{path.name}: {way}", True


def copied(source: Path, target: Path) -> Path:
    """A copy of a file or folder of the base."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return target

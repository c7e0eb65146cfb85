"""A training on disk: a table of its steps, and a file from which it goes on to the last bit.

``<name>.csv`` has a line a step, ``<name>.safetensors`` the arrays, with everything else as JSON in
its header; it is written anew after each block, complete or not at all. A training that was broken
off, or has ended, is found again by its name, a digest of the Hamiltonian, the sector, the settings
and the weights that it starts from: a DMFT loop that is started again runs through the trainings
that it had finished and goes on in the one that it had not. Nothing is unpickled.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dmftnet import checks
from dmftnet.errors import StoreError
from dmftnet.models.nqs.state import NeuralState
from dmftnet.models.nqs.training import Record, Step, Training, TrainingRun

SCHEMA = 1
COUNTERS = ("n_steps", "rollbacks", "raised", "best", "energies")

Watch = Callable[[Mapping[str, float], int], object]
"""``watch(metrics, step)``: a logger's `log_metrics`, or a progress bar."""


class TrainingRecord(Record):
    """Of one training.

    Parameters
    ----------
    training : Training
    state : NeuralState
        Before the training.
    folder : Path, optional
        None: nothing is written.
    watch : sequence of Watch
        Told of each step.
    """

    def __init__(
        self,
        training: Training,
        state: NeuralState,
        folder: Path | None = None,
        watch: tuple[Watch, ...] = (),
    ):
        self.watch, self.sector = watch, state.sector
        self.stem = None if folder is None else folder / f"nqs_{digest(training, state)}"

    @property
    def path(self) -> Path | None:
        """The file from which the training goes on."""
        return None if self.stem is None else self.stem.with_suffix(".safetensors")

    def resume(self, run: TrainingRun) -> None:
        """See `Record`.

        Raises
        ------
        StoreError
            If the file is damaged.
        """
        if self.path is None or self.stem is None:
            return
        if self.path.is_file():
            restore(self.path, run)
        else:
            self.stem.parent.mkdir(parents=True, exist_ok=True)
        table = self.stem.with_suffix(".csv")
        rows = table.read_text().splitlines()[1 : run.n_steps + 1] if table.is_file() else []
        header = ",".join(metrics(None, self.sector))
        table.write_text("\n".join([header, *rows]) + "\n")  # steps after the last block go again

    def step(self, run: TrainingRun) -> Step | None:
        """See `Record`."""
        done = run.step()
        if done is not None:
            values = metrics(done, self.sector)
            for watch in self.watch:
                watch(values, done.number)
            if self.stem is not None:
                with self.stem.with_suffix(".csv").open("a", newline="") as table:
                    csv.writer(table, lineterminator="\n").writerow(values.values())
        return done

    def block(self, run: TrainingRun) -> None:
        """See `Record`."""
        if self.path is not None:
            save(self.path, run)


def metrics(step: Step | None, sector: tuple[int, int]) -> dict[str, float]:
    """A line of the table; of no step its names."""
    names = ("step", "n_up", "n_dn", "energy", "error", "variance", "n_distinct")
    names += ("rate", "regularisation", "length", "rollbacks")
    if step is None:
        return dict.fromkeys(names, 0.0)
    e = step.energy
    values = (step.number, *sector, e.mean, e.error, e.variance, e.n_distinct)
    values += (step.rate, step.regularisation, step.length, step.rollbacks)
    return dict(zip(names, values, strict=True))


def digest(training: Training, state: NeuralState) -> str:
    """12 hexadecimal digits of all that a training depends on."""
    cluster, found = state.cluster, hashlib.sha256()
    words = (training, cluster.interaction, cluster.n_orb, state.sector, type(state.law).__name__)
    words += () if state.phases is None else (state.phases,)
    found.update(repr(words).encode())
    found.update(cluster.one_body.tobytes() + state.line.order.tobytes())
    for array in (*state.law.parameters(), *state.law.buffers()):  # the prior's tables among them
        found.update(array.detach().numpy().tobytes())
    return found.hexdigest()[:12]


def save(path: Path, run: TrainingRun) -> None:
    """Write what it takes to go on."""
    law = run.state.law.state_dict()
    arrays = {f"law.{name}": x for name, x in law.items()}
    arrays |= {f"kept.{name}": x for name, x in run.kept.items()}
    arrays |= {f"last.{k}": x for k, x in enumerate(run.last)}
    words = {"schema": SCHEMA, "rng": run.rng.bit_generator.state}
    words |= {name: getattr(run, name) for name in COUNTERS}
    temporary = path.with_name(f"{path.name}.part")
    clones = {name: x.detach().clone().contiguous() for name, x in arrays.items()}
    save_file(clones, temporary, {"training": json.dumps(words)})
    os.replace(temporary, path)


def restore(path: Path, run: TrainingRun) -> None:
    """Bring a run to where `save` wrote it down.

    Raises
    ------
    StoreError
    """
    try:
        with safe_open(path, "pt") as file:
            words: dict[str, Any] = json.loads(file.metadata()["training"])
            arrays = {name: file.get_tensor(name).clone() for name in file.keys()}
        if words["schema"] != SCHEMA:
            raise ValueError(f"schema {words['schema']}, not {SCHEMA}")
        run.state.law.load_state_dict(_part(arrays, "law."))
        run.kept = _part(arrays, "kept.")
        run.last = tuple(arrays[f"last.{k}"] for k in range(len(run.last)))
        run.rng.bit_generator.state = words["rng"]
        for name in COUNTERS:
            setattr(run, name, words[name])
    except Exception as exc:  # of a damaged file safetensors raises almost anything
        raise StoreError(
            f"'{path}' is damaged ({checks.reason(exc)}); remove it, and the training begins anew"
        ) from None


def _part(arrays: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): x for k, x in arrays.items() if k.startswith(prefix)}

"""Names of variants and checkpoints, as a person would say them.

All names in tables, figures and documents are made here, from the records of the checkpoints
(``model.yaml``). A name says what tells a variant from the others of the same report, and no more:
"FiLM self-attention, all data, seed 1". Always said: the architecture, an angle that is an input,
and data held out of training. Said where variants would otherwise share a name: data, guesses,
loss, its weight lambda, fine-tuning; where that is not enough, the folder.

A variant is everything that defines a training but its seed; checkpoints of one variant are its
seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DEFINING = ("model", "head", "loss", "optimizer", "grid", "angles", "resolution", "data", "members")
ENSEMBLE = "ensemble"
NEAREST_NEIGHBOUR, KERNEL_RIDGE = "Nearest neighbour", "Kernel ridge"
ARCHITECTURES = {
    "film": "FiLM self-attention",
    "crossattn": "Cross-attention",
    "crossquery": "Frequency queries",
    "encdec": "Encoder-decoder",
    "mlp": "MLP",
    "NearestNeighbour": NEAREST_NEIGHBOUR,
    "KernelRidgeRegression": KERNEL_RIDGE,
}
"""By module, of baselines by class; any other goes by its own name."""

PAPERS = ("crossattn", "direct")
"""Architecture and head of the seed paper (arXiv:2511.14505)."""

HEADS = {"direct": "alpha as input", "selfenergy": "Sigma put out"}
"""What a name says of a head; nothing of the usual one."""

ALL_DATA = ("bethe", "agnostic", "gap_edge", "driven", "driven_metal")
"""The files of ``conf/dataset/all.yaml``."""

FILES = {"bethe": "Bethe", "agnostic": "random", "gap_edge": "gap edge"}


@dataclass(frozen=True)
class Traits:
    """What a checkpoint's record says of its training.

    Parameters
    ----------
    architecture : str
        Module of the network, class of a baseline, or `ENSEMBLE`.
    head : {"direct", "rotated", "selfenergy"} or None
        The angle is an input, or the real axis is put out and rotated exactly; None: a baseline.
    members : int
        Of an ensemble, 1 otherwise.
    data : tuple of str
        Names of the training files, without ending.
    held_out : bool
        Whether intervals of U were held out of training.
    guesses : {"corrected", "features", "none"}
        What the network does with cheap spectra.
    loss : str
        Its kind, "" for the usual one.
    amplitude : bool
        Whether the loss compares amplitudes, too.
    lam : float or None
        Weight of the derivative in the loss.
    fine_tuned : bool
        Whether it began with the weights of an earlier run.
    """

    architecture: str
    head: str | None = None
    members: int = 1
    data: tuple[str, ...] = ()
    held_out: bool = False
    guesses: str = "none"
    loss: str = ""
    amplitude: bool = False
    lam: float | None = None
    fine_tuned: bool = False

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Traits:
        """From a checkpoint's ``model.yaml``."""
        model, loss, data = (record.get(key) or {} for key in ("model", "loss", "data"))
        head = (record.get("head") or {}).get("_target_")
        _, module, name = model["_target_"].rsplit(".", 2)
        architecture = name if module == "baselines" else module
        kind = _last_word(loss.get("_target_", "")).removesuffix("Loss")
        files = str(data.get("file", ""))
        return cls(
            architecture=ENSEMBLE if "members" in record else architecture,
            head=None if head is None else _last_word(head).removesuffix("Head").lower(),
            members=len(record.get("members") or [None]),
            data=tuple(Path(file).stem for file in files.split(", ")) if files else (),
            held_out=bool(data.get("held_out_U")),
            guesses="corrected"
            if model.get("log_residual")
            else "features"
            if model.get("guesses")
            else "none",
            loss="" if kind in ("Derivative", "SelfEnergy") else kind,
            amplitude=bool(loss.get("amplitude")),
            lam=loss.get("lam"),
            fine_tuned=_is_fine_tuned(record),
        )

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "data": list(self.data)}

    @property
    def always(self) -> str:
        """What a name says in any company."""
        return ", ".join(word for word, needed in self.words() if word and not needed)

    def words(self) -> list[tuple[str, bool]]:
        """Parts of the name in their order, and whether each is said only where it is needed.

        "" is the usual.
        """
        architecture = ARCHITECTURES.get(self.architecture, self.architecture)
        if self.architecture == ENSEMBLE:
            architecture = f"Ensemble of {self.members}"
        if (self.architecture, self.head) == PAPERS:
            architecture += " (paper)"
        guesses = {"corrected": "", "features": "guesses as features", "none": "no guesses"}
        return [
            (architecture, False),
            (HEADS.get(self.head or "", ""), False),
            (self._data_in_words(), True),
            ("blocks of U held out" if self.held_out else "", False),
            (guesses[self.guesses], True),
            (f"{self.loss} loss" if self.loss else "", True),
            ("amplitude loss" if self.amplitude else "", True),
            ("" if self.lam is None else f"lambda = {self.lam:g}", True),
            ("fine-tuned" if self.fine_tuned else "", True),
        ]

    def _data_in_words(self) -> str:
        if not self.data:
            return ""
        if set(self.data) >= set(ALL_DATA):
            return "all data"
        names = [FILES.get(name, name.replace("_", " ")) for name in self.data]
        return " + ".join(names) + " data"


def variant_names(
    records: Sequence[Mapping[str, Any]], paths: Sequence[Path]
) -> tuple[list[str], list[str]]:
    """Names of the variants and of the checkpoints, one each, the latter unique."""
    keys = [_key(record) for record in records]
    first = {key: keys.index(key) for key in dict.fromkeys(keys)}
    names = _told_apart([Traits.of(records[index]) for index in first.values()])
    by_key: dict[str, str] = {}
    for (key, index), name in zip(first.items(), names, strict=True):
        by_key[key] = f"{name} ({paths[index].name})" if name in by_key.values() else name
    variants = [by_key[key] for key in keys]
    labels: list[str] = []
    for variant, record, path in zip(variants, records, paths, strict=True):
        label = variant
        if variants.count(variant) > 1:
            label = f"{variant}, seed {record.get('seed', '?')}"
        labels.append(f"{label} ({path.name})" if label in labels else label)
    return variants, labels


def ensemble_name(name: str, records: Sequence[Mapping[str, Any]]) -> str:
    """Name of an ensemble that is called `name`, from its members' records."""
    always = list(dict.fromkeys(Traits.of(record).always for record in records))
    what = f"{len(records)} x {always[0]}" if len(always) == 1 else f"{len(records)} networks"
    return f"Ensemble '{name}' ({what})"


def is_zero_lam(record: Mapping[str, Any]) -> bool:
    """Whether it was trained without the derivative's share of the loss."""
    return Traits.of(record).lam == 0


def _told_apart(traits: Sequence[Traits]) -> list[str]:
    """The shortest names that differ, as far as the traits do."""
    parts = [own.words() for own in traits]
    said = [[not needed for _, needed in own] for own in parts]

    def name(i: int) -> str:
        spoken = zip(parts[i], said[i], strict=True)
        return ", ".join(word for (word, _), aloud in spoken if aloud and word)

    for k in range(len(parts[0]) if parts else 0):
        values: dict[str, set] = {}
        names = [name(i) for i in range(len(parts))]
        for shared, own in zip(names, parts, strict=True):
            values.setdefault(shared, set()).add(own[k])
        for shared, flags in zip(names, said, strict=True):
            flags[k] |= len(values[shared]) > 1
    return [name(i) for i in range(len(parts))]


def _key(record: Mapping[str, Any]) -> str:
    decisive = {key: record.get(key) for key in DEFINING}
    decisive["fine_tuned"] = _is_fine_tuned(record)
    return json.dumps(decisive, sort_keys=True, default=str)


def _is_fine_tuned(record: Mapping[str, Any]) -> bool:
    return bool((record.get("training") or {}).get("earlier"))


def _last_word(target: str) -> str:
    return target.rpartition(".")[2]

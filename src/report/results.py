"""``docs/results.md`` from the numbers of a report, none of them typed by hand.

`write_results` puts three things into the documents' folder: ``results.json`` (what the text needs
of ``metrics.json``), ``figures/results_<name>.png`` and ``results.md``, which the Jinja2 template
``results.md.j2`` makes of the JSON alone; `rewrite_results` makes it once more, after the template
has changed. A test renders it again and compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from dmftnet.errors import DmftnetError
from dmftnet.report.html import cell
from dmftnet.report.style import to_png

PREFIX = "results_"
KEPT_OF_OTHERS = (
    "variant",
    "baseline",
    "parameters",
    "training",
    "test",
    "val",
    "train",
    "blocks",
    "calibration",
    "latent",
    "network",
    "resolution",
    "commit",
)
DIGITS = 6


def write_results(
    folder: str | Path,
    numbers: Mapping[str, Any],
    figures: Mapping[str, Figure],
    remarks: Sequence[str] = (),
) -> Path:
    """Write text, numbers and figures; returns the path of ``results.md``.

    Parameters
    ----------
    numbers : mapping
        ``metrics.json``.
    figures : mapping of name to Figure
        Those that the text shows are written.
    remarks : sequence of str
        What no number says; they stand below "How it was measured".
    """
    folder = Path(folder)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    more = {"figures": sorted(figures), "remarks": list(remarks)}
    stored = json.dumps(condensed(numbers) | more, indent=1)
    text = render_results(json.loads(stored))
    for name, figure in figures.items():
        file = f"figures/{PREFIX}{name}.png"
        if file in text:
            (folder / file).write_bytes(to_png(figure, dpi=90))
    (folder / "results.json").write_text(stored + "\n", encoding="utf-8")
    path = folder / "results.md"
    path.write_text(text, encoding="utf-8")
    return path


def rewrite_results(
    folder: str | Path,
    conclude: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    remarks: Sequence[str] = (),
) -> Path:
    """Write ``results.md`` again from the ``results.json`` beside it; the figures stay.

    Parameters
    ----------
    conclude : callable
        Gives the numbers with the targets and the summary that follow from them.
    remarks : sequence of str
        Take the place of those on file; none leaves them.

    Raises
    ------
    DmftnetError
        If there is no such file, or it is not one of this version.
    """
    path = Path(folder) / "results.json"
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
        numbers = _rounded(conclude(numbers)) | ({"remarks": list(remarks)} if remarks else {})
        text = render_results(numbers)
    except OSError as error:
        raise DmftnetError(
            f"'{path}' cannot be read ({error.strerror}); evaluate with results={folder} first"
        ) from None
    except (ValueError, LookupError, TypeError, AttributeError, jinja2.UndefinedError) as error:
        raise DmftnetError(
            f"'{path}' is not what this version writes ({error}); evaluate again with "
            f"results={folder}"
        ) from None
    path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    written = path.with_suffix(".md")
    written.write_text(text, encoding="utf-8")
    return written


def condensed(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that the text needs, to six digits.

    Single loops are kept for the best model and the paper's networks alone; where the report ran
    is left out.
    """
    papers = [numbers["reproduction"].get(key) for key in ("with", "without")]
    models = {
        label: entry if label == numbers["best"] or entry["variant"] in papers else _summary(entry)
        for label, entry in numbers["models"].items()
    }
    origin = dict(numbers["provenance"])
    origin.pop("config", None)
    words = origin.get("command", "").split()
    origin["command"] = " ".join(word for word in words if not word.startswith("hydra."))
    return _rounded({**numbers, "models": models, "provenance": origin})


def render_results(numbers: Mapping[str, Any]) -> str:
    """The text of ``results.md``."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dmftnet.report", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": cell, "spread": with_spread, "percent": "{:.0%}".format}
    sets = numbers["models"][numbers["best"]]["loops"]
    text = environment.get_template("results.md.j2").render(
        **{"remarks": [], **{key.replace(" ", "_"): value for key, value in numbers.items()}},
        critical=critical,
        neighbour=_nearest_neighbour(numbers["models"]),
        half_filled=_rows(_half_filled_rows, sets, "loops"),
        doped=_rows(_doped_rows, sets, "doped"),
        fillings=_rows(_filling_rows, sets, "loops"),
        elsewhere=_rows(_elsewhere_rows, sets, "loops_elsewhere"),
    )
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def _nearest_neighbour(models: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The baseline of this name, if the report has it."""
    found = [m for m in models.values() if m["network"]["architecture"] == "NearestNeighbour"]
    return found[0] if found else None


def critical(path: Mapping[str, Any] | None) -> str:
    """``2.375 ± 0.025``, or a dash where the branch's end was not reached."""
    if not path or path["critical_U"] is None:
        return cell(None)
    return f"{path['critical_U']:.3f} ± {path['critical_U_error']:.3f}"


def with_spread(value: Mapping[str, float | None] | None) -> str:
    """``mean ± standard deviation``, or the mean alone of a single seed."""
    if value is None:
        return cell(None)
    if value["spread"] is None:
        return cell(value["mean"])
    return f"{cell(value['mean'])} ± {cell(value['spread'])}"


def _rows(make: Callable, sets: Mapping[str, Any], key: str) -> list[list[Any]]:
    """Rows of one table, the name of the set of references first."""
    return [[name, *row] for name, loops in sets.items() for row in make(loops[key])]


def _summary(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A model without its single loops."""
    kept = {key: entry[key] for key in KEPT_OF_OTHERS if key in entry}
    names = ("closure", "elsewhere", "clipped_self_energy")
    kept["loops"] = {name: {key: own[key] for key in names} for name, own in entry["loops"].items()}
    paths = entry.get("hysteresis", {})
    return kept | {"hysteresis": {branch: _end(path) for branch, path in paths.items()}}


def _is_half_filled(loop: Mapping[str, Any]) -> bool:
    return abs(loop["eps_d_exact"] + loop["U"] / 2) < 1e-9


def _half_filled_rows(loops: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    names = ("U", "start", "converged", "iterations", "kl", "A0", "A0_exact", "Z", "Z_error")
    names += ("Z_exact", "Z_error_exact", "Z_resolved", "branch", "branch_exact")
    return [[loop[name] for name in names] for loop in loops if _is_half_filled(loop)]


def _doped_rows(doped: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    ways = {"own": "own search", "exact_level": "exact level"}
    names = ("converged", "eps_d", "eps_d_exact", "filling", "kl")
    return [
        [entry[way]["U"], entry["target"], text, *(entry[way][name] for name in names)]
        for entry in doped
        for way, text in ways.items()
    ]


def _filling_rows(loops: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    rows = []
    for U in sorted({loop["U"] for loop in loops if not _is_half_filled(loop)}):
        own = [loop for loop in loops if loop["U"] == U and not _is_half_filled(loop)]
        error = max(abs(loop["filling"] - loop["filling_exact"]) for loop in own)
        counts = [sum(loop[key] for loop in own) for key in ("converged", "right_branch")]
        rows.append([U, error, len(own), *counts])
    return rows


def _elsewhere_rows(loops: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    names = ("lattice", "U", "eps_d_exact", "start", "converged", "iterations", "kl")
    names += ("right_branch", "filling", "filling_exact", "clipped_self_energy")
    return [[loop[name] for name in names] for loop in loops]


def _end(path: Mapping[str, Any]) -> dict[str, Any]:
    return {key: path[key] for key in ("critical_U", "critical_U_error")}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return value

"""Choices have one home, `conf`: where a default stands in code too, it is the value there."""

import fnmatch
import inspect
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_object
from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parents[1] / "conf"
VARIANTS = {
    "bath/few": "bath/intervals",
    "dataset/[!blt]*": "dataset/bethe_small",
    "dataset/lattices": "dataset/bethe_small",
    "dataset/all_lattices": "dataset/bethe_small",
    "dataset/near_half": "dataset/bethe_small",
    "dataset/thermal": "dataset/thermal_continuous",
    "dataset/thermal_bethe": "dataset/thermal_continuous",
    "dataset/thermal_driven": "dataset/thermal_continuous",
    "dataset/thermal_fitted": "dataset/thermal_continuous",
    "dataset/thermal_held": "dataset/thermal_continuous",
    "dataset/thermal_kanamori": "dataset/thermal_continuous",
    "dataset/thermal_models": "dataset/thermal_continuous",
    "dataset/thermal_transition": "dataset/thermal_reference",
    "dataset/bethe": "dataset/bethe_small",
    "dataset/bethe_agnostic*": "dataset/bethe_small",
    "dataset/bethe_reference_test": "dataset/bethe_reference",
    "dataset/lattices_reference": "dataset/bethe_reference",
    "loss/amplitude": "loss/derivative",
    "model/correction_linear": "model/correction_polynomial",
    "sampling/agnostic": "sampling/bethe_small",
    "sampling/bethe": "sampling/bethe_small",
    "sampling/bethe_reference_test": "sampling/bethe_reference",
    "sampling/lattices_reference": "sampling/bethe_reference",
    "sampling/driven_metal": "sampling/driven",
    "sampling/gap_edge": "sampling/bethe_small",
    "sampling/near_half": "sampling/lattices",
    "sampling/mps": "sampling/bethe_small",
    "sampling/thermal_bethe": "sampling/thermal_continuous",
    "sampling/thermal_driven": "sampling/thermal_continuous",
    "sampling/thermal_fitted": "sampling/thermal_continuous",
    "sampling/thermal_held": "sampling/thermal_continuous",
    "sampling/thermal_transition": "sampling/thermal_reference",
    "solver/correction_ipt": "solver/correction",
    "solver/correction_kanamori": "solver/correction",
    "solver/mps_small": "solver/mps",
    "solver/network_spectrum": "solver/network",
    "solver/ras_fine": "solver/ras",
}
"""Files that give a class other values than the plain file of that class does, whose they are."""

DELIBERATE = {
    ("callbacks/default", "closure.half_filled_U"): "all in the file take long beside a training",
    ("evaluate", "hysteresis.loop.max_iterations"): "a report waits longer than a training",
    ("evaluate", "loop.max_iterations"): "a report waits longer than a training",
    ("evaluate_thermal", "loop.max_iterations"): "a report waits longer than a training",
    ("generate", "grid.n_w"): "the grid of a file is finer than that of a loop",
    ("problem/kanamori", "n_orb"): "several orbitals are what the file is for",
    ("model/film", "pairs"): "a checkpoint whose record lacks it was trained with 1",
    ("sampling/bethe_reference", "loop.max_iterations"): "what is compared with must converge",
    ("sampling/thermal_reference", "loop.max_iterations"): "what is compared with must converge",
    ("solver/embedded", "strong.fit.n_bath"): "few enough to be cheap, the rest is embedded",
    ("sampling/bethe_reference", "n_shifts"): "as good as the file can be; one is enough to try",
}
"""Plain files whose value is not the default, and why."""

DELIBERATE |= {
    ("sampling/lattices", key): "widths of .6 to 1.8 D, and the resolution of head=self_energy"
    for key in (
        "resolution", "sampler.U_max", "sampler.U_dense", "sampler.start_fractions",
        "sampler.mixing", "sampler.block", "sampler.highest_level",
    )
}  # fmt: skip

DRIVEN = {f"sampler.{name}" for name in (
    "U_max", "U_dense", "dense_fraction", "half_filled_fraction", "start_fractions", "block",
    "lowest_level", "highest_level",
)}  # fmt: skip
DELIBERATE |= {("sampling/driven", key): "where networks go astray" for key in DRIVEN}
DELIBERATE |= {("sampling/driven", "driver.checkpoint"): "its file was made with those networks"}

DELIBERATE |= {
    (f"sampling/thermal_{name}", f"approximations.ed{n}.fit.n_bath"): "what the name says"
    for name, levels in (
        ("models", (1, 2, 3)),
        ("continuous", (1, 2, 3, 4, 5)),
        ("kanamori", (1, 2)),
    )
    for n in levels
}
DELIBERATE |= {
    (f"sampling/thermal_{name}", "approximations.embedded3.strong.fit.n_bath"): "likewise"
    for name in ("models", "continuous", "extended")
}
DELIBERATE |= {
    ("sampling/thermal_continuous", f"sampler.{name}"): "covers U and the phases of finite T"
    for name in ("U_min", "U_max", "U_dense", "start_fractions", "mixing", "highest_level")
}

DELIBERATE |= {
    ("sampling/thermal_kanamori", f"sampler.{name}"): "covers U and the phases of finite T"
    for name in ("U_min", "U_dense", "dense_fraction", "start_fractions", "mixing", "highest_level")
}

DELIBERATE |= {
    ("callbacks/correction", "closure.every_n_validations"): "loops take seconds",
    ("callbacks/correction", "closure.U"): "all in the file take long beside a training",
    ("callbacks/correction", "closure.beta"): "likewise",
    ("callbacks/correction", "stability.every_n_validations"): "each projects all predictions",
}

TARGETLESS = {
    ("kind/corrections", "calibration"): "dmftnet.models.solvers.limits.ErrorPromise",
    ("kind/networks", "calibration"): "dmftnet.models.solvers.limits.Promise",
    ("kind/networks", "sharpening"): "dmftnet.evaluation.evidence.SharpeningChoice",
    ("module/spectral", None): "dmftnet.models.training.module.SpectralModule",
    ("module/correction", None): "dmftnet.models.correction.module.CorrectionModule",
}
"""Sections, or whole files, that hold arguments of a class without naming it."""

FILES = sorted(
    str(path.relative_to(CONF).with_suffix(""))
    for path in [*CONF.glob("*/*.yaml"), *CONF.glob("*.yaml")]
    if path.parent.name != "experiment"
)


def plain_file(name: str) -> str | None:
    """The file that this one is a variant of."""
    return next((p for pattern, p in VARIANTS.items() if fnmatch.fnmatch(name, pattern)), None)


def content(name: str) -> dict:
    """What a group's file stands for, that of its own defaults included; as written a root file,

    and one of a group that fills the root."""
    group, _, option = name.rpartition("/")
    if not group or group == "kind":
        return yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose(overrides=[f"+{group}={option}"]), resolve=False)
    GlobalHydra.instance().clear()
    return config[group]


def sections(node, where=""):
    """Every section of the project's own classes: where it stands, its class, its values."""
    if isinstance(node, dict):
        if str(node.get("_target_", "")).startswith("dmftnet."):
            yield where, get_object(node["_target_"]), node
        for key, value in node.items():
            yield from sections(value, f"{where}{key}.")
    elif isinstance(node, list):
        for value in node:
            yield from sections(value, where)


def as_yaml(value):
    """Tuples as lists, and mappings as plain ones."""
    if isinstance(value, list | tuple):
        return [as_yaml(entry) for entry in value]
    return dict(value) if hasattr(value, "keys") else value


def differences(name: str) -> dict[str, tuple]:
    """Arguments whose value in a file is not their default, which they have.

    Where the default is an object, the section that makes one is compared with it.
    """
    found, config, objects = {}, content(name), {}
    for (file, key), target in TARGETLESS.items():
        if file == name and key is None:
            config = {"_target_": target, **config}
        elif file == name:
            config[key] = {"_target_": target, **config[key]}
    for where, function, node in sections(config):
        for key, parameter in inspect.signature(function).parameters.items():
            if is_dataclass(parameter.default):
                objects[f"{where}{key}."] = parameter.default
            given = getattr(objects.get(where), key, parameter.default)
            value, default = node.get(key), as_yaml(given)
            follows = isinstance(value, str) and "${" in value  # another key of the config
            built = isinstance(value, dict) and "_target_" in value
            if key in node and parameter.default is not parameter.empty and not follows | built:
                if value != default:
                    found[f"{where}{key}"] = (value, default)
    return found


@pytest.mark.parametrize("name", [name for name in FILES if plain_file(name) is None])
def test_a_default_in_code_is_that_of_the_config(name):
    different = differences(name)
    wanted = {key for file, key in DELIBERATE if file == name}
    assert different.keys() == wanted, different


@pytest.mark.parametrize(("name", "key"), TARGETLESS)
def test_a_section_without_a_target_has_arguments_of_its_class(name, key):
    given = content(name) if key is None else content(name)[key]
    assert given.keys() <= inspect.signature(get_object(TARGETLESS[name, key])).parameters.keys()


@pytest.mark.parametrize("name", [name for name in FILES if plain_file(name) is not None])
def test_a_variant_names_the_class_of_its_plain_file(name):
    own, plain = (next(sections(content(n)))[1] for n in (name, plain_file(name)))
    assert own == plain

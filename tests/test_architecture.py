"""The project's promises about itself: import arrows, rooms, configs that compose, file sizes."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_object

from dmftnet.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
CONF = ROOT / "conf"
EVERYONE = {
    "arrays",
    "checks",
    "commit",
    "errors",
    "moved",
    "places",
    "progress",
    "provenance",
}  # know of the package but each other
ALLOWED = {
    "physics": {"physics"},
    "data": {"data", "physics"},
    "models": {"models", "data", "physics"},
    "evaluation": {"evaluation", "models", "data", "physics", "report"},
    "callbacks": {"callbacks", "evaluation", "models", "data", "physics", "report"},
    "report": {"report", "physics"},
    "scripts": {"callbacks", "config", "evaluation", "models", "data", "physics", "report"},
}
ROOMS_OF_MODELS = {
    "networks": {"networks"},
    "training": {"training", "networks"},
    "correction": {"correction", "training", "networks"},
    "nqs": {"nqs", "networks"},
    "solvers": {"solvers", "correction", "training", "networks"},
    "shipping": {"shipping", "solvers", "correction", "training", "networks"},
}
ROOT_CONFIGS = sorted(path.stem for path in CONF.glob("*.yaml"))
EXPERIMENTS = sorted(CONF.glob("experiment/*.yaml"))
MODULES = {
    ".".join(("dmftnet", *path.relative_to(SRC).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(SRC.rglob("*.py"))
}
GROUP_FILES = sorted(p for p in CONF.glob("*/*.yaml") if p.parent.name != "experiment")


def imported_packages(path: Path) -> set[str]:
    """First component below ``dmftnet`` of every import in a file, also those inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules = [node.module]
            if node.module == "dmftnet":
                modules = [f"dmftnet.{alias.name}" for alias in node.names]
        names |= {m.split(".")[1] for m in modules if m.startswith("dmftnet.")}
    return names


def imports_of_the_package(path: Path) -> set[str]:
    """Modules of the package that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & MODULES.keys()) or {node.module}
    return names & MODULES.keys()


def imported_modules(path: Path) -> set[str]:
    """Top-level module names that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_follow_the_arrows(package):
    for path in (SRC / package).rglob("*.py"):
        wrong = imported_packages(path) - ALLOWED[package] - EVERYONE
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_every_package_has_its_arrows():
    assert {path.parent.name for path in SRC.glob("*/__init__.py")} == ALLOWED.keys()


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: imports_of_the_package(path) for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("room", sorted(ROOMS_OF_MODELS))
def test_rooms_of_models_follow_the_arrows(room):
    for path in (SRC / "models" / room).rglob("*.py"):
        names = (name.split(".") for name in imports_of_the_package(path))
        rooms = {parts[2] for parts in names if parts[1:2] == ["models"] and len(parts) > 2}
        wrong = rooms - ROOMS_OF_MODELS[room]
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_every_room_of_models_has_its_arrows():
    rooms = {path.parent.name for path in SRC.glob("models/*/__init__.py")}
    assert rooms == ROOMS_OF_MODELS.keys()


@pytest.mark.parametrize("name", sorted(EVERYONE))
def test_what_everyone_imports_imports_nothing_else(name):
    assert imported_packages(SRC / f"{name}.py") <= EVERYONE


@pytest.mark.parametrize(
    ("package", "stranger"),
    [("physics", "torch"), ("physics", "lightning"), ("report", "torch"), ("report", "wandb")],
)
def test_layer_knows_nothing_of(package, stranger):
    for path in (SRC / package).rglob("*.py"):
        assert stranger not in imported_modules(path), path.relative_to(ROOT)


def test_hydra_stays_in_the_config_module_and_the_scripts():
    for path in SRC.rglob("*.py"):
        if path != SRC / "config.py" and path.parent != SRC / "scripts":
            assert not imported_modules(path) & {"hydra", "omegaconf"}, path.relative_to(ROOT)


def test_the_package_is_never_called_src():
    for path in [*SRC.rglob("*.py"), *ROOT.glob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        assert "src" not in imported_modules(path), path.relative_to(ROOT)


def test_files_stay_readable():
    for path in [*SRC.rglob("*.py"), *ROOT.glob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        limit = 400 if SRC in path.parents else 500
        assert len(path.read_text(encoding="utf-8").splitlines()) <= limit, path.relative_to(ROOT)


@pytest.mark.parametrize("path", sorted(SRC.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_every_room_says_its_purpose_in_one_line(path):
    purpose = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert purpose and "\n" not in purpose and purpose.endswith("."), path.relative_to(ROOT)


def test_every_folder_of_modules_is_a_room():
    """By its ``__init__.py`` setup.py finds what belongs into the wheel."""
    folders = {path.parent for path in SRC.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.fixture
def hydra_conf():
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


@pytest.mark.parametrize("name", ROOT_CONFIGS)
def test_root_config_composes(name, hydra_conf):
    config = compose(config_name=name, return_hydra_config=False)
    assert config, f"conf/{name}.yaml is empty"
    assert name in COMMANDS, f"conf/{name}.yaml has no command"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_a_config_a_module_and_a_thin_script(name):
    assert (CONF / f"{name}.yaml").is_file() and f"dmftnet.scripts.{name}" in MODULES
    script = (ROOT / f"{name}.py").read_text(encoding="utf-8")
    assert f"from dmftnet.scripts.{name} import main" in script
    assert len(script.splitlines()) < 10, "what a script does stands in dmftnet.scripts"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_experiment_composes(path, hydra_conf):
    assert path.read_text(encoding="utf-8").startswith("# @package _global_"), (
        "an experiment overrides the root"
    )
    assert compose(config_name="train", overrides=[f"+experiment={path.stem}"])


@pytest.mark.parametrize("path", GROUP_FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_target_exists(path):
    for target in targets(yaml.safe_load(path.read_text(encoding="utf-8"))):
        assert callable(get_object(target)), target


def targets(node):
    """Every ``_target_`` in a config tree."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


@pytest.mark.parametrize("path", ["sweep.yaml", "conf/sweep/correction.yaml"])
def test_sweep_keys_exist_in_the_train_config(path, hydra_conf):
    sweep = yaml.safe_load((ROOT / path).read_text())
    experiment = [word for word in sweep["command"] if word.startswith("+")]
    config = compose(config_name="train", overrides=experiment)
    for key in sweep["parameters"]:
        node = config
        for part in key.split("."):
            assert part in node, f"{path}: no key {key} in conf/train.yaml"
            node = node[part]

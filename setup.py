"""What pyproject.toml cannot say: which rooms there are, and the commit that a build is of."""

import runpy
from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

COMMIT = runpy.run_path(str(Path(__file__).with_name("src") / "commit.py"))
PLACES = {"dmftnet": "src", "dmftnet.conf": "conf", "dmftnet.weights": "weights"}
FILES = ["*.yaml", "*.safetensors", "*.md", "*.j2", "py.typed"]


def rooms() -> list[str]:
    """Modules stand in packages; a folder without any holds files."""
    found = list(PLACES)
    for name, folder in PLACES.items():
        find = find_packages if name == "dmftnet" else find_namespace_packages
        found += [f"{name}.{room}" for room in find(folder)]
    return found


def record(folder: Path) -> None:
    """Leave the commit where the installed package looks for it."""
    text = COMMIT["source_commit"](building=True) + "\n"
    (folder / COMMIT["RECORD"]).write_text(text, encoding="utf-8")


class BuildPy(build_py):
    """Modules and, unless they stay in their clone, the commit."""

    def run(self):
        super().run()
        if not self.editable_mode:
            record(Path(self.build_lib, "dmftnet"))


class Sdist(sdist):
    """An sdist has no repository: it carries the commit to the wheel that is built from it."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        record(Path(base_dir, "src"))


setup(
    package_dir=PLACES,
    packages=rooms(),
    package_data={"": FILES},
    cmdclass={"build_py": BuildPy, "sdist": Sdist},
)

"""The cards of weights and data hold what the files beside them say, and nothing else."""

import runpy
from pathlib import Path

import pytest
import yaml

from dmftnet.models.solvers.network import SHIPPED

ROOT = Path(__file__).resolve().parents[1]
TOOL = runpy.run_path(str(ROOT / "tools" / "cards.py"))


def front(text: str) -> dict:
    """The YAML on top of a card."""
    before, matter, rest = text.split("---\n", 2)
    assert not before and rest.startswith("\n# ")
    return yaml.safe_load(matter)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_model_card_is_that_of_the_records(name):
    folder = ROOT / "weights" / name
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == TOOL["weights_card"](folder), "run make cards"
    (entry,) = front(text)["model-index"]
    values = [metric["value"] for metric in entry["results"][0]["metrics"]]
    assert f"| this solver | {values[0]:.2e} | {values[1]:.2e} | {values[2]:.3f} |" in text


def test_the_data_card_is_that_of_the_files():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert text == TOOL["data_card"](ROOT / "data"), "run make cards"
    assert front(text)["license"] == "mit"


def test_the_data_card_has_every_file_that_ships():
    assert {path.stem for path in (ROOT / "data").glob("*.h5")} == set(TOOL["WHAT"])

"""Old files stay usable: names of classes that moved, in checkpoints and in recipes of datasets."""

from pathlib import Path

import h5py
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_object

from dmftnet.data.generation import recipe_hash
from dmftnet.moved import BETWEEN, FORMER, MOVED, former, renamed, with_targets
from dmftnet.scripts import generate

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("old", sorted(MOVED))
def test_what_moved_is_where_the_table_says(old):
    assert get_object(MOVED[old])
    assert former(renamed(f"{old}.anything")) == f"{old}.anything"


@pytest.mark.parametrize("name", sorted(BETWEEN))
def test_a_name_from_between_two_moves_is_known(name):
    assert renamed(f"{name}.Ensemble") == f"{BETWEEN[name]}.Ensemble"
    assert get_object(BETWEEN[name]) and BETWEEN[name] in MOVED.values()


def test_each_has_one_old_name():
    assert len(FORMER) == len(MOVED)


@pytest.mark.parametrize("name", ["torch.optim.AdamW", "dmftnet.physics.dmft.loop.DMFTLoop", "os"])
def test_what_did_not_move_keeps_its_name(name):
    assert renamed(name) == name


def test_names_in_nested_sections():
    node = {
        "_target_": "dmftnet.models.mlp.MLP",
        "a": [{"_target_": 5}, {"b": "dmftnet.models.mlp"}],
    }
    changed = with_targets(node, renamed)
    assert changed == {**node, "_target_": "dmftnet.models.networks.mlp.MLP"}


@pytest.mark.parametrize(
    ("dataset", "overrides"),
    [
        ("bethe_small", []),
        ("agnostic", []),
        ("bethe_reference", ["solver=ras_fine"]),
        ("bethe_reference_test", ["solver=ras_fine"]),
        ("gap_edge", ["solver=ras_fine", "seed=1"]),
        ("mps", ["solver=mps_small"]),
    ],
)
def test_a_dataset_made_before_a_move_can_be_continued(dataset, overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(ROOT / "conf"), version_base="1.3"):
        config = compose("generate", overrides=[f"dataset={dataset}", *overrides])
    GlobalHydra.instance().clear()
    recipe = {key: generate.to_plain(config[key]) for key in generate.RECIPE}
    with h5py.File(ROOT / "data" / f"{dataset}.h5") as file:
        assert recipe_hash(recipe) == file.attrs["recipe"]

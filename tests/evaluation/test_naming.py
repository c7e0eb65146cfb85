"""Names: short, unique, and nothing in them that the record does not say."""

from itertools import permutations
from pathlib import Path

import pytest
import yaml

from dmftnet.evaluation.naming import ALL_DATA, Traits, ensemble_name, is_zero_lam, variant_names

ROOT = Path(__file__).resolve().parents[2]
ROOM, HEADS = "dmftnet.models.networks", "dmftnet.models.networks.heads"
BASELINES = "dmftnet.models.training.baselines"
LOSSES = "dmftnet.models.training.losses"
EVERYTHING = ", ".join(f"{name}.h5" for name in ALL_DATA)


def record(module="mlp.MLP", head="RotatedHead", lam=0.5, data="bethe.h5", seed=0, **changes):
    own = {
        "model": {"_target_": f"{ROOM}.{module}", "log_residual": True},
        "head": {"_target_": f"{HEADS}.{head}"},
        "loss": {"_target_": f"{LOSSES}.DerivativeLoss", "lam": lam},
        "data": {"file": data},
        "seed": seed,
    }
    return {**own, **changes}


def names(*records):
    """Labels, of checkpoints in the folders a, b, c, ..."""
    return variant_names(records, [Path(f"x/{c}") for c in "abcdef"[: len(records)]])[1]


def test_seeds_of_one_training_are_one_variant():
    variants, labels = variant_names(
        [record(), record(seed=1), record(lam=0)], [Path(f"x/{c}") for c in "abc"]
    )
    assert variants == ["MLP, lambda = 0.5"] * 2 + ["MLP, lambda = 0"]
    assert labels == ["MLP, lambda = 0.5, seed 0", "MLP, lambda = 0.5, seed 1", "MLP, lambda = 0"]


def test_a_name_says_what_differs_and_no_more():
    film = record("film.Film", data=EVERYTHING)
    paper = record("crossattn.CrossAttention", "DirectHead", lam=0.3)
    assert names(film) == ["FiLM self-attention"]
    assert names(
        film, {**film, "seed": 1}, record("film.Film"), paper, {**paper, "loss": None}
    ) == [
        "FiLM self-attention, all data, seed 0",
        "FiLM self-attention, all data, seed 1",
        "FiLM self-attention, Bethe data",
        "Cross-attention (paper), alpha as input, lambda = 0.3",
        "Cross-attention (paper), alpha as input",
    ]


def test_a_name_says_that_sigma_is_put_out():
    head = {"_target_": f"{ROOM}.self_energy_head.SelfEnergyHead"}
    loss = {"_target_": f"{LOSSES}.SelfEnergyLoss", "lam": 1.0}
    sigma = record("film.Film", data=EVERYTHING, head=head, loss=loss)
    sigma["head"] = head
    assert names(sigma) == ["FiLM self-attention, Sigma put out"]


def test_names_do_not_depend_on_the_order():
    records = [record(), record(lam=0), record(data=EVERYTHING), record(head="DirectHead")]
    found = {tuple(sorted(names(*some))) for some in permutations(records)}
    assert len(found) == 1 and len(set(*found)) == len(records)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"lam": 0.0}, "MLP, lambda = 0"),
        ({"data": "bethe.h5, agnostic.h5"}, "MLP, Bethe + random data"),
        ({"data": "my_own.h5"}, "MLP, my own data"),
        ({"loss": {"_target_": f"{LOSSES}.TaylorLoss", "lam": 0.5}}, "MLP, Taylor loss"),
        (
            {"loss": {"_target_": f"{LOSSES}.DerivativeLoss", "lam": 0.5, "amplitude": True}},
            "MLP, amplitude loss",
        ),
        ({"model": {"_target_": f"{ROOM}.mlp.MLP", "guesses": True}}, "MLP, guesses as features"),
        ({"model": {"_target_": f"{ROOM}.mlp.MLP"}}, "MLP, no guesses"),
        ({"training": {"earlier": [{}]}}, "MLP, fine-tuned"),
        ({"optimizer": {"lr": 1.0}}, "MLP (b)"),
    ],
)
def test_what_is_said_where_it_tells_two_apart(changes, name):
    assert names(record(), record(**changes))[1] == name
    assert names(record(**changes)) == ["MLP"]


@pytest.mark.parametrize(
    ("own", "name"),
    [
        (record(head="DirectHead"), "MLP, alpha as input"),
        (record() | {"data": {"held_out_U": [[1.0, 1.2]]}}, "MLP, blocks of U held out"),
        (record("crossattn.CrossAttention"), "Cross-attention"),
        (record("crossquery.CrossQuery"), "Frequency queries"),
        (record("encdec.EncoderDecoder"), "Encoder-decoder"),
        (record("mine.Own"), "mine"),
        (record(members=["a", "b"]), "Ensemble of 2"),
        ({"model": {"_target_": f"{BASELINES}.NearestNeighbour"}, "head": None},
         "Nearest neighbour"),
        ({"model": {"_target_": f"{BASELINES}.KernelRidgeRegression"}},
         "Kernel ridge"),
    ],
)  # fmt: skip
def test_what_is_always_said(own, name):
    assert names(own) == [name]


def test_an_ensemble_is_named_after_its_members():
    assert ensemble_name("twin", [record(), record(seed=1)]) == "Ensemble 'twin' (2 x MLP)"
    mixed = [record(), record("film.Film")]
    assert ensemble_name("mixed", mixed) == "Ensemble 'mixed' (2 networks)"


def test_all_data_is_what_the_config_calls_all():
    path = yaml.safe_load((ROOT / "conf/dataset/all.yaml").read_text())["path"]
    assert tuple(Path(file).stem for file in path) == ALL_DATA


def test_traits_are_plain_values_for_json():
    plain = Traits.of(record(lam=0)).plain()
    assert plain["architecture"] == "mlp" and plain["head"] == "rotated" and plain["lam"] == 0
    assert plain["data"] == ["bethe"] and plain["guesses"] == "corrected"
    assert is_zero_lam(record(lam=0)) and not is_zero_lam(record())
    assert not is_zero_lam(record(loss=None))

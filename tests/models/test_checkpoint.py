"""Checkpoints: what is written is what is read, and what does not fit says so in one line."""

import shutil

import numpy as np
import pytest
import torch
import yaml
from synthetic import ANGLES, GRID, RESOLUTION, SyntheticDataModule, make_arrays

from dmftnet.errors import DmftnetError, StoreError
from dmftnet.models.networks.guesses.composed import GUESS_NAMES
from dmftnet.models.training.baselines import Baseline
from dmftnet.models.training.checkpoint import build_model, describe_data, load_model, save_model

NETWORKS = "dmftnet.models.networks"
ROTATED = {"_target_": f"{NETWORKS}.heads.RotatedHead"}
SMALL = {"width": 8, "n_heads": 2}
MODELS = {
    "mlp": {"_target_": f"{NETWORKS}.mlp.MLP", "width": 16, "n_blocks": 1},
    "crossattn": {"_target_": f"{NETWORKS}.crossattn.CrossAttention", **SMALL},
    "crossquery": {"_target_": f"{NETWORKS}.crossquery.CrossQuery", **SMALL},
    "encdec": {"_target_": f"{NETWORKS}.encdec.EncoderDecoder", **SMALL},
    "film": {"_target_": f"{NETWORKS}.film.Film", **SMALL, "n_blocks": 1},
    "kernel_ridge": {"_target_": "dmftnet.models.training.baselines.KernelRidgeRegression"},
    "nearest_neighbour": {"_target_": "dmftnet.models.training.baselines.NearestNeighbour"},
}


def save(folder, name):
    model = build_model(MODELS[name], ROTATED, GRID, ANGLES, RESOLUTION)
    if isinstance(model, Baseline):
        model.fit(make_arrays(16, 0), make_arrays(4, 1))
    record = {
        "model": MODELS[name],
        "head": ROTATED,
        "grid": GRID,
        "angles": list(ANGLES),
        "resolution": list(RESOLUTION),
    }
    save_model(folder, model.eval(), record)
    return model


@pytest.fixture
def saved(tmp_path):
    save(tmp_path / "mlp", "mlp")
    return tmp_path / "mlp"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_round_trip(tmp_path, name):
    model = save(tmp_path, name)
    loaded = load_model(tmp_path)
    arrays = make_arrays(4, 2)
    inputs = torch.from_numpy(arrays.hybridization), torch.from_numpy(arrays.params)
    with torch.inference_mode():
        assert torch.equal(model.real_axis(*inputs), loaded.real_axis(*inputs))
        assert torch.equal(model.latent(*inputs), loaded.latent(*inputs))
    assert not loaded.training
    assert loaded.record["resolution"] == list(RESOLUTION)
    assert loaded.record["provenance"]["torch"] == torch.__version__
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "model.yaml"]


def test_weights_of_another_model_are_named(tmp_path, saved):
    save(tmp_path / "other", "crossattn")
    shutil.copy(tmp_path / "other" / "model.safetensors", saved)
    with pytest.raises(StoreError, match=r"does not fit MLP: .* must come from the same run"):
        load_model(saved)


def test_changed_width_is_named(saved):
    record = yaml.safe_load((saved / "model.yaml").read_text())
    record["model"]["width"] = 32
    (saved / "model.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(StoreError, match=r"has shape \(16,.* wants \(32,"):
        load_model(saved)


def test_missing_folder(tmp_path):
    with pytest.raises(StoreError, match="no checkpoint at"):
        load_model(tmp_path / "nothing")


def test_missing_weights(saved):
    (saved / "model.safetensors").unlink()
    with pytest.raises(StoreError, match="is missing"):
        load_model(saved)


def test_truncated_weights(saved):
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(StoreError, match="is damaged"):
        load_model(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "something else"}, "is no model description"),
        ({"schema_version": 99}, "schema version 99"),
        ({"model": {"_target_": "os.system"}}, "is not part of dmftnet.models"),
        ({"model": {"_target_": f"{NETWORKS}.mlp.Nothing"}}, "does not exist"),
        ({"model": {"_target_": f"{NETWORKS}.mlp.MLP", "depth": 3}}, "MLP cannot be built"),
    ],
)
def test_bad_description(saved, change, message):
    record = yaml.safe_load((saved / "model.yaml").read_text()) | change
    (saved / "model.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(DmftnetError, match=message):
        load_model(saved)


def test_a_record_from_before_classes_moved(tmp_path):
    """Old paths of classes, and ``references`` for what is called ``guesses`` now."""
    save(tmp_path, "film")
    path = tmp_path / "model.yaml"
    record = yaml.safe_load(path.read_text())
    today = load_model(tmp_path)
    record["model"]["_target_"] = "dmftnet.models.film.Film"
    record["model"]["references"] = record["model"].pop("guesses", True)
    record["head"]["_target_"] = record["head"]["_target_"].replace("networks.", "")
    path.write_text(yaml.safe_dump(record))
    loaded = load_model(tmp_path)
    then = {"guesses": True, "guess_names": list(GUESS_NAMES)}
    assert loaded.record["model"] == {**then, **today.record["model"]}
    assert loaded.record["head"] == today.record["head"]
    data = make_arrays(4, 2)
    h, p = torch.tensor(data.hybridization), torch.tensor(data.params)
    assert torch.equal(loaded.real_axis(h, p), today.real_axis(h, p))


def test_description_that_is_no_yaml(saved):
    (saved / "model.yaml").write_text("{[")
    with pytest.raises(StoreError, match="is no model description"):
        load_model(saved)


def test_data_is_described():
    data = SyntheticDataModule()
    data.setup()
    dataset = {"path": "nowhere.h5", "grid": GRID, "angles": ANGLES, "resolution": RESOLUTION}
    record = describe_data(data, dataset)
    low, high = record["ranges"]["U"]
    assert 0 <= low < high <= 3
    assert record["ranges"]["shift"][1] <= 0.5 + 1e-6
    yaml.safe_dump(record)
    several = describe_data(data, {**dataset, "path": ["a.h5", "folder/b.h5"]})
    assert several["data"] == {"file": "a.h5, b.h5", "sha256": "not a file"}


def test_baselines_beat_chance_and_need_a_fit(tmp_path):
    from dmftnet.models.training.scoring import hybridization_kl, real_axis_kl

    train, validation, test = make_arrays(64, 0), make_arrays(8, 1), make_arrays(8, 2)
    scores = {}
    for name in ("nearest_neighbour", "kernel_ridge"):
        model = build_model(MODELS[name], None, GRID, ANGLES, RESOLUTION)
        with pytest.raises(DmftnetError, match="never fitted"):
            real_axis_kl(model, test)
        model.fit(train, validation)
        scores[name] = np.median(real_axis_kl(model, test))
    chance = np.median(hybridization_kl(model.frequency_grid, test))
    assert scores["kernel_ridge"] < scores["nearest_neighbour"] < chance

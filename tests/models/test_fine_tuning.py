"""Training that begins with an earlier run's weights: which runs fit, and what is remembered."""

import pytest
import torch
import yaml
from toy_files import GRID, HEAD, NET, make_checkpoint, make_model

from dmftnet.errors import DmftnetError, StoreError
from dmftnet.models.training.fine_tuning import begin_with, training_seconds

DESCRIPTION = {"model": NET, "head": HEAD, "grid": GRID}


def test_the_weights_and_the_history_are_taken_over(tmp_path):
    older = {"seconds": 60.0, "command": "train.py seed=1"}
    training = {"seconds": 30.0, "epochs": 5, "device": "cpu", "earlier": [older]}
    folder = make_checkpoint(tmp_path / "run", seed=1, training=training)
    model = make_model(seed=2)
    earlier = begin_with(model, DESCRIPTION, folder)
    for name, value in make_model(seed=1).state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    assert earlier[0]["seconds"] == 30.0 and earlier[0]["epochs"] == 5
    assert earlier[0]["command"] and earlier[1:] == [older]
    assert training_seconds({"training": {"seconds": 1.0, "earlier": earlier}}) == 91.0


def test_cost_is_unknown_where_a_part_of_it_is():
    assert training_seconds({}) is None
    assert training_seconds({"training": {"seconds": 1.0, "earlier": [{}]}}) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {**NET, "width": 8}}, r"model.width = 8, but '.*run' was trained with 16; set"),
        ({"head": {**HEAD, "eta": 0.1}}, r"head.eta = 0.1, but"),
        ({"grid": {**GRID, "w_max": 5.0}}, r"grid.w_max = 5.0, but"),
    ],
)
def test_another_model_is_refused(tmp_path, changes, message):
    folder = make_checkpoint(tmp_path / "run")
    model = make_model(seed=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(DmftnetError, match=message):
        begin_with(model, {**DESCRIPTION, **changes}, folder)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_no_run_and_an_ensemble_are_refused(tmp_path):
    with pytest.raises(StoreError, match="no checkpoint at"):
        begin_with(make_model(), DESCRIPTION, tmp_path / "none")
    for seed in range(2):
        make_checkpoint(tmp_path / "both" / f"member_{seed}", seed)
    record = yaml.safe_load((tmp_path / "both" / "member_0" / "model.yaml").read_text())
    record["members"] = ["member_0", "member_1"]
    (tmp_path / "both" / "model.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(DmftnetError, match="holds an ensemble; give the folder of a single"):
        begin_with(make_model(), DESCRIPTION, tmp_path / "both")

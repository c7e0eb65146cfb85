"""Ensembles: the mean of their members, a spread that vanishes with their differences, folders."""

import shutil

import numpy as np
import pytest
import torch
import yaml
from synthetic import make_arrays
from toy_files import ANGLES, GRID, HEAD, NET, RESOLUTION, make_checkpoint, make_model

from dmftnet.errors import DmftnetError, StoreError
from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.shipping.shipped import halved, save_shipped
from dmftnet.models.solvers.applicability import TrainingDistance
from dmftnet.models.solvers.network import NetworkSolver
from dmftnet.models.training.checkpoint import (
    NETWORKS,
    build_model,
    load_ensemble,
    load_model,
    read_record,
)
from dmftnet.physics.grids.real_axis import FrequencyGrid

FREQUENCIES = FrequencyGrid.geometric(**GRID)


@pytest.fixture(scope="module")
def arrays():
    return make_arrays(6, 1, GRID, ANGLES)


@pytest.fixture(scope="module")
def inputs(arrays):
    return torch.from_numpy(arrays.hybridization), torch.from_numpy(arrays.params)


@pytest.fixture
def shipped(tmp_path, arrays):
    """A folder of two members, made from two run folders."""
    for seed in range(2):
        make_checkpoint(tmp_path / f"run{seed}", seed, provenance={"command": "train.py"})
    distance = TrainingDistance.fit(FREQUENCIES, arrays.hybridization, arrays.params)
    runs = [tmp_path / "run0", tmp_path / "run1"]
    limits = {"limits": {"spread": 0.1}}
    return save_shipped(tmp_path / "both", runs, lambda _: (limits, distance), NETWORKS)


def test_spectrum_is_the_mean_of_the_members(inputs):
    members = [make_model(seed) for seed in range(3)]
    ensemble = Ensemble(members).eval()
    with torch.inference_mode():
        mean = sum(member.real_axis(*inputs) for member in members) / 3
        torch.testing.assert_close(ensemble.real_axis(*inputs), mean)
        predicted = sum(member.predict(*inputs) for member in members) / 3
        torch.testing.assert_close(ensemble.predict(*inputs), predicted)
        assert ensemble.latent(*inputs).shape[1] == 3 * members[0].latent(*inputs).shape[1]
    assert ensemble.frequency_grid == members[0].frequency_grid


def test_spread_by_hand_and_its_symmetry(inputs):
    ensemble = Ensemble([make_model(0), make_model(1)]).eval()
    with torch.inference_mode():
        a, b = (m.real_axis(*inputs).double().numpy() for m in ensemble.members)
        spread = ensemble.spread(*inputs).numpy()
        hybridization, params = inputs
        U, eps_d = params.T
        mirrored = hybridization.flip(-1), torch.stack([U, -U - eps_d], dim=1)
        # float32 sums in another order
        np.testing.assert_allclose(ensemble.spread(*mirrored).numpy(), spread, rtol=1e-3)
    by_hand = 0.5 * FREQUENCIES.integrate(np.abs(a - b) / 2) ** 2
    # one pass for all members sums in another order than one for each
    np.testing.assert_allclose(spread, by_hand, rtol=1e-4)
    assert np.all(spread > 0)


def test_members_that_agree_have_no_spread(inputs):
    with torch.inference_mode():
        assert Ensemble([make_model(0), make_model(0)]).eval().spread(*inputs).max() < 1e-12


def test_members_that_do_not_fit_together_are_named():
    with pytest.raises(DmftnetError, match="ensemble of 1 has no spread"):
        Ensemble([make_model(0)])
    other = build_model(NET, HEAD, {**GRID, "w_max": 5.0}, ANGLES, RESOLUTION)
    with pytest.raises(DmftnetError, match=r"member 1 has 40 frequencies up to 5 D.*one dataset"):
        Ensemble([make_model(0), other])


def test_a_folder_of_members_is_one_model(shipped, inputs):
    loaded, expected = load_model(shipped), Ensemble([make_model(0), make_model(1)]).eval()
    assert loaded.record["members"] == ["member_0", "member_1"] and not loaded.training
    with torch.inference_mode():
        own = loaded.real_axis(*inputs)
        assert torch.allclose(own, expected.real_axis(*inputs), rtol=0.02, atol=1e-3)
        for member in expected.members:
            member.load_state_dict({k: halved(v) for k, v in member.state_dict().items()})
        torch.testing.assert_close(own, Ensemble(list(expected.members)).eval().real_axis(*inputs))


def test_weights_ship_in_half_precision_where_that_holds_them():
    values = torch.tensor([1.0, 1e-3, 0.1])
    assert halved(values).dtype == torch.float16
    assert torch.allclose(halved(values).float(), values, rtol=5e-4, atol=0)
    assert halved(torch.tensor([1e5])).dtype == torch.float32  # float16 ends at 65504
    assert halved(values.double()).dtype == torch.float64


def test_run_folders_leave_no_trace(tmp_path, arrays):
    folder = make_checkpoint(tmp_path / "run", 0)
    record = yaml.safe_load((folder / "model.yaml").read_text())
    record["provenance"]["command"] = "train.py model=mlp hydra.run.dir=/some/where seed=1"
    (folder / "model.yaml").write_text(yaml.safe_dump(record))
    distance = TrainingDistance.fit(FREQUENCIES, arrays.hybridization, arrays.params)
    limits = {"limits": {"distance": 0.5}}
    save_shipped(tmp_path / "one", [folder], lambda _: (limits, distance), NETWORKS)
    found = read_record(tmp_path / "one")
    assert found["provenance"]["command"] == "train.py model=mlp seed=1"
    assert found["limits"] == {"distance": 0.5} and "members" not in found


def test_a_list_of_paths_is_an_ensemble(tmp_path, inputs):
    for seed, high in ((0, 3.0), (1, 4.0)):
        box = {"U": [0.5 * seed, high], "shift": [0.0, 1.0]}
        make_checkpoint(tmp_path / f"run{seed}", seed, ranges=box)
    solver = NetworkSolver([tmp_path / "run0", tmp_path / "run1"])
    assert isinstance(solver.model, Ensemble) and solver.label == "run0, run1"
    assert solver.applicability.ranges == {"U": [0.5, 3.0], "shift": [0.0, 1.0]}
    assert not isinstance(load_ensemble([tmp_path / "run0"]), Ensemble)
    make_checkpoint(tmp_path / "other", 2, resolution=[2 * RESOLUTION[0], RESOLUTION[1]])
    with pytest.raises(DmftnetError, match=r"train all with one dataset\.resolution"):
        NetworkSolver([tmp_path / "run0", tmp_path / "other"])


@pytest.mark.parametrize("names", [["../run0", "member_1"], [".", "member_1"], "member_0", None])
def test_members_lie_inside_the_folder(shipped, names):
    record = yaml.safe_load((shipped / "model.yaml").read_text()) | {"members": names}
    (shipped / "model.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(StoreError, match="give names of folders inside it"):
        load_model(shipped)


def test_a_missing_member_is_named(shipped):
    shutil.rmtree(shipped / "member_1")
    with pytest.raises(StoreError, match=r"no checkpoint at '.*member_1'"):
        NetworkSolver(shipped)


def test_damaged_training_points_are_named(shipped):
    points = shipped / "training_points.safetensors"
    points.write_bytes(points.read_bytes()[:50])
    with pytest.raises(StoreError, match="is damaged"):
        NetworkSolver(shipped)

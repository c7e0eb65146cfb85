"""Samples at finite temperature: splits, mirror images, what is left out."""

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.data import _set_sampler_epoch
from toy_thermal import ACCURACY, INPUTS, SIZE, random_arrays, write_file

from dmftnet.data.files_datamodule import joined
from dmftnet.data.thermal_datamodule import ThermalDataModule
from dmftnet.errors import DmftnetError, SettingError, StoreError
from dmftnet.physics.grids.matsubara import ImaginaryAxis

FAILED = ((0, 1), (3, 0), (3, 1), (14, 1))  # samples of training, training, test
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def odd():
    return ImaginaryAxis.universal(1.0, SIZE, ACCURACY).indices


@pytest.fixture(scope="module")
def path(tmp_path_factory, odd):
    return write_file(tmp_path_factory.mktemp("data") / "toy.h5", odd, failed=FAILED)


def made(path, **options):
    return ThermalDataModule(path, **{"inputs": INPUTS, "batch_size": 8, "seed": 5, **options})


def epoch(module, number):
    loader = module.train_dataloader()
    _set_sampler_epoch(loader, number)
    return list(loader)


def test_samples_are_those_of_the_file(path, odd):
    """To single precision, the approximations to half precision of what they miss."""
    arrays, truth = made(path).arrays("val"), random_arrays(48, odd)
    expected = truth.take(np.flatnonzero(np.arange(48) // 2 % 4 == 2))
    assert np.array_equal(arrays.U, expected.U) and np.array_equal(arrays.beta, expected.beta)
    assert np.allclose(arrays.hybridization, expected.hybridization, rtol=1e-6)
    assert np.allclose(arrays.self_energy, expected.self_energy, rtol=1e-6)
    away = np.abs(expected.self_energies - expected.self_energy[:, None])
    kept = np.abs(arrays.self_energies - expected.self_energies)
    assert np.all(kept < 1e-3 * away + 1e-6)


def test_no_model_is_in_two_splits(path):
    module = made(path)
    models = [set(module.arrays(split).model.tolist()) for split in SPLITS]
    assert all(models) and len(set.union(*models)) == sum(map(len, models))


def test_models_of_two_files_are_told_apart(path, tmp_path, odd):
    other = write_file(tmp_path / "other.h5", odd, first_id=2, seed=1)
    module = made([path, other])
    models = [set(module.arrays(split).model.tolist()) for split in SPLITS]
    assert len(set.union(*models)) == sum(map(len, models)) == 48
    assert len(module.arrays("train")) == len(made(path).arrays("train")) + 24


def test_samples_without_an_input_are_left_out_and_counted(path):
    assert made(path).left_out == 3
    assert made(path, inputs=INPUTS[:1]).left_out == 1
    assert made(path, inputs=()).left_out == 0
    lengths = [len(made(path).arrays(split)) for split in SPLITS]
    assert lengths == [22, 12, 11]
    for split in SPLITS:
        assert made(path).arrays(split).complete.all()


def test_mirror_images_stay_in_their_split(path):
    """A training batch holds training samples and their images alone; the other splits none."""
    module = made(path, particle_hole_augmentation=True)
    train = module.arrays("train")
    images, seen = 0, []
    for batch in [batch for number in range(4) for batch in epoch(module, number)]:
        for i, model in enumerate(batch["model"].tolist()):
            U, eps_d = batch["U"][i].item(), batch["eps_d"][i].item()
            (owner,) = np.flatnonzero((train.model == model) & (train.U == U))
            mirrored = not np.isclose(eps_d, train.eps_d[owner], rtol=0, atol=1e-14)
            images += mirrored
            if mirrored:
                assert eps_d == pytest.approx(-U - train.eps_d[owner], abs=1e-14)
            seen.append(owner)
    assert np.all(np.bincount(seen) == 4)  # once an epoch, whichever of the two
    assert 0.25 < images / len(seen) < 0.75
    for split, loader in (("val", module.val_dataloader()), ("test", module.test_dataloader())):
        eps_d = torch.cat([batch["eps_d"] for batch in loader]).numpy()
        assert np.array_equal(eps_d, module.arrays(split).eps_d)


def test_a_mirror_image_of_a_mirror_image_is_the_sample(path):
    arrays = made(path).arrays("train")
    twice = arrays.particle_hole().particle_hole()
    for name, values in arrays.items():
        assert np.allclose(getattr(twice, name), values, rtol=0, atol=1e-13), name
    assert np.allclose(arrays.particle_hole().density, 1 - arrays.density)


def test_order_and_images_follow_from_seed_and_epoch(path):
    first, again = epoch(made(path), 3), epoch(made(path), 3)
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    for changed in (epoch(made(path), 4), epoch(made(path, seed=6), 3)):
        assert not torch.equal(first[0]["eps_d"], changed[0]["eps_d"])


def test_without_augmentation_there_is_no_image(path):
    module = made(path, particle_hole_augmentation=False)
    seen = np.sort(torch.cat([batch["eps_d"] for batch in epoch(module, 0)]).numpy())
    assert np.array_equal(seen, np.sort(module.arrays("train").eps_d))


def test_ranges_are_those_of_training(path):
    module = made(path)
    arrays, ranges = module.arrays("train"), module.ranges()
    assert ranges["U"] == [arrays.U.min(), arrays.U.max()]
    assert ranges["beta"] == [arrays.beta.min(), arrays.beta.max()]
    assert ranges["shift"][1] == np.abs(arrays.eps_d + arrays.U / 2).max()


def test_joined_keeps_order(path):
    arrays = made(path).arrays("train")
    parts = joined([arrays.take(np.arange(3)), arrays.take(np.arange(3, len(arrays)))])
    assert np.array_equal(parts.U, arrays.U)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"inputs": "crude"}, SettingError, "give a list of names"),
        ({"inputs": ["crude", "crude"]}, SettingError, "give each once"),
        ({"inputs": ["ipt"]}, StoreError, "no approximation 'ipt'; use one of crude, fair"),
        ({"batch_size": 0}, SettingError, "dataset.batch_size"),
    ],
)
def test_settings_that_cannot_be_are_refused(path, options, error, said):
    with pytest.raises(error, match=said):
        made(path, **options).arrays("train")


def test_files_that_cannot_be_are_refused(path, tmp_path, odd):
    with pytest.raises(DmftnetError, match="give at least one file"):
        made([])
    with pytest.raises(DmftnetError, match="names a file twice"):
        made([path, path])
    with pytest.raises(StoreError, match="other Matsubara frequencies"):
        made(write_file(tmp_path / "small.h5", odd, size=50.0)).arrays("train")
    everything = [(sample, 0) for sample in range(48)]
    nothing = write_file(tmp_path / "nothing.h5", odd, failed=everything)
    with pytest.raises(StoreError, match="no train sample with all of"):
        made(nothing).arrays("train")

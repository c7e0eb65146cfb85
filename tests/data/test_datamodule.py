import h5py
import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.fabric.utilities.data import _set_sampler_epoch

from dmftnet.data.datamodule import SpectralDataModule
from dmftnet.data.files_datamodule import EpochSampler
from dmftnet.data.plans.sampling import SPLITS
from dmftnet.errors import DmftnetError, StoreError

OPTIONS = {"batch_size": 8, "angles": [0.1, 0.2], "cache": False, "seed": 5}
KEYS = {
    "hybridization", "params", "spectrum", "bare", "rotated", "derivative", "filling", "trajectory",
    "iteration",
}  # fmt: skip


@pytest.fixture(scope="module")
def module(dataset):
    module = SpectralDataModule(dataset, **OPTIONS)
    module.setup("fit")
    return module


def epoch(module, number):
    loader = module.train_dataloader()
    _set_sampler_epoch(loader, number)
    return list(loader)


def test_batches_have_the_documented_shapes(module):
    n_w = module.grid.n_w
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        batch = next(iter(loader))
        B = len(batch["params"])
        assert set(batch) == KEYS
        assert batch["hybridization"].shape == batch["spectrum"].shape == (B, n_w)
        assert batch["rotated"].shape == batch["derivative"].shape == (B, 2, n_w)
        assert batch["params"].shape == (B, 2)
        assert batch["filling"].shape == batch["trajectory"].shape == (B,)
        assert batch["rotated"].dtype == torch.float32
        assert batch["trajectory"].dtype == torch.int64


def test_an_epoch_sees_every_sample_once(module):
    arrays = module.arrays("train")
    seen = torch.cat([batch["trajectory"] * 100 + batch["iteration"] for batch in epoch(module, 0)])
    assert sorted(seen.tolist()) == sorted(arrays.trajectory * 100 + arrays.iteration)


def test_order_and_mirrors_follow_from_seed_and_epoch(module, dataset):
    again = SpectralDataModule(dataset, **OPTIONS)
    for first, second in zip(epoch(module, 3), epoch(again, 3), strict=True):
        assert all(torch.equal(first[key], second[key]) for key in KEYS)
    order = [tuple(EpochSampler(40, 5, True)) for _ in range(2)]
    assert order[0] == order[1]
    sampler = EpochSampler(40, 5, True)
    sampler.set_epoch(1)
    assert tuple(sampler) != order[0]
    assert sorted(i % 40 for i in sampler) == list(range(40))
    assert 8 < sum(i >= 40 for i in sampler) < 32


def test_augmentation_mirrors_whole_samples(module):
    arrays = module.arrays("train")
    known = {(t, i): k for k, (t, i) in enumerate(zip(arrays.trajectory, arrays.iteration))}  # noqa: B905
    mirrored = 0
    for batch in epoch(module, 0):
        for row in range(len(batch["params"])):
            k = known[int(batch["trajectory"][row]), int(batch["iteration"][row])]
            U, eps_d = arrays.params[k]
            flip = not np.isclose(batch["params"][row, 1], eps_d)
            flip |= not np.array_equal(batch["spectrum"][row], arrays.spectrum[k])
            mirrored += flip
            way = slice(None, None, -1) if flip else slice(None)
            for name in ("hybridization", "spectrum", "rotated", "derivative"):
                assert np.array_equal(batch[name][row], getattr(arrays, name)[k][..., way])
            assert batch["params"][row, 1] == pytest.approx(-U - eps_d if flip else eps_d)
            n = arrays.filling[k]
            assert batch["filling"][row] == pytest.approx(2 - n if flip else n)
    assert 0.2 < mirrored / len(arrays) < 0.8


def test_without_augmentation_and_outside_training_nothing_is_mirrored(dataset):
    module = SpectralDataModule(dataset, particle_hole_augmentation=False, **OPTIONS)
    for loader, split in (
        (module.train_dataloader(), "train"),
        (module.val_dataloader(), "val"),
        (module.test_dataloader(), "test"),
    ):
        levels = np.concatenate([batch["params"][:, 1].numpy() for batch in loader])
        assert np.array_equal(np.sort(levels), np.sort(module.arrays(split).params[:, 1]))


class _Recorder(LightningModule):
    """Notes which samples each step saw; has nothing to train."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch, index):
        self.seen.append((batch["trajectory"].tolist(), batch["params"][:, 1].tolist()))
        return self.weight.sum()

    def validation_step(self, batch, index):
        """The trainer asks for one; nothing to note."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_a_resumed_training_sees_what_an_uninterrupted_one_would(dataset, tmp_path):
    def train(epochs, resume=None):
        recorder = _Recorder()
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(
            max_epochs=epochs, accelerator="cpu", default_root_dir=tmp_path, limit_val_batches=0,
            enable_checkpointing=False, **quiet,
        )  # fmt: skip
        module = SpectralDataModule(dataset, **OPTIONS)
        trainer.fit(recorder, module, ckpt_path=resume, weights_only=True)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return recorder.seen

    whole = train(3)
    first = train(1)
    rest = train(3, resume=tmp_path / "last.ckpt")
    assert first + rest == whole
    assert first[0] != rest[0]


def test_several_files_are_one_dataset(dataset, tmp_path):
    """Split by split, each trajectory with an id of its own."""
    from toy_dataset import make_file

    from dmftnet.data.plans.sampling import TrajectorySampler
    from dmftnet.data.plans.trajectories import TrajectoryPlan

    plan = TrajectoryPlan(TrajectorySampler(seed=8), n_trajectories=8, n_iterations=2)
    other = make_file(tmp_path / "other.h5", plan, n_w=300)  # another fine grid too
    one, two = (SpectralDataModule(path, **OPTIONS) for path in (dataset, [other]))
    both = SpectralDataModule([dataset, other], **OPTIONS)
    ids = []
    for split in ("train", "val", "test"):
        parts = one.arrays(split), two.arrays(split)
        joined = both.arrays(split)
        for name in ("hybridization", "params", "spectrum", "rotated", "filling", "iteration"):
            expected = np.concatenate([getattr(part, name) for part in parts])
            assert np.array_equal(getattr(joined, name), expected)
        assert np.array_equal(joined.trajectory[: len(parts[0])], parts[0].trajectory)
        assert np.array_equal(joined.trajectory[len(parts[0]) :], parts[1].trajectory + 16)
        ids.append(set(joined.trajectory.tolist()))
    assert not ids[0] & ids[1] and not ids[0] & ids[2] and not ids[1] & ids[2]
    assert len({one.data_hash, two.data_hash, both.data_hash}) == 3
    assert two.data_hash == SpectralDataModule(other, **OPTIONS).data_hash
    assert len(next(iter(both.test_dataloader()))["params"]) == len(both.arrays("test"))


@pytest.mark.parametrize(
    ("paths", "words"), [([], "at least one file"), (["a.h5", "a.h5"], "names a file twice")]
)
def test_lists_of_files_are_checked(paths, words):
    with pytest.raises(DmftnetError, match=words):
        SpectralDataModule(paths, **OPTIONS)


def test_unusable_datasets_raise_one_line(dataset, tmp_path):
    def error(path, kind=StoreError):
        with pytest.raises(kind) as raised:
            SpectralDataModule(path, **OPTIONS).setup()
        text = str(raised.value)
        assert "\n" not in text and path.name in text
        return text

    assert "generate.py" in error(tmp_path / "none.h5")
    cut = tmp_path / "cut.h5"
    cut.write_bytes(dataset.read_bytes()[:5000])
    assert "truncated" in error(cut)
    for name, attribute, value in (
        ("version.h5", "schema_version", 99),
        ("schema.h5", "schema", "other"),
        ("part.h5", "complete", False),
    ):
        path = tmp_path / name
        path.write_bytes(dataset.read_bytes())
        with h5py.File(path, "a") as file:
            file.attrs[attribute] = value
        assert str(value) in error(path) or "interrupted" in error(path)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"angles": [0.1, 2.0]}, "angles"),
        ({"angles": []}, "at least one angle"),
        ({"resolution": [0.0, 0.03]}, "resolution"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"grid": {"w_min": 1.0, "w_max": 0.5, "n_w": 160}}, "w_min"),
    ],
)
def test_bad_settings_are_named(dataset, options, word):
    with pytest.raises(DmftnetError, match=word):
        SpectralDataModule(dataset, **{**OPTIONS, **options})


def test_blocks_of_U_are_in_no_other_split(module, dataset):
    """All samples inside the intervals are "blocks", wherever the file has them; none is lost."""
    U = np.unique(module.arrays("train").params[:, 0])
    blocks = [[value - 1e-6, value + 1e-6] for value in U[:2]]
    held = SpectralDataModule(dataset, **OPTIONS, held_out_U=blocks)
    inside = held.arrays("blocks")
    assert set(inside.params[:, 0]) == set(U[:2])
    for split in SPLITS:
        whole, rest = module.arrays(split), held.arrays(split)
        kept = ~np.isin(whole.params[:, 0], U[:2])
        np.testing.assert_array_equal(rest.params, whole.params[kept])
        np.testing.assert_array_equal(rest.rotated, whole.rotated[kept])
    assert len(inside) + sum(len(held.arrays(s)) for s in SPLITS) == sum(
        len(module.arrays(s)) for s in SPLITS
    )
    with pytest.raises(StoreError, match="no blocks sample"):
        module.arrays("blocks")


@pytest.mark.parametrize("blocks", [[[1.0, 0.5]], [[1.0]], [[0.1, float("nan")]]])
def test_blocks_that_are_no_intervals_are_refused(dataset, blocks):
    with pytest.raises(DmftnetError, match="held_out_U"):
        SpectralDataModule(dataset, **OPTIONS, held_out_U=blocks)

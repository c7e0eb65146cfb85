"""The small runs that the fuzz test spoils: for each script its command lines, and their inputs.

BASE stands for the folder of `fuzz_files.make_base`, HERE for the folder of the case.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One small run of a script.

    Parameters
    ----------
    script : str
    names : tuple of str
        What it is a variant of; see `fuzz_rules`.
    overrides : tuple of str
    inputs : dict of str to str
        Override to the file below BASE that it names, with the file that a case may spoil.
    weight : float
        How often it is drawn, beside the others of its script.
    """

    script: str
    names: tuple[str, ...]
    overrides: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...] = ()
    weight: float = 1.0


RAS = ("bath.n_bath=5", "depths=[all,2]", "n_lanczos=10", "broadening=[0.05,0.1]")
SMALL_RAS = tuple(f"solver.{word}" for word in RAS)
LOOP = (
    "grid.n_w=60", "grid.w_min=0.02", "loop.max_iterations=2", "loop.tolerance=0.1",
    "loop.zero_tolerance=0.5", "problem.U=1.0", "filling_search.max_loops=2",
)  # fmt: skip
NETWORK = ("solver=network", "solver.checkpoint=BASE/weights")
GUARDED = (
    "solver=guarded", "solver.network.checkpoint=BASE/weights",
    "solver.network.limits={distance: 1.0e-3}", *(f"solver.exact.{word}" for word in RAS),
)  # fmt: skip
MPS = (
    "solver=mps", "lattice=fixed", "solver.bath.n_bath=3", "solver.bond_dimension=6",
    "solver.t_max=3", "solver.sector=mean_field", "solver.max_sweeps=8", "solver.method=esprit",
)  # fmt: skip
SHIPPED = (
    "weights/model.yaml", "weights/training_points.safetensors", "weights/member_0/model.yaml",
    "weights/member_1/model.safetensors",
)  # fmt: skip
TOY = ("grid.n_w=120", "executor=serial", "dataset.path=HERE/made.h5")
TRAJECTORIES = ("sampling.n_trajectories=2", "sampling.n_iterations=2")
SERIES = "sampling.series=[{U: [0.5], shift: [0.0], start: metal}]"
EXACT = ("solver.exact.bath.n_bath=3", "solver.exact.depths=[all]")
TRAIN = (
    "dataset.path=BASE/data.h5", "dataset.grid={w_min: 0.02, w_max: 6.0, n_w: 40}",
    "dataset.angles=[0.1,0.2]", "dataset.resolution=[0.02,0.05]", "dataset.batch_size=16",
    "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "logger=csv", "baselines=false",
    "+trainer.enable_progress_bar=false", "head.eta=0.02", "head.slope=0.05",
)  # fmt: skip
DIRECT = tuple(word for word in TRAIN if not word.startswith("head."))
MLP = ("model=mlp", "model.width=16", "model.n_blocks=1")
CLOSURE = (
    "~callbacks.latent", "callbacks.closure.references=BASE/references.h5",
    "callbacks.closure.max_iterations=2", "callbacks.closure.half_filled_U=[0.5]",
)  # fmt: skip
EVALUATE = (
    "checkpoints=[BASE/run0]", "dataset.path=BASE/data.h5", "references=BASE/references.h5",
    "test_references=null", "loop.max_iterations=2", "hysteresis.metal=[0.5,1.0]",
    "hysteresis.insulator=[1.0,0.5]", "hysteresis.loop.max_iterations=2", "baselines=false",
)  # fmt: skip
SHIP = (
    "checkpoints=[BASE/run0,BASE/run1]", "dataset.path=BASE/data.h5", "folder=HERE/shipped",
    "calibration.kl=50.0", "calibration.share=0.5", "references=BASE/references.h5",
    "sharpening.most=1",
)  # fmt: skip


def read(key: str, *names: str) -> tuple[tuple[str, str], ...]:
    """Inputs of one key; of a folder, which file in it is spoiled."""
    return tuple((key, name) for name in names)


RUNS = (
    Run("dmft", ("ras",), (*SMALL_RAS, *LOOP), read("start", "solution.h5"), 3),
    Run("dmft", ("ras",), (*SMALL_RAS, *LOOP, "lattice=square", "mixing=linear")),
    Run("dmft", ("ras",), (*SMALL_RAS, *LOOP, "lattice=dos", "lattice.path=BASE/dos.txt"),
        read("lattice.path", "dos.txt", "dos.npz"), 2),
    Run("dmft", ("ras", "fixed"), (*SMALL_RAS, *LOOP, "lattice=fixed"),
        read("problem.hybridization", "hyb.txt", "hyb.npz", "solution.h5"), 2),
    Run("dmft", ("ed",), ("solver=ed", "solver.bath.n_bath=3", "solver.n_lanczos=8", *LOOP)),
    Run("dmft", ("ipt",), ("solver=ipt", "solver.step=1.0e-2", *LOOP)),
    Run("dmft", ("nca",), ("solver=nca", "problem.beta=3", *LOOP)),
    Run("dmft", ("network",), (*NETWORK, *LOOP), read("solver.checkpoint", *SHIPPED), 3),
    Run("dmft", ("guarded",), (*GUARDED, *LOOP), read("solver.network.checkpoint", *SHIPPED), 2),
    Run("dmft", ("mps", "fixed"), (*MPS, *LOOP)),
    Run("generate", ("ras",), (*SMALL_RAS, *TOY, *TRAJECTORIES), read("dataset.path", "data.h5"),
        3),
    Run("generate", ("ed",), ("solver=ed", "solver.bath.n_bath=3", *TOY, *TRAJECTORIES)),
    Run("generate", ("ras",), (*SMALL_RAS, *TOY, "dataset=bethe_reference", SERIES,
        "sampling.n_shifts=1", "sampling.loop.max_iterations=2")),
    Run("generate", ("ras", "collected"), (*SMALL_RAS, *TOY, "dataset=collected",
        "sampling.problems=BASE/collected.h5"), read("sampling.problems", "collected.h5"), 2),
    Run("generate", ("ras",), (*SMALL_RAS, *TOY, "dataset=driven", *TRAJECTORIES,
        "sampling.driver.checkpoint=BASE/weights", "sampling.every=1", "sampling.sampler.block=3",
        "sampling.resolution=[0.02,0.05]"), read("sampling.driver.checkpoint", *SHIPPED)),
    Run("train", ("mlp",), (*TRAIN, *MLP, *CLOSURE),
        (*read("dataset.path", "data.h5", ".labels"), *read("resume", "last.ckpt"),
         *read("callbacks.closure.references", "references.h5"),
         *read("init_from", "run0/model.yaml", "run0/model.safetensors")), 4),
    Run("train", ("film",), (*TRAIN, "model=film", "model.width=8", "model.n_heads=2",
        "model.n_blocks=1", "callbacks=none")),
    Run("train", ("crossattn",), (*TRAIN, "model.width=8", "model.n_blocks=1", "callbacks=none")),
    Run("train", ("crossquery",), (*DIRECT, "model=crossquery", "model.width=8", "head=direct",
        "loss=taylor", "model.n_blocks=1", "optimizer=adam", "callbacks=none")),
    Run("train", ("encdec",), (*TRAIN, "model=encdec", "model.width=8", "loss=amplitude",
        "model.n_encoder=1", "model.n_decoder=1", "callbacks=none")),
    Run("train", ("kernel_ridge",), (*TRAIN, "model=kernel_ridge", "model.gammas=[1.0]",
        "model.ridges=[0.1]", "callbacks=none")),
    Run("evaluate", (), EVALUATE, (*read("dataset.path", "data.h5"),
        *read("references", "references.h5"), *read("test_references", "references.h5"),
        *read("checkpoints", "run0/model.yaml", "run0/model.safetensors"))),
    Run("ship", ("chosen",), (*SHIP, "sharpening.steps=1"), (*read("dataset.path", "data.h5"),
        *read("checkpoints", "run0/model.yaml", "run0/model.safetensors")), 3),
    Run("ship", (), SHIP, read("references", "references.h5")),
)  # fmt: skip
"""Every script with what it may be asked for."""

GROUPS = {
    "dmft": ("solver", "lattice", "problem", "mixing"),
    "generate": ("dataset", "sampling", "lattice", "solver", "executor"),
    "train": ("dataset", "model", "loss", "optimizer", "trainer", "head", "callbacks", "logger"),
    "evaluate": ("dataset",),
    "ship": ("dataset", "kind"),
}
"""Groups of the configs, of which an unknown member must be refused."""

RESULTS = {
    "dmft": ("run/solution.h5", "run/summary.json"),
    "generate": ("made.h5", "made.h5.part"),
    "train": ("run/model.yaml", "run/model.safetensors"),
    "evaluate": ("run/report.html", "run/metrics.json"),
    "ship": ("shipped", "shipped.part"),
}
"""What must not be there after an error."""

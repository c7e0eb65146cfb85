"""What every key of the configs takes: values that must be refused, and values that are fine.

A rule is found by the end of a key, the longest pattern first; what a kind refuses by its type is
said once, limits are said beside the key. A key without a rule, or one that a run does not read,
may end in anything but a traceback.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatch

WORDS = ("abc", "''", "'1e-3'")
TREES = ("[]", "[1,2]", "{a: 1}")
ENDLESS = ("nan", "inf", "-inf")

REFUSED = {
    "number": (*WORDS, *TREES, *ENDLESS, "true", "null"),
    "integer": (*WORDS, *TREES, *ENDLESS, "true", "null", "1.5", "-7.25"),
    "flag": ("abc", "''", "2", "1.5", "[]", "{a: 1}", "null", "nan"),
    "choice": ("abc", "''", "5", "true", "[]", "{a: 1}", "null"),
    "path": ("''", "5", "1.5", "true", "{a: 1}", "null", "nowhere/at/all"),
    "new path": ("''", "5", "1.5", "true", "{a: 1}", "null"),
    "foreign": ("abc", "[1,2]", "{a: 1}", "nan", "null"),
    "list": ("abc", "''", "5", "true", "{a: 1}", "null", "[abc]", "[nan]", "[[1]]", "[null]"),
    "section": ("abc", "5", "[1]", "true"),
}


@dataclass(frozen=True)
class Rule:
    """Values of one key, as Hydra's command line writes them.

    Parameters
    ----------
    kind : str
        One of `REFUSED`.
    bad, good : tuple of str
        Refused on top of what the kind refuses, and fine.
    null : bool
        Whether nothing may be given.
    needs : tuple of str
        Overrides without which a run does not read the key.
    """

    kind: str
    bad: tuple[str, ...] = ()
    good: tuple[str, ...] = ()
    null: bool = False
    needs: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[str, ...]:
        values = (*REFUSED[self.kind], *self.bad)
        return tuple(v for v in values if not (self.null and v == "null"))


def number(*bad: str, good=(), **options) -> Rule:
    return Rule("number", bad, tuple(good), **options)


def integer(*bad: str, good=(), **options) -> Rule:
    return Rule("integer", bad, tuple(good), **options)


def pair(*bad: str, good=(), **options) -> Rule:
    return Rule("list", ("[]", "[1]", "[0.1,0.2,0.3]", "[0.1,inf]", *bad), tuple(good), **options)


SEED = integer("-1", "99999999999999999999", good=("0", "7"))
THREADS = integer("0", "-1", "1000000000", good=("1",), null=True)
POSITIVE = ("0", "-1", "-1e300")
SHARE = ("-0.1", "1.5", "1e300")
FILES = Rule("path", ("[]", "[nowhere.h5]", "[5]", "a\\0b", "x" * 300))
WEIGHTS = replace(FILES, null=True)  # none: those that ship
RESOLUTION = pair("[0,0.1]", "[-1,0.1]", "[0.1,-1]", "[1e300,0]", good=("[0.02,0.05]",))

RULES = {
    # grids; those of a dataset are read by train.py alone
    "grid.w_min": number("0", "-1", "100", "1e-300", good=("0.01", "0.05")),
    "grid.w_max": number("0", "-1", "1e-9", "1e300", good=("8.0", "9")),
    "grid.n_w": integer("0", "2", "-4", "7", "100000", "1000000000", good=("40", "60")),
    # dmft.py
    "start": Rule("path", ("[metal]", "nowhere.h5", "x" * 300), ("metal", "insulator")),
    "problem.U": number("-1", "100", "1e300", good=("0", "0.5", "3")),
    "problem.eps_d": number("100", "-1e300", good=("-1", "0", "0.3"), null=True),
    "problem.filling": number("0", "2", "-1", "1e300", null=True),
    "problem.hybridization": Rule(
        "path", ("[a]", "nowhere.txt"), ("semicircle",), needs=("lattice=fixed",)
    ),
    "lattice.half_bandwidth": number(*POSITIVE, "1e300", "50", good=("0.8", "1.2")),
    "lattice.path": Rule("path", ("[a]", "nowhere.txt", "x" * 300)),
    "text.cutoff": number(*POSITIVE, "1e300", good=("5", "20")),
    "text.n_tau": integer("0", "1", "-1", "1000000000", good=("2", "11")),
    "loop.tolerance": number(*POSITIVE, good=("0.1", "1e-2")),
    "loop.zero_tolerance": number(*POSITIVE, good=("0.5", "1e-2")),
    "loop.max_iterations": integer("0", "-1", good=("1", "2")),
    "filling_search.tolerance": number(*POSITIVE, needs=("problem.filling=0.9",)),
    "filling_search.max_loops": integer("0", "1", "-1", needs=("problem.filling=0.9",)),
    "mixing.fraction": number(*POSITIVE, "1.5", good=("0.5", "1")),
    "mixing.memory": integer("0", "-1", good=("1", "4")),
    "mixing.max_eigenvalue": number("1", "2", good=("0.1", "-1")),
    "mixing.max_step": number("-1", "0", good=("1", "5")),
    # solvers
    "depths": Rule(
        "list",
        ("[]", "[all,0]", "[all,-1]", "[all,1.5]", "[some]", "[true]", "all",
         "[all,all,all,all,all,all,all,all]"),
        ("[all,2]", "[2,1]", "[all]"),
    ),
    "fit.n_bath": integer("0", "-3", "100000", good=("1", "4"), null=True),
    "ed:bath.n_bath": integer("0", "1", "-3", "100000", good=("3", "4"), null=True),
    "n_bath": integer("0", "1", "-3", "100000", "1000000000000", "9" * 300, good=("3", "4")),
    "spacing": Rule("choice", (), ("equal", "sinh", "geometric")),
    "stretch": number(*POSITIVE, "100", "1e300", good=("1", "3.5")),
    "shift": number("-0.1", "1", "2", good=("0", "0.3")),
    "weight_power": number("-1", "1e300", good=("0", "1")),
    "fit.w_cut": number(*POSITIVE, "1e300", good=("2", "8")),
    "fit.n_starts": integer("0", "-1", "1000000000", good=("1", "3")),
    "fit.symmetric": Rule("flag", (), ("true", "false")),
    "fit.max_evaluations": integer("0", "-1", "1000000000", good=("100",)),
    "window_quantile": number("0", "-1", "1.5", good=("0.9", "1")),
    "solver*n_shifts": integer("0", "-1", "1000000000", good=("1", "2")),
    "sampling.n_shifts": integer("0", "-1", good=("1",)),
    "n_lanczos": integer("0", "-1", "1000000", good=("3", "9")),
    "ground_state_tolerance": number(*POSITIVE, "2", good=("1e-3",)),
    "broadening": RESOLUTION,
    "estimator": Rule("choice", (), ("improved", "ratio", "dyson")),
    "solver*max_memory": number(*POSITIVE, "1e-12", good=("1",)),
    "max_determinants": integer("0", "-1", "1", good=("100000",)),
    "solver.step": number(*POSITIVE, "1", "1e-13", good=("1e-2",)),
    "ipt:solver.tolerance": number(*POSITIVE, "1", good=("1e-6",)),
    "nca:solver.tolerance": number(*POSITIVE, "1", good=("1e-6",)),
    "nca:solver.max_iterations": integer("0", "-1", good=("100",)),
    "network.checkpoint": WEIGHTS,
    "network:solver.checkpoint": WEIGHTS,
    "driver.checkpoint": WEIGHTS,
    "limits": Rule(
        "section",
        ("{spread: abc}", "{distance: nan}", "{nope: 1}", "{spread: null}", "{distance: []}"),
        ("{distance: 0.3}",),
        null=True,
    ),
    "sharpening": integer("-1", "1000", good=("0", "5"), null=True),
    "sharpening.steps": integer("-1", "1000", good=("0", "2"), null=True),
    "sharpening.most": integer("-1", "1000", good=("0", "1")),
    "progress_every": number(*POSITIVE, "1e300", good=("1", "1e-3"), null=True),
    "twin": Rule("path", ("[]", "[nowhere]", "BASE/run0"), null=True),
    "solver.collect": Rule("new path", ("[a]", "BASE/data.h5", "BASE"), null=True),
    "geometry": Rule("choice", (), ("natural", "star", "chain")),
    "bond_dimension": integer("0", "1", "-1", "1000000000", good=("4", "8")),
    "truncation": number("-1"),
    "ground_truncation": number("-1"),
    "energy_tolerance": number(*POSITIVE, "2"),
    "max_sweeps": integer("0", "-1"),
    "solver.contour": Rule("choice"),
    "solver.angle": number("-0.1", "2", "1e300", good=("0.2",)),
    "t_max": number(*POSITIVE, "1e9", "1e300", good=("3", "4")),
    "solver.dt": number(*POSITIVE, "100", "1e-12", good=("0.5",)),
    "solver.order": integer("-1", "5", "3"),
    "squared": Rule("flag"),
    "krylov_tolerance": number(*POSITIVE, "2"),
    "solver.method": Rule("choice"),
    "mps:solver.tolerance": number(*POSITIVE, "1"),
    "with_self_energy": Rule("flag", (), ("true",)),
    "sector": Rule("choice", (), ("search", "mean_field")),
    "checkpoint_every": number("-1", good=("0", "60")),
    "solver.progress": Rule("flag", (), ("false",)),
    # generate.py
    "generate:dataset.path": Rule("new path", ("[a,b]", "x" * 300)),
    "n_trajectories": integer("0", "-1", "1000000000000", good=("1", "2")),
    "sampling.n_iterations": integer("0", "-1", "1000000000000", good=("1", "2")),
    "sampling.tolerance": number(*POSITIVE, good=("1e-2",)),
    "sampling.resolution": RESOLUTION,
    "sampling.every": integer("0", "-1", good=("1", "2")),
    "sampler.seed": SEED,
    "sampling.seed": SEED,
    "U_max": number(*POSITIVE, "0.5", good=("3.5", "4")),
    "U_dense": pair("[3,2]", "[3,9]", "[-1,2]", good=("[1,2]",)),
    "dense_fraction": number(*SHARE, good=("0", "1")),
    "half_filled_fraction": number(*SHARE, good=("0", "1")),
    "start_fractions": Rule(
        "list", ("[]", "[0.5]", "[0.5,0.4]", "[2,-1]", "[0.5,0.1,0.1,0.1,0.1,0.1]"), ("[1]",)
    ),
    "sampler.mixing": pair("[0,1]", "[0.5,2]", "[1,0.4]", good=("[0.5,0.5]",)),
    "sampler.block": integer("0", "2", "-1", "1000000000", good=("3", "9")),
    "sampling.block": integer("2", "-1", "1000000000", good=("0", "3")),
    "highest_level": number("-1e300", good=("0.3",)),
    "lowest_level": number("1e300", good=("-1.5",), null=True),
    "largest_shift": number("0", "-0.5", good=("0.5",), null=True),
    "doped_symmetric": number("-0.1", "1.5", good=("0", "0.5")),
    "sampling.problems": FILES,
    "sampling.resolve": Rule("flag", (), ("true", "false")),
    "sampling.series": Rule(
        "list",
        ("[]", "[5]", "[{U: [1]}]", "[{U: [a], shift: [0], start: metal}]",
         "[{U: [1], shift: [0], start: gas}]", "[{U: [-1], shift: [0], start: metal}]",
         "[{U: [1], filling: [3], start: metal}]", "[{path: [], start: metal}]",
         "[{U: [1], shift: [0], start: metal, lattice: nope}]",
         "[{U: [1], shift: [0], start: metal, settings: {nope: 1}}]"),
    ),
    "executor.n_workers": integer(
        "0", "-1", "1000000000", null=True, needs=("executor=local",)
    ),
    "max_in_flight": integer("0", "-1", good=("1", "9")),
    "generate:max_memory": number(*POSITIVE, "1e-12", good=("1",)),
    "seed": SEED,
    "threads": THREADS,
    # train.py
    "train:dataset.path": FILES,
    "dataset.angles": Rule(
        "list", ("[]", "[0]", "[-0.1]", "[2]", "[0.1,1.6]"), ("[0.1]", "[0.05,0.3]")
    ),
    "dataset.resolution": RESOLUTION,
    "batch_size": integer("0", "-1", good=("1", "1000000")),
    "particle_hole_augmentation": Rule("flag", (), ("true", "false")),
    "held_out_U": Rule("list", ("[[2,1]]", "[1,2]", "[[1]]", "[[nan,1]]", "[[a,b]]"), ("[]",)),
    "model.width": integer("0", "-4", "1000000", "10000000000", good=("4", "8")),
    "n_heads": integer("0", "-2", "3", good=("1", "2")),
    "n_blocks": integer("0", "-1", "1000000000", good=("1",)),
    "n_encoder": integer("0", "-1", "1000000000", good=("1",)),
    "n_decoder": integer("0", "-1", good=("1",)),
    "n_tokens": integer("0", "-1", "1000000000", good=("1", "3")),
    "model.pairs": integer("0", "-1", "7", "1000", good=("1", "2")),
    "periodic": number("0", "-1", "0.5", "2", good=("0.25", "0.3")),
    "dropout": number("-0.1", "1", "2", good=("0", "0.3")),
    "model.guesses": Rule("flag"),
    "guess_names": Rule("list", ("[]", "[ipt,abc]", "[ipt,lower]", "[ipt,ipt]"), ("[ipt]",)),
    "log_residual": Rule("flag"),
    "parameter_scale": number("-1", "1e300", good=("0", "2")),
    "gammas": Rule("list", ("[]", "[0]", "[-1]"), ("[1.0]",)),
    "ridges": Rule("list", ("[]", "[0]", "[-1]"), ("[0.1]",)),
    "loss.lam": number("-1", "-1e300", good=("0", "0.3")),
    "loss.mu": number(*POSITIVE, good=("0.5",)),
    "loss.angle": number(*POSITIVE, "0.5", good=("0.1",)),
    "loss.amplitude": Rule("flag", (), ("true", "false")),
    "optimizer.lr": Rule("foreign", ("-1",), ("0", "1e-3")),
    "weight_decay": Rule("foreign", ("-1",), ("0", "0.1")),
    "max_epochs": integer("0", "-1", good=("1",)),
    "check_val_every_n_epoch": integer("0", "-1", good=("1", "5")),
    "head.eta": number(*POSITIVE, "1e300", good=("0.01",)),
    "head.slope": number("-1", "1e300", good=("0", "0.1")),
    "head.power": number(*POSITIVE, "1e300", good=("1",)),
    "closure.references": Rule("path", ("[a]", "nowhere.h5")),
    "every_n_validations": integer("-1", good=("0", "1")),
    "closure.tolerance": number(*POSITIVE),
    "closure.max_iterations": integer("0", "-1"),
    "half_filled_U": Rule("list", (), ("[0.5]",), null=True),
    "stability.split": Rule("choice", (), ("val", "test", "train")),
    "latent.splits": Rule("list", ("[]", "[nope]", "[val,5]")),
    "warmup_fraction": number(*SHARE, good=("0", "1")),
    "angles_per_step": integer("-1", good=("0", "1")),
    "module.max_memory": number(*POSITIVE, "1e-12"),
    "monitor": Rule("choice", ("val/loss", "train/loss"), ("val/kl_median",)),
    "init_from": Rule("path", ("[a]",), null=True),
    "resume": Rule("path", ("[a]", "BASE/dos.txt", "BASE"), null=True),
    "baselines": Rule("flag", (), ("true", "false")),
    # evaluate.py and ship.py
    "checkpoints": Rule("path", ("[]", "[nowhere]", "[5]", "no/such/*")),
    "ensembles": Rule("section", ("{both: 5}", "{both: [nowhere]}", "{both: null}")),
    "best": Rule("path", ("nobody",), null=True),
    "references": Rule("path", ("[a]", "nowhere.h5")),
    "test_references": Rule("path", ("[a]", "nowhere.h5"), null=True),
    "shown_U": Rule("list"),
    "results": Rule("new path", ("[a]",), null=True),
    "rerender": Rule("path", ("[a]", "BASE"), null=True),
    "hysteresis.metal": Rule("list", ("[]", "[1]", "[2,1]", "[-1,1]")),
    "hysteresis.insulator": Rule("list", ("[]", "[1]", "[1,2]", "[1,-1]")),
    "evaluate:dataset.path": FILES,
    "ship:dataset.path": FILES,
    "ship:folder": Rule("new path", ("[a]", "BASE", "BASE/data.h5")),
    "max_size": number(*POSITIVE, "1e-9"),
    "calibration.kl": number(*POSITIVE, "1e-12"),
    "calibration.share": number(*POSITIVE, "1.5"),
    "calibration.confidence": number(*POSITIVE, "0.4", "1"),
}  # fmt: skip

UNREAD = {
    "generate": ("dataset.grid.*", "dataset.[abhrs]*", "dataset.par*"),
    "evaluate": (
        "dataset.grid.*",
        "dataset.angles",
        "dataset.resolution",
        "dataset.held_out_U",
    ),
    "ship": ("dataset.grid.*", "dataset.angles", "dataset.resolution"),
    "network": ("grid.*",),
    "guarded": ("grid.*",),
    "fixed": ("start",),
    "collected": ("lattice.*",),
    "chosen": ("references",),
    "kernel_ridge": ("loss.*", "optimizer.*", "head.*", "module.*", "callbacks.*", "resume"),
}
"""Keys that a script, or a variant of its run, does not read."""


def rule_of(script: str, variant: tuple[str, ...], key: str) -> Rule | None:
    """The rule of a key in a run, None where there is none, or the run does not read it."""
    names = (script, *variant)
    if any(fnmatch(key, pattern) for name in names for pattern in UNREAD.get(name, ())):
        return None
    for pattern in sorted(RULES, key=len, reverse=True):
        of, _, end = pattern.rpartition(":")
        if (not of or of in names) and (fnmatch(key, end) or fnmatch(key, f"*.{end}")):
            return RULES[pattern]
    return None

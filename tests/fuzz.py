"""Bad input, drawn at random, must end in one line: python tests/fuzz.py 1000

Each case is a small run of one of the five scripts (`fuzz_runs`) with a value of its config changed
(`fuzz_rules`) or one of its files spoiled (`fuzz_files`), in a process of its own, forked from this
one, within 60 s of one core and 4 GiB. It may end in success, in exit status 2 with one line
``error: ...`` and nothing written, or, of dmft.py, in exit status 1 with the reason why the loop
did not converge; what is wrong for certain must end in the second. Cases depend on (seed, number)
alone:

    python tests/fuzz.py --case 17 --seed 0     one of them, with all that it prints
    python tests/fuzz.py --every                not at random: each key with each value of its rule
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ |= {"MPLBACKEND": "Agg", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"  # may be forked, which others may not
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402
from fuzz_files import copied, make_base, spoil  # noqa: E402
from fuzz_rules import rule_of  # noqa: E402
from fuzz_runs import GROUPS, MLP, RESULTS, RUNS, TRAIN, Run  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402
from hydra.core.global_hydra import GlobalHydra  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

from dmftnet.config import run as run_script  # noqa: E402
from dmftnet.evaluation.latent_map import latent_map  # noqa: E402
from dmftnet.scripts import dmft, evaluate, generate, ship, train  # noqa: E402

SCRIPTS = {"dmft": dmft, "generate": generate, "train": train, "evaluate": evaluate, "ship": ship}
SHARES = {"dmft": 0.36, "generate": 0.2, "train": 0.2, "evaluate": 0.12, "ship": 0.12}
KINDS = {"value": 0.42, "file": 0.26, "name": 0.07, "valid": 0.25}
SECONDS, GIB = 60, 4
NOISE = re.compile("GPU available|TPU available|💡 Tip|Loading `train|.*_pytree.py:|`Trainer.fit`")
"""What Lightning says of itself on stderr before an error of the training can come."""


@dataclass
class Case:
    """One drawn run.

    Parameters
    ----------
    run : Run
    overrides : list of str
        On top of the run's own.
    wrong : bool
        Whether it must be refused.
    prepare : callable, optional
        ``folder -> (override, what was done, whether it is no good for certain)``.
    """

    run: Run
    overrides: list[str] = field(default_factory=list)
    wrong: bool = False
    prepare: Callable[[Path], tuple[str, str, bool]] | None = None
    done: str = ""


def leaves(node, prefix: str = ""):
    """(key, value) of every leaf of a plain config; lists are leaves."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, node


def keys_of(run: Run) -> list[str]:
    """The keys of a run's config, apart from classes."""
    if run not in _KEYS:
        search = f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]"
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose(run.script, [search, *run.overrides])
        plain = OmegaConf.to_container(config)
        _KEYS[run] = [key for key, _ in leaves(plain) if not key.split(".")[-1].startswith("_")]
    return _KEYS[run]


_KEYS: dict[Run, list[str]] = {}


def draw(seed: int, number: int) -> Case:
    """The case with this number."""
    rng = np.random.default_rng([seed, number])
    script = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    runs = [run for run in RUNS if run.script == script]
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "file":
        runs = [run for run in runs if run.inputs]
    weights = np.array([run.weight for run in runs])
    run = runs[rng.choice(len(runs), p=weights / weights.sum())]
    return {"value": _value, "file": _file, "name": _name, "valid": _valid}[kind](run, rng)


def every() -> list[Case]:
    """Each value that a rule names, of each key of each script, once."""
    cases: dict[tuple[str, str, str], Case] = {}
    for run in RUNS:
        for key in keys_of(run):
            rule = rule_of(run.script, run.names, key)
            if rule is None:
                continue
            for value in (*rule.refused, *rule.good):
                case = Case(run, [*rule.needs, f"{key}={value}"], value in rule.refused)
                cases.setdefault((run.script, key, value), case)
    return list(cases.values())


def _value(run: Run, rng) -> Case:
    """A value that the key's rule refuses; nonsense where there is no rule."""
    keys = keys_of(run)
    key = keys[rng.integers(len(keys))]
    rule = rule_of(run.script, run.names, key)
    if rule is None:
        junk = ("abc", "null", "-1", "nan", "[]", "{a: 1}", "''", "true")
        return Case(run, [f"{key}={junk[rng.integers(len(junk))]}"])
    value = rule.refused[rng.integers(len(rule.refused))]
    return Case(run, [*rule.needs, f"{key}={value}"], wrong=True)


def _valid(run: Run, rng) -> Case:
    """One or two values that the rules name as fine."""
    known = [(key, rule_of(run.script, run.names, key)) for key in keys_of(run)]
    open_ = [(key, rule) for key, rule in known if rule is not None and rule.good]
    overrides: list[str] = []
    for index in rng.permutation(len(open_))[: rng.integers(1, 3)]:
        key, rule = open_[index]
        overrides += [*rule.needs, f"{key}={rule.good[rng.integers(len(rule.good))]}"]
    return Case(run, overrides)


def _name(run: Run, rng) -> Case:
    """An unknown member of a group, key or argument, or a class that is none."""
    groups = GROUPS[run.script]
    group = groups[rng.integers(len(groups))]
    section = "dataset" if group in ("sampling", "callbacks", "logger") else group
    ways = [
        f"{group}=unknown", "unknown=1", f"{section}.unknown=1", f"++{section}.unknown=1",
        f"{section}._target_=no.such.thing", f"{section}=[", f"{section}.a.b=1",
    ]  # fmt: skip
    way = ways[rng.integers(len(ways))]
    unread = run.script == "generate" and section == "dataset" and "=unknown" not in way
    certain = not (unread or ("head=" in " ".join(run.overrides) and section == "head"))
    certain &= not ("kernel_ridge" in run.names and section in ("loss", "optimizer", "head"))
    certain &= not ("kernel_ridge" in run.names and section == "trainer")
    refused_by_hydra = way.endswith(("=unknown", "=1", "=[")) and not way.startswith("++")
    certain &= not (run.script == "evaluate" and "_target_" in way)
    return Case(run, [way], wrong=certain or refused_by_hydra)


def _file(run: Run, rng) -> Case:
    """An input that is spoiled."""
    key, name = run.inputs[rng.integers(len(run.inputs))]
    state = np.random.default_rng(rng.integers(2**63))

    def prepare(folder: Path) -> tuple[str, str, bool]:
        first = name.split("/")[0]
        if first == ".labels":  # beside the dataset that is named
            copied(BASE / "data.h5", folder / "in" / "data.h5")
            labels = sorted(copied(BASE / first, folder / "in" / first).glob("*.safetensors"))[0]
            return f"{key}={folder / 'in' / 'data.h5'}", spoil(labels, state)[0], False
        copied(BASE / first, folder / "in" / first)
        done, certain = spoil(folder / "in" / name, state)
        return f"{key}={folder / 'in' / first}", done, certain

    return Case(run, prepare=prepare)


BASE = Path()


@dataclass
class Outcome:
    """How a case ended: `failure` is empty where it ended as it may."""

    case: Case
    command: str
    status: int
    stderr: str
    seconds: float
    peak: float
    failure: str = ""


def execute(case: Case, folder: Path) -> Outcome:
    """Run a case in a child process and judge it."""
    folder.mkdir(parents=True)
    overrides = list(case.overrides)
    if case.prepare is not None:
        override, case.done, case.wrong = case.prepare(folder)
        overrides.append(override)
    places = (("BASE", str(BASE)), ("HERE", str(folder)))
    arguments = [
        f"--config-path={ROOT / 'conf'}",
        f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]",
        f"hydra.run.dir={folder / 'run'}",
    ]
    for word in (*case.run.overrides, *overrides):
        for name, place in places:
            word = word.replace(name, place)
        arguments.append(word)
    inputs = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    child = os.fork()
    if child == 0:
        _child(case.run.script, arguments, folder)
    _, wait_status, usage = os.wait4(child, 0)
    seconds = usage.ru_utime + usage.ru_stime
    signalled = os.WIFSIGNALED(wait_status)
    status = -os.WTERMSIG(wait_status) if signalled else os.WEXITSTATUS(wait_status)
    command = f"{case.run.script}.py " + " ".join(f"'{word}'" for word in arguments[3:])
    stderr = (folder / "stderr").read_text(errors="replace")
    outcome = Outcome(case, command, status, stderr, seconds, usage.ru_maxrss / 2**20)
    outcome.failure = judge(outcome, folder, inputs)
    return outcome


def _child(script: str, arguments: list[str], folder: Path) -> None:
    """What the forked process does; it never returns."""
    status = 0
    try:
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
        os.chdir(folder)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: a busy machine is no
        signal.alarm(10 * SECONDS)  # defect, a run that waits for ever is; either ends the process
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + GIB * 2**30,) * 2)
        sys.argv = [f"{script}.py", *arguments]
        run_script(SCRIPTS[script].main)
    except SystemExit as exit_:
        status = exit_.code or 0
    except BaseException:
        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def judge(outcome: Outcome, folder: Path, inputs: dict[Path, bytes]) -> str:
    """What is wrong with how a case ended; empty if nothing is."""
    case, lines = outcome.case, outcome.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    if "Traceback" in outcome.stderr or outcome.status not in (0, 1, 2):
        return "a traceback" if outcome.status >= 0 else f"killed by signal {-outcome.status}"
    if outcome.status == 1:
        reported = any(line.startswith("not converged: ") for line in lines)
        if case.run.script != "dmft" or not reported:
            return "exit status 1 without a reason"
    others = [line for line in lines if line not in errors and not NOISE.match(line)]
    if outcome.status == 2 and (len(errors) != 1 or others):
        return "exit status 2 without one line, and no other, that says why"
    if outcome.status != 2 and case.wrong:
        return "accepted"
    if outcome.status == 2:
        left = [name for name in RESULTS[case.run.script] if (folder / name).exists()]
        if left:
            return f"an error, and yet {left} was written"
    kept = {path: old for path, old in inputs.items() if ".labels" not in path.parts}
    changed = [path.name for path, old in kept.items() if path.read_bytes() != old]
    return f"the input {changed} was changed" if changed else ""


def make_checkpoint(folder: Path) -> None:
    """``last.ckpt`` of one short training, made in a child like every run."""
    case = Case(Run("train", (), (*TRAIN, *MLP, "callbacks=none")))
    outcome = execute(case, folder / "training")
    assert outcome.status == 0, outcome.stderr
    shutil.copyfile(folder / "training/run/checkpoints/last.ckpt", BASE / "last.ckpt")


def warm_up() -> None:
    """Compile here, once, what every child would compile for itself: the map of evaluate.py."""
    rng = np.random.default_rng(0)
    latent_map(rng.random((40, 16)), *rng.random((3, 40)))


def describe(number: int, seed: int, outcome: Outcome) -> str:
    """All that is needed to see a case again."""
    done = f"\n  with {outcome.case.done}" if outcome.case.done else ""
    said = "\n".join(f"  | {line}" for line in outcome.stderr.splitlines()[-25:])
    return (
        f"case {number}: {outcome.failure or 'as it should be'}, status {outcome.status}, "
        f"{outcome.seconds:.1f} s, {outcome.peak:.2f} GiB\n  {outcome.command}{done}\n"
        f"  again: python tests/fuzz.py --case {number} --seed {seed}\n{said}"
    )


def main() -> int:
    """Run the cases that the command line asks for; 1 if any ended as it must not."""
    global BASE
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, nargs="?", default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this one alone, and what it prints")
    parser.add_argument("--every", action="store_true", help="every key with every value")
    parser.add_argument("--verbose", action="store_true", help="every case as it ends")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        BASE = Path(name) / "base"
        BASE.mkdir()
        make_base(BASE)
        make_checkpoint(Path(name))
        if options.case is None:
            warm_up()
        GlobalHydra.instance().clear()
        listed = every() if options.every else None
        count = options.count if listed is None else len(listed)
        numbers = range(count) if options.case is None else [options.case]
        outcomes = {}
        for number in numbers:
            folder = Path(name) / f"case{number}"
            case = draw(options.seed, number) if listed is None else listed[number]
            outcomes[number] = outcome = execute(case, folder)
            if outcome.failure or options.verbose or options.case is not None:
                print(describe(number, options.seed, outcome), flush=True)
            if options.case is not None:
                print((folder / "stdout").read_text(errors="replace"))
            shutil.rmtree(folder, ignore_errors=True)
    failed = [number for number, outcome in outcomes.items() if outcome.failure]
    ends = Counter({0: "success", 1: "not converged", 2: "error"}.get(o.status, "other")
                   for o in outcomes.values())  # fmt: skip
    wrong = sum(outcome.case.wrong for outcome in outcomes.values())
    slowest = max(outcomes, key=lambda n: outcomes[n].seconds)
    peak = max(outcomes, key=lambda n: outcomes[n].peak)
    print(
        f"{len(outcomes) - len(failed)} of {len(outcomes)} cases ended as they may: "
        f"{', '.join(f'{count} {end}' for end, count in sorted(ends.items()))}; {wrong} were "
        f"wrong for certain; {time.monotonic() - began:.0f} s in all, the longest "
        f"{outcomes[slowest].seconds:.1f} s (case {slowest}), at most {outcomes[peak].peak:.2f} "
        f"GiB (case {peak})"
    )
    if failed:
        print(f"failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""A correction as a solver, from a folder: what is read, and what is refused in one line."""

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from toy_correction import (
    RANGES,
    SOLVERS,
    toy_arrays,
    toy_checkpoint,
    toy_ensemble,
    toy_model,
    toy_problem,
    toy_record,
)

from dmftnet.errors import DmftnetError, StoreError
from dmftnet.models.correction.checkpoint import CORRECTIONS, save_correction
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.trust import FeatureDistance, load_trust
from dmftnet.models.shipping.shipped import save_shipped
from dmftnet.models.solvers.correction import CorrectionSolver, built_solver
from dmftnet.models.training.folder import TRAINING_POINTS
from dmftnet.physics.solvers.krylov.ed import EdSolver


@pytest.fixture
def shipped(tmp_path):
    """A folder as ship.py writes it."""
    runs = [toy_checkpoint(tmp_path / f"run{seed}", seed) for seed in (0, 1)]
    distance = FeatureDistance.fit(toy_model(0), toy_arrays())
    limits = {"limits": {"spread": 0.1, "distance": 20.0}}
    return save_shipped(tmp_path / "weights", runs, lambda _: (limits, distance), CORRECTIONS)


def test_a_folder_is_the_solver_that_was_saved(shipped):
    solver, known = CorrectionSolver(shipped), toy_ensemble()
    assert isinstance(solver.model, CorrectionEnsemble) and solver.label == "weights"
    assert solver.limits == {"spread": 0.1, "distance": 20.0} and solver.trust.ranges == RANGES
    given = toy_problem(2.0, -0.9)
    one, other = solver.solve(given), known.solve(given)
    # of half the precision, relative 5e-4 a weight
    np.testing.assert_allclose(one.matsubara_greens(), other.matsubara_greens(), rtol=5e-3)
    for score in ("spread", "distance"):
        assert one.diagnostics[score] == pytest.approx(other.diagnostics[score], rel=0.05)
    assert CorrectionSolver(shipped, {"spread": 0.5}).limits == {"spread": 0.5, "distance": 20.0}


def test_a_single_run_is_a_solver_without_limits(tmp_path):
    solver = CorrectionSolver(toy_checkpoint(tmp_path / "run"))
    assert (
        solver.limits == {} and solver.solve(toy_problem(2.0, -0.9)).diagnostics["spread"] is None
    )
    with pytest.raises(DmftnetError, match=r"limits.spread is given, but 'run' is a single model"):
        CorrectionSolver(tmp_path / "run", {"spread": 1.0})
    with pytest.raises(DmftnetError, match="holds no training points; make one that does with"):
        CorrectionSolver(tmp_path / "run", {"distance": 1.0})


def changed(folder, **change):
    path = folder / "model.yaml"
    record = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({k: v for k, v in (record | change).items() if v is not None}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": None}, r"lacks \['inputs'\]"),
        ({"inputs": "ipt"}, "inputs = 'ipt'"),
        ({"inputs": ["nca"]}, r"names no solver for \['nca'\]"),
        ({"size": "large"}, "size = 'large': give a number"),
        ({"members": [""]}, r"lists members \[''\]; give names of folders inside it"),
        ({"members": []}, r"lists members \[\]; give names of folders inside it"),
        ({"members": ["."]}, r"lists members \['.'\]|is an ensemble itself"),
        ({"members": ["member_0", "nowhere"]}, "no checkpoint at '.*nowhere'"),
        ({"limits": {"spread": "abc"}}, "limits.spread = 'abc': give a number"),
        ({"limits": [1]}, r"limits = \[1\]: give a section"),
        ({"ranges": {"T": [0.0, 1.0]}}, "ranges.T is unknown"),
        ({"training": {"seconds": "long"}}, "training.seconds = 'long': give a number"),
        ({"provenance": {"commit": 7}}, "provenance.commit = 7: give text"),
        ({"n_orb": 0}, "n_orb = 0"),
        ({"ranges": {"U": [0.0]}}, r"ranges.U = \[0.0\]: give a list of 2 numbers"),
        ({"schema": "dmftnet-model"}, "use it with solver=network"),
        ({"schema": ["x"]}, "is no model description"),
        ({"schema_version": 9}, "has schema version 9"),
    ],
)
def test_a_description_that_says_nonsense_is_one_line(shipped, change, words):
    changed(shipped, **change)
    with pytest.raises(DmftnetError, match=words) as caught:
        CorrectionSolver(shipped)
    assert "\n" not in str(caught.value)


def test_an_ensemble_has_no_ensembles(shipped):
    changed(shipped / "member_0", members=["member_0"])
    with pytest.raises(StoreError, match="is an ensemble itself; a member is a single model"):
        CorrectionSolver(shipped)


@pytest.mark.parametrize("name", ["member_1/model.safetensors", TRAINING_POINTS])
def test_a_damaged_file_is_one_line(shipped, name):
    path = shipped / name
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StoreError, match=r"is damaged.*(copy it a)") as caught:
        CorrectionSolver(shipped)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("points", lambda a: np.full_like(a, np.nan)),
        ("points", lambda a: a[:, :-1]),
        ("mean", lambda a: a[:-1]),
        ("points", lambda a: a[:0]),
    ],
)
def test_training_points_that_do_not_fit_are_one_line(shipped, name, change):
    arrays = load_file(shipped / TRAINING_POINTS)
    save_file(
        {**arrays, name: np.ascontiguousarray(change(arrays[name]))}, shipped / TRAINING_POINTS
    )
    with pytest.raises(StoreError, match=r"training points of shapes .*; run ship.py"):
        load_trust(shipped)


def test_training_points_of_another_model_are_one_line(shipped):
    arrays = load_file(shipped / TRAINING_POINTS)
    cut = {"mean": arrays["mean"][:-2], "axes": np.ascontiguousarray(arrays["axes"][:, :-2])}
    save_file({**arrays, **cut}, shipped / TRAINING_POINTS)
    with pytest.raises(StoreError, match="training points are of another model"):
        CorrectionSolver(shipped)


def test_weights_of_another_model_are_one_line(tmp_path):
    folder = toy_checkpoint(tmp_path / "run")
    changed(folder, model=toy_record()["model"] | {"width": 13})
    with pytest.raises(StoreError, match="does not fit CorrectionNetwork"):
        CorrectionSolver(folder)


def test_a_description_that_would_be_incomplete_is_not_written(tmp_path):
    with pytest.raises(StoreError, match=r"lacks \['solvers'\]"):
        record = {key: value for key, value in toy_record().items() if key != "solvers"}
        save_correction(tmp_path / "run", toy_model(), record)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"_target_": "os.system", "command": "true"},
            "'os.system' is no class of dmftnet.physics",
        ),
        ({"_target_": "dmftnet.physicsx.Ipt"}, "is no class of dmftnet.physics"),
        ({"_target_": "dmftnet.models.solvers.network.NetworkSolver"}, "is no class of"),
        ({"_target_": "dmftnet.physics.solvers.nothing.Ipt"}, "is no class of"),
        ({"_target_": "dmftnet.physics.lattices.bethe.semicircle"}, "is no class of"),
        ({"_target_": "dmftnet.physics.lattices.bethe.Bethe"}, "is no impurity solver"),
        ({**SOLVERS["ipt"], "colour": 1}, "IptSolver: .*colour"),
        ({}, "is no impurity solver"),
    ],
)
def test_a_folder_can_name_solvers_of_the_project_alone(config, words):
    with pytest.raises(DmftnetError, match=words) as caught:
        built_solver(config)
    assert "\n" not in str(caught.value)


def test_solvers_are_built_with_what_is_inside_them():
    ed = built_solver(
        {
            "_target_": "dmftnet.physics.solvers.krylov.ed.EdSolver",
            "fit": {"_target_": "dmftnet.physics.bath.fit.MatsubaraFit", "n_bath": 2},
        }
    )
    assert isinstance(ed, EdSolver) and ed.fit.n_bath == 2

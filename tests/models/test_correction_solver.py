"""A correction as a solver: exact laws, limits, folders; guarded, who answers.

The contract suite (`physics.contract`) has it too. Nothing here depends on what it has learned.
"""

import warnings

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file, save_file
from toy_correction import (
    RANGES,
    SOLVERS,
    toy_arrays,
    toy_checkpoint,
    toy_ensemble,
    toy_model,
    toy_record,
    toy_solver,
)

from dmftnet.errors import ConvergenceError, DmftnetError, DmftnetWarning, StoreError
from dmftnet.models.correction.answers import measured, project
from dmftnet.models.correction.checkpoint import save_correction
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import CorrectionModel, as_problems
from dmftnet.models.correction.outputs import Outputs
from dmftnet.models.correction.trust import POINTS, FeatureDistance, load_trust
from dmftnet.models.shipping.shipped import CORRECTIONS, save_shipped
from dmftnet.models.solvers.correction import CorrectionSolver, built_solver
from dmftnet.models.solvers.guarded import GuardedCorrection
from dmftnet.physics.dmft.loop import DMFTLoop
from dmftnet.physics.dmft.summary import summarize
from dmftnet.physics.grids.matsubara import ImaginaryAxis, thermal_tau
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import IMAGINARY, REAL, Capabilities
from dmftnet.physics.lattices.bethe import Bethe
from dmftnet.physics.solvers.ctseg.solver import CtsegSolver
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.perturbative.hubbard1 import Hubbard1Solver
from dmftnet.physics.solvers.perturbative.ipt import IptSolver

BETA = 16.0
ENERGIES, WEIGHTS = np.array([-0.7, 0.15, 0.8]), np.array([0.1, 0.06, 0.09])
NOTHING = {"spread": 0.0}


def problem(U=2.0, eps_d=-0.8, scale=1.0, strength=1.0, beta=BETA):
    """Three levels of weight 1/4, known at Matsubara frequencies; energies times `scale`."""
    axis = ImaginaryAxis.universal(beta / scale, 1600.0, 1e-9)
    z = 1j * axis.omega_n
    weights = strength * WEIGHTS * scale**2
    delta = (weights / (z[:, None] - ENERGIES * scale)).sum(1)
    bath = MatsubaraHybridization(axis, delta[None])
    return ImpurityProblem([eps_d * scale], Interaction(U * scale), bath, beta / scale)


CASES = [problem(), problem(3.0, -1.5), problem(1.0, -0.1), problem(2.5, -2.1, beta=5.0)]


@pytest.fixture(scope="module", params=["single", "wild", "ensemble"], name="solver")
def _solver(request):
    made = {"single": toy_solver, "wild": lambda: toy_solver("wild"), "ensemble": toy_ensemble}
    return made[request.param]()


# --- laws that hold whatever was learned ----------------------------------------------------------


@pytest.mark.parametrize("case", range(len(CASES)))
def test_norm_boundary_and_causality_are_exact(solver, case):
    solution = solver.solve(CASES[case])
    beta, axis = solution.problem.beta, solution.axis
    ends = solution.greens_tau(np.array([0.0, beta]))[0]
    assert ends.sum() == pytest.approx(-1, abs=1e-8)
    assert -2 * ends[1] == pytest.approx(solution.filling, abs=1e-12)
    sigma, greens = solution.matsubara_self_energy()[0], solution.matsubara_greens()[0]
    assert sigma.imag.max() <= 0 and greens.imag.max() < 0
    curve = -solution.greens_tau(np.linspace(0, beta, 201))[0]
    assert curve.min() > 0 and np.diff(curve, 2).min() > -1e-8
    z, U, n = 1j * axis.omega_n[-1], solution.problem.U, solution.filling / 2
    assert sigma[-1].real == pytest.approx(U * n, abs=1e-3)
    assert (z * (sigma[-1] - U * n)).real == pytest.approx(U**2 * n * (1 - n), rel=1e-2)


def test_the_projection_has_work_to_do():
    """Else the tests here would prove little: of a positive measure Re q lies between 0 and 1."""
    model, problems = toy_model(0, "wild"), as_problems(toy_arrays(12, 5))
    with torch.no_grad():
        q = model.outputs(problems).q
        projected = measured(model, problems, project(model, problems, q)).real
    assert q.real.max() > 1.01
    assert projected.max() <= 1 and projected.min() >= 0


def test_the_unit_of_energy_means_nothing(solver):
    """The same problem in other units, on its axis in these: the same answer, scaled."""
    for scale in (0.037, 27.2):
        one, other = solver.solve(problem()), solver.solve(problem(scale=scale))
        for here, there, power in (
            (one.matsubara_greens(), other.matsubara_greens(), 1),
            (one.matsubara_self_energy(), other.matsubara_self_energy(), -1),
        ):
            size = np.abs(here).max()
            np.testing.assert_allclose(there * scale**power, here, rtol=0, atol=1e-7 * size)
        assert other.filling == pytest.approx(one.filling, abs=1e-8)
        assert other.double_occupancy == pytest.approx(one.double_occupancy, abs=1e-8)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_mirrored_problem_has_the_mirrored_answer(solver, case):
    """``n -> 2 - n``, ``Sigma -> U - Sigma^*``, ``d -> d + 1 - n``."""
    one, mirror = (solver.solve(p) for p in (CASES[case], CASES[case].particle_hole()))
    assert one.filling + mirror.filling == pytest.approx(2, abs=1e-6)
    expected = one.problem.U - one.matsubara_self_energy().conj()
    np.testing.assert_allclose(mirror.matsubara_self_energy(), expected, rtol=0, atol=1e-5)
    double = one.double_occupancy + 1 - one.filling
    assert mirror.double_occupancy == pytest.approx(double, abs=1e-6)


def test_at_half_filling_it_is_half_filled(solver):
    """To what a correction makes of the last digits of `ipt`, whose density is good to 1e-7."""
    axis = ImaginaryAxis(BETA)
    z = 1j * axis.omega_n
    delta = 0.125 / (z - 0.5) + 0.125 / (z + 0.5)
    bath = MatsubaraHybridization(axis, delta[None])
    solution = solver.solve(ImpurityProblem([-1.0], Interaction(2.0), bath, BETA))
    assert solution.filling == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("eps_d", [-0.4, 0.0, 0.3])
def test_without_interaction_it_is_exact(solver, eps_d):
    """G of four levels in closed form."""
    solution = solver.solve(problem(0.0, eps_d))
    matrix = np.diag(np.concatenate([[eps_d], ENERGIES]))
    matrix[0, 1:] = matrix[1:, 0] = np.sqrt(WEIGHTS)
    poles, vectors = np.linalg.eigh(matrix)
    tau = np.linspace(0, BETA, 41)
    expected = thermal_tau(poles, vectors[0] ** 2, tau, BETA)
    np.testing.assert_allclose(solution.greens_tau(tau)[0], expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(solution.matsubara_self_energy(), 0, rtol=0, atol=1e-12)
    assert solution.double_occupancy == pytest.approx((solution.filling / 2) ** 2, abs=1e-7)


@pytest.mark.parametrize("strength", [0.0, 1e-12])
def test_without_a_bath_it_is_the_atom(solver, strength):
    """Levels at eps_d and eps_d + U, weights ``1 - n/2`` and ``n/2``, by Boltzmann factors."""
    U, eps_d = 2.0, -0.8
    solution = solver.solve(problem(U, eps_d, strength=strength))
    levels = np.array([0.0, eps_d, eps_d, 2 * eps_d + U])
    boltzmann = np.exp(-BETA * (levels - levels.min()))
    share = boltzmann / boltzmann.sum()
    n = share[1] + share[3]  # of one spin
    z = 1j * solution.axis.omega_n
    exact = (1 - n) / (z - eps_d) + n / (z - eps_d - U)
    np.testing.assert_allclose(solution.matsubara_greens()[0], exact, rtol=0, atol=1e-7)
    assert solution.double_occupancy == pytest.approx(share[3], abs=1e-8)
    assert solution.diagnostics["warning"] == ""


def test_a_batch_is_its_problems(solver):
    """Mixed temperatures, an atom among them; float32 sums of the network depend on the batch."""
    problems = [CASES[0], problem(strength=0.0), *CASES[1:]]
    together = solver.solve_batch(problems)
    assert [s.problem for s in together] == problems and solver.solve_batch([]) == []
    for one, other in zip(map(solver.solve, problems), together, strict=True):
        for ask in ("matsubara_greens", "matsubara_self_energy"):
            here, there = getattr(one, ask)(), getattr(other, ask)()
            np.testing.assert_allclose(here, there, rtol=0, atol=1e-5 * np.abs(here).max())


def test_a_plain_network_answers_too():
    """G by interpolation, Sigma by Dyson's equation; its norm is its own."""
    solver = toy_solver("plain")
    solution = solver.solve(CASES[0])
    assert np.isfinite(solution.matsubara_greens()).all()
    z, known = 1j * solution.axis.omega_n, solution.problem.hybridization.values
    free = z - solution.problem.eps_d[:, None] - known
    inverse = free - solution.matsubara_self_energy()
    np.testing.assert_allclose(1 / inverse, solution.matsubara_greens(), rtol=1e-9)


def test_levels_are_read_as_in_training():
    """Approximations see a bath of levels at Matsubara frequencies, as the databases do."""
    solver, given = toy_solver(), problem()
    levels = given.moved(PoleHybridization(ENERGIES, np.sqrt(WEIGHTS)[:, None]))
    one, other = solver.solve(given), solver.solve(levels)
    assert other.filling == pytest.approx(one.filling, abs=1e-7)
    assert other.double_occupancy == pytest.approx(one.double_occupancy, abs=1e-7)


# --- limits ---------------------------------------------------------------------------------------


def test_within_the_limits_nothing_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnostics = toy_ensemble(ranges=RANGES).solve(problem(2.0, -0.9)).diagnostics
    assert diagnostics["warning"] == "" and diagnostics["extrapolating"] is False
    assert diagnostics["spread"] > 0 and diagnostics["distance"] > 0


@pytest.mark.parametrize(
    ("limits", "given", "words"),
    [
        (1e9, problem(5.0, -2.5), "U = 5 outside 1 to 3"),
        (1e9, problem(2.0, 0.2), "shift = 1.2 outside 0 to 0.3"),
        (1e9, problem(beta=40.0), "beta = 40 outside 5 to 20"),
        (0.0, problem(2.0, -0.9), r"spread .* beyond 0.00e\+00"),
    ],
)
def test_beyond_the_limits_it_warns_in_one_line(limits, given, words):
    with pytest.warns(DmftnetWarning, match=rf"^correction 'toy' beyond its limits at .*{words}"):
        solution = toy_ensemble(limits, RANGES).solve(given)
    assert "\n" not in solution.diagnostics["warning"]
    assert solution.diagnostics["extrapolating"] is (limits > 0)


def test_limits_are_in_units_of_the_problems_own_bandwidth():
    """U = 50 with D = 20 is U / D = 2.5."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        toy_ensemble(ranges=RANGES).solve(problem(2.5, -1.25, scale=20.0))


def test_the_distance_is_nought_at_a_training_sample_and_its_mirror_image():
    model, arrays = toy_model(), toy_arrays()
    distance = FeatureDistance.fit(model, arrays)
    for known in (arrays, arrays.particle_hole()):
        assert distance(model, as_problems(known)).max() < 1e-2
    assert distance(model, as_problems(toy_arrays(12, 7))).min() > 0.05


# --- folders --------------------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path):
    """A folder as ship.py writes it."""
    runs = [toy_checkpoint(tmp_path / f"run{seed}", seed) for seed in (0, 1)]
    distance = FeatureDistance.fit(toy_model(0), toy_arrays())
    limits = {"limits": {"spread": 0.1, "distance": 20.0}}
    return save_shipped(tmp_path / "weights", runs, limits, distance, CORRECTIONS)


def test_a_folder_is_the_solver_that_was_saved(shipped):
    solver, known = CorrectionSolver(shipped), toy_ensemble()
    assert isinstance(solver.model, CorrectionEnsemble) and solver.label == "weights"
    assert solver.limits == {"spread": 0.1, "distance": 20.0} and solver.trust.ranges == RANGES
    given = problem(2.0, -0.9)
    one, other = solver.solve(given), known.solve(given)
    np.testing.assert_array_equal(one.matsubara_greens(), other.matsubara_greens())
    for score in ("spread", "distance"):
        assert one.diagnostics[score] == pytest.approx(other.diagnostics[score], rel=1e-5)
    assert CorrectionSolver(shipped, {"spread": 0.5}).limits == {"spread": 0.5, "distance": 20.0}


def test_a_single_run_is_a_solver_without_limits(tmp_path):
    solver = CorrectionSolver(toy_checkpoint(tmp_path / "run"))
    assert solver.limits == {} and solver.solve(problem(2.0, -0.9)).diagnostics["spread"] is None
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


@pytest.mark.parametrize("name", ["member_1/model.safetensors", POINTS])
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
    arrays = load_file(shipped / POINTS)
    save_file({**arrays, name: np.ascontiguousarray(change(arrays[name]))}, shipped / POINTS)
    with pytest.raises(StoreError, match=r"training points of shapes .*; run ship.py"):
        load_trust(shipped)


def test_training_points_of_another_model_are_one_line(shipped):
    arrays = load_file(shipped / POINTS)
    cut = {"mean": arrays["mean"][:-2], "axes": np.ascontiguousarray(arrays["axes"][:, :-2])}
    save_file({**arrays, **cut}, shipped / POINTS)
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


# --- guarded --------------------------------------------------------------------------------------


class Recorder(Hubbard1Solver):
    """Stands for the exact solver; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def solve_batch(self, problems):
        self.asked += problems
        return super().solve_batch(problems)


def test_within_its_limits_the_correction_answers_and_beyond_them_the_exact_solver():
    exact = Recorder()
    guarded = GuardedCorrection(toy_ensemble(ranges=RANGES), exact)
    inside, outside = problem(2.0, -0.9), problem(5.0, -2.5)
    found = guarded.solve_batch([inside, outside, inside])
    assert exact.asked == [outside]
    assert [s.diagnostics["fallback"] for s in found] == [False, True, False]
    assert [s.problem for s in found] == [inside, outside, inside]
    expected = toy_ensemble().solve(inside).matsubara_greens()
    np.testing.assert_allclose(found[0].matsubara_greens(), expected, rtol=1e-5)
    expected = Hubbard1Solver().solve(outside).matsubara_greens()
    np.testing.assert_array_equal(found[1].matsubara_greens(), expected)
    said = found[1].diagnostics
    assert "U = 5 outside" in said["fallback_reason"] and said["spread"] > 0


class Broken(IptSolver):
    """An approximation without an answer for strong interactions."""

    def solve_batch(self, problems):
        if any(p.U > 2.4 for p in problems):
            raise ConvergenceError("ipt was told to fail")
        return super().solve_batch(problems)


def test_a_correction_that_cannot_be_completed_hands_over(monkeypatch):
    """Of a batch that problem alone; a network that puts out no numbers hands over everything."""
    learned, exact = toy_ensemble(), Recorder()
    learned.approximations = {"ipt": Broken()}
    weak, strong = problem(2.0, -0.9), problem(3.0, -1.4)
    found = GuardedCorrection(learned, exact).solve_batch([weak, strong])
    assert exact.asked == [strong] and [s.diagnostics["fallback"] for s in found] == [False, True]
    assert found[1].diagnostics["fallback_reason"] == "ipt was told to fail"
    assert found[1].diagnostics["spread"] is None

    diverged = toy_ensemble()
    monkeypatch.setattr(
        CorrectionModel,
        "outputs",
        lambda self, p, features=None: Outputs(torch.full_like(p["hybridization"], torch.nan)),
    )
    with pytest.raises(ConvergenceError, match="the correction is not finite"):
        diverged.solve(weak)
    solution = GuardedCorrection(diverged, exact).solve(weak)
    assert "not finite" in solution.diagnostics["fallback_reason"]
    assert np.isfinite(solution.matsubara_greens()).all()


def test_other_errors_are_not_swallowed():
    with pytest.raises(DmftnetError, match="solver 'guarded_correction' works at finite"):
        cold = problem().replace(beta=np.inf)
        GuardedCorrection(toy_ensemble(), Recorder()).solve(cold)


def test_a_loop_counts_what_was_handed_over():
    axis = ImaginaryAxis(BETA)
    z = 1j * axis.omega_n
    bath = MatsubaraHybridization(axis, (0.25 / z)[None])
    first = ImpurityProblem([-1.0], Interaction(2.0), bath, BETA)
    loop = DMFTLoop(GuardedCorrection(toy_ensemble(0.0), Recorder()), Bethe(), max_iterations=3)
    result = loop.run_one(first)
    summary = summarize(result, "guarded_correction", "bethe", 0.0)
    assert summary["fallbacks"] == result.iterations and summary["warning"] is None


def test_it_guards_corrections_that_have_limits():
    with pytest.raises(DmftnetError, match=r"solver.correction: '.*' has no limits to guard; use"):
        GuardedCorrection(toy_solver(), EdSolver())
    for arguments, key in (
        ((IptSolver(), EdSolver()), "correction"),
        ((toy_ensemble(), 5), "exact"),
    ):
        with pytest.raises(
            DmftnetError, match=rf"^solver.{key} = .* conf/solver/guarded_correction"
        ):
            GuardedCorrection(*arguments)


def test_it_takes_what_both_solvers_take():
    guarded = GuardedCorrection(toy_ensemble(), EdSolver())
    assert guarded.capabilities == CorrectionSolver.capabilities.common(EdSolver.capabilities)
    assert guarded.capabilities.axes == (IMAGINARY,) and guarded.capabilities.orbitals == 1
    wide = Capabilities(orbitals=3, poles=True, thermal=Capabilities(axes=(REAL, IMAGINARY)))
    narrow = Capabilities(orbitals=2, finite_temperature=True, axes=(IMAGINARY,))
    both = wide.common(narrow)
    assert both.orbitals == 2 and not both.poles and both.axes == ()
    assert both.at(5.0).axes == (IMAGINARY,) and both.at(5.0).orbitals == 1
    assert CtsegSolver.capabilities.common(CtsegSolver.capabilities) == CtsegSolver.capabilities

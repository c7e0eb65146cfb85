"""The impurity problem: checked where it enters, each error one line with value and remedy."""

from dataclasses import MISSING, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmftnet.errors import DmftnetError, InvalidProblemError
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.impurity.pole_solutions import MatrixPoleSolution, PoleSolution
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Capabilities
from dmftnet.physics.impurity.solutions import CurveSolution, MatsubaraSolution, SelfEnergySolution
from dmftnet.physics.lattices.bethe import semicircle

GRID = FrequencyGrid.geometric(1e-2, 8.0, 60)
BAND = semicircle(GRID, 0.0, 1.0, 0.25)


def problem(U=2.0, eps_d=-1.0, spectrum=BAND, **other):
    return ImpurityProblem.on_grid(U, eps_d, GRID, spectrum, **other)


def changed(value, index=7):
    spectrum = BAND.copy()
    spectrum[index] = value
    return spectrum


at_7 = f"omega = {GRID.omega[7]:.6g}"


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ({"U": -0.5}, ["U = -0.5", ">= 0"]),
        ({"U": np.nan}, ["U = nan", "finite"]),
        ({"U": np.inf}, ["U = inf", "finite"]),
        ({"J": 0.9}, ["J = 0.9", "J <= U/3 = 0.6667"]),
        ({"J": -0.1}, ["J = -0.1", "0 <= J"]),
        ({"eps_d": np.nan}, ["eps_d = [nan]", "finite"]),
        ({"spectrum": changed(-0.25)}, ["orbital 0", "-0.25", at_7, ">= 0", "sign"]),
        ({"spectrum": changed(np.nan)}, ["orbital 0", "nan", at_7, "finite"]),
        ({"spectrum": changed(np.inf)}, ["orbital 0", "inf", at_7, "finite"]),
        ({"spectrum": BAND[:-1]}, ["shape (59,)", "n_w = 60 points"]),
        ({"spectrum": np.stack([BAND, BAND])}, ["1 levels", "2 orbitals"]),
        ({"eps_d": [-1.0, -1.0]}, ["2 levels", "1 orbitals"]),
        ({"filling": 0.0}, ["filling = 0.0", "0 < filling < 2"]),
        ({"filling": 2.5}, ["filling = 2.5", "0 < filling < 2"]),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, texts):
    with pytest.raises(InvalidProblemError) as caught:
        problem(**arguments)
    message = str(caught.value)
    assert "\n" not in message and isinstance(caught.value, DmftnetError)
    for text in texts:
        assert text in message


def test_replacement_is_checked_anew():
    with pytest.raises(InvalidProblemError, match="U = -1"):
        problem().replace(U=-1.0)


def test_arrays_carry_the_orbital_axis_and_are_frozen_copies():
    spectrum = BAND.copy()
    one = problem(spectrum=spectrum)
    spectrum[:] = -1
    assert one.spectrum.shape == (1, 60) and one.eps_d.shape == (1,) and one.n_orb == 1
    assert one.spectrum.min() >= 0
    with pytest.raises(ValueError, match="read-only"):
        one.spectrum[0, 0] = 1.0
    two = problem(eps_d=[-1.0, -0.5], spectrum=np.stack([BAND, BAND]), J=0.5)
    assert two.n_orb == 2
    assert Capabilities().objection(two).startswith("treats one orbital, the problem has 2;")


@given(U=st.floats(0, 5), eps_d=st.floats(-5, 5), seed=st.integers(0, 1000))
def test_particle_hole_mirroring_is_an_involution(U, eps_d, seed):
    given_problem = problem(U, eps_d, np.random.default_rng(seed).uniform(size=60), filling=0.7)
    mirror = given_problem.particle_hole()
    assert mirror.filling == pytest.approx(1.3)
    assert mirror.eps_d[0] == pytest.approx(-U - eps_d)
    back = mirror.particle_hole()
    assert back.eps_d[0] == pytest.approx(eps_d, abs=1e-12)
    np.testing.assert_array_equal(back.spectrum, given_problem.spectrum)


def test_particle_hole_symmetry():
    assert problem().is_particle_hole_symmetric()
    assert not problem(eps_d=-0.9).is_particle_hole_symmetric()
    assert not problem(spectrum=changed(0.1)).is_particle_hole_symmetric()
    lopsided = FrequencyGrid([-2.0, -0.5, 1.0])
    other = ImpurityProblem.on_grid(2.0, -1.0, lopsided, np.ones(3))
    assert not other.is_particle_hole_symmetric()
    with pytest.raises(InvalidProblemError, match="grid symmetric about zero"):
        other.particle_hole()


def test_hybridization_function_is_the_kramers_kronig_partner():
    delta = problem().hybridization.retarded()
    np.testing.assert_allclose(delta.imag, -np.pi * BAND[None])
    inside = np.abs(GRID.omega) < 0.5
    # Re Delta = w/2 inside the band; 12 % cells and the sharp edge leave 0.02
    np.testing.assert_allclose(delta.real[0, inside], GRID.omega[inside] / 2, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("kind", "required"),
    [
        (CurveSolution, ["problem", "curve"]),
        (SelfEnergySolution, ["problem", "sigma"]),
        (MatsubaraSolution, ["problem", "axis", "values", "double_occupancy"]),
        (PoleSolution, ["problem", "greens", "filling", "double_occupancy", "broadening"]),
        (
            MatrixPoleSolution,
            ["problem", "poles", "filling", "double_occupancy", "broadening", "density", "doubles"],
        ),
    ],
)
def test_what_a_solution_must_know_has_no_default(kind, required):
    """A property that it inherits would be taken for one."""
    found = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]
    assert found == required

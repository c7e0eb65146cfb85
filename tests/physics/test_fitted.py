"""What is told of a fit on the real axis; no library is needed for that."""

import numpy as np
import pytest

from dmftnet.errors import SettingError
from dmftnet.physics.analysis import minimal_poles
from dmftnet.physics.analysis.minimal_poles import MinimalPoleFit, MinimalPoles
from dmftnet.physics.dmft.fitted import FittedSpectrum, with_fits
from dmftnet.physics.grids.real_axis import FrequencyGrid

GRID = FrequencyGrid.geometric()


def fitted(energies, weights, residual=1e-6):
    poles = MinimalPoles(np.array(energies, complex), np.array(weights, complex), residual)
    return FittedSpectrum(GRID, (poles,), 0.05)


def test_levels_on_the_axis_are_not_warned_of():
    fit = fitted([-1, 1], [0.5, 0.5])
    assert fit.warning() is None
    assert fit.numbers()["n_poles"] == [2] and fit.off_axis == 0 and fit.negative == 0
    assert GRID.integrate(fit.spectrum)[0] == pytest.approx(1, abs=0.01)
    assert with_fits({"warning": None}, [fit]) == {"warning": None, "fit": fit.numbers()}


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (fitted([-1, 1], [0.5, 0.5], 0.02), "misses G(iw) by 2 %"),
        (fitted([-1, 1 - 0.3j], [0.5, 0.5]), "off the real axis, by up to 0.3 D"),
        (fitted([-1, 1], [0.5, 0.5j]), "weights are not positive"),
        (fitted([-1, 1], [1.5, -0.5]), "A(w) has a negative part of"),
    ],
)
def test_what_speaks_against_a_fit_is_named(fit, words):
    assert words in fit.warning()
    summary = with_fits({"warning": "before"}, [fit])
    assert summary["warning"].startswith("before; the fit on the real axis: ")


def test_a_fit_that_is_missing_is_told():
    summary = with_fits({"warning": None}, [], "no fit on the real axis: why")
    assert summary == {"warning": "no fit on the real axis: why", "fit": None}


def test_without_the_library_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(minimal_poles, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"pip install 'dmftnet\[poles\]'.*poles=none"):
        MinimalPoleFit()

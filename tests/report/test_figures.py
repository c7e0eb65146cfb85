"""Figures: what is drawn is what was given, cut axes and unconverged loops say so."""

import io

import numpy as np
import pytest
from PIL import Image

from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.report import figures, samples
from dmftnet.report.figures import Branch, Panel, Series
from dmftnet.report.style import EXACT, to_png

GRID = FrequencyGrid.geometric(5e-3, 6.0, 60)
W = GRID.omega
A = np.exp(-(W**2))
SIGMA = 0.3 * W - 0.2j * np.exp(-(W**2))


def texts(figure):
    """Every string on the canvas, legend entries too."""
    found = [t.get_text() for axis in figure.axes for t in axis.texts]
    for legend in [*figure.legends, *(axis.get_legend() for axis in figure.axes)]:
        found += [t.get_text() for t in legend.get_texts()] if legend else []
    return found


def image(figure):
    return np.asarray(Image.open(io.BytesIO(to_png(figure))).convert("L"))


def test_spectra_show_every_panel_and_curve():
    panels = [Panel(f"U = {u}", A, {"net": A * 0.9, "other": A * 1.1}) for u in range(6)]
    figure = figures.spectra(W, panels)
    assert [axis.get_title() for axis in figure.axes] == [p.title for p in panels]
    for axis in figure.axes:
        drawn = [line.get_ydata() for line in axis.lines]
        for curve in (A, A * 0.9, A * 1.1):
            assert any(np.array_equal(curve, y) for y in drawn)
        assert axis.get_ylim()[0] == 0 and axis.get_ylim()[1] >= 1.1 * A.max()
    assert {"exact", "net", "other"} <= set(texts(figure))
    assert image(figure).std() > 5  # something is there


def test_a_spike_does_not_hide_the_exact_spectrum():
    spike = A + 50 * np.exp(-((W / 0.01) ** 2))
    cut = figures.spectra(W, [Panel("U = 2", A, {"net": spike})])
    assert cut.axes[0].get_ylim()[1] < 3 * A.max() and "axis cut" in texts(cut)
    whole = figures.spectra(
        W, [Panel("U = 2", A, {"net": 1.5 * A}), Panel("U", None, {"net": spike})]
    )
    assert "axis cut" not in texts(whole) and whole.axes[1].get_ylim()[1] > spike.max()


def test_every_title_fits_above_its_panel():
    kl = np.geomspace(1e-4, 1e-1, 9)
    label = "Cross-attention (paper), alpha as input, lambda = 0, seed 0: train"
    figure = samples.kl_stability({f"{label} {i}": (kl, kl, kl) for i in range(10)}, columns=5)
    figure.draw_without_rendering()
    for axis in figure.axes[:10]:
        assert axis.title.get_window_extent().y1 <= figure.bbox.y1


def test_unconverged_loops_are_dashed_and_named():
    figure = figures.spectra(W, [Panel("U = 2", A, {"net": A}, frozenset({"net"}))])
    assert figure.axes[0].lines[-1].get_linestyle() == "--"
    assert any("not converged" in text for text in texts(figure))
    plain = figures.spectra(W, [Panel("U = 2", A, {"net": A})])
    assert not any("not converged" in text for text in texts(plain))


def test_self_energy_panels_have_insets_and_say_where_an_axis_is_cut():
    pole = SIGMA + 1 / (W + 0.01j)
    figure = figures.self_energies(W, [Panel("metal", SIGMA, {"net": SIGMA})])
    assert all(len(axis.child_axes) == 1 for axis in figure.axes)
    assert "axis cut" not in texts(figure)
    cut = figures.self_energies(W, [Panel("insulator", pole, {"net": pole})])
    assert texts(cut).count("axis cut") == 2
    inset = cut.axes[0].child_axes[0]
    assert inset.get_ylim()[1] > np.max(-pole.imag)  # the inset shows the whole pole


def test_points_sort_and_mark_what_did_not_converge():
    x = np.array([2.0, 1.0, 3.0])
    series = [
        Series("", x, 1 - x / 3),
        Series("net", x, 1 - x / 3, np.array([True, False, True])),
    ]
    figure = figures.filling_curves({"U = 2": series, "U = 4": series[:1]})
    assert [axis.get_title() for axis in figure.axes] == ["U = 2", "U = 4"]
    axis = figure.axes[0]
    assert np.array_equal(axis.lines[0].get_xdata(), np.sort(x))
    assert axis.lines[0].get_color() == "k"
    hollow = [line for line in axis.lines if line.get_color() == "w"]
    assert len(hollow) == 1 and np.array_equal(hollow[0].get_xdata(), [1.0])
    assert {"exact", "net", "hollow: not converged"} <= set(texts(figure))


def test_hysteresis_shows_each_branch_as_far_as_it_lives_and_where_it_ends():
    U = np.array([2.0, 2.5, 3.0])
    on = np.array([True, True, False])
    metal = Branch(U, 1 - U / 3, np.array([1.0, 0.99, 0.1]), on, 2.75)
    insulator = Branch(U[::-1], 0 * U, np.array([0.0, 0.0, 1.0]), on, 2.25)
    both = {"metal": metal, "insulator": insulator}
    figure = figures.hysteresis(both, {"net": both}, (1.9, 3.2))
    Z, A0 = figure.axes
    assert [list(line.get_xdata()) for line in Z.lines] == [[2.0, 2.5], [2.5, 3.0]] * 2
    ends = [line.get_xdata()[0] for line in A0.lines if line.get_marker() in "<>"]
    assert ends == [2.75, 2.25, 2.75, 2.25]
    assert [line.get_color() for line in Z.lines] == ["k", "k", "#0072B2", "#0072B2"]
    assert {"exact", "net", "metal, U rising"} <= set(texts(figure))
    assert image(figure).std() > 5


def test_kl_stability_has_the_same_limits_on_both_axes():
    rng = np.random.default_rng(0)
    kl = np.exp(rng.normal(-5, 1, (2, 30)))
    figure = samples.kl_stability({"net": (*kl, rng.uniform(0, 4, 30))})
    axis = figure.axes[0]
    assert axis.get_xlim() == axis.get_ylim()
    assert axis.get_xlim()[0] < kl.min() and axis.get_xlim()[1] > kl.max()
    assert np.array_equal(axis.collections[0].get_offsets(), kl.T)


def test_kl_distribution_reaches_one_at_the_worst_sample():
    kl = np.array([1e-3, 1e-2, 1e-1])
    figure = samples.kl_distribution({"net": kl, "baseline: nothing": 2 * kl})
    line = figure.axes[0].lines[0]
    assert np.allclose(line.get_ydata(), [1 / 3, 2 / 3, 1])
    assert np.array_equal(line.get_xdata(), kl)


def test_latent_map_centres_the_filling_on_half_filling():
    rng = np.random.default_rng(1)
    n = rng.uniform(0.8, 1.5, 40)
    figure = samples.latent_map({"net": (rng.normal(size=(40, 2)), rng.random(40), n)})
    dots = figure.axes[1].collections[0]
    assert dots.get_clim() == pytest.approx((1 - np.abs(n - 1).max(), 1 + np.abs(n - 1).max()))


def test_calibration_separates_the_widest_fifth():
    spread = np.geomspace(1e-4, 1e-1, 10)
    figure = samples.calibration({"net": (spread, 2 * spread, float(np.quantile(spread, 0.8)))})
    narrow, wide = figure.axes[0].collections
    assert len(narrow.get_offsets()) == 8 and len(wide.get_offsets()) == 2
    assert wide.get_offsets()[:, 0].min() > narrow.get_offsets()[:, 0].max()


def test_the_exact_solver_is_black():
    figure = figures.spectra(W, [Panel("U = 2", A, {"net": A})])
    assert figure.axes[0].lines[0].get_color() == EXACT["color"] == "k"

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from toy_dataset import make_file
from toy_solver import ToySolver

from dmftnet.data import labels as labels_module
from dmftnet.data.labels import cached_labels, fine_spectra, make_labels, network_spectrum
from dmftnet.data.plans.sampling import Trajectory, TrajectorySampler
from dmftnet.data.plans.trajectories import TrajectoryPlan
from dmftnet.data.store import SpectralStore
from dmftnet.errors import StoreError
from dmftnet.models.networks.dyson import Dyson
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.analysis.resolution import at_resolution
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import rotation_kernel
from dmftnet.physics.solvers.krylov.ras import RasSolver

GRID = FrequencyGrid.geometric(3e-3, 6.0, 160)
ANGLES = (0.1, 0.2)
RESOLUTION = (0.003, 0.03)


class _OnePoint:
    """A sampler with a single problem: U = 0 on the Bethe lattice, whose solution is known."""

    def trajectory(self, id):
        return Trajectory(id, 0.0, 0.0, "metal", 1.0, "train", 0)


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    path = tmp_path_factory.mktemp("free") / "free.h5"
    make_file(path, TrajectoryPlan(_OnePoint(), 1, 1), ToySolver(n_bath=21), n_w=1200)
    return SpectralStore.open(path)


@pytest.fixture(scope="module")
def store(dataset):
    return SpectralStore.open(dataset)


class _Few:
    """A sampler of four correlated problems: metal, insulator, doped, nearly full."""

    def trajectory(self, id):
        U, shift = [(1.0, 0.0), (3.5, 0.0), (2.0, 0.6), (1.5, -1.3)][id]
        start = "insulator" if U > 3 else "metal"
        return Trajectory(id, U, shift - U / 2, start, 1.0, "train", 0)


@pytest.fixture(scope="module")
def correlated(tmp_path_factory):
    path = tmp_path_factory.mktemp("correlated") / "few.h5"
    solver = RasSolver(depths=("all", 5, 2), bath=Intervals(31))
    make_file(path, TrajectoryPlan(_Few(), 4, 1), solver, n_w=800)
    return SpectralStore.open(path)


@pytest.fixture(scope="module")
def labels(store):
    return make_labels(store, GRID, ANGLES, RESOLUTION)


def semicircle(E):
    return 2 / np.pi * np.sqrt(max(1 - E * E, 0.0))


def test_the_spectrum_comes_from_the_continuous_bath(free):
    """21 poles are stored, the label is the semicircle: A = (2/pi) sqrt(1 - w^2)."""
    A = fine_spectra(free, free["hybridization"])[0]
    inside = np.abs(free.grid.omega) < 0.95
    exact = np.array([semicircle(w) for w in free.grid.omega])
    np.testing.assert_allclose(A[inside], exact[inside], atol=3e-3)


def test_the_label_answers_the_hybridization_that_the_network_sees(free):
    """At U = 0 it follows from the smoothed input: ``A = -Im 1/(w - S Delta)/pi``, smoothed."""
    arrays = make_labels(free, GRID, ANGLES, (0.01, 0.1))  # so broad that the order matters
    smooth = network_spectrum(free.grid, free.grid, (0.01, 0.1), free["hybridization"])
    delta = free.grid.greens_function(smooth[0])
    direct = -np.imag(1 / (free.grid.omega - delta)) / np.pi
    expected = network_spectrum(free.grid, GRID, (0.01, 0.1), direct / free.grid.integrate(direct))
    np.testing.assert_allclose(arrays.spectrum[0], expected, atol=2e-3)
    other = network_spectrum(
        free.grid, GRID, (0.01, 0.1), fine_spectra(free, free["hybridization"])
    )
    assert np.abs(other[0] - expected).max() > 0.01  # the unsmoothed one would be told apart


def test_a_file_at_finite_resolution_is_not_smoothed_twice(tmp_path):
    plan = TrajectoryPlan(TrajectorySampler(seed=3), 2, 2, resolution=RESOLUTION)
    store = SpectralStore.open(make_file(tmp_path / "smooth.h5", plan, n_w=1200))
    assert store.resolution == RESOLUTION
    smooth = at_resolution(store.grid, store["hybridization"], RESOLUTION)
    assert np.abs(smooth - store["hybridization"]).max() > 1e-3  # not yet invariant
    arrays = make_labels(store, GRID, ANGLES, RESOLUTION)
    raw = store.grid.interpolate(np.float64(store["hybridization"]), GRID.omega)
    raw *= (store.grid.integrate(store["hybridization"]) / GRID.integrate(raw))[:, None]
    np.testing.assert_allclose(arrays.hybridization, raw, atol=1e-6)
    with pytest.raises(StoreError, match=r"was made at resolution \[0.003, 0.03\]"):
        make_labels(store, GRID, ANGLES, (0.006, 0.06))


def test_rotated_label_and_derivative_against_direct_integration(free):
    arrays = make_labels(free, GRID, ANGLES, (1e-4, 1e-3))  # hardly smoothed
    for i, angle in enumerate(ANGLES):
        for k in (20, 70, 90, 130):
            w = GRID.omega[k]

            def rotated(alpha, w=w):
                def integrand(E):
                    s = abs(E) * np.sin(alpha)
                    return semicircle(E) * s / ((w - E * np.cos(alpha)) ** 2 + s * s) / np.pi

                points = sorted({0.0, float(np.clip(w, -0.99, 0.99))})
                return quad(integrand, -1, 1, points=points, limit=200, epsabs=1e-10)[0]

            slope = (rotated(angle + 1e-3) - rotated(angle - 1e-3)) / 2e-3
            assert arrays.rotated[0, i, k] == pytest.approx(rotated(angle), abs=3e-3)
            assert arrays.derivative[0, i, k] == pytest.approx(slope, abs=2e-2)


def test_labels_are_normalised_causal_and_finite(labels, store):
    assert len(labels) == len(store)
    for values in labels.known().values():
        assert np.all(np.isfinite(values))
        assert values.dtype in (np.float32, np.int64)
    assert np.all(labels.spectrum >= 0) and np.all(labels.rotated >= 0)
    np.testing.assert_allclose(GRID.integrate(labels.spectrum), 1, atol=1e-5)
    # a rotated pole has Lorentzian tails, of which a part lies outside the grid, and a bound state
    # at zero (one toy sample) is as narrow as the distance of the central points
    np.testing.assert_allclose(GRID.integrate(labels.rotated), 1, atol=0.1)
    assert np.abs(np.median(GRID.integrate(labels.rotated)) - 1) < 0.01
    np.testing.assert_allclose(GRID.integrate(labels.derivative), 0, atol=0.3)


def test_the_network_grid_carries_the_rotation(labels):
    """K_alpha on the coarse grid, applied to the real-axis label, gives the rotated label."""
    for i, angle in enumerate(ANGLES):
        from_coarse = labels.spectrum.astype(float) @ rotation_kernel(GRID, angle).T
        error = kl_divergence(GRID, labels.rotated[:, i], from_coarse)
        assert np.median(error) < 1e-3


def test_the_derivative_is_the_slope_in_the_angle(store, labels):
    h = 1e-3
    near = make_labels(store, GRID, (0.2 - h, 0.2 + h), RESOLUTION).rotated.astype(float)
    slope = (near[:, 1] - near[:, 0]) / (2 * h)
    scale = np.abs(slope).max()
    np.testing.assert_allclose(labels.derivative[:, 1], slope, atol=1e-3 * scale)


def test_half_filled_labels_of_an_even_problem_are_even(free):
    arrays = make_labels(free, GRID, ANGLES, RESOLUTION)
    for values in (arrays.hybridization, arrays.spectrum, arrays.rotated):
        np.testing.assert_allclose(values, values[..., ::-1], atol=2e-3)


def test_particle_hole_mirroring_is_an_involution(labels):
    mirrored = labels.particle_hole()
    U, eps_d = labels.params.T
    np.testing.assert_allclose(mirrored.params[:, 1] + U / 2, -(eps_d + U / 2), atol=1e-6)
    np.testing.assert_allclose(mirrored.filling, 2 - labels.filling)
    assert np.array_equal(mirrored.rotated[:, 1, 0], labels.rotated[:, 1, -1])
    back = mirrored.particle_hole()
    for name, values in labels.known().items():
        np.testing.assert_allclose(getattr(back, name), values, atol=1e-6)


def test_the_hybridization_keeps_its_weight(store, labels):
    before = store.grid.integrate(store["hybridization"])
    np.testing.assert_allclose(GRID.integrate(labels.hybridization), before, rtol=1e-5)
    flat = network_spectrum(store.grid, GRID, RESOLUTION, np.ones((2, 3, store.grid.n_w)))
    assert flat.shape == (2, 3, GRID.n_w)


def test_the_cache_gives_the_same_and_knows_what_it_holds(dataset, tmp_path, monkeypatch):
    path = tmp_path / "toy.h5"
    path.write_bytes(dataset.read_bytes())
    store = SpectralStore.open(path)
    first = cached_labels(store, GRID, ANGLES, RESOLUTION)
    assert (tmp_path / ".labels" / ".gitignore").read_text() == "*\n"
    other = cached_labels(store, GRID, (0.3,), RESOLUTION)
    assert other.rotated.shape[1] == 1
    monkeypatch.setattr("dmftnet.data.labels.make_labels", None)  # the file alone must do
    again = cached_labels(store, GRID, ANGLES, RESOLUTION)
    for name, values in first.known().items():
        assert np.array_equal(getattr(again, name), values)


def test_labels_are_made_anew_when_the_code_changes(store, tmp_path, monkeypatch):
    """No number to be raised by hand: the key holds the hash of every source that enters."""
    copied = dataclasses.replace(store, path=tmp_path / "data.h5")
    shutil.copyfile(store.path, copied.path)
    cached_labels(copied, GRID, ANGLES, RESOLUTION)
    monkeypatch.setattr(labels_module, "sources", lambda: "changed")
    cached_labels(copied, GRID, ANGLES, RESOLUTION)
    assert len(list((tmp_path / ".labels").glob("*.safetensors"))) == 2
    names = {path.name for path in labels_module.source_files()}
    assert {"labels.py", "store.py", "self_energy.py", "rotation.py", "real_axis.py"} <= names
    assert not {"ras.py", "ipt.py", "mps.py"} & names


def test_bare_spectra_lack_the_constant_part_of_the_resolution(store, labels):
    """The exact spectrum at a third of the smallest frequency, in place of eta."""
    fine = fine_spectra(store, store["hybridization"].astype(np.float64))
    width = (GRID.omega[GRID.n_w // 2] / 3, RESOLUTION[1])
    expected = network_spectrum(store.grid, GRID, width, fine[3])
    # the labels' Dyson equation takes the smoothed hybridization, this one the bare: 4 % here
    assert GRID.integrate(np.abs(labels.bare[3] - expected)) < 0.05
    peak = np.argmax(labels.spectrum[3])
    assert labels.bare[3, peak] != labels.spectrum[3, peak]
    np.testing.assert_allclose(GRID.integrate(labels.bare), 1, atol=1e-5)


def test_labels_need_no_place_for_a_cache(dataset, tmp_path):
    """Data in a folder that cannot be written, for which a file in the way stands (root can)."""
    path = tmp_path / "toy.h5"
    path.write_bytes(dataset.read_bytes())
    (tmp_path / ".labels").write_text("in the way")
    store = SpectralStore.open(path)
    found = cached_labels(store, GRID, ANGLES, RESOLUTION)
    expected = make_labels(store, GRID, ANGLES, RESOLUTION)
    assert np.array_equal(found.rotated, expected.rotated)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".labels", "toy.h5"]


def test_labels_of_the_self_energy(correlated):
    """The sum rule, and with Dyson's equation the label's own spectrum and the exact filling."""
    arrays = make_labels(correlated, GRID, ANGLES, (0.006, 0.06), "self_energy")
    n, U = correlated["filling"] / 2, correlated["U"]
    np.testing.assert_allclose(GRID.integrate(arrays.self_energy), U**2 * n * (1 - n), rtol=5e-3)
    assert np.all(arrays.consistent == 1)
    params = torch.from_numpy(arrays.params)
    found = Dyson(GRID)(
        torch.from_numpy(arrays.self_energy), torch.from_numpy(arrays.hybridization), params
    )
    np.testing.assert_allclose(2 * found.density, arrays.filling, atol=0.01)
    rotated = found.spectrum.numpy() @ rotation_kernel(GRID, ANGLES[1]).T
    assert np.all(kl_divergence(GRID, arrays.rotated[:, 1].astype(float), rotated) < 1e-3)
    assert arrays.particle_hole().self_energy[0, 0] == arrays.self_energy[0, -1]


def test_a_self_energy_that_breaks_its_sum_rule_is_no_label(store):
    """The toy solver is a mean field: its Sigma has no dynamic part."""
    arrays = make_labels(store, GRID, ANGLES, RESOLUTION, "self_energy")
    correlated = store["U"] ** 2 * store["filling"] * (2 - store["filling"]) > 0.1
    assert correlated.any() and not arrays.consistent[correlated].any()


def test_the_cache_tells_labels_of_sigma_from_others(correlated, tmp_path):
    copied = dataclasses.replace(correlated, path=tmp_path / "few.h5")
    shutil.copyfile(correlated.path, copied.path)
    plain, first = (
        cached_labels(copied, GRID, ANGLES, (0.006, 0.06), which)
        for which in ("spectrum", "self_energy")
    )
    assert plain.self_energy is None
    again = cached_labels(copied, GRID, ANGLES, (0.006, 0.06), "self_energy")
    assert np.array_equal(again.self_energy, first.self_energy)
    assert np.array_equal(again.consistent, first.consistent)


def test_a_broader_file_serves_labels_of_sigma_alone(correlated):
    broad = dataclasses.replace(
        correlated, attributes={**correlated.attributes, "resolution": [0.01, 0.1]}
    )
    arrays = make_labels(broad, GRID, ANGLES, (0.006, 0.06), "self_energy")
    np.testing.assert_allclose(
        GRID.integrate(arrays.hybridization), correlated.grid.integrate(broad["hybridization"])
    )
    with pytest.raises(StoreError, match="asks for another"):
        make_labels(broad, GRID, ANGLES, (0.006, 0.06))

from functools import partial

import numpy as np
import pytest
from toy_dataset import make_file
from toy_solver import ToySolver

from dmftnet.data.labels import network_spectrum
from dmftnet.data.references import ReferencePlan, ReferenceStore
from dmftnet.errors import InvalidProblemError, StoreError
from dmftnet.physics.dmft import DMFTLoop
from dmftnet.physics.grid import FrequencyGrid
from dmftnet.physics.observables import quasiparticle_weight

SERIES = [
    {"U": [0.0, 1.0], "shift": [0.0], "start": ["metal", "insulator"]},
    {"U": [1.0], "shift": [0.3], "start": ["metal"]},
]
RESOLUTION = (0.003, 0.03)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    plan = ReferencePlan(SERIES, partial(DMFTLoop, tolerance=1e-4, max_iterations=60))
    file = tmp_path_factory.mktemp("references") / "r.h5"
    return make_file(file, plan, ToySolver(n_bath=21), n_w=600)


def test_points_are_the_products_of_each_series():
    points = ReferencePlan(SERIES).points
    assert [(p.U, p.eps_d, p.start) for p in points] == [
        (0.0, 0.0, "metal"),
        (0.0, 0.0, "insulator"),
        (1.0, -0.5, "metal"),
        (1.0, -0.5, "insulator"),
        (1.0, -0.2, "metal"),
    ]
    with pytest.raises(InvalidProblemError, match="start 'other' is unknown"):
        ReferencePlan([{"U": [1.0], "shift": [0.0], "start": ["other"]}])


def test_converged_loops_without_correlation_are_semicircles(path):
    store = ReferenceStore.open(path)
    assert len(store) == 5
    w = store.grid.omega
    exact = 2 / np.pi * np.sqrt(np.maximum(1 - w**2, 0))
    for row in np.flatnonzero(store["converged"])[:2]:
        assert store["U"][row] == 0
        error = store.grid.integrate(np.abs(store["spectrum"][row] - exact))
        assert error < 0.05
        assert quasiparticle_weight(store.grid, store["self_energy"][row]) == pytest.approx(1)
        assert store["A0"][row] == pytest.approx(2 / np.pi, rel=0.02)
    assert store["converged"][0]


def test_references_come_on_the_network_grid(path):
    store = ReferenceStore.open(path)
    grid = FrequencyGrid.geometric(3e-3, 6.0, 160)
    references = store.on(grid, RESOLUTION)
    assert len(references) == 5
    assert references.start == ("metal", "insulator", "metal", "insulator", "metal")
    assert references.half_filled.tolist() == [True, True, True, True, False]
    assert references.spectrum.shape == references.self_energy.shape == (5, 160)
    np.testing.assert_allclose(grid.integrate(references.spectrum), 1, atol=1e-6)
    weight = store.grid.integrate(store["hybridization"])
    np.testing.assert_allclose(grid.integrate(references.hybridization), weight, rtol=1e-5)
    smooth = network_spectrum(store.grid, grid, RESOLUTION, store["hybridization"])
    assert np.array_equal(references.hybridization, smooth)
    assert np.all((references.Z[:2] > 0.99) & (references.Z_matsubara[:2] > 0.99))
    assert np.all(references.filling > 0) and np.all(references.filling < 2)


def test_unusable_files_are_refused(path, dataset, tmp_path):
    with pytest.raises(StoreError, match="dataset=bethe_reference"):
        ReferenceStore.open(tmp_path / "none.h5")
    with pytest.raises(StoreError, match="schema dmftnet-spectra version 1"):
        ReferenceStore.open(dataset)

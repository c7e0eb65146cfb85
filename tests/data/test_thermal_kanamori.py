"""Files of two degenerate orbitals: what is drawn, what is written, and that it is what it says."""

import h5py
import numpy as np
import pytest
from toy_dataset import make_file
from toy_plans import ed
from toy_plans import kanamori_plan as plan

from dmftnet.data.keys import SEVERAL
from dmftnet.data.keys import ThermalSamples as Samples
from dmftnet.data.plans.thermal_sequels import ThermalExtendedPlan, ThermalWitnessPlan
from dmftnet.data.thermal import OF_SEVERAL, ThermalStore, WitnessStore
from dmftnet.data.thermal_arrays import ThermalArrays
from dmftnet.data.thermal_datamodule import ThermalDataModule
from dmftnet.errors import SettingError, StoreError
from dmftnet.physics.analysis.self_energy import bath_misfit, dynamic_strength
from dmftnet.physics.solvers.perturbative.hubbard1 import Hubbard1Solver

# one level an orbital is a poor bath on purpose
pytestmark = pytest.mark.filterwarnings("ignore:.* bath levels misses the hybridization")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kanamori")
    return make_file(folder / "k.h5", plan(loop_fraction=0.5, driver="ed1"), ed(2))


@pytest.fixture(scope="module")
def store(path):
    return ThermalStore.open(path)


def test_what_is_drawn():
    """J over U from the list; half filling exactly, else about one electron."""
    many = plan(400, J_over_U=(0.0, 0.25))
    drawn = [many.drawn(i)[0] for i in range(24)]
    ratios = np.array([own.J / own.U for own in drawn])
    assert set(np.round(ratios, 12)) == {0.0, 0.25}
    half = [own for own in drawn if own.eps_d == -0.5 * (own.U + 2 * (own.U - 2 * own.J) - own.J)]
    assert 5 < len(half) < 19
    for own in half:
        assert own.lower == -own.gap / 2 and own.gap == pytest.approx(own.U + own.J)
    for own in drawn:
        if own not in half:
            assert own.gap == pytest.approx(own.U - 3 * own.J)
            assert -0.5 <= own.eps_d + own.gap / 2 <= 0.4
    assert many.drawn(17) == plan(20).drawn(17)


def test_the_file_says_how_many_orbitals(store):
    assert store.n_orb == 2 and len(store) >= 5
    assert all(key in store.columns for key in OF_SEVERAL)


def test_every_sample_is_what_the_solvers_say(store):
    """Solved once more from what the file holds."""
    for i in range(0, len(store), 3):
        problem, axis = store.problem(i), store.axis(i)
        assert problem.n_orb == 2 and problem.is_degenerate()
        assert problem.interaction.is_rotationally_invariant
        exact, crude = ed(2).solve(problem), ed(1).solve(problem)
        for name, solution in ((None, exact), ("ed1", crude)):
            sigma = solution.matsubara_self_energy(axis)
            assert np.abs(sigma[0] - sigma[1]).max() < 1e-8
            assert np.abs(sigma[0] - store.self_energy(name)[i]).max() < 1e-3 * np.abs(sigma).max()
            assert store.density(name)[i] == pytest.approx(solution.filling / 4, abs=1e-6)
            assert store.strength(name)[i] == pytest.approx(dynamic_strength(solution), rel=1e-5)
            double = solution.double_occupancy
            assert store.double_occupancy(name)[i] == pytest.approx(double, abs=1e-6)
        misfit = bath_misfit(crude, axis)
        assert np.abs(store.misfit("ed1")[i] - misfit).max() < 2e-3 * np.abs(misfit).max()


def test_sigma_begins_with_the_mean_field(store):
    """Its real part ends at ``h n``, and what falls as 1/(i w_n) is the strength."""
    for i in range(len(store)):
        own = store.interaction(i)
        n, z = store.density()[i], 1j * store.omega_n[i]
        rest = z * (store.self_energy()[i] - own.mean_field(2) * n)
        assert rest.real[-1] == pytest.approx(store.strength()[i] * n * (1 - n), rel=2e-2)
    seconds = [store.interaction(i).second_order(2) for i in range(len(store))]
    assert (store.strength() < 1.6 * np.array(seconds)).all() and (store.strength() > 0).all()


def test_a_loop_can_be_driven_by_an_approximation(tmp_path):
    """Its hybridizations are those of that solver's loop; what is kept is solved exactly."""
    options = {"loop_fraction": 1.0, "n_trajectories": 1, "max_iterations": 2}
    driven, exact = (
        ThermalStore.open(make_file(tmp_path / f"{name}.h5", plan(driver=name, **options), solver))
        for name, solver in (("ed1", ed(2)), (None, ed(1)))
    )
    assert np.array_equal(driven["iteration"], [0, 1])
    assert np.allclose(driven["hybridization"], exact["hybridization"], rtol=0, atol=1e-6)
    assert np.abs(driven.self_energy() - exact.self_energy()).max() > 1e-3
    assert np.abs(driven.self_energy("ed1") - exact.self_energy()).max() < 2e-3


def test_samples_as_arrays(store):
    arrays = ThermalArrays.of(store, ["ed1"])
    twice = arrays.particle_hole().particle_hole()
    names = dict(arrays.items())
    assert {"J", "mean_field", "second_order", "strengths", "misfits", "doubles"} < names.keys()
    for name, values in names.items():
        assert np.allclose(getattr(twice, name), values, rtol=0, atol=1e-12), name
    images = arrays.particle_hole()
    assert np.allclose(
        images.eps_d + images.mean_field / 2, -(arrays.eps_d + arrays.mean_field / 2)
    )


def test_a_data_module_knows_its_orbitals(path):
    module = ThermalDataModule(path, inputs=["ed1"])
    assert module.n_orb == 2
    ranges = module.ranges()
    assert ranges["J"][1] <= ranges["U"][1] / 4 + 1e-12 and ranges["shift"][0] >= 0
    batch = next(iter(module.train_dataloader()))
    assert batch["misfits"].shape == (len(batch["U"]), 1, module.stores[0].odd.size)


def test_a_witness_of_two_orbitals(path, store, tmp_path):
    file = make_file(tmp_path / "w.h5", ThermalWitnessPlan(path, n_samples=2), ed(2))
    witness = WitnessStore.open(file, store)
    rows = witness["sample"]
    assert np.allclose(witness["self_energy"], store.self_energy()[rows], rtol=0, atol=1e-5)
    assert np.allclose(witness["density"], store.density()[rows], rtol=0, atol=1e-8)


def test_more_approximations_of_two_orbitals(path, store, tmp_path):
    file = make_file(tmp_path / "e.h5", ThermalExtendedPlan(path, {"again": ed(1)}), ed(2))
    more = ThermalStore.open(file)
    assert more.n_orb == 2 and more.approximations == ("ed1", "again")
    assert np.allclose(more.strength("again"), store.strength("ed1"), rtol=1e-5)
    assert np.allclose(more.misfit("again"), store.misfit("ed1"), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.attrs.__setitem__(SEVERAL, 1), "of 1 orbitals"),
        (lambda file: file.__delitem__(Samples.J), "of 2 orbitals"),
        (lambda file: file.__delitem__(Samples.STRENGTHS), "of 2 orbitals"),
    ],
)
def test_a_file_that_contradicts_itself_is_one_line(path, tmp_path, change, words):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        change(file)
    with pytest.raises(StoreError, match=words) as caught:
        ThermalStore.open(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_orb": 1}, "n_orb"),
        ({"J_over_U": [0.4]}, "J_over_U"),
        ({"levels": [0.3, -0.3]}, "lowest, highest"),
        ({"driver": "nca"}, "driver"),
        ({"approximations": {"hubbard1": Hubbard1Solver()}, "loop_fraction": 0.0}, "one orbital"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path, options, words):
    with pytest.raises(SettingError, match=words) as caught:
        make_file(tmp_path / "x.h5", plan(2, **options), ed(1))
    assert "\n" not in str(caught.value)

"""Guesses: exact limits, symmetry, and the batched twin of the numpy solver."""

import numpy as np
import pytest
import torch

from dmftnet.errors import DmftnetError, SettingError
from dmftnet.models.networks.film import Film
from dmftnet.models.networks.guesses.composed import GUESS_NAMES, Guesses, known_guesses
from dmftnet.models.networks.guesses.guess import Guess, SelfEnergy
from dmftnet.models.networks.guesses.ipt import MatrixDiagram, SecondOrder
from dmftnet.models.networks.heads import RotatedHead
from dmftnet.physics.analysis.self_energy import dyson_spectrum, inverse_weights
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import smoothing_kernel
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.lattices.bethe import semicircle
from dmftnet.physics.solvers.perturbative.diagram import SecondOrderDiagram
from dmftnet.physics.solvers.perturbative.ipt import IptSolver

GRID = {"w_min": 3e-3, "w_max": 6.0, "n_w": 160}
RESOLUTION = (0.006, 0.06)
FREQUENCIES = FrequencyGrid.geometric(**GRID)
# U, eps_d, centre, half-width and weight of the bath
PROBLEMS = {
    "free": (0.0, 0.3, -0.1, 1.0, 0.25),
    "metal": (1.0, -0.5, 0.0, 1.0, 0.25),
    "correlated": (2.5, -1.25, 0.0, 1.0, 0.25),
    "doped": (2.0, -0.5, 0.0, 1.0, 0.25),
    "asymmetric": (1.5, -0.9, 0.3, 0.7, 0.2),
    "nearly empty": (3.0, 0.8, 0.0, 1.0, 0.25),
    "atom": (3.0, -1.5, 0.0, 1.0, 1e-5),
}


@pytest.fixture(scope="module")
def guesses():
    return Guesses(GRID, RESOLUTION)


def bath(name):
    return semicircle(FREQUENCIES, *PROBLEMS[name][2:])


def batch(names=tuple(PROBLEMS), dtype=torch.float64):
    hybridization = torch.tensor(np.stack([bath(name) for name in names]), dtype=dtype)
    return hybridization, torch.tensor([PROBLEMS[name][:2] for name in names], dtype=dtype)


def test_shape_norm_sign_and_precision(guesses):
    hybridization, params = batch(dtype=torch.float32)
    channels = guesses(hybridization, params)
    assert channels.shape == (len(PROBLEMS), guesses.n_rows, GRID["n_w"])
    assert channels.dtype == torch.float32 and torch.all(channels[:, :-1] >= 0)
    A = channels[:, : guesses.n_spectra]
    weights = torch.tensor(FREQUENCIES.weights, dtype=torch.float32)
    torch.testing.assert_close(A @ weights, torch.ones(A.shape[:2]), rtol=1e-5, atol=1e-5)
    features = guesses.features(hybridization, channels)
    assert features.shape == (len(PROBLEMS), GRID["n_w"], guesses.n_rows)
    assert features.dtype == torch.float32 and features.abs().max() < 3


def test_without_interaction_all_but_the_hybridization_are_exact(guesses):
    A = guesses(*batch(["free"])).numpy()[0]
    problem = ImpurityProblem.on_grid(0.0, 0.3, FREQUENCIES, bath("free"))
    exact = dyson_spectrum(problem, np.zeros((1, FREQUENCIES.n_w), complex))[0]
    exact = smoothing_kernel(FREQUENCIES, *RESOLUTION) @ exact
    exact /= FREQUENCIES.integrate(exact)
    for number, name in enumerate(guesses.names):
        if name != "hybridization":
            np.testing.assert_allclose(A[number], exact, rtol=1e-9, atol=1e-12)


def test_mirror_image(guesses):
    hybridization, params = batch()
    U, eps_d = params.T
    images = guesses(hybridization.flip(-1), torch.stack([U, -U - eps_d], dim=1))
    expected = guesses.mirrored(guesses(hybridization, params))
    # the sums of a product run in another order: float32 in the diagram
    torch.testing.assert_close(images, expected, rtol=1e-4, atol=1e-5)
    partners = [guesses.names[i] for i in guesses.image_of]
    assert partners == ["ipt", "hybridization", "upper", "middle", "lower"]


def test_corrected_self_energy(guesses):
    """No correction is perturbation theory itself; any is causal and keeps the norm; gradients."""
    hybridization, params = batch()
    channels = guesses(hybridization, params)
    factor = torch.ones_like(hybridization, requires_grad=True)
    level = torch.zeros(len(params), dtype=torch.float64, requires_grad=True)
    A = guesses.corrected(hybridization, channels, factor, level)
    torch.testing.assert_close(A, channels[:, 0], rtol=1e-8, atol=1e-10)
    B = guesses.corrected(hybridization, channels, 2.0 * factor, level + 0.1)
    weights = torch.tensor(FREQUENCIES.weights)
    assert torch.all(B >= 0)
    torch.testing.assert_close(B @ weights, torch.ones(len(PROBLEMS), dtype=torch.float64))
    (B**2 @ weights).sum().backward()
    assert torch.all(torch.isfinite(factor.grad)) and torch.all(torch.isfinite(level.grad))
    assert torch.all(level.grad != 0) and torch.all(factor.grad[1:].abs().amax(-1) > 0)


def test_batch_equals_single(guesses):
    together = guesses(*batch())
    for number, name in enumerate(PROBLEMS):
        alone = guesses(*batch([name]))[0]
        torch.testing.assert_close(together[number], alone, rtol=1e-4, atol=1e-5)


def test_diagram_by_matrices_is_that_by_fft():
    """float32 on the one side; the FFT wraps nothing around on the other."""
    poles = torch.rand(3, GRID["n_w"], dtype=torch.float64, generator=torch.manual_seed(0))
    poles /= poles.sum(-1, keepdim=True)
    result = MatrixDiagram(FREQUENCIES).weights(poles).numpy()
    expected = SecondOrderDiagram(FREQUENCIES, MatrixDiagram.STEP).weights(poles.numpy())
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", PROBLEMS)
def test_logarithms_do_on_the_networks_grid(name):
    """Where cells are some per cent wide, they cancel by less than 1e-8."""
    U, eps_d = PROBLEMS[name][:2]
    real = FREQUENCIES.omega - bath(name) @ FREQUENCIES.hilbert.T - eps_d - U / 2
    parts = real, np.pi * bath(name)
    width = np.diff(FREQUENCIES.omega)
    precise = inverse_weights(*parts, width)
    short = inverse_weights(*map(torch.tensor, parts), torch.tensor(width), False, torch)
    np.testing.assert_allclose(short.numpy(), precise, rtol=0, atol=1e-8)


def perturbative(hybridization, params):
    """(B, n_w) self-energies of the guess, of arrays of either library."""
    found = SecondOrder(FREQUENCIES)(hybridization, params)
    shift, density = (np.asarray(part) for part in found)
    return shift - np.asarray(params)[:, 1:2] - 1j * np.pi * density


def test_self_energies_are_the_same_in_numpy_and_torch():
    """One implementation, two libraries: they differ by the float32 of the matrices."""
    hybridization, params = batch()
    sigma = perturbative(hybridization, params)
    expected = perturbative(hybridization.numpy(), params.numpy())
    off = FREQUENCIES.integrate(np.abs(sigma - expected))
    assert np.all(off <= 1e-4 * FREQUENCIES.integrate(np.abs(expected)))


def test_spectra_are_the_same_in_numpy_and_torch(guesses):
    """What a CPU and what a GPU computes."""
    hybridization, params = batch()
    spectra = guesses._rows(hybridization, params)[:, : guesses.n_spectra].numpy()
    expected = guesses._rows(hybridization.numpy(), params.numpy())[:, : guesses.n_spectra]
    assert np.all(FREQUENCIES.integrate(np.abs(spectra - expected)) <= 1e-4)


@pytest.mark.parametrize("name", PROBLEMS)
def test_self_energy_agrees_with_the_numpy_solver(name):
    """L1 distance of the spectra: 1e-3 at half filling; 4e-2 elsewhere, where Sigma can have a pole

    outside the bath, and the two find the occupation on the imaginary and on the real axis."""
    sigma = perturbative(*(part.numpy() for part in batch([name])))
    assert sigma.imag.max() <= 0
    U, eps_d = PROBLEMS[name][:2]
    problem = ImpurityProblem.on_grid(U, eps_d, FREQUENCIES, bath(name))
    exact = IptSolver(step=MatrixDiagram.STEP).solve(problem).spectrum()[0]
    A = dyson_spectrum(problem, sigma)[0]
    A /= FREQUENCIES.integrate(A)
    tolerance = 1e-3 if eps_d == -U / 2 else 4e-2
    assert FREQUENCIES.integrate(np.abs(A - exact)) < tolerance


def doped_insulator(U, eps_d, occupation):
    """A bath of two Hubbard bands, between which the self-energy has a pole."""
    bands = [(eps_d, 1.0 - occupation / 2), (eps_d + U, occupation / 2)]
    return sum(semicircle(FREQUENCIES, centre, 1.0, 0.25 * share) for centre, share in bands)


@pytest.mark.parametrize(("U", "shift", "n"), [(4.0, 1.5, 0.8), (4.0, 1.8, 0.65), (3.5, 1.7, 0.6)])
def test_no_weight_of_the_self_energy_falls_between_points(U, shift, n):
    """``-Im Sigma / pi`` integrates to ``U^2 n (1 - n)``; the spectrum then has occupation n."""
    weights = FREQUENCIES.weights
    h = torch.tensor(doped_insulator(U, shift - U / 2, n))[None]
    params = torch.tensor([[U, shift - U / 2]], dtype=torch.float64)
    sigma = perturbative(h.numpy(), params.numpy())[0]
    density = -sigma.imag / np.pi
    found = np.mean(sigma.real - FREQUENCIES.hilbert @ density) / U  # the Hartree term is U n
    assert density @ weights == pytest.approx(U**2 * found * (1 - found), rel=1e-5)
    A = Guesses(GRID, (1e-4, 1e-3))(h, params)[0, 0].numpy()
    assert A @ (weights * (FREQUENCIES.omega < 0)) == pytest.approx(found, abs=0.01)


def test_follows_the_model_but_stays_precise(guesses):
    float32 = Guesses(GRID, RESOLUTION).to(torch.float32)
    assert float32.members[0].in_torch.omega.dtype == torch.float64 and not float32.state_dict()
    torch.testing.assert_close(float32(*batch()), guesses(*batch()))


@pytest.mark.parametrize(
    "names", [("ipt",), ("upper", "ipt", "lower"), ("hybridization", "middle")]
)
def test_any_choice_is_rows_of_the_whole(guesses, names):
    hybridization, params = batch()
    whole, some = guesses(hybridization, params), Guesses(GRID, RESOLUTION, names)
    rows = [guesses.names.index(name) for name in names]
    rows += [-2, -1] if "ipt" in names else []
    channels = some(hybridization, params)
    torch.testing.assert_close(channels, whole[:, rows], rtol=1e-6, atol=1e-9)
    assert channels.shape[1] == some.n_rows
    images = guesses.mirrored(whole)[:, rows]
    torch.testing.assert_close(some.mirrored(channels), images, rtol=1e-6, atol=1e-9)
    features = some.features(hybridization, channels)
    torch.testing.assert_close(features, guesses.features(hybridization, whole)[..., rows])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "give a list of"), ("ipt", "give a list of"), (("ipt", "nca"), "'nca' is unknown"),
        (("ipt", "lower"), "mirror image upper"), (("ipt", "ipt"), "give each once"),
    ],
)  # fmt: skip
def test_names_that_make_no_guesses(names, words):
    with pytest.raises(SettingError, match=words):
        Guesses(GRID, RESOLUTION, names)


def test_a_correction_needs_a_self_energy():
    with pytest.raises(SettingError, match="self-energy to correct"):
        Film(grid=GRID, resolution=RESOLUTION, guess_names=["hybridization"])
    assert Film(grid=GRID, resolution=RESOLUTION, guess_names=["hybridization"], log_residual=False)


def test_the_guesses_in_the_folder_are_found():
    assert set(known_guesses()) >= set(GUESS_NAMES)
    for name, kind in known_guesses().items():
        partner = kind.partners[name]
        assert known_guesses()[partner].partners[partner] == name


class Atom(Guess):
    """Two levels of the isolated site, as broad as the bath makes them."""

    partners = {"filled": "empty", "empty": "filled"}  # noqa: RUF012
    score = 0.5

    def forward(self, hybridization, params):
        below = params[:, 1:2] + (0 if self.name == "empty" else params[:, :1])
        return SelfEnergy(below, 0.1 * hybridization)


def test_a_new_guess_is_one_class(monkeypatch):
    """Known by its names, it is a feature, is mixed, and keeps the model symmetric."""
    known = known_guesses() | dict.fromkeys(("filled", "empty"), Atom)
    monkeypatch.setattr("dmftnet.models.networks.guesses.composed.known_guesses", lambda: known)
    net = Film(grid=GRID, resolution=RESOLUTION, guess_names=["filled", "ipt", "empty"], width=16)
    model = RotatedHead(net, GRID, [0.1]).eval()
    assert net.n_outputs == 8 and net.first_outputs[3:] == (2.0, 0.5, 0.0, 0.5, -3.0)
    hybridization, params = batch(dtype=torch.float32)
    with torch.inference_mode():
        A = model.real_axis(hybridization, params)
        images = model.real_axis(hybridization.flip(-1), model_mirror(params))
    torch.testing.assert_close(A.flip(-1), images, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(A @ model.weights, torch.ones(len(A)))


def model_mirror(params):
    U, eps_d = params.T
    return torch.stack([U, -U - eps_d], dim=1)


def test_models_without_guesses_say_so(guesses):
    model = RotatedHead(
        Film(grid=GRID, resolution=RESOLUTION, guesses=False, log_residual=False), GRID, [0.1]
    ).eval()
    assert model.guesses(*batch()) is None
    with pytest.raises(DmftnetError, match="has no guesses"):
        model.mirrored_guesses(torch.zeros(1, 7, GRID["n_w"]))

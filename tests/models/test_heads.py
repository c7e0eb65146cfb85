"""Heads: exact rotation, positivity, norm, particle-hole symmetry, forward-mode derivative."""

import numpy as np
import pytest
import torch
from synthetic import ANGLES, GRID, RESOLUTION, make_arrays
from toy_networks import HEADS, NETWORKS

from dmftnet.errors import DmftnetError
from dmftnet.models.training.checkpoint import build_model
from dmftnet.physics.analysis.distances import kl_divergence
from dmftnet.physics.grids.real_axis import FrequencyGrid
from dmftnet.physics.grids.rotation import rotation_kernel


@pytest.fixture(params=sorted(NETWORKS))
def network(request):
    return request.param


@pytest.fixture(params=sorted(HEADS))
def head(request):
    return request.param


def model_of(network, head, **changes):
    torch.manual_seed(3)
    return build_model({**NETWORKS[network], **changes}, HEADS[head], GRID, ANGLES, RESOLUTION)


def inputs(n=4):
    arrays = make_arrays(n, seed=5)
    return torch.from_numpy(arrays.hybridization), torch.from_numpy(arrays.params)


@pytest.mark.parametrize("log_residual", [False, True])
def test_real_axis_is_a_normalised_spectrum(network, head, log_residual):
    model = model_of(network, head, log_residual=log_residual).eval()
    A = model.real_axis(*inputs())
    assert A.dtype == torch.float32 and A.shape == (4, GRID["n_w"])
    assert torch.all(A >= 0)
    torch.testing.assert_close(A @ model.weights, torch.ones(4), rtol=1e-5, atol=1e-5)


def test_particle_hole_mirror_is_exact_in_use(network, head):
    model = model_of(network, head).eval()
    hybridization, params = inputs()
    mirrored = torch.stack([params[:, 0], -params[:, 0] - params[:, 1]], dim=1)
    A = model.real_axis(hybridization, params)
    B = model.real_axis(hybridization.flip(-1), mirrored)
    torch.testing.assert_close(A, B.flip(-1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("log_residual", [False, True])
def test_even_problems_need_one_pass_and_give_even_spectra(network, head, log_residual):
    """Half filling with an even bath: nothing is evaluated twice, whatever else is in the batch."""
    model = model_of(network, head, log_residual=log_residual).eval()
    hybridization, params = inputs()
    hybridization = 0.5 * (hybridization + hybridization.flip(-1))
    params[:3, 1] = -0.5 * params[:3, 0]
    params[3, 1] = 0.3 - 0.5 * params[3, 0]
    calls = []
    model.net.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    A = model.real_axis(hybridization, params)
    assert calls == [5]
    torch.testing.assert_close(A[:3], A[:3].flip(-1))
    alone = torch.cat(
        [model.real_axis(*x) for x in zip(hybridization[:, None], params[:, None], strict=True)]
    )
    torch.testing.assert_close(A, alone, rtol=1e-4, atol=1e-5)


def test_kept_guesses_change_nothing(network, head):
    model = model_of(network, head, log_residual=True, guesses=True).eval()
    guesses = model.guesses(*inputs())
    assert guesses.shape == (4, 7, GRID["n_w"])
    kept = model.real_axis(*inputs(), guesses)
    torch.testing.assert_close(kept, model.real_axis(*inputs()))
    spectra = model.spectrum(*inputs(), None, guesses)
    for one, other in zip(spectra, model.spectrum(*inputs()), strict=True):
        torch.testing.assert_close(one, other)


def test_log_residual_starts_from_the_guesses(network):
    """An untrained network is closer to perturbation theory than to nothing."""
    model = model_of(network, "rotated", log_residual=True).eval()
    A, ipt = model.real_axis(*inputs()), model.guesses(*inputs())[:, 0]
    assert torch.all((A - ipt).abs() @ model.weights < 0.8)


def test_latent_is_one_vector_a_problem(network, head):
    latent = model_of(network, head).eval().latent(*inputs())
    assert latent.ndim == 2 and len(latent) == 4


@pytest.mark.parametrize("log_residual", [False, True])
def test_angle_derivative_is_the_derivative_of_the_direct_head(network, log_residual):
    model = model_of(network, "direct", log_residual=log_residual).eval().double()
    hybridization, params = (x.double() for x in inputs())
    index = torch.tensor([[0], [1], [1], [0]])
    _, dA = model.spectrum(hybridization, params, index)
    at, step = model.angles[index[:, 0]], 1e-5
    guesses = model.guesses(hybridization, params)

    def curve(s):
        def rotate(x):
            value, slope = (c[torch.arange(4), index[:, 0]] for c in model.rotated(x))
            return value + s * slope

        full = torch.cat([params, (at + s)[:, None]], dim=1)
        return model._curve(hybridization, full, guesses, rotate)

    shifted = curve(step), curve(-step)
    difference = (shifted[0] - shifted[1]) / (2 * step)
    torch.testing.assert_close(dA[:, 0], difference, rtol=1e-6, atol=1e-8)


def test_gradient_reaches_every_weight_through_the_derivative(network, head):
    model = model_of(network, head)
    A, dA = model.spectrum(*inputs())
    assert A.shape == dA.shape == (4, len(ANGLES), GRID["n_w"])
    dA.abs().sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    # a bias after the last angle-dependent layer has no derivative in the angle
    assert all(name.endswith("bias") for name in missing), missing


def test_chosen_angles_equal_all_angles(head):
    model = model_of("mlp", head).eval()
    index = torch.tensor([[1], [0], [1], [0]])
    for one, every in zip(model.spectrum(*inputs(), index), model.spectrum(*inputs()), strict=True):
        torch.testing.assert_close(one[:, 0], every[torch.arange(4), index[:, 0]])


@pytest.mark.parametrize("log_residual", [False, True])
def test_spectra_need_no_slopes(network, log_residual):
    model = model_of(network, "direct", log_residual=log_residual).eval()
    A, none = model.spectrum(*inputs(), slopes=False)
    assert none is None
    torch.testing.assert_close(A, model.spectrum(*inputs())[0])


def test_rotated_head_reproduces_labels_from_the_true_real_axis():
    """Rotating the true spectrum on a usual network grid gives the labels that a fine grid gives.

    KL 1e-4: the curve between 160 points is a spline, the labels' curve is not.
    """
    grid = {"w_min": 5e-3, "w_max": 6.0, "n_w": 160}
    arrays = make_arrays(4, seed=1, grid=grid)
    model = build_model(
        {**NETWORKS["mlp"], "n_params": 2}, HEADS["rotated"], grid, ANGLES, RESOLUTION
    ).double()
    A, dA = model.rotated(torch.from_numpy(arrays.spectrum).double())
    frequencies = FrequencyGrid.geometric(**grid)
    kl = kl_divergence(frequencies, arrays.rotated.astype(float), A.numpy())
    assert kl.max() < 1e-4
    # the derivative is of order one in the bands: 2 % of its integral
    error = frequencies.integrate(np.abs(arrays.derivative - dA.numpy()))
    assert np.all(error < 0.02 * frequencies.integrate(np.abs(arrays.derivative)))


def test_rotation_matrices_approach_the_kernel_of_straight_lines():
    grid = FrequencyGrid.geometric(0.01, 6.0, 240)
    model = build_model(
        NETWORKS["mlp"],
        HEADS["rotated"],
        {"w_min": 0.01, "w_max": 6.0, "n_w": 240},
        [0.2],
        RESOLUTION,
    )
    curve = np.exp(-(grid.omega**2))
    straight = rotation_kernel(grid, 0.2) @ curve
    spline = model.rotation[0].double().numpy() @ curve
    np.testing.assert_allclose(spline, straight, atol=2e-3)


def test_head_and_network_must_agree_on_the_parameters():
    with pytest.raises(DmftnetError, match="n_params=3"):
        model_of("mlp", "direct", n_params=2)


def test_angles_must_be_positive():
    with pytest.raises(DmftnetError, match="angles > 0"):
        build_model(NETWORKS["mlp"], HEADS["rotated"], GRID, [0.0, 0.1], RESOLUTION)


@pytest.mark.parametrize("log_residual", [False, True])
def test_expansion_about_angle_zero(network, log_residual):
    """The parts are what the direct head gives at those angles, and the tangent is one."""
    model = model_of(network, "direct", log_residual=log_residual).eval()
    A, dA, moved = model.expansion(*inputs(), 0.05)
    assert A.shape == dA.shape == moved.shape == (4, 1, GRID["n_w"])
    torch.testing.assert_close(model.normalise(A[:, 0]), model.predict(*inputs()))
    _, _, near = model.expansion(*inputs(), 1e-3)
    change = (near - A) @ model.weights
    assert torch.all((moved - A).abs().sum(-1) > (near - A).abs().sum(-1))
    assert change.abs().max() < 0.05


def test_the_expansion_of_a_rotated_curve_closes():
    """``K_a x - x - a dK_0 x`` is of second order in the angle for a smooth curve."""
    from dmftnet.models.networks.heads import small_rotation

    grid = FrequencyGrid.geometric(5e-3, 6.0, 160)
    curve = np.exp(-(grid.omega**2))
    errors = []
    for angle in (0.1, 0.05):
        small, slope = (matrix[0] for matrix in small_rotation(grid, angle))
        errors.append(np.abs(small @ curve - curve - angle * slope @ curve).max())
    assert errors[0] < 0.05 and errors[1] < 0.6 * errors[0]

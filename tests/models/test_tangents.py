"""Tangents that are written out, against forward-mode differentiation by torch."""

import pytest
import torch
from synthetic import ANGLES, GRID, RESOLUTION, make_arrays
from torch import nn
from toy_networks import HEADS, NETWORKS

from dmftnet.models.networks.crossattn import CrossAttention
from dmftnet.models.networks.network import SpectralNetwork
from dmftnet.models.networks.tangents import DefinedNorm, push
from dmftnet.models.training.checkpoint import build_model


class Slope(nn.Module):
    """Some function of a network's output and slope."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, *inputs):
        output, slope = self.net.with_slope(*inputs)
        return (output.sin() + slope.sin()).sum()


def seed_inputs():
    arrays = make_arrays(3, seed=5)
    hybridization, params = (
        torch.from_numpy(x).double() for x in (arrays.hybridization, arrays.params)
    )
    return hybridization, torch.cat([params, torch.tensor([[0.0], [0.1], [0.2]])], dim=1)


LAYERS = {
    "linear": nn.Linear(6, 4),
    "gelu": nn.GELU(),
    "norm": nn.LayerNorm(6),
    "nothing": nn.Identity(),
    "no dropout in use": nn.Dropout(0.5).eval(),
    "a row": nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3)),
}


def norm_by_definition(layer, x):
    return (x - x.mean(-1, keepdim=True)) / (
        x.var(-1, correction=0, keepdim=True) + layer.eps
    ).sqrt() * layer.weight + layer.bias


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_and_its_tangent(name):
    """Values and tangents as torch has them; gradients of the tangent by finite differences."""
    torch.manual_seed(0)
    layer = LAYERS[name].double()
    for parameter in layer.parameters():  # scales and shifts of norms too
        parameter.data += 0.3 * torch.randn_like(parameter)
    x, dx = (torch.randn(5, 2, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for one, other in zip(push(layer, x, dx), torch.func.jvp(layer, (x,), (dx,)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    leaves = (x, dx, *layer.parameters())
    assert torch.autograd.gradcheck(lambda *_: push(layer, x, dx), leaves)


def test_a_norm_has_the_right_gradient_of_its_tangent():
    """Torch alone takes mean and variance for constants there."""
    torch.manual_seed(0)
    layer = nn.LayerNorm(6).double()
    x, dx = (torch.randn(5, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    with DefinedNorm():
        torch.testing.assert_close(layer(x), norm_by_definition(layer, x))
        assert torch.autograd.gradcheck(
            lambda x, dx: torch.func.jvp(layer, (x,), (dx,))[1], (x, dx)
        )


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_gradient_of_the_slope(name):
    """Of every network, in all of its weights at once, against a central difference."""
    torch.manual_seed(0)
    net = {**NETWORKS[name], "n_params": 3, "log_residual": False, "guesses": False}
    net = build_model(net, HEADS["direct"], GRID, ANGLES, RESOLUTION).net.eval().double()
    inputs = seed_inputs()
    direction = [torch.randn_like(parameter) for parameter in net.parameters()]

    def loss(step: float) -> torch.Tensor:
        moved = {
            key: parameter + step * along
            for (key, parameter), along in zip(net.named_parameters(), direction, strict=True)
        }
        return torch.func.functional_call(
            Slope(net), {f"net.{k}": v for k, v in moved.items()}, inputs
        )

    gradients = torch.autograd.grad(loss(0.0), list(net.parameters()), materialize_grads=True)
    found = sum((g * along).sum() for g, along in zip(gradients, direction, strict=True))
    step = 1e-5
    expected = (loss(step) - loss(-step)) / (2 * step)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_slope_without_gradients(name):
    """As in validation: the same numbers to single precision, guesses and features included."""
    torch.manual_seed(0)
    net = {**NETWORKS[name], "n_params": 3}
    net = build_model(net, HEADS["direct"], GRID, ANGLES, RESOLUTION).net.eval()
    inputs = [part.float() for part in seed_inputs()]
    expected = net.with_slope(*inputs)
    with torch.no_grad():
        found = net.with_slope(*inputs)
    for one, other in zip(found, expected, strict=True):
        other = other.detach()
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_dropout_keeps_the_same_entries_of_both():
    torch.manual_seed(0)
    x = torch.ones(100)
    y, dy = push(nn.Dropout(0.5), x, 3 * x)
    assert 0 < (y == 0).sum() < 100
    torch.testing.assert_close(dy, 3 * y)


def test_a_layer_without_a_tangent_is_named():
    with pytest.raises(TypeError, match="no tangent is written out for a Tanh"):
        push(nn.Tanh(), torch.ones(2), torch.ones(2))


@pytest.mark.parametrize("log_residual", [False, True])
@pytest.mark.parametrize(("n_blocks", "pairs"), [(1, 1), (3, 2)])
def test_the_seed_network_and_its_slope(n_blocks, pairs, log_residual):
    torch.manual_seed(0)
    net = CrossAttention(
        grid=GRID, resolution=RESOLUTION, width=8, n_blocks=n_blocks, pairs=pairs,
        log_residual=log_residual, dropout=0.0,
    ).double()  # fmt: skip
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    hybridization, params = seed_inputs()
    results, weights = [], list(net.parameters())
    for way in (net.with_slope, lambda *inputs: SpectralNetwork.with_slope(net, *inputs)):
        output, slope = way(hybridization, params)
        loss = (output.sin() + slope.sin()).sum()
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
        results.append((output, slope, *gradients))
    assert results[0][1].abs().max() > 1e-3
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)

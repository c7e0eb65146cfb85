"""Building blocks of the networks."""

import numpy as np
import pytest
import torch
from synthetic import GRID, RESOLUTION

from dmftnet.errors import DmftnetError
from dmftnet.models.networks.crossattn import CrossAttention
from dmftnet.models.networks.film import Film
from dmftnet.models.networks.layers import FAN, Attention, paired
from dmftnet.models.networks.network import HybridizationInput, ParameterInput
from dmftnet.physics.grids.real_axis import FrequencyGrid


def test_fan_is_cosine_sine_and_gelu():
    layer = FAN(3, 8, periodic=0.25)
    x = torch.randn(5, 3)
    y = layer(x)
    phase = x @ layer.periodic.weight.T
    torch.testing.assert_close(y[:, :2] ** 2 + y[:, 2:4] ** 2, torch.ones(5, 2))
    torch.testing.assert_close(y[:, :2], torch.cos(phase))
    assert y.shape == (5, 8)


def test_attention_equals_torch():
    """Against torch's own scaled dot product, head by head."""
    layer = Attention(8, 2)
    q, k, v = torch.randn(3, 4, 8), torch.randn(3, 6, 8), torch.randn(3, 6, 8)
    split = [
        f(x).unflatten(-1, (2, 4)).transpose(1, 2)
        for f, x in ((layer.query, q), (layer.key, k), (layer.value, v))
    ]
    expected = torch.nn.functional.scaled_dot_product_attention(*split)
    expected = layer.output(expected.transpose(1, 2).flatten(-2))
    torch.testing.assert_close(layer(q, k, v), expected)


def test_hybridization_input_is_the_complex_function():
    grid = FrequencyGrid.geometric(**GRID)
    spectrum = np.exp(-(grid.omega**2)) / 4
    delta = grid.greens_function(spectrum)
    features = HybridizationInput(GRID, logarithm=True)(torch.tensor(spectrum[None]).float())
    assert features.shape == (1, GRID["n_w"], 3)
    np.testing.assert_allclose(features[0, :, 0], -4 * delta.imag / np.pi, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(features[0, :, 1], 4 * delta.real, rtol=1e-4, atol=1e-5)


def test_parameter_input_is_odd_in_the_shift_from_half_filling():
    layer = ParameterInput(2)
    p = layer(torch.tensor([[2.0, -0.7], [2.0, -1.3]]))
    assert p[0, 0] == p[1, 0]
    assert torch.isclose(p[0, 1], -p[1, 1])


def test_paired_tokens_are_neighbouring_pairs_from_zero_outwards():
    omega = torch.tensor([-4.0, -3, -2, -1, 1, 2, 3, 4])
    tokens = paired(torch.stack([omega, 10 * omega], dim=-1), 2)
    assert tokens.tolist() == [
        [1, 10, -1, -10, 2, 20, -2, -20],
        [3, 30, -3, -30, 4, 40, -4, -40],
    ]


@pytest.mark.parametrize("kind", [Film, CrossAttention])
@pytest.mark.parametrize("pairs", [1, 2, 4])
def test_a_token_speaks_for_its_own_frequencies(kind, pairs):
    net = kind(grid=GRID, resolution=RESOLUTION, width=8, n_heads=2, n_blocks=1, pairs=pairs)
    embedding = torch.zeros(1, GRID["n_w"] // 2 // pairs, 8)
    before = net.project(embedding)
    embedding[0, 3] = torch.randn(8)
    changed = (net.project(embedding) != before).any(dim=1)[0]
    half = GRID["n_w"] // 2
    expected = torch.arange(3 * pairs, 4 * pairs)
    assert set(changed.nonzero()[:, 0].tolist()) == {
        *(half + expected).tolist(),
        *(half - 1 - expected).tolist(),
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ParameterInput(4), "n_params = 4"),
        (lambda: FAN(3, 8, periodic=0.5), "periodic = 0.5"),
        (lambda: Attention(10, 4), "width = 10"),
        (lambda: Film(grid=GRID, resolution=RESOLUTION, pairs=7), "pairs = 7"),
        (lambda: CrossAttention(grid=GRID, resolution=RESOLUTION, pairs=7), "pairs = 7"),
        (lambda: ParameterInput(2)(torch.zeros(1, 3)), "takes 2 parameters, got 3"),
    ],
)
def test_bad_sizes_are_named(make, message):
    with pytest.raises(DmftnetError, match=message):
        make()

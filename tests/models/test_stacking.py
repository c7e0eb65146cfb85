"""Stacked networks: what the members say one by one, in one pass; whose members may be stacked."""

import pytest
import torch
from synthetic import ANGLES, GRID, RESOLUTION, make_arrays
from toy_networks import HEADS, NETWORKS

from dmftnet.models.networks.ensemble import Ensemble
from dmftnet.models.networks.stacking import alike
from dmftnet.models.training.checkpoint import build_model


def inputs(n=4):
    arrays = make_arrays(n, seed=5)
    return torch.from_numpy(arrays.hybridization), torch.from_numpy(arrays.params)


def members_of(network, head, n=3, **changes):
    members = []
    for seed in range(n):
        torch.manual_seed(seed)
        model = build_model({**NETWORKS[network], **changes}, HEADS[head], GRID, ANGLES, RESOLUTION)
        for parameter in model.parameters():  # scales and shifts of norms too
            parameter.data += 0.1 * torch.randn_like(parameter)
        members.append(model.eval())
    return members


@pytest.mark.parametrize("log_residual", [False, True])
@pytest.mark.parametrize("head", sorted(HEADS))
@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_one_pass_says_what_the_members_say(network, head, log_residual):
    members = members_of(network, head, log_residual=log_residual)
    ensemble = Ensemble(members).eval()
    assert ensemble.together is not None
    with torch.inference_mode():
        one_by_one = torch.stack([member.real_axis(*inputs()) for member in members])
        at_once = ensemble.member_spectra(*inputs())
    assert (one_by_one[0] - one_by_one[1]).abs().max() > 1e-3
    torch.testing.assert_close(at_once, one_by_one, rtol=1e-4, atol=1e-6)


def test_the_copies_are_neither_saved_nor_counted():
    members = members_of("film", "rotated")
    ensemble = Ensemble(members)
    assert not any(name.startswith("together") for name in ensemble.state_dict())
    alone = sum(parameter.numel() for parameter in members[0].parameters())
    assert sum(parameter.numel() for parameter in ensemble.parameters()) == 3 * alone


def test_members_of_two_kinds_answer_one_after_the_other():
    members = [*members_of("film", "rotated", 1), *members_of("mlp", "rotated", 1)]
    ensemble = Ensemble(members).eval()
    assert ensemble.together is None
    with torch.inference_mode():
        one_by_one = torch.stack([member.real_axis(*inputs()) for member in members])
        torch.testing.assert_close(ensemble.member_spectra(*inputs()), one_by_one)


@pytest.mark.parametrize("changes", [{"n_heads": 4}, {"width": 24}, {"n_blocks": 1}, {"pairs": 2}])
def test_what_differs_in_anything_but_its_weights_is_not_alike(changes):
    same, other = members_of("film", "rotated", 2), members_of("film", "rotated", 1, **changes)
    assert alike(same)
    assert not alike([same[0], *other])


def test_other_constants_are_not_alike():
    a = build_model(NETWORKS["mlp"], HEADS["rotated"], GRID, ANGLES, RESOLUTION)
    b = build_model(NETWORKS["mlp"], {**HEADS["rotated"], "eta": 0.02}, GRID, ANGLES, RESOLUTION)
    assert not alike([a, b])

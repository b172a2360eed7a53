"""Condition maps: what enters a convolution beside its input is the convolution of both, joined."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.core import streams
from augmint.core.errors import UsageError
from augmint.core.registry import ARCHITECTURES
from augmint.networks.blocks import UpsampleConv
from augmint.networks.maps import chain, entries

TAKING = [n for n in ARCHITECTURES.names() if "maps" in ARCHITECTURES.get(n).condition_modes]


def maps_of(purpose: str, channels: int, height: int, width: int) -> Tensor:
    flat = streams.stream(3, purpose, ids=2).normal(channels * height * width)
    return flat.view(2, channels, height, width)


def test_an_entry_is_a_convolution_of_both_joined() -> None:
    with streams.scope(0, "layers"):
        layer = nn.Conv2d(3, 5, 3, padding=1)
        layers = nn.Sequential(layer, nn.Tanh())
        entered = entries(layers, 2)
    seen, condition = maps_of("seen", 3, 6, 7), maps_of("condition", 2, 6, 7)
    weight = torch.cat((layer.weight, entered["0"].weight), 1)  # type: ignore[list-item]
    joined = F.conv2d(torch.cat((seen, condition), 1), weight, layer.bias, padding=1).tanh()
    torch.testing.assert_close(chain(layers, entered, seen, condition), joined)


def test_an_entry_of_a_doubling_sees_the_doubled_size() -> None:
    with streams.scope(0, "layers"):
        layer = UpsampleConv(3, 5)
        layers = nn.Sequential(layer)
        entered = entries(layers, 2)
    seen, condition = maps_of("seen", 3, 4, 4), maps_of("condition", 2, 16, 16)
    # each of the 8x8 cells has the mean of its 2x2 pixels
    cells = condition.view(2, 2, 8, 2, 8, 2).mean((3, 5))
    weight = torch.cat((layer.weight, entered["0"].weight), 1)  # type: ignore[list-item]
    doubled = seen.repeat_interleave(2, 2).repeat_interleave(2, 3)
    joined = F.conv2d(torch.cat((doubled, cells), 1), weight, layer.bias, padding=1)
    torch.testing.assert_close(chain(layers, entered, seen, condition), joined)


@pytest.mark.parametrize("name", TAKING)
def test_generators_take_maps_where_they_were_built_for_them(name: str) -> None:
    spec: dict[str, Any] = {"name": name, "channels": 8}
    shape = (3, 16, 16)
    with streams.scope(0, "build"):
        asked = ARCHITECTURES.create(spec).build(6, shape, 2).eval()
    with streams.scope(0, "build"):
        plain = ARCHITECTURES.create(spec).build(6, shape).eval()
    latent = streams.stream(3, "z", ids=2).normal(6)
    condition = maps_of("condition", 2, 16, 16)
    with torch.no_grad():
        images = asked(latent, condition)
        assert images.shape == plain(latent).shape == (2, *shape)
        assert not torch.equal(images, asked(latent, 2.0 * condition))
        # without what enters, the same network
        for key, value in asked.named_parameters():
            if "entries" in key:
                value.zero_()
        own = {k: v for k, v in asked.state_dict().items() if "entries" not in k}
        plain.load_state_dict(own)
        torch.testing.assert_close(asked(latent, condition), plain(latent))
    for network, given in ((asked, (latent,)), (plain, (latent, condition))):
        with pytest.raises(UsageError, match="condition maps"):
            network(*given)


@pytest.mark.parametrize("name", TAKING)
def test_what_is_said_in_one_place_changes_the_image_there(name: str) -> None:
    with streams.scope(0, "build"):
        network = ARCHITECTURES.create({"name": name, "channels": 8}).build(6, (3, 64, 64), 1)
    network.eval()
    latent = streams.stream(3, "z", ids=1).normal(6)
    spot = torch.zeros(1, 1, 64, 64)
    spot[0, 0, 8:10, 8:10] = 1.0
    with torch.no_grad():
        changed = (network(latent, spot) - network(latent, torch.zeros_like(spot))).abs().sum(1)[0]
    assert float(changed[:24, :24].max()) > 0
    assert float(changed[:32, :32].sum()) > 10.0 * float(changed[40:, 40:].sum())

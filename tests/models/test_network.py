"""What all networks have in common."""

import pytest
import torch
from torch import nn

from pslcore import models


@pytest.mark.parametrize("name", models.names())
def test_what_every_network_offers(name):
    network, images = models.build(name, 5).eval(), torch.randn(2, 3, 16, 24)
    assert isinstance(network, models.Network)
    assert isinstance(network.head, nn.Linear | nn.Conv2d)
    with torch.no_grad():
        maps, logits = models.maps_and_logits(network, images)
        assert torch.equal(logits, network(images))
        assert torch.equal(network.pool(maps[-1]), network.embed(images))
    assert logits.shape == ((2, 5, 16, 24) if models.for_pixel_labels(name) else (2, 5))
    assert network.stage_widths() == [x.shape[1] for x in maps]
    assert network.embed(images).shape == (2, network.head.weight.shape[1])

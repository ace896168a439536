"""What all networks have in common."""

import pytest
import torch
from torch import nn

from pslcore import models


@pytest.mark.parametrize("name", models.names())
def test_what_every_network_offers(name):
    shape = (30, 1, 1) if models.for_vectors(name) else (3, 16, 24)
    network, images = models.build(name, 5, shape[0]).eval(), torch.randn(2, *shape)
    assert isinstance(network, models.Network)
    assert isinstance(network.head, nn.Linear | nn.Conv2d)
    with torch.no_grad():
        maps, logits = models.maps_and_logits(network, images)
        assert torch.equal(logits, network(images))
        assert torch.equal(network.pool(maps[-1]), network.embed(images))
    assert logits.shape == ((2, 5, 16, 24) if models.for_pixel_labels(name) else (2, 5))
    assert network.stage_widths() == [x.shape[1] for x in maps]
    assert network.embed(images).shape == (2, network.head.weight.shape[1])

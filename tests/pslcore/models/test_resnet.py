"""The residual networks: exact sizes, any image, any number of classes."""

import pytest
import torch

from pslcore import models
from pslcore.models import build, count_parameters

COUNTS = {"resnet8": 78_042, "resnet14": 175_258, "resnet18": 11_173_962}
WIDTHS = {"resnet8": [16, 32, 64], "resnet14": [16, 32, 64], "resnet18": [64, 128, 256, 512]}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_parameters_are_those_of_table_1(name, count):
    assert count_parameters(build(name, 10)) == count
    width = WIDTHS[name][-1]
    assert count_parameters(build(name, 100)) == count + 90 * (width + 1)  # only the last layer knows the classes
    assert count_parameters(build(name, 10, 1)) == count - 2 * 9 * WIDTHS[name][0]  # and only the first the channels


def test_two_peer_students():
    assert count_parameters(torch.nn.ModuleList([build("resnet8", 10), build("resnet8", 10)])) == 156_084


def test_a_shared_parameter_counts_once_and_a_frozen_one_counts():
    layer = torch.nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert count_parameters(torch.nn.Sequential(layer, layer)) == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("size", "channels"), [((8, 8), 1), ((32, 32), 3), ((64, 64), 3), ((7, 9), 1), ((8, 16), 3)])
def test_any_image_will_do(name, size, channels):
    network, images = build(name, 5, channels).eval(), torch.randn(2, channels, *size)
    with torch.no_grad():
        maps, features, logits = network.stage_maps(images), network.embed(images), network(images)
    assert [x.shape[1] for x in maps] == WIDTHS[name]
    halved = [size]
    for _ in maps[1:]:
        halved.append(tuple(-(-extent // 2) for extent in halved[-1]))
    assert [tuple(x.shape[2:]) for x in maps] == halved
    assert features.shape == (2, WIDTHS[name][-1])
    assert logits.shape == (2, 5)
    assert torch.equal(network.head(features), logits)


@pytest.mark.parametrize("name", COUNTS)
def test_every_parameter_learns(name):
    network = build(name, 5)
    network(torch.randn(4, 3, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_the_first_weights_are_those_of_the_global_generator():
    first, again, other = (torch.manual_seed(seed) and build("resnet8", 3).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv.weight"], other["conv.weight"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("resnet9", 10), "unknown network 'resnet9': choose one of resnet8, resnet14, resnet18"),
        (("resnet8", 0), "resnet8 needs at least one class and one channel, got 0 and 3"),
        (("resnet8", 10, 0), "resnet8 needs at least one class and one channel, got 10 and 0"),
    ],
)
def test_what_cannot_be_built(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(*arguments)


def test_names_and_sources():
    assert set(COUNTS) < set(models.names())
    assert {path.name for name in COUNTS for path in models.sources(name)} == {"resnet.py"}

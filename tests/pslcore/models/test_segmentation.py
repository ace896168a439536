"""The networks for pixel labels: exact sizes (Table 1), shapes at any image size, gradients, what is frozen."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pslcore.models import build, count_parameters
from pslcore.models.segmentation import UNUSED_CLASSIFIER

NAMES = ["drn_d_22", "lraspp_mobilenet_v3_small"]
WIDTHS = {"drn_d_22": [64, 128, 256, 512], "lraspp_mobilenet_v3_small": [16, 24, 48, 576]}
FEATURES = {"drn_d_22": 512, "lraspp_mobilenet_v3_small": 128}


@pytest.fixture(scope="module", params=NAMES)
def named(request):
    torch.manual_seed(0)
    return request.param, build(request.param, 11, in_channels=1)


def test_exact_sizes_of_table_1():
    drn, student = (count_parameters(build(name, 19)) for name in NAMES)
    assert drn == 15_895_363
    module = nn.ModuleList([*(nn.Linear(width, 128) for width in WIDTHS["drn_d_22"]), nn.Linear(4 * 128, 1)])
    assert count_parameters(module) == 123_905
    assert drn + 123_905 == 16_019_268
    assert student == 1_068_971
    assert 2 * student == 2_137_942
    assert student + UNUSED_CLASSIFIER == 3_254_419


def test_the_unused_classifier_is_what_is_left_in_the_public_trunk():
    squeeze_and_excite = [nn.Linear(576, 144, bias=False), nn.Linear(144, 576, bias=False)]
    layers = nn.ModuleList([*squeeze_and_excite, nn.Conv2d(576, 1280, 1), nn.Conv2d(1280, 1000, 1)])
    assert count_parameters(layers) == UNUSED_CLASSIFIER == 2_185_448


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (19, 1), (11, 3)])
def test_only_the_ends_depend_on_classes_and_channels(classes, channels):
    def size(name):
        return count_parameters(build(name, classes, channels)) - count_parameters(build(name, 19, 3))

    assert size("drn_d_22") == (classes - 19) * (512 + 1 + 256) + (channels - 3) * 16 * 49
    assert size("lraspp_mobilenet_v3_small") == (classes - 19) * (128 + 1) + (channels - 3) * 16 * 9


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(32, 48), (33, 47), (8, 8), (7, 65), (1, 1)])
def test_logits_have_the_size_of_the_image(named, height, width):
    name, network = named
    network.eval()
    x = torch.randn(2, 1, height, width)
    with torch.no_grad():
        assert network(x).shape == (2, 11, height, width)
        maps, features, embedded = network.stage_maps(x), network.features(x), network.embed(x)
    h, w = -(-height // 8), -(-width // 8)
    assert [m.shape[1] for m in maps] == WIDTHS[name]
    assert all(m.shape[2:] == (h, w) for m in maps[1:])
    assert maps[0].shape[2:] == (-(-height // 4), -(-width // 4))
    assert features.shape == (2, FEATURES[name], h, w)
    torch.testing.assert_close(embedded, features.mean((2, 3)))
    assert network.head(features).shape == (2, 11, h, w)


def test_colour_images(named):
    name, _ = named
    network = build(name, 19)
    assert network(torch.randn(2, 3, 32, 48)).shape == (2, 19, 32, 48)


def test_gradients_reach_every_trained_parameter(named):
    _, network = named
    network.train().zero_grad()
    network(torch.randn(2, 1, 32, 48)).square().mean().backward()
    frozen = [key for key, parameter in network.named_parameters() if not parameter.requires_grad]
    assert frozen == (["up.weight"] if hasattr(network, "up") else [])
    for key, parameter in network.named_parameters():
        if key not in frozen:
            assert parameter.grad.isfinite().all(), key
            gate = key.startswith("stages.1.0") and ("squeeze" in key or "excite" in key)
            assert parameter.grad.any() or gate, key  # the four hidden units of the first gate may all be off


def test_a_batch_of_one_and_bfloat16_train(named):
    _, network = named
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.randn(1, 1, 32, 48)).float().isfinite().all()


def test_drn_enlarges_bilinearly():
    network = build("drn_d_22", 3)
    logits = torch.randn(2, 3, 6, 7)
    inner = (..., slice(8, -8), slice(8, -8))  # at the very border the transposed convolution fades to zero
    expected = F.interpolate(logits, scale_factor=8, mode="bilinear", align_corners=False)
    torch.testing.assert_close(network.enlarge(logits, (48, 56))[inner], expected[inner])


def test_same_seed_same_network(named):
    name, _ = named
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build(name, 5, 1).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])

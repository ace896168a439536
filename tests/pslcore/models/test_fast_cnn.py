"""The fast network: its size, its fixed first layer, and every number that it computes against float64 NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import erf

from pslcore.models import build, count_parameters
from pslcore.models.fast_cnn import basis


def test_parameters_are_counted():
    """64-128-128: 0.57 million, nearly all of them in the five 3x3 convolutions above the first group's first."""
    convolutions = sum(9 * a * b for a, b in ((24, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 128)))
    norms, head, first = 2 * 2 * (64 + 128 + 128), 128 * 10 + 10, 24 * 3 * 2 * 2
    assert count_parameters(build("fast_cnn", 10)) == convolutions + norms + head + first == 569_642
    assert count_parameters(build("fast_cnn", 100)) == 569_642 + 90 * 129  # only the last layer knows the classes
    grey = first - 8 * 2 * 2 + 9 * 16 * 64  # eight maps of one channel for 24 of three
    assert count_parameters(build("fast_cnn", 10, 1)) == 569_642 - grey


def reference_basis(channels):
    """Discrete cosines of two samples, by their formula, times orthonormal colours, over the constants."""
    waves = [[np.sqrt((1 if k == 0 else 2) / 2) * np.cos(np.pi * (2 * n + 1) * k / 4) for n in (0, 1)] for k in (0, 1)]
    colours = [[1, 1, 1], [1, 0, -1], [-1, 2, -1]] if channels == 3 else [[1]]
    deviations = [[3.3, 0.75, 0.75, 0.35], [1.0, 0.2, 0.2, 0.12], [0.5, 0.12, 0.12, 0.08]]
    filters = np.zeros((4 * len(colours), channels, 2, 2))
    for number, colour in enumerate(colours):
        for place, (down, across) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            deviation = deviations[number][place] / (1 if channels == 3 else np.sqrt(3))
            for c, y, x in np.ndindex(channels, 2, 2):
                share = colour[c] / np.sqrt(sum(part * part for part in colour))
                filters[4 * number + place, c, y, x] = share * waves[down][y] * waves[across][x] / deviation
    return np.concatenate([filters, -filters])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_layer_is_a_fixed_function_of_constants(channels):
    wanted = reference_basis(channels)
    np.testing.assert_allclose(basis(channels).numpy(), wanted, rtol=1e-6, atol=1e-7)
    half = wanted[: len(wanted) // 2].reshape(len(wanted) // 2, -1)
    np.testing.assert_allclose(half @ half.T, np.diag((half**2).sum(1)), atol=1e-12)  # no two look at the same
    networks = [torch.manual_seed(seed) and build("fast_cnn", 4, channels) for seed in (1, 2)]
    assert all(torch.equal(network.first, basis(channels)) for network in networks)  # nothing is drawn
    assert not any(network.first.requires_grad for network in networks)


def reference(weights, images):
    """Logits and features in eval mode, float64, from the weights and nothing else of torch."""
    w = {name: tensor.numpy().astype(np.float64) for name, tensor in weights.items()}

    def convolve(x, filters, padding):
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        windows = np.lib.stride_tricks.sliding_window_view(x, filters.shape[2:], axis=(2, 3))
        return np.einsum("nchwyx,dcyx->ndhw", windows, filters)

    def norm(x, name):
        mean, variance, scale, shift = (
            w[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift

    def gelu(x):
        return x * (1 + erf(x / np.sqrt(2))) / 2

    def halve(x):
        n, c, height, width = x.shape
        if min(height, width) < 2:
            return x
        x = x[:, :, : height // 2 * 2, : width // 2 * 2]
        return x.reshape(n, c, height // 2, 2, width // 2, 2).max((3, 5))

    x = gelu(convolve(images, w["first"], 0))
    for group in range(3):
        name = f"groups.{group}"
        x = gelu(norm(halve(convolve(x, w[f"{name}.conv1.weight"], 1)), f"{name}.bn1"))
        x = gelu(norm(convolve(x, w[f"{name}.conv2.weight"], 1), f"{name}.bn2"))
    features = x.max((2, 3)) / 4  # of the features, and so of the logits
    return features @ w["head.weight"].T + w["head.bias"], features


@pytest.mark.parametrize(("channels", "size"), [(3, (12, 12)), (1, (8, 8)), (3, (9, 14)), (1, (4, 10))])
def test_what_it_computes_is_the_reference(channels, size):
    torch.manual_seed(0)
    network = build("fast_cnn", 5, channels)
    for name, buffer in network.named_buffers():  # statistics as after some training
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + (0.5 if name.endswith("var") else -0.5))
    images = torch.randn(3, channels, *size)
    network.eval()
    with torch.no_grad():
        logits, features = network(images), network.embed(images)
    wanted = reference(network.state_dict(), images.numpy().astype(np.float64))
    np.testing.assert_allclose(logits.numpy(), wanted[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features.numpy(), wanted[1], rtol=1e-4, atol=1e-5)
    assert torch.equal(network.head(features), logits)


@pytest.mark.parametrize(("size", "sides"), [((32, 32), [15, 7, 3]), ((8, 8), [3, 1, 1]), ((64, 64), [31, 15, 7])])
def test_maps_are_halved_down_to_one_pixel(size, sides):
    maps = build("fast_cnn", 5).eval().stage_maps(torch.zeros(2, 3, *size))
    assert [tuple(x.shape[1:]) for x in maps] == [(w, s, s) for w, s in zip((64, 128, 128), sides, strict=True)]


def test_everything_learns_but_the_first_layer():
    network = build("fast_cnn", 5)
    network(torch.randn(8, 3, 12, 12)).square().sum().backward()
    stuck = [
        name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert stuck == ["first"]

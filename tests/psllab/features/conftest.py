"""A small made-up backbone, and a set of pictures of 8x8."""

from types import SimpleNamespace

import pytest
import torch

from psllab.features import Backbone, backbones


@pytest.fixture
def made_up(monkeypatch):
    """``made_up(identity)``: makes ``tiny_net`` known, 30 features; what it gives counts its images in ``seen``."""

    def make(identity="a" * 64):
        weight = torch.randn(30, 192, generator=torch.Generator().manual_seed(len(identity)))
        calls = SimpleNamespace(seen=0, fail_after=None)

        def embed(pixels):
            if calls.fail_after is not None and calls.seen >= calls.fail_after:
                raise KeyboardInterrupt
            calls.seen += len(pixels)
            return (pixels[:, :, :8, :8].flatten(1) / 255 @ weight.T).relu()

        monkeypatch.setitem(backbones._BACKBONES, "tiny_net", lambda: Backbone(embed, 30, identity, 20.0))
        backbones.backbone.cache_clear()
        return calls

    yield make
    backbones.backbone.cache_clear()


@pytest.fixture
def pictures(tmp_path, new_set):
    """A folder of data sets with ``small``: 120 images to train and 40 to test."""
    new_set(tmp_path / "small")
    return tmp_path

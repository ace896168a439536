"""The networks, by name. Exact parameter counts (Table 1) are tested in ``tests/models``."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from pslcore.models.fast_cnn import fast_cnn
from pslcore.models.network import Network
from pslcore.models.resnet import resnet8, resnet14, resnet18
from pslcore.models.segmentation import drn_d_22, lraspp_mobilenet_v3_small

_BUILDERS: dict[str, Callable[[int, int], Network]] = {
    "resnet8": resnet8,
    "resnet14": resnet14,
    "resnet18": resnet18,
    "fast_cnn": fast_cnn,
    "drn_d_22": drn_d_22,
    "lraspp_mobilenet_v3_small": lraspp_mobilenet_v3_small,
}


def names() -> list[str]:
    """The networks that ``build`` knows."""
    return list(_BUILDERS)


def known(name: str) -> str:
    """The name, if ``build`` knows it; else ``ValueError``."""
    if name not in _BUILDERS:
        raise ValueError(f"unknown network {name!r}: choose one of {', '.join(_BUILDERS)}.")
    return name


NetworkName = Annotated[str, AfterValidator(known), Field(json_schema_extra={"enum": list(_BUILDERS)})]
"""A setting that names a network."""


def for_pixel_labels(name: str) -> bool:
    """Whether the network answers with logits of every pixel, [N, C, H, W], not of the image, [N, C]."""
    return source(name) == source("drn_d_22")


def build(name: str, num_classes: int, in_channels: int = 3) -> Network:
    """A freshly initialised network (torch's global generator draws the weights).

    Parameters
    ----------
    name : str
        One of ``names()``.
    num_classes : int
        Width of the last layer; nothing else depends on it.
    in_channels : int
        1 for grey images, 3 for colour.

    Returns
    -------
    Network
        ``network(images [N, in_channels, H, W]) -> logits [N, num_classes]``, those ``for_pixel_labels``
        [N, num_classes, H, W]. ``network.embed(images)`` gives the
        penultimate features [N, D], and ``network.head`` is the linear layer on them.

    Raises
    ------
    ValueError
        If the name is unknown or a size is not positive.
    """
    known(name)
    if num_classes < 1 or in_channels < 1:
        raise ValueError(f"{name} needs at least one class and one channel, got {num_classes} and {in_channels}.")
    return _BUILDERS[name](num_classes, in_channels)


def count_parameters(network: nn.Module) -> int:
    """Number of parameters, frozen ones included, each shared one once."""
    return sum(parameter.numel() for parameter in network.parameters())


def maps_and_logits(network: Network, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """The feature map after each stage and the logits, from one pass."""
    maps = network.stage_maps(images)
    return maps, network.from_maps(maps, images.shape[-2:])


@torch.no_grad()
def stage_widths(network: Network) -> list[int]:
    """Channels of each of the network's feature maps."""
    first = next(network.parameters())
    training = network.training
    widths = [x.shape[1] for x in network.eval().stage_maps(first.new_zeros(1, first.shape[1], 32, 32))]
    network.train(training)
    return widths


def source(name: str) -> Path:
    """The file that the network is written in."""
    return Path(inspect.getfile(_BUILDERS[name]))

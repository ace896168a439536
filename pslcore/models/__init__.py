"""The networks, by name. Exact parameter counts (Table 1) are tested in ``tests/models``."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from pslcore import plugins
from pslcore.models import gradients
from pslcore.models.fast_cnn import FastCNN
from pslcore.models.heads import HIDDEN, Head, Stacked, builder, stacked
from pslcore.models.network import Network
from pslcore.models.resnet import resnet8, resnet14, resnet18
from pslcore.models.segmentation import DRN, LRASPP

Builders = Mapping[str, Callable[[int, int], Network]]
_FOR_IMAGES: Builders = {"resnet8": resnet8, "resnet14": resnet14, "resnet18": resnet18, "fast_cnn": FastCNN}
_FOR_PIXELS: Builders = {"drn_d_22": DRN, "lraspp_mobilenet_v3_small": LRASPP}
_HEADS: Builders = {"linear": builder(0), **{f"mlp{width}": builder(width) for width in HIDDEN}}
_BUILDERS: Builders = {**_FOR_IMAGES, **_FOR_PIXELS, **_HEADS}


PACKAGES = "pslcore.networks"
"""The group of entry points, of functions of (num_classes, in_channels)."""


def names() -> list[str]:
    """The networks of this package."""
    return list(_BUILDERS)


def _others(name: str) -> Any:
    """What resolves other names than ``names()``: files, timm, packages. Registered as ``networks``.

    It has this module's ``known``, ``build``, ``check``, ``for_pixel_labels``, ``sources``, ``foreign``, and ``base``,
    the name without what is added to it. Most are also told ``_BUILDERS``, ours by name, for names that are one of
    ours with something more, such as given weights.
    """
    found = plugins.resolver("networks")
    if found is None:
        there = ", ".join([*_BUILDERS, *plugins.names(PACKAGES)])
        raise ValueError(f"unknown network {name!r}: choose one of {there}.")
    return found


def known(name: str) -> str:
    """The name as records have it, if it can stand for a network; with the hash of every file in it.

    Nothing of a file, of timm or of a package is imported for that.

    Raises
    ------
    ValueError
        In one sentence, if it is unknown or a file is missing.
    """
    return name if name in _BUILDERS else _others(name).known(name, _BUILDERS)


_PATTERN = rf"^(.+\.py:\w+|timm:\S+|{'|'.join(_BUILDERS)} )"
_FORM = {"anyOf": [{"type": "string", "enum": list(_BUILDERS)}, {"type": "string", "pattern": _PATTERN}]}
NetworkName = Annotated[str, AfterValidator(known), Field(json_schema_extra=_FORM)]  # type: ignore[arg-type]
"""A setting that names a network."""


def for_pixel_labels(name: str) -> bool:
    """Whether the network answers with logits of every pixel, [N, C, H, W], not of the image, [N, C]."""
    what = _base(name)
    return what in _FOR_PIXELS if what in _BUILDERS else _others(name).for_pixel_labels(name, _BUILDERS)


def _base(name: str) -> str:
    return name if name in _BUILDERS else _others(name).base(name)


def for_vectors(name: str) -> bool | None:
    """Whether the network is a head, for vectors alone, or for images alone; None of networks that are not ours."""
    what = _base(name)
    return what in _HEADS if what in _BUILDERS else None


def build(name: str, num_classes: int, in_channels: int = 3) -> Network:
    """A freshly initialised network (torch's global generator draws the weights).

    Parameters
    ----------
    name : str
        One of ``names()``, or whatever else ``known`` takes.
    num_classes : int
        Width of the last layer; nothing else depends on it.
    in_channels : int
        1 for grey images, 3 for colour; the length of a vector.

    Returns
    -------
    Network
        ``network(images [N, in_channels, H, W]) -> logits [N, num_classes]``, those ``for_pixel_labels``
        [N, num_classes, H, W]. ``network.embed(images)`` gives the
        penultimate features [N, D], and ``network.head`` is the linear layer on them.

    Raises
    ------
    ValueError
        If the name is unknown or a size is not positive; of a network that is not ours, whatever is wrong with it.
    """
    if num_classes < 1 or in_channels < 1:
        raise ValueError(f"{name} needs at least one class and one channel, got {num_classes} and {in_channels}.")
    if name in _BUILDERS:
        return _BUILDERS[name](num_classes, in_channels)
    return _others(name).build(name, _BUILDERS, num_classes, in_channels)


def check(name: str, num_classes: int, in_channels: int, size: tuple[int, int]) -> None:
    """Try a network out that is not ours, or not with weights of ours, on random images of that height and width.

    Raises
    ------
    ValueError
        In one sentence: what it lacks.
    """
    if name not in _BUILDERS:
        _others(name).check(name, _BUILDERS, num_classes, in_channels, size)


def check_alone(name: str, num_classes: int, in_channels: int, size: tuple[int, int]) -> None:
    """Whether a network, any, can be trained on a batch of one image of that height and width.

    Raises
    ------
    ValueError
        In one sentence, if it cannot: batch norm needs more than one value a channel.
    """
    with torch.random.fork_rng(devices=[]):
        network = build(name, num_classes, in_channels).train()
        try:
            network(torch.zeros(1, in_channels, *size))
        except Exception as error:  # of anybody's module
            told = " ".join(str(error).split())[:200]
            raise ValueError(f"{name!r} cannot be trained on a batch of one image ({told})") from error


def count_parameters(network: nn.Module) -> int:
    """Number of parameters, frozen ones included, each shared one once."""
    return sum(parameter.numel() for parameter in network.parameters())


def maps_and_logits(network: Network, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """The feature map after each stage and the logits, from one pass."""
    maps = network.stage_maps(images)
    return maps, network.from_maps(maps, images.shape[-2:])


def sources(name: str) -> set[Path]:
    """The files of this package that the network is written in."""
    what = _base(name)
    found = {Path(inspect.getfile(_BUILDERS[what]))} if what in _BUILDERS else set()
    if what in _HEADS:
        found.add(Path(gradients.__file__))
    return found if name in _BUILDERS else found | _others(name).sources(name)


def foreign(name: str) -> str:
    """What else decides the network beside ``sources`` and its name: package and version, with the hash of its file.

    Empty for those of ours, and for files, whose hashes are in their names.
    """
    return "" if name in _BUILDERS else _others(name).foreign(name, _BUILDERS)

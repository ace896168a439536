"""The networks, by name. Exact parameter counts (Table 1) are tested in ``tests/models``."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from pslcore import packages
from pslcore.models import brought, gradients
from pslcore.models.brought import Adapted
from pslcore.models.fast_cnn import fast_cnn
from pslcore.models.heads import HIDDEN, Head, Stacked, builder, stacked
from pslcore.models.network import Network
from pslcore.models.resnet import resnet8, resnet14, resnet18
from pslcore.models.segmentation import drn_d_22, lraspp_mobilenet_v3_small
from pslcore.models.spelling import PACKAGES, parse

_HEADS: dict[str, Callable[[int, int], Network]] = {
    "linear": builder(0), **{f"mlp{width}": builder(width) for width in HIDDEN}
}  # fmt: skip
_BUILDERS: dict[str, Callable[[int, int], Network]] = {
    "resnet8": resnet8,
    "resnet14": resnet14,
    "resnet18": resnet18,
    "fast_cnn": fast_cnn,
    "drn_d_22": drn_d_22,
    "lraspp_mobilenet_v3_small": lraspp_mobilenet_v3_small,
    **_HEADS,
}


OTHERS = "file.py:function or timm:NAME"
"""What else may stand for a network, see docs/your_network.md."""


def names() -> list[str]:
    """The networks of this package."""
    return list(_BUILDERS)


def known(name: str) -> str:
    """The name as records have it, with the hash of every file in it, if it can stand for a network (``spelling``).

    Nothing of a file, of timm or of a package is imported for that.

    Raises
    ------
    ValueError
        In one sentence, if it is unknown or a file is missing.
    """
    if name in _BUILDERS:
        return name
    spelled = parse(name)
    if spelled.kind == "name" and spelled.what not in _BUILDERS and not packages.find(PACKAGES, spelled.what):
        others = [*_BUILDERS, *packages.names(PACKAGES)]
        raise ValueError(f"unknown network {spelled.what!r}: choose one of {', '.join(others)}, or {OTHERS}.")
    return str(spelled.signed())


_FORM = {
    "anyOf": [
        {"type": "string", "enum": list(_BUILDERS)},
        {"type": "string", "pattern": rf"^(.+\.py:\w+|timm:\S+|{'|'.join(_BUILDERS)} )"},
    ]
}
NetworkName = Annotated[str, AfterValidator(known), Field(json_schema_extra=_FORM)]  # type: ignore[arg-type]
"""A setting that names a network."""


def for_pixel_labels(name: str) -> bool:
    """Whether the network answers with logits of every pixel, [N, C, H, W], not of the image, [N, C]."""
    spelled = parse(name)
    if spelled.what in _BUILDERS:
        return _BUILDERS[spelled.what] in (drn_d_22, lraspp_mobilenet_v3_small)
    if spelled.kind == "timm":
        return False
    with torch.random.fork_rng(devices=[]):
        return isinstance(build(name, 2).head, nn.Conv2d)


def for_vectors(name: str) -> bool | None:
    """Whether the network is a head, for vectors alone, or for images alone; None of networks that are not ours."""
    what = parse(name).what
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
    spelled = parse(known(name))
    return brought.build(spelled, _BUILDERS.get(spelled.what), num_classes, in_channels)


def check(name: str, num_classes: int, in_channels: int, size: tuple[int, int]) -> None:
    """Try a network out that is not ours, or not with weights of ours, on random images of that height and width.

    Raises
    ------
    ValueError
        In one sentence: what it lacks.
    """
    if name not in _BUILDERS:
        spelled = parse(known(name))
        brought.try_out(spelled, _BUILDERS.get(spelled.what), num_classes, in_channels, size)


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
    if isinstance(network, Adapted | Head):  # made of anything: its first parameter tells nothing of the images
        return [network.head.weight.shape[1]]
    first = next(network.parameters())
    training = network.training
    widths = [x.shape[1] for x in network.eval().stage_maps(first.new_zeros(1, first.shape[1], 32, 32))]
    network.train(training)
    return widths


def sources(name: str) -> set[Path]:
    """The files of this package that the network is written in."""
    spelled = parse(name)
    found = {Path(inspect.getfile(_BUILDERS[spelled.what]))} if spelled.what in _BUILDERS else set()
    if spelled.what in _HEADS:
        found.add(Path(gradients.__file__))
    return found if spelled.plain and found else found | {Path(brought.__file__)}


def foreign(name: str) -> str:
    """What else decides the network beside ``sources`` and its name: package and version, with the hash of its file.

    Empty for those of ours, and for files, whose hashes are in their names.
    """
    spelled = parse(name)
    if spelled.kind == "timm":
        return brought.timm_version()
    given = None if spelled.kind == "file" or spelled.what in _BUILDERS else packages.find(PACKAGES, spelled.what)
    return given.identity() if given else ""

"""Names of networks that are not ours, resolved: files, timm, packages, weights (see ``pslcore.models``)."""

from pathlib import Path

import torch
from torch import nn

from pslcore import plugins
from pslcore.models import PACKAGES, Builders, Network
from psllab.extend import networks
from psllab.extend.network_spec import Spelled, parse

FORMS = "file.py:function or timm:NAME"
"""What else may stand for a network, see docs/your_network.md."""


def known(name: str, builders: Builders) -> str:
    spelled = parse(name)
    if spelled.kind == "name" and spelled.what not in builders and not plugins.find(PACKAGES, spelled.what):
        others = [*builders, *plugins.names(PACKAGES)]
        raise ValueError(f"unknown network {spelled.what!r}: choose one of {', '.join(others)}, or {FORMS}.")
    return str(spelled.signed())


def build(name: str, builders: Builders, num_classes: int, in_channels: int) -> Network:
    spelled = _signed(name, builders)
    return networks.build(spelled, builders.get(spelled.what), num_classes, in_channels)


def check(name: str, builders: Builders, num_classes: int, in_channels: int, size: tuple[int, int]) -> None:
    spelled = _signed(name, builders)
    networks.try_out(spelled, builders.get(spelled.what), num_classes, in_channels, size)


def base(name: str) -> str:
    return parse(name).what


def for_pixel_labels(name: str, builders: Builders) -> bool:
    if parse(name).kind == "timm":
        return False
    with torch.random.fork_rng(devices=[]):
        return isinstance(build(name, builders, 2, 3).head, nn.Conv2d)


def sources(name: str) -> set[Path]:
    return {Path(networks.__file__)}


def foreign(name: str, builders: Builders) -> str:
    spelled = parse(name)
    if spelled.kind == "timm":
        return networks.timm_version()
    given = None if spelled.kind == "file" or spelled.what in builders else plugins.find(PACKAGES, spelled.what)
    return given.identity() if given else ""


def _signed(name: str, builders: Builders) -> Spelled:
    return parse(known(name, builders))

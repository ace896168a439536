"""Residual networks for small images (He et al. 2016a), one class for all three sizes of the paper.

================ ============ ================= =====================================================
``resnet8``      78,042       16-32-64, 1 each  peer student (Table 1: two of them, 0.16 M)
``resnet14``     175,258      16-32-64, 2 each  peer student of Fig. 5c
``resnet18``     11,173,962   64-...-512, 2     task learner; 3x3 stem without max-pooling, as for CIFAR
================ ============ ================= =====================================================

The paper cites He et al. 2016b, whose blocks begin with the activation, for ``resnet8``: see docs/deviations.md.
Parameters for 3 channels and 10 classes. Shortcuts that change the shape are 1x1 convolutions with batch norm.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pslcore.models.network import Network, outputs


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, in_width: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_width != width:
            self.shortcut = nn.Sequential(nn.Conv2d(in_width, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(Network):
    """A 3x3 stem, one stage per width (each but the first halves the image), global average pooling, a linear head."""

    def __init__(self, widths: Sequence[int], blocks: int, num_classes: int, in_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList()
        for number, (before, width) in enumerate(pairwise([widths[0], *widths])):
            stage = [Block(before, width, stride=1 if number == 0 else 2)]
            stage += [Block(width, width, stride=1) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(*stage))
        self.head = nn.Linear(widths[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """The feature map after each stage, [N, width, H, W] each."""
        return list(outputs(self.stages, F.relu(self.bn(self.conv(x)))))

    def pool(self, last: Tensor) -> Tensor:
        """From the last map to the features, [N, D]."""
        return last.mean((2, 3))


def resnet8(num_classes: int, in_channels: int = 3) -> ResNet:
    return ResNet((16, 32, 64), 1, num_classes, in_channels)


def resnet14(num_classes: int, in_channels: int = 3) -> ResNet:
    return ResNet((16, 32, 64), 2, num_classes, in_channels)


def resnet18(num_classes: int, in_channels: int = 3) -> ResNet:
    return ResNet((64, 128, 256, 512), 2, num_classes, in_channels)

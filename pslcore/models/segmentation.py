"""Networks for pixel labels: the task learner and the peer student of street scenes (sections 4.2 to 4.4).

============================== ============ =====================================================================
``drn_d_22``                   15,895,363   task learner; Yu, Koltun & Funkhouser, "Dilated Residual Networks", 2017
``lraspp_mobilenet_v3_small``  1,068,971    peer student; Howard et al., "Searching for MobileNetV3", 2019
============================== ============ =====================================================================

Parameters for 3 channels and 19 classes. Both see the image at an eighth of its size where they decide, and enlarge
their logits to the size of the image, whatever that is. Nothing is pretrained.

**What the paper counts.** Its 15.90 M and 16.02 M (task learner, LL4AL) include the frozen 16x16 enlargement. Its
3.25 M for PSL is 3,254,419: *one* student (1,068,971) plus the ImageNet classifier that a public implementation
(Tramac, "Lightweight-Segmentation") leaves in its trunk and never runs: squeeze-and-excite 576-144-576 (165,888),
576 -> 1280 (738,560), 1280 -> 1000 (1,281,000), together ``UNUSED_CLASSIFIER``. What two students really hold is
2,137,942. The student here has that implementation's layers, hence its count; torchvision's variant of the same
network (biases in squeeze-and-excite, a second classifier on an early map) has 1,077,646.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pslcore.models.network import Network, outputs

UNUSED_CLASSIFIER = 2 * 576 * 144 + (576 + 1) * 1280 + (1280 + 1) * 1000
"""2,185,448 parameters that are no part of a student, but of the paper's 3.25 M."""


class Segmenter(Network):
    """What both networks share: maps of features, a linear ``head`` on each of their pixels, logits at image size.

    A subclass gives ``stages`` (modules, run one after the other), ``taps`` (after which of them ``stage_maps`` takes
    a map) and ``head``.
    """

    stages: nn.ModuleList
    taps: tuple[int, ...]
    head: nn.Conv2d

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """Feature maps [N, width, h, w] after the stages ``taps``; the last is what ``features`` is made from."""
        return [out for number, out in enumerate(outputs(self.stages, x)) if number in self.taps]

    def features(self, x: Tensor) -> Tensor:
        """The penultimate features of every eighth pixel, [N, D, ceil(H / 8), ceil(W / 8)]."""
        return self.refine(self.stage_maps(x)[-1])

    def refine(self, last: Tensor) -> Tensor:
        """From the last of the ``stage_maps`` to the ``features``."""
        return last

    def pool(self, last: Tensor) -> Tensor:
        """The features averaged over the image, [N, D]."""
        return self.refine(last).mean((2, 3))

    def from_maps(self, maps: list[Tensor], size: tuple[int, ...]) -> Tensor:
        """The logits of images of that height and width from their ``stage_maps``."""
        return self.enlarge(self.head(self.refine(maps[-1])), size)

    def enlarge(self, logits: Tensor, size: tuple[int, ...]) -> Tensor:
        """Logits of the maps, [N, C, h, w], at the size of the image."""
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def _convolution(
    in_width: int, width: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1, act=nn.ReLU
) -> nn.Sequential:
    """Convolution, batch norm and, unless ``act`` is None, activation; it keeps the size but for the stride."""
    padding = (kernel - 1) // 2 * dilation
    convolution = nn.Conv2d(in_width, width, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), *([act()] if act else []))


def _initialise(network: Segmenter) -> None:
    """He et al. 2015 for the trunk; nearly equal logits to begin with, since nothing is pretrained."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    nn.init.normal_(network.head.weight, std=0.01)
    assert network.head.bias is not None
    nn.init.zeros_(network.head.bias)


# DRN-D-22


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, dilated alike, around a shortcut."""

    def __init__(self, in_width: int, width: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        first = _convolution(in_width, width, 3, stride, dilation)
        self.convolutions = nn.Sequential(first, _convolution(width, width, 3, 1, dilation, act=None))
        same = stride == 1 and in_width == width
        self.shortcut = nn.Identity() if same else _convolution(in_width, width, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.convolutions(x) + self.shortcut(x))


class DRN(Segmenter):
    """DRN-D-22: three strides of 2, then dilations 2 and 4 in their place, then plain layers against their gridding.

    ``stage_maps`` gives 64, 128, 256 and 512 channels, at H/4 the first, at H/8 the others: the outputs of the residual
    stages 3 to 5, and of the last layer (the one that the head reads) for stage 6.
    """

    taps = (3, 4, 5, 8)

    def __init__(self, num_classes: int, in_channels: int = 3):
        super().__init__()
        self.stages = nn.ModuleList([_convolution(in_channels, 16, 7), _convolution(16, 16, 3)])
        self.stages.append(_convolution(16, 32, 3, stride=2))
        for in_width, width, stride, dilation in ((32, 64, 2, 1), (64, 128, 2, 1), (128, 256, 1, 2), (256, 512, 1, 4)):
            blocks = ResidualBlock(in_width, width, stride, dilation), ResidualBlock(width, width, 1, dilation)
            self.stages.append(nn.Sequential(*blocks))
        self.stages.extend([_convolution(512, 512, 3, dilation=2), _convolution(512, 512, 3)])
        self.head = nn.Conv2d(512, num_classes, 1)
        self.up = nn.ConvTranspose2d(num_classes, num_classes, 16, 8, padding=4, groups=num_classes, bias=False)
        _initialise(self)
        ramp = 1 - (torch.arange(16) - 7.5).abs() / 8  # bilinear enlargement, written as a transposed convolution
        self.up.weight.data.copy_(ramp[:, None] * ramp)
        self.up.weight.requires_grad_(False)

    def enlarge(self, logits: Tensor, size: tuple[int, ...]) -> Tensor:
        """Eight times as large by the frozen weights; what goes beyond the image is cut off."""
        return self.up(logits)[..., : size[0], : size[1]]


# MobileNetV3-small with LR-ASPP


class Excite(nn.Module):
    """Squeeze-and-excite: every channel scaled by what all channels show on average."""

    def __init__(self, width: int):
        super().__init__()
        self.squeeze = nn.Conv2d(width, width // 4, 1, bias=False)
        self.excite = nn.Conv2d(width // 4, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class InvertedBlock(nn.Module):
    """Widen, filter each channel by itself, narrow; with a shortcut where the shape stays."""

    def __init__(
        self, in_width: int, kernel: int, wide: int, width: int, excite: bool, act: type, stride: int, dilation: int
    ):
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(in_width, wide, 1, act=act),
            _convolution(wide, wide, kernel, stride, dilation, groups=wide, act=act),
            Excite(wide) if excite else nn.Identity(),
            _convolution(wide, width, 1, act=None),
        )
        self.shortcut = stride == 1 and in_width == width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


# Per stage: stride, dilation, activation, and its blocks as (kernel, wide, width, squeeze-and-excite)
_STAGES = (
    (2, 1, nn.ReLU, [(3, 16, 16, True)]),
    (2, 1, nn.ReLU, [(3, 72, 24, False), (3, 88, 24, False)]),
    (1, 2, nn.Hardswish, [(5, 96, 40, True), *[(5, 240, 40, True)] * 2, (5, 120, 48, True), (5, 144, 48, True)]),
    (1, 4, nn.Hardswish, [(5, 288, 96, True), *[(5, 576, 96, True)] * 2]),
)


class LRASPP(Segmenter):
    """MobileNetV3-small under a lite reduced atrous spatial pyramid pooling head of 128 channels.

    *Decision*: the last two strides are dilations, so that the student decides on maps of the same size as the task
    learner's (an eighth). The paper does not say; strides cost no parameters, and small images need the resolution.
    The gate pools over the whole image.

    ``stage_maps`` gives 16, 24, 48 and 576 channels, at H/4 the first, at H/8 the others.
    """

    taps = (1, 2, 3, 5)

    def __init__(self, num_classes: int, in_channels: int = 3):
        super().__init__()
        self.stages = nn.ModuleList([_convolution(in_channels, 16, 3, stride=2, act=nn.Hardswish)])
        in_width = 16
        for stride, dilation, act, blocks in _STAGES:
            stage: list[nn.Module] = []
            for kernel, wide, width, excite in blocks:
                step = 1 if stage else stride
                stage.append(InvertedBlock(in_width, kernel, wide, width, excite, act, step, dilation))
                in_width = width
            self.stages.append(nn.Sequential(*stage))
        self.stages.append(_convolution(in_width, 576, 1, act=nn.Hardswish))
        self.reduce = _convolution(576, 128, 1)
        self.gate = nn.Conv2d(576, 128, 1, bias=False)
        self.head = nn.Conv2d(128, num_classes, 1)
        _initialise(self)
        for module in self.modules():
            if isinstance(module, Excite):
                nn.init.normal_(module.excite.weight, std=0.01)  # half open; wider ones saturate and never learn

    def refine(self, last: Tensor) -> Tensor:
        """128 channels, gated by what the whole image shows."""
        return self.reduce(last) * self.gate(last.mean((2, 3), keepdim=True)).sigmoid()

"""``fast_cnn``: a small convolutional network that learns fast on a CPU, after Jordan 2024 (airbench), smaller.

A frozen first layer, three groups of two convolutions, global max-pooling, a linear head: 569,642 parameters for
3 channels and 10 classes (288 of them frozen).

*Decision*: the authors whiten the first layer with statistics of the training images. Those would tell the cloud about
protected images, so ours is a fixed basis: the 2x2 discrete cosines (flat, horizontal, vertical, diagonal) of three
opponent colours (luminance, red against blue, green against magenta), each divided by a constant near the deviation
that natural images have there, and the negatives of all. Grey images have luminance alone: eight maps.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pslcore.models.network import Network, outputs

WIDTHS = (64, 128, 128)
_COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (-1.0, 2.0, -1.0))
_DEVIATIONS = ((3.3, 0.75, 0.75, 0.35), (1.0, 0.2, 0.2, 0.12), (0.5, 0.12, 0.12, 0.08))
"""Of the responses on normalised images, each colour by flat, horizontal, vertical, diagonal."""
_SCALE = 0.25
"""Of the features: large logits at the start make large first steps."""


def basis(in_channels: int) -> Tensor:
    """The filters of the first layer, [8, 1, 2, 2] or [24, 3, 2, 2]; the second half are the negatives of the first."""
    colours = torch.tensor(_COLOURS if in_channels == 3 else ((1.0,),))
    colours = colours / colours.norm(dim=1, keepdim=True)
    low, high = torch.tensor([1.0, 1.0]) / 2**0.5, torch.tensor([1.0, -1.0]) / 2**0.5
    pairs = ((low, low), (low, high), (high, low), (high, high))
    cosines = torch.stack([down[:, None] * across for down, across in pairs])
    deviations = torch.tensor(_DEVIATIONS[: len(colours)])
    if in_channels == 1:
        deviations = deviations / 3**0.5  # three equal channels add up to as much more
    filters = colours[:, None, :, None, None] * cosines[None, :, None] / deviations[:, :, None, None, None]
    filters = filters.flatten(0, 1)
    return torch.cat([filters, -filters])


class Group(nn.Module):
    """Convolution, max-pooling, norm, GELU; convolution, norm, GELU. Maps too small to halve are left as they are."""

    def __init__(self, in_width: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        if min(x.shape[2:]) > 1:
            x = F.max_pool2d(x, 2)
        return F.gelu(self.bn2(self.conv2(F.gelu(self.bn1(x)))))


class FastCNN(Network):
    """See above; ``head`` is linear on the scaled features."""

    def __init__(self, num_classes: int, in_channels: int = 3):
        super().__init__()
        filters = basis(in_channels)
        self.first = nn.Parameter(filters, requires_grad=False)
        widths = (len(filters), *WIDTHS)
        self.groups = nn.ModuleList(Group(*pair) for pair in pairwise(widths))
        self.head = nn.Linear(widths[-1], num_classes)

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """The feature map after each group, [N, width, H, W] each."""
        return list(outputs(self.groups, F.gelu(F.conv2d(x, self.first))))

    def pool(self, last: Tensor) -> Tensor:
        """From the last map to the features, [N, D]."""
        return _SCALE * last.amax((2, 3))

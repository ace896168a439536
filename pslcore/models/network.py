"""What every network offers to those who use it, whatever it is made of."""

from collections.abc import Callable, Iterable, Iterator
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def outputs(stages: Iterable[nn.Module], x: Tensor) -> Iterator[Tensor]:
    """What each of the modules makes of the output of the one before; the first of ``x``."""
    for stage in stages:
        x = stage(x)
        yield x


class Network(nn.Module):
    """Base of the networks: feature maps of the stages, features of an image, a linear ``head``, logits.

    A subclass gives ``stage_maps``, ``pool`` and ``head``; one for pixel labels other ``from_maps``.
    """

    head: nn.Linear | nn.Conv2d
    frozen: bool = False
    __call__: Callable[..., Tensor]

    def freeze(self) -> None:
        """From now on only ``head`` is trained: all else keeps its weights and stays in eval mode, its norms too."""
        self.frozen = True
        self.requires_grad_(False)
        self.head.requires_grad_(True)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """As of every module; of a frozen one nothing goes into training mode (to a ``head`` the modes are one)."""
        return super().train(mode and not self.frozen)

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """The feature map after each stage, [N, width, h, w] each, of images [N, in_channels, H, W]."""
        raise NotImplementedError

    def pool(self, last: Tensor) -> Tensor:
        """From the last of the ``stage_maps`` to the features, [N, D]."""
        raise NotImplementedError

    def from_maps(self, maps: list[Tensor], size: tuple[int, ...]) -> Tensor:
        """The logits of images of that height and width from their ``stage_maps``."""
        return self.head(self.pool(maps[-1]))

    def embed(self, x: Tensor) -> Tensor:
        """The penultimate features, [N, D]; for pixel labels averaged over the image."""
        return self.pool(self.stage_maps(x)[-1])

    @torch.no_grad()
    def stage_widths(self) -> list[int]:
        """Channels of each of the feature maps."""
        first, training = next(self.parameters()), self.training
        widths = [x.shape[1] for x in self.eval().stage_maps(first.new_zeros(1, first.shape[1], 32, 32))]
        self.train(training)
        return widths

    def last_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight [C, D] and bias [C] of ``head``, on the CPU."""
        weight, bias = (tensor.detach().cpu().numpy() for tensor in self.head.parameters())
        return weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images [N, in_channels, H, W]: [N, C], or [N, C, H, W] for pixel labels."""
        return self.from_maps(self.stage_maps(x), x.shape[-2:])

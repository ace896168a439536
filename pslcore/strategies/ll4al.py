"""LL4AL: learning loss for active learning (Yoo & Kweon, CVPR 2019).

A small module reads the task learner's feature maps and learns to rank the losses of labelled images; the images of
which it expects the highest loss are picked. It trains with the task learner, on the cloud, and changes it.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pslcore import models
from pslcore.data import Indices
from pslcore.losses import VOID, cross_entropies, task_loss
from pslcore.settings import Real
from pslcore.sides import AuxiliaryModule
from pslcore.strategies.base import Query, Strategy, top


class LL4AL(Strategy):
    """Top ``b`` by predicted loss. Uploads all of ``D_S``, every cycle.

    Attributes
    ----------
    weight : float
        Of the ranking loss beside the task loss (``lambda``).
    margin : float
        Of the ranking loss.
    detach_after : float
        Part of the training after which the module's gradients no longer reach the task learner (120 of 200 epochs
        in the authors' code).
    """

    weight: Real = Field(default=1.0, ge=0, le=1000)
    margin: Real = Field(default=1.0, ge=0, le=1000)
    detach_after: Real = Field(default=0.6, ge=0, le=1)

    requires: ClassVar[tuple[str, ...]] = ("auxiliary",)
    has_auxiliary: ClassVar[bool] = True

    def auxiliary(self, network: models.Network) -> "LossPrediction":
        return LossPrediction(self, network)

    def pick(self, query: Query) -> Indices:
        return top(query, query.answers["auxiliary"])


class LossPrediction(AuxiliaryModule):
    """Per stage: global average pool, linear to 128, ReLU; all joined; linear to 1. 123,905 parameters on ResNet-18."""

    def __init__(self, options: LL4AL, network: models.Network, width: int = 128):
        super().__init__()
        self._options = options
        widths = network.stage_widths()
        self.stages = nn.ModuleList(nn.Linear(channels, width) for channels in widths)
        self.out = nn.Linear(width * len(widths), 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Predicted losses [N] from the feature maps of all stages."""
        pooled = [F.relu(linear(x.mean((2, 3)))) for linear, x in zip(self.stages, maps, strict=True)]
        return self.out(torch.cat(pooled, 1)).squeeze(1).float()

    def loss(
        self, network: models.Network, images: Tensor, labels: Tensor, progress: float, label_smoothing: float = 0.0
    ) -> Tensor:
        """Task loss plus the weighted ranking loss."""
        maps, logits = models.maps_and_logits(network, images)
        if progress >= self._options.detach_after:
            maps = [x.detach() for x in maps]
        ranking = ranking_loss(self(maps), per_image(logits.detach(), labels), self._options.margin)
        return task_loss(logits, labels, label_smoothing) + self._options.weight * ranking


def per_image(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each image, [N]; for pixel labels the mean over its pixels that are not void."""
    losses = cross_entropies(logits.float(), labels)
    counted = (labels != VOID).view(len(labels), -1).sum(1).clamp_min(1)
    return losses.view(len(labels), -1).sum(1) / counted


def ranking_loss(predicted: Tensor, true: Tensor, margin: float = 1.0) -> Tensor:
    """Hinge on the order of the pairs (i, B-1-i): ``max(0, margin - sign (predicted_i - predicted_j))``, mean.

    The middle image of an odd batch has no partner; a batch of one has the loss 0.

    Parameters
    ----------
    predicted, true : float tensors, [B]
        No gradient reaches ``true``.
    """
    half = len(predicted) // 2
    gap = (predicted - predicted.flip(0))[:half]
    order = (true - true.flip(0))[:half].detach()
    sign = torch.where(order > 0, 1.0, -1.0)
    return (margin - sign * gap).clamp_min(0).sum() / max(half, 1)

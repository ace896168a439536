"""Heads for vectors, such as the features of a frozen backbone: linear, or with one hidden layer.

The vectors come from ``data.normalise`` with mean 0 and deviation 1 each, which stands for a norm at the entrance. No
statistics of the pool, which would tell of protected images, reach the task learner.

============================ =============================================================
``linear``                   1,280–10: 12,810 parameters
``mlp16``, ... ``mlp512``    one hidden layer of that many units; ``mlp256``: 330,506
============================ =============================================================

``Stacked`` trains any number of them by hand, as one product of matrices: a step of 64 vectors is little arithmetic,
and much of autograd's time goes into bookkeeping for each network.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pslcore.models.gradients import WithGradient
from pslcore.models.network import Network

HIDDEN = (16, 32, 64, 128, 256, 512)
Descend = Callable[[Tensor, Callable[[], None]], None]
"""One step down a loss; told what brings its gradient to the parameters."""


class Head(Network):
    """A hidden layer with ReLU where there is a ``width``, then ``head``; of vectors [N, D, 1, 1]."""

    def __init__(self, num_classes: int, features: int, width: int = 0):
        super().__init__()
        self.hidden = nn.Linear(features, width) if width else None
        self.head: nn.Linear = nn.Linear(width or features, num_classes)

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """The penultimate vectors, [N, width, 1, 1]."""
        return [x if self.hidden is None else F.relu(self.hidden(x.flatten(1)))[..., None, None]]

    def pool(self, last: Tensor) -> Tensor:
        return last.flatten(1)

    def stage_widths(self) -> list[int]:
        return [self.head.weight.shape[1]]


def builder(width: int) -> Callable[[int, int], Head]:
    """Makes heads with that many hidden units; 0 for a linear one."""
    return lambda num_classes, features: Head(num_classes, features, width)


class Stacked:
    """Heads of one shape that see the same batches; their parameters become views of common tensors.

    Parameters
    ----------
    heads : sequence of Head
    """

    def __init__(self, heads: Sequence[Head]):
        self._heads = heads
        layers: list[list[nn.Linear | None]] = [[head.hidden for head in heads], [head.head for head in heads]]
        self.parameters: list[nn.Parameter] = []
        for layer in layers:
            for name in ("weight", "bias"):
                own = [getattr(linear, name) for linear in layer if linear is not None]
                if own:
                    common = nn.Parameter(torch.cat([parameter.detach() for parameter in own]))
                    for parameter, view in zip(own, common.data.chunk(len(own)), strict=True):
                        parameter.data = view
                    self.parameters.append(common)

    def step(self, descend: Descend, vectors: Tensor, loss_of: Callable[[Tensor], WithGradient]) -> None:
        """One step of all heads down a loss of their logits [P, N, C]; ``descend`` is that of ``parameters``."""
        *hidden, weight, bias = (parameter.data for parameter in self.parameters)
        peers, n = len(self._heads), len(vectors)
        x = vectors.flatten(1)
        if hidden:
            active = torch.addmm(hidden[1], x, hidden[0].T).relu_()
            inner = active.view(n, peers, -1).transpose(0, 1)  # [P, N, width]
        else:
            inner = x.expand(peers, -1, -1)
        last = weight.view(peers, -1, inner.shape[2])
        loss, of_logits = loss_of(torch.baddbmm(bias.view(peers, 1, -1), inner, last.transpose(1, 2)))

        def backward() -> None:
            gradients = [(of_logits.transpose(1, 2) @ inner).flatten(0, 1), of_logits.sum(1).flatten()]
            if hidden:
                before = (of_logits @ last).transpose(0, 1).reshape(n, -1).mul_(active > 0)
                gradients = [before.T @ x, before.sum(0), *gradients]
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient

        descend(loss, backward)


def stacked(networks: Sequence[nn.Module]) -> Stacked | None:
    """These networks as one, if they are heads of one shape that are trained in all their parts."""
    heads = [network for network in networks if isinstance(network, Head) and not network.frozen]
    alike = len({(head.hidden is None, head.head.weight.shape) for head in heads}) == 1
    return Stacked(heads) if alike and len(heads) == len(networks) else None

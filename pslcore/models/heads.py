"""Heads for vectors, such as the features of a frozen backbone: linear, or with one hidden layer.

A layer norm without parameters stands at the entrance. It looks at one vector at a time, so that no statistics of the
pool, which would tell of protected images, reach the task learner.

============================ =============================================================
``linear``                   1,280–10: 12,810 parameters
``mlp16``, ... ``mlp512``    one hidden layer of that many units; ``mlp256``: 330,506
============================ =============================================================

``Stacked`` trains any number of them by hand, as one product of matrices: a step of 64 vectors is little arithmetic,
and autograd's bookkeeping for each network takes longer than that.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pslcore.models.network import Network

HIDDEN = (16, 32, 64, 128, 256, 512)
Descend = Callable[[Tensor, Callable[[], None]], None]


class Head(Network):
    """Layer norm, then a hidden layer with ReLU where there is a ``width``, then ``head``."""

    def __init__(self, num_classes: int, features: int, width: int = 0):
        super().__init__()
        self.features = features
        self.hidden = nn.Linear(features, width) if width else None
        self.head: nn.Linear = nn.Linear(width or features, num_classes)

    def normed(self, x: Tensor) -> Tensor:
        """What stands behind the entrance, [N, D], of vectors [N, D, 1, 1]."""
        return F.layer_norm(x.flatten(1), (self.features,))

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """The penultimate vectors, [N, width, 1, 1]."""
        x = self.normed(x)
        x = x if self.hidden is None else F.relu(self.hidden(x))
        return [x[..., None, None]]

    def pool(self, last: Tensor) -> Tensor:
        return last.flatten(1)


def builder(width: int) -> Callable[[int, int], Head]:
    """Makes heads with that many hidden units; 0 for a linear one."""
    return partial(Head, width=width)


class Stacked:
    """Heads of one shape that see the same batches; their parameters become views of common tensors.

    Parameters
    ----------
    heads : sequence of Head
    """

    def __init__(self, heads: Sequence[Head]):
        self._heads, self._width = heads, heads[0].head.in_features
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

    def step(self, descend: Descend, vectors: Tensor, loss_of: Callable[[Tensor], Tensor]) -> None:
        """One step of all heads down a loss of their logits [P, N, C]; ``descend`` is that of a descent on
        ``parameters``, told the loss and what brings its gradient to them."""
        with torch.no_grad():
            *hidden, weight, bias = self.parameters
            peers, n = len(self._heads), len(vectors)
            x = self._heads[0].normed(vectors)
            if hidden:
                active = torch.addmm(hidden[1], x, hidden[0].T).relu_()
                inner = active.view(n, peers, -1).transpose(0, 1)  # [P, N, width]
                last = weight.view(peers, -1, self._width).transpose(1, 2)
                logits = torch.baddbmm(bias.view(peers, 1, -1), inner, last)
            else:
                logits = torch.addmm(bias, x, weight.T).view(n, peers, -1).transpose(0, 1)
        logits.requires_grad_()
        loss = loss_of(logits)

        def backward() -> None:
            loss.backward()
            slope = logits.grad
            assert slope is not None
            bias.grad = slope.sum(1).flatten()
            if not hidden:
                weight.grad = slope.transpose(0, 1).reshape(n, -1).T @ x
                return
            weight.grad = (slope.transpose(1, 2) @ inner).flatten(0, 1)
            before = (slope @ last.transpose(1, 2)).transpose(0, 1).reshape(n, -1).mul_(active > 0)
            hidden[0].grad, hidden[1].grad = before.T @ x, before.sum(0)

        descend(loss, backward)


def stacked(networks: Sequence[nn.Module]) -> Stacked | None:
    """These networks as one, if they are heads of one shape that are trained in all their parts."""
    heads = [network for network in networks if isinstance(network, Head) and not network.frozen]
    alike = len({(head.features, head.head.weight.shape) for head in heads}) == 1
    return Stacked(heads) if alike and len(heads) == len(networks) else None

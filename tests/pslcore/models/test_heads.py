"""Heads: their sizes, and that steps by hand are those of autograd."""

import copy
from functools import partial

import pytest
import torch

from pslcore import losses, models
from pslcore.models import gradients
from pslcore.recipe import Descent, Recipe

RECIPE = Recipe(epochs=1, lr=0.1, weight_decay=0.01, warmup=0.2)


@pytest.mark.parametrize(("name", "count"), [("linear", 12_810), ("mlp32", 41_322), ("mlp256", 330_506)])
def test_sizes(name, count):
    assert models.count_parameters(models.build(name, 10, 1280)) == count


def heads(name, peers, features=12, classes=5):
    return torch.nn.ModuleList(models.build(name, classes, features) for _ in range(peers)).double()


@pytest.mark.parametrize("decay", ["all", "filters"])
@pytest.mark.parametrize("name", ["linear", "mlp16"])
@pytest.mark.parametrize("peers", [1, 2, 3])
def test_steps_by_hand_are_those_of_autograd(name, peers, decay):
    """Ten steps down Eq. 1 or 2, each followed by one down Eq. 5, which is flat now and then; in float64, to 1e-10."""
    torch.manual_seed(0)
    recipe = RECIPE.but(decay=decay)
    plain = heads(name, peers)
    by_hand = copy.deepcopy(plain)
    stack = models.stacked(list(by_hand))
    descents = [
        [Descent(parameters, recipe, 10, weight_decay) for weight_decay in (None, 0.0)]
        for parameters in (list(plain.parameters()), stack.parameters)
    ]
    for number in range(10):
        x, labels = torch.randn(7, 12, 1, 1, dtype=torch.float64), torch.randint(5, (7,))
        taught = torch.randn(7, 5, dtype=torch.float64), labels, 0.1, 4.0
        flat = 10.0 if number % 3 else 0.0, "paper"
        for place, (loss, loss_and_gradient, given) in enumerate((
            (eq1, gradients.task, (labels,)) if peers == 1 else (losses.in_class_loss, gradients.in_class, taught),
            (losses.out_of_class_loss, gradients.out_of_class, flat),
        )):  # fmt: skip
            torch.manual_seed(number)
            descents[0][place].step(loss(torch.stack([head(x) for head in plain]), *given))
            torch.manual_seed(number)
            stack.step(descents[1][place].step, x, partial(called, loss_and_gradient, given))
        for one, other in zip(plain.parameters(), by_hand.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def eq1(logits, labels):
    return losses.task_loss(logits[0], labels)


def called(loss_and_gradient, given, logits):
    return loss_and_gradient(logits, *given)


def test_weights_that_are_loaded_are_those_that_are_trained():
    one, other = heads("mlp16", 2), heads("mlp16", 2)
    stack = models.stacked(list(one))
    one.load_state_dict(other.state_dict())
    torch.testing.assert_close(stack.parameters[0][:16], other[0].hidden.weight)


def test_only_heads_of_one_shape_are_stacked():
    frozen = models.build("mlp16", 5, 12)
    frozen.freeze()
    for networks in (
        [models.build("resnet8", 5)],
        [models.build("mlp16", 5, 12), models.build("mlp32", 5, 12)],
        [models.build("mlp16", 5, 12), models.build("resnet8", 5)],
        [frozen],
    ):
        assert models.stacked(networks) is None

"""LL4AL: the module that predicts losses, what it learns from, and what it does to the task learner."""

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pslcore import models
from pslcore.losses import VOID, task_loss
from pslcore.recipe import Recipe
from pslcore.strategies import ll4al
from pslcore.strategies.base import Query
from pslcore.strategies.ll4al import LL4AL, LossPrediction, per_image, ranking_loss

values = st.floats(-10, 10, width=32)


@pytest.fixture
def trio():
    """A task learner, its module, and a batch of seven."""
    torch.manual_seed(0)
    network = models.build("resnet8", 3)
    images, labels = torch.randn(7, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    return network, LossPrediction(LL4AL(), network), (images, labels)


def gradients(network, loss):
    """Of the network's parameters by name; zeros where the loss does not reach."""
    network.zero_grad()
    loss.backward()
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in network.named_parameters()
    }


# The module


@pytest.mark.parametrize(("name", "classes"), [("resnet18", 10), ("resnet18", 100), ("drn_d_22", 19)])
def test_exact_size(name, classes):
    network = models.build(name, classes)
    module = LL4AL().auxiliary(network)
    assert models.count_parameters(module) == 123_905
    assert network.training


def test_pooled_stages_through_128_units_each(trio):
    network, module, (images, _) = trio
    network.eval()
    parts = []
    for linear, x in zip(module.stages, network.stage_maps(images), strict=True):
        assert (linear.in_features, linear.out_features) == (x.shape[1], 128)
        parts.append(np.maximum(x.mean((2, 3)).detach().numpy() @ linear.weight.detach().numpy().T
                                + linear.bias.detach().numpy(), 0))  # fmt: skip
    expected = np.concatenate(parts, 1) @ module.out.weight.detach().numpy()[0] + module.out.bias.item()
    np.testing.assert_allclose(module(network.stage_maps(images)).detach(), expected, rtol=1e-4, atol=1e-5)


# What it learns from


@given(st.lists(st.tuples(values, values), min_size=1, max_size=9), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_ranking_loss_is_that_of_numpy(rows, margin):
    predicted, true = (np.array(column, dtype=np.float32) for column in zip(*rows, strict=True))
    pairs = [(i, len(rows) - 1 - i) for i in range(len(rows) // 2)]
    hinges = [max(0, margin - (1 if true[i] > true[j] else -1) * (predicted[i] - predicted[j])) for i, j in pairs]
    guess, truth = torch.tensor(predicted, requires_grad=True), torch.tensor(true, requires_grad=True)
    loss = ranking_loss(guess, truth, margin)
    assert loss.item() == pytest.approx(np.mean(hinges) if pairs else 0, rel=1e-5, abs=1e-5)
    loss.backward()
    assert truth.grad is None
    if len(rows) % 2:
        assert guess.grad[len(rows) // 2] == 0  # the middle one has no partner
    for i, j in pairs:
        assert guess.grad[i] == -guess.grad[j]


def test_ranking_loss_by_hand():
    predicted, true = torch.tensor([0.0, 3.0, 9.0, 1.0, 0.5]), torch.tensor([1.0, 5.0, 0.0, 2.0, 7.0])
    # (0, 4): the last should be higher, and is, by 0.5 of 1; (1, 3): the former should be higher, and is, by 2
    assert ranking_loss(predicted, true).item() == pytest.approx((0.5 + 0) / 2)
    assert ranking_loss(predicted, -true).item() == pytest.approx((1.5 + 3) / 2)
    assert ranking_loss(predicted, true, margin=3.0).item() == pytest.approx((2.5 + 1) / 2)


def test_loss_of_each_image():
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    expected = [-torch.log_softmax(row, 0)[label].item() for row, label in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(per_image(logits, labels), expected, rtol=1e-5)
    assert per_image(logits.bfloat16(), labels).dtype == torch.float32


def test_loss_of_each_image_is_the_mean_over_the_pixels_that_are_not_void():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 5, 6), torch.randint(4, (3, 5, 6))
    labels[0, :2], labels[1] = VOID, VOID
    given = per_image(logits, labels)
    log_p = torch.log_softmax(logits, 1).numpy()
    for image, value in enumerate(given.tolist()):
        pixels = [(y, x) for y in range(5) for x in range(6) if labels[image, y, x] != VOID]
        losses = [-log_p[image, labels[image, y, x], y, x] for y, x in pixels]
        assert value == pytest.approx(np.mean(losses) if losses else 0, rel=1e-5)
    assert given[1] == 0


def test_the_loss_is_the_sum_of_both(trio):
    network, _, (images, labels) = trio
    network.eval()  # no running statistics that change from call to call
    for options in (LL4AL(), LL4AL(weight=2.5, margin=0.3)):
        module = LossPrediction(options, network)
        logits = network(images)
        ranking = ranking_loss(
            module(network.stage_maps(images)), F.cross_entropy(logits, labels, reduction="none"), options.margin
        )
        expected = task_loss(logits, labels) + options.weight * ranking
        assert ranking > 0
        torch.testing.assert_close(module.loss(network, images, labels, 0.0), expected)


def test_losses_are_float32_in_bfloat16_steps(trio):
    network, module, batch = trio
    network.eval()
    exact = module.loss(network, *batch, 0.0)
    with Recipe(precision="bfloat16").autocast(batch[0]):
        rough = module.loss(network, *batch, 0.0)
    assert rough.dtype == torch.float32
    assert rough != exact
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)


# What it does to the task learner


@pytest.mark.parametrize(("progress", "detached"), [(0.0, False), (0.59, False), (0.6, True), (0.99, True)])
def test_after_a_while_the_task_learner_learns_from_the_task_alone(trio, progress, detached):
    network, module, batch = trio
    twin = deepcopy(network)
    task = gradients(twin, task_loss(twin(batch[0]), batch[1]))
    both = gradients(network, module.loss(network, *batch, progress))
    assert module.out.weight.grad.any()  # the module learns on
    assert all(linear.weight.grad.any() for linear in module.stages)
    for name, gradient in both.items():
        same = torch.allclose(gradient, task[name], rtol=1e-4, atol=1e-6)
        assert same == (detached or name.startswith("head.")), name


@pytest.mark.parametrize(("progress", "detached"), [(0.59, False), (0.6, True)])
def test_the_modules_own_gradients_reach_every_stage_or_none(trio, monkeypatch, progress, detached):
    network, module, batch = trio
    monkeypatch.setattr(ll4al, "task_loss", lambda logits, *rest: 0 * logits.sum())
    isolated = gradients(network, module.loss(network, *batch, progress))
    for name, gradient in isolated.items():
        assert gradient.any().item() != (detached or name.startswith("head.")), name


@pytest.mark.parametrize(("detach_after", "reaches"), [(0.0, False), (0.3, False), (1.0, True)])
def test_when_is_an_option(trio, monkeypatch, detach_after, reaches):
    network, _, batch = trio
    monkeypatch.setattr(ll4al, "task_loss", lambda logits, *rest: 0 * logits.sum())
    module = LossPrediction(LL4AL(detach_after=detach_after), network)
    assert gradients(network, module.loss(network, *batch, 0.3))["conv.weight"].any() == reaches


def test_a_batch_of_one_is_the_task_alone(trio):
    network, module, (images, labels) = trio
    expected = task_loss(deepcopy(network)(images[:1]), labels[:1])
    torch.testing.assert_close(module.loss(network, images[:1], labels[:1], 0.0), expected)


def test_it_learns_to_rank(trio):
    network, module, (images, labels) = trio
    network.eval().requires_grad_(False)
    with torch.no_grad():
        true = per_image(network(images), labels)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for step in range(60):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        module.loss(network, images[order], labels[order], 0.0).backward()
        optimiser.step()
    assert module(network.stage_maps(images)).argsort().tolist() == true.argsort().tolist()


@pytest.mark.parametrize("progress", [0.0, 0.8])
def test_pixel_labels(progress):
    torch.manual_seed(0)
    network = models.build("lraspp_mobilenet_v3_small", 5)
    module = LL4AL().auxiliary(network)
    images, labels = torch.randn(3, 3, 32, 48), torch.randint(5, (3, 32, 48))
    labels[:, :7], labels[2] = VOID, VOID
    found = gradients(network, module.loss(network, images, labels, progress))
    assert all(torch.isfinite(gradient).all() for gradient in found.values())
    assert found["head.weight"].any()
    network.eval()
    answers = module(network.stage_maps(images))
    assert answers.shape == (3,)
    assert torch.isfinite(answers).all()


# What it picks


def test_the_highest_predicted_losses_are_picked():
    predicted = np.array([0.1, 0.9, -3.0, 0.9, 2.0], dtype=np.float32)
    query = Query(np.array([3, 8, 10, 20, 21]), np.array([0]), 3, None, {"auxiliary": predicted})
    assert LL4AL().pick(query).tolist() == [21, 8, 20]
    predicted[2] = np.nan
    with pytest.raises(FloatingPointError, match="the score of image 10 is not a number"):
        LL4AL().pick(query)

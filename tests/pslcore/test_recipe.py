"""The recipe and the few steps that apply it."""

import math
import tracemalloc

import pytest
import torch
from torch import nn

from pslcore.recipe import Descent, Recipe, answer, forward, fresh

NAN, INF = float("nan"), float("inf")
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"schedule": "linear"}, "schedule = 'linear' must be 'cosine', 'step' or 'constant'"),
        ({"precision": "float16"}, "precision = 'float16' must be 'float32', 'bfloat16' or 'auto'"),
        ({"learning_rate": 1}, "unknown setting 'learning_rate': choose from epochs, batch_size, lr"),
        *[({name: value}, f"{name} = {value!r} must be (a valid integer|a finite number|greater than or equal to 1)")
          for name in ("epochs", "batch_size") for value in (0, -1, 1.5, NAN, INF, "ten")],
        *[({name: value}, f"{name} = {value} must be greater than or equal to 0")
          for name in ("lr", "momentum", "weight_decay", "padding") for value in (-1, -7)],
        *[({name: NAN}, f"{name} = nan must be a finite number") for name in ("lr", "momentum", "weight_decay")],
        ({"padding": 1.5}, "padding = 1.5 must be a valid integer"),
        ({"lr": INF}, "lr = inf must be a finite number"),
        ({"lr": True}, "lr = True must be a valid number"),
        ({"weight_decay": "5e-4"}, "weight_decay = '5e-4' must be a valid number"),  # what YAML makes of 5e-4
        ({"flip": "no"}, "flip = 'no' must be a valid boolean"),
    ],
)  # fmt: skip
def test_an_impossible_recipe_is_refused_in_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Recipe.of(settings)


def test_a_whole_number_may_be_written_with_a_point():
    recipe = Recipe(epochs=3.0, batch_size=8.0, padding=2.0)
    assert recipe == Recipe(epochs=3, batch_size=8, padding=2)
    assert all(isinstance(value, int) for value in (recipe.epochs, recipe.batch_size, recipe.padding))


# Descent


def descent(value=1.0, steps=12, **settings):
    """A single parameter going down by the recipe."""
    weight = nn.Parameter(torch.tensor([value]))
    plain = {"momentum": 0.0, "weight_decay": 0.0}
    return weight, Descent([weight], Recipe(**plain | settings), steps)


def rates(schedule, steps):
    """The learning rate of each step, as the parameter feels it."""
    weight, down = descent(0.0, steps, schedule=schedule, lr=1.0)
    felt = []
    for _ in range(steps):
        before = weight.item()
        down.step(weight.sum() + 100)
        felt.append(before - weight.item())
    return felt


def test_cosine_goes_from_the_full_rate_to_nearly_none():
    wanted = [(1 + math.cos(math.pi * step / 12)) / 2 for step in range(12)]
    assert rates("cosine", 12) == pytest.approx(wanted, abs=1e-5)


def test_step_takes_a_tenth_at_a_half_and_at_three_quarters():
    assert rates("step", 12) == pytest.approx([1.0] * 6 + [0.1] * 3 + [0.01] * 3, abs=1e-5)


def test_constant_is_constant():
    assert rates("constant", 5) == pytest.approx([1.0] * 5)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_the_shortest_trainings_begin_at_the_full_rate(schedule, steps):
    felt = rates(schedule, steps)
    assert felt[0] == pytest.approx(1.0, abs=1e-5)
    assert all(rate > 0 for rate in felt)


def test_nesterov_momentum_and_weight_decay():
    weight, down = descent(2.0, schedule="constant", lr=0.1, momentum=0.9, weight_decay=0.01)
    value, velocity = 2.0, 0.0
    for step in range(3):
        down.step((3 * weight).sum())
        gradient = 3 + 0.01 * value
        velocity = gradient if step == 0 else 0.9 * velocity + gradient
        value -= 0.1 * (gradient + 0.9 * velocity)
        assert weight.item() == pytest.approx(value, rel=1e-6)


def test_another_weight_decay_takes_the_place_of_the_recipes():
    weight = nn.Parameter(torch.tensor([2.0]))
    down = Descent([weight], Recipe(weight_decay=0.5, schedule="constant"), 3, weight_decay=0.0)
    down.step((0 * weight).sum())
    assert weight.item() == 2.0


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("before", [0, 2], ids=["as the first step", "after other steps"])
def test_a_loss_of_zero_is_a_step_with_zero_gradients(before, weight_decay):
    def walk(no_loss):
        weight, down = descent(1.0, lr=0.1, momentum=0.9, weight_decay=weight_decay)
        path = []
        for step in range(before + 3):
            down.step(no_loss(weight) if step == before else (weight**2).sum())
            path.append(weight.item())
        return path

    def explicit(weight):  # as a GPU takes it: gradients of zero behind a loss that does not look like zero
        return (0 * weight).sum() + 1

    assert walk(lambda weight: (0 * weight).sum()) == walk(explicit)


def test_frozen_parameters_stay():
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    before = network.bias.clone()
    down = Descent(network.parameters(), Recipe(), 2)
    down.step(network(torch.ones(1, 2)).sum())
    assert torch.equal(network.bias, before)


@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_loss_that_is_no_number_is_found_whenever_it_came(bad):
    weight, down = descent()
    down.check("student")  # before any step
    down.step(weight.sum())
    down.check("student")
    down.step(weight.sum() * bad)
    down.step(torch.zeros((), requires_grad=True) + 1)
    with pytest.raises(FloatingPointError, match=r"the training of the student diverged .*lower `lr`"):
        down.check("student")


# Networks


def test_fresh_depends_on_its_stream_alone_and_disturbs_none():
    def weights(*stream):
        return fresh(lambda: nn.Conv2d(3, 4, 3), *stream, CPU).weight

    torch.manual_seed(0)
    first = weights(1, "teacher-init", 2)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(weights(1, "teacher-init", 2), first)
    assert torch.equal(torch.get_rng_state(), before)
    for other in ((2, "teacher-init", 2), (1, "student-init-0", 2), (1, "teacher-init", 3)):
        assert not torch.equal(weights(*other), first)


@pytest.mark.parametrize(("precision", "half"), [("float32", False), ("bfloat16", True)])
def test_logits_are_float32_in_either_precision(precision, half):
    network, images = nn.Linear(8, 3), torch.randn(4, 8)
    logits = forward(network, images, Recipe(precision=precision))
    assert logits.dtype == torch.float32
    assert torch.equal(logits, logits.bfloat16().float()) == half  # rounded to bfloat16, or not
    torch.testing.assert_close(logits, network(images), rtol=0.05, atol=0.05)


def test_answers_are_joined_in_eval_mode_without_gradient():
    network = nn.BatchNorm1d(2)
    network.running_mean += 3
    buffers = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    batches = [torch.randn(3, 2), torch.randn(1, 2)]

    def question(images):
        assert not network.training
        return network(images), images.double()

    out, same = answer(network, iter(batches), question)
    whole = torch.cat(batches)
    torch.testing.assert_close(out, (whole - 3) / (1 + network.eps) ** 0.5)
    assert torch.equal(same, whole)
    assert same.dtype == torch.float32
    assert not out.requires_grad
    stacked = answer(network, iter(batches), lambda images: (torch.stack([images, -images]),), dim=1)
    assert torch.equal(stacked[0], torch.stack([whole, -whole]))
    assert network.training
    assert all(torch.equal(tensor, buffers[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("held", [0, 100, 1 << 20])
def test_answers_on_a_large_pool_lie_on_the_disk_and_are_the_same(monkeypatch, dim, held):
    parts = [torch.randn(2, 3, 4).transpose(0, 1), torch.randn(3, 2, 4), torch.randn(3, 2, 4)[:, :2]]
    monkeypatch.setattr("pslcore.recipe._HELD", held)
    whole, rows = answer(nn.Linear(1, 1), parts, lambda part: (part, part[:, :1].contiguous()), dim)
    assert torch.equal(whole, torch.cat(parts, dim))
    assert torch.equal(rows, torch.cat([part[:, :1] for part in parts], dim))
    assert whole.is_contiguous()
    whole += 1  # and may be worked on


def test_answers_are_held_once(monkeypatch):
    """And those that lie on the disk not at all."""
    monkeypatch.setattr("pslcore.recipe._HELD", 1 << 20)
    images, rows = torch.randn(100, 2000), 50
    tracemalloc.start()
    (out,) = answer(nn.Identity(), (images + k for k in range(rows)), lambda batch: (batch,))
    peak = tracemalloc.get_traced_memory()[1]  # of NumPy and Python; torch itself does not tell
    tracemalloc.stop()
    assert out.nbytes == rows * images.nbytes
    assert peak < out.nbytes / 4
    assert torch.equal(out[-100:], images + rows - 1)


def test_a_batch_without_images_adds_no_answer():
    batches = [torch.ones(0, 3), torch.ones(2, 3), torch.ones(0, 3)]
    assert torch.equal(answer(nn.Identity(), batches, lambda batch: (batch,))[0], torch.ones(2, 3))


def test_a_disk_without_room_for_the_answers_is_named(monkeypatch, tmp_path):
    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("pslcore.recipe.SpooledTemporaryFile", lambda _: Full())
    monkeypatch.setattr("pslcore.recipe.gettempdir", lambda: str(tmp_path))
    with pytest.raises(OSError, match=rf"{tmp_path} has no room .* set TMPDIR to a folder on a larger disk"):
        answer(nn.Linear(1, 1), [torch.ones(1, 1)], lambda part: (part,))

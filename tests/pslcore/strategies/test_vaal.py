"""VAAL: the autoencoder, the discriminator, and their game on the client."""

import numpy as np
import pytest
import torch

from pslcore.data import normalise, plans
from pslcore.models import count_parameters
from pslcore.recipe import Recipe
from pslcore.sides import Client, Cloud, Oracle, Pools, task_learner
from pslcore.strategies.base import Query, Setup
from pslcore.strategies.vaal import VAAL, VAE, discriminator

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=1, batch_size=6, padding=1, flip=False)
N = 40
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 1, 8, 8)).astype(np.uint8)
SAFE = np.arange(12, 30)


def adversaries(images=IMAGES, labelled=range(12), protected=range(30, N), seed=7, **options):
    """The learner on a client whose images 12 to 29 are safe."""
    pools = Pools(N, labelled, protected)
    client = Client(images, pools, Oracle(np.arange(N) % 3, pools.protected), RECIPE.padding, CPU)
    client.open(Cloud(N, pools.protected, task_learner("resnet8", 3, images.shape[1]), RECIPE, CPU))
    return VAAL(**{"width": 4} | options).learner(client, Setup(3, RECIPE, seed, 0, 10))


def batches(count=1, labelled=range(12)):
    generator, made = torch.Generator().manual_seed(0), []
    while len(made) < count:
        made += plans(np.array(labelled), RECIPE.batch_size, RECIPE.padding, RECIPE.flip, generator)
    return made[:count]


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


# The networks


def test_exact_sizes():
    assert count_parameters(VAE(3, (32, 32))) == 22_835_139
    assert count_parameters(discriminator()) == 280_065


SIZES = [(8, 8), (16, 16), (28, 28), (32, 32), (32, 48), (9, 11), (7, 9), (2, 2), (3, 5), (2, 40), (64, 64), (33, 100)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_is_encoded_and_rebuilt(size, channels):
    vae, images = VAE(channels, size, width=4, latents=5), torch.randn(2, channels, *size)
    mean, log_variance = vae.encode(images)
    assert mean.shape == log_variance.shape == (2, 5)
    rebuilt = vae.decode(mean, size)
    assert rebuilt.shape == images.shape
    (rebuilt.square().sum() + log_variance.sum()).backward()
    assert all(parameter.grad is not None for parameter in vae.parameters())


def test_the_encoder_doubles_its_width_and_halves_the_image():
    convolutions = [layer for layer in VAE(3, (32, 32)).encoder if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [128, 256, 512, 1024]
    assert {(layer.kernel_size, layer.stride) for layer in convolutions} == {((4, 4), (2, 2))}
    assert [VAE(1, (size, size), 2, 2).small for size in (8, 16, 28, 64)] == [(2, 2), (2, 2), (3, 3), (4, 4)]


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (8, 1)])
def test_images_that_are_too_small(size):
    with pytest.raises(ValueError, match=f"images of {size[0]}x{size[1]} pixels are too small for VAAL: .* 2x2"):
        VAE(3, size)


def test_the_discriminator_gives_one_logit_an_image():
    assert discriminator(5)(torch.randn(4, 5)).shape == (4,)
    assert discriminator(5)(torch.randn(1, 5)).shape == (1,)


# The game


@pytest.mark.parametrize("beta", [1.0, 0.25])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_kl_reduction(reduction, beta):
    """With nothing to rebuild and no opponent, the loss is the KL term of both batches."""
    learner = adversaries(kl_reduction=reduction, beta=beta, adversarial=0.0)
    torch.manual_seed(0)
    codes = [(torch.randn(6, 32), torch.randn(6, 32)) for _ in range(2)]
    given = iter(codes)
    learner.vae.encode = lambda images: next(given)
    learner.vae.decode = lambda code, size: torch.zeros(6, 1, 8, 8)
    kl = [-0.5 * (1 + v - m**2 - np.exp(v)) for m, v in ((m.numpy(), v.numpy()) for m, v in codes)]
    expected = beta * sum(getattr(term, reduction)() for term in kl)
    assert learner._vae_loss(torch.zeros(6, 1, 8, 8), torch.zeros(6, 1, 8, 8)).item() == pytest.approx(expected, 1e-5)
    assert VAAL().kl_reduction == "mean"


def test_rebuilding_and_the_opponent_are_in_the_loss():
    learner, images = adversaries(beta=0.0, adversarial=3.0), torch.ones(6, 1, 8, 8)
    learner.vae.encode = lambda images: (torch.ones(6, 32), torch.zeros(6, 32))
    learner.vae.decode = lambda code, size: images + 0.5
    guess = torch.sigmoid(learner.discriminator(torch.ones(1, 32))).item()
    assert not 0.4 < guess < 0.6
    expected = 2 * 0.25 + 3 * 2 * -np.log(guess)  # all should look labelled
    assert learner._vae_loss(images, images).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kl_reduction": "median"}, "kl_reduction = 'median' must be 'mean' or 'sum'"),
        ({"latents": 0}, "latents = 0 must be greater than or equal to 1"),
        ({"width": 0}, "width = 0 must be greater than or equal to 1"),
        ({"vae_steps": 0}, "vae_steps = 0 must be greater than or equal to 1"),
    ],
)
def test_impossible_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        VAAL(**options)


@pytest.mark.parametrize("vae_steps", [1, 2, 3])
def test_each_step_moves_one_network_alone(monkeypatch, vae_steps):
    learner, moved = adversaries(vae_steps=vae_steps), []
    descend = learner._descend

    def watched(name, loss):
        before = weights(learner.vae), weights(learner.discriminator)
        descend(name, loss)
        changed = [not torch.equal(*pair) for pair in zip(before, map(weights, learner.children()), strict=True)]
        moved.append((name, *changed))

    monkeypatch.setattr(learner, "_descend", watched)
    for plan in batches(3):
        learner.study(plan, None)
    step = [("vae", True, False)] * vae_steps + [("discriminator", False, True)]
    assert moved == step * 3


def test_batches_are_of_both_pools_and_protected_images_are_studied(monkeypatch):
    learner, seen = adversaries(), []
    store = learner._client.store
    batch = store.batch
    monkeypatch.setattr(store, "batch", lambda plan: seen.append(plan.indices.tolist()) or batch(plan))
    for plan in batches(6):
        learner.study(plan, None)
    labelled, unlabelled = seen[::2], seen[1::2]
    assert {len(indices) for indices in seen} == {6}
    assert labelled[::2] == [plan.indices.tolist() for plan in batches(6)]  # the task learner's own, then others
    assert all(first != second for first, second in zip(labelled[::2], labelled[1::2], strict=True))
    assert set().union(*labelled) == set(range(12))
    assert set().union(*unlabelled) == set(range(12, N))


def test_a_seed_decides_and_the_teacher_does_not():
    def studied(teacher):
        torch.manual_seed(teacher)
        learner = adversaries()
        for plan in batches(3):
            learner.study(plan, torch.randn(len(plan), 3))
        return weights(learner)

    assert torch.equal(studied(0), studied(1))


def test_nothing_left_to_tell_apart():
    learner = adversaries(labelled=range(39), protected=[])
    before = weights(learner)
    learner.study(batches(1)[0], None)
    learner.check()
    assert torch.equal(weights(learner), before)


def test_steps_in_bfloat16_leave_weights_and_scores_in_float32():
    side = adversaries()._client
    learner = VAAL(width=4).learner(side, Setup(3, RECIPE.but(precision="bfloat16"), 7, 0, 10))
    before = weights(learner)
    learner.study(batches(1)[0], None)
    learner.check()
    assert weights(learner).dtype == torch.float32
    assert not torch.equal(weights(learner), before)
    assert learner.score(side.store.plain(SAFE)).dtype == np.float32


def test_divergence_is_reported():
    learner = adversaries()
    learner._descend("vae", weights(learner.vae).new_tensor(float("nan"), requires_grad=True))
    with pytest.raises(FloatingPointError, match=r"VAAL's autoencoder diverged: lower its option `lr`"):
        learner.check()


# What it picks


def test_the_least_labelled_come_first():
    learner = adversaries()
    for plan in batches(4):
        learner.study(plan, None)
    images = normalise(torch.tensor(IMAGES[SAFE]))
    scores = learner.score(iter(images.split(7)))
    learner.eval()
    with torch.no_grad():
        probability = torch.sigmoid(learner.discriminator(learner.vae.encode(images)[0])).numpy()
    query = Query(SAFE, np.arange(12), 5, None, scores=scores)
    assert VAAL().pick(query).tolist() == SAFE[np.argsort(probability, kind="stable")[:5]].tolist()
    assert len(set(probability)) > 5


def test_order_survives_where_the_probability_is_rounded_to_0_or_1():
    learner = adversaries()
    learner.discriminator[4].weight.data *= 1e4
    scores = learner.score(iter([normalise(torch.tensor(IMAGES[SAFE]))]))
    assert len(np.unique(scores)) == len(SAFE)
    assert np.abs(scores).max() > 100


@pytest.mark.slow
def test_what_looks_unlike_the_labelled_is_picked():
    """Labelled images are dark; every other unlabelled one is bright. Half of the picks would be, by chance."""
    bright = (np.arange(N) % 2 == 1) & (np.arange(N) >= 12)
    images = np.where(bright[:, None, None, None], 220, 30) + np.random.default_rng(1).integers(-20, 20, (N, 1, 8, 8))
    hits = 0
    for seed in range(3):
        learner = adversaries(images.astype(np.uint8), seed=seed)
        for plan in batches(25):
            learner.study(plan, None)
        learner.check()
        scores = learner.score(learner._client.store.plain(SAFE))
        picked = VAAL().pick(Query(SAFE, np.arange(12), 9, None, scores=scores))
        hits += bright[picked].sum()
    assert hits >= 24  # of 27

"""The door between the two sides, and what the cloud does with what came through it."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from pslcore import models
from pslcore.data import normalise, plans
from pslcore.losses import VOID
from pslcore.recipe import Recipe
from pslcore.sides import Client, Cloud, Ledger, Oracle, Pools, ProtectedDataError, task_learner
from pslcore.sides import cloud as sides

CPU = torch.device("cpu")
N, CLASSES, PROTECTED = 40, 3, np.array([30, 35])
RECIPE = Recipe(epochs=1, batch_size=4, lr=0.05, padding=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 3, 8, 8)).astype(np.uint8)
IMAGES[:, 0] = np.arange(N)[:, None, None]  # the red of image i is i: whoever sees it knows which it is
LABELS = np.arange(N) % CLASSES


@pytest.fixture
def cloud():
    return Cloud(N, PROTECTED, task_learner("resnet8", CLASSES, 3), RECIPE, CPU)


@pytest.fixture
def trained(cloud):
    """With eight labelled images, after three steps; and a plan of four of them."""
    cloud.upload(np.arange(8), IMAGES[:8], LABELS[:8])
    cloud.restart(0, 0, 8)
    for plan in planned(np.arange(8), 3):
        cloud.step(plan)
    return cloud, planned(np.arange(8), 1, seed=1)[0]


def planned(indices, count, seed=0):
    generator, made = torch.Generator().manual_seed(seed), []
    while len(made) < count:
        made += plans(indices, RECIPE.batch_size, RECIPE.padding, RECIPE.flip, generator)
    return made[:count]


def network_of(cloud):
    """The cloud's task learner, built again from its weights, in eval mode."""
    network = models.build("resnet8", CLASSES, 3)
    network.load_state_dict({name.removeprefix("0."): tensor for name, tensor in cloud.weights().items()})
    return network.eval()


def copied(weights):
    return {name: tensor.clone() for name, tensor in weights.items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def plain(indices):
    return normalise(torch.tensor(IMAGES[indices]))


# The door


class Untouchable:
    """Images that nobody may look at, copy or measure beyond their number."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __array__(self, *args, **kwargs):
        raise AssertionError("the images were copied")

    def __getattr__(self, name):
        raise AssertionError(f"the images were asked for {name}")


@pytest.mark.parametrize("labels", [None, LABELS[:3]], ids=["unlabelled", "labelled"])
def test_protected_images_are_refused_before_anything_is_copied(cloud, labels):
    with pytest.raises(ProtectedDataError, match=r"1 protected image\(s\) were about to be uploaded \(the first is 35"):
        cloud.upload(np.array([1, 35, 2]), Untouchable(3), labels)
    assert cloud.ledger.summary() == {}
    assert cloud.ledger.unlabelled_seen == 0
    cloud.upload(np.array([1]), IMAGES[[1]], LABELS[[1]])  # 1 was not stored either
    cloud.restart(0, 0, 1)
    with pytest.raises(ValueError, match="image 2 is not in this store: it was never uploaded here"):
        cloud.ask(("logits",), np.array([1, 2]))


@pytest.mark.parametrize("door", ["pools", "oracle", "cloud"])
def test_each_of_the_three_doors_refuses_alone(cloud, door):
    """One of them knows what is protected, the others believe that nothing is."""
    knows = {name: PROTECTED if name == door else [] for name in ("pools", "oracle", "cloud")}
    pools = Pools(N, [0, 1, 2], knows["pools"])
    cloud = Cloud(N, knows["cloud"], task_learner("resnet8", CLASSES, 3), RECIPE, CPU)
    oracle = Oracle(LABELS, knows["oracle"])
    client = Client(IMAGES, pools, oracle, RECIPE.padding, CPU)
    client.open(cloud)
    before = cloud.ledger.summary()
    what = {"pools": "labelled", "oracle": "shown to the oracle", "cloud": "uploaded"}[door]
    with pytest.raises(ProtectedDataError, match=f"about to be {what}"):
        client.annotate(cloud, np.array([5, 30]))
    assert cloud.ledger.summary() == before
    assert oracle.asked == (3 if door != "cloud" else 5)
    if door != "cloud":
        assert client.labels().tolist() == LABELS[:3].tolist()


@pytest.mark.parametrize("door", ["pools", "oracle"])
def test_annotating_changes_nothing_where_one_door_refuses(cloud, door):
    knows = {name: PROTECTED if name == door else [] for name in ("pools", "oracle")}
    pools = Pools(N, [0, 1, 2], knows["pools"])
    client = Client(IMAGES, pools, Oracle(LABELS, knows["oracle"]), RECIPE.padding, CPU)
    before = pools.fingerprint()
    with pytest.raises(ProtectedDataError, match="protected image"):
        client.annotate(cloud, np.array([5, 30]))
    assert pools.fingerprint() == before
    assert cloud.ledger.summary() == {}


@pytest.mark.parametrize(
    ("indices", "images", "labels", "sentence"),
    [
        ([1, 2], IMAGES[:3], None, r"an upload of 2 indices came with 3 images\."),
        ([1, 2], IMAGES[:2], LABELS[:1], r"an upload of 2 indices came with 2 images and 1 labels\."),
        ([1, 1], IMAGES[:2], None, "more than once"),
        ([N], IMAGES[:1], None, f"holds {N}, but"),
        (np.arange(2) == 1, IMAGES[:2], None, "not a mask"),
        ([0, 9], IMAGES[:2], LABELS[:2], "image 9 was uploaded with its label before"),
        ([9], IMAGES[:1], None, "image 9 was uploaded with its label before"),
    ],
)
def test_uploads_that_do_not_fit_are_refused(cloud, indices, images, labels, sentence):
    cloud.upload(np.array([9]), IMAGES[[9]], LABELS[[9]])
    before = cloud.ledger.summary()
    with pytest.raises(ValueError, match=sentence):
        cloud.upload(indices, images, labels)
    assert cloud.ledger.summary() == before


def test_what_was_uploaded_does_not_change_with_the_clients_arrays(trained):
    cloud, _ = trained
    mine, labels = IMAGES[10:14].copy(), LABELS[10:14].copy()
    other = Cloud(N, PROTECTED, task_learner("resnet8", CLASSES, 3), RECIPE, CPU)
    other.upload(np.arange(10, 14), mine, labels)
    cloud.upload(np.arange(10, 14), mine)
    mine[:], labels[:] = 0, 0
    other.restart(0, 0, 2)
    torch.testing.assert_close(
        torch.tensor(cloud.ask(("logits",))["logits"]), network_of(cloud)(plain(np.arange(10, 14)))
    )
    with pytest.MonkeyPatch.context() as patch:
        seen = spied(patch)
        other.step(planned(np.arange(10, 14), 1)[0])
    assert sorted(seen[0]) == [(index, LABELS[index]) for index in range(10, 14)]


# The ledger


def test_the_ledger_counts_images_and_bytes(trained):
    cloud, plan = trained
    crossed = {"up: labelled images": {"items": 8, "bytes": 8 * 192}}
    assert cloud.ledger.summary() == crossed
    cloud.teach(plan)
    crossed["down: logits on labelled images"] = {"items": 4, "bytes": 4 * CLASSES * 4}
    cloud.upload(np.array([10, 11]), IMAGES[10:12])
    cloud.upload(np.array([11, 12, 13]), IMAGES[11:14])
    crossed["up: unlabelled images"] = {"items": 5, "bytes": 5 * 192}
    cloud.ask(("logits", "features", "entropy"))
    crossed["down: answers on unlabelled images"] = {"items": 5, "bytes": 5 * 4 * (CLASSES + 64 + 1)}
    cloud.ask(("features",), np.array([3, 1]))
    crossed["down: answers on labelled images"] = {"items": 2, "bytes": 2 * 4 * 64}
    cloud.head()
    crossed["down: weights of the last layer"] = {"items": CLASSES, "bytes": 4 * CLASSES * 65}
    assert cloud.ledger.summary() == crossed
    assert cloud.ledger.unlabelled_seen == 4  # 10, 11, 12, 13
    cloud.upload(np.array([10]), IMAGES[[10]], LABELS[[10]])
    assert cloud.ledger.unlabelled_seen == 4  # it was seen before it was labelled


def test_a_ledger_survives_a_checkpoint():
    ledger, other = Ledger(9), Ledger(9)
    ledger.enter("up", 3, 10)
    ledger.saw_unlabelled(np.array([7, 2]))
    other.enter("down", 9, 9)
    other.saw_unlabelled([1, 2, 3])
    other.restore(json.loads(json.dumps(ledger.state())))
    for each in (ledger, other):
        each.enter("up", 1, 5)
        each.saw_unlabelled([2, 5])
    assert other.state() == ledger.state()
    assert other.summary() == {"up": {"items": 4, "bytes": 15}}
    assert other.unlabelled_seen == 3


# Questions


def test_answers_are_in_the_order_of_the_uploads_and_the_inbox_is_forgotten(trained):
    cloud, _ = trained
    cloud.upload(np.array([20, 9]), IMAGES[[20, 9]])
    cloud.upload(np.array([15]), IMAGES[[15]])
    answers = cloud.ask(("features", "entropy", "logits"))
    network, images = network_of(cloud), plain([20, 9, 15])
    logits = network(images)
    wanted = {"features": network.embed(images), "logits": logits,
              "entropy": -(logits.softmax(1) * logits.log_softmax(1)).sum(1)}  # fmt: skip
    assert list(answers) == ["features", "entropy", "logits"]
    for name, answer in answers.items():
        assert answer.dtype == np.float32
        torch.testing.assert_close(torch.tensor(answer), wanted[name], rtol=1e-4, atol=1e-5)
    cloud.upload(np.array([21]), IMAGES[[21]])
    assert len(cloud.ask(("entropy",))["entropy"]) == 1


def test_asking_about_labelled_images(trained):
    cloud, _ = trained
    cloud.upload(np.array([20]), IMAGES[[20]])
    answer = cloud.ask(("logits",), np.array([5, 0]))["logits"]
    torch.testing.assert_close(torch.tensor(answer), network_of(cloud)(plain([5, 0])), rtol=1e-4, atol=1e-5)
    assert len(cloud.ask(("logits",))["logits"]) == 1  # the inbox is untouched by the question before


def test_questions_that_cannot_be_answered(trained):
    cloud, _ = trained
    with pytest.raises(ValueError, match="the cloud cannot answer with 'pixels': ask for logits or features or"):
        cloud.ask(("logits", "pixels"))
    with pytest.raises(ValueError, match="image 9 is not in this store: it was never uploaded here"):
        cloud.ask(("logits",), np.array([1, 9]))
    cloud.upload(np.array([9]), IMAGES[[9]])
    with pytest.raises(ValueError, match="image 9 is not in this store"):
        cloud.ask(("logits",), np.array([9]))  # waiting to be scored is not being in D_L


def test_the_head_is_the_last_layer(trained):
    cloud, _ = trained
    weight, bias = cloud.head()
    answers = cloud.ask(("features", "logits"), np.arange(8))
    np.testing.assert_allclose(answers["features"] @ weight.T + bias, answers["logits"], rtol=1e-4, atol=1e-5)
    assert weight.shape == (CLASSES, 64)


# Training


def spied(patch):
    """What the task loss gets to see from now on: per call the (red, label) of each image."""
    seen = []
    loss = sides.task_loss

    def forward(network, images, recipe):
        seen.append(images)
        return network(images)

    def task_loss(logits, labels, *rest):
        reds = (seen.pop()[:, 0] * 63.75 + 127.5).flatten(1).max(1).values.round().int().tolist()
        seen.append(list(zip(reds, labels.tolist(), strict=True)))
        return loss(logits, labels)

    patch.setattr(sides, "forward", forward)
    patch.setattr(sides, "task_loss", task_loss)
    return seen


def test_every_image_keeps_its_label_through_several_uploads(cloud, monkeypatch):
    seen = spied(monkeypatch)
    parts = [np.array([17, 3, 25]), np.array([1]), np.array([24, 2, 39, 0])]
    for part in parts:
        cloud.upload(part, IMAGES[part], LABELS[part])
        cloud.upload(np.array([10]), IMAGES[[10]])  # in between, one that stays unlabelled
    cloud.restart(0, 0, 2)
    for plan in planned(np.sort(np.concatenate(parts)), 2):
        cloud.step(plan)
    assert sorted(seen[0] + seen[1]) == sorted((index, LABELS[index]) for part in parts for index in part)


def test_training_goes_down_and_a_restart_begins_anew(trained):
    cloud, _ = trained
    three = copied(cloud.weights())
    cloud.restart(0, 0, 8)
    first = copied(cloud.weights())
    assert not same(first, three)
    for plan in planned(np.arange(8), 3):
        cloud.step(plan)
    assert same(cloud.weights(), three)  # the same steps from the same start
    cloud.restart(0, 1, 8)
    assert not same(cloud.weights(), first)  # another cycle has weights of its own
    cloud.restart(0, 1, 8, weights=three)
    assert same(cloud.weights(), three)


def test_teaching_leaves_the_teacher_as_it_was(trained):
    cloud, plan = trained
    before = copied(cloud.weights())
    logits = cloud.teach(plan)
    assert same(cloud.weights(), before)
    assert not logits.requires_grad
    cloud.step(planned(np.arange(8), 2)[1])
    assert not same(cloud.weights(), before)  # batch norm included: it trains again
    after = cloud.weights()
    changed = {name.rsplit(".")[-1] for name in after if not torch.equal(after[name], before[name])}
    assert {"weight", "running_mean", "running_var", "num_batches_tracked"} <= changed


def test_the_lesson_is_on_the_very_batch_in_eval_mode(trained):
    cloud, plan = trained
    store = sides.ImageStore(N, RECIPE.padding, CPU)
    store.add(np.arange(N), IMAGES)
    torch.testing.assert_close(cloud.teach(plan), network_of(cloud)(store.batch(plan)), rtol=1e-4, atol=1e-5)


def test_examining_is_a_direct_count(trained):
    cloud, _ = trained
    before = copied(cloud.weights())
    given = network_of(cloud)(plain(np.arange(N))).argmax(1).tolist()
    wanted = np.zeros((CLASSES + 1, CLASSES + 1), dtype=int)
    for true, answer in zip(LABELS, given, strict=True):
        wanted[true, answer] += 1
    crossed = cloud.ledger.summary()
    assert np.array_equal(cloud.examine(IMAGES, LABELS, CLASSES + 1), wanted)
    assert same(cloud.weights(), before)
    assert cloud.ledger.summary() == crossed  # test images belong to neither side


def test_void_pixels_are_not_examined():
    def brightest():  # a "network" per pixel: class 1 where the image is bright, else 0
        network = nn.Conv2d(1, 2, 1, bias=False)
        network.weight.data = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)
        return network

    cloud = Cloud(5, [], brightest, Recipe(), CPU)
    cloud.restart(0, 0, 1)
    images = np.array([[[[0, 255], [0, 255]]], [[[255, 255], [0, 0]]]], dtype=np.uint8)
    labels = np.array([[[0, 0], [VOID, 1]], [[VOID, VOID], [VOID, VOID]]])
    assert cloud.examine(images, labels, 2).tolist() == [[1, 1], [0, 1]]


def test_divergence_is_reported(trained):
    cloud, plan = trained
    cloud.check()
    broken = {name: tensor * float("nan") if tensor.is_floating_point() else tensor
              for name, tensor in cloud.weights().items()}  # fmt: skip
    cloud.restart(0, 0, 8, weights=broken)
    cloud.step(plan)
    with pytest.raises(FloatingPointError, match=r"the training of the task learner diverged .*lower `lr`"):
        cloud.check()


def test_a_task_learner_whose_last_step_diverged_is_not_examined(trained):
    """Its loss was finite when it was last looked at; a metric of it would be recorded as any other."""
    cloud, _ = trained
    weights = copied(cloud.weights())
    weights["0.head.bias"] += float("nan")
    cloud.restart(0, 0, 8, weights=weights)
    with pytest.raises(FloatingPointError, match="diverged"):
        cloud.examine(IMAGES, LABELS, CLASSES)


# The client


def test_the_client_opens_annotates_and_submits(cloud):
    pools = Pools(N, [4, 2, 7], PROTECTED)
    client = Client(IMAGES, pools, Oracle(LABELS, PROTECTED), RECIPE.padding, CPU)
    client.open(cloud)
    client.annotate(cloud, np.array([20, 9]))
    assert pools.labelled.tolist() == [2, 4, 7, 9, 20]
    assert client.labels().tolist() == LABELS[[2, 4, 7, 9, 20]].tolist()
    assert cloud.ledger.summary() == {"up: labelled images": {"items": 5, "bytes": 5 * 192}}
    assert cloud.ledger.unlabelled_seen == 0
    cloud.restart(0, 0, 1)
    client.submit(cloud)
    assert cloud.ledger.unlabelled_seen == len(pools.safe) == N - 5 - len(PROTECTED)
    answer = cloud.ask(("logits",))["logits"]
    torch.testing.assert_close(torch.tensor(answer), network_of(cloud)(plain(pools.safe)), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="image 9 is labelled already"):
        client.annotate(cloud, np.array([10, 9]))
    assert client.channels == 3


def test_the_clients_store_knows_all_images_and_the_labels_told_so_far(cloud):
    client = Client(IMAGES, Pools(N, [4, 2, 7]), Oracle(LABELS, []), RECIPE.padding, CPU)
    client.open(cloud)
    assert torch.equal(torch.cat(list(client.store.plain(np.arange(N)))), plain(np.arange(N)))
    client.annotate(cloud, np.array([20, 9]))
    plan = planned(np.array([2, 4, 7, 9, 20]), 1)[0]
    assert client.store.labels(plan).tolist() == LABELS[plan.indices].tolist()

"""Algorithm 1: what the students do has no way back to the teacher, and protected images have none at all."""

import numpy as np
import pytest
import torch

from pslcore import strategies
from pslcore.data import load
from pslcore.recipe import Recipe
from pslcore.runs import Protocol, run, session, steps, train
from pslcore.sides import Client, Cloud, Oracle, Pools, task_learner
from pslcore.strategies.base import Setup
from pslcore.strategies.psl import PSL

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=4, lr=0.05, padding=1)


@pytest.mark.parametrize(
    ("n", "batch_size", "epochs", "wanted"), [(8, 4, 3, 6), (9, 4, 1, 3), (1, 128, 2, 2), (7, 1, 1, 7)]
)
def test_steps_of_a_cycle(n, batch_size, epochs, wanted):
    assert steps(n, Recipe(epochs=epochs, batch_size=batch_size)) == wanted


def trained(options):
    """The two sides after a cycle of PSL with these options, or without a learner; and the learner."""
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 8, 8)).astype(np.uint8)
    pools = Pools(30, range(10), range(15, 25))
    client = Client(images, pools, Oracle(np.arange(30) % 3, pools.protected), RECIPE.padding, CPU)
    cloud = Cloud(30, pools.protected, task_learner("resnet8", 3, 3), RECIPE, CPU)
    client.open(cloud)
    n_steps = steps(10, RECIPE)
    cloud.restart(5, 0, n_steps)
    learner = None if options is None else PSL(**options).learner(client, Setup(3, RECIPE, 5, 0, n_steps))
    train(cloud, learner, learner is not None, pools.labelled, RECIPE, 5, 0)
    return cloud, learner


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"peers": 3, "alpha": 0.9}, {"out_of_class": False}])
def test_the_teacher_is_the_same_with_any_learner_and_with_none(options):
    torch.manual_seed(1)
    alone, _ = trained(None)
    torch.manual_seed(2)
    with_students, learner = trained(options)
    assert equal(alone.weights(), with_students.weights())
    assert not equal(learner.weights(), trained({"alpha": 0.5})[1].weights())


def test_only_logits_on_labelled_images_come_down():
    cloud, _ = trained({})
    assert set(cloud.ledger.summary()) == {"up: labelled images", "down: logits on labelled images"}
    assert cloud.ledger.summary()["down: logits on labelled images"]["items"] == 2 * 10
    assert set(trained(None)[0].ledger.summary()) == {"up: labelled images"}


def test_an_iteration_is_teacher_then_lesson_then_students(monkeypatch):
    happened = []

    def noted(cls, name):
        original = getattr(cls, name)
        monkeypatch.setattr(cls, name, lambda self, *given: happened.append((name, given)) or original(self, *given))

    for name in ("step", "teach", "check"):
        noted(Cloud, name)
    peers = type(trained({})[1])
    for name in ("study", "check"):
        noted(peers, name)
    happened.clear()
    trained({})
    epoch = ["step", "teach", "study"] * 3 + ["check", "check"]
    assert [name for name, _ in happened] == epoch * 2
    plans = [given[0] for _, given in happened if given]
    assert all(plans[at] is plans[at + 1] is plans[at + 2] for at in range(0, len(plans), 3))
    for epoch in (plans[:9:3], plans[9::3]):
        assert sorted(torch.cat([plan.indices for plan in epoch]).tolist()) == list(range(10))


def test_divergence_of_either_side_stops_the_training(monkeypatch):
    monkeypatch.setattr("pslcore.strategies.peers.in_class_loss", lambda logits, *rest: logits.sum() * float("nan"))
    with pytest.raises(FloatingPointError, match="the training of the peer students diverged"):
        trained({})
    monkeypatch.setattr("pslcore.sides.cloud.task_loss", lambda logits, *rest: logits.sum() * float("nan"))
    with pytest.raises(FloatingPointError, match="the training of the task learner diverged"):
        trained({})


# The strongest form of the promise


@pytest.fixture(scope="module")
def noised(root, tiny):
    """The data set ``tiny`` again, its protected images replaced by noise: ``noised_tiny``."""
    dataset = load("tiny", root)
    protected = Protocol.of(tiny(), dataset).pools().protected
    images = dataset.train.images.copy()
    images[protected] = np.random.default_rng(9).integers(0, 256, images[protected].shape)
    assert len(protected) == 90
    (root / "noised_tiny").mkdir()
    for split, pixels in (("train", images), ("test", dataset.test.images)):
        labels = getattr(dataset, split).labels
        np.savez(root / "noised_tiny" / f"{split}.npz", images=pixels, labels=labels, names=dataset.classes)
    return "noised_tiny"


def replayed(config, root, picks=None):
    """Run with the picks given; the record, and the weights of cloud and learners at the end of each cycle."""
    clouds, learners, method = [], [], type(config.strategy)

    class Remembered(Cloud):
        def examine(self, *given):
            clouds.append(self.weights())
            return super().examine(*given)

    def learner(self, client, setup, original=method.learner):
        learners.append(original(self, client, setup))
        return learners[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "Cloud", Remembered)
        patch.setattr(method, "learner", learner)
        if picks is not None:
            queue = iter(picks)
            patch.setattr(method, "pick", lambda self, query: np.array(next(queue)))
        record = run(config, root)
    copies = [{name: tensor.clone() for name, tensor in weights.items()} for weights in clouds]
    return record, copies, [learner.weights() for learner in learners if learner is not None]


@pytest.mark.slow
@pytest.mark.parametrize("method", strategies.names())
def test_the_teacher_is_blind_to_protected_images(root, tiny, noised, method):
    """Bit for bit: whatever the protected images hold, given the same picks."""
    record, clouds, learners = replayed(tiny(method=method), root)
    picks = [cycle["picked"] for cycle in record["cycles"]]
    other, other_clouds, other_learners = replayed(tiny(method=method, dataset=noised), root, picks)
    assert other["data"]["fingerprint"] != record["data"]["fingerprint"]
    assert [cycle["metric"] for cycle in other["cycles"]] == [cycle["metric"] for cycle in record["cycles"]]
    assert len(clouds) == len(other_clouds) == 3
    assert all(equal(one, two) for one, two in zip(clouds, other_clouds, strict=True))
    if method == "psl":  # the students study them: so the test can fail
        assert len(learners) == 2
        assert not any(equal(one, two) for one, two in zip(learners, other_learners, strict=True))


def test_students_who_must_not_study_protected_images_are_blind_to_them_too(root, tiny, noised):
    options = {"study_protected": False}
    record, _, learners = replayed(tiny(options=options), root)
    other, _, other_learners = replayed(tiny(options=options, dataset=noised), root)
    assert all(equal(one, two) for one, two in zip(learners, other_learners, strict=True))
    assert [cycle["picked"] for cycle in other["cycles"]] == [cycle["picked"] for cycle in record["cycles"]]

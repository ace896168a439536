"""Peer Study Learning on the client."""

import numpy as np
import pytest
import torch

from pslcore.data import normalise, plans
from pslcore.losses import discrepancy, entropy
from pslcore.recipe import Recipe
from pslcore.sides import Client, Cloud, Oracle, Pools, task_learner
from pslcore.strategies.base import Query, Setup
from pslcore.strategies.psl import PSL

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=1, batch_size=6, lr=0.05, padding=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
STEPS = 4


def test_an_image_of_nothing_but_void_is_picked_last():
    """Its discrepancy is 0, where that of any image that the peers see differently is above."""
    logits = torch.randn(3, 5, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(5, 6, 6, dtype=torch.bool)
    valid[1] = False
    safe = np.array([3, 5, 8, 9, 12])
    query = Query(safe, np.array([0]), 5, np.random.default_rng(0), scores=discrepancy(logits, valid).numpy())
    assert query.scores[1] == 0
    picked = PSL().pick(query)
    assert sorted(picked) == safe.tolist()
    assert picked[-1] == 5


def client(labelled=range(12), protected=range(20, 40), shift=0):
    pools = Pools(40, labelled, protected)
    made = Client(IMAGES, pools, Oracle((np.arange(40) + shift) % 3, pools.protected), RECIPE.padding, CPU)
    made.open(Cloud(40, pools.protected, task_learner("resnet8", 3, 3), RECIPE, CPU))
    return made


def peers(side=None, **options):
    return PSL(**options).learner(side or client(), Setup(3, RECIPE, 7, 0, STEPS))


def studied(teacher=0, side=None, **options):
    """The peers after two epochs; the teacher's answers are drawn with the seed given."""
    side = side or client()
    learner, answers = peers(side, **options), torch.Generator().manual_seed(teacher)
    loader = torch.Generator().manual_seed(0)
    for _ in range(2):
        for plan in plans(side.pools.labelled, RECIPE.batch_size, RECIPE.padding, RECIPE.flip, loader):
            learner.study(plan, torch.randn(len(plan), 3, generator=answers) * 3)
    learner.check()
    return learner


def parameters(learner):
    return torch.cat([parameter.detach().flatten() for parameter in learner.parameters()])


def buffers(learner):
    return torch.cat([buffer.flatten().float() for buffer in learner.buffers()])


def batches(indices):
    return iter([normalise(torch.tensor(IMAGES[part])) for part in np.array_split(indices, 3)])


SAFE = np.arange(12, 20)


# Peers


def test_peers_are_fresh_from_streams_of_their_own():
    two, three = peers(), peers(peers=3)
    assert [len(each.students) for each in (two, three)] == [2, 3]
    for j in range(2):  # another number of peers changes none of them
        assert torch.equal(parameters(two.students[j]), parameters(three.students[j]))
    assert not torch.equal(parameters(two.students[0]), parameters(two.students[1]))
    assert torch.equal(parameters(two), parameters(peers()))
    other = PSL().learner(client(), Setup(3, RECIPE, 7, 1, STEPS))
    assert not torch.equal(parameters(two), parameters(other))  # another cycle
    warm = PSL().learner(client(), Setup(3, RECIPE, 7, 1, STEPS, weights=studied().weights()))
    assert torch.equal(parameters(warm), parameters(studied()))


def test_another_student():
    assert parameters(peers(student="resnet14")).numel() == 2 * (175_258 - 7 * 65)


# Scores and picks


def test_the_score_is_the_discrepancy_in_eval_mode():
    learner = studied()
    before = parameters(learner), buffers(learner)
    scores = learner.score(batches(SAFE))
    learner.eval()
    logits = torch.stack([student(normalise(torch.tensor(IMAGES[SAFE]))) for student in learner.students])
    np.testing.assert_allclose(scores, discrepancy(logits).detach(), rtol=1e-3, atol=1e-5)
    assert scores.shape == (8,)
    learner.train()
    torch.testing.assert_close(learner.answers(batches(SAFE)), logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(parameters(learner), before[0])
    assert torch.equal(buffers(learner), before[1])


def test_a_single_peer_scores_by_its_entropy():
    learner = studied(peers=1)
    scores = learner.score(batches(SAFE))
    learner.eval()
    wanted = entropy(learner.students[0](normalise(torch.tensor(IMAGES[SAFE]))))
    np.testing.assert_allclose(scores, wanted.detach(), rtol=1e-4, atol=1e-6)
    assert scores.max() > 0


@pytest.mark.parametrize("n_peers", [2, 3, 4])
def test_the_order_of_the_peers_does_not_matter(n_peers):
    learner = studied(peers=n_peers)
    scores = learner.score(batches(SAFE))
    order = [*range(1, n_peers), 0]
    learner.students = torch.nn.ModuleList(learner.students[j] for j in order)
    turned = learner.score(batches(SAFE))
    assert np.array_equal(scores, turned)
    assert len(set(scores)) > 1


def query(scores, budget=3):
    return Query(SAFE, np.arange(12), budget, np.random.default_rng(0), scores=np.asarray(scores, dtype=float))


def test_the_most_discrepant_are_picked_and_ties_go_to_the_lower_index():
    assert PSL().pick(query([0, 3, 1, 3, 0, 2, 3, 9])).tolist() == [19, 13, 15]
    assert PSL().pick(query([0] * 8)).tolist() == [12, 13, 14]


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(FloatingPointError, match="the score of image 14 is not a number: the training has diverged"):
        PSL().pick(query([0, 1, np.nan, 3, 4, 5, 6, 7]))


@pytest.mark.parametrize("scores", [[0, 1], [0] * 9, [[0] * 8], 5.0, None])
def test_scores_of_other_images_are_refused(scores):
    with pytest.raises(ValueError, match=r"8 safe images have scores of the shape .*: give one each"):
        PSL().pick(query(scores))


# Study


def test_both_kinds_of_study_change_the_peers():
    plain = parameters(studied())
    for options in ({"out_of_class": False}, {"in_class": False}, {"alpha": 0.5}, {"temperature": 1.0}):
        assert not torch.equal(parameters(studied(**options)), plain), options


@pytest.mark.parametrize("out_of_class", [True, False])
def test_without_in_class_study_the_teacher_is_not_heard(out_of_class):
    alone = [parameters(studied(teacher, in_class=False, out_of_class=out_of_class)) for teacher in (0, 1)]
    assert torch.equal(*alone)
    assert torch.equal(alone[0], parameters(studied(alpha=0.0, out_of_class=out_of_class)))
    heard = [parameters(studied(teacher, out_of_class=out_of_class)) for teacher in (0, 1)]
    assert not torch.equal(*heard)


def test_with_alpha_1_the_labels_are_not_heard():
    def after(alpha):
        return [parameters(studied(side=client(shift=shift), alpha=alpha, out_of_class=False)) for shift in (0, 1)]

    assert torch.equal(*after(1.0))
    assert not torch.equal(*after(0.9))


def test_without_out_of_class_study_peers_do_not_know_each_other():
    two, three = (studied(peers=count, out_of_class=False) for count in (2, 3))
    assert torch.equal(parameters(two.students[0]), parameters(three.students[0]))
    two, three = (studied(peers=count, margin=100.0) for count in (2, 3))
    assert not torch.equal(parameters(two.students[0]), parameters(three.students[0]))


def test_a_single_peer_has_no_out_of_class_study():
    assert torch.equal(parameters(studied(peers=1)), parameters(studied(peers=1, out_of_class=False)))
    assert torch.equal(buffers(studied(peers=1)), buffers(studied(peers=1, out_of_class=False)))


def test_a_margin_of_zero_moves_no_weight():
    """Eq. 5 is 0 then; so its steps, momentum and all, must leave the weights to Eq. 2."""
    assert torch.equal(parameters(studied(margin=0.0)), parameters(studied(out_of_class=False)))
    assert not torch.equal(parameters(studied(margin=50.0)), parameters(studied(out_of_class=False)))


def test_the_two_readings_of_eq_5_differ():
    assert not torch.equal(parameters(studied(ranking="ordered")), parameters(studied(ranking="paper")))


@pytest.mark.parametrize("study_protected", [True, False])
def test_out_of_class_batches_are_unlabelled_and_as_large_as_the_labelled_ones(monkeypatch, study_protected):
    side, seen = client(), []
    batch = side.store.batch
    monkeypatch.setattr(side.store, "batch", lambda plan: seen.append(plan.indices.tolist()) or batch(plan))
    studied(side=side, study_protected=study_protected)
    labelled, unlabelled = seen[::2], seen[1::2]
    assert all(set(indices) <= set(range(12)) for indices in labelled)
    assert [len(indices) for indices in unlabelled] == [len(indices) for indices in labelled] == [6] * 4
    drawn = set().union(*unlabelled)
    assert drawn <= set(side.pools.unlabelled.tolist() if study_protected else SAFE.tolist())
    assert bool(drawn & set(side.pools.protected.tolist())) == study_protected


@pytest.mark.parametrize("labelled", [40, 39, 38])
def test_hardly_anything_left_unlabelled(labelled):
    side = client(range(labelled), [])
    assert torch.isfinite(parameters(studied(side=side))).all()


def test_divergence_is_reported():
    learner = peers()
    plan = next(plans(np.arange(12), 6, 1, False, torch.Generator().manual_seed(0)))
    learner.study(plan, torch.full((6, 3), float("nan")))
    with pytest.raises(FloatingPointError, match=r"the training of the peer students diverged .*lower `lr`"):
        learner.check()

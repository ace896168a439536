"""``side: client``: a student at home answers in place of the task learner, and nothing unlabelled leaves."""

import numpy as np
import pytest

from pslcore import strategies
from pslcore.data import load
from pslcore.runs import Protocol, records, run, session
from pslcore.sides import Cloud
from pslcore.strategies.peers import Peers

SIDED = [name for name in strategies.names() if "side" in strategies.kind(name).model_fields]


def test_who_has_a_choice():
    assert SIDED == ["entropy", "core_set", "badge", "alfa_mix", "skactiveml"]


@pytest.fixture
def at_home(tiny):
    return lambda method, **changes: tiny(method=method, options={"side": "client"}, **changes)


@pytest.mark.parametrize("method", SIDED)
def test_nothing_unlabelled_crosses(root, at_home, monkeypatch, method):
    """Whatever the door is asked for is labelled; the task learner is asked for nothing but its lessons."""
    seen = []

    class Watched(Cloud):
        def upload(self, indices, images, labels=None):
            seen.append(labels is not None)
            super().upload(indices, images, labels)

        def ask(self, what, labelled=None):
            pytest.fail("the task learner was asked")

        head = ask

    monkeypatch.setattr(session, "Cloud", Watched)
    record = run(at_home(method), root)
    assert all(seen)
    for cycle in record["cycles"]:
        assert cycle["unlabelled_seen"] == 0
        assert set(cycle["crossed"]) <= {"up: labelled images", "down: logits on labelled images"}
    pools = Protocol.of(at_home(method), load("tiny", root)).pools()
    picked = record["cycles"][0]["picked"]
    assert len(set(picked)) == 4
    assert set(picked) <= set(pools.safe.tolist())


def test_entropy_at_home_is_psl_with_one_peer(root, tiny, at_home):
    """Section 4.5: with one peer the score is its entropy. So the two must pick the same, bit for bit."""
    one, other = run(at_home("entropy"), root), run(tiny(method="psl", options={"peers": 1}), root)
    for mine, theirs in zip(one["cycles"], other["cycles"], strict=True):
        assert (mine["picked"], mine["metric"]) == (theirs["picked"], theirs["metric"])


@pytest.mark.parametrize("method", SIDED)
def test_the_answers_are_the_students(root, at_home, monkeypatch, method):
    """Logits, features, entropies and head of the student that was trained in class, on the images of its own side."""
    queries, learners = [], []
    query = session.Session.query

    def watched(made, learner, budget, cycle):
        queries.append(query(made, learner, budget, cycle))
        learners.append(learner)
        return queries[-1]

    monkeypatch.setattr(session.Session, "query", watched)
    config = at_home(method)
    run(config, root)
    monkeypatch.undo()
    strategy = config.strategy
    assert isinstance(learners[0], Peers)
    assert len(learners[0].students) == 1
    for asked in queries:
        assert set(asked.answers) == set(strategy.requires)
        assert set(asked.labelled_answers) == set(strategy.requires_labelled)
        assert (asked.head is not None) == strategy.requires_head
    last, student = queries[-1], learners[-1].students[0]
    width = student.head.in_features
    for name, values in last.answers.items():
        wanted = {"features": (len(last.safe), width), "logits": (len(last.safe), 4), "entropy": (len(last.safe),)}
        assert values.shape == wanted[name]
    if strategy.requires_head:
        assert np.array_equal(last.head[0], student.head.weight.detach().numpy())


@pytest.mark.slow
@pytest.mark.parametrize("method", SIDED)
def test_the_side_changes_the_key_and_the_task_learner_stays_as_it_is(root, tiny, at_home, method):
    cloud, client = tiny(method=method), at_home(method)
    assert cloud.key != client.key
    assert tiny(method=method, options={"side": "cloud"}).key == cloud.key  # the default names nothing anew
    first = [records.content(run(config, root))["cycles"][0]["metric"] for config in (cloud, client)]
    assert first[0] == first[1]

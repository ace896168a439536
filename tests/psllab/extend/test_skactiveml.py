"""Rivals of scikit-activeml behind the interface that every method has."""

import numpy as np
import pytest
from scipy.special import softmax

from pslcore import strategies
from pslcore.runs import Config, resolve, run
from pslcore.strategies import Query
from psllab.extend import contract

pytest.importorskip("skactiveml", reason="scikit-activeml is not installed: pip install '.[rivals]'")

RIVALS = {
    "Badge": {}, "CoreSet": {}, "TypiClust": {}, "ProbCover": {}, "MaxHerding": {}, "Falcun": {}, "Clue": {},
    "DropQuery": {},
    "UncertaintySampling": {"method": "margin_sampling"},
}  # fmt: skip


def asked(seed=0, n=60, m=12, classes=4, width=8, budget=9, kinds=None):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n + m, width)).astype(np.float32)
    features = features if kinds is None else features[rng.integers(0, kinds, n + m)]
    order = rng.permutation(500)[: n + m]
    safe, labelled = np.sort(order[:n]), np.sort(order[n:])
    return Query(
        safe, labelled, budget, np.random.default_rng(7), {"features": features[:n]}, {"features": features[n:]},
        (rng.normal(size=(classes, width)).astype(np.float32), rng.normal(size=classes).astype(np.float32)),
        np.arange(m) % classes,
    )  # fmt: skip


def method(name, **options):
    return strategies.get("skactiveml", {"query": name, "arguments": RIVALS.get(name, {})} | options)


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_keeps_the_contract(name):
    for seed in range(3):
        query = asked(seed)
        before = [query.answers["features"].copy(), query.labelled_answers["features"].copy(), query.labels.copy()]
        picked = method(name).pick(query)
        assert len(np.unique(picked)) == len(picked) == 9
        assert np.isin(picked, query.safe).all()
        assert np.array_equal(method(name).pick(asked(seed)), picked)  # the same twice
        after = [query.answers["features"], query.labelled_answers["features"], query.labels]
        assert all(map(np.array_equal, before, after))


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("kinds", [1, 3, 15])  # 12 images are labelled, 9 wanted
def test_images_that_stand_several_times_are_picked_from(name, kinds):
    query = asked(kinds=kinds)
    picked = contract.ask(method(name), query)
    assert np.array_equal(method(name).pick(asked(kinds=kinds)), picked)


def test_what_the_library_cannot_do_is_one_sentence(monkeypatch):
    monkeypatch.setattr("skactiveml.pool.TypiClust.query", lambda self, **given: np.zeros(9, dtype=int))
    with pytest.raises(ValueError, match="TypiClust of scikit-activeml could not pick 9 of 60 images"):
        method("TypiClust").pick(asked())


def test_margin_is_margin():
    """Against NumPy: the smallest gaps between the two likeliest classes, by the network's own last layer."""
    query = asked()
    weight, bias = (part.astype(np.float64) for part in query.head)
    probabilities = np.sort(softmax(query.answers["features"] @ weight.T + bias, axis=1), axis=1)
    gaps = probabilities[:, -1] - probabilities[:, -2]
    picked = method("UncertaintySampling").pick(query)
    assert set(picked) == set(query.safe[np.argsort(gaps)[:9]])


@pytest.mark.parametrize("side", ["cloud", "client"])
def test_a_run_on_either_side(root, tiny, side):
    config = tiny(method="skactiveml", options={"query": "TypiClust", "side": side})
    record = run(config, root)
    assert record["cycles"][-1]["unlabelled_seen"] == (22 if side == "cloud" else 0)
    assert len(set(record["cycles"][0]["picked"])) == 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"query": "Oracle"}, "query = 'Oracle' is no pool strategy of the library: choose from"),
        ({"query": "k_greedy_center"}, "is no pool strategy"),
        ({"query": "TypiClust", "arguments": {"kay": 3}}, "arguments: TypiClust takes no 'kay': choose from"),
        (
            {"query": "QueryByCommittee"},
            "query = QueryByCommittee of scikit-activeml cannot pick from features, labels",
        ),
        ({"query": "GreedyBALD"}, "query = GreedyBALD of scikit-activeml cannot pick from features"),
        ({"query": "Quire"}, "query = Quire of scikit-activeml cannot be made .*'classes'.*: choose another"),
    ],
)
def test_what_the_library_does_not_know_is_refused_before_anything_is_trained(options, sentence):
    config = Config.of({"dataset": "digits", "method": "skactiveml", "teacher": "resnet8", "options": options,
                        "initial": 20, "budget": 10, "final": 40})  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        resolve(config)


def test_without_the_library_it_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skactiveml", None)
    with pytest.raises(ValueError, match=r"needs scikit-activeml .*: install it with `pip install '\.\[rivals\]'`"):
        method("TypiClust").ready()

"""What every method must do, whichever it is: a name in ``strategies.names()`` is all it takes to be tested here."""

import re

import numpy as np
import pytest
import torch

from pslcore import strategies
from pslcore.data import load, normalise
from pslcore.losses import entropy
from pslcore.runs import Protocol, records, run, session
from pslcore.sides import Cloud
from psllab.extend import contract
from psllab.features import Backbone, backbones

NAN = float("nan")
METHODS = strategies.names()
PIXELS = [name for name in METHODS if strategies.get(name).pixels]
ODD = {"protected_fraction": 0.5, "initial": 6, "budget": 3, "final": 12,
       "recipe": {"epochs": 2, "batch_size": 5}}  # fmt: skip


VECTORS = "odd3+corners@8"
"""Features of the colour set by a made-up backbone."""


@pytest.fixture(scope="module")
def world(root, new_set):
    """Grey and colour sets of odd sizes, one of whose classes has a single image; and one with pixel labels."""
    backbones._BACKBONES["corners"] = lambda: Backbone(lambda x: x[:, :, ::3, ::3].flatten(1), 27, "corners", 255.0)
    labels = np.arange(61) % 4
    labels[17] = 4
    for channels in (1, 3):
        new_set(root / f"odd{channels}", (channels, 7, 9), 61, 23, 5, labels=labels)
    new_set(root / "scenes", (3, 16, 16), 30, 6, 4)
    for split in ("train", "test"):
        content = dict(np.load(root / "scenes" / f"{split}.npz"))
        content["labels"] = content["labels"][:, None, None] + np.zeros((16, 16), dtype=int)
        content["labels"][:, :3] = 255
        np.savez(root / "scenes" / f"{split}.npz", **content)
    return root


@pytest.fixture(scope="module")
def config(world, tiny):
    """Of a method on one of these sets, with a seed whose initial pool lacks the image of the rare class."""

    def config(method, kind=1, **changes):
        of = {"method": method, "dataset": kind if kind == VECTORS else f"odd{kind}"} | ODD
        if kind == VECTORS:
            of |= {"teacher": "mlp16", "options": {"student": "mlp16"} if method == "psl" else {}}
        for seed in range(100):
            made = tiny(**of | {"seed": seed} | changes)
            if 17 in Protocol.of(made, load(made.dataset, world)).pools().safe:
                return made
        raise AssertionError

    return config


class Watched(Cloud):
    """Writes down which unlabelled images were uploaded before each cycle; ``last`` is the one made last."""

    seen: set
    history: list
    last: Cloud

    def __init__(self, *given):
        super().__init__(*given)
        Watched.last = self

    def upload(self, indices, images, labels=None):
        super().upload(indices, images, labels)
        if labels is None:
            self.seen.update(np.asarray(indices).tolist())

    def restart(self, *given):
        super().restart(*given)
        self.history.append(set(self.seen))


def watched_run(config, root, folder=None):
    """The record, the images seen at the start of each cycle and in the end, and all queries with their picks."""
    queries, learners, method, train = [], [], type(config.strategy), load(config.dataset, root).train
    Watched.seen, Watched.history = set(), []

    def learner(self, client, setup, original=method.learner):
        learners.append(original(self, client, setup))
        return learners[-1]

    def pick(self, query, original=method.pick):
        check_rows(query, train, learners[-1])
        queries.append((query, original(self, query)))
        return queries[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "Cloud", Watched)
        patch.setattr(method, "learner", learner)
        patch.setattr(method, "pick", pick)
        record = run(config, root, folder)
    return record, [*Watched.history[1:], Watched.seen], queries


@torch.no_grad()
def check_rows(query, train, learner):
    """Every row of the query belongs to the image that it should."""
    network = Watched.last._network
    assert np.array_equal(query.labels, train.labels[query.labelled])
    for answers, indices in ((query.answers, query.safe), (query.labelled_answers, query.labelled)):
        images = normalise(torch.tensor(train.images[indices]))
        network.eval()
        wanted = {"features": network.embed(images), "logits": network(images), "entropy": entropy(network(images))}
        network.train()
        for name in set(answers) & set(wanted):
            torch.testing.assert_close(torch.tensor(answers[name]), wanted[name], rtol=1e-3, atol=1e-4)
    if learner is not None:
        wanted = learner.score(iter([normalise(torch.tensor(train.images[query.safe]))]))
        np.testing.assert_allclose(query.scores, wanted, rtol=1e-3, atol=1e-5)
        assert len(set(wanted)) > 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("method", "options"),
    [(method, {}) for method in METHODS]
    + [(method, {"side": "client"}) for method in METHODS if "side" in type(strategies.get(method)).model_fields]
    + [("skactiveml", {"query": query}) for query in ("Falcun", "Clue", "DropQuery", "UncertaintySampling")],
)
def test_every_pick_keeps_the_contract_that_files_of_others_are_held_to(method, options):
    contract.check(strategies.get(method, options))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [1, 3, VECTORS])
@pytest.mark.parametrize("method", METHODS)
def test_a_whole_run(world, config, method, kind):
    made = config(method, kind)
    pools = Protocol.of(made, load(made.dataset, world)).pools()
    record, seen, queries = watched_run(made, world)
    assert [cycle["labelled"] for cycle in record["cycles"]] == [6, 9, 12]
    assert len(queries) == 2
    for number, (cycle, (query, picked)) in enumerate(zip(record["cycles"], queries, strict=False)):
        # what it was asked
        assert np.array_equal(query.safe, pools.safe)
        assert np.array_equal(query.labelled, pools.labelled)
        assert query.budget == 3
        rows = [len(answer) for answer in (*query.answers.values(), query.scores) if answer is not None]
        assert set(rows) <= {len(pools.safe)}
        assert {len(answer) for answer in query.labelled_answers.values()} <= {len(pools.labelled)}
        assert set(query.answers) == set(made.strategy.requires)
        assert (query.head is not None) == made.strategy.requires_head
        # what it answered
        picked = np.asarray(picked)
        assert picked.dtype.kind in "iu"
        assert picked.tolist() == cycle["picked"]
        assert len(set(cycle["picked"])) == len(cycle["picked"]) == 3
        assert set(cycle["picked"]) <= set(pools.safe.tolist())
        assert not set(cycle["picked"]) & set(pools.protected.tolist())
        # what the cloud saw
        allowed = set(pools.safe.tolist())
        assert seen[number] <= allowed | (seen[number - 1] if number else set())
        assert cycle["unlabelled_seen"] == len(seen[number])
        assert (len(seen[number]) > 0) == bool(made.strategy.requires)
        uploads = cycle["crossed"].get("up: unlabelled images", {"items": 0})["items"]
        assert uploads >= len(seen[number])
        # what it weighed
        size = load(made.dataset, world).train.images[0].nbytes
        for crossed in ("up: labelled images", "up: unlabelled images"):
            row = cycle["crossed"].get(crossed, {"items": 0, "bytes": 0})
            assert row["bytes"] == size * row["items"]
        pools.label(cycle["picked"])
    assert not set().union(*seen) & set(pools.protected.tolist())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [1, VECTORS])
@pytest.mark.parametrize("method", METHODS)
def test_a_seed_decides_everything(world, config, method, kind):
    made = config(method, kind)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    one = records.content(run(made, world))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert records.content(run(made, world)) == one


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "warm"), [(1, False), (1, True), (VECTORS, True)])
@pytest.mark.parametrize("method", METHODS)
def test_stopped_after_a_cycle_and_gone_on_with(world, config, tmp_path, monkeypatch, method, kind, warm):
    made = config(method, kind, warm_start=warm)
    whole = records.content(run(made, world))
    write = records.write

    class Stop(Exception):
        pass

    def stop(path, record):
        write(path, record)
        raise Stop

    monkeypatch.setattr(records, "write", stop)
    with pytest.raises(Stop):
        run(made, world, tmp_path)
    monkeypatch.undo()
    assert records.content(run(made, world, tmp_path)) == whole
    assert [path.name for path in tmp_path.iterdir()] == [f"{made.key}.json"]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_whole_pool_may_be_picked_and_no_more(world, config, monkeypatch, method):
    made = config(method, initial=28, budget=3, final=31, protected_fraction=0.49, recipe={"epochs": 1})
    pools = Protocol.of(made, load(made.dataset, world)).pools()
    assert len(pools.safe) == 3
    assert sorted(run(made, world)["cycles"][0]["picked"]) == pools.safe.tolist()
    monkeypatch.setattr(session, "train", lambda *given: pytest.fail("something was trained"))
    with pytest.raises(ValueError, match=r"final = 32 labelled images cannot be reached: .* only 31 may leave"):
        run(config(method, initial=28, budget=4, final=32, protected_fraction=0.49), world)


@pytest.mark.parametrize("method", METHODS)
def test_the_standard_setting(world, config, method):
    made = config(method, setting="standard", initial=0.1, budget=0.05, final=0.15, recipe={"epochs": 1})
    record = run(made, world)
    assert [(cycle["labelled"], len(set(cycle["picked"]))) for cycle in record["cycles"]] == [(6, 3), (9, 0)]


@pytest.mark.slow
@pytest.mark.parametrize("method", PIXELS)
def test_pixel_labels(world, tiny, method):
    network = "lraspp_mobilenet_v3_small"
    options = {"student": network} if method == "psl" else {}
    made = tiny(method=method, dataset="scenes", teacher=network, options=options, protected_fraction=0.5,
                initial=5, budget=4, final=9, recipe={"batch_size": 5})  # fmt: skip
    record, seen, _ = watched_run(made, world)
    pools = Protocol.of(made, load("scenes", world)).pools()
    assert record["metric"] == "mean IoU"
    assert all(0 <= cycle["metric"] <= 1 for cycle in record["cycles"])
    picked = record["cycles"][0]["picked"]
    assert len(set(picked)) == 4
    assert set(picked) <= set(pools.safe.tolist())
    assert record["cycles"][0]["unlabelled_seen"] == len(seen[0]) == (len(pools.safe) if made.strategy.requires else 0)


@pytest.mark.parametrize("method", METHODS)
def test_options_of_the_wrong_kind_are_refused_by_name(method):
    """Where they are set, not hours later; YAML reads 5e-4 as a text."""
    for name, option in type(strategies.get(method)).model_fields.items():
        bad = {bool: ["no", None, 1], int: ["5e-4", NAN, None, 1.5, 10**30], float: ["5e-4", NAN, None, 10**30],
               str: [3, None], dict: [3, None, [1]]}  # fmt: skip
        for value in bad[type(option.get_default(call_default_factory=True))]:
            with pytest.raises(ValueError, match=f"(?i){name}.*{re.escape(str(value))}"):
                strategies.get(method, {name: value})


def test_names():
    assert {"psl", "random", "entropy"} <= set(METHODS)
    assert {"psl", "random", "core_set", "ll4al", "vaal", "entropy"} == set(PIXELS)  # Fig. 4, and Entropy
    for name in METHODS:
        assert strategies.source(name).suffix == ".py"
        with pytest.raises(ValueError, match=r"unknown setting 'bananas': (choose from|there is none)"):
            strategies.get(name, {"bananas": 1})
    with pytest.raises(ValueError, match=f"unknown method 'oracle': choose one of {', '.join(METHODS)}"):
        strategies.get("oracle")

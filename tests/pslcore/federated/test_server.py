"""Federated runs: who owns what, what crosses, how it is averaged, and that a killed run goes on as if nothing were."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from pslcore import models, strategies
from pslcore.data import load
from pslcore.federated import (  # fmt: skip
    FederatedConfig,
    FederatedProtocol,
    FederationError,
    Reply,
    Site,
    aggregate,
    fingerprint,
    run,
    server,
)
from pslcore.runs import Config, OutOfTime, packed, records, session, unpacked
from pslcore.runs import fingerprint as plain_fingerprint
from pslcore.sides import ProtectedDataError
from pslcore.sides import cloud as sides
from pslcore.streams import derive
from psllab.report.exhibits import crossings

TINY = {
    "dataset": "digits", "method": "psl", "initial": 30, "budget": 15, "final": 45, "clients": 3, "rounds": 3,
    "recipe": {"epochs": 1, "batch_size": 16, "lr": 0.05, "padding": 1, "flip": False},
}  # fmt: skip


def tiny(**changes):
    changes["recipe"] = TINY["recipe"] | changes.get("recipe", {})
    return FederatedConfig.of(TINY | changes)


def resolved(data, **changes):
    return FederatedProtocol.of(tiny(**changes), data)


@pytest.fixture(scope="module")
def data():
    return load("digits")


@pytest.fixture(scope="module")
def whole():
    """An uninterrupted run: two rounds, a selection, a round; three clients."""
    return run(tiny())


class Seen:
    """What the doors, the oracles and the ledgers of a run have seen, told apart by who they are."""

    def __init__(self, patch):
        self.uploads, self.sites = [], []
        upload, made = sides.Cloud.upload, Site.__init__

        def watched(cloud, indices, images, labels=None):
            upload(cloud, indices, images, labels)
            self.uploads.append((cloud, np.array(indices), labels is not None))

        def listed(site, *given, **named):
            self.sites.append(site)
            made(site, *given, **named)

        patch.setattr(sides.Cloud, "upload", watched)
        patch.setattr(Site, "__init__", listed)


# Config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        *[({name: value}, f"{name} = {value} must be (greater than or equal to 1|a valid integer|a finite number)")
          for name in ("clients", "rounds") for value in (0, -1, 2.5, float("nan"))],
        *[({name: 10**9}, f"{name} = 1000000000 must be less than or equal to") for name in ("clients", "rounds")],
        ({"clients": "3"}, "clients = '3' must be a valid integer"),
        ({"split": "even"}, "split = 'even' must be 'random' or 'dirichlet'"),
        *[({"concentration": value}, f"concentration = {value!r} must be (greater than|a finite number|a valid)")
          for value in (0, -1, float("nan"), float("inf"), "a")],
        ({"warm_start": True}, "warm_start = True has no meaning in a federated run"),
        ({"examine_peers": 5}, "examine_peers = 5 has no meaning in a federated run"),
        ({"client": 3}, "unknown setting 'client': choose from dataset, method"),
        ({"method": "bagde"}, "unknown method 'bagde'"),
    ],
)  # fmt: skip
def test_an_impossible_config_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        tiny(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"initial": 31}, "initial = 31 is 31 labelled images, which do not split evenly over 3 clients: .* of 3"),
        ({"budget": 10}, "budget = 10 is 10 .* do not split evenly over 3"),
        ({"final": 50}, "final = 50 is 50 .* do not split evenly over 3"),
        ({"initial": 0.03, "budget": 0.03, "final": 0.03, "clients": 4}, "initial = 0.03 is 39 labelled images, which"),
        ({"rounds": 1}, "rounds = 1 are fewer than the 2 cycles from 30 to 45 labelled images: give each"),
        ({"final": 150}, "final = 150 labelled images cannot be reached"),
        ({"split": "dirichlet", "final": 120, "budget": 90, "concentration": 0.01, "clients": 6},
         "each of 6 clients needs 20 .* split = 'dirichlet' some client has fewer. Lower .* or raise `concentration`"),
        ({"initial": 3}, "initial = 3 labelled images are fewer than the 10 classes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_data_is_refused_before_anything_is_trained(monkeypatch, changes, sentence):
    monkeypatch.setattr(session, "train", lambda *given: pytest.fail("something was trained"))
    with pytest.raises(ValueError, match=sentence):
        run(tiny(**changes))


def test_pixel_labels_have_no_class_to_split_by():
    config = FederatedConfig.of(
        TINY
        | {
            "dataset": "digit_scenes",
            "split": "dirichlet",
            "teacher": "lraspp_mobilenet_v3_small",
            "method": "random",
            "final": 30,
        }
    )
    with pytest.raises(ValueError, match="split = 'dirichlet' needs one class an image, digit_scenes has pixels"):
        FederatedProtocol.of(config, load("digit_scenes"))


def test_keys_and_settings():
    config = tiny(split="dirichlet", concentration=0.3, seed=4)
    again = FederatedConfig.of(config.settings())
    assert (again.key, again.settings()) == (config.key, config.settings())
    assert tiny(clients=3.0, rounds=3.0).key == tiny().key
    others = [{"clients": 5}, {"rounds": 4}, {"split": "dirichlet"}, {"concentration": 0.1}, {"seed": 1}, {"final": 60}]
    assert len({tiny(**changes).key for changes in others} | {tiny().key}) == len(others) + 1
    # at its defaults a federated config differs from a plain one in nothing but what it is
    plain = {name: TINY[name] for name in ("dataset", "method", "recipe")} | {"teacher": "resnet8"}
    assert FederatedConfig.of(plain).key != Config.of(plain).key
    assert FederatedConfig(dataset="digits", method="psl").teacher == "resnet8"


def test_the_source_covers_this_room_and_the_method():
    known = {fingerprint(tiny(method=method)) for method in ("psl", "random")}
    assert len(known) == 2
    assert plain_fingerprint(Config.of({"dataset": "digits", "method": "psl", "teacher": "resnet8"})) not in known


def test_the_schedule(data):
    steps = resolved(data, final=60, rounds=8).schedule()
    assert [(s.kind, s.cycle, s.round) for s in steps] == [
        ("train", 0, 0), ("train", 0, 1), ("train", 0, 2), ("pick", 0, 2), ("train", 1, 3), ("train", 1, 4),
        ("train", 1, 5), ("pick", 1, 5), ("train", 2, 6), ("train", 2, 7),
    ]  # fmt: skip
    assert [(s.first, s.last) for s in steps] == [(0, 2)] * 4 + [(3, 5)] * 4 + [(6, 7)] * 2
    assert [(s.labelled, s.budget) for s in steps] == [(10, 5)] * 4 + [(15, 5)] * 4 + [(20, 0)] * 2
    assert [s.number for s in steps] == list(range(10))
    assert sum(s.kind == "train" for s in resolved(data, rounds=50).schedule()) == 50


# Who owns what


@pytest.mark.parametrize("split", ["random", "dirichlet"])
@pytest.mark.parametrize("clients", [1, 2, 5])
def test_the_parts_cover_the_training_set_disjointly(data, split, clients):
    protocol = resolved(data, split=split, clients=clients, initial=30, budget=10, final=40)
    parts, own = protocol.parts, [protocol.client(number) for number in range(clients)]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(data.train)))
    assert all(np.array_equal(part, np.unique(part)) for part in parts)
    for part, client in zip(parts, own, strict=True):
        pools = client.pools()
        assert pools.n == len(part)
        assert np.array_equal(client.dataset.train.images, data.train.images[part])
        assert pools.protected.size == round(0.9 * len(part))
        assert pools.labelled.size == 30 // clients
    if split == "random":
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert protocol.pools().protected.size == sum(client.pools().protected.size for client in own)
    again = resolved(data, split=split, clients=clients, initial=30, budget=10, final=40, method="random").parts
    assert all(map(np.array_equal, parts, again))  # the same for every method of a seed


def skew(data, **changes):
    """Chi-square of clients against classes, per degree of freedom: about 1 for parts drawn at random."""
    parts = resolved(data, initial=20, budget=10, final=30, clients=5, **changes).parts
    table = np.array([np.bincount(data.train.labels[part], minlength=10) for part in parts])
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    return ((table - expected) ** 2 / expected).sum() / (4 * 9)


def test_dirichlet_parts_are_unlike_each_other(data):
    assert np.mean([skew(data, seed=seed) for seed in range(5)]) < 1.5
    loose, tight = (
        np.mean([skew(data, seed=seed, split="dirichlet", concentration=c) for seed in range(5)]) for c in (100.0, 0.5)
    )
    assert tight > 10
    assert loose < tight / 5


# Averaging


def states(seed, n):
    """State dicts with all that a network has: weights, running statistics, a counter of shape ()."""
    rng = np.random.default_rng(seed)
    return [
        {
            "weight": torch.tensor(rng.normal(0, 10.0 ** rng.integers(-3, 4), (3, 2)), dtype=torch.float32),
            "running_var": torch.tensor(rng.random(4), dtype=torch.float32),
            "half": torch.tensor(rng.random(4), dtype=torch.bfloat16),
            "num_batches_tracked": torch.tensor(int(rng.integers(0, 1000))),
        }
        for _ in range(n)
    ]


@given(some.integers(0, 10**6), some.lists(some.integers(1, 5000), min_size=1, max_size=6))
def test_the_average_is_that_of_numpy(seed, counts):
    given = states(seed, len(counts))
    before = [{name: tensor.clone() for name, tensor in state.items()} for state in given]
    merged = aggregate(given, counts)
    for name in ("weight", "running_var"):
        wanted = np.average([state[name].double().numpy() for state in given], axis=0, weights=counts)
        assert merged[name].dtype == torch.float32
        np.testing.assert_allclose(merged[name].numpy(), wanted.astype(np.float32), rtol=2e-7, atol=1e-10)
    assert merged["half"].dtype == torch.bfloat16
    assert merged["num_batches_tracked"].item() == max(state["num_batches_tracked"].item() for state in given)
    assert merged["num_batches_tracked"].shape == ()
    for state, kept in zip(given, before, strict=True):
        assert all(torch.equal(state[name], kept[name]) for name in state)


@given(some.integers(0, 10**6), some.lists(some.integers(1, 5000), min_size=1, max_size=6))
def test_equal_states_stay_what_they_are(seed, counts):
    (state,) = states(seed, 1)
    merged = aggregate([state] * len(counts), counts)
    assert all(torch.equal(merged[name], state[name]) for name in state)


@pytest.mark.parametrize("counts", [[], [1, 2], [0]])
def test_what_cannot_be_averaged(counts):
    with pytest.raises(ValueError, match="cannot be averaged"):
        aggregate(states(0, 1 if counts else 0), counts)


# The record


def test_a_record_holds_what_is_documented(whole, data):
    assert set(whole) == {
        "config", "key", "data", "pools", "metric", "precision", "cycles", "source", "versions", "hardware", "clients",
        "failed",
    }  # fmt: skip
    assert [entry["labelled"] for entry in whole["cycles"]] == [30, 45]
    assert [len(entry["picked"]) for entry in whole["cycles"]] == [15, 0]
    assert whole["failed"] == []
    for entry in whole["cycles"]:
        assert set(entry) == {"labelled", "metric", "picked", "unlabelled_seen", "crossed", "seconds", "memory"}
        assert entry["unlabelled_seen"] == 0
        assert 0 <= entry["metric"] <= 1
    assert [set(entry["seconds"]) for entry in whole["cycles"]] == [{"train", "test", "pick"}, {"train", "test"}]
    assert whole["pools"] == resolved(data).pools().fingerprint()
    parts = resolved(data).parts
    assert [client["images"] for client in whole["clients"]] == [len(part) for part in parts]
    assert [client["labelled"] for client in whole["clients"]] == [15, 15, 15]
    for part in parts:  # every client picked its share, out of its own
        assert np.isin(whole["cycles"][0]["picked"], part).sum() == 5
    records.canonical(whole)


def test_only_weights_cross_and_every_byte_is_counted(whole):
    state = models.build("resnet8", 10, 1).state_dict()
    one = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    for client in whole["clients"]:  # three rounds, and one more model down to pick with
        assert client["crossed"] == {
            "up: helper weights": {"items": 3, "bytes": 3 * one},
            "down: global weights": {"items": 4, "bytes": 4 * one},
        }
    assert whole["cycles"][0]["crossed"]["up: helper weights"] == {"items": 6, "bytes": 6 * one}
    assert whole["cycles"][1]["crossed"] == {  # what the server counted is what the clients did
        kind: {what: sum(client["crossed"][kind][what] for client in whole["clients"]) for what in ("items", "bytes")}
        for kind in whole["clients"][0]["crossed"]
    }


def test_the_table_of_what_left(whole):
    class Cell:
        label = "PSL"

    table = crossings([(Cell, whole), (Cell, whole)])
    assert table["client"].tolist() == ["0", "1 to 2"]  # those alike in one row; the first has an image more
    assert table["labelled at the end"].tolist() == [15, 15]
    assert table["helper models up"].tolist() == [3, 3]
    assert table["images that left"].tolist() == [0, 0]
    assert table["MB up"].tolist() == pytest.approx([3 * 0.314] * 2, abs=0.06)
    clients = [
        client | {"images": 40, "protected": 36, "labelled": n}
        for client, n in zip(whole["clients"], (15, 16, 15), strict=True)
    ]
    table = crossings([(Cell, whole | {"clients": clients})])
    assert dict(zip(table["client"], table["labelled at the end"], strict=True)) == {"0, 2": 15, "1": 16}


@pytest.mark.slow
@pytest.mark.parametrize("method", strategies.names())
def test_nothing_protected_leaves_the_client_whatever_the_method(monkeypatch, data, method):
    options = {"vaal": {"width": 4}}.get(method, {})
    config, seen = tiny(method=method, options=options), Seen(monkeypatch)
    record = run(config)
    assert record["failed"] == []
    assert len(record["cycles"]) == 2
    pools = FederatedProtocol.of(config, data).pools()
    assert not np.isin(record["cycles"][0]["picked"], pools.protected).any()
    assert np.isin(record["cycles"][0]["picked"], pools.safe).all()
    helpers = {id(site.session.cloud): site for site in seen.sites}
    assert len(seen.sites) == 3
    for cloud, indices, labelled in seen.uploads:
        site = helpers[id(cloud)]  # an upload to any other cloud, the server's, would be a KeyError
        assert not np.isin(site.part[indices], pools.protected).any()
        assert labelled or strategies.get(method).requires
    for site in seen.sites:
        own = site.session.client.pools
        assert site.session.client._oracle.asked == 15
        with pytest.raises(ProtectedDataError):
            site.session.client._oracle.ask(own.protected[:1])
        with pytest.raises(ProtectedDataError):
            site.session.cloud.upload(own.protected[:1], np.zeros((1, 1, 8, 8), np.uint8))
        assert set(site.ledger.summary()) == {"up: helper weights", "down: global weights"}


@pytest.mark.slow
def test_methods_of_a_seed_start_alike_and_seeds_do_not(data):
    prints = {resolved(data, method=method).pools().fingerprint() for method in strategies.names()}
    assert len(prints) == 1
    assert resolved(data, seed=1).pools().fingerprint() not in prints
    first = {run(tiny(method=m, final=30))["cycles"][0]["metric"] for m in ("psl", "random", "entropy")}
    assert len(first) == 1


def test_a_round_is_what_it_says(monkeypatch, data):
    """One client that has everything, one round: plain training by the recipe from the seed's first weights."""
    config = tiny(clients=1, rounds=1, final=30, method="random", setting="standard", recipe={"epochs": 3})
    record = run(config)
    seed = derive(0, "client-0")
    protocol, recipe = FederatedProtocol.of(config, data), config.recipe
    part, pools = protocol.parts[0], protocol.client(0).pools()
    assert np.array_equal(part, np.arange(len(data.train)))
    cpu = torch.device("cpu")
    cloud = sides.Cloud(pools.n, pools.protected, sides.task_learner("resnet8", 10, 1), recipe, cpu)
    cloud.upload(pools.labelled, data.train.images[pools.labelled], data.train.labels[pools.labelled])
    cloud.restart(0, 0, 1)
    start = cloud.weights()
    cloud.restart(seed, 0, 6, {name: tensor.clone() for name, tensor in start.items()})
    session.train(cloud, None, False, pools.labelled, recipe, seed, 0)
    matrix = cloud.examine(data.test.images, data.test.labels, 10)
    assert record["cycles"][0]["metric"] == pytest.approx(np.trace(matrix) / matrix.sum())


def test_labels_are_as_noisy_as_the_config_says(monkeypatch, data):
    config, seen = tiny(noise=0.3, method="random", final=30, rounds=1), Seen(monkeypatch)
    record = run(config)
    assert record["noise"]["measured"] == pytest.approx(0.3, abs=0.02)
    told = FederatedProtocol.of(config, data).labels
    for site in seen.sites:
        own = site.session.client.pools.labelled
        assert np.array_equal(site.session.client.labels(), told[site.part[own]])


@pytest.mark.slow
def test_a_learnable_set_is_learned():
    record = run(tiny(method="random", initial=90, final=90, rounds=4, clients=3, recipe={"epochs": 10}))
    assert record["cycles"][-1]["metric"] > 0.5


@pytest.mark.slow
def test_it_runs_where_pixels_have_the_labels():
    record = run(FederatedConfig.of(TINY | {
        "dataset": "digit_scenes", "method": "random", "teacher": "lraspp_mobilenet_v3_small", "initial": 12,
        "budget": 6, "final": 18, "rounds": 2,
    }))  # fmt: skip
    assert record["metric"] == "mean IoU"
    assert record["failed"] == []


# Clients that fail


def failing(monkeypatch, which):
    """Have ``train`` fail where ``which(client number, round)`` says so; gives the seeds' numbers."""
    original, numbers = session.train, {derive(0, f"client-{number}"): number for number in range(3)}

    def broken(helper, learner, taught, labelled, recipe, seed, round_):
        if which(numbers[seed], round_):
            raise FloatingPointError("the training of the task learner diverged")
        original(helper, learner, taught, labelled, recipe, seed, round_)

    monkeypatch.setattr(session, "train", broken)


@pytest.mark.slow
def test_a_client_that_fails_is_left_out_of_that_round_and_reported(monkeypatch, tmp_path, whole):
    failing(monkeypatch, lambda client, round_: (client, round_) == (1, 0))
    averaged, original = [], server.aggregate

    def watched(states, labelled):
        averaged.append((len(states), original(states, labelled), states))
        return averaged[-1][1]

    monkeypatch.setattr(server, "aggregate", watched)
    record = run(tiny(), folder=tmp_path)
    assert record["failed"] == [
        {"round": 0, "client": 1, "error": "FloatingPointError: the training of the task learner diverged"}
    ]
    assert [count for count, _, _ in averaged] == [2, 3, 3]
    _, merged, others = averaged[0]
    for name, tensor in merged.items():
        if tensor.is_floating_point():  # both have ten labelled images
            wanted = (others[0][name].double() + others[1][name].double()) / 2
            assert torch.equal(tensor, wanted.float())
    assert [entry["labelled"] for entry in record["cycles"]] == [30, 45]
    assert [client["crossed"]["up: helper weights"]["items"] for client in record["clients"]] == [3, 2, 3]
    assert records.content(record)["cycles"] != records.content(whole)["cycles"]


@pytest.mark.slow
def test_when_all_fail_the_run_says_so_and_can_go_on(monkeypatch, tmp_path, whole):
    failing(monkeypatch, lambda client, round_: round_ == 1)
    with pytest.raises(FederationError, match="all clients failed in round 1; the last said: FloatingPointError: the"):
        run(tiny(), folder=tmp_path)
    monkeypatch.undo()
    assert records.content(run(tiny(), folder=tmp_path)) == records.content(whole)


@pytest.mark.slow
def test_a_client_that_cannot_pick_stops_the_run(monkeypatch, tmp_path, whole):
    monkeypatch.setattr(strategies.psl.PSL, "pick", lambda *given: [][0])
    with pytest.raises(FederationError, match=r"client 0 could not pick after round 1 \(IndexError: .*mend that"):
        run(tiny(), folder=tmp_path)
    monkeypatch.undo()
    assert records.content(run(tiny(), folder=tmp_path)) == records.content(whole)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda tensor: tensor * float("nan"), "its weights are no numbers: the training diverged, lower `lr`"),
        (lambda tensor: tensor[..., :1], "its weights are not of the global model's form"),
        (lambda tensor: tensor.double(), "its weights are not of the global model's form"),
    ],
)
def test_weights_that_cannot_be_averaged_are_left_out(monkeypatch, spoil, error):
    original = Site._do

    def spoiled(site, step, weights):
        reply = original(site, step, weights)
        if site.number != 2:
            return reply
        return Reply(2, {n: spoil(t) if n.endswith("head.weight") else t for n, t in reply.weights.items()}, 10)

    monkeypatch.setattr(Site, "_do", spoiled)
    record = run(tiny(final=30, rounds=1))
    assert record["failed"] == [{"round": 0, "client": 2, "error": error}]


# Interrupted


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_without_a_folder_nothing_is_kept(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert records.content(run(tiny())) == records.content(whole)
    assert files(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("method", ["psl", "ll4al", "vaal"])
def test_out_of_time_after_every_round_and_resumed(monkeypatch, tmp_path, method):
    """Each call does one step: nothing but what is in the folder can carry the run on."""
    config = tiny(method=method, options={"vaal": {"width": 4}}.get(method, {}), rounds=4)
    clock, original = [0.0], Site.reply
    monkeypatch.setattr(server.time, "time", lambda: clock[0])

    def slow(site, step, weights):
        clock[0] += 1
        return original(site, step, weights)

    monkeypatch.setattr(Site, "reply", slow)
    for _ in range(4):
        with pytest.raises(OutOfTime):
            run(config, folder=tmp_path, deadline=clock[0])
        assert f"{config.key}.part.json" in files(tmp_path)
    record = run(config, folder=tmp_path, deadline=clock[0])
    assert files(tmp_path) == [f"{config.key}.json"]
    assert records.content(record) == records.content(run(config)) == records.content(
        records.read(tmp_path / f"{config.key}.json")
    )  # fmt: skip
    with pytest.raises(OutOfTime):
        run(tiny(seed=7), folder=tmp_path, deadline=clock[0] - 1)
    assert files(tmp_path) == [f"{config.key}.json"]


CHILD = """
from pslcore import federated
federated.run(federated.FederatedConfig.of(settings), folder=folder)
"""


@pytest.mark.slow
@pytest.mark.parametrize("hang_at", [9, 12, 15])
def test_killed_in_the_middle_of_a_write_and_resumed(tmp_path, whole, hanging, hang_at):
    """With -9, from outside. A step writes five files: three clients, the server's weights, the part record."""
    folder, mark = tmp_path / "runs", tmp_path / "mark"
    what = repr((tiny().settings(), None, str(folder), hang_at, str(mark)))
    with subprocess.Popen(
        [sys.executable, "-c", hanging + CHILD, what], env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as child:
        while not mark.exists() and child.poll() is None:
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert f"{tiny().key}.part.json" in files(folder)
    assert records.content(run(tiny(), folder=folder)) == records.content(whole)
    assert files(folder) == [f"{tiny().key}.json"]


class Stop(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["client gone", "client cut", "server cut", "part cut", "other code"])
def test_what_was_kept_and_does_not_fit_is_not_trusted(monkeypatch, tmp_path, whole, damage):
    original = records.write

    def stop(path, record):
        original(path, record)
        if record["kept"]["step"] == 3:
            raise Stop

    monkeypatch.setattr(records, "write", stop)
    with pytest.raises(Stop):
        run(tiny(), folder=tmp_path)
    monkeypatch.undo()
    kept = [name.removeprefix(tiny().key) for name in files(tmp_path)]
    assert kept == sorted(
        [".part.json", ".step2.pt", ".step3.pt", *(f".client{k}.step{n}.pt" for k in range(3) for n in (1, 2))]
    )
    name = {"client": ".client1.step2.pt", "server": ".step3.pt", "part": ".part.json", "other": ".client0.step2.pt"}
    path = tmp_path / f"{tiny().key}{name[damage.split()[0]]}"
    if damage == "client gone":
        path.unlink()
    elif damage == "other code":
        path.write_bytes(packed(unpacked(path) | {"run": [tiny().key, "x"]}))
    else:
        path.write_bytes(path.read_bytes()[:500])
    done, original_reply = [], Site.reply
    monkeypatch.setattr(Site, "reply", lambda site, *given: done.append(1) or original_reply(site, *given))
    assert records.content(run(tiny(), folder=tmp_path)) == records.content(whole)
    assert len(done) == 12  # four steps of three clients: all of it anew
    assert files(tmp_path) == [f"{tiny().key}.json"]


def test_a_client_whose_state_is_of_another_time_is_told(data):
    config = tiny()
    protocol = FederatedProtocol.of(config, data)
    site, last = Site(protocol, 0, torch.device("cpu")), protocol.schedule()[-1]
    reply = site.reply(last, {})
    assert reply.error == (
        "RuntimeError: client 0 has 10 labelled images where round 2 needs 15: its state is not that of this run."
    )


def test_a_folder_that_cannot_be_written_to_is_noticed_first(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "train", lambda *given: pytest.fail("something was trained"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"the output folder .* cannot be written to"):
        run(tiny(), folder=tmp_path / "file" / "runs")

"""Flower: real processes on the loopback do the very rounds that the in-process federation does."""

import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import ports
import pytest
import torch

from pslcore import federated
from pslcore.runs import records, unpacked

pytest.importorskip("flwr", reason="flwr is not installed: pip install '.[federated]'")

from flwr.app import Array, ConfigRecord

from psllab import flower

sys.path.insert(0, str(Path(__file__).parent))
from machines import BIN, environment, processes, until
from table import Table

LIMIT = 240  # seconds; the whole takes about 60
SETTINGS = {
    "dataset": "digits", "method": "psl", "initial": 20, "budget": 10, "final": 30, "clients": 2, "rounds": 3,
    "recipe": {"epochs": 1, "batch_size": 16, "lr": 0.05, "padding": 1, "flip": False},
}  # fmt: skip


@pytest.fixture(scope="module")
def config():
    return federated.FederatedConfig.of(SETTINGS)


@pytest.fixture(scope="module")
def expected(config):
    """The in-process run: its record, and the weights of its global model."""
    device = torch.device("cpu")
    protocol = federated.resolve(config)
    local = federated.Local(protocol, device, None)
    return federated.serve(protocol, device, federated.new_shelf(None, protocol), local)


def healthy(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.slow
def test_two_supernodes_and_a_superlink_do_the_same_to_the_bit(tmp_path, config, expected):
    link, *nodes = ports.free(3)
    env = environment(tmp_path, f'address = "127.0.0.1:{link}"\ninsecure = true')
    app = flower.bundle(tmp_path / "app", config, tmp_path / "server", timeout=LIMIT)
    final = tmp_path / "server" / f"{config.key}.weights.pt"
    with processes(tmp_path, env) as start:
        superlink = start(
            "superlink", BIN / "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(link),
            "--disable-runtime-dependency-installation",
        )  # fmt: skip
        until(lambda: healthy(link) or superlink.poll() is not None, "the start of the superlink", 60)
        for number, port in enumerate(nodes):
            start(
                f"node{number}", BIN / "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{link}",
                "--port", str(port), "--node-config", f'partition-id={number} folder="{tmp_path}/client{number}"',
            )  # fmt: skip
        begun = subprocess.run(
            [BIN / "flwr", "run", app, "here"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert begun.returncode == 0, begun.stdout + begun.stderr
        until(final.exists, "the end of the run", LIMIT)
    wanted, weights = expected
    record = records.read(final.with_name(f"{config.key}.json"))
    assert record["failed"] == []
    for entry, other in zip(record["cycles"], wanted["cycles"], strict=True):
        assert entry["picked"] == []  # the picks have not left the clients
        assert {name: entry[name] for name in ("labelled", "metric", "crossed", "unlabelled_seen")} == {
            name: other[name] for name in ("labelled", "metric", "crossed", "unlabelled_seen")
        }
    given = unpacked(final)
    assert given.keys() == weights.keys()
    assert all(torch.equal(given[name], weights[name]) for name in weights)
    picked = []
    for number, part in enumerate(federated.resolve(config).parts):
        kept = max((tmp_path / f"client{number}").iterdir(), key=lambda path: int(path.suffixes[-2][5:]))
        picked += part[unpacked(kept)["picked"][0]].tolist()
    assert picked == wanted["cycles"][0]["picked"]
    assert not list(tmp_path.glob("server/*client*"))


# Without a network: what goes wrong


def remote(tmp_path, config, numbers):
    given = {"settings": json.dumps(config.settings())}
    nodes = {10 + place: {"partition-id": number, "folder": str(tmp_path / str(place))} for place, number in numbers}
    return flower.Remote(config, Table(given, nodes), patience=0.3, timeout=60)


def serve(config, federation):
    protocol = federated.resolve(config)
    return federated.serve(protocol, torch.device("cpu"), federated.new_shelf(None, protocol), federation)


def test_messages_carry_everything_bit_for_bit(tmp_path, config, expected):
    record, weights = serve(config, remote(tmp_path, config, enumerate([1, 0])))  # nodes come in any order
    assert all(torch.equal(weights[name], expected[1][name]) for name in expected[1])
    assert record["cycles"][1]["metric"] == expected[0]["cycles"][1]["metric"]


def test_who_is_not_there_has_failed(tmp_path, config):
    small = federated.FederatedConfig.of(SETTINGS | {"final": 20, "rounds": 1})
    record, _ = serve(small, remote(tmp_path, small, [(0, 1)]))
    assert record["failed"] == [{"round": 0, "client": 0, "error": "it did not answer"}]


@pytest.mark.parametrize("numbers", [[0, 7], [0, -1]])
def test_a_node_that_is_no_client_is_told_so(tmp_path, config, numbers):
    small = federated.FederatedConfig.of(SETTINGS | {"final": 20, "rounds": 1})
    record, _ = serve(small, remote(tmp_path, small, enumerate(numbers)))
    (failed,) = record["failed"]
    assert failed["client"] == 1
    assert "as `partition-id` a number from 0 to 1" in failed["error"]


def test_two_nodes_of_one_number_are_both_left_out(tmp_path, config):
    small = federated.FederatedConfig.of(
        SETTINGS | {"final": 30, "initial": 30, "budget": 15, "rounds": 1, "clients": 3}
    )
    record, _ = serve(small, remote(tmp_path, small, enumerate([0, 1, 1])))
    assert {entry["client"]: entry["error"] for entry in record["failed"]} == {
        1: "2 nodes have the partition-id 1",
        2: "it did not answer",
    }


# A client that misbehaves


class Pickled:
    """What runs code where it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("unpickled",))


def saved(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def first(change):
    """A change of a reply: of the bytes of its first array, or all that Flower says of it."""

    def act(message):
        arrays = message.content.array_records["weights"]
        name = next(iter(arrays))
        arrays[name] = change(arrays[name])
        return message

    return act


def values(change):
    return first(lambda array: Array(change(array.numpy().copy())))


def raw(data):
    return first(lambda array: Array(array.dtype, array.shape, array.stype, data))


def said(**fields):
    def act(message):
        message.content["reply"] = ConfigRecord({**message.content.config_records["reply"], **fields})
        return message

    return act


def counted(message):
    arrays = message.content.array_records["weights"]
    name = next(name for name in arrays if name.endswith("num_batches_tracked"))
    arrays[name] = Array(np.array(2**62))
    return message


def without(name):
    def act(message):
        del message.content[name]
        return message

    return act


def raising(message):
    raise ValueError("bytes that make no message")


HUGE = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
HUGE += b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"

MISDEEDS = {
    "a number that is none": (values(lambda array: array * np.nan), "no number"),
    "infinite": (values(lambda array: array + np.inf), "no number"),
    "another shape": (values(lambda array: array[:-1]), "of the shape (15,"),
    "turned": (values(lambda array: array.reshape(-1)), "shape"),
    "another type": (values(lambda array: array.view(np.int32)), "int32"),
    "out of all proportion": (values(lambda array: array + 1e30), "times as far"),
    "ten million numbers": (values(lambda array: np.zeros(10**7, np.float32)), "40,000,128 bytes"),
    "pickled": (raw(saved(np.array([Pickled()] * 80), allow_pickle=True)), "bytes where"),
    "pickled, of the right size": (
        first(lambda array: Array(array.dtype, array.shape, array.stype, saved(
            np.array([Pickled()]), allow_pickle=True).ljust(len(array.data)))), "object",
    ),
    "a header of terabytes": (
        first(lambda array: Array(array.dtype, array.shape, array.stype, HUGE.ljust(len(array.data)))), "shape",
    ),
    "no array": (first(lambda array: Array(array.dtype, array.shape, array.stype, b"x" * len(array.data))), "nonsense"),
    "no weights": (without("weights"), "weights"),
    "no reply": (without("reply"), "not what a client says"),
    "all of the average": (said(labelled=10**9), "claims 1000000000 labelled images"),
    "less than nothing": (said(labelled=-5), "not what a client says"),
    "the number of batches": (counted, "are due"),
    "another's number": (said(client=0), "it says that it is client 0"),
    "a long story": (said(error="x" * 10**6), "xxx …"),
    "bytes that Flower cannot read": (raising, "not what a client says"),
    "no answer": (lambda message: None, "did not answer"),
}  # fmt: skip


class Misled(Table):
    """The last node does what ``altered`` does; the time is up as soon as all others have answered."""

    def pull_messages(self, names):
        return [message for message in super().pull_messages(names) if message is not None]


@pytest.fixture(scope="module")
def three():
    """Three clients, one round and a selection, one round; and the in-process run without the last of them."""
    settings = SETTINGS | {"initial": 30, "budget": 15, "final": 45, "clients": 3, "rounds": 2}
    config = federated.FederatedConfig.of(settings)
    return config, serve(config, Without(federated.resolve(config), 2))[1]


class Without(federated.Local):
    """The in-process federation without one client."""

    def __init__(self, protocol, gone):
        self._gone = gone
        super().__init__(protocol, torch.device("cpu"), None)

    def ask(self, step, weights):
        error = "" if step.kind == "pick" else "gone"
        return [
            federated.Reply(site.number, error=error) if site.number == self._gone else site.reply(step, weights)
            for site in self.sites
        ]

    def picked(self):
        return []


def same(weights, others):
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize("kind", MISDEEDS)
def test_a_misdeed_costs_the_others_nothing(tmp_path, monkeypatch, three, kind):
    monkeypatch.chdir(tmp_path)
    (config, expected), (act, told) = three, MISDEEDS[kind]
    configs = {10 + number: {"partition-id": number, "folder": str(tmp_path / str(number))} for number in range(3)}
    for own in configs.values():
        own["root"] = str(Path(federated.__file__).parents[2] / "data")

    def altered(node, message):
        trains = "weights" in message.content.array_records if message.has_content() else False
        return act(message) if node == 12 and (trains or kind in {"no answer", "no reply"}) else message

    grid = Misled({"settings": json.dumps(config.settings())}, configs, altered)
    timeout = 0 if kind == "no answer" else 60
    record, weights = serve(config, flower.Remote(config, grid, 0.3, timeout, nodes=[10, 11, 12]))
    assert [(entry["client"], entry["round"]) for entry in record["failed"]] == [(2, 0), (2, 1)]
    assert all(told in entry["error"] and len(entry["error"]) < 700 for entry in record["failed"])
    assert same(weights, expected)
    assert not (tmp_path / "unpickled").exists()


def test_all_that_cannot_pick_stop_the_run(tmp_path, three):
    config, _ = three
    grid = Table({"settings": json.dumps(config.settings())}, {})
    step = next(step for step in federated.resolve(config).schedule() if step.kind == "pick")
    replies = flower.Remote(config, grid, 0, 0).ask(step, {"weight": torch.zeros(1)})
    assert [reply.error for reply in replies] == ["it did not answer"] * 3


@pytest.mark.parametrize("nodes", [[1, 2], [1, 2, 2]])
def test_nodes_are_one_a_client(tmp_path, three, nodes):
    with pytest.raises(ValueError, match="3 different ones"):
        flower.bundle(tmp_path, three[0], tmp_path, nodes=nodes)

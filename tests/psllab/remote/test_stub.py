"""A run on two machines ends in the record of a run on one; what crossed is what may cross, and can be replayed."""

import json
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import yaml
from wire import crossed, said

from pslcore import runs, strategies
from pslcore.sides import Ledger, ProtectedDataError
from psllab import cli, grid
from psllab.remote import link, replay, stub
from psllab.remote.log import DamagedLog, Log

METHODS = ["psl", "random", "entropy", "core_set", "badge", "alfa_mix", "ll4al", "vaal"]
SMALL = {"vaal": {"width": 4, "latents": 4}}


@pytest.fixture(scope="module")
def both(server, tiny, root, tmp_path_factory):
    """Of every method the record in one process, that through the server, the album there, and the client's folder."""
    found = {}
    for method in METHODS:
        before, folder = set(server.albums()), tmp_path_factory.mktemp(method)
        config = tiny(method=method, options=SMALL.get(method, {}), recipe={"epochs": 2})
        here = runs.run(config, root, device="cpu")
        there = runs.run(config, root, folder, "cpu", None, stub.Remote(server.link(), folder))
        (album,) = set(server.albums()) - before
        found[method] = here, there, album, folder
    return found


def test_all_methods_are_there():
    assert {*METHODS} == {*strategies.names()} - {"skactiveml"}


@pytest.mark.parametrize("method", METHODS)
def test_records_are_equal(both, method):
    here, there, _, _ = both[method]
    assert said(here) == said(there)
    assert not crossed(here)
    assert crossed(there)["wire up: labelled"]["bytes"] > 16 * 3 * 64  # the pictures, and what labels and ids take


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "psl", "warm_start": True},
        {"method": "random", "noise": 0.3, "recipe": {"zoom": 1.3}},
        {"method": "ll4al", "warm_start": True, "setting": "standard", "recipe": {"label_smoothing": 0.1}},
        {"method": "entropy", "options": {"side": "client"}},
    ],
    ids=["warm", "noise and zoom", "auxiliary", "at home"],
)
def test_other_settings_cross_as_well(server, tiny, root, changes):
    config = tiny(**changes)
    there = runs.run(config, root, None, "cpu", None, stub.Remote(server.link()))
    assert said(there) == said(runs.run(config, root, None, "cpu"))


@pytest.mark.parametrize("method", ["psl", "badge"])
@pytest.mark.parametrize("sent", [{}, {"x": np.zeros((4, 4), np.float32)}])
def test_a_server_that_sends_something_else_is_one_sentence(server, tiny, root, monkeypatch, method, sent):
    monkeypatch.setattr(stub.messages, "arrays_of", lambda *_, **__: sent)
    with pytest.raises(stub.Refused, match=r"sent no logits of epoch 0|sent other arrays as metrics than matrix"):
        runs.run(tiny(method=method), root, None, "cpu", None, stub.Remote(server.link()))
    monkeypatch.setattr(link.Link, "send", lambda *_: SimpleNamespace(json=lambda: ["held"]))
    with pytest.raises(stub.Refused, match="does not say what it holds of the album: is it a server"):
        runs.run(tiny(method=method), root, None, "cpu", None, stub.Remote(server.link()))


def test_the_command_line_takes_a_server_for_runs_and_none_for_federations(server, root, settings_of_tiny, tmp_path):
    shared = {name: value for name, value in settings_of_tiny.items() if name != "method"}
    federation = shared | {
        "clients": 2,
        "rounds": 2,
        "initial": 24,
        "budget": 8,
        "final": 24,
        "protected_fraction": 0.2,
    }
    methods = {"methods": {"A": {"method": "random"}}, "seeds": 1}
    sections = {"one": methods | {"config": shared}, "many": methods | {"config": federation}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"scales": {"quick": sections}}))
    where = ["--params", tmp_path / "params.yaml", "--data", root, "--device", "cpu", "--jobs", "1", "--out"]

    def grid_of(experiment, folder, *more):
        return cli.main(["grid", experiment, *map(str, where), str(tmp_path / folder), *more])

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PSLCORE_TOKEN", server.tokens["ada"])
        patch.setenv("PSLCORE_CERTIFICATE", str(server.certificate))
        assert grid_of("one", "here") == grid_of("one", "there", "--cloud", server.url) == grid_of("many", "here") == 0
        assert grid_of("many", "there", "--cloud", server.url) == 1  # it has a server of its own
    here, there = ((tmp_path / name / "quick" / "runs").glob("????????????????.json") for name in ("here", "there"))
    (there,) = map(grid.read, there)
    assert said(there) in [said(grid.read(path)) for path in here]


def test_a_training_that_diverges_says_the_same(server, tiny, root):
    config, told = tiny(method="random", recipe={"lr": 1000, "epochs": 4}), []
    for cloud in (None, stub.Remote(server.link())):
        with pytest.raises(FloatingPointError, match="the training of the task learner diverged") as caught:
            runs.run(config, root, None, "cpu", None, cloud)
        told.append(str(caught.value))
    assert told[0] == told[1]


GUARDED = """
import sys
import torch
from psllab.remote import replay
inside = tuple(sys.argv[2:])
def watch(event, given):
    if event == "open" and str(given[0]).startswith("/") and not str(given[0]).startswith(inside):
        raise PermissionError(f"it looked into {given[0]}")
    if event.startswith("socket."):
        raise PermissionError(event)
sys.addaudithook(watch)
for told, same in replay.replay(sys.argv[1], "cpu"):
    print(same, told)
"""


def test_the_log_is_replayed_by_a_process_that_sees_nothing_else(both):
    _, there, album, _ = both["ll4al"]
    libraries = [sys.prefix, sys.base_prefix, str(replay.__file__).rpartition("/psllab/")[0], "/proc", "/sys", "/dev"]
    command = [sys.executable, "-c", GUARDED, str(album), str(album), *libraries]
    done = subprocess.run(command, capture_output=True, text=True, cwd=album)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["True"] * 3
    for line, entry in zip(lines, there["cycles"], strict=True):
        assert f"{entry['labelled']} labelled pictures: accuracy {entry['metric']:.4f}, was" in line


def test_the_audit_says_what_crossed(both):
    for method, (_, there, album, folder) in both.items():
        (receipt,) = folder.glob("*.receipt.json")
        told = replay.audit(album, json.loads(receipt.read_text())["seal"])
        assert "was sent 16 pictures with their labels" in told
        assert ("and none to be scored" in told) != strategies.get(method).uploads
        rows = [line.split() for line in told.splitlines() if line.startswith("up ")]
        kinds = ("open", "labelled", "test", "plan", "order", "unlabelled")
        counted = sum(crossed(there).get(f"wire up: {kind}", {"bytes": 0})["bytes"] for kind in kinds)
        assert sum(int(row[-1].replace(",", "")) for row in rows) == counted


def test_what_was_scored_is_not_kept(both):
    for _, _, album, _ in both.values():
        log = Log(album)
        assert not [line for line in log.of("unlabelled") if log.holds(line["id"])]


def test_no_canary_of_a_protected_picture_reaches_the_server(server, tiny, root, new_set, monkeypatch):
    """Every picture has bytes of its own: those of labelled ones are found there, those of protected ones are not."""
    images = np.random.default_rng(5).integers(0, 256, (120, 3, 8, 8)).astype(np.uint8)
    new_set(root / "canaries", images=images)
    traffic = []
    original = link.Link.send

    def watched(self, method, path, ledger, kind, body=b""):
        traffic.append(path.encode() + body)
        return original(self, method, path, ledger, kind, body)

    monkeypatch.setattr(link.Link, "send", watched)
    for seed, method in enumerate(METHODS):
        config = tiny(dataset="canaries", method=method, options=SMALL.get(method, {}), seed=seed)
        before = set(server.albums())
        record = runs.run(config, root, None, "cpu", None, stub.Remote(server.link()))
        (album,) = set(server.albums()) - before
        pools = runs.resolve(config, root).pools()
        there = b"".join(traffic) + b"".join(path.read_bytes() for path in album.rglob("*") if path.is_file())
        labelled = [*pools.labelled, *(index for entry in record["cycles"] for index in entry["picked"])]
        assert all(images[index].tobytes() in there for index in labelled)
        assert not any(images[index].tobytes()[:16] in there for index in pools.protected)
        assert b"canaries" not in there
        traffic.clear()


@pytest.fixture
def session(server, tiny, root):
    protocol = runs.resolve(tiny(method="random"), root)
    return runs.Session(protocol, runs.CPU, stub.Remote(server.link()))


def test_the_door_refuses_by_index_and_by_content(session):
    images, pools = session.protocol.dataset.train.images, session.client.pools
    held = set(session.cloud._held)
    for index, picture in ((pools.protected[0], pools.protected[0]), (pools.safe[0], pools.protected[0])):
        for labels in (None, np.array([0])):
            with pytest.raises(ProtectedDataError, match="about to be uploaded"):
                session.cloud.upload(np.array([index]), images[[picture]], labels)
    assert session.cloud._held == held
    session.cloud.upload(pools.safe[:1], images[pools.safe[:1]], np.array([0]))
    assert len(session.cloud._held) == len(held) + 1


def test_ids_tell_nothing_of_places(session, server):
    ids = [*session.cloud._ids.values()]
    assert len({*ids}) == 8
    assert sorted(ids) not in (ids, ids[::-1])
    other = runs.Session(session.protocol, runs.CPU, stub.Remote(server.link()))
    assert session.cloud._ids.keys() == other.cloud._ids.keys()
    assert not {*ids} & {*other.cloud._ids.values()}


@pytest.mark.parametrize("url", ["ftp://here", "http://example.org:8443", "8443", ""])
def test_pictures_cross_encrypted_or_not_at_all(url, monkeypatch):
    monkeypatch.setenv("PSLCORE_TOKEN", "some")
    with pytest.raises(ValueError, match="write https://host:port"):
        link.Link.of(url)


def test_a_certificate_that_is_not_the_servers_is_not_trusted(server, tmp_path):
    with pytest.raises(OSError, match="is not trusted here"):
        link.Link(server.url, server.tokens["ada"]).send("GET", "/health", Ledger(), "state")


# The log


@pytest.fixture
def copy(both, tmp_path):
    album = both["psl"][2]
    (tmp_path / "album" / "payloads").mkdir(parents=True)
    for path in album.rglob("*"):
        if path.is_file():
            (tmp_path / "album" / path.relative_to(album)).write_bytes(path.read_bytes())
    return tmp_path / "album"


def test_a_changed_byte_is_named(copy):
    file = copy / "log.jsonl"
    whole = file.read_bytes()
    for at in range(7, len(whole) - 1, 97):
        changed = bytearray(whole)
        changed[at] ^= 1
        file.write_bytes(changed)
        number = whole[:at].count(b"\n") + 1
        with pytest.raises(DamagedLog, match=f"line {number}: its seal"):
            replay.opened(copy)
    file.write_bytes(whole)
    payload = min((copy / "payloads").iterdir())
    content = bytearray(payload.read_bytes())
    content[-1] ^= 1
    payload.write_bytes(content)
    for use in (lambda: replay.audit(copy), lambda: list(replay.replay(copy, "cpu"))):
        with pytest.raises(DamagedLog, match=payload.stem):
            use()


def test_lines_that_are_missing_are_noticed(copy):
    file = copy / "log.jsonl"
    lines, head = file.read_bytes().splitlines(keepends=True), replay.opened(copy).head
    file.write_bytes(b"".join(lines[:3] + lines[4:]))
    with pytest.raises(DamagedLog, match="line 4"):
        replay.opened(copy)
    file.write_bytes(b"".join(lines[:-2]))
    with pytest.raises(DamagedLog, match="lines are missing"):
        replay.audit(copy, head)
    file.write_bytes(b"".join(lines) + lines[0][:20])  # the power went in the middle of a line
    assert replay.opened(copy).head == head


def test_what_is_forgotten_cannot_be_trained_and_the_chain_stays(copy):
    assert Log(copy).forget() > 3
    assert not list((copy / "payloads").iterdir())
    assert "was forgotten at" in replay.audit(copy)
    with pytest.raises(DamagedLog, match="is not there"):
        list(replay.replay(copy, "cpu"))


# Faults

CLIENT = """
import sys
from pathlib import Path
from types import SimpleNamespace
from pslcore import runs
from psllab.remote import link, stub
config, root, folder, way = eval(sys.argv[1])
runs.run(runs.Config.of(config), root, folder, "cpu", None, stub.Remote(link.Link(*way), Path(folder)))
"""


@pytest.mark.slow
def test_server_and_client_are_killed_and_the_record_is_the_same(own_server, tiny, root, tmp_path):
    """At moments drawn at random; each comes back as a process that was killed does, from what it kept."""
    config = tiny(method="psl", recipe={"epochs": 40})
    expected = said(runs.run(config, root, device="cpu"))
    own_server.begin().ready()
    folder, way, rng = tmp_path / "runs", own_server.link(), np.random.default_rng(3)
    given = repr((config.settings(), str(root), str(folder), (way.url, way.token, way.certificate)))

    def begin():
        return subprocess.Popen([sys.executable, "-c", CLIENT, given])

    client = begin()
    for victim in ("server", "client", "server"):
        seen, wanted = 0, rng.integers(1, 6)  # so many lines later
        lines = sum(len(path.read_bytes().splitlines()) for path in own_server.store.rglob("log.jsonl"))
        while client.poll() is None and seen < wanted:
            now = sum(len(path.read_bytes().splitlines()) for path in own_server.store.rglob("log.jsonl"))
            seen = now - lines
            time.sleep(0.02)
        if victim == "server":
            own_server.end(signal.SIGKILL)
            own_server.begin()
        elif client.poll() is None:
            client.kill()
            client.wait()
            client = begin()
    assert client.wait(120) == 0
    assert said(grid.read(folder / f"{config.key}.json")) == expected
    (album,) = own_server.albums()
    names = [line["id"] for line in Log(album).of("labelled", "test")]
    assert len(names) == len({*names})  # nothing was uploaded twice
    assert own_server.faults() == []
    assert [same for _, same in replay.replay(album, "cpu")] == [True] * 3


@pytest.mark.parametrize("method", ["psl", "badge", "ll4al"])
def test_messages_and_replies_are_lost(server, tiny, root, monkeypatch, method):
    """Every third on its way up, every third on its way down: nothing is missing, and nothing is there twice."""
    rng, original, lost = np.random.default_rng(1), httpx.Client.request, []

    def leaky(self, *given, **more):
        up, down = rng.random(2) < 1 / 3
        if up:
            raise httpx.ConnectError("lost")
        reply = original(self, *given, **more)
        if down:
            lost.append(given)
            raise httpx.ReadError("lost")
        return reply

    monkeypatch.setattr(httpx.Client, "request", leaky)
    monkeypatch.setattr(link, "_LONGEST", 0.01)
    monkeypatch.setattr(link.time, "sleep", lambda seconds: None)
    config, before = tiny(method=method, seed=3), set(server.albums())
    there = runs.run(config, root, None, "cpu", None, stub.Remote(server.link()))
    assert said(there) == said(runs.run(config, root, None, "cpu"))
    (album,) = set(server.albums()) - before
    names = [line["id"] for line in Log(album).of("open", "labelled", "test", "plan", "order", "unlabelled")]
    assert len(lost) > 3
    assert len(names) == len({*names})


def test_a_server_that_is_away_is_waited_for(own_server, tiny, root, capfd):
    threading.Timer(1.0, own_server.begin).start()
    config = tiny(method="random")
    there = runs.run(config, root, None, "cpu", None, stub.Remote(own_server.link()))
    assert said(there) == said(runs.run(config, root, None, "cpu"))
    told = capfd.readouterr().err
    assert "does not answer (ConnectError" in told
    assert [f"trying again in {pause} s" in told for pause in ("0.5", "1")] == [True, True]

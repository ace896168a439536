"""A hostile client is refused in a sentence, without a fault of the server's, and the others' work goes on."""

import asyncio
import json
import socket
import ssl
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pslcore import runs
from psllab.remote import messages, service, stub
from psllab.remote import server as server_module
from psllab.remote.album import Album
from psllab.remote.log import Log
from psllab.remote.messages import Opening, Order, Pictures, Refused

ALBUM, NONE = "a" * 32, "0" * 64


@pytest.fixture(scope="module")
def opening(tiny, root):
    config = tiny(method="random", recipe={"zoom": 1.2})
    return Opening(
        protocol=messages.PROTOCOL, code=messages.code(config.teacher, ""), teacher=config.teacher, classes=4,
        channels=3, recipe=config.recipe.model_dump(),
    )  # fmt: skip


def pictures(n=4, size=8, channels=3):
    return np.arange(n * channels * size * size, dtype=np.uint8).reshape(n, channels, size, size)


def labelled(ids=(1, 2, 3, 4), labels=(0, 1, 2, 3), **changes):
    ids, labels = np.array(ids, dtype=np.int64), np.array(labels, dtype=np.int64)
    return {"ids": ids, "images": pictures(len(ids)), "labels": labels} | changes


def plan(**changes):
    zeros = np.zeros((1, 4), dtype=np.int16)
    zoom = {"zoom": np.ones((1, 4), np.float32), "shift": np.zeros((1, 2, 4), np.float32)}
    whole = {"ids": np.array([[1, 2, 3, 4]]), "top": zeros, "left": zeros, "mirrored": zeros > 0}
    return whole | zoom | changes


@pytest.fixture
def album(opening, tmp_path):
    """An album, as the server has it, that takes what is packed."""
    there = Album(tmp_path)

    def send(message, **arrays):
        body = messages.pack(message, arrays)
        return there.receive(messages.name_of(body), body)

    send(opening)
    send(Pictures(kind="labelled"), **labelled())
    return SimpleNamespace(send=send, album=there, log=there.log)


LABELLED, PLAN = Pictures(kind="labelled"), Pictures(kind="plan")
NAN = np.full((1, 4), np.nan, np.float32)
ORDER = Order(plans=[NONE], weights_stream=0, auxiliary_stream=0, steps=1, taught=False)
BAD = {
    "a label that is no class": (LABELLED, labelled(ids=[9], labels=[4]), "the label 4"),
    "a negative label": (LABELLED, labelled(ids=[9], labels=[-1]), "the label -1"),
    "a picture twice": (LABELLED, labelled(ids=[9, 9], labels=[0, 1]), "named twice"),
    "a picture that has a label": (LABELLED, labelled(ids=[1], labels=[1]), "with a label before"),
    "a negative id": (LABELLED, labelled(ids=[-1], labels=[1]), "negative"),
    "another size": (LABELLED, labelled(ids=[9], labels=[1], images=pictures(1, 9)), "pictures of 3 x 9 x 9"),
    "other channels": (LABELLED, labelled(ids=[9], labels=[1], images=pictures(1, 8, 1)), "pictures of 1 x 8 x 8"),
    "floats": (LABELLED, labelled(ids=[9], labels=[1], images=pictures(1) / 1.0), "float64, 4-D"),
    "different lengths": (LABELLED, labelled(ids=[9], labels=[1], images=pictures(2)), "different lengths"),
    "nothing": (LABELLED, labelled(ids=[], labels=[]), "empty"),
    "labels of pixels": (LABELLED, labelled(ids=[9], labels=np.zeros((1, 8, 8))), "one a picture"),
    "more arrays": (LABELLED, labelled(names=np.zeros(4)), "names"),
    "an unknown picture": (PLAN, plan(ids=np.array([[1, 2, 3, 7]])), "1 pictures that were not received"),
    "a crop far off": (PLAN, plan(left=np.full((1, 4), 99, np.int16)), "beyond the border"),
    "a negative crop": (PLAN, plan(top=np.full((1, 4), -1, np.int16)), "beyond the border"),
    "a zoom too far": (PLAN, plan(zoom=np.full((1, 4), 9, np.float32)), "whose zoom"),
    "NaN": (PLAN, plan(zoom=NAN), "NaN or infinity"),
    "a ragged plan": (PLAN, plan(top=np.zeros((1, 3), np.int16)), "of different lengths"),
    "a plan that is not there": (ORDER, {}, "which was not received"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused_and_nothing_is_kept(album, name):
    message, arrays, told = BAD[name]
    before = list(album.log.lines)
    with pytest.raises(Refused, match=told):
        album.send(message, **arrays)
    assert album.log.lines == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"protocol": 99}, "protocol 99"),
        ({"code": "other"}, "install the same version"),
        ({"teacher": "mine.py:Net"}, "a server runs no other code"),
        ({"teacher": "timm:resnet10t"}, "a server runs no other code"),
        ({"method": "mine.py"}, "a server runs no other code"),
        ({"recipe": {"epochs": 10**9}}, "epochs"),
        ({"recipe": {"precision": "auto"}}, "precision 'auto'"),
    ],
)
def test_an_opening_that_does_not_fit_is_refused(opening, tmp_path, changes, told):
    body = messages.pack(opening.model_copy(update=changes), {})
    with pytest.raises(ValueError, match=told):
        Album(tmp_path).receive(messages.name_of(body), body)
    assert not list(tmp_path.iterdir())


def test_no_bytes_make_anything_but_a_refusal(opening):
    """Every prefix, and every byte changed, of a message."""
    body = messages.pack(LABELLED, labelled())
    rng = np.random.default_rng(0)
    broken = [body[:at] for at in range(0, len(body), 11)] + [
        b"",
        b"\xff" * 100,
        struct.pack("<Q", 1 << 60),
        b"\x80\x04.",
    ]
    for at in rng.integers(0, len(body) - 800, 300):
        changed = bytearray(body)
        changed[at] ^= 1 << rng.integers(0, 8)
        broken.append(bytes(changed))
    for each in broken:
        with suppress(Refused):  # a picture's bytes may be any
            messages.unpack(each)
    nested = b'{"__metadata__":{"message":"' + b"[" * 100_000 + b'"}}'
    with pytest.raises(Refused):
        messages.unpack(struct.pack("<Q", len(nested)) + nested)


def test_a_message_that_comes_twice_is_one(album):
    before = len(album.log.lines)
    assert not album.send(LABELLED, **labelled())
    assert len(album.log.lines) == before


def test_a_full_disk_is_told_before_anything_is_lost(album, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    before = list(album.log.lines)
    with pytest.raises(OSError, match="the disk of the server is full"):
        album.send(LABELLED, **labelled(ids=[9], labels=[1]))
    assert (album.log.lines, Log(album.log.folder).lines) == (before, before)


# Over the wire


@pytest.fixture(scope="module")
def ada(server, tiny, root):
    """A client whose album holds something, and a way to say anything in her name or another's."""
    link = server.link("ada")
    session = runs.Session(runs.resolve(tiny(method="random"), root), runs.CPU, stub.Remote(link))
    context = ssl.create_default_context(cafile=server.certificate)
    with httpx.Client(base_url=server.url, verify=context, trust_env=False, timeout=60) as client:

        def say(method, path, name="ada", token=None, **given):
            head = {"authorization": f"Bearer {server.tokens[name] if token is None else token}".encode()}
            return client.request(method, path, headers=head, **given)

        yield SimpleNamespace(say=say, album=session.cloud._album, session=session)


def test_who_has_no_token_gets_nothing(ada):
    for token in ("wrong", "x" * 5000, "é"):
        for method, path in (
            ("GET", f"/albums/{ada.album}"),
            ("PUT", f"/albums/{ada.album}/messages/{NONE}"),
            ("GET", "/metrics"),
        ):
            reply = ada.say(method, path, token=token)
            assert reply.status_code == 401
            assert "no token" in reply.json()["error"]
    assert ada.say("GET", "/health", token="wrong").json()["status"] == "ok"


def test_anothers_album_is_not_there(ada):
    assert ada.say("GET", f"/albums/{ada.album}").status_code == 200
    for method, path in (
        ("GET", ""), ("GET", f"/orders/{NONE}/epochs/0"), ("DELETE", "/payloads"), ("POST", "/unlabelled/drop")
    ):  # fmt: skip
        reply = ada.say(method, f"/albums/{ada.album}{path}", name="bob")
        assert (reply.status_code, "you have no album" in reply.json()["error"]) == (404, True)
    assert len(ada.say("GET", f"/albums/{ada.album}").json()["held"]) == 2


def test_bodies_are_bounded(ada, server):
    path = f"/albums/{ALBUM}/messages/{NONE}"
    reply = ada.say("PUT", path, content=iter([bytes(1 << 20)] * 80))
    assert (reply.status_code, "more than 64 MiB" in reply.json()["error"]) == (413, True)
    context = ssl.create_default_context(cafile=server.certificate)
    with (
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wire,
    ):
        head = [f"PUT {path} HTTP/1.1", "host: x", f"authorization: Bearer {server.tokens['bob']}"]
        wire.sendall("\r\n".join([*head, f"content-length: {10 << 30}", "", ""]).encode())
        assert b" 413 " in wire.recv(1000)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/albums/{album}/messages/" + NONE, b"hello"),
        ("PUT", "/albums/{album}/messages/..%2f..%2fclients.json", b"hello"),
        ("PUT", "/albums/../messages/" + NONE, b""),
        ("GET", "/albums/{album}/orders/" + NONE + "/epochs/0", b""),
        ("GET", "/albums/{album}/orders/" + NONE + "/epochs/-1", b""),
        ("GET", "/albums/{album}/orders/" + NONE + "/weights", b""),
        ("POST", "/albums/{album}/orders/" + NONE + "/answers", b'{"what": ["logits"], "labelled": [1]}'),
        ("POST", "/albums/{album}/orders/" + NONE + "/answers", b'{"what": ["everything"]}'),
        ("POST", "/albums/{album}/orders/" + NONE + "/answers", b"["),
        ("POST", "/albums/{album}/orders/" + NONE + "/exam", b'{"test": ["../../etc/passwd"]}'),
        ("POST", "/albums/{album}/orders/" + NONE + "/exam", b"\xff\xfe"),
        ("PATCH", "/albums/{album}", b""),
        ("GET", "/etc/passwd", b""),
    ],
)  # fmt: skip
def test_whatever_is_said_is_answered_by_a_sentence(ada, server, method, path, body):
    reply = ada.say(method, path.format(album=ada.album), content=body)
    assert 400 <= reply.status_code < 500
    assert 10 < len(reply.json()["error"]) < 600
    assert str(server.store) not in reply.text
    assert server.faults() == []


NAMES = st.sampled_from([ALBUM, NONE, NONE[:32], "0", "-1", "1" * 30, "%00", "..%2f..", "é", "%ff", "x" * 5000])
BODIES = st.binary(max_size=100) | st.sampled_from([b"{}", b'{"what": ["logits"], "labelled": [1]}', b"9" * 5000])


@settings(max_examples=80)
@given(data=st.data())
def test_any_request_is_answered_as_the_description_says(ada, server, data):
    """With or without a token, whatever stands in the path and the body: a status that is described, and a sentence."""
    described = ada.say("GET", "/openapi.json").json()["paths"]
    path = data.draw(st.sampled_from([path for path in described if path != "/metrics"]))
    method = data.draw(st.sampled_from(["get", "put", "post", "delete", "patch", "trace"]))
    names = {name: data.draw(NAMES) for name in ("name", "message", "order", "epoch")}
    token = data.draw(st.sampled_from([None, "wrong"]))
    reply = ada.say(method.upper(), path.format(**names), "bob", token, content=data.draw(BODIES))
    if (status := reply.status_code) == 405:
        assert {*reply.headers["allow"].lower().split(", ")} <= {*described[path]}
    elif reply.json() != {"error": "Not Found: see /openapi.json.", "kind": ""}:  # a slash in a name is another path
        content = described[path][method]["responses"][str(status)].get("content", {})
        assert reply.headers["content-type"] in content
    assert status < 400 or 10 < len(reply.json()["error"]) < 600
    assert server.faults() == []


def test_a_body_that_comes_slowly_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "_BODY", 0.2)
    head = {"authorization": f"Bearer {service.admit(tmp_path, 'ada')}"}

    async def drops():
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    async def put():
        way = httpx.ASGITransport(server_module.application(tmp_path, "cpu"))
        async with httpx.AsyncClient(transport=way, base_url="http://here") as client:
            return await client.put(f"/albums/{ALBUM}/messages/{NONE}", headers=head, content=drops())

    reply = asyncio.run(put())
    assert (reply.status_code, "did not come within" in reply.json()["error"]) == (408, True)


def test_floods_hurt_nobody_else(ada, server, tiny, root):
    """300 lines of one client that hang in the head or in the body, and 200 requests at once, while another trains."""
    context, config, lines = ssl.create_default_context(cafile=server.certificate), tiny(method="psl", seed=8), []
    head = f"PUT /albums/{ALBUM}/messages/{NONE} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.tokens['bob']}"
    with ExitStack() as kept, ThreadPoolExecutor(20) as pool:
        for number in range(300):
            plain = kept.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            lines.append(kept.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1")))
            lines[-1].sendall((head + "\r\ncontent-length: 1000\r\n\r\nx" * (number % 2)).encode())
        asked = [pool.submit(ada.say, "GET", f"/albums/{ALBUM[:31]}b", "ada", "wrong") for _ in range(200)]
        assert runs.run(config, root, None, "cpu", None, stub.Remote(server.link()))["cycles"]
        assert {each.result().status_code for each in asked} == {401}
    assert server.faults() == []


def test_an_order_that_cannot_be_trained_is_told_and_hurts_nobody(ada, server, opening, tiny, root):
    """A learning rate that diverges, questions about nothing, weights of another network."""

    def put(message, **arrays):
        body = messages.pack(message, arrays)
        name = messages.name_of(body)
        reply = ada.say("PUT", f"/albums/{ALBUM}/messages/{name}", name="bob", content=body)
        assert reply.status_code in (200, 201), reply.text
        return name

    put(opening)
    put(LABELLED, **labelled())
    order = ORDER.model_copy(update={"plans": [put(PLAN, **plan())], "steps": 1})
    strange = put(order, **{"0.weight": np.zeros((3, 3), np.float32)})
    reply = ada.say("GET", f"/albums/{ALBUM}/orders/{strange}/epochs/0", name="bob")
    assert (reply.status_code, "cannot be trained" in reply.json()["error"]) == (422, True)
    fine = put(order)
    assert ada.say("GET", f"/albums/{ALBUM}/orders/{fine}/epochs/0", name="bob").status_code == 200
    for question, told in (
        ({"what": ["logits"], "labelled": [77]}, "the picture 77 was not received"),
        ({"what": ["auxiliary"], "labelled": [1]}, "cannot answer with 'auxiliary'"),
        ({"what": ["logits"], "unlabelled": [[NONE]]}, "is not there"),
        ({"what": ["logits"], "unlabelled": []}, ""),
        ({"what": ["logits"], "unlabelled": [[]]}, ""),
        ({"what": ["logits"]}, "ask about one"),
    ):
        reply = ada.say("POST", f"/albums/{ALBUM}/orders/{fine}/answers", name="bob", content=json.dumps(question))
        assert 400 <= reply.status_code < 500, question
        assert told in reply.json()["error"]
    for test in ([fine], [NONE]):
        reply = ada.say("POST", f"/albums/{ALBUM}/orders/{fine}/exam", name="bob", content=json.dumps({"test": test}))
        assert 400 <= reply.status_code < 500
    assert server.faults() == []
    config = tiny(method="random", seed=7)
    assert runs.run(config, root, None, "cpu", None, stub.Remote(server.link()))["cycles"]


def test_a_client_forgets_her_own_album_while_the_server_runs(ada, server):
    reply = ada.say("DELETE", f"/albums/{ada.album}/payloads")
    assert reply.json() == {"forgotten": 2}
    assert ada.say("GET", f"/albums/{ada.album}").json()["held"] == []
    with pytest.raises(ValueError, match="a server is at work in"):
        service.forget(server.store, "ada")


def test_the_pages_say_how_it_is(ada):
    told = ada.say("GET", "/metrics").text
    assert 'pslcore_received_bytes_total{kind="labelled"}' in told
    assert "pslcore_trainings" in told
    paths = ada.say("GET", "/openapi.json").json()["paths"]
    assert "/albums/{name}/orders/{order}/answers" in paths
    assert ada.say("GET", "/docs").status_code == 404  # it would load scripts from elsewhere


# The process


def test_a_server_that_would_not_be_safe_does_not_begin(tmp_path):
    with pytest.raises(ValueError, match="pictures would cross in the clear"):
        service.serve(tmp_path, "0.0.0.0", 1, None, None, "cpu")
    with pytest.raises(ValueError, match="nobody may come"):
        service.serve(tmp_path, "127.0.0.1", 1, None, None, "cpu")
    token = service.admit(tmp_path, "ada")
    assert token not in (tmp_path / "clients.json").read_text()
    with pytest.raises(ValueError, match="is no file"):
        service.serve(tmp_path, "127.0.0.1", 1, "cert.pem", "key.pem", "cpu")
    for name in ("../x", "", "a b"):
        with pytest.raises(ValueError, match="letters and digits"):
            service.admit(tmp_path, name)
    with pytest.raises(ValueError, match="has no albums"):
        service.forget(tmp_path, "ada")

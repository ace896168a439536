"""An album against a server: what is asked and learned is what it is without one, round by round."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
import torch
import wire

from psllab.album import Album
from psllab.remote import replay, stub
from psllab.remote.log import Log

LEARNING = {"size": 8, "recipe": {"epochs": 1, "batch_size": 8, "lr": 0.05, "padding": 1}}


def test_rounds_are_those_of_an_album_alone(server, folder, tmp_path, labelled, monkeypatch):
    monkeypatch.setenv("PSLCORE_TOKEN", server.tokens["bob"])
    monkeypatch.setenv("PSLCORE_CERTIFICATE", str(server.certificate))
    given = {"classes": ("red", "green", "blue"), "learning": LEARNING, "protect": ["2-29.png", "1-28.png"]}
    found, before = {}, set(server.albums("bob"))
    for name, cloud in (("alone", ""), ("two", server.url)):
        picked = []
        for correct in (False, True, False):  # opened anew for each round, as the command line does
            with Album(folder, out=tmp_path / name, cloud=cloud, warn=False, new=True, **given) as album:
                pictures = labelled(album, 6)
                if correct:
                    album.answer(pictures[0], "blue", by="another")
                album.train()
                picked.append([picture.path for picture in pictures])
                weights = album._checkpoints.weights(album._state.rounds)
                crossed = {row: n for row, n in album.ledger()["crossed"].items() if not row.startswith("wire")}
        found[name] = picked, {name: tensor.tolist() for name, tensor in weights.items()}, crossed
    assert found["alone"] == found["two"]
    (there,) = set(server.albums("bob")) - before
    log = Log(there)
    sent = sum(line["items"] for line in log.of("labelled"))
    assert sent <= 18  # none twice
    assert [same for _, same in replay.replay(there, "cpu")] == [True] * 3
    images = b"".join(path.read_bytes() for path in there.rglob("*.safetensors"))
    assert images
    assert b"28.png" not in images


@pytest.mark.parametrize("sent", [{}, {"conv.weight": torch.zeros(3, 3)}, {"x": torch.zeros(1)}])
def test_weights_of_another_network_are_not_kept(server, folder, tmp_path, labelled, monkeypatch, sent):
    monkeypatch.setenv("PSLCORE_TOKEN", server.tokens["bob"])
    monkeypatch.setenv("PSLCORE_CERTIFICATE", str(server.certificate))
    given = {"classes": ("red", "green", "blue"), "learning": LEARNING, "cloud": server.url, "warn": False}
    with Album(folder, out=tmp_path / "out", **given) as album:
        labelled(album, 6)
        with monkeypatch.context() as patch:
            patch.setattr(stub.RemoteCloud, "weights", lambda _: sent)
            with pytest.raises(ValueError, match="what came down are no weights of resnet8: nothing was learned"):
                album.train()
        assert album.report().rounds == 0
        assert album.train().rounds == 1


def test_without_a_token_the_album_says_so(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("PSLCORE_TOKEN", raising=False)
    with pytest.raises(ValueError, match="no token for https"):
        Album(folder, classes=("a", "b"), out=tmp_path / "out", cloud="https://127.0.0.1:1")


def label(link, by, rounds=2):
    """What a browser does on the page of an album: answer what it shows, train, and answer again; the notes."""
    url, _, token = link.partition("#")
    notes = []
    with httpx.Client(
        base_url=url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60
    ) as client:

        def turn(key="", shown=""):
            for _ in range(3000):
                with suppress(httpx.TransportError):  # it does not listen yet
                    told = client.post("/turn", json={"seat": by, "by": by, "key": key, "shown": shown}).json()
                    if not told["busy"]:
                        return told
                    key = ""
                time.sleep(0.1)

        for _ in range(rounds):
            told = turn()
            while told["picture"]:
                assert client.get(f"/picture/{told['picture']}", params={"seat": by}).status_code == 200
                told = turn(told["buttons"][int(told["name"][0])]["key"], told["picture"])
                assert told["told"]
            notes.append(turn("train")["note"])
    return notes


@pytest.mark.slow
def test_two_pages_label_two_albums_on_one_server_at_once(server, tmp_path, painted):
    """Each on a machine of its own, as ``pslcore label`` serves it; each ends as it does without a server."""
    pages, links, before = {}, {}, {name: set(server.albums(name)) for name in ("ada", "bob")}
    for number, name in enumerate(before):
        here = tmp_path / name
        for place in range(18):
            painted(here / "photos" / f"{place % 2}-{place}.png", place % 2, 20 * number + place)
        rules = {"classes": ("a", "b"), "protect": {"patterns": ["*-1?.png"]}, "learning": LEARNING}
        Album(here / "photos", out=here / "out", warn=False, **rules).close()
        own = {"PSLCORE_TOKEN": server.tokens[name], "PSLCORE_CERTIFICATE": str(server.certificate)}
        words = here / "photos", "--out", here / "out", "--budget", "4", "--cloud", server.url
        pages[name] = wire.page(*words, **own, HOME=str(here), XDG_DATA_HOME=str(here))
    try:
        for name, page in pages.items():
            links[name] = wire.link_of(page)
        with ThreadPoolExecutor() as pool:
            told = dict(zip(links, pool.map(label, links.values(), links), strict=True))
    finally:
        for page in pages.values():
            page.terminate()
            page.wait()
    assert all("ccuracy" in note for notes in told.values() for note in notes)
    for name in pages:
        (there,) = set(server.albums(name)) - before[name]
        assert [same for _, same in replay.replay(there, "cpu")] == [True] * 2
        with Album(tmp_path / name / "photos", out=tmp_path / name / "out", warn=False) as album:
            assert len(album.labels()) == 8
            assert not any(re.fullmatch(r"\d-1\d.png", path) for path in album.labels())
            assert album.report().people == {name: 8}
    assert server.faults() == []

"""An album against a server: what is asked and learned is what it is without one, round by round."""

import pytest

from psllab.album import Album
from psllab.remote import replay
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


def test_without_a_token_the_album_says_so(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("PSLCORE_TOKEN", raising=False)
    with pytest.raises(ValueError, match="no token for https"):
        Album(folder, classes=("a", "b"), out=tmp_path / "out", cloud="https://127.0.0.1:1")

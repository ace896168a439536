"""The page on which several people label: whose turn a picture is, what is refused, what is on the disk."""

import sys

import pytest

pytest.importorskip("starlette", reason="starlette is not installed: pip install '.[cloud]'")
from starlette.testclient import TestClient

from psllab import cli
from psllab.album import Album
from psllab.desk import page


@pytest.fixture
def table(opened):
    """``table(n, ...)``: people at an album with a round open."""

    def sit(n=4, **options):
        made = page.Table(opened(**options), n)
        made.job.wait()
        return made

    return sit


def browser(table, token="right", **head):
    client = TestClient(page.application(table, "right"), base_url="http://127.0.0.1:8443")
    client.headers |= {"authorization": f"Bearer {token}"} | head
    return client


def test_a_picture_is_one_persons_until_it_is_answered_or_let_go(table, monkeypatch):
    here = table(3)
    shown = {seat: here.turn(seat, seat)["picture"] for seat in "abcd"}
    assert len({shown[seat] for seat in "abc"}) == 3
    assert shown["d"] is None
    assert here.turn("a", "a")["picture"] == shown["a"]  # the page loaded again
    stranger = here.turn("d", "d", "1", shown["a"])
    assert stranger["bad"]
    assert not here.album.labels()
    monkeypatch.setattr(page, "HOLD", -1.0)
    here.turn("a", "a")
    monkeypatch.undo()
    assert here.turn("d", "d")["picture"] == shown["a"]  # after a while
    late = here.turn("a", "a", "1", shown["a"])
    assert late["bad"]
    assert "somebody else" in late["told"].lower()
    assert not here.album.labels()
    here.turn("d", "d", "1", shown["a"])
    assert here.turn("d", "d", "1", shown["a"])["bad"]  # a second key for the same showing
    assert here.album.report().people == {"d": 1}


def test_each_takes_back_what_they_said_themselves(table):
    here = table(4)
    first, second = (here.turn(seat, seat)["picture"] for seat in "ab")
    here.turn("a", "ada", "1", first)
    here.turn("b", "bob", "2", second)
    back = here.turn("a", "ada", "u")
    assert back["picture"] == first
    assert here.album.report().people == {"bob": 1}
    assert here.turn("c", "cyd", "u")["bad"]
    here.turn("a", "ada", "s", first)
    assert here.album.report().skipped == 1


def test_a_round_that_is_answered_is_learned_from_and_the_next_is_asked(table, folder):
    here = table(12)
    assert here.turn("a", "ada", page.TRAIN)["bad"]
    while (now := here.turn("a", "ada"))["picture"]:
        label = here.album.classes[int(now["name"][0])]
        here.turn("a", "ada", next(one["key"] for one in now["buttons"] if one["label"] == label), now["picture"])
    assert now["ready"]
    assert now["mine"] == 12
    assert here.turn("a", "ada", page.TRAIN)["busy"] or here.job.result
    here.job.wait()
    later = here.turn("a", "ada")
    assert later["picture"]
    assert later["round"] == 12
    assert "accuracy" in later["note"].lower()


def test_a_round_of_skips_is_followed_by_another(table):
    here = table(2)
    for _ in range(2):
        here.turn("a", "ada", "s", here.turn("a", "ada")["picture"])
    here.job.wait()
    assert here.turn("a", "ada")["picture"]
    assert here.album.report().skipped == 2


def test_answers_are_on_the_disk_at_once(table, opened, tmp_path):
    here = table()
    here.turn("a", "ada", "1", here.turn("a", "ada")["picture"])
    kept = (tmp_path / "out" / "journal.jsonl").read_bytes()
    here.album.close()
    with Album(here.album.folder, out=tmp_path / "out") as again:
        assert len(again.labels()) == 1
        assert len(again.waiting) == 3
    assert (tmp_path / "out" / "journal.jsonl").read_bytes().startswith(kept)


def test_only_the_picture_whose_turn_it_is_is_shown(table, folder):
    here = table(2, protect={"patterns": ["0-*"]})
    client = browser(here)
    mine = client.post("/turn", json={"seat": "a"}).json()["picture"]
    assert client.get(f"/picture/{mine}?seat=a").headers["content-type"].startswith("image/")
    others = {picture.digest for picture in here.album._index.pictures} - {mine}
    assert len(others) == 29
    assert all(client.get(f"/picture/{digest}?seat=a").status_code == 404 for digest in others)
    assert client.get(f"/picture/{mine}?seat=b").status_code == 404
    (folder / next(p.path for p in here.album.waiting if p.digest == mine)).unlink()
    assert client.get(f"/picture/{mine}?seat=a").status_code == 404
    assert client.post("/turn", json={"seat": "a"}).json()["picture"] != mine  # nobody waits for it


@pytest.mark.parametrize("token", ["", "wrong", "right ", "rightright", "\xff"])
def test_without_the_token_nothing_is_told(table, token):
    client = browser(table(), "")
    client.headers.update({"authorization": f"Bearer {token}".encode("latin-1")})
    for reply in (client.post("/turn", json={"seat": "a"}), client.get("/picture/0?seat=a")):
        assert reply.status_code == 401
        assert set(reply.json()) == {"error"}
    assert "green" not in client.get("/").text


@pytest.mark.parametrize(
    "head", [{"host": "evil.example"}, {"host": "evil.example:8443"}, {"host": ""}, {"origin": "http://evil.example"},
             {"origin": "null"}, {"host": "["}, {"origin": "http://[evil"},
             {"origin": "https://127.0.0.1:8443"}, {"origin": "http://127.0.0.1:1"}],
)  # fmt: skip
def test_another_site_is_refused(table, head):
    client = browser(table(), **head)
    assert client.post("/turn", json={"seat": "a"}).status_code == 403


def test_without_the_extra_the_command_says_what_to_install(folder, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith(("psllab.remote", "psllab.desk.page"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    assert cli.main(["label", str(folder)]) == 2
    assert "install it with `pip install '.[cloud]'`" in capsys.readouterr().err


def test_a_message_longer_than_any_of_the_page_is_not_kept(table):
    reply = browser(table()).post("/turn", content=(b" " * 1000 for _ in range(5)))
    assert reply.status_code == 413


def test_nobody_answers_as_the_task_learner(table):
    here = table()
    told = here.turn("a", "Task Learner", "1", here.turn("a", "a")["picture"])
    assert told["bad"]
    assert "nobody is called" in told["told"]
    assert not here.album.labels()


@pytest.mark.parametrize("body", ["", "[]", "1", "{", '{"seat": {"a": 1}, "key": [1]}', "[" * 3_000, "\ud800"])
def test_a_malformed_message_is_refused_in_a_sentence(table, body):
    here = table()
    reply = browser(here).post("/turn", content=body.encode("utf-8", "surrogatepass"))
    assert reply.status_code in (200, 400)
    assert not here.album.labels()


def test_beyond_the_loopback_only_over_tls(folder, tmp_path):
    from psllab.cli import main

    assert main(["label", str(folder), "--classes", "a,b", "--out", str(tmp_path / "o"), "--host", "0.0.0.0"]) == 2

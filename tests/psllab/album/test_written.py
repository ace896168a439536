"""What was written before a picture became protected shows it no more."""

import json
import shutil

import pytest

from pslcore.__main__ import main
from pslcore.runs import records
from psllab.album import (  # fmt: skip
    ask_csv,
    ask_page,
    import_labels,
    labels_csv,
    refresh_written,
    studio_tasks,
    suggestions_csv,
    tree,
)

SECRET, COLOURS = "CANARY-0042", ("red", "green", "blue")

pytestmark = pytest.mark.filterwarnings("ignore::psllab.album.ProtectionWarning")


@pytest.fixture
def shown(opened, folder, painted, tmp_path):
    """An album that wrote everything it can, a picture named by a canary in all of it; and the place outside."""
    for number in range(3):
        painted(folder / "sub" / f"{number}-{SECRET}-{number}.png", number, 500 + number)
    album = opened()
    pictures = album.next(33)
    for picture in pictures[:20]:
        album.answer(picture, "red")
    album.train()
    write(album, pictures, tmp_path / "outside")
    write(album, pictures, album.home)
    assert {path for path in files(tmp_path) if SECRET in str(path) or SECRET.encode() in path.read_bytes()}
    return album, pictures, tmp_path / "outside"


def write(album, pictures, top):
    top.mkdir(exist_ok=True)
    ask_csv(album, pictures, top / "ask.csv")
    ask_page(album, pictures, top / "ask.html")
    labels_csv(album, top / "labels.csv")
    suggestions_csv(album, top / "suggestions.csv")
    studio_tasks(album, pictures, top / "studio")
    studio_tasks(album, pictures, top / "tasks.json")
    tree(album, top / "sorted")
    tree(album, top / "links", "link")


def files(top):
    return [path for path in top.rglob("*") if path.is_file() and "photos" not in path.relative_to(top).parts]


def traces(album, outside, marks):
    """Where a mark is found, in names or contents; journal, copies and cache are ours alone."""
    found = set()
    for path in files(album.home) + files(outside):
        ours = path.name in ("journal.jsonl", "copies.db", "lock") or "cache" in path.parts or path.suffix == ".pt"
        if not ours:
            payload = str(path.relative_to(album.home.parent)).encode() + path.read_bytes()
            found |= {path for mark in marks if mark.encode() in payload}
    return {path for path in found if not path.name.startswith("ranking")}


@pytest.mark.parametrize("route", ["rule", "renamed", "content"])
def test_nothing_written_shows_what_became_protected(shown, opened, folder, route):
    album, pictures, outside = shown
    secret = [picture for picture in pictures if SECRET in picture.path]
    marks = [SECRET, *(picture.digest for picture in secret)]
    assert traces(album, outside, marks)
    assert refresh_written(album) == []
    album.close()
    rules = {"folders": ["sub"]}
    if route == "renamed":
        shutil.move(folder / "sub", folder / "private")
        rules = {"folders": ["private"]}
    if route == "content":  # a copy, elsewhere, is what the rule names
        shutil.copytree(folder / "sub", folder / "private")
        rules = {"folders": ["private"]}
    album = opened(protect=rules)
    told = album.rewritten
    assert not traces(album, outside, marks)
    assert len(told) == 2 * 8 + 1  # the pictures of both tasks.json lie in two folders and one of the album's own
    assert any("Label Studio" in line for line in told)
    assert refresh_written(album) == []
    rest = [picture for picture in pictures if picture not in secret]
    for top in (album.home, outside):  # and the others stand as before
        assert (top / "ask.html").read_text().count("<figure>") == len(rest)
        assert "<b>30 pictures" in (top / "ask.html").read_text()
        assert len((top / "ask.csv").read_text().splitlines()) == len(rest) + 1
        assert len(json.loads((top / "studio" / "tasks.json").read_text())) == len(rest)
        assert len(list((top / "studio" / "pictures").iterdir())) == len(rest)
        answered = {path.name for path in (top / "sorted").rglob("*.png")}
        assert answered == {path.name for path in (top / "links").rglob("*.png")} == set(album.labels())


def test_what_is_gone_and_would_be_protected_goes_too(shown, opened, folder):
    album, pictures, outside = shown
    album.close()
    shutil.rmtree(folder / "sub")
    marks = [SECRET, *(picture.digest for picture in pictures if SECRET in picture.path)]
    album = opened()
    assert album.rewritten == []  # gone alone is no reason
    assert traces(album, outside, marks)
    album.close()
    album = opened(protect={"patterns": ["*canary*"]})
    assert not traces(album, outside, marks)


def test_what_a_person_typed_or_keeps_beside_stays(shown, opened, tmp_path):
    album, pictures, outside = shown
    rest = [picture for picture in pictures if SECRET not in picture.path]
    text = (outside / "ask.csv").read_text().replace(",,", ",blue,").replace(",", ";")
    (outside / "ask.csv").write_text(text)
    (outside / "sorted" / "notes.txt").write_text("mine")
    (outside / "labels.csv").write_bytes("nur für mich".encode("latin-1"))
    (outside / "suggestions.csv").write_text("what,else\n1,2\n")
    (outside / "ask.html").unlink()
    album.close()
    album = opened(protect={"folders": ["sub"]})
    told = refresh_written(album)
    assert any("labels.csv is not as it was written" in line for line in told)
    assert (outside / "labels.csv").read_bytes() == "nur für mich".encode("latin-1")
    assert (outside / "suggestions.csv").read_text() == "what,else\n1,2\n"
    assert (outside / "sorted" / "notes.txt").exists()
    assert not (outside / "ask.html").exists()
    assert import_labels(album, outside / "ask.csv").answers == len(rest)


def test_a_file_of_nothing_else_is_gone(opened, tmp_path):
    album = opened()
    pictures = album.next(2)
    write(album, pictures, tmp_path / "outside")
    album.close()
    album = opened(protect=[picture.path for picture in pictures])
    assert all("is gone" in line or "left" in line for line in refresh_written(album))
    kept = {path.name for path in files(tmp_path / "outside")}
    assert not traces(album, tmp_path / "outside", [picture.path for picture in pictures])
    assert kept <= {"labels.csv", "suggestions.csv", "interface.xml", ".made-by-pslcore-album"}


def test_both_commands_clean_before_anything_can_fail(opened, folder, tmp_path, capsys):
    out = tmp_path / "out"
    opened().close()
    assert main(["ask", str(folder), "--out", str(out), "--budget", "30", "--label-studio"]) == 0
    (tmp_path / "rules.yaml").write_text("patterns: ['0-0*']")
    capsys.readouterr()
    command = ["ask", str(folder), "--out", str(out), "--protect", str(tmp_path / "rules.yaml"), "--budget", "30"]
    assert main(command) == 0
    assert "may not be shown by now" in capsys.readouterr().out
    assert "0-0" not in (out / "ask.html").read_text()
    assert "0-0" not in (out / "label-studio" / "tasks.json").read_text()
    assert len(list((out / "label-studio" / "pictures").iterdir())) == 26
    (tmp_path / "rules.yaml").write_text("patterns: ['0-*', '1-*']")
    answers = "".join(f"2-{number:02},red\n" for number in range(2, 30, 3))
    (tmp_path / "answers.csv").write_text("file,label\n" + answers.replace(",", ".png,"))
    assert main(["tell", str(folder), str(tmp_path / "answers.csv"), "--out", str(out)]) == 0
    assert main(command) == 0
    assert "No picture is left" in capsys.readouterr().out
    assert "1-0" not in (out / "ask.html").read_text()


def test_what_a_killed_process_left_is_swept_and_a_strange_table_is_told(opened, folder, tmp_path):
    album, outside = opened(), tmp_path / "outside"
    pictures = album.next(10)
    for number, picture in enumerate(pictures):
        album.answer(picture, COLOURS[number % 3])
    outside.mkdir()
    ask_csv(album, pictures, outside / "ask.csv")
    tree(album, outside / "sorted")
    shutil.copytree(outside / "sorted", outside / ".sorted.new")
    left = outside / f".writing-{records._machine()}-999999999-x"
    left.write_text(pictures[0].path)
    head, rest = (outside / "ask.csv").read_text().split("\n", 1)
    (outside / "ask.csv").write_text(f"sep=,\n{head}\n{rest}")
    album = opened(protect=[pictures[0].path])
    assert not left.exists()
    assert not (outside / ".sorted.new").exists()
    assert any("ask.csv is not as it was written" in told for told in album.rewritten)


def test_a_tree_of_pictures_that_changed_is_not_made(opened, folder, tmp_path, painted):
    album = opened()
    for number, picture in enumerate(album.next(10)):
        album.answer(picture, COLOURS[number % 3])
    painted(folder / picture.path, 1, 999)
    with pytest.raises(ValueError, match=f"{picture.path} has changed"):
        tree(album, tmp_path / "sorted")
    assert not [path for path in tmp_path.iterdir() if "sorted" in path.name]

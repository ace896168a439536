"""CSV, the page, Label Studio, the tree, and the two commands."""

import csv
import json
import os
import shutil

import pytest
import yaml

from pslcore.__main__ import main
from psllab.album import ask_csv, ask_page, import_labels, labels_csv, suggestions_csv, tree


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def filled(path, labels):
    """A CSV with two columns."""
    path.write_text("file,label\n" + "".join(f"{name},{label}\n" for name, label in labels))
    return path


def test_labels_come_back_by_csv(opened, tmp_path):
    album = opened()
    pictures = album.next(10)
    ask_csv(album, pictures, tmp_path / "ask.csv")
    assert [row["file"] for row in rows(tmp_path / "ask.csv")] == [picture.path for picture in pictures]
    given = ["red", "green", "?", "-", "", *["blue"] * 5]
    path = filled(tmp_path / "labels.csv", zip((p.path for p in pictures), given, strict=True))
    taken = import_labels(album, path, by="Ada")
    assert (taken.answers, taken.skipped, taken.unsure, taken.empty) == (7, 1, 1, 1)
    events = len(album._journal.events)
    import_labels(album, path, by="Ada")  # once more
    assert len(album._journal.events) == events
    album.train()
    labels_csv(album, tmp_path / "labels.csv")
    suggestions_csv(album, tmp_path / "suggestions.csv")
    said = {row["file"]: row for row in rows(tmp_path / "labels.csv")}
    guessed = {row["file"]: row for row in rows(tmp_path / "suggestions.csv")}
    assert len(said) == 7
    assert {row["by"] for row in said.values()} == {"Ada"}
    assert len(said.keys() | guessed.keys()) == len(said) + len(guessed) == 30
    assert 0 < float(guessed[pictures[2].path]["confidence"]) <= 1


def test_guesses_are_never_taken_for_answers(opened, labelled, tmp_path):
    album = opened()
    labelled(album, 8)
    album.train()
    before = len(album._journal.events)
    suggestions_csv(album, tmp_path / "suggestions.csv")
    with pytest.raises(ValueError, match="holds suggestions"):
        import_labels(album, tmp_path / "suggestions.csv")
    with pytest.raises(ValueError, match="task learner itself"):
        import_labels(album, tmp_path / "suggestions.csv", by="Task learner")
    one, two, *_ = album.next(5)
    path = tmp_path / "mixed.csv"  # as files were that held both
    path.write_text(f"file,label,by,confidence\n{one.path},red,Ada,\n{two.path},red,task learner,0.5\n")
    taken = import_labels(album, path)
    assert (taken.answers, taken.guesses) == (1, 1)
    assert "1 by the task learner" in str(taken)
    assert two.path not in album.labels()
    labels_csv(album, tmp_path / "labels.csv")
    events = len(album._journal.events)
    assert import_labels(album, tmp_path / "labels.csv").answers == 9  # what we write, fed back
    assert len(album._journal.events) == events > before


def moved(folder, **moves):
    """Files renamed at one stroke."""
    held = {new: (folder / old).read_bytes() for old, new in moves.items()}
    for old in moves:
        (folder / old).unlink()
    for new, payload in held.items():
        (folder / new).write_bytes(payload)


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_goes_to_the_content_that_was_meant(opened, folder, tmp_path, late):
    album = opened()
    pictures = album.next(6)
    ask_csv(album, pictures, tmp_path / "ask.csv")
    one, two, three, *rest = pictures
    if not late:
        album.close()
    moved(folder, **{one.path: two.path, two.path: one.path, three.path: "elsewhere.png"})
    if not late:
        album = opened()
    true = {p.digest: ("red", "green", "blue")[int(p.path[0])] for p in pictures}
    table = [[row["file"], true[row["content"]], row["content"]] for row in rows(tmp_path / "ask.csv")]
    path = tmp_path / "filled.csv"
    path.write_text("file,label,content\n" + "".join(",".join(row) + "\n" for row in table))
    assert import_labels(album, path).answers == 6
    assert album.labels() == {
        one.path: true[two.digest], two.path: true[one.digest], "elsewhere.png": true[three.digest],
        **{picture.path: true[picture.digest] for picture in rest},
    }  # fmt: skip


def test_a_path_alone_must_mean_one_picture(opened, folder, painted, tmp_path):
    album = opened()
    one, two, three, four, *_ = album.next(6)
    album.close()
    moved(folder, **{one.path: two.path, two.path: one.path, three.path: "new name.png"})
    painted(folder / four.path, 0, 99)
    album = opened()
    for name in (one.path, two.path, four.path):
        with pytest.raises(ValueError, match=r"line 2: .* has changed or was renamed since .* `content`"):
            import_labels(album, filled(tmp_path / "labels.csv", [(name, "red")]))
    for name in (three.path, "new name.png"):
        assert import_labels(album, filled(tmp_path / "labels.csv", [(name, "blue")])).answers == 1
    assert album.labels() == {"new name.png": "blue"}


def test_what_is_gone_or_protected_since_is_left_out_and_told(opened, folder, painted, tmp_path):
    album = opened()
    pictures = album.next(6)
    ask_csv(album, pictures, tmp_path / "ask.csv")
    album.close()
    (folder / pictures[0].path).unlink()
    painted(folder / pictures[1].path, 0, 99)
    album = opened(protect=[pictures[2].path])
    table = [f"{p.path},red,{p.digest}" for p in pictures]
    (tmp_path / "filled.csv").write_text("\n".join(["file,label,content", *table]))
    taken = import_labels(album, tmp_path / "filled.csv")
    assert (taken.answers, taken.gone, taken.protected) == (3, 2, 1)
    assert "2 on pictures gone or changed" in str(taken)
    assert set(album.labels()) == {picture.path for picture in pictures[3:]}


def test_all_or_nothing_when_the_disk_is_full_or_the_process_killed(opened, tmp_path, monkeypatch):
    album = opened()
    pictures = album.next(6)
    path = filled(tmp_path / "labels.csv", [(picture.path, "red") for picture in pictures])
    journal = tmp_path / "out" / "journal.jsonl"
    before, write, room = journal.read_bytes(), os.write, [700]

    def full(handle, payload):
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = write(handle, bytes(payload[: room[0]]))
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="nothing was taken in"):
        import_labels(album, path)
    monkeypatch.undo()
    assert journal.read_bytes() == before
    assert album.labels() == {}
    import_labels(album, path)
    album.close()
    after = journal.read_bytes()
    for cut in range(len(before), len(after), 97):  # killed after any byte
        journal.write_bytes(after[:cut])
        album = opened()
        assert album.labels() == {}
        assert len(album.waiting) == 6
        album.close()
    journal.write_bytes(after)
    assert len(opened().labels()) == 6


def test_labels_that_were_typed_stay_when_the_round_is_asked_again(opened, tmp_path):
    album = opened()
    pictures = album.next(5)
    ask_csv(album, pictures, tmp_path / "ask.csv")
    text = (tmp_path / "ask.csv").read_text().replace(f"{pictures[1].path},", f"{pictures[1].path},blue")
    (tmp_path / "ask.csv").write_text(text)
    ask_csv(album, album.next(5), tmp_path / "ask.csv")
    assert [row["label"] for row in rows(tmp_path / "ask.csv")] == ["", "blue", "", "", ""]


def test_lines_are_counted_as_in_the_file(opened, folder, painted, tmp_path):
    painted(folder / "two\nlines.png", 0, 77)
    album = opened()
    one, *_ = album.next(31)
    text = f'file,label\r\n\r\n"two\nlines.png",red\r\n\n{one.path},red\n{one.path},purple\n'
    (tmp_path / "labels.csv").write_bytes(text.encode())
    with pytest.raises(ValueError, match=r"line 7: .* has two labels"):
        import_labels(album, tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_bytes(text.replace(f"{one.path},red\n", "\n").encode())
    with pytest.raises(ValueError, match="line 7: 'purple' is none"):
        import_labels(album, tmp_path / "labels.csv")


def test_names_that_a_spreadsheet_would_run(opened, folder, painted, tmp_path):
    evil = ["=1+1.png", "+1.png", "-1.png", "@x.png", "\tx.png", "\rx.png", "'=1.png", "''-.png", "'plain.png", "-"]
    names = [name if name.endswith(".png") else f"{name}/a.png" for name in evil]
    for number, name in enumerate(names):
        painted(folder / name, 0, 100 + number)
    album = opened(classes=["=red", "-blue"])
    pictures = album.next(40)
    ask_csv(album, pictures, tmp_path / "ask.csv")
    for row in rows(tmp_path / "ask.csv"):
        assert row["file"][0] not in "=+-@\t\r"
    (tmp_path / "ask.csv").write_bytes((tmp_path / "ask.csv").read_bytes().replace(b",,", b",-blue,"))
    assert import_labels(album, tmp_path / "ask.csv", by="=cmd").answers == 40
    labels_csv(album, tmp_path / "labels.csv")
    assert {row["by"] for row in rows(tmp_path / "labels.csv")} == {"'=cmd"}
    events = len(album._journal.events)
    assert import_labels(album, tmp_path / "labels.csv").answers == 40
    assert len(album._journal.events) == events
    plain = [name for name in names if "\r" not in name and not name.startswith(("'=", "''"))]
    filled(tmp_path / "by name.csv", [(f'"{name}"', "=red") for name in plain])
    assert import_labels(album, tmp_path / "by name.csv").answers == len(plain) > 5  # as a person would write them


def test_a_spreadsheet_may_write_it(opened, tmp_path):
    album = opened()
    one, two, *_ = album.next(5)
    text = f"\ufefffile;label;by\r\n{one.path};red;Bob\r\n\r\n{two.path}; blue ;\r\n"
    (tmp_path / "labels.csv").write_bytes(text.encode())
    assert import_labels(album, tmp_path / "labels.csv").answers == 2
    assert album.annotations(one)[0].by == "Bob"
    assert album.labels()[two.path] == "blue"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("file,label\n{one},red\nno.png,red\n", "line 3: no.png is no picture"),
        ("file,label\n{one},red\n{two},purple\n", "line 3: 'purple' is none of the classes"),
        ("file,label\n{one},red\n{unasked},red\n", "line 3: .* was not asked about"),
        ("file,label\n{one},red\n0-00.png,red\n", "line 3: 0-00.png is protected"),
        ("file,label\n{one},red\n{one},blue\n", "line 3: .* has two labels"),
        ("file,label,content\n{one},red,\n{two},red,12ab\n", "line 3: .* has changed"),
        ("name,class\n{one},red\n", "no column `file`"),
        ("file,label,label\n{one},red,blue\n", "two columns `label`"),
        ("", "no column"),
        ("[", "damaged"),
        ('[{{"data": {{}}, "annotations": []}}, 3]', "no export"),
        ('{{"a": 1}}', "no export"),
    ],
)
def test_bad_files_are_one_sentence_and_nothing_is_taken_in(opened, folder, tmp_path, content, told):
    album = opened(protect=["0-00.png"])
    one, two, *rest = album.next(5)
    asked = {one.path, two.path, *(picture.path for picture in rest), "0-00.png"}
    unasked = next(file.name for file in sorted(folder.iterdir()) if file.name not in asked)
    path = tmp_path / "labels.csv"
    path.write_text(content.format(one=one.path, two=two.path, unasked=unasked))
    with pytest.raises(ValueError, match=told) as caught:
        import_labels(album, path)
    assert "\n" not in str(caught.value)
    assert album.labels() == {}


def test_the_page_needs_nothing_else_and_names_are_escaped(opened, folder, painted, tmp_path):
    painted(folder / '<b>"&.png', 0, 50)
    album = opened(classes=["red", "green & blue"])
    ask_page(album, album.next(31), tmp_path / "ask.html")
    page = (tmp_path / "ask.html").read_text()
    assert page.count("<img") == 31 == page.count("data:image/jpeg")
    assert '<b>"' not in page
    assert "&lt;b&gt;" in page
    assert "green &amp; blue" in page
    assert "http" not in page


@pytest.mark.parametrize("how", ["copy", "link"])
def test_the_tree(opened, labelled, folder, tmp_path, how):
    album = opened()
    labelled(album, 5)
    assert tree(album, tmp_path / "tree", how) == 5
    labelled_now = {name: label for name, label in album.labels().items()}
    for name, label in labelled_now.items():
        made = tmp_path / "tree" / label / name
        assert made.is_symlink() == (how == "link")
        assert made.read_bytes() == (folder / name).read_bytes()
    album.answer(next(iter(labelled_now)), "blue")
    assert tree(album, tmp_path / "tree", how) == 5  # made anew
    assert len([path for path in (tmp_path / "tree").rglob("*.png")]) == 5
    for bad, told in ((folder / "tree", "stays as it is"), (tmp_path, "something else")):
        with pytest.raises(ValueError, match=told):
            tree(album, bad)


def test_ask_and_tell(opened, folder, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"patterns": ["0-0*"]}))
    command = ["ask", str(folder), "--out", str(out), "--budget", "10"]
    assert main(command) == 2
    assert "needs classes" in capsys.readouterr().err
    opened().close()  # with settings that train in a moment
    first = [*command, "--classes", "red,green,blue", "--protect", str(tmp_path / "rules.yaml")]
    assert main([*first, "--label-studio", str(tmp_path / "tasks.json")]) == 0
    told = capsys.readouterr().out
    assert "4 of 30 pictures are protected" in told
    assert f"DOCUMENT_ROOT={out / 'label-studio'}" in told
    assert len(json.loads((tmp_path / "tasks.json").read_text())) == 10
    assert main([*first, "--label-studio"]) == 0  # while the round waits: a rule is given, so it is previewed
    assert "4 of 30 pictures are protected" in capsys.readouterr().out
    assert len(json.loads((out / "label-studio" / "tasks.json").read_text())) == 10
    for turn in range(2):
        asked = [row["file"] for row in rows(out / "ask.csv")]
        assert len(asked) == 10
        done = filled(tmp_path / "labels.csv", [(name, ("red", "green", "blue")[int(name[0])]) for name in asked[:9]])
        assert main(["tell", str(folder), str(done), "--out", str(out), "--by", "Ada"]) == 0
        assert "1 pictures of this round wait" in capsys.readouterr().out
        done = filled(tmp_path / "labels.csv", [(asked[9], "blue")])
        assert main(["tell", str(folder), str(done), "--out", str(out)]) == 0
        assert "Estimated accuracy" in capsys.readouterr().out
        if turn == 0:
            assert main(command) == 0
            capsys.readouterr()
    assert main([*command[:-1], "20"]) == 0  # what is left
    assert "6 pictures to label" in capsys.readouterr().out
    assert main(["tell", str(folder), str(tmp_path / "none.csv"), "--out", str(out)]) == 2
    shutil.rmtree(folder)
    assert main(command) == 2
    assert "is no folder" in capsys.readouterr().err

"""CSV, the page, Label Studio, the tree, and the two commands."""

import csv
import json
import shutil

import pytest
import yaml

from pslcore.__main__ import main
from pslcore.album import ask_csv, ask_page, label_config, labels_csv, studio_tasks, take_in, tree


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
    taken = take_in(album, path, by="Ada")
    assert (taken.answers, taken.skipped, taken.unsure, taken.empty) == (7, 1, 1, 1)
    events = len(album._journal.events)
    take_in(album, path, by="Ada")  # once more
    assert len(album._journal.events) == events
    album.train()
    labels_csv(album, tmp_path / "all.csv")
    found = {row["file"]: row for row in rows(tmp_path / "all.csv")}
    assert len(found) == 30
    assert found[pictures[0].path]["by"] == "Ada"
    assert found[pictures[2].path]["by"] == "task learner"
    assert 0 < float(found[pictures[2].path]["confidence"]) <= 1


def test_a_spreadsheet_may_write_it(opened, tmp_path):
    album = opened()
    one, two, *_ = album.next(5)
    text = f"\ufefffile;label;by\r\n{one.path};red;Bob\r\n\r\n{two.path}; blue ;\r\n"
    (tmp_path / "labels.csv").write_bytes(text.encode())
    assert take_in(album, tmp_path / "labels.csv").answers == 2
    assert album.words(one)[0].by == "Bob"
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
        take_in(album, path)
    assert "\n" not in str(caught.value)
    assert album.labels() == {}


def test_label_studio_there_and_back(opened, tmp_path):
    album = opened()
    pictures = album.next(5)
    studio_tasks(album, pictures, tmp_path / "tasks.json")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert tasks[0]["data"]["image"] == f"/data/local-files/?d={pictures[0].path}"
    assert 'value="green"' in label_config(album)
    choice = {"type": "choices", "from_name": "label", "to_name": "image", "value": {"choices": ["green"]}}
    for number, task in enumerate(tasks):
        task["annotations"] = [{"completed_by": {"id": 1, "email": "ada@example"}, "result": [choice]}]
        if number == 1:
            task["annotations"].append({"completed_by": 7, "result": [choice | {"value": {"choices": ["red"]}}]})
    tasks[2]["annotations"] = [{"completed_by": 7, "was_cancelled": True, "result": []}]
    tasks[3]["annotations"] = []
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    taken = take_in(album, tmp_path / "export.json")
    assert (taken.answers, taken.skipped) == (4, 1)
    assert album.labels()[pictures[1].path] == "red"
    assert album.report().disagreements == {pictures[1].path: {"ada@example": "green", "annotator 7": "red"}}
    short = [{"image": "x", "file": pictures[3].path, "label": "blue", "annotator": 2}]
    (tmp_path / "short.json").write_text(json.dumps(short))
    assert take_in(album, tmp_path / "short.json").answers == 1
    short[0]["label"] = {"choices": ["red", "blue"]}
    (tmp_path / "short.json").write_text(json.dumps(short))
    with pytest.raises(ValueError, match="2 classes are chosen"):
        take_in(album, tmp_path / "short.json")


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
    assert "4 of 30 pictures are protected" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "tasks.json").read_text())) == 10
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
    assert main([*command[:-1], "20"]) == 2
    assert "6 pictures are left" in capsys.readouterr().err
    assert main(["tell", str(folder), str(tmp_path / "none.csv"), "--out", str(out)]) == 2
    shutil.rmtree(folder)
    assert main(command) == 2
    assert "is no folder" in capsys.readouterr().err

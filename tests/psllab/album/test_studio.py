"""Label Studio: the folder that it may see, and its exports: real ones, made by ``bench/label_studio.py``."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from psllab.album import ask_csv, import_labels, label_config, studio, studio_tasks

EXPORTS = sorted((Path(__file__).parent / "studio").iterdir())
CLASSES = ("red", "blue")


@pytest.fixture
def asked(opened):
    """An album that asked eight questions, and an export on them; ``asked(export, **options)``."""

    def ask(export, **options):
        album = opened(classes=CLASSES, **options)
        tasks = json.loads((EXPORTS[0].parent / "export.json").read_text())
        named = sorted((task for task in tasks if "file" in task["data"]), key=lambda task: task["id"])
        theirs = [task["data"]["content"] for task in named]
        theirs += sorted({task["data"]["image"][-68:-4] for task in tasks} - set(theirs), key=lambda digest: next(
            task["id"] for task in tasks if digest in task["data"]["image"]
        ))  # fmt: skip
        text = export.read_text()
        pictures = album.next(8)
        for digest, picture in zip(theirs, pictures, strict=True):
            text = text.replace(digest, picture.digest)
        return album, pictures, text

    return ask


@pytest.mark.parametrize("export", EXPORTS, ids=lambda path: path.name)
def test_real_exports(asked, tmp_path, export):
    album, pictures, text = asked(export)
    path = tmp_path / "export"
    path.write_text(text)
    taken = import_labels(album, path, by="Carol")
    skips = export.name == "export.json"  # the other two hold none
    assert (taken.answers, taken.skipped, taken.empty, taken.gone) == (5, skips, 1, 0)
    two_minds, skipped_then_answered, skipped, corrected, drafted, emptied, synced, guessed = pictures
    assert album.labels() == {
        two_minds.path: "blue", skipped_then_answered.path: "blue", corrected.path: "red", synced.path: "red",
    }  # fmt: skip
    assert album.report().disagreements == {two_minds.path: {"annotator 1": "red", "annotator 2": "blue"}}
    assert [word.by for word in album.annotations(two_minds)] == ["annotator 1", "annotator 2"]  # as they came
    assert len(album.annotations(skipped)) == skips
    assert not any(album.annotations(picture) for picture in (drafted, emptied, guessed))
    events = len(album._journal.events)
    import_labels(album, path)
    assert len(album._journal.events) == events


@pytest.mark.parametrize("export", EXPORTS, ids=lambda path: path.name)
def test_an_export_that_names_what_is_gone_or_protected_by_now(asked, opened, folder, tmp_path, export):
    album, pictures, text = asked(export)
    (tmp_path / "export").write_text(text)
    album.close()
    (folder / pictures[3].path).unlink()
    (folder / pictures[1].path).rename(folder / "renamed.png")
    album = opened(classes=CLASSES, protect=[pictures[6].path])
    taken = import_labels(album, tmp_path / "export")
    assert (taken.answers, taken.gone, taken.protected) == (3, 1, 1)
    assert album.labels() == {pictures[0].path: "blue", "renamed.png": "blue"}


def answered(picture, *words, by=None, name="label", kind="choices", **more):
    """A task with one annotation."""
    value = {"choices" if kind == "choices" else kind: list(words)}
    result = [{"type": kind, "from_name": name, "to_name": "image", "value": value}] if words else []
    note = {"id": 1, "result": result, "created_at": "2026-01-01T00:00:00Z", "completed_by": by} | more
    return {"data": {"file": picture.path, "content": picture.digest}, "annotations": [note]}


def export_of(tmp_path, *tasks):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    return path


def test_who_says_so_where_the_file_does_not(opened, tmp_path):
    album = opened()
    one, two, three, *_ = album.next(5)
    path = export_of(tmp_path, answered(one, "red"), answered(two, "red", by={"id": 3, "email": "ada@example.org"}),
                     answered(three, "red", by=7))  # fmt: skip
    import_labels(album, path, by="Carol")
    assert [album.annotations(picture)[0].by for picture in (one, two, three)] == [
        "Carol",
        "ada@example.org",
        "annotator 7",
    ]


def test_the_latest_annotation_of_a_person_counts_whatever_the_order(opened, tmp_path):
    album = opened()
    one, *_ = album.next(5)
    task = answered(one, "red", updated_at="2026-01-01T10:00:00.5Z")
    task["annotations"] += answered(one, "blue", "green", updated_at="2026-01-01T10:00:00Z")["annotations"]
    again = answered(one, "green", updated_at="2026-01-01T10:30:00+02:00")  # earlier: the zone counts
    assert import_labels(album, export_of(tmp_path, task, again)).answers == 1
    assert album.labels() == {one.path: "red"}


def test_only_controls_that_hold_classes_count(opened, tmp_path):
    album = opened()
    one, two, *_ = album.next(5)
    task = answered(one, "red", name="kind")
    task["annotations"][0]["result"] += answered(one, "sharp", name="quality")["annotations"][0]["result"]
    task["annotations"][0]["result"] += answered(one, "5", name="stars", kind="rating")["annotations"][0]["result"]
    assert import_labels(album, export_of(tmp_path, task, answered(two, "blue", name="renamed"))).answers == 2


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        (lambda one: [answered(one, "x", kind="rectanglelabels")], "no choices, but rectanglelabels"),
        (lambda one: [answered(one, "purple")], "'purple' is none of the classes"),
        (lambda one: [answered(one, "red", "blue")], "2 classes are chosen"),
        (lambda one: [answered(one, "red") | {"data": {"image": "/data/upload/1/a.png"}}], "names no picture"),
        (lambda one: [answered(one, "red") | {"data": {"image": "/data/local-files/?d=no.png"}}], "is no picture"),
        (lambda one: [{"file": one.path, "content": one.digest, "a": "x", "b": "y"}], "no column of choices .* a, b"),
        (lambda one: [{"file": one.path, "label": {"choices": ["red", "blue"]}}], "2 classes are chosen"),
    ],
)
def test_what_cannot_be_taken_in_is_told(opened, tmp_path, tasks, told):
    album = opened()
    one, *_ = album.next(5)
    with pytest.raises(ValueError, match=told) as caught:
        import_labels(album, export_of(tmp_path, *tasks(one)))
    assert "\n" not in str(caught.value)
    assert album.labels() == {}


def test_tasks_of_other_storages_are_known_by_their_path(opened, tmp_path):
    album = opened()
    one, two, *_ = album.next(5)
    tasks = [answered(one, "red") | {"data": {"picture": f"/data/local-files/?d={one.path}"}},
             answered(two, "blue") | {"data": {"picture": f"/data/local-files/?d=photos/{two.path}"}}]  # fmt: skip
    assert import_labels(album, export_of(tmp_path, *tasks)).answers == 2
    assert album.labels() == {one.path: "red", two.path: "blue"}


WRONG = st.sampled_from([None, 3, -1.5, "", "x", [], {}, [None], {"choices": 3}, {"choices": [[]]}, True])


@given(data=st.data())
def test_damaged_exports_are_one_sentence(data):
    """Anything in a real export replaced by anything, or left out."""
    tasks = json.loads((EXPORTS[0].parent / data.draw(st.sampled_from(["export.json", "export.min.json"]))).read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        at = tasks
        while isinstance(at, list | dict) and at:
            place = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            if data.draw(st.booleans()) or not isinstance(at[place], list | dict):
                if data.draw(st.booleans()):
                    del at[place]
                else:
                    at[place] = copy.deepcopy(data.draw(WRONG))
                break
            at = at[place]
    told = f"export.json: {tasks}"
    try:
        for line in studio.of_json(Path("export.json"), json.dumps(tasks), "", CLASSES):
            assert all(isinstance(part, str) for part in (line.file, line.content, line.label, line.by))
    except ValueError as error:
        told = str(error)
    assert told.startswith("export.json")
    assert "\n" not in told


# The folder


def test_it_may_see_what_was_asked_about_and_nothing_else(opened, folder, painted, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "CANARY"
    pixels = painted(folder / "0-turned & so.jpg", 0, 99, exif=exif)
    with Image.open(folder / "0-turned & so.jpg") as file:
        large = file.resize((2000, 1000), Image.Resampling.NEAREST)
    large.save(folder / "1-large.png", exif=exif)
    album = opened(classes=["red", "green & so"], protect={"patterns": ["2-*"]})
    pictures = album.next(22)
    root = studio_tasks(album, pictures)
    assert root == album.home / "label-studio"
    tasks = json.loads((root / "tasks.json").read_text())
    for task, picture in zip(tasks, pictures, strict=True):
        assert (task["data"]["file"], task["data"]["content"]) == (picture.path, picture.digest)
        start, _, name = task["data"]["image"].partition("?d=")
        assert start == "/data/local-files/"
        with Image.open(root / name) as view:  # the root is the parent of the storage
            assert not view.getexif()
            assert b"CANARY" not in (root / name).read_bytes()
            if picture.path == "0-turned & so.jpg":
                assert view.size == pixels.shape[:2]
            if picture.path == "1-large.png":
                assert view.size == (800, 1600)
    assert len(list((root / "pictures").iterdir())) == 22
    assert 'value="green &amp; so"' in (root / "interface.xml").read_text()
    assert label_config(album) in (root / "interface.xml").read_text()
    ask_csv(album, pictures, tmp_path / "ask.csv")


def test_it_refuses_a_folder_in_which_more_would_be_seen(opened, folder, painted, tmp_path):
    album = opened()
    pictures = album.next(4)
    (tmp_path / "mine" / "pictures").mkdir(parents=True)
    (tmp_path / "mine" / "pictures" / "private.jpg").touch()
    for bad, told in ((tmp_path / "mine", "something else"), (folder / "x", "stays as it is")):
        with pytest.raises(ValueError, match=told):
            studio_tasks(album, pictures, bad)
    studio_tasks(album, pictures, tmp_path / "tasks.json")
    assert sorted(path.name for path in (album.home / "label-studio").iterdir()) == ["interface.xml", "pictures"]
    painted(tmp_path / "others" / "a.png", 0, 900)
    other = opened(folder=tmp_path / "others", out=tmp_path / "other")
    with pytest.raises(ValueError, match="something else"):
        studio_tasks(other, other.next(1), album.home / "label-studio")

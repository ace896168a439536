"""The desk without a browser: every button and key is a method; a key names the showing it was given for."""

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from psllab.album import Album, Protect
from psllab.desk import parts
from psllab.desk.desk import Desk
from psllab.desk.panels import RulesForm

CLASSES = ("red", "green", "blue")
QUICK = {"size": 8, "recipe": {"epochs": 1, "batch_size": 8, "lr": 0.05, "padding": 1}}


@pytest.fixture
def desk(folder, tmp_path):
    """``desk(...)``: at the album of ``folder``; closed at the end."""
    made = []

    def sit(**options):
        wanted = {"folder": folder, "classes": CLASSES, "learning": QUICK, "out": tmp_path / "out", "n": 6} | options
        made.append(Desk(**wanted))
        job = made[-1].loading.job
        assert job is None or job.error is None, job.error
        return made[-1]

    yield sit
    for one in made:
        if one.album is not None:
            one.album.close()


def truth(desk):
    return str(int(Path(desk.asked.path).name[0]) + 1)


def answer(desk, n):
    for _ in range(n):
        desk.press(desk._turn, truth(desk))


def caption(desk):
    return desk.question._caption(desk._turn)


def test_two_rounds_with_skip_undo_and_several_people(desk):
    sat = desk(by="Ada")
    assert sat.question.buttons == []  # nothing is asked
    sat.start()
    assert sat.question.buttons[0] == {"key": "1", "label": "red", "tone": "plain"}
    assert sat.tabs.selected_index in (None, 0)
    first = sat.asked
    answer(sat, 1)
    assert sat.album.annotations(first)[-1].by == "Ada"
    sat.who.value = "Bob"
    second = sat.asked
    sat.press(sat._turn, "3")
    assert sat.album.annotations(second)[-1].by == "Bob"
    sat.press(sat._turn, "U")
    assert sat.asked == second
    assert "Taken back" in sat.question._note[0]
    sat.press(sat._turn, "?")
    third = sat.asked
    sat.press(sat._turn, "s")
    assert [sat.album.annotations(one)[-1].what for one in (second, third)] == ["not sure", "skip"]
    answer(sat, 3)
    assert sat.asked is None
    assert "Press Train" in caption(sat)
    assert [one["key"] for one in sat.question.buttons] == ["u"]
    sat.press(sat._turn, "1")  # nothing is asked
    sat.press(sat._turn, "u")  # the end of a round can be taken back as well
    answer(sat, 1)
    sat.start()
    assert "press Train" in sat.status[1].value
    sat.train()
    assert sat.tabs.selected_index == 2
    assert "after round 1" in sat.status[1].value
    assert "<th>protected</th>" in sat.outcome.ledger.value
    assert "<details><summary>Uploaded: " in sat.outcome.ledger.value
    assert sat.outcome.grid.count == 26
    sat.outcome.label.value = ("red",)
    assert sat.outcome.grid.count < 26
    sat.start()
    answer(sat, 6)
    sat.train()
    assert sat.album.report().rounds == 2
    assert "Estimated accuracy" in sat.outcome.report.value
    labels = sat.write_labels()
    assert len(labels.read_text().splitlines()) == 1 + 10
    assert len(labels.with_name("suggestions.csv").read_text().splitlines()) == 1 + 20
    assert len(list(sat.write_tree().rglob("*.png"))) == 10


def test_a_key_for_another_showing_is_not_taken(desk):
    sat = desk()
    sat.start()
    turn, first = sat._turn, sat.asked
    for _ in range(3):  # the page is slow
        sat.question.hear({"kind": "key", "id": turn, "key": "1"})
    assert list(sat.album.labels()) == [first.path]
    assert "nothing was taken in" in sat.question._note[0]
    sat.press(sat._turn, "u")
    assert sat.asked == first
    sat.press(turn, "2")  # the same picture, but an earlier showing
    assert sat.album.labels() == {}
    sat.press(sat._turn, "x")
    assert sat.question._note == ("x is no answer.", "bad")
    sat.who.value = " "
    sat.press(sat._turn, "1")
    assert sat.album.labels() == {}
    sat.busy = True
    sat.press(sat._turn, "1")
    sat.start()
    assert sat.train() is None
    assert sat.apply() is None
    assert sat.album.labels() == {}


def test_rules_and_hand_are_applied_before_anything_is_asked(desk):
    sat = desk()
    sat.form.patterns.value = "*-0[0-9]*"
    assert sat.changed
    sat.start()
    assert "press Apply" in sat.status[1].value
    assert sat.asked is None
    sat.apply()
    assert "20 pictures may be asked about; 10 are protected" in sat.status[0].value
    assert "10 protected: fits the pattern *-0[0-9]*" in sat.found.counts.value
    assert sat.found.grid.count == 10
    sat.by_hand(0)
    assert "A rule protects it" in sat.found.grid._note[0]
    sat.found.kind.value = "safe"
    path = sat.found.names[4]
    sat.by_hand(4)
    assert sat.found.grid._marks(4) == [("to be protected", "pick")]
    sat.apply()
    assert sat.album.preview().protected[path] == "by hand"
    assert not sat.found.hand
    sat.found.kind.value = "protected"
    sat.by_hand(sat.found.names.index(path))
    sat.apply()
    assert path not in sat.album.preview().protected

    # what cannot be is told, and nothing is lost
    for field, value, why in (("patterns", "*", "are protected"), ("dates", "soon", "is no day"),
                              ("places", "here", "is no place")):  # fmt: skip
        before = getattr(sat.form, field).value
        getattr(sat.form, field).value = value
        sat.apply()
        assert why in sat.status[0].value
        assert len(sat.album.preview().protected) == 10
        getattr(sat.form, field).value = before
    assert not sat.changed


def test_classes_can_change_until_somebody_was_asked(desk):
    sat = desk(classes=(), protect={"patterns": ["*-00*"]})
    sat.start()
    assert "Name the classes first" in sat.status[1].value
    for text, why in (("one", "at least two"), ("a, a", "twice"), ("a, b", "may be asked")):
        sat.classes.value = text
        sat.apply()
        assert why in sat.status[0].value
    sat.classes.value = "red, green, blue"
    sat.apply()
    assert sat.album.classes == CLASSES
    assert len(sat.album.preview().protected) == 1  # the rules stay
    sat.start()
    sat.classes.value = "x, y"
    sat.apply()
    assert "this album has the classes" in sat.status[0].value
    assert sat.album.classes == CLASSES


def test_opened_again_it_goes_on_where_it_was(desk, tmp_path):
    sat = desk(protect={"patterns": ["*-00*"]})
    sat.start()
    answer(sat, 2)
    left, labels = sat.asked, sat.album.labels()
    sat.form.folders.value = "nowhere"
    sat.apply()
    sat.album.close()
    again = desk(classes=(), protect={"patterns": ["*-01*"]})
    assert again.asked is None  # a rule fits no picture: that is told before anything is shown
    assert "nowhere&#x27; fits no picture" in again.status[1].value
    again.without.click()
    assert (again.asked, again.album.labels()) == (left, labels)
    assert again.tabs.selected_index == 1
    assert again.form.patterns.value == "*-00*; *-01*"  # rules that were kept hold beside those that are given
    assert again.form.folders.value == "nowhere"
    again.folder.value = str(tmp_path / "gone")
    again.open()
    assert "is no folder" in again.status[0].value
    assert again.album.labels() == labels


def test_training_can_be_stopped_and_failure_is_told(desk, monkeypatch):
    sat = desk(learning=QUICK | {"recipe": QUICK["recipe"] | {"epochs": 500}})
    sat.train()
    assert "nothing new" in sat.status[1].value
    sat.start()
    answer(sat, 6)
    job = sat.train(wait=False)
    sat.press(sat._turn, "u")
    assert "Nothing was taken in" in sat.question._note[0]
    sat.training.stop.click()
    job.wait(60)
    assert "Stopped" in sat.status[1].value
    assert sat.album.report().rounds == 0
    assert not sat.busy

    def full(*_, **__):
        raise OSError("no room: free some space.")

    monkeypatch.setattr(Album, "answer", full)
    monkeypatch.setattr(Album, "train", full)
    sat.train()
    assert "no room" in sat.status[1].value
    sat.start()
    assert sat.asked is None  # answers are new


def test_of_a_large_album_the_rest_is_read_beside_the_labelling(desk, monkeypatch):
    monkeypatch.setattr("psllab.album.index._FEW", 0)
    go, read = threading.Event(), Album.read

    def slowly(album, progress):
        def told(done, total):
            go.wait(10)
            progress(done, total)

        read(album, told)

    monkeypatch.setattr(Album, "read", slowly)
    monkeypatch.setattr("psllab.album.cache._AT_ONCE", 4)
    sat = desk()
    assert "30 pictures are still being read: label meanwhile." in sat.still.value
    boxes = [tab.children for tab in sat.tabs.children[:2]]
    assert all(sat.still in box and sat.reading.view in box for box in boxes)  # on both tabs
    assert sat.reading.view.layout.display == ""
    sat.start()
    answer(sat, 6)
    assert sat.reading.job.running
    threading.Timer(0.2, go.set).start()
    sat.train()  # ends the reading beside, and reads the rest itself
    assert sat.album.report().rounds == 1
    assert not sat.reading.job.running
    assert sat.reading.view.layout.display == "none"
    assert sat.album.unread == 0


def test_what_the_first_question_waits_for_is_told_and_so_is_the_end(desk, monkeypatch):
    monkeypatch.setattr("psllab.album.index._FEW", 0)
    monkeypatch.setattr(Album, "_starts_typical", lambda album: not album._state.rounds)
    go, read = threading.Event(), Album.read

    def slowly(album, progress):
        go.wait(10)
        read(album, progress)

    monkeypatch.setattr(Album, "read", slowly)
    sat = desk()
    assert "30 pictures are still being read: the first question waits for all of them" in sat.still.value
    sat.start()
    assert "psl-bad" in sat.status[1].value
    assert sat.asked is None
    go.set()
    sat.reading.job.wait()
    assert "All pictures are read. Press Label." in sat.still.value
    assert "psl-bad" not in sat.status[1].value  # nothing waits any more
    sat.start()
    assert sat.asked is not None
    assert sat.still.value == ""


def test_an_error_is_gone_once_it_is_resolved(desk):
    sat = desk(classes=())
    sat.start()
    assert "psl-bad" in sat.status[1].value
    assert sat.question.buttons == []  # nobody has named a class
    assert "Name the classes" in caption(sat)
    sat.classes.value = ", ".join(CLASSES)
    sat.apply()
    sat.start()
    assert len(sat.question.buttons) == 6
    assert "psl-bad" not in sat.status[1].value
    answer(sat, 6)
    sat.start()
    assert "press Train" in sat.status[1].value
    sat.press(sat._turn, "u")
    assert all("psl-bad" not in one.value for one in sat.status)
    answer(sat, 1)
    sat.train()
    assert sat.question._note == ("", "quiet")  # it was about the round before
    sat.start()
    assert "may be asked about" in sat.status[1].value
    assert "6 answered in all" in caption(sat)


def test_open_keeps_what_was_not_applied(desk, tmp_path):
    sat = desk()
    sat.found.kind.value = "safe"
    sat.by_hand(2)
    sat.folder.value = str(tmp_path)
    assert sat.open() is None
    assert "press Apply" in sat.status[0].value
    assert len(sat.found.hand) == 1
    sat.by_hand(2)
    sat.form.folders.value = "private"
    assert sat.open() is None
    assert sat.form.folders.value == "private"
    sat.form.folders.value = ""
    assert sat.open() is not None


def test_a_rule_that_fits_no_picture_stops_the_first_question(desk):
    sat = desk()
    sat.form.folders.value = "privat"
    sat.apply()
    for one in sat.status:
        assert "psl-bad" in one.value
        assert "privat&#x27; fits no picture" in one.value
    assert "psl-bad" in sat.found.counts.value.split("fits no picture")[0].rpartition("<div")[2]
    for _ in range(2):  # a double click is no consent
        sat.start()
        assert sat.asked is None
    assert sat.without.layout.display == ""
    sat.form.folders.value = "nowhere"
    sat.apply()  # another misfit is told anew
    assert sat.without.layout.display == "none"
    sat.start()
    sat.without.click()
    assert sat.asked is not None
    assert "psl-bad" not in sat.status[1].value


def test_the_course_of_the_rounds_is_shown(desk):
    sat = desk()
    for rounds in (1, 2, 3):
        sat.start()
        answer(sat, 6)
        sat.train()
        assert ("psl-course" in sat.outcome.report.value) == (rounds > 1)  # one estimate is no course
    course = sat.album.report().course
    assert [(step.rounds, step.learned_from + step.held_out) for step in course] == [(1, 6), (2, 12), (3, 18)]
    assert f"<td>{course[2].right} of {course[2].held_out}</td>" in sat.outcome.report.value


def test_what_was_said_can_be_said_anew(desk):
    sat = desk()
    sat.start()
    first, second, third = sat.asked, None, None
    answer(sat, 1)
    second = sat.asked
    sat.press(sat._turn, "s")
    third = sat.asked
    sat.press(sat._turn, "?")
    assert (sat.album.skipped, sat.album.unsure, sat.album.answered) == ([second], [third], [first])
    answer(sat, 3)
    sat.train()
    rest = sat.outcome.grid.count
    sat.outcome.grid.hear({"kind": "click", "id": 0})  # of a guess there is nothing to correct
    assert sat.asked is None
    for kind, picture, key in (("skipped", second, "1"), ("not sure", third, "2"), ("answered", first, "3")):
        sat.outcome.kind.value = kind
        number = sat.outcome._pictures.index(picture)
        before = sat.outcome.grid.count
        sat.outcome.grid.hear({"kind": "click", "id": number})
        assert (sat.asked, sat.tabs.selected_index) == (picture, 1)
        sat.press(sat._turn, "Escape")
        assert (sat.asked, sat.tabs.selected_index) == (None, 2)
        sat.outcome.grid.hear({"kind": "click", "id": number})
        sat.press(sat._turn, key)
        assert sat.album.labels()[picture.path] == CLASSES[int(key) - 1]
        assert sat.outcome.grid.count == before - (kind != "answered")
    sat.outcome.label.value = ("blue",)
    assert first in sat.outcome._pictures
    sat.outcome.kind.value = "rest"
    assert sat.outcome.grid.count == rest
    assert sat.album.ready


def test_whoever_answered_last_answers_when_it_is_opened_again(desk):
    sat = desk()
    assert sat.who.value == "me"
    sat.start()
    sat.who.value = "Ada"
    answer(sat, 1)
    sat.album.close()
    assert desk().who.value == "Ada"
    named = desk(by="Bob")
    assert named.who.value == "Bob"
    named.who.value = "me"
    named.open()
    assert named.who.value == "me"


def test_a_new_album_shows_first_what_may_be_asked_about(desk):
    sat = desk()
    assert (sat.found.kind.value, sat.found.grid.count) == ("safe", 30)
    sat.form.patterns.value = "*-0[0-9]*"
    sat.apply()
    assert (sat.found.kind.value, sat.found.grid.count) == ("protected", 10)
    sat.found.kind.value = "safe"
    sat.apply()
    assert sat.found.kind.value == "safe"  # somebody chose that


def test_a_full_disk_keeps_the_picture_on_the_screen(desk, monkeypatch):
    sat = desk()
    sat.start()
    turn, picture = sat._turn, sat.asked

    def full(*_, **__):
        raise OSError("no room: free some space.")

    monkeypatch.setattr(Album, "answer", full)
    sat.press(turn, "1")
    assert (sat._turn, sat.asked, sat.question._note) == (turn, picture, ("no room: free some space.", "bad"))


def test_the_saved_state_holds_no_name_and_no_picture(desk):
    sat = desk(protect={"patterns": ["*-0*"]})
    sat.found.kind.value = "safe"
    sat.by_hand(0)
    sat.apply()
    sat.start()
    answer(sat, 6)
    sat.train()
    widgets = [sat.view]
    for one in widgets:
        widgets += getattr(one, "children", ())
    state = str([{k: v for k, v in one.get_state().items() if k not in ("_esm", "_css")} for one in widgets])
    assert "blue" in state  # the search sees what is there
    assert ".png" not in state.replace("scan-*.png", "")
    assert "JFIF" not in state


def test_the_form_gives_back_what_it_was_given():
    form = RulesForm()
    rules = Protect.of(
        {"dates": [{"first": "2024-07-01", "last": "2024-07-14"}, {"first": "2024-12-24", "last": "2024-12-24"}],
         "places": [{"lat": 52.52, "lon": -13.4, "km": 5.0}], "folders": ["private", "2023/birthday"],
         "patterns": ["*party*"], "by_hand": ["a.jpg"]}
    )  # fmt: skip
    form.fill(rules)
    assert form.dates.value == "2024-07-01 to 2024-07-14; 2024-12-24"
    assert form.rules(rules.by_hand) == rules
    form.places.value = "52.52 -13.4 5km"
    assert form.rules(rules.by_hand) == rules


def test_every_class_has_a_button_and_no_key_two_meanings():
    assert list(parts.keys(["red", "green"])) == ["1", "2"]
    assert parts.keys(["7", "u", "A"]) == {"7": "7", "1": "u", "a": "A"}
    many = parts.buttons([f"class no {number}" for number in range(60)])
    assert len({one["key"] for one in many}) == len(many) == 63


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "I;16"])
def test_the_large_picture_is_upright_and_bare(opened, folder, mode):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "SECRET"
    suffix = "jpg" if mode == "CMYK" else "png"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 1500, 3), np.uint8)
    picture = Image.fromarray(pixels)
    picture = Image.fromarray(pixels[..., 0].astype(np.uint16)) if mode == "I;16" else picture.convert(mode)
    picture.save(folder / f"large.{suffix}", exif=exif)
    album = opened()
    shown = parts.large(album, album._index.pictures[album._index.find(f"large.{suffix}")])
    read = Image.open(io.BytesIO(shown))
    assert b"SECRET" not in shown
    assert read.height > read.width
    assert max(read.size) <= parts.LARGE


@pytest.mark.slow
def test_the_notebook_runs_with_nobody_there(tmp_path, monkeypatch, executed):
    top = Path(__file__).parents[3]
    photos = parts.example(tmp_path / "example", count=12)
    assert (tmp_path / "example" / ".gitignore").read_text() == "*\n"
    assert len(list(photos.rglob("private/*.jpg"))) == 4
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((top / "params.yaml").read_text())
    given = {"folder": str(photos), "classes": list("0123456789"), "protect": {"folders": ["private"]}}
    last = executed("album", **given).cells[-1].outputs
    assert "12 pictures, 4 of them protected" in last[0].text

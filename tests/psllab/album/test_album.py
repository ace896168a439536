"""The album: what is asked, what is taken in, what is learned; the same answers give the same picks."""

import errno
import gc
import os
import threading

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pslcore.sides import Cloud, Oracle, ProtectedDataError
from psllab.album import Album


def test_a_session_from_the_first_picture_to_the_last_report(opened, labelled):
    album = opened(protect={"patterns": ["*-0[0-9]*"]})
    assert album.report().protected == 10
    first = labelled(album, 10, by="Ada")
    told = []
    report = album.train(progress=lambda *now: told.append(now))
    assert told == [(1, 1)]
    assert (report.rounds, report.learned_from, report.held_out, report.left) == (1, 8, 2, 10)
    assert report.people == {"Ada": 10}
    assert 0 <= report.interval[0] <= report.accuracy <= report.interval[1] <= 1
    assert "held out" in str(report)
    assert "protected: 0" in str(report)
    second = labelled(album, 10)
    assert not {picture.path for picture in first} & {picture.path for picture in second}
    assert all(int(picture.path[2:4]) > 9 for picture in first + second)
    report = album.train()
    assert (report.learned_from, report.held_out, report.left) == (16, 4, 0)
    assert [upload["protected"] for upload in album.ledger()["uploads"]] == [0, 0]
    assert [upload["bytes"] for upload in album.ledger()["uploads"]] == [8 * 192, 8 * 192]
    crossed = album.ledger()["crossed"]
    assert "up: unlabelled images" not in crossed
    assert crossed["up: labelled images"] == {"items": 16, "bytes": 16 * 192}
    assert crossed["down: the task learner's weights"]["items"] == 2
    assert album.suggestions() == []
    assert len(album.suggestions(protected=True)) == 10


def test_the_same_answers_give_the_same_picks_and_weights(opened, folder, tmp_path, labelled):
    found = []
    for name in ("one", "two"):
        album = opened(out=tmp_path / name, protect={"patterns": ["*-0[0-4]*"]})
        first = labelled(album, 10)
        album.train()
        if name == "two":  # closed and opened between the rounds
            album.close()
            album = opened(out=tmp_path / name, classes=None, learning=None)
        second = labelled(album, 5)
        album.train()
        found.append((first, second, album.task_learner().probabilities(album._index.images(range(30)))))
    assert found[0][:2] == found[1][:2]
    assert np.array_equal(found[0][2], found[1][2])
    other = opened(out=tmp_path / "three", learning={"size": 8, "seed": 1}, protect={"patterns": ["*-0[0-4]*"]})
    assert other.next(10) != found[0][0]


def test_it_is_the_loop_of_the_experiments(opened, labelled):
    """The task learner of a round has the weights that the plain training step gives on the same answers."""
    from pslcore.runs import cloud_of, steps, train  # the parts that the loop is made of
    from psllab.album import training

    album = opened()
    labelled(album, 10)
    seen = {}
    original = training.Session

    def session(protocol, *given):
        seen["protocol"] = protocol
        return original(protocol, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Session", session)
        album.train()
    protocol = seen["protocol"]
    labelled_ones = np.flatnonzero(protocol.labels >= 0)
    cloud = cloud_of(protocol, np.empty(0, np.int64), torch.device("cpu"))
    cloud.upload(labelled_ones, protocol.dataset.train.images[labelled_ones], protocol.labels[labelled_ones])
    cloud.restart(0, 0, steps(len(labelled_ones), protocol.recipe))
    train(cloud, None, False, labelled_ones, protocol.recipe, 0, 0)
    kept = album._checkpoints.weights(1)
    assert all(torch.equal(kept[name.removeprefix("0.")], tensor) for name, tensor in cloud.weights().items())


def test_held_out_pictures_are_drawn_beforehand_and_never_uploaded(opened, labelled, monkeypatch):
    album, crossed, upload = opened(), set(), Cloud.upload

    def spy(self, indices, *rest):
        crossed.update(map(int, indices))
        upload(self, indices, *rest)

    monkeypatch.setattr(Cloud, "upload", spy)
    for _ in range(2):
        labelled(album, 10)
        album.train()
    held = [album._index.at[key] for key, asked in album._state.asked.items() if asked.held_out]
    assert len(held) == 4  # one of five
    assert not set(held) & crossed
    assert len(crossed) == 16
    for start in range(0, 20, 5):
        assert sum(asked.held_out for asked in list(album._state.asked.values())[start : start + 5]) == 1


def test_the_door_refuses_whatever_is_kept_back(opened, labelled, monkeypatch):
    """Whoever asks for it: the oracle does not answer for a protected picture, and the cloud does not take it."""
    album = opened(protect={"patterns": ["0-*"]})
    labelled(album, 10)
    ask = Oracle.ask
    protected = np.array([0])
    monkeypatch.setattr(Oracle, "ask", lambda self, indices: ask(self, np.union1d(indices, protected)))
    with pytest.raises(ProtectedDataError):
        album.train()
    assert album.ledger()["uploads"] == []


def test_undo_skip_and_not_sure(opened):
    album = opened()
    one, two, three, *rest = album.next(6)
    album.answer(one, "red", by="Ada")
    album.skip(two, by="Ada")
    album.not_sure(three, by="Bob")
    assert album.next(6) == rest  # the round goes on with what waits
    assert album.unsure == [three]
    assert album.undo() == three
    assert album.undo(by="Ada") == two
    assert album.waiting[:2] == [two, three]
    album.answer(two, "blue")
    album.not_sure(three)
    for picture in rest:
        album.skip(picture)
    assert album.undo() == rest[-1]
    album.skip(rest[-1])
    more = album.next(10) if album.untrained <= 1 else (album.train(), album.next(10))[1]
    assert not {one, two, three, *rest} & set(more)
    album.answer(three, "green")  # somebody else knows
    assert album.unsure == []
    album.close()
    again = opened()
    assert again.labels() == {one.path: "red", two.path: "blue", three.path: "green"}
    assert again.waiting == more


def test_what_was_said_last_is_listed_by_kind_and_the_last_person_is_known(opened):
    album = opened()
    assert album.last_person == ""
    one, two, three = album.next(3)
    album.answer(one, "red", by="Ada")
    album.skip(two, by="Bob")
    album.not_sure(three, by="Ada")
    assert (album.answered, album.skipped, album.unsure) == ([one], [two], [three])
    album.answer(two, "green", by="Bob")
    assert (album.answered, album.skipped) == ([one, two], [])
    assert opened().last_person == "Bob"


def test_the_estimate_of_each_round_is_kept(opened, labelled):
    album = opened()
    for number in (1, 2):
        labelled(album, 10)
        report = album.train()
        last = report.course[-1]
        assert (last.rounds, last.learned_from, last.held_out) == (number, 8 * number, 2 * number)
        assert (last.accuracy, last.interval) == (report.accuracy, report.interval)
        assert f"After {8 * number} answers: {last.accuracy:.0%} ({last.right} of {last.held_out} held out)." in str(
            report
        )
    assert opened().report().course == report.course


def test_rules_that_fit_nothing_are_told_first(opened):
    lines = opened(protect={"folders": ["privat"], "patterns": ["0-00*"]}, warn=False).preview().lines
    assert lines[0].startswith("1 of 30")
    assert lines[1] == "The rule 'privat' fits no picture, so it protects none: is it misspelt?"


def test_what_was_uploaded_is_corrected_not_taken_back(opened, labelled):
    album = opened()
    labelled(album, 10)
    album.train()
    with pytest.raises(ValueError, match="correct"):
        album.undo()
    wrong = next(key for key in album._state.uploaded)
    other = {"red": "green", "green": "blue", "blue": "red"}[album.labels()[wrong.path]]
    album.answer(wrong, other, by="Bob")
    assert album.untrained == 1
    report = album.train()
    assert report.disagreements == {wrong.path: {"somebody": album.annotations(wrong)[0].label, "Bob": other}}
    assert [upload["pictures"] for upload in album.ledger()["uploads"]] == [8, 1]
    assert album.train() == album.report()  # nothing new: nothing is done
    assert len(album.ledger()["uploads"]) == 2


def test_a_stopped_training_leaves_the_album_as_it_was(opened, labelled):
    album = opened(learning={"size": 8, "recipe": {"epochs": 3, "batch_size": 8}})
    labelled(album, 10)
    assert album.train(stop=lambda: True) is None
    assert album.report().rounds == 0
    assert album.suggestions() == []
    with pytest.raises(ValueError, match="train"):
        album.next(5)
    report = album.train()
    assert [upload["pictures"] for upload in report.ledger["uploads"]] == [8]


def test_only_the_picture_that_was_meant_is_labelled(opened, folder, painted):
    album = opened(protect={"by_hand": ["0-00.png"]})
    asked = album.next(5)
    other = next(path for path in sorted(file.name for file in folder.iterdir())
                 if path not in {picture.path for picture in asked} and path != "0-00.png")  # fmt: skip
    for picture, told in (("0-00.png", "protected"), ("no.png", "no picture"), (other, "not asked")):
        with pytest.raises(ValueError, match=told):
            album.answer(picture, "red")
    with pytest.raises(ValueError, match="none of the classes"):
        album.answer(asked[0], "purple")
    with pytest.raises(ValueError, match="by"):
        album.answer(asked[0], "red", by=" ")
    painted(folder / asked[0].path, 1, 99)
    (folder / asked[1].path).unlink()
    for picture, told in ((asked[0], "changed"), (asked[1], "gone")):
        with pytest.raises(ValueError, match=told):
            album.answer(picture, "red")
    assert album.labels() == {}
    assert len(album.waiting) == 5


def test_files_renamed_deleted_and_replaced_between_rounds(opened, folder, painted, labelled):
    album = opened()
    pictures = labelled(album, 10)
    album.train()
    key = [key for key, asked in album._state.asked.items() if not asked.held_out]
    (folder / "sub").mkdir()
    (folder / key[0].path).rename(folder / "sub" / "new name.png")
    (folder / key[1].path).unlink()
    painted(folder / key[2].path, 0, 77)
    painted(folder / "extra.png", 2, 78)
    album.refresh()
    assert "sub/new name.png" in album.labels()
    assert len(album.labels()) == len(pictures) - 2
    report = album.train()
    assert (report.gone, report.learned_from) == (2, 6)
    assert [upload["pictures"] for upload in album.ledger()["uploads"]] == [8]  # a new name uploads nothing
    asked = {picture.path for picture in album.next(album.left)}
    assert {"extra.png", key[2].path} <= asked
    assert not {"sub/new name.png", key[1].path} & asked


def test_a_rule_may_come_later(opened, labelled):
    album = opened()
    labelled(album, 10)
    album.train()
    late = next(iter(album._state.uploaded))
    album.close()
    album = opened(protect=[late.path])
    assert late.path not in album.labels()
    report = album.report()
    assert (report.protected, report.protected_since) == (1, 1)
    report = album.train()
    assert report.learned_from == 7
    assert "before a rule protected" in str(report)
    album.close()
    assert opened(classes=None).report().protected == 1  # the rules are kept


def test_classes_may_be_added(opened, labelled):
    album = opened()
    labelled(album, 10)
    album.train()
    album.close()
    album = opened(classes=["red", "green", "blue", "grey"])
    assert {suggestion.label for suggestion in album.suggestions()} <= {"red", "green", "blue"}
    album.answer(album.next(5)[0], "grey")
    album.close()
    with pytest.raises(ValueError, match="keep them"):
        opened(classes=["green", "red", "blue"])


def test_the_method_may_change_between_rounds_and_what_the_cloud_gets_may_not(opened, labelled):
    album = opened()
    labelled(album, 10)
    album.train()
    album.close()
    with pytest.raises(ValueError, match="has learned with size = 8, not 16: keep it, or choose another `out`"):
        opened(classes=None, learning={"size": 16})
    with pytest.raises(ValueError, match="has learned with teacher = 'resnet8'"):
        opened(classes=None, learning={"size": 8, "teacher": "resnet14"})
    album = opened(classes=None, learning={"size": 8, "method": "badge", "seed": 3})
    labelled(album, 10)
    album.train()
    assert (album.learning.method, album.report().rounds) == ("badge", 2)
    assert album.report().ledger["crossed"]["up: labelled images"]["items"] == 20 - album.report().held_out


def test_a_round_takes_what_is_left(opened, folder):
    album = opened()
    assert len(album.next(31)) == 30
    for picture in album.waiting:
        album.answer(picture, "red")
    album.train()
    with pytest.raises(ValueError, match="no picture is left"):
        album.next(1)


def test_copies_are_asked_about_once(opened, folder):
    one = sorted(folder.iterdir())[0]
    for number in range(5):
        (folder / f"copy {number}.png").write_bytes(one.read_bytes())
    album = opened()
    assert album.left == 30
    album.next(30)
    for number, picture in enumerate(album.waiting):
        album.answer(picture, ("red", "green")[number % 2])
    same = {"copy 0.png", "copy 1.png", "copy 2.png", "copy 3.png", "copy 4.png", one.name}
    given = {label for path, label in album.labels().items() if path in same}
    assert len(album.labels()) == 35
    assert len(given) == 1
    album.train()
    assert album.suggestions() == []
    album.answer("copy 3.png", "blue")  # corrects them all
    assert {album.labels()[path] for path in same} == {"blue"}
    album.close()
    assert {opened(protect=[one.name]).labels().get(path) for path in same} == {None}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"classes": None}, "needs classes"),
        ({"classes": ["one"]}, "nothing to tell apart"),
        ({"classes": ["a", "A"]}, "name one twice"),
        ({"classes": ["a", ".."]}, "cannot name a folder"),
        ({"classes": ["a", " b"]}, "no name of a class"),
        ({"protect": {"everything": True}}, "all 30 pictures are protected"),
        ({"protect": {"places": [{"lat": 0, "lon": 0, "km": 1}]}}, "no place in its EXIF: 30"),
        ({"protect": ["misspelt.png"]}, "misspelt.png"),
        ({"learning": {"method": "core_set"}}, "must be 'psl', 'random'"),
        ({"learning": {"options": {"peer": 2}}}, "unknown setting"),
        ({"folder": "nowhere"}, "no folder"),
    ],
)
def test_bad_input_is_one_sentence(opened, tmp_path, options, told):
    with pytest.raises(ValueError, match=told) as caught:
        opened(**options)
    assert "\n" not in str(caught.value)
    assert opened().report().pictures == 30  # and nothing is spoilt


def test_empty_folders_and_places_that_will_not_do(opened, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no picture"):
        opened(folder=tmp_path / "empty")
    with pytest.raises(ValueError, match="stays as it is"):
        opened(out=folder / "out")
    before = sorted(folder.iterdir())
    album = opened()
    for n in (0, -1, 2.5, True, "3"):
        with pytest.raises(ValueError, match="at least 1"):
            album.next(n)
    album.next(3)
    with pytest.raises(ValueError, match="too few"):
        album.train()
    assert sorted(folder.iterdir()) == before


def test_a_large_album_asks_the_same_before_it_has_read_all(opened, folder, painted, labelled, tmp_path, monkeypatch):
    for number in range(30, 45):  # damaged behind their heads: only decoding tells
        painted(folder / f"{number % 3}-{number}.jpg", number % 3, number, side=64)
        whole = (folder / f"{number % 3}-{number}.jpg").read_bytes()
        (folder / f"{number % 3}-{number}.jpg").write_bytes(whole[: len(whole) // 2])
    found, told = [], []
    for few in (500, 0):
        monkeypatch.setattr("psllab.album.index._FEW", few)
        album = opened(out=tmp_path / f"out-{few}", learning={"size": 8, "recipe": {"epochs": 1, "batch_size": 8}})
        unread, left_out, first = album.unread, len(album.left_out), labelled(album, 10)
        assert (unread, left_out) == ((0, 15) if few else (45, 0))
        assert few or (album.unread < 45 and 0 < len(album.left_out) < 15)
        report = album.train(reading=lambda *now: told.append(now))
        assert (report.pictures, report.left_out, album.unread) == (30, 15, 0)
        found.append((first, album.next(5), report.right, album.suggestions()))
        album.close()
    assert found[0] == found[1]
    assert len(told) == 1


def test_what_was_read_before_somebody_stopped_is_kept(opened, monkeypatch):
    monkeypatch.setattr("psllab.album.index._FEW", 0)
    monkeypatch.setattr("psllab.album.cache._AT_ONCE", 4)

    def stop(done, total):
        raise InterruptedError

    album = opened()
    with pytest.raises(InterruptedError):
        album.read(stop)
    assert album.unread == 26
    assert album.thumbnail(album.preview().safe[-1])
    assert album.unread == 25


def test_the_rest_is_read_in_a_thread_while_somebody_answers(opened, labelled, monkeypatch):
    monkeypatch.setattr("psllab.album.index._FEW", 0)
    album = opened()
    reading = threading.Thread(target=album.read)
    reading.start()
    labelled(album, 10)
    reading.join()
    assert album.unread == 0
    assert album.train().learned_from == 8


def test_random_needs_no_students(opened, labelled):
    album = opened(learning={"size": 8, "method": "random", "recipe": {"epochs": 1}})
    labelled(album, 10)
    album.train()
    labelled(album, 5)
    assert "down: logits on labelled images" not in album.ledger()["crossed"]


def test_opened_again_in_one_process_the_first_lets_go(opened):
    first = opened()
    second = opened()
    with pytest.raises(ValueError, match="closed"):
        first.next(3)
    second.next(3)
    assert isinstance(second, Album)


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_full_disk_during_training(opened, labelled, monkeypatch, at):
    album, calls, sync = opened(), [], os.fsync
    labelled(album, 10)

    def full(file):
        calls.append(file)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        album.train()
    album.close()
    album = opened()
    assert album.report().rounds == 0
    report = album.train()
    assert (report.rounds, report.learned_from) == (1, 8)
    assert [upload["pictures"] for upload in report.ledger["uploads"]] == [8]
    assert album.next(5)


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["answer", "skip", "unsure", "undo"]), st.integers(0, 4), st.integers(0, 1))))
def test_whatever_is_said_in_whatever_order_the_journal_tells_the_same(opened, tmp_path_factory, acts):
    out = tmp_path_factory.mktemp("out")
    album = opened(out=out)
    asked, stack, last = album.next(5), [], {}
    for act, which, who in acts:
        picture, by = asked[which], ("Ada", "Bob")[who]
        if act == "answer":
            album.answer(picture, album.classes[who], by)
        elif act == "skip":
            album.skip(picture, by)
        elif act == "unsure":
            album.not_sure(picture, by)
        elif stack:
            assert album.undo() == stack.pop()[0]
        if act != "undo":
            stack.append((picture, album.classes[who] if act == "answer" else None))
    for picture, label in stack:
        last[picture.path] = label
    expected = {path: label for path, label in last.items() if label is not None}
    assert album.labels() == expected
    album.close()
    again = opened(out=out)
    assert again.labels() == expected
    assert again._state == album._state
    assert {picture.path for picture in again.waiting} == {picture.path for picture in asked} - last.keys()


def test_a_forgotten_album_lets_go(opened, folder, tmp_path):
    Album(folder, ["a", "b"], out=tmp_path / "other")
    gc.collect()
    with Album(folder, out=tmp_path / "other") as album:
        assert album.classes == ("a", "b")

"""Half an album is protected: nothing of it is in anything that crosses or is written to be looked at.

The same search finds the same kind of trace of the pictures that were labelled, so it would see a leak.
"""

import numpy as np
from PIL import Image

from psllab.album import ask_csv, ask_page, import_labels, labels_csv, studio_tasks, tree


def test_nothing_of_a_protected_picture_gets_out(canaries, traces, opened, tmp_path, crossed):
    by_hand = [path for path in canaries if path.startswith("private")]
    album = opened(folder=tmp_path / "noise", protect=by_hand)  # the names themselves are the rule
    asked = []
    for _ in range(2):
        pictures = album.next(8)
        asked += pictures
        ask_csv(album, pictures, tmp_path / "out" / "ask.csv")
        ask_page(album, pictures, tmp_path / "out" / "ask.html")
        studio_tasks(album, pictures, tmp_path / "out" / "tasks.json")
        table = (tmp_path / "out" / "ask.csv").read_text().splitlines()
        filled = [table[0], *(line.replace(",,", f",{album.classes[at % 3]},") for at, line in enumerate(table[1:]))]
        (tmp_path / "filled.csv").write_text("\n".join(filled))
        assert import_labels(album, tmp_path / "filled.csv", by="Ada").answers == 8
        report = album.train()
        labels_csv(album, tmp_path / "out" / "labels.csv")
    (tmp_path / "out" / "report.txt").write_text(f"{report}\n{report!r}\n{album.ledger()}")
    assert tree(album, tmp_path / "tree") == 16
    assert {path.name for path in (tmp_path / "tree").rglob("*.png")} == {p.path.split("/")[1] for p in asked}
    album.close()

    kept = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert {"journal.jsonl", "task-learner-2.pt", "ranking-2.json", "ask.csv", "ask.html", "tasks.json", "labels.csv",
            "report.txt"} <= set(kept)  # fmt: skip
    places = kept | {"the door": b"".join(crossed)}
    uploaded = {event[0] for upload in album._state.uploads for event in upload["pictures"]}
    assert len(uploaded) > 10
    for path, canary in canaries.items():
        for place, content in places.items():
            found = traces(canary, content)
            if path in by_hand:
                assert not found, (path, place, found)
            assert "exif" not in found, (path, place)  # of no picture at all
        if path in uploaded:
            assert "pixels" in traces(canary, places["the door"])
            assert "name" in traces(canary, places["journal.jsonl"])
            assert "name" in traces(canary, places["labels.csv"])
            assert not {"name"} & traces(canary, places["the door"])
    for picture in pictures:  # of the last round
        for place in ("ask.csv", "tasks.json"):
            assert "name" in traces(canaries[picture.path], places[place])
        assert {"name", "thumbnail"} <= traces(canaries[picture.path], places["ask.html"])


def test_the_search_sees_exif_where_there_is_some(canaries, traces, tmp_path):
    for path, canary in canaries.items():
        assert {"name", "exif"} <= traces(canary, path.encode() + (tmp_path / "noise" / path).read_bytes())


def test_the_task_learner_does_not_depend_on_what_protected_pictures_show(canaries, opened, tmp_path):
    rounds = []
    for turn in range(2):
        if turn:
            for path in canaries:
                if path.startswith("private"):
                    Image.new("RGB", (30, 20), "white").save(tmp_path / "noise" / path)
        album = opened(folder=tmp_path / "noise", protect={"folders": ["private"]}, out=tmp_path / f"out-{turn}")
        for number, picture in enumerate(album.next(10)):
            album.answer(picture, album.classes[number % 3])
        album.train()
        rounds.append(album.task_learner().probabilities(album._index.images(range(20, 40))))
    assert np.array_equal(*rounds)


def test_our_own_files_are_for_the_owner_alone(opened, tmp_path):
    opened().next(3)
    for path in (tmp_path / "out" / "journal.jsonl", *(tmp_path / "out" / "cache").iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path

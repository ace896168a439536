"""The gallery without a browser: what it sends for what it is asked, and that keys name what was on the screen."""

import io

import numpy as np
import pytest
from PIL import Image

from psllab.widgets.gallery import Gallery, png


@pytest.fixture
def gallery(monkeypatch):
    made, sent = [], []

    def thumb(ids):
        made.append(list(ids))
        return [f"picture {one}".encode() for one in ids]

    shown = Gallery(10_000, thumb, caption=str, marks=lambda one: [("odd", "note")] if one % 2 else [])
    monkeypatch.setattr(shown, "send", lambda content, buffers=None: sent.append((content, buffers)))
    shown.made, shown.sent = made, sent
    return shown


def test_only_what_is_in_sight_is_made_and_sent(gallery):
    gallery.hear({"kind": "want", "generation": gallery.generation, "positions": list(range(40, 110))})
    assert gallery.made == [list(range(40, 100)), list(range(100, 110))]
    (first, buffers), (second, _) = gallery.sent
    assert first["items"][1] == {"id": 41, "position": 41, "caption": "41", "marks": [["odd", "note"]]}
    assert buffers[1] == b"picture 41"
    assert [item["id"] for item in second["items"]] == list(range(100, 110))


def test_an_order_is_shown_and_old_questions_are_passed_over(gallery):
    before = gallery.generation
    gallery.order = [7, 3, 5]
    assert gallery.count == 3
    gallery.hear({"kind": "want", "generation": before, "positions": [0]})
    assert gallery.sent == []
    gallery.hear({"kind": "want", "generation": gallery.generation, "positions": [2, 0, 3, -1]})
    assert gallery.made == [[5, 7]]
    with pytest.raises(ValueError, match="ids from 0 to 9999"):
        gallery.order = [10_000]


def test_keys_marks_and_selection_name_pictures_not_positions(gallery):
    keys, marks, selections = [], [], []
    gallery.on_key(lambda *given: keys.append(given))
    gallery.on_mark(marks.append)
    gallery.on_select(selections.append)
    gallery.order = [7, 3, 5]
    gallery.hear({"kind": "select", "id": 3})
    gallery.order = [5, 3]  # the page is slow: the person still sees picture 7
    gallery.hear({"kind": "key", "id": 7, "key": "1"})
    gallery.hear({"kind": "mark", "id": 5, "on": True})
    gallery.hear({"kind": "mark", "id": 3, "on": True})
    gallery.hear({"kind": "mark", "id": 5, "on": False})
    assert (keys, marks, selections) == ([(7, "1")], [{5}, {5, 3}, {3}], [3])
    assert gallery.selected == 3
    gallery.order = [5]
    assert gallery.selected == -1
    gallery.hear({"kind": "hello"})
    assert gallery.sent[-1][0] == {"kind": "marked", "ids": [3]}


def test_whether_a_click_marks_is_told_and_focus_waits_for_the_page(gallery):
    clicks = []
    gallery.on_click(clicks.append)
    assert not gallery.marking
    gallery.hear({"kind": "click", "id": 3})
    assert clicks == [3]
    gallery.on_mark(lambda _: None)
    assert gallery.marking
    gallery.focus()
    gallery.sent.clear()
    gallery.hear({"kind": "hello"})  # the page came later
    assert gallery.sent[-1][0] == {"kind": "focus"}
    gallery.hear({"kind": "key", "id": 3, "key": "1"})
    gallery.sent.clear()
    gallery.hear({"kind": "hello"})  # a second view of it takes nobody's keyboard
    assert {"kind": "focus"} not in [content for content, _ in gallery.sent]


@pytest.mark.parametrize(
    "message",
    [{}, {"kind": "want"}, {"kind": "want", "generation": 1, "positions": "all"}, {"kind": "key", "id": "3"},
     {"kind": "key", "id": 10**6, "key": "1"}, {"kind": "select"}, {"kind": "mark", "id": None}],
)  # fmt: skip
def test_a_message_without_sense_changes_nothing(gallery, message):
    gallery.on_key(lambda *_: pytest.fail("a key was told"))
    gallery.hear(message)
    assert (gallery.sent, gallery.selected, gallery.marked) == ([], -1, set())


def test_no_picture_is_in_the_saved_state(gallery):
    gallery.hear({"kind": "want", "generation": gallery.generation, "positions": [1, 2]})
    state = {name: value for name, value in gallery.get_state().items() if name not in ("_esm", "_css")}
    assert "picture" not in str({name: value for name, value in state.items() if name != "empty"})
    assert len(str(state)) < 1000


def test_pictures_are_png():
    for image in (np.arange(64, dtype=np.uint8).reshape(1, 8, 8), np.arange(192, dtype=np.uint8).reshape(3, 8, 8)):
        read = np.array(Image.open(io.BytesIO(png(image))))
        assert np.array_equal(read.reshape(8, 8, len(image)), image.transpose(1, 2, 0))

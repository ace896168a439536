"""A grid of thumbnails for notebooks: pictures cross as bytes, only those in sight; keys name what was on the screen.

Nothing of a picture is in the widget's saved state, so that a saved notebook holds none.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from pslcore.data import Bytes

_HERE = Path(__file__).parent
_AT_ONCE, _AT_MOST = 60, 3000
"""Pictures that one message holds, and that one question may ask for."""

Mark = tuple[str, str]
"""A badge: its text and its tone, one of ``good bad note lock pick quiet``."""
Thumb = Callable[[list[int]], list[bytes]]
Caption = Callable[[int], str]
Marks = Callable[[int], Sequence[Mark]]


class Gallery(anywidget.AnyWidget):
    """Thumbnails of ``n`` pictures with the ids 0 to n - 1, or one of them at a time.

    Arrows, page up and down, home and end move the selection; enter and space click the selected picture. Where
    somebody listens with ``on_mark``, space and a click with ctrl mark instead. A digit or a letter goes to ``on_key``
    with the id of the picture that was on the screen when it was pressed. A key for a picture that is not on the
    screen yet is dropped. The page that it lies on needs a ``Fit``, or JupyterLab takes keys as well.

    Parameters
    ----------
    n : int
        How many pictures there are.
    thumb : callable
        From some ids to the bytes of a picture each (PNG, JPEG or WebP); empty bytes where there is none. It is called
        only for what somebody looks at.
    caption : callable, optional
        From an id to plain text; its first line is bold.
    marks : callable, optional
        From an id to badges, see ``Mark``.
    large : callable, optional
        As ``thumb``, for one picture at a time; without it the thumbnail is enlarged.
    single : bool
        One picture at a time.
    side, height : int
        Of a thumbnail and of the whole grid, in pixels of the screen.
    lines : int
        Room for so many lines of caption.
    buttons : list of dict
        ``key``, ``label`` and ``tone`` (``plain quiet``), under a single picture: a press is reported as that key, and
        names the picture that is on the screen as well.
    """

    _esm = _HERE / "gallery.js"
    _css = _HERE / "gallery.css"
    count = traitlets.Int(0).tag(sync=True)
    generation = traitlets.Int(0).tag(sync=True)
    side = traitlets.Int(96).tag(sync=True)
    height = traitlets.Int(420).tag(sync=True)
    lines = traitlets.Int(2).tag(sync=True)
    single = traitlets.Bool(False).tag(sync=True)
    marking = traitlets.Bool(False).tag(sync=True)
    empty = traitlets.Unicode("No picture.").tag(sync=True)
    buttons = traitlets.List(traitlets.Dict()).tag(sync=True)

    def __init__(
        self, n: int, thumb: Thumb, caption: Caption | None = None, marks: Marks | None = None,
        large: Thumb | None = None, **traits: Any,
    ):  # fmt: skip
        super().__init__(**traits)
        self._marked: set[int] = set()
        self._note, self._focus = ("", "quiet"), False
        self._callbacks: dict[str, list[Callable[..., None]]] = {}
        self.show(n, thumb, caption, marks, large)
        self.on_msg(lambda _, content, buffers: self.hear(content))

    def show(
        self, n: int, thumb: Thumb, caption: Caption | None = None, marks: Marks | None = None,
        large: Thumb | None = None, order: Iterable[int] | None = None,
    ) -> None:  # fmt: skip
        """Other pictures, as in the constructor; nothing is selected or marked. Shown are all, or ``order``."""
        self._n, self._thumb, self._large = n, thumb, large or thumb
        self._caption = caption or (lambda _: "")
        self._marks = marks or (lambda _: ())
        self._selected = -1
        self._marked.clear()
        self.order = np.arange(n) if order is None else order
        self._send_marked()

    # What is shown

    @property
    def order(self) -> np.ndarray:
        """Ids of the pictures, in the order in which they are shown."""
        return self._order.copy()

    @order.setter
    def order(self, ids: Iterable[int]) -> None:
        order = np.array(list(ids) if not isinstance(ids, np.ndarray) else ids, dtype=np.int64)
        if order.ndim != 1 or (order.size and not (order.min() >= 0 and order.max() < self._n)):
            raise ValueError(f"an order names ids from 0 to {self._n - 1}, in one list.")
        self._order = order
        with self.hold_sync():
            self.count = len(order)
            self.generation += 1
        if self._selected in order:
            self.selected = self._selected
        else:
            self._selected = -1

    def refresh(self, ids: Iterable[int]) -> None:
        """Captions, marks or pictures of these have changed: send those that are shown again."""
        places = np.flatnonzero(np.isin(self._order, list(ids)))
        self._answer(places.tolist()[:_AT_MOST])

    def note(self, text: str, tone: str = "quiet") -> None:
        """A line below the pictures (tone ``quiet`` or ``bad``); as a message, so that no saved notebook holds it."""
        self._note = (text, tone)
        self._send_note()

    def focus(self) -> None:
        """Take the keyboard once it is in sight, unless somebody works outside its page."""
        self._focus = True
        self.send({"kind": "focus"})

    # What is chosen

    @property
    def selected(self) -> int:
        """Id of the selected picture, -1 for none."""
        return self._selected

    @selected.setter
    def selected(self, picture: int) -> None:
        places = np.flatnonzero(self._order == picture)
        self._selected = int(picture) if places.size else -1
        self.send({"kind": "show", "position": int(places[0]) if places.size else -1})

    @property
    def marked(self) -> set[int]:
        """Ids of the marked pictures."""
        return set(self._marked)

    @marked.setter
    def marked(self, ids: Iterable[int]) -> None:
        self._marked = {int(one) for one in ids}
        self._send_marked()

    def on_select(self, callback: Callable[[int], None]) -> None:
        """Call with the id whenever a person selects a picture, by click or by arrow."""
        self._callbacks.setdefault("select", []).append(callback)

    def on_click(self, callback: Callable[[int], None]) -> None:
        """Call with the id whenever a person clicks a picture, selected or not, or presses enter or space on it."""
        self._callbacks.setdefault("click", []).append(callback)

    def on_mark(self, callback: Callable[[set[int]], None]) -> None:
        """Call with all marked ids whenever a person marks or unmarks one."""
        self.marking = True
        self._callbacks.setdefault("mark", []).append(callback)

    def on_key(self, callback: Callable[[int, str], None]) -> None:
        """Call with (id, key): the picture on the screen when a key or button was pressed, and ``event.key``."""
        self._callbacks.setdefault("key", []).append(callback)

    # What the browser says

    def hear(self, content: dict[str, Any]) -> None:
        """Take in a message of the browser; what makes no sense is passed over."""
        kind = content.get("kind")
        if kind == "want" and content.get("generation") == self.generation:
            self._answer(_whole(content.get("positions")), single=bool(content.get("single")))
        elif kind == "hello":
            self._send_marked()
            if self._note[0]:
                self._send_note()
            if self._focus:
                self.focus()
            if self._selected >= 0:
                self.selected = self._selected
        elif kind in ("select", "click", "key", "mark") and (ids := _whole([content.get("id")])):
            (picture,), self._focus = ids, False
            if not 0 <= picture < self._n:
                return
            if kind == "select":
                self._selected = picture
            if kind == "mark":
                (self._marked.add if content.get("on") else self._marked.discard)(picture)
            given = {"mark": (self.marked,), "key": (picture, str(content.get("key")))}.get(kind, (picture,))
            for callback in self._callbacks.get(kind, ()):
                callback(*given)

    def _answer(self, positions: list[int], single: bool = False) -> None:
        positions = [position for position in positions if 0 <= position < len(self._order)][:_AT_MOST]
        for start in range(0, len(positions), _AT_ONCE):
            self._send_pictures(positions[start : start + _AT_ONCE], single)

    def _send_pictures(self, positions: list[int], single: bool) -> None:
        ids = self._order[positions].tolist()
        pictures = (self._large if single or self.single else self._thumb)(ids)
        items = [
            {"id": one, "position": place, "caption": self._caption(one), "marks": [list(m) for m in self._marks(one)]}
            for one, place in zip(ids, positions, strict=True)
        ]
        self.send({"kind": "pictures", "generation": self.generation, "items": items}, pictures)

    def _send_marked(self) -> None:
        self.send({"kind": "marked", "ids": sorted(self._marked)})

    def _send_note(self) -> None:
        text, tone = self._note
        self.send({"kind": "note", "text": text, "tone": tone})


class Fit(anywidget.AnyWidget):
    """Nothing to see: plots of its page follow the width of the notebook, tables take its colours, keys stay in it."""

    _esm = _HERE / "fit.js"
    _css = _HERE / "gallery.css"


def _whole(values: Any) -> list[int]:
    """The whole numbers of a list that a browser sent."""
    return [v for v in values if isinstance(v, int) and not isinstance(v, bool)] if isinstance(values, list) else []


def png(image: Bytes) -> bytes:
    """A uint8 image [C, H, W] with one or three channels as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image[:3].transpose(1, 2, 0).copy()).save(buffer, "PNG")
    return buffer.getvalue()

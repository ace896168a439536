"""The widgets of what an album's folder holds: what is protected and why, and a click that protects by hand."""

from pathlib import Path

import ipywidgets as w

from pslcore.album import Album, Preview
from pslcore.hands_on import desk_parts as parts
from pslcore.hands_on.gallery import Gallery
from pslcore.hands_on.rules_form import hidden

_SHOWN = (("protected", "protected"), ("may be asked about", "safe"), ("left out", "left out"))


class Found:
    """Counts, and a gallery of the pictures that are protected, may be asked about, or were left out.

    Attributes
    ----------
    hand : set of str
        Hashes of the names that are protected by hand, applied or not.
    names : list of str
        Of the pictures in the gallery.
    """

    def __init__(self) -> None:
        self.hand: set[str] = set()
        self.names: list[str] = []
        self._album: Album | None = None
        self._preview = Preview({}, [], {}, [])
        self.counts = w.HTML()
        self.kind = w.Dropdown(description="shown", options=_SHOWN, layout=w.Layout(width="250px"))
        self.kind.style.description_width = "62px"
        self.grid = Gallery(0, parts.nothing, side=116, height=330, empty="None.")
        self.grid.add_class("psl-desk-found")
        self.view = w.VBox([self.counts, self.kind, self.grid], layout=w.Layout(width="100%"))
        self.kind.observe(lambda _: self._draw(), "value")

    def show(self, album: Album, preview: Preview) -> None:
        """What is in an album's folder."""
        self._album, self._preview = album, preview
        self.counts.value = parts.found(preview)
        self._draw()

    def protect(self, number: int) -> str:
        """Protect a picture of the gallery by hand, or no longer; why that changes nothing, if so."""
        if self.kind.value == "left out":
            return "It is left out: nobody is asked about it, and it is not learned from."
        name = self.names[number]
        why = self._preview.protected.get(name, "")
        if why and why != "by hand" and hidden(name) not in self.hand:
            return f"A rule protects it already: {why}."
        self.hand ^= {hidden(name)}
        self.grid.refresh([number])
        return ""

    def _draw(self) -> None:
        if self._album is None:
            return
        kept, preview, album = set(self._album.protect.kept()["by_hand"]), self._preview, self._album
        about = {"protected": preview.protected, "left out": preview.left_out,
                 "safe": dict.fromkeys(preview.safe, "")}[self.kind.value]  # fmt: skip
        names = self.names = list(about)

        def marks(number: int) -> list[tuple[str, str]]:
            now, then = hidden(names[number]) in self.hand, hidden(names[number]) in kept
            if now != then:
                return [("to be protected", "pick")] if now else [("no longer", "note")]
            return [("protected", "lock")] if names[number] in preview.protected else []

        def thumb(ids: list[int]) -> list[bytes]:
            if self.kind.value == "left out":
                return parts.nothing(ids)
            return [parts.thumbnail(album, names[one]) for one in ids]

        self.grid.show(len(names), thumb, lambda one: f"{Path(names[one]).name}\n{about[names[one]]}", marks)
        hint = "Click a picture to protect it by hand, or no longer; then press Apply."
        self.grid.note("" if self.kind.value == "left out" else hint)

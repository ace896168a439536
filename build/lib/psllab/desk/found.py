"""The widgets of what an album's folder holds: what is protected and why, and a click that protects or releases."""

import ipywidgets as w

from psllab.album import BY_HAND, Album, Preview
from psllab.desk import parts
from psllab.widgets.controls import button, row, told
from psllab.widgets.gallery import Gallery

_SHOWN = {
    "protected": "protected", "may be asked about": "safe", "held back: resemble protected ones": "held back",
    "protected by earlier rules alone": "earlier", "left out": "left out",
}  # fmt: skip


class Found:
    """Counts, and a gallery of the pictures that are protected, may be asked about, or were left out.

    Attributes
    ----------
    hand, back : set of str
        Pictures to protect by hand, and to release, once that is applied.
    names : list of str
        Of the pictures in the gallery.
    """

    def __init__(self) -> None:
        self.hand: set[str] = set()
        self.back: set[str] = set()
        self.names: list[str] = []
        self._album: Album | None = None
        self._preview: Preview | None = None
        self.counts = w.HTML()
        self.kind = w.Dropdown(description="shown", options=_SHOWN.items(), layout=w.Layout(width="330px"))
        self.kind.style.description_width = "62px"
        self.all = button("Release all of these", "unlock", "release")
        self.grid = Gallery(0, parts.nothing, side=116, height=330, empty="None.")
        self.grid.add_class("psl-desk-found")
        self.view = w.VBox([self.counts, row(self.kind, self.all), self.grid], layout=w.Layout(width="100%"))
        self.kind.observe(lambda _: self._draw(), "value")
        self.all.on_click(lambda _: self.release_all())

    def show(self, album: Album, preview: Preview) -> None:
        """What is in an album's folder."""
        self._album, self._preview = album, preview
        self.counts.value = "".join(map(told, [*preview.lines, *album.rewritten]))
        self._draw()

    def click(self, number: int) -> str:
        """Protect a picture of the gallery by hand, or release it, or neither any more; why not, if so."""
        assert self._preview is not None
        if self.kind.value == "left out":
            return "It is left out: nobody is asked about it, and it is not learned from."
        name = self.names[number]
        why = self._preview.protected.get(name, "")
        if not why:
            self.hand ^= {name}
        elif why == BY_HAND or name in self._preview.held_back or name in self._preview.earlier:
            self.back ^= {name}
        else:
            return f"A rule protects it: {why}."
        self.grid.refresh([number])
        return ""

    def release_all(self) -> None:
        """Release everything that is shown, once that is applied."""
        self.back |= set(self.names)
        self.grid.refresh(range(len(self.names)))
        self.grid.note(f"{len(self.back)} to be released: press Apply.")

    def _draw(self) -> None:
        if self._album is None or self._preview is None:
            return
        preview, album, kind = self._preview, self._album, self.kind.value
        about = {
            "protected": preview.protected, "left out": preview.left_out, "safe": dict.fromkeys(preview.safe, ""),
            "held back": {name: preview.protected[name] for name in preview.held_back},
            "earlier": {name: preview.protected[name] for name in preview.earlier},
        }[kind]  # fmt: skip
        names = self.names = list(about)

        def marks(number: int) -> list[tuple[str, str]]:
            name = names[number]
            if name in self.hand or name in self.back:
                return [("to be protected", "pick")] if name in self.hand else [("to be released", "note")]
            held = [("held back", "lock")] if name in preview.held_back else []
            return held or ([("protected", "lock")] if name in preview.protected else [])

        def thumb(ids: list[int]) -> list[bytes]:
            if kind == "left out":
                return parts.nothing(ids)
            if kind == "held back":
                return [parts.pair(album, names[one], preview.held_back[names[one]]) for one in ids]
            return [parts.thumbnail(album, names[one]) for one in ids]

        def caption(one: int) -> str:
            other = preview.held_back.get(names[one], "")
            return f"{names[one].rpartition('/')[2]}\n{f'like {other}' if other else about[names[one]]}"

        self.all.layout.display = "" if kind in ("held back", "earlier") and names else "none"
        self.grid.show(len(names), thumb, caption, marks)
        hints = {"left out": "", "held back": "Click a picture to release it; then press Apply.",
                 "earlier": "Click a picture to release it; then press Apply."}  # fmt: skip
        self.grid.note(hints.get(kind, "Click a picture to protect it by hand, or no longer; then press Apply."))

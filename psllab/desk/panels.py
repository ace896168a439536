"""The parts of the desk: the rules as a form, what the folder holds, and what was learned."""

import re
from collections.abc import Callable
from pathlib import Path

import ipywidgets as w

from psllab.album import BY_HAND, Album, Picture, Preview, Protect, Report, Suggestion
from psllab.desk import parts
from psllab.widgets import paragraph
from psllab.widgets.controls import button, row
from psllab.widgets.gallery import Gallery

NARROW = {"description_width": "62px"}
_SHOWN = {
    "protected": "protected", "may be asked about": "safe", "held back: resemble protected ones": "held back",
    "protected by earlier rules alone": "earlier", "left out": "left out",
}  # fmt: skip


_SAID = {
    "what it would answer": "rest", "answered by people": "answered", "not sure": "not sure", "skipped": "skipped",
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
        self._chosen = False  # somebody chose what is shown
        self.counts = w.HTML()
        self.kind = w.Dropdown(
            description="shown", options=_SHOWN.items(), layout=w.Layout(width="330px"), style=NARROW
        )
        self.all = button("Release all of these", "unlock", "release")
        self.grid = Gallery(0, parts.nothing, side=116, height=330, empty="None.")
        self.grid.add_class("psl-desk-found")
        self.view = w.VBox([self.counts, row(self.kind, self.all), self.grid], layout=w.Layout(width="100%"))
        self.kind.observe(lambda _: self._choose(), "value")
        self.all.on_click(lambda _: self.release_all())

    def show(self, album: Album, preview: Preview) -> None:
        """What is in an album's folder."""
        self._album, self._preview = album, preview
        lines = [*preview.lines, *album.rewritten]
        self.counts.value = "".join(paragraph(line, bad=line in preview.misfits) for line in lines)
        if not self._chosen:
            self.kind.value, self._chosen = "protected" if preview.protected else "safe", False
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

    def _choose(self) -> None:
        self._chosen = True
        self._draw()

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


class Outcome:
    """Report, ledger, and a gallery of what the task learner would answer or people did; buttons to write that."""

    def __init__(self) -> None:
        self._album: Album | None = None
        self._rest: list[Suggestion] = []
        self._pictures: list[Picture] = []
        self._counting, self._drawn = False, "rest"
        self.report, self.ledger = w.HTML(paragraph("Nothing was learned yet.")), w.HTML()
        self.kind = w.Dropdown(description="shown", options=_SAID.items(), layout=w.Layout(width="250px"), style=NARROW)
        self.label = w.Dropdown(description="answer", options=["all"], layout=w.Layout(width="250px"), style=NARROW)
        self.csv, self.tree = button("Labels as CSV", "table", "csv"), button("A folder a class", "copy", "tree")
        self.grid = Gallery(0, parts.nothing, side=116, height=330)
        self.report.add_class("psl-desk-report")
        self.ledger.add_class("psl-desk-ledger")
        self.kind.add_class("psl-desk-said")
        self.grid.add_class("psl-desk-rest")
        chosen = row(self.kind, self.label, self.csv, self.tree)
        self.view = w.VBox([self.report, chosen, self.grid, self.ledger], layout=w.Layout(width="100%"))
        self.kind.observe(lambda _: self.draw(), "value")
        self.label.observe(lambda _: self._show(), "value")

    def show(self, album: Album, report: Report, rest: list[Suggestion]) -> None:
        """A report, and suggestions with the surest first."""
        self._album, self._rest = album, sorted(rest, key=lambda one: -one.confidence)
        self.report.value, self.ledger.value = parts.page(report), parts.ledger(report)
        self.draw()

    def on_pick(self, callback: Callable[[Picture], None]) -> None:
        """Call with the picture when a person clicks one that something was said of."""
        self.grid.on_click(lambda one: None if self.kind.value == "rest" else callback(self._pictures[one]))

    def draw(self) -> None:
        """The gallery anew, with what people have said by now."""
        if self._album is None:
            return
        labels, before = [label for _, label, _ in self._entries()], self.label.value
        if self._drawn != self.kind.value:  # what was chosen was chosen of other pictures
            self._drawn, before = self.kind.value, None
        counts = {name: labels.count(name) for name in self._album.classes}
        named = [(f"{name} ({count:,})", (name,)) for name, count in counts.items()]
        options = [(f"all ({len(labels):,})", ("", *self._album.classes)), *named]
        self._counting = True  # the options change, and then the choice: draw once
        self.label.options = options
        self.label.value = before if before in dict(options).values() else options[0][1]
        self.label.layout.display = "" if self.kind.value in ("rest", "answered") else "none"
        self._counting = False
        self._show()

    def _entries(self) -> list[tuple[Picture, str, str]]:
        """Of what is shown: picture, label if there is one, and caption."""
        album, kind = self._album, self.kind.value
        if album is None or kind == "rest":
            return [(one.picture, one.label, f"{one.label}  {one.confidence:.0%}") for one in self._rest]
        said = {"answered": album.answered, "not sure": album.unsure, "skipped": album.skipped}[kind]
        words = ((picture, album.annotations(picture)[-1]) for picture in reversed(said))
        return [(picture, word.label or "", f"{word.label or kind}\nsays {word.by}") for picture, word in words]

    def _show(self) -> None:
        if self._counting:
            return
        shown = [one for one in self._entries() if one[1] in self.label.value]
        album, self._pictures = self._album, [picture for picture, _, _ in shown]

        def thumb(ids: list[int]) -> list[bytes]:
            return [b"" if album is None else parts.thumbnail(album, shown[one][0]) for one in ids]

        def caption(one: int) -> str:
            return f"{shown[one][2]}\n{Path(shown[one][0].path).name}"

        rest = self.kind.value == "rest"
        self.grid.empty = "Nothing was learned yet, or no picture is left." if rest else "None."
        self.grid.lines = 2 if rest else 3
        self.grid.show(len(shown), thumb, caption)
        self.grid.note("" if rest or not shown else "Click a picture to answer it anew.")


class RulesForm:
    """Fields for all rules but those by hand; several entries of a field are parted by semicolons."""

    def __init__(self) -> None:
        self.dates = _field("dates", "2024-07-01 to 2024-07-14; 2024-12-24")
        self.places = _field("places", "52.52, 13.40, 5 km (latitude, longitude, radius)")
        self.folders = _field("folders", "private; 2023/birthday")
        self.patterns = _field("patterns", "*party*; scan-*.png")
        fields = [self.dates, self.places, self.folders, self.patterns]
        self.view = w.Box(fields, layout=w.Layout(flex_flow="row wrap", width="100%"))

    def rules(self, by_hand: tuple[str, ...] = ()) -> Protect:
        """What the fields say; ``ValueError`` in one sentence if one of them makes no sense."""
        dates = [_span(part) for part in _parts(self.dates.value)]
        places = [_circle(part) for part in _parts(self.places.value)]
        folders, patterns = _parts(self.folders.value), _parts(self.patterns.value)
        rules = {"dates": dates, "places": places, "folders": folders, "patterns": patterns, "by_hand": list(by_hand)}
        return Protect.of(rules)

    def fill(self, rules: Protect) -> None:
        """Show these rules."""
        days = [str(s.first) if s.first == s.last else f"{s.first} to {s.last}" for s in rules.dates]
        self.dates.value = "; ".join(days)
        self.places.value = "; ".join(f"{p.lat:g}, {p.lon:g}, {p.km:g} km" for p in rules.places)
        self.folders.value, self.patterns.value = "; ".join(rules.folders), "; ".join(rules.patterns)


def _field(name: str, example: str) -> w.Text:
    layout = w.Layout(flex="1 1 340px", width="auto")
    field = w.Text(description=name, placeholder=example, continuous_update=False, style=NARROW, layout=layout)
    field.add_class(f"psl-rule-{name}")
    return field


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _span(text: str) -> dict[str, str]:
    first, _, last = text.partition(" to ")
    return {"first": first.strip(), "last": last.strip() or first.strip()}


def _circle(text: str) -> dict[str, float]:
    numbers = re.fullmatch(r"(\S+?)\s*[, ]\s*(\S+?)\s*[, ]\s*(\S+?)\s*(?:km)?", text)
    try:
        lat, lon, km = map(float, numbers.groups() if numbers else ())
    except ValueError:
        wanted = "write latitude, longitude and radius, as in 52.52, 13.40, 5 km."
        raise ValueError(f"{text!r} is no place: {wanted}") from None
    return {"lat": lat, "lon": lon, "km": km}

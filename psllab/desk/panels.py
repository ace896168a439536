"""The parts of the desk: the rules as a form, what the folder holds, and what was learned."""

import re
from pathlib import Path

import ipywidgets as w

from psllab.album import BY_HAND, Album, Preview, Protect, Report, Suggestion
from psllab.desk import parts
from psllab.widgets import paragraph
from psllab.widgets.controls import button, row
from psllab.widgets.gallery import Gallery

NARROW = {"description_width": "62px"}
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
        self.kind = w.Dropdown(
            description="shown", options=_SHOWN.items(), layout=w.Layout(width="330px"), style=NARROW
        )
        self.all = button("Release all of these", "unlock", "release")
        self.grid = Gallery(0, parts.nothing, side=116, height=330, empty="None.")
        self.grid.add_class("psl-desk-found")
        self.view = w.VBox([self.counts, row(self.kind, self.all), self.grid], layout=w.Layout(width="100%"))
        self.kind.observe(lambda _: self._draw(), "value")
        self.all.on_click(lambda _: self.release_all())

    def show(self, album: Album, preview: Preview) -> None:
        """What is in an album's folder."""
        self._album, self._preview = album, preview
        self.counts.value = "".join(map(paragraph, [*preview.lines, *album.rewritten]))
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


class Outcome:
    """Report, ledger, and a gallery of pictures without an answer; buttons to write labels and folders."""

    def __init__(self) -> None:
        self._album: Album | None = None
        self._rest: list[Suggestion] = []
        self.report = w.HTML(paragraph("Nothing was learned yet."))
        self.label = w.Dropdown(description="answer", options=["all"], layout=w.Layout(width="250px"), style=NARROW)
        self.csv, self.tree = button("Labels as CSV", "table", "csv"), button("A folder a class", "copy", "tree")
        empty = "Nothing was learned yet, or no picture is left."
        self.grid = Gallery(0, parts.nothing, side=116, height=330, empty=empty)
        self.report.add_class("psl-desk-report")
        self.grid.add_class("psl-desk-rest")
        self.view = w.VBox([self.report, row(self.label, self.csv, self.tree), self.grid])
        self.label.observe(lambda _: self._show(), "value")

    def show(self, album: Album, report: Report, rest: list[Suggestion]) -> None:
        """A report, and suggestions with the surest first."""
        self._album, self._rest = album, sorted(rest, key=lambda one: -one.confidence)
        self.report.value = parts.page(report)
        counts = {name: sum(one.label == name for one in rest) for name in album.classes}
        named = [(f"{name} ({count:,})", (name,)) for name, count in counts.items()]
        self.label.options = [(f"all ({len(rest):,})", album.classes), *named]
        self._show()

    def _show(self) -> None:
        rest = [one for one in self._rest if one.label in self.label.value]
        album = self._album

        def thumb(ids: list[int]) -> list[bytes]:
            return [b"" if album is None else parts.thumbnail(album, rest[one].picture) for one in ids]

        def caption(one: int) -> str:
            return f"{rest[one].label}  {rest[one].confidence:.0%}\n{Path(rest[one].picture.path).name}"

        self.grid.show(len(rest), thumb, caption)


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
    layout = w.Layout(flex="1 1 340px", width="auto", min_width="280px")
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

"""The widgets of what an album has learned: the report, and what the task learner would answer for the rest."""

from pathlib import Path

import ipywidgets as w

from psllab.album import Album, Report, Suggestion
from psllab.desk import parts
from psllab.widgets.controls import button, row, told
from psllab.widgets.gallery import Gallery


class Outcome:
    """Report, ledger, and a gallery of pictures without an answer; buttons to write labels and folders."""

    def __init__(self) -> None:
        self._album: Album | None = None
        self._rest: list[Suggestion] = []
        self.report = w.HTML(told("Nothing was learned yet."))
        self.label = w.Dropdown(description="answer", options=["all"], layout=w.Layout(width="250px"))
        self.label.style.description_width = "62px"
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

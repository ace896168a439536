"""The widgets of ``explore_discrepancy.ipynb``, thin: the work is done by ``selection`` and ``plots``."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go

from pslcore.runs import Record, run
from psllab import grid
from psllab.explore import plots as panels
from psllab.explore.pool import Opened, Predictions, open_cycle
from psllab.explore.selection import SORTS, Chosen, lasso
from psllab.widgets import paragraph
from psllab.widgets.controls import Progress, control, named, offer, row, wide
from psllab.widgets.gallery import Fit, Gallery, png
from psllab.widgets.job import Job, Stopped

Runs = Mapping[str, Sequence[tuple[str, Record]]]
"""Of each experiment by name: the label of its curve and the record, one a finished run."""

_ALL = (("all", "all"),)
_EITHER = (*_ALL, ("yes", True), ("no", False))


def _whole(record: Record) -> bool:
    """Whether a cycle can be trained again: of brief records the picks are left out, and several clients have none."""
    return not grid.is_brief(record) and "clients" not in record["config"]


def finished(scale: str, root: str | Path = "data") -> Runs:
    """All finished runs of a scale, by experiment; where there are none, one of the first experiment is made."""
    found = {name: grid.collect(name, scale).runs for name in grid.experiments(scale)}
    if not any(found.values()):
        first = next(iter(found))
        print(f"No run is finished at the scale {scale}: one of {first} is made now, as the pipeline would make it.")
        cell = grid.cells(first, scale)[0]
        found[first] = [(cell, run(cell.config, root, grid.runs_folder("outputs", scale)))]
    return {name: [(cell.label, record) for cell, record in runs] for name, runs in found.items()}


class Explorer:
    """The pool of a finished run's cycle in discrepancy buckets.

    Parameters
    ----------
    runs : mapping
        See ``Runs``.
    folder : path
        Where cycles that were trained again are kept.
    root, device
        As for ``run``.

    Raises
    ------
    ValueError
        If there is no finished run of one client whose record says what it picked.
    """

    def __init__(self, runs: Runs, folder: str | Path, root: str | Path = "data", device: str = "auto"):
        whole = {name: [(label, record) for label, record in rows if _whole(record)] for name, rows in runs.items()}
        self._runs = {name: rows for name, rows in whole.items() if rows}
        if not self._runs:
            raise ValueError("no run is finished that says what it picked: run an experiment first.")
        self._folder, self._root, self._device = folder, root, device
        self.chosen: Chosen | None = None
        self._heat = False
        self._places: dict[str, np.ndarray] = {}
        self._quiet = False
        self._make()
        self._fill(0)

    # What a person can do, without a browser as well

    def open(self, wait: bool = True) -> Job | None:
        """Open the cycle that is chosen; trains it again unless it was kept."""
        record, cycle = self._record(), self.cycle.value
        self.status.value = paragraph("Training this cycle again from its record …")

        def work(part: Callable[[float], None]) -> Opened:
            return open_cycle(record, cycle, self._folder, self._root, self._device, part)

        return self.training.begin(work, self._opened, wait)

    def pick(self, rows: Sequence[int] | None) -> None:
        """What a lasso does: show these rows, of whatever bucket; None ends it."""
        if self.chosen is None:
            return
        self.chosen.among = None if rows is None else lasso(len(self.chosen.opened.predictions), rows)
        self.free.layout.display = "none" if rows is None else ""
        self._show()

    # The parts

    def _make(self) -> None:
        self.experiment = control(w.Dropdown, description="experiment", options=list(self._runs), width=250)
        self.method = control(w.Dropdown, description="method", width=190)
        self.seed = control(w.Dropdown, description="seed", width=110)
        self.cycle = control(w.Dropdown, description="cycle", width=190)
        self.go = w.Button(description="Open", icon="eye", button_style="primary", layout=w.Layout(width="90px"))
        self.training = Progress("training")
        self.status = w.HTML(paragraph("Choose a finished run and press Open."))
        self.buckets = control(w.IntSlider, 5, 1, 20, description="buckets")
        self.shown = control(w.IntSlider, 5, 0, 5, description="bucket (0: all)")
        self.label = control(w.Dropdown, description="class", options=_ALL, width=165)
        self.consensus = control(w.Dropdown, description="students agree", options=_EITHER, width=165)
        self.right = control(w.Dropdown, description="answer right", options=_EITHER, width=165)
        sides = [*_ALL, ("protected", True), ("safe", False)]
        self.protected = control(w.Dropdown, description="images", options=sides, width=165)
        self.sort = control(w.Dropdown, description="sorted by", options=SORTS, width=240)
        self.heat = w.Checkbox(description="discrepancy over the image", indent=False, layout=w.Layout(display="none"))
        self.free = w.Button(description="End the lasso", icon="times", layout=w.Layout(display="none", width="130px"))
        self.summary = w.HTML()
        self.grid = Gallery(0, lambda rows: [b""] * len(rows), side=112, height=450, empty="No image is like that.")
        self.detail = go.FigureWidget(layout={"height": 450, "title": {"text": "Click an image"}, "autosize": True})
        panels.responsive(self.detail).update_layout(
            paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font_color="#808790"
        )
        self.detail.update_xaxes(visible=False).update_yaxes(visible=False)
        self.maps = Gallery(0, lambda rows: [b""] * len(rows), side=150, height=230, lines=1, empty="")
        self.maps.layout = w.Layout(display="none")
        self.scatter = panels.scatter("Discrepancy against entropy", "entropy of the mean answer (nats)", "discrepancy")
        self.map = panels.scatter("The pool: a student's features", "", "")
        self.colour = control(w.Dropdown, description="coloured by", options=panels.COLOURINGS)
        tips = ["the whole pool", f"the first {panels.MOST:,} images of the pool"]
        self.kind = w.ToggleButtons(options=["PCA", "t-SNE"], style={"button_width": "70px"}, tooltips=tips)
        self.mapping = Progress("map")
        self.mapping.view.layout.display = "none"
        # Names for style and tests. On boxes round the plots: a plot that is drawn late may lose its own.
        plots = [wide(plot, 340) for plot in (self.scatter, self.map)]
        detail = w.VBox([self.detail])
        named(
            buckets=self.buckets, shown=self.shown, summary=self.summary, open=self.go, detail=detail, maps=self.maps,
            status=self.status, kind=self.kind, scatter=plots[0], map=plots[1], heat=self.heat, grid=self.grid,
            experiment=self.experiment, **{"class": self.label},
        )  # fmt: skip
        right = w.VBox([detail, self.maps])
        self.view = w.VBox(
            [
                row(self.experiment, self.method, self.seed, self.cycle, self.go, self.training.view),
                self.status,
                row(wide(self.buckets, 260), wide(self.shown, 260), self.sort),
                row(self.label, self.consensus, self.right, self.protected, self.heat, self.free),
                self.summary,
                w.Box([wide(self.grid, 400), wide(right, 340)], layout=w.Layout(flex_flow="row wrap", width="100%")),
                row(self.colour, self.kind, self.mapping.view),
                w.Box(plots, layout=w.Layout(flex_flow="row wrap", width="100%")),
                Fit(),
            ],
            layout=w.Layout(width="100%"),
        )
        named(explorer=self.view)
        self._listen()

    def _listen(self) -> None:
        for level, one in enumerate((self.experiment, self.method, self.seed)):
            one.observe(lambda _, level=level: self._fill(level + 1), "value")
        for one in (self.buckets, self.shown, self.label, self.consensus, self.right, self.protected, self.sort):
            one.observe(self._chose, "value")
        self.heat.observe(self._chose, "value")
        self.go.on_click(lambda _: self.open(wait=False))
        self.free.on_click(lambda _: self.pick(None))
        self.grid.on_select(self._open_image)
        self.grid.on_mark(lambda _: self._ring())
        self.colour.observe(lambda _: self._paint(), "value")
        self.kind.observe(self._map_kind, "value")
        for figure in (self.scatter, self.map):
            figure.data[0].on_selection(lambda _, points, __: self.pick(points.point_inds or None))
            figure.data[0].on_deselect(lambda *_: self.pick(None))

    def _fill(self, level: int) -> None:
        """The choices that follow from those left of them."""
        if self._quiet:
            return
        self._quiet = True
        rows = self._runs[self.experiment.value]
        if level <= 1:
            own = sorted(rows, key=lambda row: row[1]["config"]["method"] != "psl")  # its students are the method's own
            offer(self.method, list(dict.fromkeys(label for label, _ in own)))
        mine = [record for label, record in rows if label == self.method.value]
        if level <= 2:
            offer(self.seed, sorted({record["config"]["seed"] for record in mine}))
        cycles = self._record()["cycles"]
        self.cycle.options = [(f"{n}: {entry['labelled']:,} labels", n) for n, entry in enumerate(cycles)]
        self.cycle.value = max(0, len(cycles) - 2)  # the last that picked
        self._quiet = False

    def _record(self) -> Record:
        wanted = self.method.value, self.seed.value
        rows = self._runs[self.experiment.value]
        return next(record for label, record in rows if (label, record["config"]["seed"]) == wanted)

    def _opened(self, job: Job) -> None:
        if job.error is not None or job.stopped:
            self.status.value = paragraph(f"{job.error}" if job.error else "Stopped; what was shown before still is.")
            return
        opened: Opened = job.result
        pool: Predictions = opened.predictions
        self.status.value = paragraph(opened.summary())
        self.chosen = Chosen(opened)
        self._quiet = True
        self.label.options = [*_ALL, *((one, n) for n, one in enumerate(opened.dataset.classes))]
        self.label.value = "all"
        self.buckets.max = max(1, min(20, len(pool)))
        self.shown.max = self.shown.value = self.buckets.value
        self.heat.layout.display = self.maps.layout.display = "" if pool.pixels else "none"
        self._quiet = False
        self.grid.side = 144 if pool.pixels else 112
        thumb = panels.thumbs(opened, lambda: self._heat)
        self.grid.show(len(pool), thumb, self.chosen.caption, self.chosen.marks)
        self._places = {"PCA": panels.pca(pool.features)}
        self._take()
        self.pick(None)
        self._quiet, self.kind.value = True, "PCA"
        self._quiet = False
        self._paint()
        rows = self.chosen.rows()
        if len(rows):
            self.grid.selected = int(rows[0])
            self._open_image(int(rows[0]))

    # What follows from a choice

    def _take(self) -> None:
        """The widgets' values into ``chosen``."""
        if self.chosen is None:
            return
        for field in ("buckets", "shown", "label", "consensus", "right", "protected", "sort"):
            value = getattr(self, field).value
            setattr(self.chosen, field, None if value == "all" else value)
        self._heat = self.heat.value

    def _chose(self, change: dict) -> None:
        if self._quiet or self.chosen is None:
            return
        if change["owner"] is self.buckets:
            self._quiet = True
            self.shown.max = self.buckets.value
            self._quiet = False
        self._take()
        if change["owner"] in (self.buckets, self.shown):
            self.chosen.among = None
            self.free.layout.display = "none"
        self._show()

    def _show(self) -> None:
        assert self.chosen is not None
        self.summary.value = paragraph(self.chosen.summary())
        self.grid.order = self.chosen.rows()
        self._ring()

    def _ring(self) -> None:
        marked = np.array(sorted(self.grid.marked), dtype=np.int64)
        for figure in (self.scatter, self.map):
            panels.ring(figure, self.grid.order, marked)

    def _paint(self) -> None:
        if self.chosen is None:
            return
        opened = self.chosen.opened
        plain = np.stack([opened.predictions.entropy, opened.predictions.score], 1)
        panels.paint(self.scatter, opened, plain, self.colour.value)
        places = self._places.get(self.kind.value, self._places["PCA"])
        panels.paint(self.map, opened, places, self.colour.value)
        self._ring()

    def _map_kind(self, _: dict) -> None:
        if self._quiet or self.chosen is None:
            return
        if self.kind.value in self._places:
            return self._paint()
        features, mine = self.chosen.opened.predictions.features, self._places
        self.mapping.view.layout.display = ""

        def work(part: Callable[[float], None]) -> None:
            for done, places in panels.tsne(features):
                if self._places is not mine:
                    raise Stopped  # another pool was opened meanwhile
                part(done)
                mine["t-SNE"] = places
                self._paint()

        self.mapping.begin(work, lambda _: None)

    def _open_image(self, number: int) -> None:
        if self.chosen is None:
            return
        figure = panels.answers(self.chosen, number)
        before, height = self.detail.layout.height, 300 if self.chosen.opened.predictions.pixels else 450
        with self.detail.batch_update():
            self.detail.data = ()
            self.detail.add_traces(list(figure.data))
            self.detail.layout = figure.layout
            self.detail.layout.height = height
        if height != before:  # plotly takes a new height for a fixed size
            self.detail.layout.autosize = False
            self.detail.layout.autosize = True
        if self.chosen.opened.predictions.pixels:
            shown = panels.panels(self.chosen.opened, number)
            names, images = list(shown), list(shown.values())
            self.maps.show(len(names), lambda rows: [png(images[n]) for n in rows], lambda n: names[n])

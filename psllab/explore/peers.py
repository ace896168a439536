"""The widgets of ``explore_peers.ipynb``, thin: the work is done by ``tuning``."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from threading import Thread
from typing import Any

import ipywidgets as w
import pandas as pd
import plotly.graph_objects as go

from pslcore import models
from pslcore.data import load
from pslcore.runs import Config, Record, counts
from psllab import grid
from psllab.explore.plots import layout, responsive
from psllab.explore.pool import viewer
from psllab.explore.tuning import Tries
from psllab.widgets import paragraph
from psllab.widgets.controls import Progress, control, named, row, wide
from psllab.widgets.gallery import Fit, Gallery, png
from psllab.widgets.job import Job

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7a7a7a", "#8a5a00")


class Trainer:
    """Settings of peer study to turn, and the curves that they give.

    Parameters
    ----------
    base : Config
        Data, recipe and budgets to start from.
    folder : path
        Of the records.
    scale : str
        Of the experiment that *Keep* writes.
    kept : path
        The file that *Keep* writes.
    root : path
        Of the data sets.
    """

    def __init__(self, base: Config, folder: str | Path, scale: str, kept: str | Path, root: str | Path = "data"):
        self.tries = Tries(base, folder, root)
        self._scale, self._kept = scale, kept
        self._dataset = load(base.dataset, root)
        self._picture = viewer(self._dataset, root)
        self._again = False  # something was turned while something else was trained
        self._make()

    @classmethod
    def started(cls, experiment: str, scale: str, **changes: Any) -> "Trainer":
        """From the first curve of an experiment, which is trained at once; ``changes`` are laid over its config."""
        config = grid.cells(experiment, scale)[0].config.but(**changes)
        made = cls(config, grid.runs_folder("outputs", scale), scale, f"outputs/{scale}/explore/kept.yaml")
        made.train()
        return made

    # What a person can do, without a browser as well

    def config(self) -> Config:
        """The config that the widgets stand for; ``ValueError`` in one sentence if it is none."""
        turned = {option: getattr(self, option).value for option in _OPTIONS}
        options = {each: round(value, 6) if isinstance(value, float) else value for each, value in turned.items()}
        return self.tries.config(self.seed.value, self.budget.value, **options)

    def train(self, wait: bool = True) -> Job | None:
        """Train what is set, unless it was trained before; while something is trained, after that."""
        try:
            config = self.config()
            total = len(counts(config, self._dataset))
        except ValueError as error:
            self.status.value = paragraph(str(error))
            return None
        if self.progress.job and self.progress.job.running:
            self._again = True
            self.status.value = paragraph("Training what was set before; what is set now comes next.")
            return None
        self.status.value = paragraph("Training …")

        def work(part: Callable[[float], None]) -> Record:
            def cycle(record: Record) -> None:
                self.progress.bar.value = len(record["cycles"]) / total
                self.draw()

            return self.tries.train(config, cycle, lambda: job().halting)

        def job() -> Job:
            assert self.progress.job is not None
            return self.progress.job

        return self.progress.begin(work, self._ended, wait)

    def keep(self) -> str:
        """Write what is set as an experiment; its text."""
        key = self.config().key
        if key not in self.tries.records:
            raise ValueError("train these settings first: only what was tried is kept.")
        return self.tries.keep([key], self.name.value, self._scale, self._kept)

    def draw(self) -> None:
        """The curves and the table of all settings tried so far."""
        shown = self.figure.data
        with self.figure.batch_update():
            for number, (key, record) in enumerate(self.tries.records.items()):
                x = [entry["labelled"] for entry in record["cycles"]]
                y = [100 * entry["metric"] for entry in record["cycles"]]
                if number < len(shown):
                    shown[number].x, shown[number].y, shown[number].name = x, y, self.tries.label(key)
                else:
                    colour = COLOURS[number % len(COLOURS)]
                    self.figure.add_scatter(
                        x=x, y=y, name=self.tries.label(key), mode="lines+markers", line={"color": colour},
                        hovertemplate="%{y:.1f} % at %{x} labels<extra>%{fullData.name}</extra>",
                    )  # fmt: skip
            tried = len(self.tries.records)
            self.figure.layout.title.text = f"{tried} setting{'s' * (tried != 1)} tried on {self._dataset.name}"
        self.table.value = html(self.tries.table())

    def show_picked(self, record: Record) -> None:
        """The images that the last selection of a run asked for."""
        rows: list[int] = next((entry["picked"] for entry in record["cycles"][::-1] if entry["picked"]), [])
        labels, classes = self._dataset.train.labels, self._dataset.classes
        named = (lambda _: "") if self._dataset.pixel_labels else (lambda place: classes[labels[rows[place]]])
        self.picked.show(len(rows), lambda places: [png(self._picture(rows[place])) for place in places], named)
        self.caption.value = paragraph(f"The {len(rows)} images that {self.tries.label(record['key'])} picked last:")

    # The parts

    def _make(self) -> None:
        usual = self.tries.base.strategy.model_dump()
        pixels = self._dataset.pixel_labels
        metric = "mean IoU" if pixels else "accuracy"
        networks = [one for one in models.names() if models.for_pixel_labels(one) == pixels]
        networks = [one for one in networks if models.for_vectors(one) == self._dataset.vectors]
        self.peers = control(w.IntSlider, usual["peers"], 1, 6, description="peers")
        self.in_class = w.Checkbox(True, description="in-class study", indent=False)
        self.out_of_class = w.Checkbox(True, description="out-of-class study", indent=False)
        self.study_protected = w.Checkbox(True, description="… with protected images", indent=False)
        for one in (self.in_class, self.out_of_class, self.study_protected):
            one.layout.width = "190px"
        self.alpha = control(w.FloatSlider, usual["alpha"], min=0, max=1, step=0.05, description="α")
        self.temperature = control(w.FloatSlider, usual["temperature"], min=0.5, max=20, step=0.5, description="τ")
        ends: Any = {"min": -4, "max": 1, "step": 0.5, "readout_format": ".4g"}
        self.margin = control(w.FloatLogSlider, usual["margin"], description="ξ", **ends)
        self.ranking = control(w.Dropdown, description="ranking", options=["paper", "ordered"], width=190)
        self.student = control(w.Dropdown, value=usual["student"], options=networks, description="student", width=190)
        budget = int(self.tries.base.budget)
        self.budget = control(w.BoundedIntText, budget, min=1, max=10**6, description="budget", width=190)
        self.seed = control(w.BoundedIntText, 0, min=0, max=10**6, description="seed", width=190)
        self.at_once = w.Checkbox(value=True, description="train when something is turned", indent=False)
        self.go = w.Button(description="Train", icon="play", button_style="primary", layout=w.Layout(width="90px"))
        self.progress = Progress("peers")
        self.status = w.HTML(paragraph("Turn something, or press Train."))
        plain = layout("", "labelled images", f"{metric} on the test set (%)") | {"dragmode": "zoom"}
        self.figure = responsive(go.FigureWidget(layout=plain))
        self.picked = Gallery(0, lambda rows: [], side=112, height=322, lines=1, empty="Nothing was picked yet.")
        self.caption = w.HTML()
        self.table = w.HTML()
        self.name = control(w.Text, "my_peers", description="experiment", width=240)
        self.save = w.Button(description="Keep", icon="save", layout=w.Layout(width="90px"))
        self.text = w.HTML()
        curves = w.VBox([self.figure])  # the name on a box: a plot that is drawn late may lose its own
        named(
            peers=self.peers, picked=self.picked, train=self.go, table=self.table, tried=self.status, curves=curves,
            keep=self.save, kept=self.text,
        )  # fmt: skip
        self.view = w.VBox(
            [
                row(wide(self.peers, 280), self.in_class, self.out_of_class, self.study_protected),
                row(wide(self.alpha, 240), wide(self.temperature, 240), wide(self.margin, 240)),
                row(self.student, self.ranking, self.budget, self.seed),
                row(self.go, self.progress.view, self.at_once),
                self.status,
                curves,
                self.caption,
                self.picked,
                self.table,
                row(self.name, self.save),
                self.text,
                Fit(),
            ],
            layout=w.Layout(width="100%"),
        )
        named(trainer=self.view)
        self.go.on_click(lambda _: self.train(wait=False))
        self.save.on_click(self._keep)
        for option in (*_OPTIONS, "seed", "budget"):
            getattr(self, option).observe(self._turned, "value")

    def _turned(self, _: dict) -> None:
        if self.at_once.value:
            self.train(wait=False)

    def _ended(self, job: Job) -> None:
        self._tell(job)
        again, self._again = self._again and not job.halting, False
        if again:
            Thread(target=lambda: (job.wait(), self.train(wait=False)), daemon=True).start()

    def _tell(self, job: Job) -> None:
        if job.error is not None:
            self.status.value = paragraph(str(job.error))
            return
        record = job.result
        if not record["cycles"]:
            self.status.value = paragraph("Stopped before the first cycle ended.")
            return
        self.draw()
        self.show_picked(record)
        label, last = self.tries.label(record["key"]), record["cycles"][-1]
        if self.tries.unfinished(record["key"]):
            self.progress.bar.bar_style = "warning"
            self.status.value = paragraph(f"{label}: stopped at {last['labelled']} labels; Train goes on from there.")
        else:
            self.progress.bar.value = 1
            metric = f"{100 * last['metric']:.1f} % {record['metric']} at {last['labelled']} labels"
            self.status.value = paragraph(f"{label}: {metric}.")

    def _keep(self, _: w.Button) -> None:
        try:
            text = self.keep()
        except (ValueError, OSError) as error:
            self.text.value = paragraph(str(error))
            return
        how = f"Written to {self._kept}. Copy it into params.yaml, or run it as it is: " + (
            f"python -m pslcore grid {self.name.value} --scale {self._scale} --params {self._kept}"
        )
        self.text.value = f'{paragraph(how)}<pre class="psl-told">{escape(text)}</pre>'


_OPTIONS = (
    "peers", "in_class", "out_of_class", "study_protected", "ranking", "alpha", "temperature", "margin", "student",
)  # fmt: skip


def html(table: pd.DataFrame) -> str:
    """A table for a page of light or dark colours."""
    words = table.to_html(index=False, border=0, classes="psl-table", escape=True, formatters=_NUMBERS)
    note = "Disagreement: of the test images, after the last pick, those on which no two students agree."
    return f'<div class="psl-scroll">{words}</div>{paragraph(note)}'


_NUMBERS: Any = {name: "{:,}".format for name in ("parameters", "bytes crossed", "unlabelled seen")}

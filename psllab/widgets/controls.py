"""The building blocks of the notebooks' pages: text, rows, buttons, and a progress bar with a stop button."""

from collections.abc import Callable
from typing import Any

import ipywidgets as w

from psllab.widgets.job import Job


def control(kind: type[w.Widget], *args: Any, width: int | None = None, **given: Any) -> Any:
    """A widget with room for its description; sliders answer when they are let go."""
    if issubclass(kind, w.IntSlider | w.FloatSlider | w.FloatLogSlider):
        given["continuous_update"] = False
    layout = w.Layout(width=f"{width}px" if width else None)
    return kind(*args, style={"description_width": "initial"}, layout=layout, **given)


def named(**widgets: w.Widget) -> None:
    """Names for style and tests, as classes."""
    for each, widget in widgets.items():
        widget.add_class(f"psl-{each.replace('_', '-')}")


def row(*children: w.Widget, **layout: Any) -> w.Box:
    """Side by side, below each other where the page is narrow."""
    return w.Box(children, layout=w.Layout(flex_flow="row wrap", align_items="center", width="100%", **layout))


def wide(child: w.Widget, least: int) -> w.Widget:
    """In a box that takes a share of its row, and at least so many pixels."""
    if isinstance(child, w.IntSlider | w.FloatSlider | w.FloatLogSlider):
        child.layout.width = "98%"
    layout = w.Layout(flex=f"1 1 {least}px", min_width=f"{least}px", width="auto", overflow="hidden")
    return w.VBox([child], layout=layout)


def offer(dropdown: w.Dropdown, options: list) -> None:
    """Other options; the value stays if it is one of them, else it is the first."""
    before = dropdown.value
    dropdown.options = options
    dropdown.value = before if before in options else options[0]


def button(text: str, icon: str, name: str) -> w.Button:
    """A button as wide as its words."""
    made = w.Button(description=text, icon=icon, layout=w.Layout(width="auto"))
    made.add_class(f"psl-do-{name}")
    return made


class Progress:
    """A bar, a button to stop, and the job that they belong to."""

    def __init__(self, what: str):
        self.bar = w.FloatProgress(min=0, max=1, layout=w.Layout(width="130px"))
        self.stop = w.Button(description="Stop", icon="stop", disabled=True, layout=w.Layout(width="84px"))
        self.stop.add_class(f"psl-stop-{what}")
        self.stop.on_click(self._stop)
        self.job: Job | None = None
        self.view = w.HBox([self.bar, self.stop])

    def _stop(self, _: w.Button) -> None:
        if self.job is not None:
            self.job.stop()

    def begin(
        self, work: Callable[[Callable[[float], None]], Any], done: Callable[[Job], None], wait: bool = False
    ) -> Job | None:  # fmt: skip
        """Start a job, unless one is running; whoever waits for it gets its error."""
        if self.job is not None and self.job.running:
            return None
        self.bar.value, self.bar.bar_style, self.stop.disabled = 0, "", False

        def ended(job: Job) -> None:
            self.stop.disabled = True
            self.bar.bar_style = "danger" if job.error else "warning" if job.stopped else "success"
            done(job)

        self.job = Job(work, lambda part: setattr(self.bar, "value", part), ended).start()
        if wait and (error := self.job.wait().error) is not None:
            raise error
        return self.job

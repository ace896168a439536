"""The widgets of the desk and how they lie on the page; ``Desk`` says what they do."""

import ipywidgets as w

from psllab.desk import parts
from psllab.desk.panels import NARROW, Found, Outcome, RulesForm
from psllab.widgets import status
from psllab.widgets.controls import Progress, button, row
from psllab.widgets.gallery import Fit, Gallery


class DeskView:
    """Three tabs: folder and rules, labelling, what it learned. ``view`` holds all of it."""

    def make(self, folder: str, classes: str, by: str, n: int) -> None:
        """Build all widgets, with these values in their fields."""
        full = w.Layout(flex="1 1 340px", width="auto")
        self.folder = w.Text(folder, description="folder", placeholder="of pictures", style=NARROW, layout=full)
        self.classes = w.Text(
            classes, description="classes", placeholder="cat, dog, neither", style=NARROW, layout=full
        )
        self.go, self.take = button("Open", "folder-open", "open"), button("Apply", "check", "apply")
        self.loading, self.training, self.reading = Progress("loading"), Progress("training"), Progress("reading")
        self.reading.view.layout.display = "none"
        self.still = w.HTML()
        self.found, self.outcome = Found(), Outcome()
        self.form = RulesForm()
        self.status = [w.HTML(status("Choose a folder and press Open.")) for _ in range(3)]
        self.who = w.Text(by, description="who answers", style={"description_width": "initial"})
        self.n = w.BoundedIntText(n, min=1, max=1000, description="a round", style={"description_width": "initial"})
        self.who.layout.width, self.n.layout.width = "230px", "130px"
        self.ask, self.learn = button("Label", "play", "label"), button("Train", "cogs", "train")
        self.without = button("Go on without", "unlock", "without")
        self.without.layout.display = "none"
        self.question = Gallery(0, parts.nothing, height=520, single=True, empty="Press Label.")
        for name in ("question", "who", "folder", "classes"):
            getattr(self, name).add_class(f"psl-desk-{name}")
        for one, name in zip(self.status, ("folder", "label", "learned"), strict=True):
            one.add_class(f"psl-status-{name}")
        self.going = button("Go on with that album", "folder-open", "known")
        self.other = button("Begin another", "plus", "new")
        self.known = row(self.going, self.other)
        self.known.layout.display = "none"
        self.chosen = w.VBox([self.form.view, row(self.classes, self.take), self.found.view])
        self.chosen.layout.display = "none"
        opening = row(self.folder, self.go, self.loading.view)
        read = [self.still, self.reading.view]
        first = [opening, self.status[0], self.known, *read, self.chosen]
        control = row(self.who, self.n, self.ask, self.learn, self.training.view)
        second = [control, self.status[1], self.without, *read, self.question]
        third = [self.status[2], self.outcome.view]
        tabs = [w.VBox(one, layout=w.Layout(width="100%", overflow="hidden")) for one in (first, second, third)]
        self.tabs = w.Tab(tabs, titles=["1  Folder and rules", "2  Label", "3  What it learned"])
        self.view = w.VBox([self.tabs, Fit()], layout=w.Layout(width="100%"))
        self.view.add_class("psl-desk")

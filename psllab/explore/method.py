"""The widgets of ``your_method.ipynb``, thin: a scoring function becomes a file; ``tryout`` does the rest.

Notebooks take this from its file: it needs ipywidgets, which a command does not.
"""

import inspect
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as w
import plotly.graph_objects as go

from psllab.analysis import figures
from psllab.benchmark import comparison, published, tryout
from psllab.benchmark.comparison import Standing
from psllab.benchmark.tryout import Method
from psllab.extend import contract
from psllab.widgets.controls import Progress, control, named, row
from psllab.widgets.job import Job

_FILE = '''"""A scoring function from a notebook, as a method."""

import numpy as np
from scipy.special import entr, softmax

from pslcore.strategies import Strategy, top


{source}

class {label}(Strategy):
    """{about}"""

    requires = {asks!r}
{options}
    def pick(self, query):
        return top(query, {name}({given}))
'''


def as_file(score: Callable[..., Any]) -> tuple[str, str | None]:
    """The file of a method that picks by a scoring function, and the name of its option, if it has one.

    Parameters
    ----------
    score : callable
        Its parameters without a default are what it asks of the task learner: ``logits`` [N, C], ``features`` [N, D],
        ``entropy`` [N]; one more, with a number as its default, is the option. Gives float [N], higher first.

    Raises
    ------
    ValueError
        In one sentence, if it is no such function.
    """
    asks, options = [], {}
    for name, parameter in inspect.signature(score).parameters.items():
        if parameter.default is inspect.Parameter.empty:
            if name not in contract.ANSWERS[:3]:
                raise ValueError(
                    f"{score.__name__} asks for {name!r}: choose from {', '.join(contract.ANSWERS[:3])}, or give it a "
                    "number as its default, which makes it an option."
                )
            asks.append(name)
        elif isinstance(parameter.default, int | float):
            options[name] = float(parameter.default)
        else:
            raise ValueError(f"the default of {name!r} must be a number: it becomes a slider.")
    if not asks or len(options) > 1:
        raise ValueError(f"{score.__name__} must ask for something, such as `logits`, and have one option at most.")
    given = [f'query.answers["{name}"]' for name in asks] + [f"{name}=self.{name}" for name in options]
    text = _FILE.format(
        source=inspect.getsource(score).rstrip() + "\n", label=score.__name__.title().replace("_", ""),
        about=(score.__doc__ or "A scoring function from a notebook.").strip().split("\n")[0].replace('"', "'"),
        asks=tuple(asks), options="".join(f"    {name}: float = {value}\n" for name, value in options.items()),
        name=score.__name__, given=", ".join(given),
    )  # fmt: skip
    return text, next(iter(options), None)


class Sketch:
    """A scoring function, a slider for its option, a button that runs it, and where it stands.

    Parameters
    ----------
    score : callable
        As for ``as_file``.
    low, high, step : float
        Of the slider.
    experiment, scale : str
        A published experiment.
    seeds : int, optional
        So many of the published seeds, in order; those of the first interim analysis if it is not given.
    out, root : path
        As for ``tryout.run``.
    table : path, optional
        Another table than that of the package.

    Raises
    ------
    ValueError
        If there is no such experiment, or the function is no scoring function.
    """

    def __init__(
        self, score: Callable[..., Any], low: float = 0.0, high: float = 1.0, step: float = 0.1,
        experiment: str = "fig3a", scale: str = "digits", seeds: int | None = None, out: str | Path = "outputs",
        root: str | Path = "data", table: str | Path | None = None, jobs: int | None = None,
    ):  # fmt: skip
        self.experiment = published.load(experiment, scale, Path(table) if table else None)
        self._text, self.option = as_file(score)
        interim = self.experiment.interim or (len(self.experiment.seeds),)
        self._seeds = self.experiment.seeds[: seeds or interim[0]]
        self._out, self._root, self._jobs = out, root, jobs
        self._file = Path(out) / scale / "tried" / "notebook.py"
        self.standing: Standing | None = None
        default = float(inspect.signature(score).parameters[self.option].default) if self.option else low
        span: Any = {"min": low, "max": high, "step": step, "disabled": self.option is None}
        value = min(max(default, low), high)
        self.slider = control(w.FloatSlider, value, description=self.option or "no option", **span)
        self.button = w.Button(description="Run", button_style="primary", icon="play")
        self.progress = Progress("run")
        self.plot = go.FigureWidget(figures.budget_curves(self.experiment.results).update_layout(height=520))
        self.status, self.figure, self.rows = w.HTML(), w.VBox([self.plot]), w.HTML()
        named(slider=self.slider, button=self.button, status=self.status, figure=self.figure, rows=self.rows)
        self.button.on_click(lambda _: self.run(wait=False))
        minutes = tryout.minutes(self.experiment, len(self._seeds), jobs)
        self.status.value = (
            f"{len(self._seeds)} seeds of {experiment} at {scale}: about {max(1, round(60 * minutes))} seconds on the "
            "machine of the published runs."
        )
        controls = row(self.slider, self.button, self.progress.view)
        self.view = w.VBox([controls, self.status, self.figure, self.rows])

    def run(self, wait: bool = True) -> Standing | None:
        """Hold it to the contract, run it with what the slider says, judge it; in a thread unless one waits for it."""
        self.button.disabled = True
        job = self.progress.begin(self._work, self._ended)
        if job is None or not wait:
            return None
        job.wait()
        return self.standing

    def _work(self, progress: Callable[[float], None]) -> None:
        def finished(done: int, total: int) -> None:
            progress(done / total)
            self._report(f"{done} of {total} runs …")

        self._report("Held to the contract …")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(self._text, "utf-8")
        options = {self.option: round(self.slider.value, 6)} if self.option else {}
        method = tryout.look(str(self._file), options, self.experiment.shared, self._root)
        own = tryout.run(method, self.experiment, self._seeds, self._out, self._root, self._jobs, told=finished)
        self.standing = comparison.judge(own[0][0].label, self.experiment, own)
        self._show(method, options)

    def _ended(self, job: Job) -> None:
        if job.stopped or job.error:
            self._report(str(job.error or "Stopped; what was finished is kept, and the same again goes on from there."))
        self.button.disabled = False

    def _report(self, text: str) -> None:
        self.status.value = escape(text)

    def _show(self, method: Method, options: dict[str, float]) -> None:
        assert self.standing is not None
        own = comparison.row(self.standing)
        area = own["area under the curve (%, 95 % interval)"]
        set_to = "".join(f" with {name} = {value:g}" for name, value in options.items())
        self._report(f"{self.standing.label}{set_to}: area under the curve {area} %. " + " ".join(method.lines()[1:]))
        drawn = comparison.figure(self.standing)  # the plot of a page that is there: a thread cannot open another
        with self.plot.batch_update():
            self.plot.data = []
            self.plot.layout.title.text = drawn.layout.title.text
        self.plot.add_traces(drawn.data)
        table = comparison.table(self.standing).to_html(index=False, border=0)
        notes = "".join(f"<li>{escape(sentence)}</li>" for sentence in comparison.notes(self.standing))
        self.rows.value = f"{table}<ul>{notes}</ul>"

"""What each kind of notebook shows of finished runs: piece by piece for its cells, and whole for the page.

A view reads results and runs nothing. Its notebook shows it piece by piece and writes it; ``collected`` makes the
exhibits of a scale from whatever records are there, without any notebook.
"""

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from pslcore.federated import DOWN, UP
from pslcore.runs import Record, records
from psllab import grid
from psllab.analysis import ceiling, consensus, figures, noise, statistics, tables
from psllab.analysis import exhibit as report
from psllab.analysis.exhibit import Exhibit
from psllab.grid import Cell, Results


class View:
    """The runs of one experiment, or of several that belong to one figure of the paper.

    Parameters
    ----------
    *results : Results
        With at least one finished run each.
    id : str, optional
        Of the exhibit; the name of the experiment if it is one.
    """

    notebook = ""

    def __init__(self, *results: Results, id: str = ""):
        self.all_results, self.results = results, results[-1]
        self.id = id or self.results.experiment

    @property
    def note(self) -> str:
        """Scale, data, seeds, hardware, versions, what is missing."""
        return figures.provenance(*self.shown)

    @property
    def shown(self) -> tuple[Results, ...]:
        """All that the pieces are made of."""
        return self.all_results

    @cached_property
    def curves(self) -> go.Figure:
        """The budget curves."""
        return figures.budget_curves(self.results)

    @cached_property
    def table(self) -> pd.DataFrame:
        """What the curves amount to."""
        return figures.summary(self.results)

    @cached_property
    def tests(self) -> pd.DataFrame:
        """The areas under the curves, paired by seed."""
        return figures.paired_tests(self.results)

    def fill(self, exhibit: Exhibit) -> None:
        """Put all pieces into the exhibit, in the order of the page."""
        raise NotImplementedError

    def exhibit(self) -> Exhibit:
        """All of it, for the page."""
        made = report.exhibit(
            self.id, f"notebooks/{self.notebook}.ipynb", figures.about(*self.shown),
            sum(figures.cost(results) for results in self.all_results),
        )  # fmt: skip
        made.records, made.made = digest(*self.all_results), figures.made(*self.shown)
        self.fill(made)
        return made

    def metrics(self) -> dict:
        """For ``dvc metrics``: the mean area under each curve in per cent."""
        return areas(self.results)

    def plot(self) -> pd.DataFrame:
        """For ``dvc plots``: ``curve``, ``labelled``, ``metric`` (mean in per cent), ``sd``, ``seeds``."""
        rows = figures.frame(self.results).groupby(["method", "labelled"], sort=False)["metric"]
        points = (100 * rows.agg(["mean", "std"]).fillna(0)).assign(seeds=rows.size()).reset_index()
        return points.set_axis(["curve", "labelled", "metric", "sd", "seeds"], axis=1).round(4)

    def write(self, folder: str | Path) -> None:
        """Write into a scale's folder: ``figures/<id>.json``, its cost, ``metrics/<id>.json``, ``plots/<id>.csv``."""
        self.exhibit().write(Path(folder) / "figures")
        write_metrics(self.metrics(), Path(folder) / "metrics" / f"{self.id}.json")
        table = self.plot().to_csv(index=False, lineterminator="\n")
        records.write_bytes(Path(folder) / "plots" / f"{self.id}.csv", table.encode())


def digest(*results: Results) -> str:
    """One hash of what the records say, timings, machine and versions apart: equal if they are bit for bit."""
    said = {record["key"]: grid.digest(record) for each in results for _, record in each.runs}
    return records.digest(said)[:16]


def areas(results: Results) -> dict[str, float]:
    """Mean area under each curve, in per cent."""
    under = statistics.areas(figures.frame(results)).groupby("method", sort=False).mean()
    return {str(label): round(100 * float(area), 4) for label, area in under.items()}


def write_metrics(metrics: dict, path: str | Path) -> None:
    """Write a file for ``dvc metrics``, whole or not at all."""
    records.write_bytes(Path(path), (json.dumps(metrics, indent=1, ensure_ascii=False) + "\n").encode())


class Comparison(View):
    """Methods against each other: Fig. 3 and 4."""

    notebook = "comparison"

    @cached_property
    def curves(self) -> go.Figure:
        """The budget curves, with the ceiling where there is one."""
        return ceiling.draw(figures.budget_curves(self.results), self.results)

    @cached_property
    def headroom(self) -> pd.DataFrame:
        """What there is to gain by choice."""
        return ceiling.headroom(self.results)

    @cached_property
    def privacy(self) -> go.Figure:
        """What the cloud saw, and what came of it."""
        return figures.privacy(self.results)

    @cached_property
    def wins(self) -> go.Figure:
        """Who beats whom."""
        return figures.win_matrix(self.results)

    @cached_property
    def overlap(self) -> go.Figure:
        """The final labels that two methods share."""
        return figures.overlap_matrix(self.results)

    def fill(self, exhibit: Exhibit) -> None:
        at_home = any(cell.config.options.get("side") == "client" for cell, _ in self.results.runs)
        first, second = (self.privacy, self.curves) if at_home else (self.curves, self.privacy)  # what is asked, first
        exhibit.show(first).show(second).show(self.wins).show(self.overlap)
        exhibit.tabulate("Result, area under the curve, privacy", self.table).tabulate("Paired by seed", self.tests)
        if len(self.headroom):
            exhibit.tabulate("Ceiling and headroom: how much there is to gain by choice", self.headroom)


class Ablation(View):
    """One parameter of PSL changes from curve to curve: Fig. 5."""

    notebook = "ablation"

    @cached_property
    def curves(self) -> go.Figure:
        """The budget curves."""
        return figures.budget_curves(self.results, figures.reference(self.results))

    @cached_property
    def tests(self) -> pd.DataFrame:
        """The areas under the curves against PSL as it is, paired by seed."""
        return figures.paired_tests(self.results)

    @cached_property
    def price(self) -> pd.DataFrame:
        """What the students cost on the client."""
        return figures.price(self.results)

    def fill(self, exhibit: Exhibit) -> None:
        exhibit.show(self.curves).tabulate("Accuracy, area under the curve, privacy", self.table)
        exhibit.tabulate("Paired by seed", self.tests).price("on the client, timed beside other runs", self.price)


class Noise(View):
    """An oracle that errs: Fig. 6. The first results are those without noise."""

    notebook = "noise"

    def __init__(self, clean: Results, *noisy: Results):
        super().__init__(*noisy, id="fig6")
        compared = {cell.label for each in noisy for cell in (*each.unfinished, *(cell for cell, _ in each.runs))}
        self.clean = replace(
            clean, runs=[run for run in clean.runs if run[0].label in compared],
            unfinished=[cell for cell in clean.unfinished if cell.label in compared],
        )  # fmt: skip
        self.rates = {f"{_rate(results)} of the labels wrong": View(results) for results in noisy}

    @cached_property
    def measured(self) -> pd.DataFrame:
        """Of every run the rate that was asked for, and the one that came out."""
        return pd.DataFrame(
            {"method": cell.label, "seed": cell.config.seed, "asked for": f"{cell.config.noise:.0%}",
             "measured": f"{record['noise']['measured']:.2%}", "within": record["noise"]["within"]}
            for results in self.all_results for cell, record in results.runs
        )  # fmt: skip

    @cached_property
    def drops(self) -> go.Figure:
        """What noise takes away at the last budget."""
        return noise.curves(self._rising)

    @property
    def ends(self) -> pd.DataFrame:
        """The same as numbers, with 95 % intervals."""
        return noise.table(self._rising)

    @property
    def shown(self) -> tuple[Results, ...]:
        return (*self.all_results, *[self.clean] * bool(self.clean.runs))

    @property
    def _rising(self) -> list[Results]:
        return [results for results in (self.clean, *self.all_results) if results.runs]

    def fill(self, exhibit: Exhibit) -> None:
        exhibit.show(self.drops)
        for rate, view in self.rates.items():
            title = view.curves.layout.title.text.replace(": ", f": {rate}, ", 1)  # what a fold of the page shows
            exhibit.show(view.curves.update_layout(title_text=title))
            exhibit.tabulate(rate, view.table).tabulate(f"{rate}: paired by seed", view.tests)

    def metrics(self) -> dict:
        return {results.experiment: areas(results) for results in self.all_results}

    def plot(self) -> pd.DataFrame:
        """``curve``, ``noise`` (per cent of wrong labels), ``metric`` at the last budget."""
        points = pd.concat(
            View(results).plot().groupby("curve", sort=False).last().assign(noise=100 * results.runs[0][0].config.noise)
            for results in self._rising
        )  # fmt: skip
        return points.reset_index()[["curve", "noise", "metric", "sd", "seeds"]]


def _rate(results: Results) -> str:
    return f"{results.runs[0][0].config.noise:.0%}"


class Buckets(View):
    """What consensus is worth: Fig. 7."""

    notebook = "buckets"

    @cached_property
    def bars(self) -> go.Figure:
        """The bars of the figure."""
        return consensus.bars(self.results)

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """Accuracy with and without consensus in each group."""
        return consensus.accuracy(consensus.table(self.results))

    def fill(self, exhibit: Exhibit) -> None:
        exhibit.show(self.bars).tabulate("Accuracy in each group", self.accuracy)

    def metrics(self) -> dict:
        """Accuracy of all predictions with consensus, and of those without."""
        return {
            curve: round(float((rows["metric"] * rows["images"]).sum() / rows["images"].sum()), 4)
            for curve, rows in self.plot().groupby("curve", sort=False)
        }

    def plot(self) -> pd.DataFrame:
        """``curve`` (with or without consensus), ``group``, ``metric`` (accuracy in per cent), ``images``."""
        rows = consensus.table(self.results)
        rows = rows.assign(curve=rows["consensus"].map({True: "consensus", False: "no consensus"}))
        counts = rows.pivot_table(index=["curve", "group"], columns="correct", values="images", aggfunc="sum")
        images = counts.sum(axis=1)
        found = pd.DataFrame({"metric": 100 * counts[True] / images, "images": images}).round(4)
        return found[images > 0].reset_index()


class Federated(View):
    """Several clients, one server: Fig. 8."""

    notebook = "federated"

    @cached_property
    def left(self) -> pd.DataFrame:
        """What left each client."""
        return crossings(self.results.runs)

    def fill(self, exhibit: Exhibit) -> None:
        exhibit.show(self.curves).tabulate("Accuracy, area under the curve, privacy", self.table)
        exhibit.tabulate("Paired by seed", self.tests).tabulate("What left each client", self.left)


def crossings(runs: list[tuple[Cell, Record]]) -> pd.DataFrame:
    """What left each client, from the (cell, record) pairs of an experiment: a row per method and clients alike.

    Images, those protected and those labelled at the end are means over the seeds, as is what crossed, in MB (10^6).
    """
    nothing = {"items": 0, "bytes": 0}
    rows = pd.DataFrame(
        {"method": cell.label, "client": number, "images": client["images"], "protected": client["protected"],
         "labelled at the end": client["labelled"],
         "helper models up": client["crossed"].get(UP, nothing)["items"],
         "MB up": client["crossed"].get(UP, nothing)["bytes"] / 1e6,
         "MB down": client["crossed"].get(DOWN, nothing)["bytes"] / 1e6,
         "images that left": sum(row["items"] for kind, row in client["crossed"].items() if "image" in kind)}
        for cell, record in runs for number, client in enumerate(record["clients"])
    )  # fmt: skip
    means = rows.groupby(["method", "client"], sort=False).mean().round(1).reset_index()
    alike = [str(name) for name in means if name != "client"]
    means = means.astype(
        {name: int for name in alike[1:] if not name.startswith("MB") and (means[name] % 1 == 0).all()}
    )
    return means.groupby(alike, sort=False)["client"].agg(_span).reset_index()[["method", "client", *alike[1:]]]


def _span(numbers: pd.Series) -> str:
    """``0 to 9``, or one by one where some lie between."""
    whole = len(numbers) > 1 and numbers.max() - numbers.min() == len(numbers) - 1
    return f"{numbers.min()} to {numbers.max()}" if whole else ", ".join(map(str, numbers))


_SHOWN: dict[type[View], list[str]] = {
    Comparison: ["fig3a", "fig3a_low", "fig3b", "fig3c", "fig3d", "fig3e", "fig3f", "fig4a", "fig4b", "private"],
    Ablation: ["fig5a", "fig5b", "fig5c", "choices"],
    Buckets: ["fig7"],
    Federated: ["fig8", "fig8_dirichlet"],
}
VIEWS = {experiment: view for view, experiments in _SHOWN.items() for experiment in experiments}
"""How an experiment that is an exhibit of its own is shown."""

CLEAN, NOISY = "fig3b", ("fig6a", "fig6b", "fig6c")


def collected(scale: str, params: str | Path = "params.yaml", out: str | Path = "outputs") -> list[Exhibit]:
    """The exhibits of a scale from whatever records are there, in the order of ``paper.yaml``; runs nothing.

    Table 1 is counted anew; Table 2, which leaves no records, is taken from its file where there is one.

    Raises
    ------
    ValueError, FileNotFoundError
        If the scale is unknown, or nothing of it is finished.
    """
    there = grid.experiments(scale, params)
    interim = grid.interim(scale, params)
    read = {name: grid.collect(name, scale, params, out).up_to_interim(interim) for name in there}
    found = {name: each for name, each in read.items() if any(cell.label != grid.CEILING for cell, _ in each.runs)}
    if not found:
        raise FileNotFoundError(f"{out}/{scale}/runs holds no finished run: run an experiment first.")
    exhibits = {name: view(found[name]).exhibit() for name, view in VIEWS.items() if name in found}
    noisy = [found[name] for name in NOISY if name in found]
    if noisy:
        exhibits["fig6"] = Noise(found.get(CLEAN, Results(CLEAN, scale)), *noisy).exhibit()
    exhibits["table1"] = tables.table1()
    if (seconds := tables.clocked(scale, out)).exists():
        exhibits["table2"] = report.read(seconds)
    return report.once([exhibits[name] for name in report.titles() if name in exhibits])

"""A user's method compared with the published ones: pairs, differences, verdicts, the page that shows them.

A published run stands for its method where it makes a pair: today's code would make the same, and it was trained in the
same precision, from the same pools of the same data. What does not is counted, with the reason.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

from pslcore.runs import Record
from psllab.analysis import ceiling, decision, figures, machines, statistics
from psllab.benchmark.published import Published
from psllab.claims import checks
from psllab.grid import CEILING, Cell, Results, seconds_of

WORDS = {verdict: verdict for verdict in decision.VERDICTS}
WORDS |= {decision.SUPPORTED: "better", decision.CONTRADICTED: "worse"}
"""How a verdict on "mine is above the other" reads."""

COLOUR = "#6a00a8"


@dataclass(frozen=True)
class Rival:
    """One's own method against a published one.

    Attributes
    ----------
    other : str
    differences : float array
        In area, percentage points, own minus other, of the paired seeds of this interim analysis, in order.
    half : float
        Of its interval, at this interim analysis.
    verdict : str
        One of ``WORDS``' values.
    unpaired : dict
        Reason to number of seeds that make no pair.
    """

    other: str
    differences: np.ndarray
    half: float
    verdict: str
    unpaired: dict[str, int]


@dataclass
class Standing:
    """What the runs so far amount to.

    Attributes
    ----------
    label : str
        Of one's own curve.
    published : Published
    own : list of (Cell, Record)
    analysis : int
        Which one, counted from 1; 0 before the first.
    comparisons : list of Rival
    results : Results
        The paired published runs, then one's own: what the figure shows.
    """

    label: str
    published: Published
    own: list[tuple[Cell, Record]]
    analysis: int
    comparisons: list[Rival] = field(default_factory=list)
    results: Results = field(default_factory=lambda: Results("", ""))

    @property
    def settled(self) -> bool:
        """Whether every comparison has a verdict."""
        return bool(self.comparisons) and all(each.verdict != WORDS[decision.INCONCLUSIVE] for each in self.comparisons)

    @property
    def interim(self) -> tuple[int, ...]:
        """Seeds of each interim analysis; all published ones where the scale has none."""
        return self.published.interim or (len(self.published.seeds),)


def judge(label: str, published: Published, own: list[tuple[Cell, Record]]) -> Standing:
    """Hold one's own runs against the published ones, at the last interim analysis that they reach.

    Verdicts are corrected for the number of comparisons (Holm, in each direction), intervals are those of the analysis.
    """
    standing = Standing(label, published, own, 0, results=Results(published.experiment, published.scale))
    areas = _areas(Results("", "", [(Cell(label, cell.config), record) for cell, record in own]))
    areas |= _areas(published.results)
    reached = [n for n in standing.interim if n <= len(own)]
    standing.analysis, wanted = len(reached), reached[-1] if reached else len(own)
    differences: dict[str, dict[int, float]] = {other: {} for other in published.methods}
    unpaired: dict[str, Counter[str]] = {other: Counter() for other in published.methods}
    for cell, record, reason in pairs(published, own):
        if not reason:
            standing.results.runs.append((cell, record))
        if cell.label == CEILING:
            continue
        if reason:
            unpaired[cell.label][reason] += 1
        else:
            seed = cell.config.seed
            differences[cell.label][seed] = areas[label, seed] - areas[cell.label, seed]
    standing.results.runs += own
    values = {other: np.array([some[seed] for seed in sorted(some)][:wanted]) for other, some in differences.items()}
    interim = len(standing.interim)
    finding = checks.settle(((other, partial(np.copy, some)) for other, some in values.items()), 0, interim=interim,
                            matters=decision.MATTERS)  # fmt: skip
    for part in finding.parts:
        word = WORDS[part.verdict if reached and len(part.values) >= wanted else decision.INCONCLUSIVE]
        half = statistics.interval(part.values, interim)
        standing.comparisons.append(Rival(part.name, part.values, half, word, dict(unpaired[part.name])))
    return standing


def pairs(published: Published, own: list[tuple[Cell, Record]]) -> Iterator[tuple[Cell, Record, str]]:
    """The published runs of one's own seeds, each with why it makes no pair with one's own; empty if it does."""
    mine = {cell.config.seed: record for cell, record in own}
    stale = {cell.config.key for cell in published.results.stale}
    for cell, record in published.results.runs:
        if (run := mine.get(cell.config.seed)) is not None:
            same_pools = {"pools": run["pools"]} if cell.label == CEILING else {}  # it has all safe images
            yield cell, record, unlike(record | same_pools, run, cell.config.key in stale)


def unlike(record: Record, mine: Record, stale: bool) -> str:
    """Why a published run and one's own make no pair; empty if they do."""
    if stale:
        return "made by other code than today's"
    if record["data"]["fingerprint"] != mine["data"]["fingerprint"]:
        return "of other data"
    if not mine["pools"].startswith(record["pools"][:16]):
        return "from other pools"
    if (record.get("precision") or "float32") != (mine.get("precision") or "float32"):
        return f"in {record['precision']}, yours in {mine['precision']}"
    return ""


def _areas(results: Results) -> dict[tuple[str, int], float]:
    """Area under each curve in per cent, by label and seed; the ceiling has none."""
    return {name: 100 * area for name, area in statistics.areas(figures.frame(results)).items()}  # type: ignore[misc]


def table(standing: Standing) -> pd.DataFrame:
    """A row a published method, best first: difference, interval, verdict, what each costs."""
    areas, rows = _areas(standing.results), []
    for each in sorted(standing.comparisons, key=lambda each: each.differences.mean() if len(each.differences) else 99):
        here, n = [record for cell, record in standing.results.runs if cell.label == each.other], len(each.differences)
        mean = each.differences.mean() if n else np.nan
        area = [value for (label, _), value in areas.items() if label == each.other]
        seen = [record["cycles"][-1]["unlabelled_seen"] for record in here]
        rows.append(
            {f"{standing.label} against": each.other,
             "difference in area (points)": figures.format_interval(mean, each.half, "+"),
             "seeds": n, "verdict": each.verdict,
             "its area (%)": figures.format_number(float(np.mean(area)) if area else np.nan),
             "unlabelled images seen": f"{np.mean(seen):,.0f}" if here else "–", "seconds a run": _seconds(here)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def row(standing: Standing) -> dict[str, str]:
    """One's own row: seeds, the metric at both ends of the curve, area, what the cloud saw, what crossed, seconds."""
    records = [record for _, record in standing.own]
    said = figures.summary(Results(standing.published.experiment, standing.published.scale, standing.own)).iloc[0]
    up, down = (
        np.mean([sum(what["bytes"] for name, what in record["cycles"][-1]["crossed"].items() if name.startswith(way))
                 for record in records])
        for way in ("up", "down")
    )  # fmt: skip
    return {str(name): str(value) for name, value in said.items()} | {
        "uploaded, downloaded (kB)": f"{up / 1e3:,.0f}, {down / 1e3:,.0f}", "seconds a run": _seconds(records),
    }  # fmt: skip


def notes(standing: Standing) -> list[str]:
    """What anyone who quotes the table must know, a sentence each."""
    mine = {cell.config.seed: record for cell, record in standing.own}
    interim, found = standing.interim, []
    at = (
        f"Interim analysis {standing.analysis} of {len(interim)}"
        if standing.analysis
        else "Before the first interim analysis"
    )
    found.append(
        f"{at} ({' / '.join(map(str, interim))} paired seeds): intervals are those of one analysis "
        f"({100 * (1 - 0.05 / len(interim)):.1f} %), verdicts are corrected for {len(standing.comparisons)} "
        f"comparisons (Holm), and {decision.MATTERS} points of area is the smallest difference that matters."
    )
    others = [(cell, record) for cell, record in standing.results.runs if cell.label != standing.label]
    paired = [(cell, record) for cell, record in others if cell.label not in (standing.label, CEILING)]
    left = sum((Counter(each.unpaired) for each in standing.comparisons), Counter[str]())
    found.append(
        f"{len(paired):,} runs of other methods make a pair with yours"
        + "".join(f"; {count:,} do not, {why}" for why, count in left.items())
        + (": `--with-rivals` runs those here." if left else ".")
    )
    first = [
        record["cycles"][0]["metric"] == mine[cell.config.seed]["cycles"][0]["metric"]
        for cell, record in paired if cell.label == ceiling.BASELINE and cell.config.seed in mine
    ]  # fmt: skip
    if first:
        found.append(
            f"At the first budget nothing has been picked yet: there {sum(first)} of {len(first)} of your runs give "
            "the very number of the published ones"
            + ("." if all(first) else ", as machines round differently; pools and first weights are the same.")
        )
    processors = {record["hardware"]["processor"] for _, record in paired}
    same = [machines.alike(record, mine[cell.config.seed]) for cell, record in paired if cell.config.seed in mine]
    if processors and not all(same):
        own = next(iter(mine.values()))["hardware"]["processor"]
        found.append(
            f"Published runs come from {', '.join(sorted(processors))}, yours from {own} or other versions of the "
            "libraries: a pair shares pools, first weights and precision, not every rounding."
        )
    return found


def _seconds(records: list[Record]) -> str:
    return f"{np.median([seconds_of(record) for record in records]):.1f}" if records else "–"


def figure(standing: Standing) -> go.Figure:
    """The published curves, thin, and one's own on top of them."""
    picture = figures.budget_curves(standing.results)
    for trace in picture.data[:-1]:
        trace.update(opacity=0.55, line={"width": 1.5}, marker={"size": 6}, error_y={"visible": False})
    picture.data[-1].update(line={"color": COLOUR, "width": 4}, marker={"color": COLOUR, "size": 11, "symbol": "star"})
    return ceiling.draw(picture, standing.results)


def page(standing: Standing, about: dict[str, Any]) -> str:
    """One self-contained HTML page; ``about``: file, digest, doc, source, lines on contract and timings."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("psllab.benchmark", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    shown = table(standing)
    return environment.get_template("comparison.html.j2").render(
        label=standing.label, experiment=standing.published.experiment, scale=standing.published.scale, about=about,
        figure=plotly.io.to_json(figure(standing)), plotly_js=get_plotlyjs(), own=row(standing),
        columns=list(shown.columns), rows=shown.astype(str).to_numpy().tolist(), notes=notes(standing),
        provenance=figures.provenance(standing.results),
    )  # fmt: skip

"""Writes what the records say into the pages: ``make docs``, or ``python tools/fill.py --check``.

A page holds a place for it, and keeps its own words around it::

    <!-- fill: curves laptop fig3a -->
    <!-- /fill -->

Nothing is run; ``--pictures`` draws the figures anew as well (kaleido, which needs a Chromium).
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from psllab import grid
from psllab.analysis import ceiling, consensus, exhibit, figures, tables
from psllab.analysis.decision import CONTRADICTED, NEGLIGIBLE, NOT_APPLICABLE, NOT_RUN, SUPPORTED
from psllab.analysis.exhibit import markdown
from psllab.analysis.style import COLOURS, LAYOUT
from psllab.claims import answers as asked
from psllab.claims import summary as words
from psllab.claims import verdicts
from psllab.report import exhibits

TOP = Path(__file__).parents[1]
DECIDED = (SUPPORTED, CONTRADICTED, NEGLIGIBLE)
COUNTED = ("seen", "unpicked", "same_pools", "size", "smallest", "faster", "seconds")
"""Checks that no seed and no network of the task decides."""
PLACE = re.compile(r"(<!-- fill: (.+?) -->\n).*?(<!-- /fill -->)", re.S)


@cache
def collected(scale: str, experiment: str) -> grid.Results:
    params = TOP / "params.yaml"
    return grid.collect(experiment, scale, params, TOP / "outputs").analysed(grid.interim(scale, params))


@cache
def judged(scale: str) -> list[dict]:
    return verdicts.judge(scale, TOP / "params.yaml", TOP / "outputs")


def protocol(results: grid.Results) -> str:
    """One sentence from the config that the runs of an experiment share."""
    config = figures.finished(results)[0][0].config
    recipe, cycle = config.recipe, "round" if "clients" in config.settings() else "cycle"
    begun = f"{_labels(config.initial)} {'labels' if config.initial >= 1 else 'of all labels'}"
    more = f", then {_labels(config.budget)} a cycle to {_labels(config.final)}"
    return (
        f"{begun}{more if config.final > config.initial else ''}; task learner `{config.teacher}`, "
        f"{recipe.epochs} epochs a {cycle}, batches of {recipe.batch_size}."
    )


def _labels(given: float) -> str:
    """A number of images, or what part of the training images (``runs.Config``)."""
    return f"{given:,}" if given >= 1 else f"{100 * given:g} %"


def none(scale: str, *experiments: str) -> str:
    return f"*Nothing of {', '.join(experiments)} at `{scale}` has been run yet.*\n"


def _opening(page: Path, shown: Sequence[grid.Results], name: str, shows: str) -> list[str]:
    """Picture and protocol."""
    picture = _picture(shown[0].scale, name)
    parts = [f"![{shows}, {name}]({_relative(picture, page)})\n"] if picture.exists() else []
    return [*parts, f"{protocol(shown[0])} {figures.provenance(*shown)}\n"]


def curves(page: Path, scale: str, experiment: str, shows: str = "accuracy against labels") -> str:
    """Picture, protocol, curves in numbers, which methods differ, and how much headroom there is."""
    results = collected(scale, experiment)
    if not results.runs:
        return none(scale, experiment)
    parts = [*_opening(page, [results], experiment, shows), markdown(figures.summary(results))]
    if len({cell.label for cell, _ in results.runs}) > 1:
        parts.append(markdown(figures.paired_tests(results)))
    room = ceiling.headroom(results)
    return "\n".join(parts + [markdown(room)] * (not room.empty))


def privacy(page: Path, scale: str, experiment: str) -> str:
    """The same with another picture: what came of the unlabelled images that the cloud saw."""
    return curves(page, scale, experiment, "area under the curve, and how many unlabelled images the cloud saw")


def lead(page: Path, scale: str, experiment: str) -> str:
    """One picture: paired differences to Random, of the curves that have reached the first interim analysis."""
    results = collected(scale, experiment)
    if not results.runs:
        return none(scale, experiment)
    picture = _relative(_picture(scale, f"{experiment}-lead"), page)
    return f"![difference to Random in area under the curve, {experiment}]({picture})\n"


def answers(page: Path, *scales: str) -> str:
    """What the page of a run answers first: the paper's answer, and at each scale the difference in area."""
    table = pd.DataFrame(
        {"difference in area (points)": question.asked}
        | {f"`{scale}`": (asked.answer(question, judged(scale)) or {"told": "–"})["told"] for scale in scales}
        | {"the paper": question.paper}
        for question in asked.QUESTIONS
    )
    return markdown(table)


def summary(page: Path, scale: str, experiment: str) -> str:
    """Picture and curves in numbers, without the tests."""
    results = collected(scale, experiment)
    if not results.runs:
        return none(scale, experiment)
    opening = _opening(page, [results], experiment, "accuracy against labels")
    return "\n".join([*opening, markdown(figures.summary(results))])


def groups(page: Path, scale: str, experiment: str) -> str:
    """Fig. 7: picture, protocol, and what consensus is worth in each group of test images."""
    results = collected(scale, experiment)
    if not results.runs:
        return none(scale, experiment)
    opening = _opening(page, [results], experiment, "test images by discrepancy, with and without consensus")
    return "\n".join([*opening, markdown(consensus.accuracy(consensus.table(results)))])


def noisy(scale: str) -> exhibits.Noise | None:
    """Fig. 6: without noise and at every rate that has runs; None where nothing was run."""
    clean, *rates = (collected(scale, experiment) for experiment in (exhibits.CLEAN, *exhibits.NOISY))
    rates = [results for results in rates if results.runs]
    return exhibits.Noise(clean, *rates) if rates else None


def noise(page: Path, scale: str, experiment: str) -> str:
    """Picture, protocol, and the metric at the last budget for every rate of wrong labels."""
    view = noisy(scale)
    if view is None:
        return none(scale, *exhibits.NOISY)
    opening = _opening(page, view.shown, experiment, "accuracy at the last budget against wrong labels")
    return "\n".join([*opening, markdown(view.ends)])


def seconds(page: Path, scale: str) -> str:
    """Table 2 as it was clocked: protocol and seconds."""
    clocked = exhibit.read(tables.clocked(scale, TOP / "outputs"))
    return f"{clocked.note} {clocked.made}.\n\n{markdown(clocked.frame())}"


def found(page: Path, scale: str) -> str:
    """The main findings of a scale, by rule from the verdicts; what is not applicable stands in ``claims``."""
    told = []
    for sentence in words.found([row for row in judged(scale) if row["verdict"] != NOT_APPLICABLE]):
        named = [_named(row) for row in sentence.claims]
        if sentence.words.endswith("in the paper."):
            named = []
        more = [f"and {sentence.more} more"] * bool(sentence.more)
        end = f" {'; '.join(named + more)}." if named else ""
        told.append(f"* {words.SYMBOLS[sentence.verdict]} {sentence.words}{end}")
    return "\n".join(told) + "\n"


def _named(row: dict) -> str:
    """A claim with our number, the paper's if it prints one, and what it was judged on if that is other data."""
    paper = f"paper: {row['paper']}" if row["paper"] != "–" else ""
    return f"{row['claim'].rstrip('.')} ({'; '.join(filter(None, (row['basis'], words.brief(row), paper)))})"


def counts(page: Path, *scales: str) -> str:
    """How many claims have each verdict, a line for each scale."""
    told = []
    for scale in scales:
        verdict = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.counts(judged(scale)).items() if n)
        decided = [row for row in judged(scale) if row["verdict"] in (SUPPORTED, CONTRADICTED, NEGLIGIBLE)]
        other = sum(row["basis"].startswith("same comparison") for row in decided)
        told.append(f"* `{scale}`: {verdict}{f' ({other} decided on other data than the paper had)' * bool(other)}.\n")
    return "".join(told)


def claims(page: Path, *scales: str) -> str:
    """Every claim with the verdict of each scale; then what was found, for those that were run."""
    rows = {scale: {row["id"]: row for row in judged(scale)} for scale in scales}
    table = pd.DataFrame(
        {"claim": claim.claim, "where": ", ".join(claim.experiments), "paper": claim.paper}
        | {scale: words.verdict(rows[scale][claim.id]).replace("same comparison ", "") for scale in scales}
        for claim in verdicts.load()
    )
    parts = [markdown(table)]
    for scale in scales:
        seen = [row for row in rows[scale].values() if row["verdict"] != NOT_RUN]
        parts += [f"## What was found at `{scale}`\n", verdicts.markdown(seen)]
        ahead = [f"* {row['claim']} ({row['experiment']}): {row['forecast']}." for row in seen if row["forecast"]]
        if ahead:
            parts += [f"### What would settle the open ones at `{scale}`\n", "\n".join(ahead) + "\n"]
    return "\n".join(parts)


def agreement(page: Path, scale: str, *others: str) -> str:
    """Claim by claim the verdict of a scale beside those of others, where two decide; how often they agree."""
    rows = {name: {row["id"]: row for row in judged(name) if row["verdict"] in DECIDED} for name in (scale, *others)}
    seeded = {claim.id: claim for claim in verdicts.load() if claim.check.kind not in COUNTED}
    told, table = [], []
    for other in others:
        both = [row for name, row in rows[scale].items() if name in seeded and name in rows[other]]
        same = sum(row["verdict"] == rows[other][row["id"]]["verdict"] for row in both)
        told.append(f"`{scale}` and `{other}` both decide {len(both)} claims, and agree on {same}.")
    for name in seeded:
        cells = [rows[each][name]["verdict"] if name in rows[each] else "–" for each in (scale, *others)]
        if cells[0] != "–" and set(cells[1:]) != {"–"}:
            agree = "yes" if len(set(cells) - {"–"}) == 1 else "no"
            table.append([seeded[name].claim, ", ".join(seeded[name].experiments), *cells, agree])
    shown = pd.DataFrame(table, columns=["claim", "where", *(f"`{each}`" for each in (scale, *others)), "all agree"])
    return "\n\n".join([" ".join(told), markdown(shown) if table else "No claim is decided by both yet.\n"])


def _picture(scale: str, experiment: str) -> Path:
    return TOP / "docs" / f"{experiment}-{scale}.png"


def _relative(target: Path, page: Path) -> str:
    return target.relative_to(page.parent).as_posix()


_WRITERS = (answers, lead, curves, privacy, counts, claims, summary, groups, noise, seconds, found, agreement)
FILLS: dict[str, Callable[..., str]] = {writer.__name__: writer for writer in _WRITERS}


def filled(page: Path) -> str:
    """The text of a page with every place filled from today's records."""

    def fill(match: re.Match[str]) -> str:
        name, *given = match[2].split()
        return match[1] + FILLS[name](page, *given) + match[3]

    return PLACE.sub(fill, page.read_text())


def pages() -> list[Path]:
    """The pages that hold a place."""
    found = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
    return [page for page in found if PLACE.search(page.read_text())]


def drawn(name: str, scale: str, experiment: str) -> go.Figure | None:
    """The picture that goes with a place; None where there is none, or nothing was run."""
    if name == "lead":
        return figures.privacy(collected(scale, experiment), "Random")
    if name == "noise":
        view = noisy(scale)
        return view and view.drops
    if name not in ("curves", "summary", "privacy", "groups") or not (results := collected(scale, experiment)).runs:
        return None
    if name == "groups":
        return consensus.bars(results)
    if name == "privacy":
        return figures.privacy(results)
    return ceiling.draw(figures.budget_curves(results), results)


def sizes() -> go.Figure:
    """Table 1 as a picture, which opens its notebook."""
    table, figure = tables.model_sizes()[::-1], go.Figure(layout=LAYOUT)
    for column, paper, colour in (("pixel labels", "paper (pixel labels)", 2), ("image labels", "paper", 0)):
        rows = table[table[column] != "–"]
        ours = rows[column].str.replace(",", "").astype(int) / 1e6
        figure.add_bar(
            x=ours, y=rows["model"], name=column, orientation="h", marker={"color": COLOURS[colour]},
            text=ours.map("{:.2f} M".format) + " (paper: " + rows[paper] + ")", textposition="outside",
        )  # fmt: skip
    title = "Table 1: parameters of what a method samples with, in millions"
    y = {"automargin": True, "categoryarray": table["model"]}
    return figure.update_layout(title_text=title, xaxis={"range": [0, 30]}, yaxis=y, legend={"traceorder": "reversed"})


def draw() -> None:
    """The pictures of all experiments that a page shows, and of Table 1."""
    sizes().write_image(TOP / "docs/tables.png", width=900, height=520, scale=2)
    for page in pages():
        for match in PLACE.finditer(page.read_text()):
            name, *given = match[2].split()
            if len(given) == 2 and (figure := drawn(name, *given)):
                scale, experiment = given
                name = f"{experiment}-lead" if name == "lead" else experiment
                figure.layout.title.text = figure.layout.title.text.replace(": ", "<br>", 1)  # room for both halves
                figure.write_image(_picture(scale, name), width=900, height=520, scale=2)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a page is not current")
    parser.add_argument("--pictures", action="store_true", help="draw the figures anew")
    options = parser.parse_args(arguments)
    if options.pictures:
        draw()
    texts = {page: filled(page) for page in pages()}
    behind = [page for page, text in texts.items() if text != page.read_text()]
    for page in behind:
        if not options.check:
            page.write_text(texts[page])
        print(page.relative_to(TOP))
    if not options.check:
        judging = re.compile(r"fill: (?:counts|claims|found|answers) (.+?) -->")
        for scale in sorted(
            {scale for page in texts for named in judging.findall(texts[page]) for scale in named.split()}
        ):
            verdicts.write(judged(scale), scale, TOP / "outputs")
    return 1 if behind and options.check else 0


if __name__ == "__main__":
    sys.exit(main())

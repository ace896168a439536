"""The report: every figure stage leaves an exhibit; one page, a single file, shows the verdicts and all exhibits."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jinja2
import mistune
import pandas as pd
import plotly.graph_objects as go
import plotly.io
import yaml
from plotly.offline import get_plotlyjs

from pslcore.runs import records


@dataclass
class Exhibit:
    """What one experiment shows: all that the page needs of it, and no more.

    Attributes
    ----------
    id, title, finding : str
        The experiment; the paper's figure or table; what the paper says it shows.
    note : str
        Scale, data, seeds, hardware, see ``figures.provenance``.
    notebook : str
        What made it.
    minutes : float
        Processor time of its runs.
    figures : list of dict
        Plotly figures as JSON.
    tables : list of dict
        ``{"title": ..., "columns": [...], "rows": [[...], ...]}``.
    """

    id: str
    title: str
    finding: str
    note: str
    notebook: str
    minutes: float = 0.0
    figures: list[dict] = field(default_factory=list)
    tables: list[dict] = field(default_factory=list)

    def show(self, figure: go.Figure) -> "Exhibit":
        """Add a figure."""
        self.figures.append(json.loads(plotly.io.to_json(figure)))
        return self

    def tabulate(self, title: str, table: pd.DataFrame) -> "Exhibit":
        """Add a table."""
        rows = [[str(value) for value in row] for row in table.itertuples(index=False)]
        self.tables.append({"title": title, "columns": [str(name) for name in table.columns], "rows": rows})
        return self

    def write(self, folder: str | Path) -> Path:
        """Write ``<folder>/<id>.json``, whole or not at all."""
        path = Path(folder) / f"{self.id}.json"
        records.write_bytes(path, (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode())
        return path


def exhibit(experiment: str, notebook: str, note: str, minutes: float = 0.0) -> Exhibit:
    """The exhibit of an experiment, with what ``paper.yaml`` says of it, still without figures and tables.

    Raises
    ------
    ValueError
        If ``paper.yaml`` does not know the experiment.
    """
    paper = _paper()
    if experiment not in paper:
        raise ValueError(f"paper.yaml says nothing of {experiment!r}: give it a title and a finding.")
    said = {name: paper[experiment][name] for name in ("title", "finding")}
    return Exhibit(id=experiment, note=note, notebook=notebook, minutes=minutes, **said)


def paper_lead(experiment: str) -> float | None:
    """The lead over Random at the last budget that the paper reports, in points; None where it gives no number."""
    return _paper().get(experiment, {}).get("lead")


def _paper() -> dict[str, dict]:
    return yaml.safe_load((Path(__file__).parent / "paper.yaml").read_text())


def read(path: str | Path) -> Exhibit:
    """Read what ``Exhibit.write`` wrote."""
    return Exhibit(**json.loads(Path(path).read_text()))


def exhibits(folder: str | Path) -> list[Exhibit]:
    """All exhibits that a folder holds, in the order of ``paper.yaml``.

    Raises
    ------
    FileNotFoundError
        If it holds none.
    """
    found = [read(path) for name in _paper() if (path := Path(folder) / f"{name}.json").exists()]
    if not found:
        raise FileNotFoundError(f"{folder} holds no exhibit: run the notebooks of the figures first.")
    return found


def stages(pipeline: str | Path = "dvc.yaml") -> dict[str, str]:
    """Each exhibit and the stage of the pipeline that makes it."""
    found = {}
    for name, stage in yaml.safe_load(Path(pipeline).read_text())["stages"].items():
        for item in stage.get("foreach", ()):
            found[item] = f"{name}@{item}"
        for out in stage.get("outs", ()):
            found[Path(out).stem] = name
    return found


def section(page: str | Path, title: str) -> str:
    """A section of a Markdown file as HTML, without its title.

    Raises
    ------
    ValueError
        If there is no such section.
    """
    parts = re.split(rf"^##? {re.escape(title)}\n", Path(page).read_text(), maxsplit=1, flags=re.M)
    if len(parts) < 2:
        raise ValueError(f"{page} has no section {title!r}.")
    return str(mistune.html(parts[1].partition("\n## ")[0]))


def page(
    exhibits: list[Exhibit],
    scale: str,
    claims: Sequence[dict] = (),
    verdicts: Mapping[str, int] | None = None,
    rules: str = "",
    stages: Mapping[str, str] | None = None,
    deviations: str = "",
) -> str:
    """One self-contained HTML page; plotly's script is inside it, once.

    Parameters
    ----------
    exhibits : list of Exhibit
    scale : str
    claims : list of dict
        Rows of ``verdicts.judge``; beside a figure stand those that rest on it, if on one other at the most.
    verdicts : dict
        As ``verdicts.counts`` gives it.
    rules : str
        How they were decided, as Markdown.
    stages : dict
        As ``stages`` gives it.
    deviations : str
        HTML.
    """
    resting: dict[str, list[dict]] = {exhibit.id: [] for exhibit in exhibits}
    for row in claims:
        rests_on = list(dict.fromkeys(re.sub("(fig6)[abc]", r"\1", name) for name in row["experiment"].split(", ")))
        if len(rests_on) < 3:  # what is said of everything stands at the top alone
            resting.setdefault(rests_on[-1], []).append(row)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pslcore.evidence", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        exhibits=exhibits, scale=scale, versions=records.versions(), plotly_js=get_plotlyjs(), claims=claims,
        verdicts=verdicts or {}, resting=resting, rules=mistune.html(rules), stages=stages or {}, deviations=deviations,
    )  # fmt: skip

"""The report: every figure stage leaves an exhibit, and the page shows them all, offline, in one file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jinja2
import pandas as pd
import plotly.graph_objects as go
import plotly.io
import yaml
from plotly.offline import get_plotlyjs

from pslcore import records


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
    paper = yaml.safe_load((Path(__file__).parent / "paper.yaml").read_text())
    if experiment not in paper:
        raise ValueError(f"pslcore/paper.yaml says nothing of {experiment!r}: give it a title and a finding.")
    return Exhibit(id=experiment, note=note, notebook=notebook, minutes=minutes, **paper[experiment])


def read(path: str | Path) -> Exhibit:
    """Read what ``Exhibit.write`` wrote."""
    return Exhibit(**json.loads(Path(path).read_text()))


def page(exhibits: list[Exhibit], scale: str) -> str:
    """One self-contained HTML page; plotly's script is inside it, once."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pslcore", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        exhibits=exhibits, scale=scale, versions=records.versions(), plotly_js=get_plotlyjs()
    )

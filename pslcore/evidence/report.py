"""Exhibits: what every figure stage leaves for the page."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import plotly.io
import yaml

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


def titles() -> dict[str, str]:
    """Each experiment that the page knows, in the order of the paper, with its title."""
    return {name: said["title"] for name, said in _paper().items()}


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

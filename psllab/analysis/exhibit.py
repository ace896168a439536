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

    It is kept in two files. What the same kind of machine repeats bit for bit is an output of the pipeline; what the
    runs cost, and where, stands beside it.

    Attributes
    ----------
    id, title, finding : str
        The experiment; the paper's figure or table; what the paper says it shows.
    note : str
        Scale, data, seeds, see ``figures.about``.
    notebook : str
        What made it.
    minutes : float
        Cost: processor time of its runs; 0 where it is not known.
    figures : list of dict
        Plotly figures as JSON.
    tables : list of dict
        ``{"title": ..., "columns": [...], "rows": [[...], ...]}``.
    records : str
        Digest of what its records say, see ``digest``; empty where it rests on none.
    made : str
        Cost: hardware and versions, see ``figures.made``.
    costs : list of dict
        Cost: tables of seconds and memory, in the form of ``tables``.
    """

    id: str
    title: str
    finding: str
    note: str
    notebook: str
    minutes: float = 0.0
    figures: list[dict] = field(default_factory=list)
    tables: list[dict] = field(default_factory=list)
    records: str = ""
    made: str = ""
    costs: list[dict] = field(default_factory=list)

    def show(self, figure: go.Figure) -> "Exhibit":
        """Add a figure."""
        self.figures.append(json.loads(plotly.io.to_json(figure)))
        return self

    def tabulate(self, title: str, table: pd.DataFrame) -> "Exhibit":
        """Add a table."""
        self.tables.append(_plain(title, table))
        return self

    def price(self, title: str, table: pd.DataFrame) -> "Exhibit":
        """Add a table of what no two runs repeat: seconds, memory."""
        self.costs.append(_plain(title, table))
        return self

    def frame(self, number: int = 0) -> pd.DataFrame:
        """One of its tables, those of costs last, as it is shown."""
        table = (self.tables + self.costs)[number]
        return pd.DataFrame(table["rows"], columns=table["columns"])

    def write(self, folder: str | Path) -> Path:
        """Write ``<folder>/<id>.json`` and beside it ``<id>.cost.json``, each whole or not at all; the first path."""
        said = asdict(self)
        cost = {name: said.pop(name) for name in COST}
        path = Path(folder) / f"{self.id}.json"
        for file, part in ((path.with_suffix(".cost.json"), cost), (path, said)):
            records.write_bytes(file, (json.dumps(part, indent=1, sort_keys=True) + "\n").encode())
        return path


COST = ("minutes", "made", "costs")
"""What of an exhibit differs between two runs of the same."""


def _plain(title: str, table: pd.DataFrame) -> dict:
    rows = [[str(value) for value in row] for row in table.itertuples(index=False)]
    return {"title": title, "columns": [str(name) for name in table.columns], "rows": rows}


def markdown(table: pd.DataFrame) -> str:
    """A GitHub table."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


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
    return yaml.safe_load((Path(__file__).parent / "paper.yaml").read_text("utf-8"))


def read(path: str | Path) -> Exhibit:
    """Read what ``Exhibit.write`` wrote; without the file of its cost, that is not known."""
    cost = Path(path).with_suffix(".cost.json")
    parts = [json.loads(file.read_text("utf-8")) for file in (Path(path), cost) if file == Path(path) or file.exists()]
    return Exhibit(**{name: value for part in parts for name, value in part.items()})


def once(exhibits: list[Exhibit]) -> list[Exhibit]:
    """Exhibits of the very same runs as one before them are named in its note and left out."""
    firsts: dict[str, Exhibit] = {}
    for each in exhibits:
        first = firsts.setdefault(each.records or each.id, each)
        if first is not each:
            first.note += f" {each.title.partition(':')[0]} rests on the same runs at this scale."
    return list(firsts.values())


def exhibits(folder: str | Path) -> list[Exhibit]:
    """All exhibits that a folder holds, in the order of ``paper.yaml``.

    Raises
    ------
    FileNotFoundError
        If it holds none.
    """
    found = [read(path) for name in titles() if (path := Path(folder) / f"{name}.json").exists()]
    if not found:
        raise FileNotFoundError(f"{folder} holds no exhibit: run the notebooks of the figures first.")
    return once(found)

"""What a claim is, and the evidence on it in the records of one scale: curves, seconds, provenance."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pslcore.runs import Record
from pslcore.settings import Settings, short
from psllab import grid
from psllab.analysis import exhibit as report
from psllab.analysis import figures, statistics, tables
from psllab.analysis.decision import LEARNED
from psllab.grid import Cell

Experiment = Literal[
    "table1", "table2", "fig3a", "fig3b", "fig3c", "fig3d", "fig3e", "fig3f", "fig4a", "fig4b", "fig5a", "fig5b",
    "fig5c", "choices", "private", "fig6a", "fig6b", "fig6c", "fig7", "fig8",
]  # fmt: skip
EXPERIMENTS: tuple[Experiment, ...] = get_args(Experiment)
PAPER = "paper"  # the scale of the paper's own protocol
Curve = tuple[str, str]  # experiment, label


def _cycle(value: Any) -> Any:
    if value != "area" and type(value) is not int:
        raise ValueError(f"= {short(value)} must be a cycle (0, 1, ..., -1) or `area`.")
    return value


At = Annotated[int | Literal["area"], BeforeValidator(_cycle)]
"""Where a curve is read: at a cycle (0 the first, -1 the last), or the area under it."""


class Check(BaseModel):
    """How a claim is judged: by which rule of ``kinds``; all else is for the rule, which checks it."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    kind: str

    @property
    def arguments(self) -> dict[str, Any]:
        """What the rule is given."""
        return self.model_extra or {}


class Claim(Settings):
    """One entry of ``claims.yaml``; ``source`` is its place in the paper or "ours", ``paper`` the printed value."""

    id: str
    experiments: list[Experiment] = Field(min_length=1)
    claim: str
    source: str
    paper: str
    check: Check
    note: str = ""


class Missing(Exception):
    """Says which runs a comparison lacks."""


class Unlearned(Missing):
    """Says that an experiment learned nothing, so that its comparisons mean nothing."""


class Early(Missing):
    """How many seeds a comparison has before its first interim analysis; ``values`` are for forecasts alone."""

    values: pd.DataFrame | pd.Series | None = None


@dataclass
class Evidence:
    """The records of one scale, each experiment read once; ``used`` is what was asked for since ``forget``.

    So is ``left_out``: seeds whose two runs are of mixed precision, by comparison.
    """

    scale: str
    params: str | Path = "params.yaml"
    out: str | Path = "outputs"
    used: set[Curve] = field(default_factory=set)
    left_out: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = grid.scales(self.params)
        if self.scale not in known:
            raise ValueError(f"unknown scale {self.scale!r}: choose one of {', '.join(known)}.")
        self.results = cache(lambda name: grid.collect(name, self.scale, self.params, self.out))
        self.table = cache(lambda name: figures.frame(self.results(name)))
        self.areas = cache(lambda name: statistics.areas(self.table(name)))
        self.best = cache(lambda name: self._best(self.table(name)))
        self.most_seeds = cache(lambda name: int(self.table(name).groupby("method")["seed"].nunique().max()))
        self.clocked = cache(
            lambda name: [(cell.label, grid.seconds_of(record)) for cell, record in self.results(name).runs]
        )
        self.cells: dict[str, list[Cell]] = {
            name: [cell for cell in grid.cells(name, self.scale, self.params) if cell.label != grid.CEILING]
            for name in EXPERIMENTS if name in known[self.scale]
        }  # fmt: skip
        self.labels: dict[str, list[str]] = {  # of all curves, finished or not; the ceiling is none
            name: list(dict.fromkeys(cell.label for cell in cells)) for name, cells in self.cells.items()
        }
        self.interim = grid.interim(self.scale, self.params)
        self.of_paper = cache(  # what the paper ran, as far as the file says it
            lambda name: grid.cells(name, PAPER, self.params)[0].config if name in known.get(PAPER, {}) else None
        )
        firsts = [
            next(name for name in self.labels if known[self.scale][name] == known[self.scale][own])
            for own in self.labels
        ]
        self.twins = {own: name for own, name in zip(self.labels, firsts, strict=True) if own != name}  # the same runs

    def forget(self) -> None:
        """What is asked for is another claim's from now on."""
        self.used.clear()
        self.left_out.clear()

    def found(self, experiment: str, label: str = "", method: str = "") -> tuple[list[tuple[Cell, Record]], list[str]]:
        """The finished runs, of one curve or method if it is named; what is missing of them: nothing, or one phrase.

        Where there are interim analyses, seeds that no curve has begun are not missing: they are for a later one.
        """
        if experiment not in self.labels:
            return [], [f"{experiment} (not at this scale)"]

        def wanted(cell: Cell) -> bool:
            return label in ("", cell.label) and method in ("", cell.config.method) and cell.label != grid.CEILING

        results = self.results(experiment)
        runs = [(cell, record) for cell, record in results.runs if wanted(cell)]
        begun = {cell.config.seed for cell, _ in results.runs} if self.interim else set()
        left = sum(wanted(cell) for cell in results.unfinished if not begun or cell.config.seed in begun)
        self.used |= {(experiment, cell.label) for cell, _ in runs}
        why = f"{left} unfinished" if left else "" if runs else "not at this scale"
        return runs, [f"{label or method or 'runs'} of {experiment} ({why})"] if why else []

    def runs(self, experiment: str, label: str = "") -> list[tuple[Cell, Record]]:
        """The finished runs of a curve, or of all; ``Missing`` if there is none or, without interim analyses, a gap."""
        runs, missing = self.found(experiment, label)
        if missing and not (runs and self.interim):
            raise Missing(missing[0])
        return runs

    def learned(self, experiment: str) -> None:
        """Raise ``Unlearned`` where the best curve does not end clearly above what one constant answer could come to.

        That is one class's share of accuracy or of mean IoU. Nothing is asked before a curve has reached the first
        interim analysis.
        """
        if self.interim and self.most_seeds(experiment) < self.interim[0]:
            return
        best, n_classes = self.best(experiment), self.results(experiment).runs[0][1]["data"]["classes"]
        if best < (floor := 100 / n_classes + LEARNED):
            raise Unlearned(
                f"{experiment} (nothing was learned: its best curve ends at {best:.1f} %, below {floor:.1f})"
            )

    @staticmethod
    def _best(table: pd.DataFrame) -> float:
        """Where the best curve ends, in per cent."""
        ends = table[table["labelled"] == table["labelled"].max()].groupby("method")["metric"]
        return float(100 * ends.mean().max())

    def curve(self, experiment: str, label: str, at: At) -> pd.Series:
        """Metric in per cent by seed, at a cycle or as area; raises as ``runs`` and ``learned``."""
        self.runs(experiment, label)
        self.learned(experiment)
        if at == "area":
            return 100 * self.areas(experiment)[label]
        rows = self.table(experiment).query("method == @label").pivot(index="seed", columns="labelled", values="metric")
        if not -rows.shape[1] <= at < rows.shape[1]:
            raise Missing(f"{label} of {experiment} (no cycle {at})")
        return 100 * rows.iloc[:, at]

    def pair(self, one: Curve, other: Curve, at: At) -> pd.DataFrame:
        """Two curves by seed, [seeds, 2]: over the seeds that both have, in one precision, up to the interim analysis.

        Raises
        ------
        Missing
            As ``runs``; ``Early`` before the first.
        """
        both = pd.concat([self.curve(*one, at), self.curve(*other, at)], axis=1, join="inner").sort_index()
        kinds = self.precisions((one, other))
        mixed = [int(seed) for seed in both.index if kinds.loc[seed].nunique() > 1]
        names = [one[1], other[1]] if one[1] != other[1] else [one[1]]
        name = f"{' – '.join(names)} of {' and '.join(dict.fromkeys((one[0], other[0])))}"
        if mixed:
            self.left_out[name] = mixed
        return self.counted(both.drop(index=mixed), name)

    def precisions(self, curves: Sequence[Curve]) -> pd.DataFrame:
        """The precision of the finished runs of some curves, [seeds, curves]; None where one is not finished."""
        done = [
            pd.Series({cell.config.seed: record.get("precision") or cell.config.recipe.precision
                       for cell, record in self.results(name).runs if cell.label == label}, dtype=object)
            for name, label in curves
        ]  # fmt: skip
        return pd.concat(done, axis=1).sort_index()

    def lead(self, one: Curve, other: Curve, at: At) -> pd.Series:
        """Difference by seed of two curves; raises as ``pair``."""
        try:
            both = self.pair(one, other, at)
        except Early as early:
            if isinstance(early.values, pd.DataFrame):
                early.values = early.values.iloc[:, 0] - early.values.iloc[:, 1]
            raise
        return both.iloc[:, 0] - both.iloc[:, 1]

    def counted(self, rows: Any, name: str) -> Any:
        """Of rows by seed, in order, those that count: all, or those up to the last interim analysis (``Early``)."""
        if not self.interim:
            return rows
        reached = [n for n in self.interim if n <= len(rows)]
        if reached:
            return rows.iloc[: reached[-1]]
        early = Early(f"{name} ({figures.of_seeds(len(rows))} so far, next interim analysis at {self.interim[0]})")
        early.values = rows
        raise early

    @property
    def seconds_file(self) -> Path:
        return tables.clocked(self.scale, self.out)

    def seconds(self) -> dict[str, float]:
        """Table 2: seconds to pick per method, forward pass, scoring and selection together; empty if not run."""
        if not self.seconds_file.exists():
            return {}
        costs, parts = report.read(self.seconds_file).costs, ("forward", "scoring", "selection")
        if not costs:  # its file of costs is gone
            return {}
        self.used.add(("table2", ""))
        table = costs[0]
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        return {row["method"]: sum(float(row[part]) for part in parts if row[part] != "–") for row in rows}

    def basis(self, claim: Claim) -> str:
        """What the runs that were used are of where it is not what the paper ran: frozen features, or a stand-in.

        What is counted exactly holds on any data, but not of another number of clients; our claims name no data.
        """
        counted = claim.check.kind in ("seen", "unpicked", "same_pools")
        frozen, others = False, []
        for name in sorted({name for name, _ in self.used} & set(self.labels)):
            runs = self.results(name).runs  # none of Table 2, which is timed beside them
            if not runs:
                continue
            run = runs[0][1]
            data, clients = run["data"]["name"], run["config"].get("clients")
            frozen |= figures.is_frozen(data)
            paper = self.of_paper(name) if claim.source != "ours" else None
            if paper is not None and (
                paper.settings().get("clients") != clients
                or (not counted and paper.dataset.split("@")[0] != re.split("[+@]", data)[0])
            ):
                others.append(data + f" with {clients} clients" * bool(clients))
        if others:
            return f"same comparison on {' and '.join(dict.fromkeys(others))}"
        return "on frozen features" if frozen else ""

    def provenance(self) -> tuple[str, str, int]:
        """Data, hardware and the number of records made by other code, of all that was used."""
        places: set[tuple[str, str]] = set()
        stale = 0
        for experiment, label in self.used:
            if experiment == "table2":  # no records: its exhibit says where
                exhibit = report.read(self.seconds_file)
                named = re.search(r"Scale \w+: (\S+?)[,;]", exhibit.note)
                places.add((named[1] if named else "–", exhibit.made or "–"))
                continue
            results = self.results(experiment)
            for _, record in (run for run in results.runs if run[0].label == label):
                machine = record["hardware"]
                places.add((record["data"]["name"], f"{machine['processor']} ({machine['device']})"))
            stale += sum(cell.label == label for cell in results.stale)
        data, machines = ("; ".join(sorted({place[part] for place in places})) or "–" for part in (0, 1))
        return data, machines, stale

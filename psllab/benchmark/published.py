"""The published runs as one compact table that travels with the package: what each came to, not how it picked.

``write`` makes it from records; ``load`` gives an experiment of it as ``grid.collect`` would give the records, but
for the picks. A run is there with its key, metric and unlabelled images of every cycle, what crossed in the end, its
seconds, precision, code, machine, and a hash of all that its record says, so that the run itself can be checked.
"""

import json
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pslcore.runs import Record, records
from psllab import grid
from psllab.analysis import figures
from psllab.grid import Cell, Results, current

FILE = Path(__file__).with_name("published.json.xz")
_FORMAT = 1
_POOLS = 16  # digits of the hash of the pools


@dataclass(frozen=True)
class Published:
    """An experiment as it was published.

    Attributes
    ----------
    experiment, scale : str
    looks : tuple of int
        Paired seeds at which verdicts are passed.
    shared : dict
        The settings that all its runs share; method, options and seed lay over them.
    data : dict
        Name, fingerprint, note and sizes of its data set.
    results : Results
        Its runs; those that today's code would make otherwise are ``stale``. Records hold no picks.
    """

    experiment: str
    scale: str
    looks: tuple[int, ...]
    shared: dict[str, Any]
    data: dict[str, Any]
    results: Results

    @property
    def seeds(self) -> list[int]:
        """Those that any curve has, in order."""
        return sorted({cell.config.seed for cell, _ in self.results.runs})


def index(file: Path | None = None) -> dict[str, list[str]]:
    """The experiments of each scale in the table."""
    found: dict[str, list[str]] = {}
    for said in _content(file or FILE):
        found.setdefault(said["scale"], []).append(said["experiment"])
    return found


def load(experiment: str, scale: str, file: Path | None = None) -> Published:
    """An experiment of the table.

    Raises
    ------
    ValueError
        In one sentence, if it is not there; with what is.
    """
    for said in _content(file or FILE):
        if (said["experiment"], said["scale"]) == (experiment, scale):
            return _published(said)
    known = index(file)
    if scale not in known:
        raise ValueError(f"nothing is published at scale {scale!r}: choose one of {', '.join(known) or 'none'}.")
    raise ValueError(f"{experiment!r} is not published at {scale!r}: choose one of {', '.join(known[scale])}.")


def find(key: str, file: Path | None = None) -> tuple[Published, Cell, Record] | None:
    """A run by its key."""
    for said in _content(file or FILE):
        if any(key in curve["keys"] for curve in said["curves"]):
            whole = _published(said)
            return next((whole, cell, record) for cell, record in whole.results.runs if record["key"] == key)
    return None


def brief(record: Record) -> Record:
    """What the table keeps of a record, as ``load`` gives it back."""
    rows = ([entry[name] for name in ("labelled", "metric", "unlabelled_seen")] for entry in record["cycles"])
    cycles = _cycles(rows, record["cycles"][-1]["crossed"], round(figures.seconds_of(record), 1))
    kept = ("key", "metric", "precision", "source", "data", "hardware", "versions")
    return {name: record[name] for name in kept} | {
        "config": record["config"], "cycles": cycles, "pools": record["pools"][:_POOLS],
        "content": grid.digest(record),
    }  # fmt: skip


def _cycles(rows: Iterable[Iterable[Any]], crossed: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
    """Of each cycle what is labelled, the metric, what was seen; of the whole run what crossed, and its seconds."""
    cycles = [
        {"labelled": n, "metric": metric, "picked": [], "unlabelled_seen": some, "crossed": {}, "seconds": {}}
        for n, metric, some in rows
    ]
    cycles[-1] |= {"crossed": crossed, "seconds": {"run": seconds}}
    return cycles


def write(
    scales: list[str], params: str | Path = "params.yaml", out: str | Path = "outputs", file: Path | None = None
) -> dict[str, int]:
    """Write the table from the finished records that today's code would make; the runs of each experiment.

    The same records give the same bytes.
    """
    told, content = {}, []
    for scale in scales:
        for experiment in grid.experiments(scale, params):
            results = grid.collect(experiment, scale, params, out)
            stale = {cell.config.key for cell in results.stale}
            runs = [(cell, record) for cell, record in results.runs if cell.config.key not in stale]
            if runs:
                base, said = grid.section(experiment, scale, params)
                content.append(
                    {"experiment": experiment, "scale": scale, "looks": list(grid.looks(scale, params)),
                     "shared": grid.merge(base, said.config), **_columns(runs)}
                )  # fmt: skip
                told[f"{experiment} at {scale}"] = len(runs)
    text = json.dumps({"format": _FORMAT, "experiments": content}, sort_keys=True, separators=(",", ":"))
    records.write_bytes(file or FILE, lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    _content.cache_clear()
    return told


def _columns(runs: list[tuple[Cell, Record]]) -> dict[str, Any]:
    """Runs as columns of curves; what all or many share stands once."""
    first = runs[0][1]
    places: dict[str, int] = {}
    curves: dict[tuple[str, int], dict[str, Any]] = {}

    def place(value: Any) -> int:
        return places.setdefault(records.canonical(value), len(places))

    for cell, record in runs:
        row = brief(record)
        settings = {name: value for name, value in record["config"].items() if name != "seed"}
        config = place(settings)  # of one curve older records leave out options that came later, under the same keys
        curve = curves.setdefault((cell.label, config), {"label": cell.label, "config": config, "rows": [], "keys": []})
        cycles = row["cycles"]
        curve["keys"].append(row["key"])
        curve["rows"].append(
            [cell.config.seed, [entry["metric"] for entry in cycles], [entry["unlabelled_seen"] for entry in cycles],
             cycles[-1]["seconds"]["run"], row["content"], row["pools"], place([entry["labelled"] for entry in cycles]),
             place(cycles[-1]["crossed"]), place([row["precision"], row["source"]]),
             place([row["hardware"], row["versions"]])]
        )  # fmt: skip
    shared = [json.loads(text) for text in places]
    return {"data": first["data"], "metric": first["metric"], "places": shared, "curves": list(curves.values())}


@cache
def _content(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    content = json.loads(lzma.decompress(file.read_bytes()))
    if content["format"] != _FORMAT:
        raise ValueError(f"{file.name} is of another format than {_FORMAT}: install the package anew.")
    return content["experiments"]


def _published(said: dict[str, Any]) -> Published:
    results = Results(said["experiment"], said["scale"])
    places = said["places"]
    for curve in said["curves"]:
        sources: dict[str, bool] = {}
        settings = places[curve["config"]]
        try:
            first = grid.config_of(settings | {"seed": 0})
        except ValueError:  # a method or an option that today's code does not know
            continue
        for key, row in zip(curve["keys"], curve["rows"], strict=True):
            seed, metrics, seen, seconds, content, pools, *shared = row
            labelled, crossed, (precision, source), (hardware, versions) = (places[number] for number in shared)
            config = first.model_copy(update={"seed": seed})
            if source not in sources:
                sources[source] = current(source, grid.source(first))
            cycles = _cycles(zip(labelled, metrics, seen, strict=True), crossed, seconds)
            record = {
                "key": key, "metric": said["metric"], "precision": precision, "source": source, "data": said["data"],
                "hardware": hardware, "versions": versions, "config": settings | {"seed": seed}, "cycles": cycles,
                "pools": pools, "content": content,
            }  # fmt: skip
            cell = Cell(curve["label"], config)
            results.runs.append((cell, record))
            if not sources[source]:
                results.stale.append(cell)
    looks = tuple(said["looks"])
    return Published(said["experiment"], said["scale"], looks, said["shared"], said["data"], results)

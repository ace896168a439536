"""The published runs as one compact table that travels with the package: what each came to, not how it picked.

``write`` makes it from records; ``load`` gives an experiment of it as ``grid.collect`` would give the records, but
for the picks. A run is there with its key, metric and unlabelled images of every cycle, what crossed in the end, its
seconds, precision, code, machine, and a hash of all that its record says, so that the run itself can be checked.
"""

import json
import lzma
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pslcore.runs import Config, Record, records
from psllab import grid
from psllab.grid import Cell, Results, current

FILE = Path(__file__).with_name("published.json.xz")
_FORMAT = 2
_POOLS = 16  # digits of the hash of the pools


@dataclass(frozen=True)
class Published:
    """An experiment as it was published.

    Attributes
    ----------
    experiment, scale : str
    interim : tuple of int
        Paired seeds at which verdicts are passed.
    shared : dict
        The settings that all its runs share; method, options and seed lay over them.
    results : Results
        Its runs; those that today's code would make otherwise are ``stale``. Records hold no picks.
    """

    experiment: str
    scale: str
    interim: tuple[int, ...]
    shared: dict[str, Any]
    results: Results

    @property
    def seeds(self) -> list[int]:
        """Those that any curve has, in order."""
        return sorted({cell.config.seed for cell, _ in self.results.runs})

    @property
    def methods(self) -> list[str]:
        """The labels of all curves; the ceiling is none."""
        return [name for name in dict.fromkeys(cell.label for cell, _ in self.results.runs) if name != grid.CEILING]


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
        if any(record["key"] == key for _, record in said["runs"]):
            whole = _published(said)
            return next((whole, cell, record) for cell, record in whole.results.runs if record["key"] == key)
    return None


def brief(record: Record) -> Record:
    """What the table keeps of a record: of the whole run what crossed, and its seconds, stand in the last cycle."""
    kept = ("key", "metric", "precision", "source", "data", "hardware", "versions", "config")
    cycles: list[dict[str, Any]] = [
        {name: entry[name] for name in ("labelled", "metric", "unlabelled_seen")}
        | {"picked": [], "crossed": {}, "seconds": {}} for entry in record["cycles"]
    ]  # fmt: skip
    seconds = round(grid.seconds_of(record), 1)
    cycles[-1] |= {"crossed": record["cycles"][-1]["crossed"], "seconds": {"run": seconds}}
    own = {"cycles": cycles, "pools": record["pools"][:_POOLS], "content": grid.digest(record)}
    return {name: record[name] for name in kept} | own


def write(
    scales: list[str], params: str | Path = "params.yaml", out: str | Path = "outputs", file: Path | None = None
) -> dict[str, int]:
    """Write the table from the finished records that today's code would make; the runs of each experiment.

    The same records give the same bytes.
    """
    content = []
    for scale in scales:
        for experiment in grid.experiments(scale, params):
            if runs := grid.collect(experiment, scale, params, out).fresh:
                base, said = grid.section(experiment, scale, params)
                content.append(
                    {"experiment": experiment, "scale": scale, "looks": list(grid.interim(scale, params)),
                     "shared": grid.merge(base, said.config), "runs": [(cell.label, brief(run)) for cell, run in runs]}
                )  # fmt: skip
    text = json.dumps({"format": _FORMAT, "experiments": content}, sort_keys=True, separators=(",", ":"))
    records.write_bytes(file or FILE, lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    _content.cache_clear()
    return {f"{said['experiment']} at {said['scale']}": len(said["runs"]) for said in content}


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
    curves: dict[str, tuple[Config, bool] | None] = {}
    for label, record in said["runs"]:
        curve = records.canonical([record["config"] | {"seed": 0}, record["source"]])
        if curve not in curves:  # older records leave out options that came later, under the same keys
            curves[curve] = _known(record)
        if known := curves[curve]:
            config, today = known
            results.runs.append((Cell(label, config.model_copy(update={"seed": record["config"]["seed"]})), record))
            if not today:
                results.stale.append(results.runs[-1][0])
    return Published(said["experiment"], said["scale"], tuple(said["looks"]), said["shared"], results)


def _known(record: Record) -> tuple[Config, bool] | None:
    """The config of a run, and whether today's code would make it; None for a method or option that it lacks."""
    try:
        config = grid.config_of(record["config"])
    except ValueError:
        return None
    return config, current(record["source"], grid.source(config))

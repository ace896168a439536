"""The records embedded in a page, reduced: which run stands where, and what one click shows of it."""

import base64
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

from pslcore.runs import Record
from psllab import grid
from psllab.grid import Cell

MOST = 800_000  # characters of it inside the page
_KEPT = ("config", "data", "precision", "source", "versions", "hardware", "metric", "digest")
_CYCLE = ("labelled", "metric", "unlabelled_seen", "seconds", "memory", "picked")


def collected(scale: str, params: str | Path = "params.yaml", out: str | Path = "outputs") -> list[grid.Results]:
    """The finished runs of every experiment of a scale."""
    return [grid.collect(name, scale, params, out) for name in grid.experiments(scale, params)]


def index(results: Iterable[grid.Results]) -> dict[str, dict[str, list[tuple[int, str]]]]:
    """Experiment, label: seed and key of each finished run."""
    found: dict[str, dict[str, list[tuple[int, str]]]] = {}
    for one in results:
        for cell, record in one.runs:
            found.setdefault(one.experiment, {}).setdefault(cell.label, []).append((cell.config.seed, record["key"]))
    return found


def packed(results: Iterable[grid.Results], most: int = MOST) -> dict:
    """Config, cycles, seconds and picks of every record, deflated, in base64.

    Where all of it would take more than ``most`` characters the picks stay in the files, then the records as a whole.

    Returns
    -------
    dict
        ``data`` (text; empty if it does not fit), ``picks`` (whether they are in it).
    """
    runs: list[tuple[Cell, Record]] = [run for one in results for run in one.runs]
    for picks in (True, False):
        told = {record["key"]: _reduced(record, picks) for _, record in runs}
        data = base64.b64encode(zlib.compress(json.dumps(told, separators=(",", ":"), sort_keys=True).encode(), 9))
        if len(data) <= most:
            return {"data": data.decode(), "picks": picks}
    return {"data": "", "picks": False}


def _reduced(record: Record, picks: bool) -> dict:
    told = {name: record[name] for name in _KEPT if record.get(name) is not None}  # type: ignore[literal-required]
    cycles = []
    for entry in record["cycles"]:
        cycle = {name: entry[name] for name in _CYCLE if entry.get(name) is not None}  # type: ignore[literal-required]
        cycle["picks"] = len(cycle.get("picked", ()))
        if not picks:
            cycle.pop("picked", None)
        cycles.append(cycle)
    return told | {"cycles": cycles}

"""A published run repeated, and the outcome in a sentence: the same bits, within the spread of its seeds, or not.

On a machine of the same kind, with the same versions of the libraries and the same code, every bit must come again. On
another the last bits of a sum differ and, a few steps later, so do weights and picks: there the area under the curve
must lie as near to the published one as two runs of one method lie to each other (95 %, from the spread over its
seeds); and what rounding has no part in (config, data, pools, labels, what crossed) must be equal all the same.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from pslcore.runs import Record, records
from psllab import grid
from psllab.analysis import machines, statistics
from psllab.benchmark import published
from psllab.benchmark.published import Published
from psllab.grid import Cell

_ROUNDED = ("metric", "picked", "peers")
"""What rounding may change."""
_ELSEWHERE = ("seconds", "memory", "hardware", "versions", "source")
"""What of a brief record another machine or other code may change."""


@dataclass(frozen=True)
class Chosen:
    """A published run that is to be made again.

    Attributes
    ----------
    where : str
        For a sentence: its file, or the table of the package.
    record : Record
        Without picks if only the table has it.
    whole : bool
        Whether it is the record itself.
    seeds : list of float
        Areas under the curve, 0 to 1, of the other seeds of its curve, as far as they are known.
    label : str
        Of its curve, where that is known.
    """

    where: str
    record: Record
    whole: bool
    seeds: list[float]
    label: str = ""

    @property
    def seconds(self) -> float:
        """What it took where it was made."""
        return grid.seconds_of(self.record)

    def __str__(self) -> str:
        """What it is, in half a sentence."""
        config = self.record["config"]
        return f"{self.label or config['method']} on {config['dataset']}, seed {config['seed']}"


@dataclass(frozen=True)
class Outcome:
    """What came of it: whether it stands, and a sentence."""

    stands: bool
    sentence: str


def choose(what: str, out: str | Path = "outputs") -> Chosen:
    """A run by its key or its file.

    Raises
    ------
    ValueError
        If there is none, or it is damaged.
    """
    path = Path(what)
    if path.suffix == ".json" and not path.exists():
        raise ValueError(f"there is no record {path}: give a file, or a key of 16 hexadecimal digits.")
    if not re.fullmatch("[0-9a-f]{16}", path.stem):
        raise ValueError(f"{what!r} is no run: give a record's file, or a key of 16 hexadecimal digits.")
    listed = published.find(path.stem)
    if path.suffix == ".json":
        return _chosen(str(path), grid.read(path), listed)
    for folder in [each / "runs" for each in sorted(Path(out).glob("*")) if each.is_dir()]:
        if (found := grid.stored(what, folder)) is not None:
            return _chosen(str(folder / f"{what}.json"), found, listed)
    if listed is None:
        raise ValueError(f"{what!r} is neither a record's file nor the key of one under {out} or in the package.")
    return _chosen("the table of the package", listed[2], listed)


def _chosen(where: str, record: Record, listed: tuple[Published, Cell, Record] | None) -> Chosen:
    """A record, with the other seeds of its curve as the package's table knows them."""
    whole = not grid.is_brief(record)
    record = record if whole else published.brief(record)
    if listed is None:
        return Chosen(where, record, whole, [])
    label, seed = listed[1].label, listed[1].config.seed
    runs = listed[0].results.runs
    others = [statistics.area_of(each) for cell, each in runs if cell.label == label and cell.config.seed != seed]
    return Chosen(where, record, whole, others, label)


def cheapest(out: str | Path = "outputs") -> Chosen:
    """The published run that took the least time among those that today's code would make.

    Raises
    ------
    ValueError
        If there is none.
    """
    tables = (published.load(experiment, scale) for scale, names in published.index().items() for experiment in names)
    runs = (record for table in tables for cell, record in table.results.fresh if cell.label != grid.CEILING)
    found = min(runs, key=grid.seconds_of, default=None)
    if found is None:
        raise ValueError("no published run is what today's code would make: name a record.")
    return choose(found["key"], out)


def again(chosen: Chosen, root: str | Path = "data", device: str = "auto") -> Outcome:
    """Run it again, keeping nothing, and compare.

    Raises
    ------
    ValueError, OSError
        If it cannot be run here.
    """
    old = chosen.record
    config = grid.config_of(old["config"])
    if config.key != old["key"]:
        return Outcome(False, f"{chosen.where} does not stand: its config has the key {config.key}, not {old['key']}.")
    if old.get("precision"):
        config = grid.settle(config, old["precision"])
    return _verdict(chosen, old, grid.run_one(config, root, None, device))


def _verdict(chosen: Chosen, old: Record, run: Record) -> Outcome:
    new = {name: value for name, value in (run if chosen.whole else published.brief(run)).items() if name in old}
    who = f"{chosen} ({old['key']})"
    today = grid.current(old["source"], run["source"])
    code = "" if today else " It was made by other code than today's, which may well be why."
    same_kind = machines.alike(old, run)
    kind = "the same kind of machine" if same_kind else "another kind of machine or other versions"
    one, other = (
        each if chosen.whole else {name: each[name] for name in each if name not in _ELSEWHERE} for each in (old, new)
    )
    where = grid.difference(records.content(one), records.content(other))
    if not where:
        return Outcome(True, f"{who} stands: run again on {kind}, every bit is the same.")
    if where.startswith("content:"):
        where = "what it picked"
    if same_kind and today:
        return Outcome(False, f"{who} does not stand: run again on {kind}, it differs in {where}.")
    fixed = grid.difference(_unrounded(records.content(old)), _unrounded(records.content(new)))
    if fixed:
        return Outcome(
            False, f"{who} does not stand: on {kind} it differs in {fixed}, in which rounding has no part.{code}"
        )
    areas = 100 * np.array([statistics.area_of(old), statistics.area_of(run)])
    gap, n = abs(areas[1] - areas[0]), len(chosen.seeds)
    outcome = f"area under the curve {areas[0]:.2f} % published, {areas[1]:.2f} % here"
    if n < 3:
        return Outcome(False, f"{who} cannot be judged: {outcome}, on {kind}, and too few other seeds are known.{code}")
    room = float(stdtrit(n - 1, 0.975) * np.sqrt(2) * 100 * np.std(chosen.seeds, ddof=1))
    word, side = ("stands", "within") if gap <= room else ("does not stand", "beyond")
    return Outcome(
        gap <= room,
        f"{who} {word}: {outcome}, on {kind}; the difference is {side} the {room:.1f} points by which two runs of this "
        f"method differ (95 %, from {n} seeds).{code}",
    )


def _unrounded(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _unrounded(value) for name, value in content.items() if name not in (*_ROUNDED, "content")}
    return [_unrounded(value) for value in content] if isinstance(content, list) else content

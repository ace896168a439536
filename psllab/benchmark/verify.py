"""A published run repeated, and the outcome in a sentence: the same bits, within the spread of its seeds, or not.

On a machine of the same kind, with the same versions of the libraries and the same code, every bit must come again. On
another the last bits of a sum differ and, a few steps later, so do weights and picks: there the area under the curve
must lie as near to the published one as two runs of one method lie to each other (95 %, from the spread over its
seeds); and what rounding has no part in (config, data, pools, labels, what crossed) must be equal all the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from pslcore.runs import Record, records
from psllab import grid
from psllab.analysis import figures, machines, statistics
from psllab.benchmark import published
from psllab.grid import Cell

_ROUNDED = ("metric", "picked", "peers")
"""What rounding may change."""


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
        return figures.seconds_of(self.record)

    def told(self) -> str:
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
    if path.suffix == ".json":
        if not path.exists():
            raise ValueError(f"there is no record {path}: give a file, or a key of 16 hexadecimal digits.")
        record = grid.read(path)
        return _beside(str(path), record)
    for folder in [each / "runs" for each in sorted(Path(out).glob("*")) if each.is_dir()]:
        found = grid.stored(what, folder)
        if found is not None:
            return _beside(str(folder / f"{what}.json"), found)
    listed = published.find(what)
    if listed is None:
        raise ValueError(f"{what!r} is neither a record's file nor the key of one under {out} or in the package.")
    return _listed(*listed)


def cheapest(out: str | Path = "outputs") -> Chosen:
    """The published run that took the least time among those that today's code would make.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = [
        (whole, cell, record)
        for scale, experiments in published.index().items() for experiment in experiments
        for whole in [published.load(experiment, scale)]
        for stale in [{cell.config.key for cell in whole.results.stale}]
        for cell, record in whole.results.runs
        if cell.config.key not in stale and cell.label != grid.CEILING
    ]  # fmt: skip
    if not found:
        raise ValueError("no published run is what today's code would make: name a record.")
    whole, cell, record = min(found, key=lambda each: figures.seconds_of(each[2]))
    try:
        return choose(record["key"], out)
    except ValueError:
        return _listed(whole, cell, record)


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
    new = grid.run_one(config, root, None, device)
    if not chosen.whole:
        return _verdict(chosen, old, published.brief(new), new)
    return _verdict(chosen, old, new, new)


def _verdict(chosen: Chosen, old: Record, new: Record, run: Record) -> Outcome:
    who = f"{chosen.told()} ({old['key']})"
    today = grid.current(old["source"], run["source"])
    code = "" if today else " It was made by other code than today's, which may well be why."
    same_kind = machines.alike(old, run)
    kind = "the same kind of machine" if same_kind else "another kind of machine or other versions"
    if chosen.whole:
        where = grid.difference(records.content(old), records.content(_only(new, old)))
    else:
        kept = [name for name in old if name not in ("seconds", "memory", "hardware", "versions", "source")]
        one, other = ({name: each[name] for name in kept} for each in (old, new))
        where = grid.difference(records.content(one), records.content(other))
    if not where:
        return Outcome(True, f"{who} stands: run again on {kind}, every bit is the same.")
    if where.startswith("content:"):
        where = "what it picked"
    if same_kind and today:
        return Outcome(False, f"{who} does not stand: run again on {kind}, it differs in {where}.")
    fixed = grid.difference(_unrounded(records.content(old)), _unrounded(records.content(_only(new, old))))
    if fixed:
        return Outcome(
            False, f"{who} does not stand: on {kind} it differs in {fixed}, in which rounding has no part.{code}"
        )
    areas = 100 * np.array([_area(old), _area(run)])
    gap, n = abs(areas[1] - areas[0]), len(chosen.seeds)
    told = f"area under the curve {areas[0]:.2f} % published, {areas[1]:.2f} % here"
    if n < 3:
        return Outcome(False, f"{who} cannot be judged: {told}, on {kind}, and too few other seeds are known.{code}")
    room = float(stdtrit(n - 1, 0.975) * np.sqrt(2) * 100 * np.std(chosen.seeds, ddof=1))
    word = "stands" if gap <= room else "does not stand"
    sides = "within" if gap <= room else "beyond"
    return Outcome(
        gap <= room,
        f"{who} {word}: {told}, on {kind}; the difference is {sides} the {room:.1f} points by which two runs of this "
        f"method differ (95 %, from {n} seeds).{code}",
    )


def _only(new: Any, old: Any) -> Any:
    """Of the new record what the old one says: a record may have grown."""
    return {name: value for name, value in new.items() if name in old}


def _unrounded(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _unrounded(value) for name, value in content.items() if name not in (*_ROUNDED, "content")}
    return [_unrounded(value) for value in content] if isinstance(content, list) else content


def _area(record: Record) -> float:
    return statistics.area(*([each[name] for each in record["cycles"]] for name in ("metric", "labelled")))


def _beside(where: str, record: Record) -> Chosen:
    """A record, with the other seeds of its curve as the package's table knows them."""
    whole = "content" not in record
    record = record if whole else published.brief(record)
    listed = published.find(record["key"])
    if listed is None:
        return Chosen(where, record, whole, [])
    return Chosen(where, record, whole, _areas(listed[0].results.runs, listed[1]), listed[1].label)


def _listed(whole: published.Published, cell: Cell, record: Record) -> Chosen:
    return Chosen("the table of the package", record, False, _areas(whole.results.runs, cell), cell.label)


def _areas(runs: Iterable[tuple[Cell, Record]], cell: Cell) -> list[float]:
    return [
        _area(record) for other, record in runs
        if other.label == cell.label and other.config.seed != cell.config.seed
    ]  # fmt: skip

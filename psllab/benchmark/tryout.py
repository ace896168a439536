"""A user's method benchmarked, from its file: checked, timed, run on the published seeds, compared.

Nothing of the file is run in this process (see ``sandbox``). Its records stand in ``tried/<hash of the file>``,
so that they never mix with published ones, beside the very bytes that made them.
"""

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count
from tqdm.auto import tqdm

from pslcore.runs import Config, Record, records, schema
from psllab import grid, userfile
from psllab.analysis import ceiling
from psllab.benchmark import comparison, sandbox
from psllab.benchmark.comparison import Standing
from psllab.benchmark.published import Published
from psllab.grid import CEILING, Cell

_MARK = '<meta name="generator" content="pslcore try">'
_COPY = "method.py"


class Refused(ValueError):
    """The file, or a run of its method, in one sentence; what was finished before is kept."""


@dataclass
class Method:
    """What a file holds, as its process reported it.

    Attributes
    ----------
    file : str
        As it was given.
    name, label, about : str
        Its name in configs, the name of its class, the first line of its docstring.
    options : dict
        All of them, defaults included.
    uploads, has_auxiliary : bool
        As its class declares.
    timed : list of dict
        ``n``, ``budget``; ``seconds`` and ``memory`` (bytes above what the process had), or ``late``.
    printed : str
        The beginning of what it wrote to standard output.
    written : int
        All that it wrote there, bytes.
    """

    file: str
    content: bytes
    name: str = ""
    label: str = ""
    about: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    uploads: bool = False
    has_auxiliary: bool = False
    timed: list[dict[str, Any]] = field(default_factory=list)
    printed: str = ""
    written: int = 0

    @property
    def digest(self) -> str:
        """Of the file's bytes; its folder is called so."""
        return hashlib.sha256(self.content).hexdigest()[:16]

    def lines(self) -> list[str]:
        """What was found out about it, a sentence each."""
        where = "uploads the safe images" if self.uploads else "uploads no unlabelled image"
        kind = ", has a module trained with the task learner" if self.has_auxiliary else ""
        found = [f"It keeps the contract of a method, {where}{kind}."]
        for each in self.timed:
            cost = "more than the limit"
            if not each.get("late"):
                cost = f"{each['seconds']:.2g} s, {each['memory'] / 2**20:,.0f} MiB"
            found.append(f"A pick of {each['budget']:,} out of {each['n']:,}: {cost}.")
        if self.written:
            found.append(f"It wrote {self.written:,} bytes to standard output.")
        return found


def look(
    file: str, options: dict[str, Any] | None = None, shared: dict[str, Any] | None = None, root: str | Path = "data",
    limit: float = sandbox.LIMIT,
) -> Method:  # fmt: skip
    """Hold a file to the contract, in a process of its own, and time its pick.

    Parameters
    ----------
    file : str
        ``mine.py``, or ``mine.py:Name`` where it defines several.
    options : dict, optional
        Of the method.
    shared : dict, optional
        The settings of an experiment, for short runs of a method that trains networks of its own.
    root : path
        Folder of the data sets.
    limit : float
        Seconds that each step may take.

    Raises
    ------
    ValueError
        In one sentence, if there is no such file, or it does not keep the contract.
    """
    path, wanted = userfile.split(file)
    userfile.digest(path)  # is there, and can be read
    method = Method(file, path.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / _COPY
        copy.write_bytes(method.content)
        order = {"task": "look", "file": _named(copy, wanted), "options": options, "shared": shared,
                 "root": str(root), "device": "auto"}  # fmt: skip
        for guest, event in sandbox.listen([order], limit):
            method.written = guest.written
            method.printed = guest.printed.decode(errors="replace")
            if event["say"] in ("refused", "gone") or (event["say"] == "late" and not event["soft"]):
                raise Refused(_own_words(event["sentence"], copy, file))
            if event["say"] == "begin" and "timed" in event:
                method.timed.append({"n": event["timed"], "budget": event["budget"], "late": True})
            elif event["say"] == "timed":
                method.timed[-1] = event
            elif event["say"] == "method":
                for name in ("name", "label", "about", "options", "uploads", "has_auxiliary"):
                    setattr(method, name, event[name])
    return method


def run(
    method: Method, experiment: Published, seeds: Collection[int], out: str | Path = "outputs",
    root: str | Path = "data", jobs: int | None = None, device: str = "auto", limit: float = sandbox.LIMIT,
    told: Callable[[int, int], None] | None = None,
) -> list[tuple[Cell, Record]]:  # fmt: skip
    """Its runs on these seeds, each in the precision of the published ones; what is finished is not run again.

    ``told`` is called with the number of finished runs, and of all; without it there is a bar. What it raises ends all.

    Raises
    ------
    Refused
        If one fails; those before are kept.
    OSError
        If its folder cannot be written to.
    """
    here = folder(method, experiment, out)
    copy, wanted = here / _COPY, userfile.split(method.file)[1]
    if not copy.exists() or copy.read_bytes() != method.content:
        records.write_bytes(copy, method.content)
    own = {"method": method.name, "options": method.options}
    configs = [grid.merge(experiment.shared, own, {"seed": seed}) for seed in seeds]
    precisions = _precisions(experiment)
    found = _runs(
        [(config, precisions.get(config["seed"])) for config in configs], here / "runs", root, jobs, device, limit,
        file=_named(copy, wanted), title=f"{method.label}: {experiment.experiment} at {experiment.scale}",
        words=lambda sentence: _own_words(sentence, copy, method.file), told=told,
    )  # fmt: skip
    label = method.label if method.label not in experiment.methods else f"{method.label} (yours)"
    return [(Cell(label, Config.model_construct(**record["config"])), record) for record in found]


def folder(method: Method, experiment: Published, out: str | Path = "outputs") -> Path:
    """Where the records of a file stand."""
    return Path(out) / experiment.scale / "tried" / method.digest


def check_rivals(experiment: Published, wanted: Collection[str]) -> None:
    """``ValueError`` if one of the labels is no published method of the experiment."""
    known = experiment.methods
    if unknown := [label for label in wanted if label not in known]:
        words = "; ".join(known)
        raise ValueError(f"{unknown[0]!r} is no published method of {experiment.experiment}: choose from {words}.")


def run_rivals(
    experiment: Published, wanted: Collection[str], seeds: Collection[int], out: str | Path = "outputs",
    root: str | Path = "data", jobs: int | None = None, device: str = "auto",
) -> None:  # fmt: skip
    """Run published methods here, into ``tried/rivals``; they then stand in the place of the published runs.

    Raises
    ------
    ValueError
        If a label is unknown, or a run fails.
    """
    check_rivals(experiment, wanted)
    chosen = [cell for cell, _ in experiment.results.runs if cell.label in wanted and cell.config.seed in seeds]
    here = Path(out) / experiment.scale / "tried" / "rivals" / "runs"
    found = _runs(
        [(cell.config.settings(), None) for cell in chosen], here, root, jobs, device, sandbox.LIMIT,
        title=f"rivals: {experiment.experiment} at {experiment.scale}",
    )  # fmt: skip
    anew = {record["key"]: record for record in found}
    results = experiment.results
    results.runs[:] = [(cell, anew.get(cell.config.key, record)) for cell, record in results.runs]
    results.stale[:] = [cell for cell in results.stale if cell.config.key not in anew]


def unpaired(experiment: Published, own: list[tuple[Cell, Record]]) -> list[str]:
    """The published methods of which some run makes no pair with one's own."""
    found = (cell.label for cell, _, reason in comparison.pairs(experiment, own) if reason)
    return [label for label in dict.fromkeys(found) if label != CEILING]


def minutes(experiment: Published, n: int, jobs: int | None = None) -> float:
    """What so many runs may take, by those of Random that were published."""
    runs = [record for cell, record in experiment.results.runs if cell.label == ceiling.BASELINE]
    runs = runs or [record for _, record in experiment.results.runs]
    return float(np.median([grid.seconds_of(record) for record in runs])) * n / 60 / processes(jobs, n)


def may_write(path: Path) -> None:
    """``ValueError`` if something else than such a page stands there, or no folder for it; nothing is changed."""
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is no folder: make it, or name another place with --page.")
    if path.exists() and (not path.is_file() or _MARK not in path.read_text(errors="replace")[:2000]):
        raise ValueError(f"{path} is there and was not written by `pslcore benchmark`: name another with --page.")


def write_page(found: Standing, method: Method, path: Path) -> None:
    """Write the page, see ``may_write``."""
    may_write(path)
    about = {"file": method.file, "digest": method.digest, "doc": method.about, "lines": method.lines(),
             "source": method.content.decode(errors="replace")}  # fmt: skip
    records.write_bytes(path, comparison.page(found, about).encode())


def _runs(
    wanted: list[tuple[dict[str, Any], str | None]], folder: Path, root: str | Path, jobs: int | None, device: str,
    limit: float, title: str, file: str | None = None, words: Callable[[str], str] = str,
    told: Callable[[int, int], None] | None = None,
) -> list[Record]:  # fmt: skip
    """Configs, with the precision each is settled in, as finished records in that order."""
    records.prepare(folder)
    workers = processes(jobs, len(wanted))
    orders = [
        {"task": "run", "file": file, "options": None, "configs": [config for config, _ in part],
         "precisions": [precision for _, precision in part], "folder": str(folder), "root": str(root), "device": device}
        for part in (wanted[number::workers] for number in range(workers))
    ]  # fmt: skip
    keys: dict[int, str] = {}
    with tqdm(total=len(wanted), desc=title, unit="run", disable=not wanted or told is not None) as bar:
        for guest, event in sandbox.listen(orders, limit):
            if told is not None:
                told(len(keys), len(wanted))
            if event["say"] == "done":
                keys[guest.number + workers * event["number"]] = event["key"]
                bar.update()
            elif event["say"] in ("failed", "refused", "late", "gone"):
                seed = f"seed {guest.seed}: " if guest.seed is not None else ""
                kept = f" {len(keys)} finished runs are kept in {folder}." if keys else ""
                raise Refused(f"{seed}{words(event['sentence'])}{kept}")
    return [schema.read(folder / f"{keys[number]}.json") for number in range(len(wanted))]


def processes(jobs: int | None, n: int) -> int:
    """How many processes run ``n`` runs; ``ValueError`` if ``jobs`` is no number of them."""
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs = {jobs} processes cannot run anything: give a whole number from 1.")
    return max(1, min(jobs or cpu_count(), n))


def _precisions(experiment: Published) -> dict[int, str]:
    """The precision that most of the published runs of a seed have."""
    found: dict[int, list[str]] = defaultdict(list)
    for cell, record in experiment.results.runs:
        if record.get("precision"):
            found[cell.config.seed].append(record["precision"])
    return {seed: max(sorted(set(each)), key=each.count) for seed, each in found.items()}


def _named(path: Path, what: str) -> str:
    return f"{path}:{what}" if what else str(path)


def _own_words(sentence: str, copy: Path, file: str) -> str:
    """A sentence about the copy of a file, reworded for the file."""
    path = str(userfile.split(file)[0])
    sentence = sentence.replace(str(copy), path)
    return sentence if sentence.startswith((path, "there is no file")) else f"{path}: {sentence}"

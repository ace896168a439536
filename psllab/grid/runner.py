"""Many runs: every method and seed of an experiment, in parallel, each a file, what is finished never run again.

``params.yaml`` says what an experiment is at each scale; nothing else does. On a batch machine this module needs
torch, torchvision, numpy, pandas, scikit-learn, pyyaml, tqdm and pydantic alone.
"""

import os
import re
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from joblib import cpu_count
from pydantic import TypeAdapter
from tqdm.auto import tqdm

from pslcore.data import packed
from pslcore.runs import CloudOf, Config, OutOfTime, Record, records, schema
from pslcore.settings import Name, short
from psllab.grid import archive, executors, precision, progress
from psllab.grid import params as parameters
from psllab.grid.equivalence import current
from psllab.grid.params import Cell, cells, config_of, run_one


class GridError(RuntimeError):
    """Some runs failed; the others are finished and kept."""


@dataclass
class Results:
    """What an experiment has to show.

    Attributes
    ----------
    experiment, scale : str
    runs : list of (Cell, Record)
        The finished ones, in the order of the experiment.
    stale : list of Cell
        Those among them that were made by other code than today's, and not by code that is proven to do the same.
    unfinished : list of Cell
        Stopped by the time limit, or not begun.
    later : list of Cell
        Finished, but left out of ``runs`` until the next interim analysis (``up_to_interim``).
    archived : set of str
        Keys of the finished ones that stand in the archive beside the folder, not in files of their own.
    """

    experiment: str
    scale: str
    runs: list[tuple[Cell, Record]] = field(default_factory=list)
    stale: list[Cell] = field(default_factory=list)
    unfinished: list[Cell] = field(default_factory=list)
    later: list[Cell] = field(default_factory=list)
    archived: set[str] = field(default_factory=set)

    @property
    def fresh(self) -> list[tuple[Cell, Record]]:
        """The runs that are not stale."""
        stale = {cell.config.key for cell in self.stale}
        return [run for run in self.runs if run[0].config.key not in stale]

    def up_to_interim(self, interim: Collection[int]) -> "Results":
        """The runs of the last interim analysis that every curve has reached: nothing is judged in between.

        All runs where there are no interim analyses, or before the first. A ceiling is no curve.
        """
        seeds = self._seeds()
        reached = [n for n in interim if all(set(range(n)) <= there for there in seeds.values())]
        if not reached or not seeds:
            return self
        last = max(reached)
        return replace(
            self,
            runs=[(cell, record) for cell, record in self.runs if cell.config.seed < last],
            stale=[cell for cell in self.stale if cell.config.seed < last],
            later=[cell for cell, _ in self.runs if cell.config.seed >= last],
        )

    def analysed(self, interim: Sequence[int]) -> "Results":
        """``up_to_interim`` of the curves that have reached the first analysis; all runs where none has."""
        there = {label for label, seeds in self._seeds().items() if interim and set(range(interim[0])) <= seeds}
        if not there:
            return self
        runs = [(cell, record) for cell, record in self.runs if cell.label in {*there, parameters.CEILING}]
        return replace(self, runs=runs, unfinished=[]).up_to_interim(interim)

    def _seeds(self) -> dict[str, set[int]]:
        """The finished seeds of every curve, the ceiling left out."""
        seeds: dict[str, set[int]] = {cell.label: set() for cell in self.unfinished}
        for cell, _ in self.runs:
            seeds.setdefault(cell.label, set()).add(cell.config.seed)
        seeds.pop(parameters.CEILING, None)
        return seeds


def collect(experiment: str, scale: str, params: str | Path = "params.yaml", out: str | Path = "outputs") -> Results:
    """What is finished so far; runs nothing. A damaged record counts as unfinished."""
    results, folder = Results(experiment, scale), runs_folder(out, scale)
    code: dict[str, str] = {}  # fingerprint of each curve's, whatever the seed
    for cell in cells(experiment, scale, params):
        key = cell.config.key
        record = _finished(key, folder)
        if record is None:
            results.unfinished.append(cell)
            continue
        results.runs.append((cell, record))
        if not (folder / f"{key}.json").exists():
            results.archived.add(key)
        if cell.label not in code:
            code[cell.label] = parameters.source(cell.config)
        if not current(record["source"], code[cell.label]):
            results.stale.append(cell)
    return results


def run(
    experiment: str, scale: str, params: str | Path = "params.yaml", root: str | Path = "data",
    out: str | Path = "outputs", jobs: int | None = None, minutes: float | None = None, keep_stale: bool = False,
    device: str = "auto", only: Collection[tuple[str, int]] | None = None, cluster: str | None = None,
    cloud: CloudOf | None = None,
) -> Results:  # fmt: skip
    """Run what is not finished of an experiment, and give all that is.

    A seed goes on in the precision that it was begun in (``precision``); where this machine cannot, it is left out.
    Whatever ends this process ends its workers (``workers``).

    Parameters
    ----------
    experiment, scale : str
        As in ``params.yaml``.
    params, root, out : path
        The parameter file; the folder of the data sets; records go to ``<out>/<scale>/runs``.
    jobs : int, optional
        Processes, one thread each; as many as there are cores if not given. Of a cluster, the workers to start.
    minutes : float, optional
        Begin no further cycle after so much time; the same call later goes on from there.
    keep_stale : bool
        Keep finished records that other code than today's has made, marked as such, in place of running them again.
    device : str
        As for ``runs.run``.
    only : collection of (label, seed), optional
        Of what is not finished these alone.
    cluster : str, optional
        Run on its workers (``cluster.Cluster``); that which the variable ``PSL_CLUSTER`` names, if not given.
    cloud : callable, optional
        As for ``runs.run``.

    Returns
    -------
    Results

    Raises
    ------
    ValueError, OSError
        On bad input, before anything runs.
    GridError
        If runs failed; all others are finished and kept by then.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs = {jobs} processes cannot run anything: give a whole number from 1.")
    cluster = cluster or os.environ.get("PSL_CLUSTER", "")
    if cloud is not None and cluster:
        raise ValueError(f"a server trains the task learners and {cluster} runs the experiments: name one of the two.")
    deadline = None if minutes is None else time.time() + 60 * minutes
    folder = runs_folder(out, scale)
    before = collect(experiment, scale, params, out)
    kept, again = (before.runs, []) if keep_stale else (before.fresh, before.stale)
    if again:
        print(f"{len(again)} of {len(before.runs)} records were made by other code than today's: they are run again.")
    todo = [cell for cell in before.unfinished + again if only is None or (cell.label, cell.config.seed) in only]
    parameters.check(todo, root, f"{params}: {scale}.{experiment}")
    records.prepare(folder)
    archive.sweep(folder, {cell.config.key for cell, _ in before.fresh})
    known, failures = {cell.label: seconds_of(record) for cell, record in kept}, []
    sets = {cell.config.dataset for cell in todo}
    with closing(executors.of(cluster if todo else "", jobs or cpu_count(), root, device, sets)) as executor:
        todo, later = precision.fitting(todo, kept, executor.native, executor.mixed)
        if later:
            told = f"{experiment} at {scale}: seed {', '.join(map(str, later))} was begun in bfloat16"
            print(f"{told}, which this processor does not compute itself: left for a machine that does.")
        tasks = ((number, todo[number].config) for number in _longest_first(todo, known))
        attempt = partial(_attempt, cloud=cloud)
        with tqdm(total=len(todo), desc=f"{experiment} at {scale}", unit="run", disable=not todo) as bar:
            for number, trouble, seconds in executor.answers(attempt, tasks, len(todo), folder, deadline):
                if seconds is None:  # out of time
                    continue
                known[todo[number].label] = seconds
                bar.update(trouble is None)
                if trouble:
                    failures.append((todo[number], trouble))
                progress.tell(experiment, len(kept) + bar.n, len(kept) + len(todo), bar.format_dict["elapsed"], bar.n)
    if failures:
        log = _log(folder.parent / f"{experiment}.log", failures)
        told = "; ".join(f"{cell.label}, seed {cell.config.seed}: {sentence}" for cell, (sentence, _) in failures[:3])
        more = f" and {len(failures) - 3} more" if len(failures) > 3 else ""
        raise GridError(
            f"{len(failures)} of {len(todo)} runs of {experiment} failed, the others are kept. {told}{more}. {log}"
        )
    return collect(experiment, scale, params, out)


Trouble = tuple[str, str]
"""What a failed run says in a sentence, and its traceback."""


def _log(path: Path, failures: list[tuple[Cell, Trouble]]) -> str:
    """Keep the tracebacks; a sentence that says where."""
    report = "\n\n".join(f"{cell.label}, {cell.config.settings()}:\n{trace}" for cell, (_, trace) in failures)
    try:
        records.write_bytes(path, f"{report}\n".encode())
    except OSError as error:
        return f"What happened could not be written down: {error}"
    return f"What happened stands in {path}."


def _longest_first(todo: list[Cell], known: dict[str, float]) -> Iterator[int]:
    """Seed by seed, so that what an interrupted grid has is paired; of a seed what is not known, then the longest.

    ``known`` are seconds a run by curve, and grows; the longest runs of a seed are begun first, so that no worker waits
    for another at the end. Nothing in a record depends on the order.
    """
    left = list(range(len(todo)))
    while left:
        seed = min(todo[number].config.seed for number in left)
        same = [number for number in left if todo[number].config.seed == seed]
        left.remove(longest := max(same, key=lambda number: known.get(todo[number].label, float("inf"))))
        yield longest


def _attempt(
    number: int, config: Config, root: str | Path, folder: Path, device: str, deadline: float | None,
    cloud: CloudOf | None = None,
) -> tuple[int, Trouble | None, float | None]:  # fmt: skip
    """The number of a cell again, what went wrong, seconds; None if its run did not come to an end in time."""
    trouble, begun = None, time.perf_counter()
    try:
        run_one(config, root, folder, device, deadline, cloud)
    except OutOfTime:
        return number, None, None
    except Exception as error:  # whatever it is, it is reported, and the other runs go on
        sentence = " ".join(str(error).split()) or "no reason given"
        trouble = f"{type(error).__name__}: {sentence}".rstrip("."), traceback.format_exc()
    return number, trouble, time.perf_counter() - begun


def seconds_of(record: Record) -> float:
    """All clocked seconds of a run, one process."""
    return sum(sum(entry["seconds"].values()) for entry in record["cycles"])


def take_in(source: str | Path, scale: str, out: str | Path = "outputs") -> list[str]:
    """Copy finished records that were made elsewhere into ``<out>/<scale>/runs``; the keys taken.

    Records that are here already and say the same are passed over; files that are not named like records, too.

    Raises
    ------
    FileNotFoundError
        If the folder holds no record.
    ValueError
        If one is damaged, or contradicts the one that is here; then nothing is copied.
    """
    folder = runs_folder(out, scale)
    found = [(path, read(path)) for path in _record_files(Path(source))]
    for path in sorted(Path(source).rglob(archive.ANY)):
        found += [
            (path, named(record, key, f"{path}: {key}"))
            for key in archive.sealed(path)
            if (record := archive.get(path, key))
        ]
    if not found:
        raise FileNotFoundError(f"{source} holds no record (<key>.json): name the folder that `grid --out` wrote to.")
    taken: dict[str, tuple[Path, Record]] = {}
    for path, record in found:
        key = record["key"]
        other, known = taken.get(key, (folder / f"{key}.json", stored(key, folder)))
        if known is None:
            taken[key] = path, record
        elif archive.digest(known) != archive.digest(record):
            raise ValueError(f"{path} and {other} have the same config but differ: keep one of them and merge again.")
    records.prepare(folder)
    for key, (_, record) in taken.items():
        records.write(folder / f"{key}.json", record)
    return list(taken)


def pack(scale: str, out: str | Path = "outputs", seeds: int | None = None) -> int:
    """Bring all finished records of a scale into its archive (``archive``) and remove their files; how many it holds.

    Stopped at any point, nothing is lost: a file goes after the part of the archive that holds it is written. With
    ``seeds`` only so many seeds, from 0, keep what they picked; the other files' records are packed ``brief``.

    Raises
    ------
    FileNotFoundError
        If there is no record.
    DamagedRecord
        If a file or the archive is damaged; then nothing is changed.
    """
    folder = runs_folder(out, scale)
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"{folder} holds no record (<key>.json): run something first.")
    with packed.alone(folder):  # of two at once the second would write what the first had not added yet
        content = {part: dict(archive.sealed(part)) for part in archive.parts(folder)}
        files: dict[Path, list[tuple[Path, os.stat_result]]] = {}
        for path in _record_files(folder):
            if path.parent == folder:
                state = path.stat()
                record = read(path)
                part = archive.part(folder, path.stem)
                files.setdefault(part, []).append((path, state))
                whole = seeds is None or record["config"]["seed"] < seeds
                content[part][path.stem] = records.sealed(record if whole else archive.brief(record))
        if not any(content.values()):
            raise FileNotFoundError(f"{folder} holds no record (<key>.json): run something first.")
        for part, paths in files.items():
            archive.write(part, content[part])
            for path, state in paths:
                if (now := path.stat()).st_mtime_ns == state.st_mtime_ns and os.path.samestat(now, state):
                    path.unlink()  # else it was run again meanwhile
        return sum(map(len, content.values()))


def _record_files(folder: Path) -> list[Path]:
    """The records under a folder; those of methods that were only tried are somebody's own."""
    return [
        path for path in sorted(folder.rglob("*.json"))
        if re.fullmatch("[0-9a-f]{16}", path.stem) and "tried" not in path.relative_to(folder).parts
    ]  # fmt: skip


def read(path: Path) -> Record:
    """A finished record whose name is that of its config.

    Raises
    ------
    DamagedRecord
        If it is damaged, or stands under another name.
    """
    return named(schema.read(path), path.stem, str(path))


def named(record: Record, name: str, place: str) -> Record:
    """A record that stands under the name of its config; ``DamagedRecord`` if not."""
    try:
        key = config_of(record["config"]).key
    except ValueError as error:
        raise records.DamagedRecord(f"{place}: its config cannot be run ({error}); run it again.") from None
    if not key == record["key"] == name:
        raise records.DamagedRecord(f"{place} stands under another name than that of its config, {key}; run it again.")
    return record


def stored(key: str, folder: Path) -> Record | None:
    """The record of a key in a folder, from its file or else from the archive beside the folder; None if in neither.

    Raises
    ------
    DamagedRecord
        If it is damaged, or stands under another name.
    """
    path = folder / f"{key}.json"
    if path.exists():
        try:
            return read(path)
        except records.DamagedRecord:
            if path.exists():
                raise
    # Not there, or packed since it was looked for.
    kept = archive.part(folder, key)
    record = archive.get(kept, key)
    return record and named(record, key, f"{kept}: {key}")


def runs_folder(out: str | Path, scale: str) -> Path:
    """Where the records of a scale stand; ``ValueError`` if that would be outside ``out``."""
    if not str(out):
        raise ValueError("out = '' is no folder: name the one that outputs go to.")
    try:
        _NAME.validate_python(scale)
    except ValueError:
        raise ValueError(f"scale {short(scale)} is no name: use letters, digits and . _ - only.") from None
    return Path(out) / scale / "runs"


_NAME = TypeAdapter(Name)


def _finished(key: str, folder: Path) -> Record | None:
    archive.sealed(archive.part(folder, key))  # one that is damaged: nothing of it is run again
    try:
        return stored(key, folder)
    except records.DamagedRecord as error:
        print(error)
        return None

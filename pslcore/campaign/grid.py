"""Many runs: every method and seed of an experiment, in parallel, each a file, what is finished never run again.

``params.yaml`` says what an experiment is at each scale; nothing else does. On a batch machine this module needs
torch, torchvision, numpy, pandas, scikit-learn, pyyaml and tqdm alone.
"""

import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from joblib import Parallel, cpu_count, delayed, parallel_config
from tqdm.auto import tqdm

from pslcore.federated import FederatedConfig
from pslcore.federated import server as federated
from pslcore.runs import Config, OutOfTime, Record, check, prepare_process, records
from pslcore.runs import loop as experiment

BASE = "base"
"""The section of a scale that all of its experiments start from."""


class GridError(RuntimeError):
    """Some runs failed; the others are finished and kept."""


@dataclass(frozen=True)
class Cell:
    """One run of an experiment: the label of its curve and its config."""

    label: str
    config: Config


@dataclass
class Results:
    """What an experiment has to show.

    Attributes
    ----------
    experiment, scale : str
    runs : list of (Cell, Record)
        The finished ones, in the order of the experiment.
    stale : list of Cell
        Those among them that were made by other code than today's.
    unfinished : list of Cell
        Stopped by the time limit, or not begun.
    """

    experiment: str
    scale: str
    runs: list[tuple[Cell, Record]] = field(default_factory=list)
    stale: list[Cell] = field(default_factory=list)
    unfinished: list[Cell] = field(default_factory=list)


def top() -> Path:
    """The top of the repository: the nearest folder with a ``params.yaml``, from the current one upwards.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").exists():
            return folder
    raise FileNotFoundError(f"there is no params.yaml in {here} or above: start inside the repository.")


def scales(params: str | Path = "params.yaml") -> dict:
    """All scales of the parameter file.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or not what it should be.
    """
    try:
        known = yaml.safe_load(Path(params).read_text())["scales"]
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{params} is missing: run from the top of the repository.") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{params} cannot be read ({told}): it needs a mapping `scales`.") from error
    if not isinstance(known, dict) or not all(isinstance(scale, dict) for scale in known.values()):
        raise ValueError(f"{params}: `scales` must be a mapping from each scale to the mapping of its experiments.")
    return known


def cells(experiment: str, scale: str, params: str | Path = "params.yaml") -> list[Cell]:
    """The runs of an experiment at a scale, seed by seed, so that what an interrupted grid has is paired.

    Raises
    ------
    ValueError
        If the scale or the experiment is unknown, or a setting in it is.
    """
    known = scales(params)
    if scale not in known:
        raise ValueError(f"unknown scale {scale!r}: choose one of {', '.join(known)}.")
    experiments = [name for name in known[scale] if name != BASE]
    if experiment not in experiments:
        raise ValueError(
            f"unknown experiment {experiment!r} at scale {scale!r}: choose one of {', '.join(experiments)}."
        )
    section = known[scale][experiment]
    place = f"{params}: {scale}.{experiment}"
    if not isinstance(section, dict):
        raise ValueError(f"{place} is empty: it needs `methods` and `seeds`.")
    missing = {"methods", "seeds"} - set(section)
    if missing:
        raise ValueError(f"{place} has no `{sorted(missing)[0]}`.")
    if not isinstance(section["seeds"], int) or section["seeds"] < 1:
        raise ValueError(f"{place}: seeds = {section['seeds']} must be a whole number from 1.")
    if not isinstance(section["methods"], dict) or not all(
        isinstance(own, dict) for own in section["methods"].values()
    ):
        raise ValueError(
            f"{place}: `methods` must map the label of each curve to what is its own, such as {{method: psl}}."
        )
    shared = merge(known[scale].get(BASE, {}), section.get("config", {}))
    return [
        Cell(label, config_of(merge(shared, own, {"seed": seed})))
        for seed in range(section["seeds"])
        for label, own in section["methods"].items()
    ]


def config_of(settings: dict) -> Config:
    """A config of one cloud or, where ``clients`` are named, of a federation."""
    return (FederatedConfig if "clients" in settings else Config).of(settings)


def run_one(config: Config, *given) -> Record:
    """Run what ``config_of`` made."""
    return (federated.run if isinstance(config, FederatedConfig) else experiment.run)(config, *given)


def merge(*settings: dict) -> dict:
    """Mappings laid over each other, inner ones too; the last one wins."""
    merged = {}
    for setting in settings:
        for name, value in setting.items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = merge(merged[name], value) if both else value
    return merged


def collect(experiment: str, scale: str, params: str | Path = "params.yaml", out: str | Path = "outputs") -> Results:
    """What is finished so far; runs nothing. A damaged record counts as unfinished."""
    results = Results(experiment, scale)
    for cell in cells(experiment, scale, params):
        record = _finished(cell, _folder(out, scale))
        if record is None:
            results.unfinished.append(cell)
            continue
        results.runs.append((cell, record))
        if record["source"] != cell.config.source():
            results.stale.append(cell)
    return results


def run(
    experiment: str,
    scale: str,
    params: str | Path = "params.yaml",
    root: str | Path = "data",
    out: str | Path = "outputs",
    jobs: int | None = None,
    minutes: float | None = None,
    keep_stale: bool = False,
    device: str = "auto",
) -> Results:
    """Run what is not finished of an experiment, and give all that is.

    Parameters
    ----------
    experiment, scale : str
        As in ``params.yaml``.
    params, root, out : path
        The parameter file; the folder of the data sets; records go to ``<out>/<scale>/runs``.
    jobs : int, optional
        Processes, one thread each; as many as there are cores if not given.
    minutes : float, optional
        Begin no further cycle after so much time; the same call later goes on from there.
    keep_stale : bool
        Keep finished records that other code than today's has made, marked as such, in place of running them again.
    device : str
        As for ``experiment.run``.

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
    deadline = None if minutes is None else time.time() + 60 * minutes
    folder = _folder(out, scale)
    records.prepare(folder)
    before = collect(experiment, scale, params, out)
    again = [] if keep_stale else before.stale
    todo = before.unfinished + again
    if again:
        print(f"{len(again)} of {len(before.runs)} records were made by other code than today's: they are run again.")
    prepare_process(device)
    for cell in todo:  # bad input is found before anything runs
        check(cell.config, root)
    workers = max(1, min(jobs or cpu_count(), len(todo)))
    failures = []
    with tqdm(total=len(todo), desc=f"{experiment} at {scale}", unit="run", disable=not todo) as bar:
        for cell, error in _attempts(todo, root, folder, device, deadline, workers):
            bar.update(error is None)
            if error:
                failures.append((cell, error))
    if failures:
        report = "\n\n".join(f"{cell.label}, {cell.config.settings()}:\n{error}" for cell, error in failures)
        raise GridError(f"{len(failures)} of {len(todo)} runs of {experiment} failed, the others are kept.\n\n{report}")
    return collect(experiment, scale, params, out)


def _attempts(todo, root, folder, device, deadline, workers) -> Iterator[tuple[Cell, str | None]]:
    """Each cell as it ends: (cell, None) or (cell, traceback); cells that ran out of time are left out."""
    calls = (delayed(_attempt)(number, cell.config, root, folder, device, deadline) for number, cell in enumerate(todo))
    with parallel_config(backend="loky", inner_max_num_threads=1) if workers > 1 else parallel_config(n_jobs=1):
        for number, outcome in Parallel(n_jobs=workers, return_as="generator_unordered")(calls):
            if outcome != "out of time":
                yield todo[number], outcome


def _attempt(number: int, config: Config, root, folder, device, deadline) -> tuple[int, str | None]:
    try:
        run_one(config, root, folder, device, deadline)
    except OutOfTime:
        return number, "out of time"
    except Exception:  # whatever it is, it is reported, and the other runs go on
        return number, traceback.format_exc()
    return number, None


def take_in(source: str | Path, scale: str, out: str | Path = "outputs") -> list[str]:
    """Copy finished records that were made elsewhere into ``<out>/<scale>/runs``; the keys taken.

    Records that are here already and say the same are passed over.

    Raises
    ------
    FileNotFoundError
        If the folder holds no record.
    ValueError
        If one is damaged, or contradicts the one that is here; then nothing is copied.
    """
    folder = _folder(out, scale)
    found = [path for path in sorted(Path(source).rglob("*.json")) if not path.name.endswith(".part.json")]
    if not found:
        raise FileNotFoundError(f"{source} holds no record (*.json): name the folder that `grid --out` wrote to.")
    taken: dict[str, tuple[Path, Record]] = {}
    for path in found:
        record = records.read(path)
        try:
            named = record["key"] == config_of(record["config"]).key
        except (KeyError, ValueError):
            named = False
        if not named:
            raise ValueError(f"{path}: its key {record.get('key')!r} is not that of its config; run it again.")
        here = folder / f"{record['key']}.json"
        other, known = taken.get(record["key"], (here, records.read(here) if here.exists() else None))
        if known is None:
            taken[record["key"]] = path, record
        elif records.content(known) != records.content(record):
            raise ValueError(f"{path} and {other} have the same config but differ: keep one of them and merge again.")
    records.prepare(folder)
    for key, (path, _) in taken.items():
        records.write_bytes(folder / f"{key}.json", path.read_bytes())
    return list(taken)


def _folder(out: str | Path, scale: str) -> Path:
    return Path(out) / scale / "runs"


def _finished(cell: Cell, folder: Path) -> Record | None:
    path = folder / f"{cell.config.key}.json"
    try:
        return records.read(path) if path.exists() else None
    except records.DamagedRecord as error:
        print(error)
        return None

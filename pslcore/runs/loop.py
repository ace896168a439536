"""One run of active learning: ``run(config) -> Record``. The whole loop is ``_cycles``, on one screen."""

import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import accuracy_score, jaccard_score

from pslcore import data, losses, models, strategies
from pslcore.data import Dataset, chunks
from pslcore.recipe import Recipe
from pslcore.runs import records
from pslcore.runs.training import steps, train
from pslcore.sides import Client, Cloud, Oracle, Pools, mislabel, protected_setting, standard_setting, task_learner
from pslcore.strategies.base import ClientLearner, Query, Setup
from pslcore.streams import numpy_stream

Record = dict
"""What ``records`` writes; its keys are those that ``run`` documents."""

SETTINGS = ("protected", "standard")


class OutOfTime(Exception):
    """The run stopped cleanly between two cycles because its time was up; the finished ones are kept."""


@dataclass(frozen=True)
class Config:
    """All that decides a run's result, and nothing else.

    Attributes
    ----------
    dataset, method, teacher : str
        Names known to ``data``, ``strategies``, ``models``.
    seed : int
    setting : {"protected", "standard"}
        Section 4.1 or 4.4.
    initial, budget, final : int or float
        ``N_L``, ``b`` and ``N_f``: images, or below 1 a fraction of the training set.
    protected_fraction : float
        Of the training set, in the protected setting.
    recipe : Recipe
    options : dict
        The method's own, see its class in ``strategies``.
    warm_start : bool
        Go on from the weights of the cycle before in place of fresh ones.
    examine_peers : int
        If positive, the first so many test images are put to the peer students of the last cycle (Fig. 7).
    noise : float
        Part of the labels, those of the initial pool included, that the oracle gets wrong: within the superclass, or
        among all classes where the data set has no superclasses (Fig. 6).

    Raises
    ------
    ValueError
        If a name is unknown or a number impossible, in one sentence.
    """

    dataset: str
    method: str
    seed: int = 0
    setting: str = "protected"
    initial: float = 500
    budget: float = 500
    final: float = 3000
    protected_fraction: float = 0.9
    teacher: str = "resnet18"
    recipe: Recipe = field(default_factory=Recipe)
    options: dict = field(default_factory=dict)
    warm_start: bool = False
    examine_peers: int = 0
    noise: float = 0.0

    def __post_init__(self):
        for name in ("initial", "budget", "final"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not abs(value) < float("inf"):  # NaN too
                raise ValueError(
                    f"{name} = {value} is no number of images: give a whole number, or a fraction below 1."
                )
        for name in ("seed", "examine_peers"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < float("inf") or value % 1:
                raise ValueError(f"{name} = {value} must be a whole number from 0.")
        for name in ("seed", "examine_peers", "initial", "budget", "final"):  # 500 and 500.0 are one config
            value = getattr(self, name)
            object.__setattr__(self, name, value if value % 1 else int(value))
        if not isinstance(self.protected_fraction, int | float) or not 0 <= self.protected_fraction < 1:
            raise ValueError(f"protected_fraction = {self.protected_fraction} must be at least 0 and below 1.")
        if not isinstance(self.noise, int | float) or not 0 <= self.noise < 1:
            raise ValueError(f"noise = {self.noise} must be a part of the labels, at least 0 and below 1.")
        if not isinstance(self.recipe, Recipe) or not isinstance(self.options, dict):
            raise ValueError("recipe and options must be mappings of settings: leave them out or fill them in.")
        if self.setting not in SETTINGS:
            raise ValueError(f"unknown setting {self.setting!r}: choose one of {', '.join(SETTINGS)}.")
        if self.teacher not in models.names():
            raise ValueError(
                f"unknown network {self.teacher!r} for the teacher: choose one of {', '.join(models.names())}."
            )
        strategy = self.strategy  # checks method and options
        if self.examine_peers and not hasattr(strategy, "peers"):
            raise ValueError(f"examine_peers = {self.examine_peers}: the method {self.method!r} has no peer students.")

    @classmethod
    def of(cls, settings: dict) -> "Config":
        """From a mapping such as a section of ``params.yaml``; an unknown name is refused."""
        unknown = sorted(set(settings) - {part.name for part in fields(cls)})
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}: choose from {', '.join(p.name for p in fields(cls))}.")
        missing = [name for name in ("dataset", "method") if name not in settings]
        if missing:
            raise ValueError(f"a config without `{missing[0]}` cannot be run: name one.")
        settings = dict(settings)
        if isinstance(settings.get("recipe"), dict):
            settings["recipe"] = Recipe.of(settings["recipe"])
        return cls(**settings)

    @cached_property
    def strategy(self) -> strategies.Strategy:
        """The method with its options."""
        return strategies.get(self.method, self.options)

    def settings(self) -> dict:
        """Everything, the method's options at their defaults included; ``Config.of`` takes it back."""
        return asdict(self) | {"options": asdict(self.strategy)}

    @property
    def key(self) -> str:
        """Name of its record: the hash of what differs from the defaults, so that a new setting renames nothing."""
        return records.key(_changed(self) | {"options": _changed(self.strategy)})

    def counts(self, dataset: Dataset) -> list[int]:
        """Labelled images at each cycle, from ``N_L`` to ``N_f``.

        Raises
        ------
        ValueError
            If the budget cannot be met on this data set.
        """
        n = len(dataset.train)
        initial, budget, final = (self._images(name, n) for name in ("initial", "budget", "final"))
        if initial < len(dataset.classes) and not dataset.pixel_labels:
            raise ValueError(
                f"initial = {initial} labelled images are fewer than the {len(dataset.classes)} classes of "
                f"{dataset.name}: raise `initial` to at least one image a class."
            )
        may_leave = n - (round(self.protected_fraction * n) if self.setting == "protected" else 0)
        if final > may_leave:
            raise ValueError(
                f"final = {final} labelled images cannot be reached: of the {n} training images of {dataset.name} "
                f"only {may_leave} may leave the client. Lower `final` or the protected fraction."
            )
        if final < initial:
            raise ValueError(f"final = {final} is below initial = {initial}: nothing could be picked.")
        return [*range(initial, final, budget), final]

    def _images(self, name: str, n: int) -> int:
        value = getattr(self, name)
        count = round(value * n) if 0 < value < 1 else value
        if count < 1 or count != int(count):
            raise ValueError(f"{name} = {value} is no number of images: give a whole number, or a fraction below 1.")
        return int(count)

    def check(self, dataset: Dataset) -> None:
        """Raise ``ValueError`` if this cannot be run on that data set, before any work is done."""
        self.counts(dataset)
        if self.examine_peers > len(dataset.test):
            raise ValueError(
                f"examine_peers = {self.examine_peers}, but {dataset.name} has only {len(dataset.test)} test images."
            )
        kind = "pixel" if dataset.pixel_labels else "image"
        for role, name in (("teacher", self.teacher), ("student", getattr(self.strategy, "student", self.teacher))):
            if models.for_pixel_labels(name) != dataset.pixel_labels:
                fit = [name for name in models.names() if models.for_pixel_labels(name) == dataset.pixel_labels]
                raise ValueError(
                    f"{role} {name!r} cannot learn the {kind} labels of {dataset.name}: choose one of {', '.join(fit)}."
                )
        if dataset.pixel_labels and (not self.strategy.pixels or self.noise or self.examine_peers):
            what = "noise" if self.noise else "examine_peers" if self.examine_peers else f"the method {self.method!r}"
            raise ValueError(f"{what} has no form for pixel labels, which {dataset.name} has: leave it out there.")
        self.labels(dataset)

    def labels(self, dataset: Dataset) -> np.ndarray:
        """What the oracle of this seed says of each training image."""
        if not self.noise:
            return dataset.train.labels
        groups = np.zeros(len(dataset.classes)) if dataset.coarse is None else dataset.coarse
        return mislabel(dataset.train.labels, self.noise, groups, numpy_stream(self.seed, "noise"))

    def pools(self, dataset: Dataset) -> Pools:
        """The pools before the first cycle; the same for every method of a seed."""
        n, initial = len(dataset.train), self.counts(dataset)[0]
        if self.setting == "standard":
            return standard_setting(n, initial, self.seed)
        return protected_setting(n, initial, self.protected_fraction, self.seed)

    def source(self) -> str:
        """Fingerprint of the code that decides this run's numbers."""
        package = Path(__file__).parents[1]
        common = (
            "streams losses recipe sides/guard sides/pools sides/oracle sides/ledger sides/client sides/cloud "
            "runs/training runs/loop data/batches strategies/base models/__init__"
        )
        names = {self.teacher, getattr(self.strategy, "student", self.teacher)}
        return records.source_fingerprint(
            {package / f"{name}.py" for name in common.split()}
            | {models.source(name) for name in names}
            | strategies.sources(self.method)
        )


def _changed(settings: object) -> dict:
    """The fields of a dataclass that are not at their defaults."""
    changed = {}
    for part in fields(settings):
        value = getattr(settings, part.name)
        default = part.default if part.default_factory is MISSING else part.default_factory()
        if value != default:
            changed[part.name] = _changed(value) if is_dataclass(value) else value
    return changed


def run(
    config: Config, root: str | Path = "data", folder: str | Path | None = None, device: str = "auto",
    deadline: float | None = None,
) -> Record:  # fmt: skip
    """Run one configuration to its end, or take it up where it stopped.

    Parameters
    ----------
    config : Config
    root : path
        Folder of the data sets.
    folder : path, optional
        Where ``<key>.json`` is written, and after every cycle ``<key>.part.json``, from which a run that was stopped
        in any way goes on to the very same record. Without it nothing is kept.
    device : str
        ``auto`` takes the GPU where there is one.
    deadline : float, optional
        ``time.time()`` after which no further cycle is begun.

    Returns
    -------
    dict
        ``config``, ``key``; ``data`` (name, fingerprint, sizes, note); ``pools`` (fingerprint of the initial ones);
        ``noise`` (rate as measured, and within what) where labels are noisy; ``metric`` (its name); ``cycles``: a
        list of ``labelled``, ``metric``, ``picked``, ``unlabelled_seen`` (by the cloud, so far), ``crossed`` (the
        ledger, so far), ``seconds`` (train, test, forward, pick), ``memory`` (peak of the process, bytes); ``peers``
        where they were examined; ``source``, ``versions``, ``hardware``.

    Raises
    ------
    ValueError, OSError
        On bad input, before anything is trained.
    OutOfTime
        If the deadline passed.
    """
    device = prepare_process(device)
    dataset = check(config, root)
    shelf = _Shelf(None if folder is None else Path(folder), config)
    record, ledger = shelf.resume(dataset)
    record |= {"versions": records.versions(), "hardware": records.hardware(device_name(device))}
    for state in _cycles(config, dataset, device, record, ledger, shelf, deadline):
        shelf.keep(record, state)
    shelf.finish(record)
    return record


def check(config: Config, root: str | Path = "data") -> Dataset:
    """The config's data set, if the config can be run on it; else ``ValueError`` or ``FileNotFoundError``."""
    dataset = _load(config.dataset, root)
    config.check(dataset)
    return dataset


@lru_cache(maxsize=1)
def _load(name: str, root: str | Path) -> Dataset:
    """The data set, kept for the next run of this process."""
    return data.load(name, root)


def _cycles(
    config: Config, dataset: Dataset, device: torch.device, record: Record, ledger: dict | None, shelf: "_Shelf",
    deadline: float | None,
) -> Iterator[dict]:  # fmt: skip
    """The active-learning loop: appends one entry a cycle to the record, yields what a resumed run needs besides."""
    strategy, recipe, seed = config.strategy, config.recipe, config.seed
    pools = config.pools(dataset)
    oracle = Oracle(config.labels(dataset), pools.protected)
    client = Client(dataset.train.images, pools, oracle, recipe.padding, device)
    network = task_learner(config.teacher, len(dataset.classes), dataset.channels)
    cloud = Cloud(pools.n, pools.protected, network, recipe, device)
    counts, weights = config.counts(dataset), {}

    client.open(cloud)
    for entry in record["cycles"]:  # finished before: only its picks matter
        client.annotate(cloud, np.array(entry["picked"], dtype=np.int64))
    if ledger is not None:
        cloud.ledger.restore(ledger)
        weights = shelf.weights(len(record["cycles"]))

    for cycle in range(len(record["cycles"]), len(counts)):
        if deadline is not None and time.time() > deadline:
            raise OutOfTime
        seconds, last = {}, cycle == len(counts) - 1
        records.reset_peak()
        n_steps = steps(counts[cycle], recipe)
        companion = strategy.companion if strategy.accompanied else None
        cloud.restart(seed, cycle, n_steps, weights.get("cloud"), companion)
        learner = None
        if not last or config.examine_peers:  # after the last selection nobody needs the students
            setup = Setup(len(dataset.classes), recipe, seed, cycle, n_steps, weights.get("learner"))
            learner = strategy.learner(client, setup)
        with _clock(seconds, "train", device):
            train(cloud, learner, strategy.taught, pools.labelled, recipe, seed, cycle)
        with _clock(seconds, "test", device):
            matrix = cloud.examine(dataset.test.images, dataset.test.labels, len(dataset.classes))
            metric = METRICS[_metric(dataset)](matrix)

        picked = np.empty(0, dtype=np.int64)
        if not last:
            with _clock(seconds, "forward", device):
                query = _query(config, client, cloud, learner, counts[cycle + 1] - counts[cycle], cycle)
            with _clock(seconds, "pick", device):
                picked = strategy.pick(query)
        elif config.examine_peers:
            record["peers"] = _examine(learner, dataset, config.examine_peers, device)
        record["cycles"].append({
            "labelled": counts[cycle], "metric": metric, "picked": picked.tolist(),
            "unlabelled_seen": cloud.ledger.unlabelled_seen, "crossed": cloud.ledger.summary(), "seconds": seconds,
            "memory": records.peak_memory(),
        })  # fmt: skip
        if not last:
            client.annotate(cloud, picked)
            if config.warm_start:
                weights = {"cloud": cloud.weights()} | ({"learner": learner.weights()} if learner else {})
            yield {"ledger": cloud.ledger.state(), "weights": weights}


def _query(
    config: Config, client: Client, cloud: Cloud, learner: ClientLearner | None, budget: int, cycle: int
) -> Query:
    """What the method declared that it needs, and only that."""
    strategy, pools = config.strategy, client.pools
    answers, labelled_answers, scores = {}, {}, None
    if strategy.asks:
        client.submit(cloud)
        answers = cloud.ask(strategy.asks)
    if strategy.asks_labelled:
        labelled_answers = cloud.ask(strategy.asks_labelled, pools.labelled)
    if learner is not None:
        scores = learner.score(client.store.plain(pools.safe))
    return Query(
        pools.safe, pools.labelled, budget, numpy_stream(config.seed, "query", cycle), answers, labelled_answers,
        head=cloud.head() if strategy.asks_head else None, labels=client.labels(), scores=scores,
    )  # fmt: skip


def _accuracy(matrix: np.ndarray) -> float:
    """Part of the images that are given their true class, from a confusion matrix."""
    true, given = np.indices(matrix.shape).reshape(2, -1)
    return float(accuracy_score(true, given, sample_weight=matrix.ravel()))


def _mean_iou(matrix: np.ndarray) -> float:
    """Mean over the classes of intersection over union; classes in neither truth nor answers are left out."""
    true, given = np.indices(matrix.shape).reshape(2, -1)
    there = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    return float(jaccard_score(true, given, labels=there, average="macro", sample_weight=matrix.ravel()))


METRICS = {"accuracy": _accuracy, "mean IoU": _mean_iou}


def _metric(dataset: Dataset) -> str:
    """Section 4.2: accuracy for image labels, mean IoU for pixel labels."""
    return "mean IoU" if dataset.pixel_labels else "accuracy"


def _examine(learner: ClientLearner, dataset: Dataset, n: int, device: torch.device) -> dict:
    """The peers on the first ``n`` test images: discrepancy, consensus, and their joint answer (mean probability)."""
    logits = learner.answers(chunks(dataset.test.images[:n], device))
    labels = torch.as_tensor(dataset.test.labels[:n])
    return {
        "discrepancy": losses.discrepancy(logits).tolist(),
        "consensus": losses.consensus(logits).tolist(),
        "correct": (logits.softmax(2).mean(0).argmax(1) == labels).tolist(),
        "correct_each": (logits.argmax(2) == labels).tolist(),
    }


class _Shelf:
    """Where a run keeps its record, and after each cycle what it needs to go on."""

    def __init__(self, folder: Path | None, config: Config):
        self._folder, self._config, self._source = folder, config, config.source()
        if folder is not None:
            records.prepare(folder)

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self._config.key}{suffix}"

    def resume(self, dataset: Dataset) -> tuple[Record, dict | None]:
        """The record so far and the ledger's state; a new record where there is none that can be gone on with."""
        fresh = {
            "config": self._config.settings(),
            "key": self._config.key,
            "data": {
                "name": dataset.name, "fingerprint": dataset.fingerprint, "note": dataset.note,
                "train": len(dataset.train), "test": len(dataset.test), "classes": len(dataset.classes),
            },
            "pools": self._config.pools(dataset).fingerprint(),
            "metric": _metric(dataset),
            "source": self._source,
            "cycles": [],
        }  # fmt: skip
        if self._config.noise:
            wrong = self._config.labels(dataset) != dataset.train.labels
            within = "all classes" if dataset.coarse is None else "the superclass"
            fresh["noise"] = {"measured": float(wrong.mean()), "within": within}
        if self._folder is None or not self._path(".part.json").exists():
            return fresh, None
        try:
            part = records.read(self._path(".part.json"))
        except records.DamagedRecord:
            return fresh, None
        same = all(part["record"][name] == fresh[name] for name in ("config", "data", "pools", "source"))
        if same and self._config.warm_start:
            same = self._weights_stand(len(part["record"]["cycles"]))
        return (part["record"], part["ledger"]) if same else (fresh, None)

    def _weights_stand(self, cycle: int) -> bool:
        try:
            self.weights(cycle)
        except Exception as error:  # cut short, gone, unreadable: torch raises whatever it meets
            print(f"{self._path(f'.cycle{cycle}.pt')} cannot be read ({error}): the run begins anew.")
            return False
        return True

    def keep(self, record: Record, state: dict) -> None:
        """After a cycle. Weights go first: whenever the part record stands, its weights stand too."""
        if self._folder is None:
            return
        cycle = len(record["cycles"])
        if state["weights"]:
            buffer = io.BytesIO()
            torch.save(state["weights"], buffer)
            records.write_bytes(self._path(f".cycle{cycle}.pt"), buffer.getvalue())
        records.write(self._path(".part.json"), {"record": record, "ledger": state["ledger"]})
        self._path(f".cycle{cycle - 1}.pt").unlink(missing_ok=True)

    def weights(self, cycle: int) -> dict:
        """The weights that cycle number ``cycle`` starts from, with ``warm_start``."""
        if not self._config.warm_start:
            return {}
        return torch.load(self._path(f".cycle{cycle}.pt"), weights_only=True)

    def finish(self, record: Record) -> None:
        """Write the record, remove what it was made from."""
        if self._folder is None:
            return
        records.write(self._path(".json"), record)
        for leftover in self._folder.glob(f"{self._config.key}.[pc]*"):
            leftover.unlink()


@contextmanager
def _clock(seconds: dict, what: str, device: torch.device) -> Iterator[None]:
    """Wall-clock seconds of a phase, the device's queue included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    yield
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds[what] = round(time.perf_counter() - start, 4)


def prepare_process(device: str) -> torch.device:
    """Settings under which the same run gives the same bits: one thread on the CPU, deterministic kernels on a GPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {device!r}: choose auto, cpu or cuda.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} is not to be had here: choose cpu, or auto.")
    torch.set_num_threads(1)
    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device(device)


def device_name(device: torch.device) -> str:
    """What the records call the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"

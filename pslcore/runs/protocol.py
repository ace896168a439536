"""A config and its data set, resolved once: everything that follows from the two and stays the same for all cycles."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pslcore import data, models, strategies
from pslcore.data import Dataset
from pslcore.recipe import Recipe
from pslcore.runs import records
from pslcore.runs.settings import Config
from pslcore.sides import Pools, mislabel, protected_setting
from pslcore.streams import numpy_stream

CPU = torch.device("cpu")

Record = dict[str, Any]
"""What ``records`` writes; its keys are those that ``loop.run`` documents."""

DECIDES = """
settings streams losses recipe data/batches models/__init__ models/network sides/guard sides/pools sides/oracle
sides/ledger sides/client sides/cloud strategies/base runs/settings runs/protocol runs/session runs/training
runs/loop runs/metrics runs/device"""
"""The files, beside those of method and networks, that decide a run's numbers."""


@dataclass(frozen=True)
class Protocol:
    """What one run will do.

    Attributes
    ----------
    config : Config
    dataset : Dataset
    counts : list of int
        Labelled images at each cycle, from ``N_L`` to ``N_f``.
    labels : int64 array, [N] or [N, H, W]
        What the oracle of this seed says of each training image.
    source : str
        Fingerprint of the code that decides this run's numbers.
    recipe : Recipe
        The config's, its precision settled.
    """

    config: Config
    dataset: Dataset
    counts: list[int]
    labels: np.ndarray | data.Labels
    source: str
    recipe: Recipe

    @classmethod
    def of(cls, config: Config, dataset: Dataset, device: torch.device = CPU) -> "Protocol":
        """Resolve, for a device.

        Raises
        ------
        ValueError
            If this cannot be run on that data set, in one sentence, before any work is done.
        """
        _check_kinds(config, dataset)
        config.strategy.ready()
        labelled, recipe = counts(config, dataset), config.recipe.on(device)
        check_batches(config, dataset, labelled)
        if dataset.vectors:
            recipe = recipe.but(padding=0, flip=False, zoom=1.0)  # there is nothing to crop or to turn
        return cls(config, dataset, labelled, _labels(config, dataset), fingerprint(config), recipe)

    @property
    def metric(self) -> str:
        """Section 4.2."""
        return "mean IoU" if self.dataset.pixel_labels else "accuracy"

    def pools(self) -> Pools:
        """The pools before the first cycle; the same for every method of a seed."""
        return protected_setting(len(self.dataset.train), self.counts[0], self.config.fraction, self.config.seed)

    def head(self) -> Record:
        """What the record says before the first cycle."""
        dataset, config = self.dataset, self.config
        head = {
            "config": config.settings(), "key": config.key, "pools": self.pools().fingerprint(),
            "metric": self.metric, "source": self.source, "cycles": [], "precision": self.recipe.precision,
            "data": {
                "name": dataset.name, "fingerprint": dataset.fingerprint, "note": dataset.note,
                "train": len(dataset.train), "test": len(dataset.test), "classes": len(dataset.classes),
            },
        }  # fmt: skip
        if config.noise:
            within = "all classes" if dataset.coarse is None else "the superclass"
            measured = float((np.asarray(self.labels) != dataset.train.labels).mean())
            head["noise"] = {"measured": measured, "within": within}
        return head


def resolve(config: Config, root: str | Path = "data", device: torch.device = CPU) -> Protocol:
    """The protocol of a config on its data set under ``root``, for a device.

    Raises
    ------
    ValueError, OSError
        If there is no such data set, or the config cannot be run on it.
    """
    return Protocol.of(config, load(config.dataset, root), device)


@lru_cache(maxsize=1)
def load(name: str, root: str | Path) -> Dataset:
    """The data set, kept for the next run of this process."""
    return data.load(name, root)


def images(config: Config, name: str, n: int) -> int:
    """``initial``, ``budget`` or ``final`` as a number of images, of ``n`` in the training set."""
    value = getattr(config, name)
    count = round(value * n) if value < 1 else int(value)
    if count < 1:
        raise ValueError(f"{name} = {value} is no number of images: give a whole number, or a fraction below 1.")
    return count


def counts(config: Config, dataset: Dataset) -> list[int]:
    """Labelled images at each cycle; ``ValueError`` if the budget cannot be met on this data set."""
    n = len(dataset.train)
    initial, budget, final = (images(config, name, n) for name in ("initial", "budget", "final"))
    if initial < len(dataset.classes) and not dataset.pixel_labels:
        told = f"initial = {initial} labelled images are fewer than the {len(dataset.classes)} classes of"
        raise ValueError(f"{told} {dataset.name}: raise `initial` to at least one image a class.")
    may_leave = n - round(config.fraction * n)
    if final > may_leave:
        told = f"final = {final} labelled images cannot be reached: of the {n} training images of {dataset.name} only"
        raise ValueError(f"{told} {may_leave} may leave the client. Lower `final` or the protected fraction.")
    if final < initial:
        raise ValueError(f"final = {final} is below initial = {initial}: nothing could be picked.")
    return [*range(initial, final, budget), final]


def _check_kinds(config: Config, dataset: Dataset) -> None:
    """Image labels or pixel labels: networks, method and options must have a form for what the data set has."""
    if config.examine_peers > len(dataset.test):
        told = f"examine_peers = {config.examine_peers}, but {dataset.name} has only"
        raise ValueError(f"{told} {len(dataset.test)} test images.")
    pixels, strategy = dataset.pixel_labels, config.strategy
    for role, name in [("teacher", config.teacher), *(("student", name) for name in strategy.students)]:
        vectors = models.for_vectors(name) not in (None, dataset.vectors)
        if vectors or models.for_pixel_labels(name) != pixels:
            forms = {one: (models.for_vectors(one), models.for_pixel_labels(one)) for one in models.names()}
            fit = ", ".join(one for one, form in forms.items() if form == (dataset.vectors, pixels))
            kind = "pixel labels" if pixels else "vectors" if vectors and dataset.vectors else "image labels"
            raise ValueError(f"{role} {name!r} cannot learn the {kind} of {dataset.name}: choose one of {fit}.")
        try:
            models.check(name, len(dataset.classes), dataset.channels, dataset.train.images.shape[2:])
        except ValueError as error:
            raise ValueError(f"{role}: {error}") from None
    if pixels and (not strategy.pixels or config.noise or config.examine_peers):
        what = "noise" if config.noise else "examine_peers" if config.examine_peers else f"the method {config.method!r}"
        raise ValueError(f"{what} has no form for pixel labels, which {dataset.name} has: leave it out there.")


def check_batches(config: Config, dataset: Dataset, labelled: list[int]) -> None:
    """Refuse batches of a single image where a network has batch norm that cannot be trained on one.

    Parameters
    ----------
    config : Config
    dataset : Dataset
    labelled : list of int
        How many images each cycle trains on.
    """
    size = config.recipe.batch_size
    alone = [count for count in labelled if count // -(-count // size) == 1]  # as `data.plans` divides them
    for name in {config.teacher, *config.strategy.students} if alone else ():
        try:
            models.check_alone(name, len(dataset.classes), dataset.channels, dataset.train.images.shape[2:])
        except ValueError as error:
            mend = "raise `batch_size` to 3 at least" if alone[-1] > 1 else "raise `initial`"
            told = f"batch_size = {size} makes batches of one out of {alone[-1]} labelled images,"
            raise ValueError(f"{told} and the network {error}: {mend}.") from None


def _labels(config: Config, dataset: Dataset) -> np.ndarray | data.Labels:
    labels = dataset.train.labels
    if not config.noise or isinstance(labels, data.Labels):
        return labels
    groups = np.zeros(len(dataset.classes)) if dataset.coarse is None else dataset.coarse
    return mislabel(labels, config.noise, groups, numpy_stream(config.seed, "noise"))


def fingerprint(config: Config) -> str:
    """Fingerprint of the code that decides the numbers of a run with this method and these networks."""
    package = Path(__file__).parents[1]
    names = {config.teacher, *config.strategy.students}
    networks = set().union(*map(models.sources, names))
    common = {package / f"{name}.py" for name in DECIDES.split()}
    ours = records.source_fingerprint(common | networks | strategies.sources(config.method))
    foreign = sorted({strategies.foreign(config.method), *map(models.foreign, names)} - {""})
    return records.key({"ours": ours, "foreign": foreign}) if foreign else ours

"""A round of the album: the client, cloud, ledger and training of the experiments, on people's answers.

The cloud gets labelled pictures only. The task learner's weights come down to the client, and whatever it is asked
about all other pictures it answers there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from pslcore.data import Dataset, Split, chunks
from pslcore.models import NetworkName
from pslcore.recipe import Recipe, answer
from pslcore.runs import CloudOf, Config, Protocol, Session, fingerprint, packed, prepare_process, records, unpacked
from pslcore.settings import Seed, Settings, Whole
from pslcore.sides import Pools, task_learner
from psllab import features
from psllab.album.pictures import Picture
from psllab.retrain import Watched
from psllab.widgets.job import Stopped

Progress = Callable[[int, int], object]

STUDENT = "mlp32"
HEADS = {
    "method": "alfa_mix",
    "start": "typical",
    "teacher": "mlp256",
    "recipe": {"epochs": 30, "batch_size": 16, "lr": 0.02},
}
"""How an album on features learns where nothing else is said."""


class Learning(Settings):
    """How an album learns.

    Attributes
    ----------
    features : str
        ``BACKBONE@PIXELS`` of a frozen network whose features stand for the pictures (see ``psllab.features``), squared
        to so many pixels; nothing for pixels.
    size : int
        Pixels of a side that the pictures are squared to, where there are no features.
    method : {"psl", "random", "entropy", "badge", "alfa_mix"}
        None uploads anything unlabelled: the last three ask a student on the client.
    options : dict
        Of the method, see ``strategies``.
    start : {"random", "typical"}
        What is asked before the first training: drawn at random, or the most typical pictures (TypiClust), which needs
        features.
    teacher : str
        The task learner.
    recipe : Recipe
    seed : int
        The same answers under the same seed give the same picks.
    device : str
        ``auto`` takes the GPU where there is one.
    """

    features: str = ""
    size: Whole = Field(32, ge=8, le=512)
    method: Literal["psl", "random", "entropy", "badge", "alfa_mix"] = "psl"
    options: dict[str, Any] = Field(default_factory=dict)
    start: Literal["random", "typical"] = "random"
    teacher: NetworkName = "resnet8"
    recipe: Recipe = Field(default_factory=lambda: Recipe(epochs=30, batch_size=16, lr=0.05))
    seed: Seed = 0
    device: str = "auto"

    @field_validator("features")
    @classmethod
    def _backbone(cls, name: str) -> str:
        return features.known(f"album+{name}").partition("+")[2] if name else ""

    @model_validator(mode="after")
    def _checked(self) -> "Learning":
        if self.config().strategy.uploads:
            raise ValueError("options.side = 'cloud' would upload pictures without an answer: leave it away.")
        if self.start == "typical" and not self.features:
            raise ValueError("start = 'typical' needs features: write `features`, or leave it away.")
        return self

    def config(self) -> Config:
        """The same as an experiment has it."""
        at_home = {"side": "client"} if self.method in ("entropy", "badge", "alfa_mix") else {}
        student = {"student": STUDENT} if self.features and self.method != "random" else {}
        return Config(
            dataset="album", method=self.method, seed=self.seed, teacher=self.teacher,
            recipe=self.recipe.but(padding=0, flip=False) if self.features else self.recipe,  # a vector has no border
            options=at_home | student | self.options,
        )  # fmt: skip


@dataclass(frozen=True)
class _Protocol(Protocol):
    """A protocol whose pools come from an album. ``labels`` holds people's answers, -1 where there is none."""

    start: Pools

    def pools(self) -> Pools:
        return self.start


@dataclass(frozen=True)
class Round:
    """What a training left: the pictures of ``D_S``, most wanted first; the task learner's weights; the ledger."""

    ranking: np.ndarray
    weights: dict[str, Tensor]
    ledger: dict[str, Any]


class TaskLearner:
    """The task learner as it came down to the client.

    Parameters
    ----------
    learning : Learning
    n_classes : int
    weights : dict
        Of the task learner, as ``Round.weights``.
    """

    def __init__(self, learning: Learning, n_classes: int, weights: dict[str, Tensor]):
        self._device, self._classes = prepare_process(learning.device), n_classes
        channels = next(tensor.shape[1] for tensor in weights.values() if tensor.ndim > 1)
        self._network = task_learner(learning.teacher, n_classes, channels)().to(self._device)
        self._network.load_state_dict(weights)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of uint8 images [N, 3, H, W] or features [N, D, 1, 1]: float32 [N, C]."""
        if not len(images):
            return np.empty((0, self._classes), np.float32)
        (given,) = answer(self._network, chunks(images, self._device), lambda batch: (self._network(batch).softmax(1),))
        return given.numpy()


def train(
    learning: Learning, images: np.ndarray, classes: tuple[str, ...], labels: np.ndarray, before: np.ndarray,
    now: np.ndarray, kept_back: np.ndarray, cycle: int, budget: int, ledger: dict[str, Any] | None,
    crossed: Callable[[dict[str, Any]], object], progress: Progress | None = None,
    stop: Callable[[], bool] | None = None, cloud: CloudOf | None = None,
) -> Round:  # fmt: skip
    """One cycle, as ``runs.run`` has it: hand over what is labelled, train both sides, rank the safe pool.

    Parameters
    ----------
    learning : Learning
    images : uint8 array, [N, 3, H, W], or features [N, D, 1, 1]
    classes : tuple of str
    labels : int64 array, [N]
        What people answered; -1 where the answer is held out or there is none.
    before, now : int arrays
        Labelled pictures that the cloud has, and those to upload.
    kept_back : int array
        Pictures that ``Cloud.upload`` refuses: protected ones, and those whose answer is held out or unknown.
    cycle : int
    budget : int
        How many pictures BADGE and ALFA-Mix choose, together; the others rank all.
    ledger : dict or None
        State after the last crossing.
    crossed : callable
        Told the ledger's state as soon as the pictures are uploaded.
    progress, stop : callables, optional
        Told (epochs done, epochs), and asked, after each epoch.
    cloud : callable, optional
        As for ``runs.run``.

    Returns
    -------
    Round

    Raises
    ------
    ProtectedDataError
        If a picture that is kept back was about to be uploaded.
    Stopped
        If ``stop`` said so.
    FloatingPointError
        If the training diverged.
    ValueError
        If a server sends weights of another network.
    """
    device, config = prepare_process(learning.device), learning.config()
    recipe = config.recipe.on(device)
    dataset = Dataset("album", Split(images, labels), Split(images[:0], labels[:0]), classes)
    pools = Pools(len(images), before, kept_back)
    count = [len(before) + len(now)]
    session = Session(_Protocol(config, dataset, count, labels, fingerprint(config), recipe, pools), device, cloud)
    if ledger is not None:
        session.cloud.ledger.restore(ledger)
    if len(now):
        session.client.annotate(session.cloud, now)
        crossed(session.cloud.ledger.state())
    learner = session.begin(cycle)

    def after(epoch: int) -> None:
        if progress is not None:
            progress(epoch, recipe.epochs)
        if stop is not None and stop():
            raise Stopped

    session.train(Watched(learner, epoch=after), cycle)
    # Down come the task learner's weights, so that no picture has to go up to be answered for.
    weights = {name.removeprefix("0."): tensor for name, tensor in session.cloud.weights().items()}
    try:
        TaskLearner(learning, len(classes), weights)
    except (RuntimeError, StopIteration, IndexError):
        raise ValueError(f"what came down are no weights of {learning.teacher}: nothing was learned.") from None
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    session.cloud.ledger.enter("down: the task learner's weights", 1, n_bytes)
    ranking = np.empty(0, np.int64)
    if len(pools.safe):
        ranked = min(budget, len(pools.safe)) if learning.method in ("badge", "alfa_mix") else len(pools.safe)
        ranking = config.strategy.pick(session.query(learner, ranked, cycle))
    return Round(ranking, weights, session.cloud.ledger.state())


class Checkpoints:
    """Where the last training lies: the task learner's weights, and the pictures in the order of the ranking.

    Parameters
    ----------
    home : path
    """

    def __init__(self, home: Path):
        self._home = home

    def put(self, number: int, done: Round, pictures: Sequence[Picture]) -> None:
        """Write training ``number`` down; ``OSError`` in one sentence if the disk is full."""
        ranking = [[pictures[at].path, pictures[at].digest] for at in done.ranking]
        records.write_bytes(self._file("task-learner", number), packed(done.weights))
        records.write(self._file("ranking", number), {"ranking": ranking})

    def drop(self, number: int) -> None:
        """Remove a training that a later one replaces."""
        for what in ("task-learner", "ranking"):
            self._file(what, number).unlink(missing_ok=True)

    def ranking(self, number: int) -> list[Picture]:
        """Most wanted first."""
        return [Picture(*named) for named in records.read(self._file("ranking", number))["ranking"]]

    def weights(self, number: int) -> dict[str, Tensor]:
        """Of the task learner; ``ValueError`` if they cannot be read."""
        return unpacked(self._file("task-learner", number))

    def _file(self, what: str, number: int) -> Path:
        return self._home / f"{what}-{number}.{'pt' if what == 'task-learner' else 'json'}"

"""One cycle retrained and kept in memory, to time or to inspect its networks; records hold no weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from pslcore.data import Plan, chunks
from pslcore.losses import discrepancy
from pslcore.models import Network
from pslcore.runs.device import prepare_process
from pslcore.runs.metrics import METRICS
from pslcore.runs.protocol import resolve
from pslcore.runs.session import Session
from pslcore.runs.settings import Config
from pslcore.runs.training import steps, train
from pslcore.sides import task_learner
from pslcore.strategies import ClientLearner, Setup, Strategy

OnCount = Callable[[int], object]
Watch = Callable[[float], None]
"""Is told after every step which part of a training is done, above 0 and up to 1; what it raises ends the training."""


@dataclass(frozen=True)
class Trial:
    """Both sides after a cycle of a config; no ``learner`` for methods that train nothing on the client."""

    session: Session
    learner: ClientLearner | None
    cycle: int = 0

    @property
    def budget(self) -> int:
        """Images to pick next."""
        counts = self.session.protocol.counts[self.cycle :]
        return counts[1] - counts[0] if len(counts) > 1 else 0

    @property
    def metric(self) -> float:
        """Of the task learner on the test images, 0 to 1."""
        protocol = self.session.protocol
        test, n_classes = protocol.dataset.test, len(protocol.dataset.classes)
        return METRICS[protocol.metric](self.session.cloud.examine(test.images, test.labels, n_classes))

    def local_copy(self) -> Network:
        """The task learner brought down to this machine, *for inspection only*.

        In a run the client never gets its weights, and the teacher answers about images that were uploaded.
        Whoever trains both sides on one machine may see what the teacher would answer for any image, protected ones
        included, without an image crossing: its weights cross in place, and no ledger says so.
        """
        protocol, cloud = self.session.protocol, self.session.cloud
        network = task_learner(protocol.config.teacher, len(protocol.dataset.classes), protocol.dataset.channels)()
        assert isinstance(network, Network)
        whole = cloud.weights()  # the auxiliary module's as well, under "1."
        network.load_state_dict({name[2:]: tensor for name, tensor in whole.items() if name.startswith("0.")})
        return network.to(self.session.device)  # type: ignore[return-value]


def first_cycle(config: Config, root: str | Path = "data", device: str = "auto") -> Trial:
    """Train the first cycle of a run, just as ``loop.run`` does.

    Raises
    ------
    ValueError, OSError
        On bad input, as ``protocol.resolve``.
    """
    where = prepare_process(device)
    session = Session(resolve(config, root, where), where)
    learner = session.begin(0)
    session.train(learner, 0)
    return Trial(session, learner)


def once_more(
    config: Config, picks: Sequence[Sequence[int]], root: str | Path = "data", device: str = "auto",
    onlookers: Strategy | None = None, watch: Watch | None = None,
) -> Trial:  # fmt: skip
    """Train a later cycle of a finished run again: its labelled set is the initial pool and all that was picked before.

    The task learner comes out as it was, bit for bit on the same hardware and with the same code. So do the students;
    after the last pick, where the run itself trains none, they are trained all the same. With ``warm_start`` all
    cycles before are trained in turn.

    Parameters
    ----------
    config : Config
    picks : sequence of sequences of int
        What the cycles before picked, as the record has it; as many as there are cycles before.
    root, device
        As for ``run``.
    onlookers : Strategy, optional
        Of a method without peer students: whose students learn beside the task learner, which they do not change.
    watch : callable, optional

    Raises
    ------
    ValueError, OSError
        On bad input, as ``protocol.resolve`` and ``Client.annotate``.
    """
    where = prepare_process(device)
    protocol = resolve(config, root, where)
    if len(picks) >= len(protocol.counts):
        raise ValueError(f"there is no cycle {len(picks)}: this run has {len(protocol.counts)}, counted from 0.")
    session, seed, recipe = Session(protocol, where), config.seed, protocol.recipe
    students = config.strategy if config.strategy.students else onlookers
    weights: dict = {}
    learner = None
    lessons = [cycle for cycle in range(len(picks) + 1) if config.warm_start or cycle == len(picks)]
    for cycle in range(len(picks) + 1):
        if cycle in lessons:
            session.begin(cycle, weights, students=False)
            labelled = session.client.pools.labelled
            n_steps = steps(labelled.size, recipe)
            setup = Setup(len(protocol.dataset.classes), recipe, seed, cycle, n_steps, weights.get("learner"))
            learner = students.learner(session.client, setup) if students else None
            report = watch and partial(_part, watch, lessons.index(cycle) * n_steps, len(lessons) * n_steps)
            watched = Watched(learner, report)
            train(session.cloud, watched, learner is not None, labelled, recipe, seed, cycle)
            weights = {"cloud": session.cloud.weights()} | ({"learner": learner.weights()} if learner else {})
        if cycle < len(picks):
            session.client.annotate(session.cloud, np.array(picks[cycle], dtype=np.int64))
    return Trial(session, learner, len(picks))


def _part(watch: Watch, before: int, total: int, step: int) -> None:
    watch(min(1.0, (before + step) / total))


class Watched(ClientLearner):
    """A learner, or none, and who is told the number of every ``step`` and ``epoch`` that is done."""

    def __init__(self, learner: ClientLearner | None, step: OnCount | None = None, epoch: OnCount | None = None):
        self._learner, self._step, self._epoch = learner, step, epoch
        self._steps, self._epochs = count(1), count(1)

    def study(self, plan: Plan, teacher_logits) -> None:
        if self._learner is not None:
            self._learner.study(plan, teacher_logits)
        if self._step is not None:
            self._step(next(self._steps))

    def check(self) -> None:
        if self._learner is not None:
            self._learner.check()
        if self._epoch is not None:
            self._epoch(next(self._epochs))


def segment(trial: Trial, index: int, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What teacher and students of PSL make of one safe image with pixel labels.

    The teacher gets it through ``Cloud.upload``, like any image that a method has it score.

    Parameters
    ----------
    trial : Trial
    index : int
        Of an image that is neither protected nor labelled.
    image : uint8 array, [C, H, W]

    Returns
    -------
    (int array [H, W], int array [P, H, W], float array [H, W])
        The teacher's classes, each student's, and the discrepancy of every pixel.

    Raises
    ------
    ProtectedDataError, ValueError
        As ``Cloud.upload``; or if the method has no students.
    """
    if trial.learner is None:
        raise ValueError("this method trains no students, so there is nobody to segment the image: take psl.")
    cloud = trial.session.cloud
    cloud.upload(np.array([index]), image[None])
    teacher = cloud.ask(("logits",))["logits"][0]
    students = trial.learner.answers(chunks(image[None], trial.session.device))[:, 0]
    per_pixel = discrepancy(students.flatten(2).transpose(1, 2)).view(students.shape[2:])
    return teacher.argmax(0), students.argmax(1).numpy(), per_pixel.numpy()

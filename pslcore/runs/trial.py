"""One cycle trained and kept in memory, for who wants to time or to look at networks; records do not hold them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pslcore.data import chunks
from pslcore.losses import discrepancy
from pslcore.runs.device import prepare_process
from pslcore.runs.protocol import resolve
from pslcore.runs.session import Session
from pslcore.runs.settings import Config
from pslcore.strategies import ClientLearner


@dataclass(frozen=True)
class Trial:
    """Both sides after the first cycle of a config; no ``learner`` for methods that train nothing on the client."""

    session: Session
    learner: ClientLearner | None

    @property
    def budget(self) -> int:
        """Images to pick next."""
        counts = self.session.protocol.counts
        return counts[1] - counts[0] if len(counts) > 1 else 0


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


def segment(trial: Trial, index: int, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What teacher and students of PSL make of one safe image with pixel labels.

    The teacher gets to see it through the door, like any image that a method has it score.

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

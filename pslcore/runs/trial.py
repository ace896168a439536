"""One cycle trained and kept in memory, for who wants to time or to look at networks; records do not hold them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pslcore.data import chunks
from pslcore.losses import discrepancy
from pslcore.runs.loop import Config, check, prepare_process
from pslcore.runs.training import steps, train
from pslcore.sides import Client, Cloud, Oracle, task_learner
from pslcore.strategies.base import ClientLearner, Setup


@dataclass(frozen=True)
class Trial:
    """Both sides after the first cycle of a config; no ``learner`` for methods that train nothing on the client."""

    config: Config
    client: Client
    cloud: Cloud
    learner: ClientLearner | None
    device: torch.device


def first_cycle(config: Config, root: str | Path = "data", device: str = "auto") -> Trial:
    """Train the first cycle of a run, just as ``experiment.run`` does.

    Raises
    ------
    ValueError, OSError
        On bad input, as ``experiment.check``.
    """
    device, dataset = prepare_process(device), check(config, root)
    strategy, recipe, seed, pools = config.strategy, config.recipe, config.seed, config.pools(dataset)
    n_classes, n_steps = len(dataset.classes), steps(config.counts(dataset)[0], recipe)
    client = Client(
        dataset.train.images, pools, Oracle(config.labels(dataset), pools.protected), recipe.padding, device
    )
    network = task_learner(config.teacher, n_classes, dataset.channels)
    cloud = Cloud(pools.n, pools.protected, network, recipe, device)
    client.open(cloud)
    cloud.restart(seed, 0, n_steps, companion=strategy.companion if strategy.accompanied else None)
    learner = strategy.learner(client, Setup(n_classes, recipe, seed, 0, n_steps))
    train(cloud, learner, strategy.taught, pools.labelled, recipe, seed, 0)
    return Trial(config, client, cloud, learner, device)


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
        As ``Cloud.upload``.
    """
    trial.cloud.upload(np.array([index]), image[None])
    teacher = trial.cloud.ask(("logits",))["logits"][0]
    students = trial.learner.answers(chunks(image[None], trial.device))[:, 0]
    per_pixel = discrepancy(students.flatten(2).transpose(1, 2)).view(students.shape[2:])
    return teacher.argmax(0), students.argmax(1).numpy(), per_pixel.numpy()

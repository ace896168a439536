"""Client and cloud of one protocol, and what a cycle does with them: begun, trained and asked in this one place."""

from collections.abc import Callable

import numpy as np
import torch

from pslcore.runs.protocol import Protocol
from pslcore.runs.training import steps, train
from pslcore.sides import Client, Cloud, Oracle, task_learner
from pslcore.strategies import ClientLearner, Query, Setup
from pslcore.streams import numpy_stream

CloudOf = Callable[[Protocol, np.ndarray, torch.device], Cloud]
"""What makes the cloud of a session, as ``cloud_of``."""


class Session:
    """Both sides of a run, the initial pool labelled and handed over."""

    def __init__(self, protocol: Protocol, device: torch.device, cloud: CloudOf | None = None):
        config, dataset, pools = protocol.config, protocol.dataset, protocol.pools()
        self.protocol, self.device, self._strategy = protocol, device, config.strategy
        oracle = Oracle(protocol.labels, pools.protected)
        self.client = Client(dataset.train.images, pools, oracle, protocol.recipe.padding, device)
        self.cloud = (cloud or cloud_of)(protocol, pools.protected, device)
        self.client.open(self.cloud)

    def begin(self, cycle: int, weights: dict | None = None, students: bool = True) -> ClientLearner | None:
        """Begin a cycle with fresh networks, or with the ``weights`` of ``cloud`` and ``learner`` that are given.

        Without ``students`` the client trains nothing: after the last selection nobody needs them.
        """
        config, recipe, weights = self.protocol.config, self.protocol.recipe, weights or {}
        n_steps = steps(self.client.pools.labelled.size, recipe)
        auxiliary = self._strategy.auxiliary if self._strategy.has_auxiliary else None
        self.cloud.restart(config.seed, cycle, n_steps, weights.get("cloud"), auxiliary)
        if not students:
            return None
        n_classes = len(self.protocol.dataset.classes)
        setup = Setup(n_classes, recipe, config.seed, cycle, n_steps, weights.get("learner"))
        return self._strategy.learner(self.client, setup)

    def train(self, learner: ClientLearner | None, cycle: int) -> None:
        """Algorithm 1 on today's ``D_L``."""
        recipe, seed = self.protocol.recipe, self.protocol.config.seed
        taught = self._strategy.taught or self._strategy.at_home
        train(self.cloud, learner, taught, self.client.pools.labelled, recipe, seed, cycle)

    def query(self, learner: ClientLearner | None, budget: int, cycle: int) -> Query:
        """What the method declared that it needs, and only that."""
        strategy, client, cloud, pools = self._strategy, self.client, self.cloud, self.client.pools
        answers, scores, on_labelled = {}, None, dict[str, np.ndarray]()
        student = learner if strategy.at_home else None
        if student is not None:
            answers = student.ask(strategy.requires, client.store.plain(pools.safe))
        elif strategy.requires:
            client.submit(cloud)
            answers = cloud.ask(strategy.requires)
        if what := strategy.requires_labelled:
            known = pools.labelled
            on_labelled = cloud.ask(what, known) if student is None else student.ask(what, client.store.plain(known))
        head = (cloud if student is None else student).head() if strategy.requires_head else None
        if learner is not None and student is None:
            scores = learner.score(client.store.plain(pools.safe))
        stream, labels = numpy_stream(self.protocol.config.seed, "query", cycle), client.labels()
        return Query(pools.safe, pools.labelled, budget, stream, answers, on_labelled, head, labels, scores)


def cloud_of(protocol: Protocol, protected: np.ndarray, device: torch.device) -> Cloud:
    """A cloud for the protocol's task learner, whose door refuses the protected images."""
    config, dataset = protocol.config, protocol.dataset
    network = task_learner(config.teacher, len(dataset.classes), dataset.channels)
    return Cloud(len(dataset.train), protected, network, protocol.recipe, device)

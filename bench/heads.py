"""A training step of heads by hand against the same step by autograd, on the same vectors.

    python bench/heads.py [--features 1280] [--batch 64] [--peers 2] [--quick]

Interleaved in one run on one thread; processor seconds, so that a busy machine counts less; medians and their ratio. A
step of Random is that of the task learner (``mlp256``); one of PSL adds the lesson and both studies of the students
(``mlp32``). The vectors are random: what they show makes no difference to the time.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from pslcore import models, strategies
from pslcore.data import plans
from pslcore.recipe import Recipe
from pslcore.sides import Client, Cloud, Oracle, protected_setting, task_learner
from pslcore.strategies import Setup
from pslcore.streams import torch_stream

CPU = torch.device("cpu")
N, CLASSES, LABELLED = 10_000, 10, 1000


class Sides:
    """Cloud and client of a cycle, with the students of PSL."""

    def __init__(self, features: int, recipe: Recipe, peers: int):
        rng = np.random.default_rng(0)
        vectors = rng.integers(0, 256, (N, features, 1, 1), dtype=np.uint8)
        pools = protected_setting(N, LABELLED, 0.5)
        oracle = Oracle(rng.integers(0, CLASSES, N), pools.protected)
        self.client, self.recipe = Client(vectors, pools, oracle, 0, CPU), recipe
        self.cloud = Cloud(N, pools.protected, task_learner("mlp256", CLASSES, features), recipe, CPU)
        self.client.open(self.cloud)
        self.cloud.restart(0, 0, 10**6)
        method = strategies.get("psl", {"student": "mlp32", "peers": peers})
        self.learner = method.learner(self.client, Setup(CLASSES, recipe, 0, 0, 10**6))
        self.stream = torch_stream(0, "loader")

    def epoch(self, students: bool) -> float:
        """Processor milliseconds a step."""
        batches = list(plans(self.client.pools.labelled, self.recipe.batch_size, 0, False, self.stream))
        start = time.process_time()
        for plan in batches:
            self.cloud.step(plan)
            if students:
                self.learner.study(plan, self.cloud.teach(plan))
        return 1000 * (time.process_time() - start) / len(batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("features", 1280), ("batch", 64), ("peers", 2), ("repeats", 15)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--quick", action="store_true", help="short vectors, one repetition: to see that it runs")
    given = parser.parse_args()
    if given.quick:
        given.features, given.repeats = 16, 1
    torch.set_num_threads(1)
    recipe = Recipe(batch_size=given.batch, lr=0.02, padding=0, flip=False)
    by_hand = Sides(given.features, recipe, given.peers)
    stacked, models.stacked = models.stacked, lambda networks: None
    autograd = Sides(given.features, recipe, given.peers)
    models.stacked = stacked
    for students, title in ((False, "Random"), (True, f"PSL, {given.peers} peers")):
        seconds: dict[str, list[float]] = {"by hand": [], "autograd": []}
        for _ in range(given.repeats):
            for name, sides in (("by hand", by_hand), ("autograd", autograd)):
                seconds[name].append(sides.epoch(students))
        hand, auto = (statistics.median(column) for column in seconds.values())
        print(f"{title:14} {hand:6.2f} ms a step by hand, {auto:6.2f} by autograd: {auto / hand:.2f} x")


if __name__ == "__main__":
    main()

"""Algorithm 1: how one cycle trains the task learner and, beside it, a method's own networks on the client."""

import numpy as np

from pslcore.data import plans
from pslcore.recipe import Recipe
from pslcore.sides import Cloud
from pslcore.strategies import ClientLearner
from pslcore.streams import torch_stream


def steps(n_labelled: int, recipe: Recipe) -> int:
    """Iterations of one cycle: an epoch is one pass over ``D_L``."""
    return recipe.epochs * -(-n_labelled // recipe.batch_size)


def train(
    cloud: Cloud, learner: ClientLearner | None, taught: bool, labelled: np.ndarray, recipe: Recipe, seed: int,
    cycle: int,
) -> None:  # fmt: skip
    """Train for the recipe's epochs on ``D_L``.

    The batches are planned from the stream ``loader``, which both sides know, so no image has to cross for the
    students to see what the teacher sees. What the learner does has no way back to the task learner: its weights
    after the cycle are the same with any learner and with none.

    Raises
    ------
    FloatingPointError
        If a loss was not finite; looked at once an epoch.
    """
    loader = torch_stream(seed, "loader", cycle)
    for _ in range(recipe.epochs):
        for plan in plans(labelled, recipe.batch_size, recipe.padding, recipe.flip, loader, recipe.zoom):
            cloud.step(plan)  # line 6
            if learner is not None:
                learner.study(plan, cloud.teach(plan) if taught else None)  # lines 7 to 11
        cloud.check()
        if learner is not None:
            learner.check()

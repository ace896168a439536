"""Entropy (Shannon 1948): the images of whose class the task learner is least certain."""

import numpy as np

from pslcore.strategies.base import Query, Strategy, top


class Entropy(Strategy):
    """Top ``b`` by ``-sum p log p`` of the task learner's answer. Uploads all of ``D_S``, every cycle."""

    asks = ("entropy",)

    def pick(self, query: Query) -> np.ndarray:
        return top(query, query.answers["entropy"])

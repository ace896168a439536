"""Entropy (Shannon 1948): the images of whose class the task learner is least certain."""

import numpy as np
import torch

from pslcore.losses import entropy
from pslcore.strategies.base import Query, Strategy, top


class Entropy(Strategy):
    """Top ``b`` by ``-sum p log p`` of the task learner's answer. Uploads all of ``D_S``, every cycle."""

    asks = ("logits",)

    def pick(self, query: Query) -> np.ndarray:
        return top(query, entropy(torch.as_tensor(query.answers["logits"])).numpy())

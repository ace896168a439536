"""Entropy (Shannon 1948): the images of whose class the task learner is least certain."""

from pslcore.data import Indices
from pslcore.strategies.base import Query, top
from pslcore.strategies.sided import Sided


class Entropy(Sided):
    """Top ``b`` by ``-sum p log p`` of the task learner's answer. In the cloud, uploads all of ``D_S``, every cycle."""

    requires = ("entropy",)

    def pick(self, query: Query) -> Indices:
        return top(query, query.answers["entropy"])

"""Random: the baseline that every other method must beat."""

from pslcore.data import Indices
from pslcore.strategies.base import Query, Strategy


class Random(Strategy):
    """Uniform, without replacement. Uploads nothing that is unlabelled."""

    def pick(self, query: Query) -> Indices:
        return query.stream.choice(query.safe, query.budget, replace=False)

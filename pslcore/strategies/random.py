"""Random: the baseline that every other method must beat."""

import numpy as np

from pslcore.strategies.base import Query, Strategy


class Random(Strategy):
    """Uniform, without replacement. Uploads nothing that is unlabelled."""

    def pick(self, query: Query) -> np.ndarray:
        return query.stream.choice(query.safe, query.budget, replace=False)

"""Random: uniform, without replacement."""

import numpy as np

from pslcore.strategies.base import Query
from pslcore.strategies.random import Random

SAFE = np.arange(30) * 7 + 2


def drawn(seed, budget=10):
    return Random().pick(Query(SAFE, np.array([0]), budget, np.random.default_rng(seed)))


def test_picks_are_distinct_and_safe():
    for seed in range(50):
        picked = drawn(seed, 30)
        assert sorted(picked) == SAFE.tolist()


def test_its_stream_decides():
    assert drawn(1).tolist() == drawn(1).tolist() != drawn(2).tolist()


def test_every_image_and_every_pair_is_equally_likely():
    times, pairs = np.zeros(30), np.zeros((30, 30))
    for seed in range(3000):
        rows = (drawn(seed) - 2) // 7
        times[rows] += 1
        pairs[np.ix_(rows, rows)] += 1
    # chi-square of draws without replacement has 29 degrees of freedom after scaling by 29 / 20; p = 0.001
    assert ((times - 1000) ** 2 / 1000).sum() * 29 / 20 < 58.3
    together = pairs[np.triu_indices(30, 1)] / 3000
    assert abs(together.mean() - 10 * 9 / (30 * 29)) < 1e-9
    assert np.abs(together - 10 * 9 / (30 * 29)).max() < 5 * np.sqrt(0.1 * 0.9 / 3000)

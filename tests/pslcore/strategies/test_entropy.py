"""Entropy: the top by the entropy of the task learner's answer; and ``top``, which other methods pick with."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pslcore.losses import entropy
from pslcore.strategies.base import Query, top
from pslcore.strategies.entropy import Entropy

SAFE = np.array([3, 5, 8, 13, 21, 34])


def query(budget=3, safe=SAFE, **answers):
    return Query(safe, np.array([0]), budget, np.random.default_rng(0), answers)


def test_the_least_certain_come_first():
    logits = torch.tensor([[9.0, 0, 0], [0, 0, 0], [2, 0, 0], [1, 1, 0], [0, 0.1, 0], [50, 0, 0]])
    scores = entropy(logits).numpy()
    assert Entropy().requires == ("entropy",)
    assert Entropy().pick(query(4, entropy=scores)).tolist() == [5, 21, 13, 8]


@pytest.mark.parametrize("budget", [0, 1, 3, 6])
def test_ties_go_to_the_lower_index(budget):
    assert top(query(budget), np.ones(6)).tolist() == SAFE[:budget].tolist()
    order = np.random.default_rng(1).permutation(6)  # whatever the order of the rows
    scores = np.array([1.0, 2, 1, 2, 1, 2])
    assert top(query(budget, SAFE[order]), scores[order]).tolist() == [5, 13, 34, 3, 8, 21][:budget]


def test_infinite_scores_have_their_place():
    scores = np.array([0.0, -np.inf, np.inf, 1, -1, np.inf])
    assert top(query(6), scores).tolist() == [8, 34, 13, 3, 21, 5]


def test_what_is_no_number_is_refused():
    scores = np.array([0.0, 1, np.nan, 1, np.nan, 0])
    with pytest.raises(FloatingPointError, match="the score of image 8 is not a number: the training has diverged"):
        Entropy().pick(query(entropy=scores))


SCORES = st.sampled_from([0.0, -0.0, 1.0, 1.5, -3.0, np.inf, -np.inf, 1e-40]) | st.floats(-9, 9, width=32)


@given(st.lists(SCORES, max_size=30), st.data(), st.sampled_from([np.float32, np.float64]))
def test_the_top_are_those_of_sorting_all(scores, data, dtype):
    """Ties, infinities and zeros of both signs included, whatever the order of the rows."""
    scores, budget = np.array(scores, dtype=dtype), data.draw(st.integers(0, len(scores)))
    safe = np.array(data.draw(st.permutations(range(3, 3 + len(scores)))), dtype=np.int64)
    assert np.array_equal(top(query(budget, safe), scores), safe[np.lexsort((safe, -scores))[:budget]])

"""The oracle answers about what may be shown to it, and about nothing else."""

import numpy as np
import pytest

from pslcore.oracle import Oracle
from pslcore.pools import ProtectedDataError


@pytest.mark.parametrize("labels", [np.arange(6) * 10, np.arange(24).reshape(6, 2, 2)], ids=["images", "pixels"])
def test_answers_in_the_order_asked_and_counts(labels):
    oracle = Oracle(labels, [2])
    assert oracle.asked == 0
    assert np.array_equal(oracle.ask(np.array([5, 0, 3])), labels[[5, 0, 3]])
    assert oracle.ask([]).shape == (0, *labels.shape[1:])
    assert oracle.asked == 3


def test_the_answer_is_a_copy():
    labels = np.arange(4)
    Oracle(labels, []).ask([1, 2])[:] = 9
    assert labels.tolist() == [0, 1, 2, 3]


def test_protected_images_are_never_shown():
    oracle = Oracle(np.arange(6), [2, 4])
    with pytest.raises(ProtectedDataError, match=r"1 protected image\(s\) were about to be shown to the oracle"):
        oracle.ask([0, 4])
    assert oracle.asked == 0


@pytest.mark.parametrize(("indices", "sentence"), [([0, 0], "more than once"), ([6], "holds 6"), ([True], "a mask")])
def test_bad_indices(indices, sentence):
    oracle = Oracle(np.arange(6), [])
    with pytest.raises(ValueError, match=sentence):
        oracle.ask(indices)
    assert oracle.asked == 0


def test_a_bad_protected_set():
    with pytest.raises(ValueError, match="protected holds 9, but"):
        Oracle(np.arange(6), [9])

"""The oracle answers about what may be shown to it, and about nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare

from pslcore.sides import Oracle, ProtectedDataError, mislabel


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


# Noise

GROUPS = np.arange(100) // 5  # 20 superclasses of five, as in CIFAR-100


def stream(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3])
def test_the_noise_rate_is_as_asked_and_wrong_labels_are_equally_likely(rate):
    labels = np.arange(50_000) % 100
    given = mislabel(labels, rate, GROUPS, stream())
    wrong = given != labels
    assert binomtest(int(wrong.sum()), len(labels), rate).pvalue > 0.01
    assert np.array_equal(GROUPS[given], GROUPS[labels])  # never out of the superclass
    per_class = np.bincount(labels[wrong], minlength=100)
    assert chisquare(per_class).pvalue > 0.01
    step = (given - labels)[wrong] % 5  # which of the four others of the superclass it became
    assert chisquare(np.bincount(step, minlength=5)[1:]).pvalue > 0.01


@given(st.integers(0, 2**32), st.floats(0, 0.99), st.integers(2, 5))
def test_noise_stays_in_its_superclass_whatever_the_superclasses(seed, rate, n_groups):
    rng = stream(seed)
    groups = rng.permutation(np.concatenate([np.arange(n_groups)] * 2 + [rng.integers(0, n_groups, 4)]))
    labels = rng.integers(0, len(groups), 300)
    given = mislabel(labels, rate, groups, stream(seed))
    assert np.array_equal(groups[given], groups[labels])
    assert np.array_equal(given, mislabel(labels, rate, groups, stream(seed)))
    if rate == 0:
        assert np.array_equal(given, labels)


def test_less_noise_is_part_of_more_noise_in_the_same_seed():
    labels = stream(1).integers(0, 100, 5000)
    wrong = [mislabel(labels, rate, GROUPS, stream()) != labels for rate in (0.1, 0.3)]
    assert (wrong[0] <= wrong[1]).all()
    assert wrong[0].sum() < wrong[1].sum()


def test_a_superclass_of_one_class_cannot_be_mistaken():
    with pytest.raises(ValueError, match=r"noise = 0\.1 within superclasses: superclass 7 has one class only"):
        mislabel(np.array([0, 1, 2]), 0.1, np.array([3, 3, 7]), stream())
    assert mislabel(np.array([0, 1, 2]), 0.0, np.array([3, 3, 7]), stream()).tolist() == [0, 1, 2]

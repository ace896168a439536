import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pslcore.strategies.alfa_mix import alfa_mix, candidates, class_anchors, flip_caps


def sweep(features, anchors, weight, bias, cap):
    """One cap of the plain form, in float64: mix with every anchor, run the head, compare the predictions."""
    e, weight, bias = (np.asarray(x, dtype=np.float64) for x in (features, weight, bias))
    logits = e @ weight.T + bias
    top = logits.argmax(axis=1)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(p)), top] -= 1
    g = p @ weight
    flipped = np.zeros(len(e), dtype=bool)
    for anchor in anchors:
        z = anchor - e
        length = cap / math.sqrt(e.shape[1]) * np.linalg.norm(z, axis=1) / np.linalg.norm(g, axis=1)
        # The authors divide by z + 1e-8 and multiply by z: a coordinate where z is 0 does not move.
        alpha = np.divide(length[:, None] * g, z, out=np.zeros_like(z), where=z != 0)
        flipped |= (((1 - alpha) * e + alpha * anchor) @ weight.T + bias).argmax(axis=1) != top
    return flipped


def _sparse(rng, x):
    x = np.maximum(x - 0.3, 0)
    x[:, ::2] *= rng.random(x[:, ::2].shape) < 0.05  # so rare that a class often has none: its anchor is 0 there
    return x


KINDS = {
    "random": lambda rng, x: x,
    "relu": lambda rng, x: np.maximum(x - 0.3, 0),
    "sparse": _sparse,
    "duplicated": lambda rng, x: x[rng.integers(0, min(30, len(x)), len(x))],
    "rounded": lambda rng, x: np.round(x),
    "saturated": lambda rng, x: np.clip(x, 0, 0.5),
}


def pool(kind, seed, n, m, dim, classes):
    rng = np.random.default_rng(seed)
    centers, labels = rng.standard_normal((classes, dim)), rng.integers(0, classes, n + m)
    x = KINDS[kind](rng, 0.5 * centers[labels] + rng.standard_normal((n + m, dim))).astype(np.float32)
    weight = ((centers + 0.3 * rng.standard_normal((classes, dim))) / math.sqrt(dim)).astype(np.float32)
    bias = (0.1 * rng.standard_normal(classes)).astype(np.float32)
    return x[m:], x[:m], labels[:m], weight, bias


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [2, 16, 64])
@pytest.mark.parametrize(("classes", "m"), [(2, 60), (5, 60), (10, 8), (3, 3)])
def test_candidates_are_those_of_the_plain_sweep(kind, dim, classes, m):
    x, labelled, labels, weight, bias = pool(kind, 0, 600, m, dim, classes)
    anchors = class_anchors(labelled, labels, classes)
    caps = flip_caps(x, anchors, weight, bias)
    for cap in (0.03125, 0.25, 1.0, 7.0):
        np.testing.assert_array_equal(caps < cap, sweep(x, anchors, weight, bias, cap))


def test_zero_coordinates_matter_and_stand_still():
    """The anchor equals the feature in the only coordinate that the head reads: nothing can flip."""
    weight, bias = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros(2)
    x = np.array([[1.0, 3.0]])
    assert flip_caps(x, np.array([[1.0, 8.0]]), weight, bias)[0] == math.inf
    # A little off, it moves by eps |a - e| towards class 1 and flips after a way of 1.
    cap = flip_caps(x, np.array([[1.5, 8.0]]), weight, bias)[0]
    assert cap == pytest.approx(math.sqrt(2) / math.hypot(0.5, 5))


def test_saturated_softmax_still_has_a_direction():
    weight, bias = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], dtype=np.float32), np.zeros(3, np.float32)
    caps = flip_caps(np.array([[5000.0, 1.0]], dtype=np.float32), np.array([[1.0, 9000.0]]), weight, bias)
    # On the way to class 1, along (-1, 1), the margin of 4999 falls at a rate of sqrt 2.
    assert caps[0] == pytest.approx(4999 / math.sqrt(2) * math.sqrt(2) / math.hypot(4999, 8999), rel=1e-6)


def test_ties_do_not_flip():
    """Every class has a double, equal but for rounding; only other classes can overtake."""
    rng = np.random.default_rng(0)
    weight, x, anchors = (rng.standard_normal((n, 37)) for n in (7, 500, 3))
    single = flip_caps(x, anchors, weight, np.zeros(7))
    double = flip_caps(x, anchors, np.concatenate([weight, weight * (1 + 1e-16), weight]), np.zeros(21))
    assert single.min() > 0
    assert double.min() > 0.1 * single.min()


def test_no_anchor_or_one_class_never_flips():
    x = np.ones((4, 3))
    assert np.isinf(flip_caps(x, np.empty((0, 3)), np.eye(3), np.zeros(3))).all()
    assert np.isinf(flip_caps(x, np.zeros((1, 3)), np.ones((1, 3)), np.zeros(1))).all()
    assert np.isinf(flip_caps(x, np.zeros((1, 3)), np.zeros((2, 3)), np.zeros(2))).all()


def test_candidates_stop_at_the_first_cap_with_more_than_the_budget():
    caps = np.array([0.01, 0.04, 0.05, 0.3, 0.99, 2.0, np.inf])
    assert candidates(caps, 0).tolist() == [True] + 6 * [False]
    assert candidates(caps, 1).tolist() == [True, True, True] + 4 * [False]
    assert candidates(caps, 3).tolist() == 4 * [True] + 3 * [False]
    assert candidates(caps, 5).tolist() == 5 * [True] + 2 * [False]  # the cap is 1: no more
    assert candidates(caps, 3, cap_step=0.4).tolist() == 4 * [True] + 3 * [False]
    assert candidates(caps, 6, cap_step=3.0).tolist() == 6 * [True] + [False]


def test_anchors_skip_classes_without_labels():
    labelled = np.array([[1, 2], [3, 4], [10, 10]], dtype=np.float32)
    np.testing.assert_array_equal(class_anchors(labelled, [0, 0, 2], 4), [[2, 3], [10, 10]])
    assert class_anchors(np.empty((0, 2)), np.empty(0, dtype=int), 4).shape == (0, 2)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 2**32),
    n=st.integers(1, 150),
    m=st.integers(0, 20),
    dim=st.integers(1, 12),
    classes=st.integers(1, 5),
    share=st.floats(0, 1),
)
def test_properties(kind, seed, n, m, dim, classes, share):
    inputs = pool(kind, seed, n, m, dim, classes)
    budget = int(share * n)
    picks = alfa_mix(*inputs, budget, seed)
    assert picks.dtype == np.int64
    assert picks.shape == (budget,)
    assert len(np.unique(picks)) == budget
    assert budget == 0 or 0 <= picks.min() <= picks.max() < n
    np.testing.assert_array_equal(alfa_mix(*inputs, budget, np.random.default_rng(seed)), picks)
    # Few candidates: all of them come first. Many: as many as there are distinct ones, up to the budget.
    x, labelled, labels, weight, bias = inputs
    chosen = candidates(flip_caps(x, class_anchors(labelled, labels, classes), weight, bias), budget)
    if chosen.sum() <= budget:
        np.testing.assert_array_equal(picks[: chosen.sum()], np.flatnonzero(chosen))
    elif budget:
        assert chosen[picks[0]]


@pytest.mark.parametrize(("block", "sample"), [(8192, 1 << 28), (7, 1 << 28), (7, 100 * 40)])
def test_one_pick_in_each_clear_cluster(monkeypatch, block, sample):
    """Eight directions on the boundary between two classes, many candidates in each, the nearest to the middle wins;
    whether k-means sees all of them or 100."""
    monkeypatch.setattr("pslcore.strategies.alfa_mix._BLOCK", block)
    monkeypatch.setattr("pslcore.strategies.alfa_mix._SAMPLE", sample)
    rng = np.random.default_rng(0)
    directions = np.concatenate([np.zeros((8, 2)), np.eye(8)], axis=1)
    group = np.repeat(np.arange(8), 20)
    x = (directions[group] + 0.01 * rng.standard_normal((160, 10))).astype(np.float32)
    weight = np.zeros((2, 10), dtype=np.float32)
    weight[:, :2] = [[1, 0], [0, 1]]
    labelled = np.array([[3] + 9 * [0.5], [-1, 3] + 8 * [0.5]], dtype=np.float32)
    picks = alfa_mix(x, labelled, np.array([0, 1]), weight, np.zeros(2), 8, 0)
    assert sorted(group[picks].tolist()) == list(range(8))
    chosen = candidates(flip_caps(x, labelled, weight, np.zeros(2)), 8)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for pick in picks:
        mine = np.flatnonzero(chosen & (group == group[pick]))
        distances = ((unit[mine] - unit[mine].mean(axis=0)) ** 2).sum(axis=1)
        assert pick == mine[distances.argmin()]


def test_the_candidates_of_a_large_pool_are_not_copied(monkeypatch):
    monkeypatch.setattr("pslcore.strategies.alfa_mix._BLOCK", 512)
    monkeypatch.setattr("pslcore.strategies.alfa_mix._SAMPLE", 1 << 20)
    features, *rest = pool("random", 0, 20_000, 10, 200, 5)
    alfa_mix(features[:100], *rest, 20, 0, cap_step=100.0)  # what it imports takes memory, too
    tracemalloc.start()
    picks = alfa_mix(features, *rest, 20, 0, cap_step=100.0)  # all are candidates
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(picks.tolist())) == 20
    assert peak < features.nbytes


def test_fills_up_at_random_without_replacement():
    """Nothing labelled, so no candidate: any subset may come, and every row does."""
    x = np.ones((12, 2), dtype=np.float32)
    nothing = np.empty((0, 2), np.float32), np.empty(0, dtype=np.int64)
    drawn = [alfa_mix(x, *nothing, np.eye(2), np.zeros(2), 5, seed) for seed in range(200)]
    assert all(len(set(picks.tolist())) == 5 for picks in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=12)
    assert counts.min() > 50
    assert counts.max() < 120


def test_tensors_and_inputs_left_alone():
    inputs = pool("relu", 0, 100, 20, 6, 3)
    tensors = [torch.from_numpy(x.copy()) for x in inputs]
    for k in (3, 4):
        tensors[k].requires_grad_()
    np.testing.assert_array_equal(alfa_mix(*tensors, 10, 0), alfa_mix(*inputs, 10, 0))
    assert all(np.array_equal(tensor.detach().numpy(), x) for tensor, x in zip(tensors, inputs, strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"budget": 101}, "budget is 101 but there are 100 rows"),
        ({"features": np.full((100, 6), np.nan)}, "features holds NaN"),
        ({"labelled_features": np.zeros((20, 5))}, "labelled_features must have 6 columns"),
        ({"labelled_labels": np.zeros(19, dtype=int)}, r"labelled_labels has shape \(19,\) for 20 images"),
        ({"labelled_labels": np.full(20, 3)}, "labelled_labels are int64 from 3 to 3: pass whole numbers from 0 to 2"),
        ({"labelled_labels": np.full(20, 0.5)}, "labelled_labels are float64"),
        ({"weight": np.zeros((3, 7))}, "weight must have 6 columns"),
        ({"bias": np.zeros(4)}, "bias must have 3 values"),
        ({"bias": np.full(3, np.inf)}, "bias holds NaN or infinity"),
        ({"cap_step": 0.0}, "cap_step is 0.0: pass a positive number"),
    ],
)
def test_errors(change, words):
    names = ("features", "labelled_features", "labelled_labels", "weight", "bias")
    inputs = dict(zip(names, pool("relu", 0, 100, 20, 6, 3), strict=True)) | {"budget": 10, "seed": 0}
    with pytest.raises(ValueError, match=words):
        alfa_mix(**(inputs | change))


def test_nothing_to_pick():
    picks = alfa_mix(*pool("relu", 0, 100, 20, 6, 3), 0, 0)
    assert picks.dtype == np.int64
    assert picks.shape == (0,)

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pslcore.strategies import core_set
from pslcore.strategies.core_set import k_center_greedy


def brute_force(features, centers, budget):
    """Farthest-first in float64, all distances anew for each pick."""
    features, centers = features.astype(np.float64), centers.astype(np.float64)
    if len(centers):
        nearest = np.min([((features - center) ** 2).sum(axis=1) for center in centers], axis=0)
    else:
        nearest = ((features - features.mean(axis=0)) ** 2).sum(axis=1)
    picks = []
    for k in range(budget):
        pick = int(nearest.argmax())
        picks.append(pick)
        distance = ((features - features[pick]) ** 2).sum(axis=1)
        nearest = distance if k == 0 and not len(centers) else np.minimum(nearest, distance)
        nearest[picks] = -1
    return np.array(picks, dtype=np.int64)


def _clusters(rng, n, d, spread):
    return rng.standard_normal((max(2, n // 25), d))[rng.integers(0, max(2, n // 25), n)] + (
        spread * rng.standard_normal((n, d)) if spread else 0
    )


def _outlier(rng, n, d):
    points = 1e-3 * rng.standard_normal((n, d))
    points[0] = 1e3
    return points


KINDS = {
    "random": lambda rng, n, d: rng.standard_normal((n, d)),
    "relu": lambda rng, n, d: np.maximum(rng.standard_normal((n, d)), 0),
    "duplicated": lambda rng, n, d: _clusters(rng, n, d, 0),
    "clustered": lambda rng, n, d: _clusters(rng, n, d, 1e-1),
    "tight": lambda rng, n, d: _clusters(rng, n, d, 1e-3),
    "tighter than float32 products": lambda rng, n, d: _clusters(rng, n, d, 1e-6),
    "low rank": lambda rng, n, d: rng.standard_normal((n, 2)) @ rng.standard_normal((2, d)),
    "lattice": lambda rng, n, d: rng.integers(0, 3, (n, d)).astype(float),
    "far from 0": lambda rng, n, d: 1e4 + rng.standard_normal((n, d)),
    "outlier": _outlier,
    "all equal": lambda rng, n, d: np.ones((n, d)),
    "huge": lambda rng, n, d: 1e37 * rng.standard_normal((n, d)),
    "tiny": lambda rng, n, d: 1e-36 * rng.standard_normal((n, d)),
}


def points(kind, seed, n, d):
    return KINDS[kind](np.random.default_rng(seed), n, d).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [1, 2, 64, pytest.param(512, marks=pytest.mark.slow)])
def test_picks_are_those_of_brute_force(kind, dim):
    x = points(kind, 0, 220, dim)
    for labelled in (0, 20):
        features, centers = x[labelled:], x[:labelled]
        for budget in (60, len(features)):
            np.testing.assert_array_equal(
                k_center_greedy(features, centers, budget), brute_force(features, centers, budget)
            )


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 2**32),
    n=st.integers(1, 400),
    m=st.integers(0, 40),
    dim=st.integers(1, 40),
    share=st.floats(0, 1),
    double=st.booleans(),
)
def test_properties(kind, seed, n, m, dim, share, double):
    x = points(kind, seed, n + m, dim).astype(np.float64 if double else np.float32)
    features, centers, budget = x[m:], x[:m], int(share * n)
    picks = k_center_greedy(features, centers, budget)
    assert picks.dtype == np.int64
    assert picks.shape == (budget,)
    assert len(np.unique(picks)) == budget
    assert budget == 0 or 0 <= picks.min() <= picks.max() < n
    np.testing.assert_array_equal(picks, brute_force(features, centers, budget))
    # A smaller budget gives the beginning; a power of two, and a repeated centre, change nothing.
    np.testing.assert_array_equal(k_center_greedy(features, centers, budget // 2), picks[: budget // 2])
    if kind not in ("huge", "tiny"):
        np.testing.assert_array_equal(k_center_greedy(8 * features, 8 * centers, budget), picks)
    np.testing.assert_array_equal(k_center_greedy(features, np.concatenate([centers, centers]), budget), picks)


def test_order_of_rows_does_not_matter_without_ties():
    x = points("random", 3, 300, 16)
    order = np.random.default_rng(0).permutation(280)
    picks = k_center_greedy(x[20:], x[:20], 100)
    np.testing.assert_array_equal(order[k_center_greedy(x[20:][order], x[:20], 100)], picks)


def test_ties_go_to_the_lower_index():
    square = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]], dtype=np.float32)
    assert k_center_greedy(square, np.zeros((1, 2), np.float32), 4).tolist() == [0, 1, 2, 3]


def test_without_centers_the_first_pick_is_farthest_from_the_mean():
    assert k_center_greedy(np.array([[0.0], [1.0], [2.0], [9.0]]), np.empty((0, 1)), 3).tolist() == [3, 0, 2]


@pytest.mark.slow
def test_many_tiles(monkeypatch):
    """More rows than a tile, more centres than a block, a small active set."""
    monkeypatch.setattr(core_set, "_ROWS", 64)
    monkeypatch.setattr(core_set, "_CENTERS", 7)
    monkeypatch.setattr(core_set, "_COLUMNS", 16)
    monkeypatch.setattr(core_set, "_ACTIVE", 1)
    for kind in KINDS:
        x = points(kind, 1, 500, 8)
        np.testing.assert_array_equal(k_center_greedy(x[60:], x[:60], 200), brute_force(x[60:], x[:60], 200))


def test_tensors_and_inputs_left_alone():
    x = torch.from_numpy(points("random", 0, 50, 4)).requires_grad_()
    before = x.detach().clone()
    picks = k_center_greedy(x[10:], x[:10], 5)
    np.testing.assert_array_equal(picks, brute_force(before[10:].numpy(), before[:10].numpy(), 5))
    half = before.bfloat16()
    np.testing.assert_array_equal(
        k_center_greedy(half[10:], half[:10], 5), brute_force(half[10:].float().numpy(), half[:10].float().numpy(), 5)
    )
    assert torch.equal(x.detach(), before)


@pytest.mark.parametrize(
    ("features", "centers", "budget", "words"),
    [
        (np.zeros((3, 2)), np.zeros((1, 2)), 4, "budget is 4 but there are 3 rows"),
        (np.zeros((3, 2)), np.zeros((1, 2)), -1, "budget is -1"),
        (np.zeros((3, 2)), np.zeros((1, 2)), 1.5, "budget must be a whole number but is 1.5"),
        (np.zeros(3), np.zeros((1, 2)), 1, r"features must be a matrix.*\(3,\)"),
        (np.zeros((3, 2)), np.zeros((1, 3)), 1, r"centers must have 2 columns.*\(1, 3\)"),
        (np.array([[0.0], [np.nan]]), np.zeros((1, 1)), 1, "features holds NaN or infinity, first in row 1"),
        (np.zeros((3, 1)), np.array([[np.inf]]), 1, "centers holds NaN or infinity, first in row 0"),
    ],
)
def test_errors(features, centers, budget, words):
    with pytest.raises(ValueError, match=words):
        k_center_greedy(features, centers, budget)


def test_nothing_to_pick():
    for n in (0, 3):
        picks = k_center_greedy(np.zeros((n, 2)), np.zeros((1, 2)), 0)
        assert picks.dtype == np.int64
        assert picks.shape == (0,)


def test_the_candidates_are_not_copied():
    features = np.random.default_rng(0).standard_normal((20_000, 200)).astype(np.float32)
    tracemalloc.start()
    k_center_greedy(features, features[:10], 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < features.nbytes

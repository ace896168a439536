from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from pslcore.strategies import badge as module
from pslcore.strategies.badge import badge

ALPHA = 1e-4  # of the statistical tests; their seeds are fixed


def embeddings(probabilities, features):
    """The gradient embeddings, built in full, in float64."""
    u = probabilities.astype(np.float64)
    u[np.arange(len(u)), u.argmax(axis=1)] -= 1
    return (u[:, :, None] * features.astype(np.float64)[:, None, :]).reshape(len(u), -1)


def brute_force(probabilities, features, budget, seed):
    """k-means++ seeding on the embeddings, one uniform number a pick."""
    rng, g = np.random.default_rng(seed), embeddings(probabilities, features)
    picks, weights = [int((g**2).sum(axis=1).argmax())], np.full(len(g), np.inf)
    while len(picks) < budget:
        weights = np.minimum(weights, ((g - g[picks[-1]]) ** 2).sum(axis=1))
        weights[picks] = 0
        cumulative = np.cumsum(weights)
        if cumulative[-1] <= 0:
            rest = np.setdiff1d(np.arange(len(g)), picks)
            return np.concatenate([picks, rng.choice(rest, budget - len(picks), replace=False)])
        picks.append(int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")))
    return np.array(picks)


def softmax(logits):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


KINDS = {
    "random": lambda rng, n, d: rng.standard_normal((n, d)),
    "relu": lambda rng, n, d: np.maximum(rng.standard_normal((n, d)), 0),
    "duplicated": lambda rng, n, d: rng.standard_normal((max(2, n // 20), d))[rng.integers(0, max(2, n // 20), n)],
    "clustered": lambda rng, n, d: (
        rng.standard_normal((9, d))[rng.integers(0, 9, n)] + 0.05 * rng.standard_normal((n, d))
    ),
    "low rank": lambda rng, n, d: rng.standard_normal((n, 2)) @ rng.standard_normal((2, d)),
    "confident": lambda rng, n, d: 30 * rng.standard_normal((n, d)),
    "all equal": lambda rng, n, d: np.ones((n, d)),
    "huge": lambda rng, n, d: 1e25 * rng.standard_normal((n, d)),
    "tiny": lambda rng, n, d: 1e-25 * rng.standard_normal((n, d)),
    "all zero": lambda rng, n, d: np.zeros((n, d)),
}
SCALES = {"huge": 1e-25, "tiny": 1e25}


def pool(kind, seed, n, dim, classes):
    rng = np.random.default_rng(seed)
    features = KINDS[kind](rng, n, dim)
    logits = SCALES.get(kind, 1) * features @ rng.standard_normal((dim, classes)) * 2 / np.sqrt(dim)
    return softmax(logits), features.astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [1, 2, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("classes", [2, 10])
def test_plain_picks_are_those_of_brute_force(kind, dim, classes):
    p, h = pool(kind, 0, 250, dim, classes)
    for seed, budget in ((0, 100), (1, 250)):
        np.testing.assert_array_equal(badge(p, h, budget, seed, rejection=False), brute_force(p, h, budget, seed))


@pytest.mark.slow
@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 2**32),
    n=st.integers(1, 300),
    dim=st.integers(1, 20),
    classes=st.integers(1, 6),
    share=st.floats(0, 1),
    rejection=st.booleans(),
)
def test_properties(kind, seed, n, dim, classes, share, rejection):
    p, h = pool(kind, seed, n, dim, classes)
    budget = int(share * n)
    picks = badge(p, h, budget, seed, rejection)
    assert picks.dtype == np.int64
    assert picks.shape == (budget,)
    assert len(np.unique(picks)) == budget
    assert budget == 0 or 0 <= picks.min() <= picks.max() < n
    np.testing.assert_array_equal(badge(p, h, budget, seed, rejection), picks)
    np.testing.assert_array_equal(badge(p, h, budget, np.random.default_rng(seed), rejection), picks)
    if kind not in ("huge", "tiny"):  # a power of two changes nothing
        np.testing.assert_array_equal(badge(p, 4 * h, budget, seed, rejection), picks)
    if not rejection:
        np.testing.assert_array_equal(brute_force(p, h, budget, seed)[:budget], picks)


def law(probabilities, features, budget):
    """The probability of every sequence of picks."""
    g = embeddings(probabilities, features)
    distances = ((g[:, None] - g) ** 2).sum(axis=2)
    first = int((g**2).sum(axis=1).argmax())
    result = {}
    for tail in permutations(set(range(len(g))) - {first}, budget - 1):
        picks, probability = [first], 1.0
        for pick in tail:
            weights = distances[picks].min(axis=0)
            probability *= weights[pick] / weights.sum()
            picks.append(pick)
        result[tuple(picks)] = probability
    return result


def fits(counts, expected_law, runs):
    keys = sorted((key for key, q in expected_law.items() if q > 0), key=expected_law.get)
    rare = sum(expected_law[key] * runs < 5 for key in keys)  # go into one cell, with the first that is not rare
    cells = [keys[: rare + 1], *([key] for key in keys[rare + 1 :])]
    observed = [sum(counts[key] for key in cell) for cell in cells]
    expected = [sum(expected_law[key] for key in cell) * runs for cell in cells]
    return chisquare(observed, expected).pvalue > ALPHA


def refresh_only_once(monkeypatch):
    """Weights stay those of the first pick, but for rejected rows: what is left is rejection."""
    refresh = module._Gradients.refresh
    monkeypatch.setattr(
        module._Gradients, "refresh", lambda self, weights, first: first or refresh(self, weights, first)
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "rejection", "stale"])
def test_follows_the_law(form, monkeypatch):
    """Against the exact law of all sequences; two rows are duplicates, one is almost certain."""
    if form == "stale":
        refresh_only_once(monkeypatch)
    rng = np.random.default_rng(4)
    h = rng.standard_normal((8, 3)).astype(np.float32)
    logits = rng.standard_normal((8, 3))
    h[5], logits[5], logits[6] = h[2], logits[2], [9, 0, 0]
    p = softmax(logits)
    counts = Counter(tuple(badge(p, h, 3, seed, form != "plain").tolist()) for seed in range(2500))
    exact = law(p, h, 3)
    assert set(counts) <= {key for key, q in exact.items() if q > 0}
    assert fits(counts, exact, 2500)


@pytest.mark.slow
def test_stale_weights_do_not_bias(monkeypatch):
    """After a pick from group 1 the weights of its others are too high by a third, those of group 2 are right."""
    refresh_only_once(monkeypatch)
    axes, group = np.eye(9), np.array([0, 1, 1, 1, 1, 2, 2, 2, 2])
    h = np.concatenate([1.3 * axes[:1], axes[1:5], 0.6 * axes[0] + 0.7 * axes[5:]]).astype(np.float32)
    p = np.full((9, 2), [0.6, 0.4], dtype=np.float32)
    counts, exact = Counter(), Counter()
    for seed in range(2500):
        counts[tuple(group[badge(p, h, 3, seed)])] += 1
    for picks, probability in law(p, h, 3).items():
        exact[tuple(group[list(picks)])] += probability
    assert fits(counts, exact, 2500)


@pytest.mark.slow
@pytest.mark.parametrize("refreshes", [True, False])
def test_rejection_and_plain_agree_in_distribution(refreshes, monkeypatch):
    """Clusters of unequal size and weight, so that acceptance is low; once with weights that are never refreshed."""
    if not refreshes:
        refresh_only_once(monkeypatch)
    rng = np.random.default_rng(1)
    sizes = [120, 60, 30, 20, 8, 2]
    group = np.repeat(np.arange(6), sizes)
    h = (3 * rng.standard_normal((6, 4))[group] + 0.2 * rng.standard_normal((240, 4))).astype(np.float32)
    p = softmax(h @ rng.standard_normal((4, 3)) * 0.4)

    def groups(rejection, seed):
        return tuple(sorted(group[badge(p, h, 5, seed, rejection)].tolist()))

    runs = 500
    ours, plain = (Counter(groups(rejection, 7000 * rejection + k) for k in range(runs)) for rejection in (True, False))
    common = [key for key in ours | plain if ours[key] + plain[key] >= 10]
    table = [[c[key] for key in common] + [runs - sum(c[key] for key in common)] for c in (ours, plain)]
    table = np.array(table)[:, np.sum(table, axis=0) > 0]
    assert table.shape[1] > 5
    assert chi2_contingency(table).pvalue > ALPHA


@pytest.mark.parametrize("rejection", [True, False])
def test_rows_without_weight_fill_up_uniformly(rejection):
    """One row of its own, nine alike: after two picks nothing has weight."""
    h = np.ones((10, 2), dtype=np.float32)
    h[3] = 5
    p = np.full((10, 2), [0.7, 0.3], dtype=np.float32)
    counts = np.zeros(10)
    for seed in range(600):
        picks = badge(p, h, 4, seed, rejection)
        assert picks[0] == 3
        assert len(set(picks.tolist())) == 4
        counts[picks[1:]] += 1
    assert chisquare(np.delete(counts, 3)).pvalue > ALPHA


def test_weights_bound_the_distances():
    for kind in KINDS:
        p, h = pool(kind, 2, 500, 16, 4)
        g = module._Gradients(p, h, 20)
        for row in range(20):
            g.pick(row)
        weights = np.full(500, np.inf)
        g.refresh(weights, 0)
        true = g.distances(slice(0, 500), slice(0, 20)).min(axis=1)
        assert (weights >= true).all(), kind
        assert (weights <= true + 2e-5 * (g.squares + g.squares.max()) + 1e-35).all(), kind


def test_tensors_and_inputs_left_alone():
    p, h = pool("random", 0, 60, 5, 3)
    tensors = torch.from_numpy(p.copy()), torch.from_numpy(h.copy())
    np.testing.assert_array_equal(badge(*tensors, 20, 0), badge(p, h, 20, 0))
    assert np.array_equal(tensors[0].numpy(), p)
    assert np.array_equal(tensors[1].numpy(), h)


@pytest.mark.parametrize(
    ("probabilities", "features", "budget", "words"),
    [
        (np.full((3, 2), 0.5), np.zeros((3, 2)), 4, "budget is 4 but there are 3 rows"),
        (np.full((2, 2), 0.5), np.zeros((3, 2)), 1, "features must have 2 rows"),
        (np.full(3, 0.5), np.zeros((3, 2)), 1, "probabilities must be a matrix"),
        (np.full((3, 2), -0.5), np.zeros((3, 2)), 1, "probabilities go down to -0.5"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), 1, "probabilities holds NaN"),
        (np.full((3, 2), 0.5), np.full((3, 2), np.inf), 1, "features holds NaN or infinity"),
    ],
)
def test_errors(probabilities, features, budget, words):
    with pytest.raises(ValueError, match=words):
        badge(probabilities, features, budget, 0)


def test_nothing_to_pick():
    picks = badge(np.full((3, 2), 0.5), np.zeros((3, 2)), 0, 0)
    assert picks.dtype == np.int64
    assert picks.shape == (0,)

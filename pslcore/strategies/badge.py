"""BADGE: diverse, uncertain picks by k-means++ seeding on gradient embeddings that are never built.

J. T. Ash, C. Zhang, A. Krishnamurthy, J. Langford and A. Agarwal, "Deep Batch Active Learning by Diverse, Uncertain
Gradient Lower Bounds", ICLR 2020. The factored distance is also in the authors' code, github.com/JordanAsh/badge.
"""

import numpy as np

from pslcore.data import Indices
from pslcore.strategies.base import Query
from pslcore.strategies.checks import as_budget, as_matrix, as_probabilities, unit_scale
from pslcore.strategies.sided import Sided

_ROWS, _PICKS = 2048, 64  # tile of a refresh, so that it stays in cache
_TINY = 1e-36  # squares that fall out of float32's range


def badge(probabilities, features, budget: int, seed, rejection: bool = True) -> np.ndarray:
    """Pick rows by k-means++ seeding on the gradient embeddings ``g = (p - onehot(argmax p)) ⊗ h``.

    The first pick is the row with the largest ``|g|`` (ties: the lower index). Each further pick is drawn with a
    probability proportional to the squared distance to its nearest pick, by inverse CDF: the first row whose
    float64 cumulative weight exceeds a uniform number times the total. Rows with weight 0 are never drawn; once
    all weights are 0 (every row left has the gradient embedding of a pick), the rest is drawn uniformly
    without replacement.

    Parameters
    ----------
    probabilities : array or CPU tensor [N, C]
        Softmax outputs ``p``.
    features : array or CPU tensor [N, D]
        Penultimate features ``h``, the inputs of the last layer.
    budget : int
        How many to pick, 0 to N.
    seed : int or numpy.random.Generator
        The source of randomness. Equal seeds give equal picks.
    rejection : bool
        True: rejection sampling, the same distribution in a fraction of the time. False: the plain form, one
        pass over all rows and one uniform number a pick.

    Returns
    -------
    int64 [budget]
        Row indices, distinct, in order of picking.

    Raises
    ------
    ValueError
        Wrong shapes, values that are not finite, rows of probabilities that hold one below 0 or do not sum to 1, or a
        budget outside 0 to N.

    Notes
    -----
    With ``u = p - onehot(argmax p)`` the inner products factor, ``<g1, g2> = <u1, u2> <h1, h2>``, so nothing of size
    N x (C D) is built. Rejection: every row has a weight that is proven to be at least its squared distance; a
    proposal is drawn from these stale weights and accepted with probability distance / weight, the distance being
    taken in float64 to all picks so far. So float32 is used only where it cannot touch the distribution. A rejected
    row's weight falls to its true distance; all weights are refreshed when rejections have cost as much work as
    the refresh does.
    """
    probabilities = as_probabilities(probabilities, "probabilities")
    features = as_matrix(features, "features", rows=len(probabilities))
    budget = as_budget(budget, len(features))
    if budget == 0:
        return np.empty(0, dtype=np.int64)
    rng = np.random.default_rng(seed)
    gradients = _Gradients(probabilities, features, budget)
    gradients.pick(int(gradients.squares.argmax()))
    (_by_rejection if rejection else _plainly)(gradients, rng)
    rest = np.setdiff1d(np.arange(len(features)), gradients.picked)
    gradients.picks[gradients.count :] = rng.choice(rest, budget - gradients.count, replace=False)
    return gradients.picks


def _plainly(gradients, rng):
    """Float64 throughout; stops early where every weight is 0."""
    weights = np.full(len(gradients.squares), np.inf)
    while gradients.count < gradients.budget:
        last = slice(gradients.count - 1, gradients.count)
        for start in range(0, len(weights), _ROWS // 4):  # in float64, so a quarter of the rows
            rows = slice(start, start + _ROWS // 4)
            weights[rows] = np.minimum(weights[rows], gradients.distances(rows, last)[:, 0])
        weights[gradients.picked] = 0.0
        cumulative = np.cumsum(weights)
        if cumulative[-1] <= 0:
            return
        gradients.pick(int(_draw(cumulative, rng.random())))


def _by_rejection(gradients, rng):
    """Proposals by stale weights, accepted by true distances; stops early where every weight is 0."""
    weights = np.full(len(gradients.squares), np.inf)
    fresh, wasted, batch = 0, np.inf, 16
    while gradients.count < gradients.budget:
        # Work is counted in products of a row with a pick; the constants stand for what comes on top of them.
        if gradients.count > fresh and wasted >= len(weights) * (gradients.count - fresh + 16):
            gradients.refresh(weights, fresh)
            fresh, wasted = gradients.count, 0
        weights[gradients.picked] = 0.0
        cumulative = np.cumsum(weights)
        if cumulative[-1] <= 0:
            return
        before = gradients.count
        rows = _draw(cumulative, rng.random(batch))
        limits = rng.random(batch) * weights[rows]
        weights[rows] = distances = gradients.distances(rows, slice(0, before)).min(axis=1)
        # Those that stand against all picks so far are looked at in turn: a pick of this very batch may be nearer.
        alive = np.flatnonzero(limits < distances)
        rows, limits, distances = rows[alive], limits[alive], distances[alive]
        between = gradients.between(rows)
        for k in range(len(rows)):
            if limits[k] < distances[k] and gradients.count < gradients.budget:
                gradients.pick(rows[k])
                distances = np.minimum(distances, between[k])
        accepted = gradients.count - before
        wasted += (batch - accepted) * (2 * before + 400)
        batch = min(max(batch * 2 if 4 * accepted < batch else 64, 16), 512)


def _draw(cumulative, uniform):
    """Inverse CDF: the first index whose cumulative weight exceeds ``uniform * total``."""
    index = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
    return np.minimum(index, np.searchsorted(cumulative, cumulative[-1]))  # the product may round up to the total


class _Gradients:
    """Squared distances between gradient embeddings in factored form, and the picks so far.

    Features are in units of `scale`, a power of two, so that no square leaves float32's range.
    """

    def __init__(self, probabilities, features, budget):
        (n, dim), classes = features.shape, probabilities.shape[1]
        self.probabilities, self.features, self.budget = probabilities, features, budget
        self.scale = unit_scale(float(max(features.max(initial=0.0), -features.min(initial=0.0))))
        self.top = probabilities.argmax(axis=1)
        self.squares = np.empty(n)
        for start in range(0, n, _ROWS):
            rows = slice(start, start + _ROWS)
            u, h = self.factors(rows)
            self.squares[rows] = (u * u).sum(axis=1) * (h * h).sum(axis=1)
        # |error of 2<g1, g2>| <= 2 (C + D) u |g1||g2| <= (C + D) u (|g1|^2 + |g2|^2), and some for other roundings.
        self.slack = (classes + dim + 32) * 2.0**-24
        self.picks, self.count = np.empty(budget, dtype=np.int64), 0
        self.pick_u, self.pick_h = np.empty((budget, classes)), np.empty((budget, dim))

    @property
    def picked(self):
        return self.picks[: self.count]

    def pick(self, row):
        self.picks[self.count] = row
        (self.pick_u[self.count],), (self.pick_h[self.count],) = self.factors(slice(row, row + 1))
        self.count += 1

    def factors(self, rows):
        """u and h of some rows, in float64."""
        u = self.probabilities[rows].astype(np.float64)
        u[np.arange(len(u)), self.top[rows]] -= 1.0
        return u, self.features[rows] * np.float64(self.scale)

    def distances(self, rows, picks):
        """Squared distances from rows to a slice of the picks, float64 [rows, picks]."""
        u, h = self.factors(rows)
        picked = self.pick_u[picks], self.pick_h[picks], self.squares[self.picks[picks]]
        return _distances(u, h, self.squares[rows], *picked)

    def between(self, rows):
        """Squared distances among rows, float64 [rows, rows]."""
        u, h = self.factors(rows)
        return _distances(u, h, self.squares[rows], u, h, self.squares[rows])

    def refresh(self, weights, first):
        """Lower `weights` to upper bounds of the squared distances to the picks from `first` on, by float32 tiles."""
        picks = slice(first, self.count)
        u, h = (-2 * self.pick_u[picks]).astype(np.float32), self.pick_h[picks].astype(np.float32)
        squares = (self.squares[self.picked[picks], None] * (1 + self.slack)).astype(np.float32)
        for start in range(0, len(weights), _ROWS):
            rows = slice(start, start + _ROWS)
            own_u, own_h = (factor.astype(np.float32).T for factor in self.factors(rows))
            nearest = np.full(own_h.shape[1], np.inf, dtype=np.float32)
            for at in range(0, len(u), _PICKS):
                some = slice(at, at + _PICKS)
                product = h[some] @ own_h
                product *= u[some] @ own_u
                product += squares[some]
                np.minimum(nearest, product.min(axis=0), out=nearest)
            bound = nearest + self.squares[rows] * (1 + self.slack) + _TINY
            weights[rows] = np.minimum(weights[rows], bound)


def _distances(u1, h1, square1, u2, h2, square2):
    """``|u1 ⊗ h1 - u2 ⊗ h2|^2`` for all pairs, in float64."""
    sums = square1[:, None] + square2
    out = sums - 2 * (u1 @ u2.T) * (h1 @ h2.T)
    # Where nearly all cancels, from the differences instead: exactly 0 for equal rows, and never below.
    i, j = np.nonzero(out < 1e-6 * sums)
    for at in range(0, len(i), 1024):
        a, b = i[at : at + 1024], j[at : at + 1024]
        du, dh = u1[a] - u2[b], h1[a] - h2[b]
        near = (du * du).sum(axis=1) * (h1[a] ** 2).sum(axis=1) + (u2[b] ** 2).sum(axis=1) * (dh * dh).sum(axis=1)
        near += 2 * (du * u2[b]).sum(axis=1) * (dh * h1[a]).sum(axis=1)
        out[a, b] = np.maximum(near, 0.0)
    return out


class BADGE(Sided):
    """k-means++ on the gradients of the task learner's last layer.

    In the cloud, uploads all of ``D_S``, every cycle.
    """

    requires = ("logits", "features")
    pixels = False

    def pick(self, query: Query) -> Indices:
        from scipy.special import softmax

        probabilities = softmax(query.answers["logits"], axis=1)
        return query.safe[badge(probabilities, query.answers["features"], query.budget, query.stream)]

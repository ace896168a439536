"""Core-set selection: k-center greedy on penultimate features, exact and fast.

O. Sener and S. Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018.
"""

import math

import numpy as np

from pslcore.data import Indices
from pslcore.strategies.base import Query
from pslcore.strategies.checks import as_budget, as_matrix, unit_scale
from pslcore.strategies.sided import Sided

_ACTIVE = 64  # the least size of the active set
_ROWS, _CENTERS = 2048, 64  # tile of a refresh, so that it stays in cache
_COLUMNS = 1024  # centres looked at in one go when contenders are settled
_TINY = 1e-36  # squares that fall out of float32's range


def k_center_greedy(features, centers, budget: int) -> np.ndarray:
    """Pick rows farthest-first: each pick has the largest Euclidean distance to its nearest centre.

    Every labelled point is a centre from the start, every pick becomes one. Distances are compared by their
    squares in float64; ties go to the lower index. The result is that of brute force,
    ``((features[:, None] - centers) ** 2).sum(-1).min(1).argmax()`` repeated, on any machine and BLAS.

    Parameters
    ----------
    features : array or CPU tensor [N, D]
        One row per candidate.
    centers : array or CPU tensor [M, D]
        One row per labelled point. With ``M = 0`` the first pick is the row farthest from the mean of the
        candidates; it is the first centre.
    budget : int
        How many to pick, 0 to N.

    Returns
    -------
    int64 [budget]
        Row indices, distinct, in order of picking. Once every row left coincides with a centre, rows follow
        in ascending order.

    Raises
    ------
    ValueError
        Wrong shapes, values that are not finite, or a budget outside 0 to N.

    Notes
    -----
    The lazy greedy: a distance to the nearest centre only ever shrinks, so an old value is an upper bound.
    Each row carries an interval that is proven to hold its distance; cheap float32 products make the intervals,
    centred features keep them narrow. Only a small active set, the rows with the highest upper bounds, is kept
    up to date; a pick stands when its lower bound beats every other upper bound, fresh or stale. Where
    intervals overlap, the few contenders are settled in float64. Memory: float32 copies of the centres and of the
    active set; the features, which may lie on the disk, are centred tile by tile where they are needed.
    """
    features = as_matrix(features, "features")
    centers = as_matrix(centers, "centers", columns=features.shape[1])
    budget = as_budget(budget, len(features))
    if budget == 0:
        return np.empty(0, dtype=np.int64)
    return _Greedy(features, centers, budget).run()


class _Greedy:
    """Intervals around the squared distance to the nearest centre, and the greedy walk over them.

    `centers` holds the labelled points and then a copy of each pick, centred, in float32 and in units of `scale` (a
    power of two); of the candidates `points` gives the same, and only their squares are kept.
    """

    def __init__(self, features, labelled, budget):
        (n, dim), m = features.shape, len(labelled)
        self.features, self.labelled = features, labelled
        self.scale = unit_scale(float(max(max(a.max(), -a.min()) for a in (features, labelled) if a.size)))
        self.mean = features.mean(axis=0, dtype=np.float64)
        self.centers, self.center_squares = np.empty((m + budget, dim), dtype=np.float32), np.empty(m + budget)
        self.centers[:m], self.center_squares[:m] = self.centred(labelled), _squares(self.centred(labelled))
        self.squares = np.concatenate([_squares(self.centred(part)) for part in _tiles(features)])
        # |error of 2<x, c>| <= 2 D u |x||c| <= D u (|x|^2 + |c|^2); the rest is for roundings elsewhere.
        self.slack = (dim + 32) * 2.0**-24
        self.lower = np.full(n, np.inf)  # true only for rows whose `seen` is `count`
        self.upper = np.full(n, np.inf)  # true always; -inf once picked
        self.seen = np.zeros(n, dtype=np.int64)  # centres accounted for in the interval ...
        self.exact = np.full(n, np.inf)  # the float64 minimum over ...
        self.settled = np.zeros(n, dtype=np.int64)  # ... this many centres
        # Kept up to date at each pick, so small; refilled from all N, so not too small.
        self.capacity = max(_ACTIVE, 4 * math.isqrt(n))
        self.active = np.empty(0, dtype=np.int64)
        self.lo = self.hi = np.empty(0)
        self.picks = np.empty(budget, dtype=np.int64)
        self.count = m

    def run(self):
        first = len(self.labelled)
        end = first + len(self.picks)
        if first == 0:
            distances = [((part - self.mean) ** 2).sum(axis=1) for part in _tiles(self.features)]
            self.add(int(np.concatenate(distances).argmax()))
        self.refresh(np.arange(len(self.features)))
        self.refill()
        batch = 32
        while self.count < end:
            top, best = self.hi.max(), self.lo.max()
            if top <= self.outside:  # a row outside the active set may be as far
                self.refill()
                continue
            rivals = np.flatnonzero(self.hi >= best)
            open_ = rivals[self.lo[rivals] < self.hi[rivals]]
            if best <= self.outside or (len(rivals) > 1 and len(open_)):
                self.settle(open_[np.argsort(-self.hi[open_], kind="stable")[:batch]])
                batch = min(2 * batch, _COLUMNS)
                continue
            if top == 0:  # whatever is left coincides with a centre
                self.picks[self.count - first :] = np.flatnonzero(self.upper > -np.inf)[: end - self.count]
                break
            self.take(rivals[0])  # the rivals are equal by now, and sorted by index
            batch = 32
        return self.picks

    def centred(self, points):
        """Points as they came, made as `centers` are."""
        return ((points - self.mean) * self.scale).astype(np.float32, order="C")

    def points(self, rows):
        """Candidates, made as `centers` are."""
        return self.centred(self.features[rows])

    def add(self, row):
        """Make a row the next centre."""
        self.picks[self.count - len(self.labelled)] = row
        self.centers[self.count], self.center_squares[self.count] = self.points(row), self.squares[row]
        self.lower[row] = self.upper[row] = -np.inf
        self.count += 1

    def take(self, position):
        """Pick from the active set and bring the active set up to date."""
        row = self.active[position]
        self.add(row)
        self.lo[position] = self.hi[position] = -np.inf
        middle = self.block_squares + self.squares[row]
        spread = self.slack * middle + _TINY
        middle += self.block @ (-2 * self.centers[self.count - 1])
        np.minimum(self.lo, middle - spread, out=self.lo)
        np.minimum(self.hi, middle + spread, out=self.hi)

    def refill(self):
        """Put the active set's intervals back, then make the rows with the highest upper bounds active."""
        self.lower[self.active], self.upper[self.active] = self.lo, self.hi
        self.seen[self.active] = self.count
        cut = max(0, len(self.upper) - self.capacity)
        threshold = np.partition(self.upper, cut)[cut]
        chosen = (self.upper >= threshold) & (self.upper > -np.inf)  # ties come along: outside is strictly less
        self.outside = self.upper[~chosen].max(initial=-np.inf)
        self.active = np.flatnonzero(chosen)
        self.refresh(self.active[self.seen[self.active] < self.count])
        self.lo, self.hi = self.lower[self.active], self.upper[self.active]
        self.block, self.block_squares = self.points(self.active), self.squares[self.active]

    def refresh(self, rows):
        """Account for all centres in the intervals of `rows`: one product per tile, grouped by what is missing."""
        for first in np.unique(self.seen[rows]):
            group = rows[self.seen[rows] == first]
            for start in range(0, len(group), _ROWS):
                part = group[start : start + _ROWS]
                block = self.points(part).T
                low = np.full(len(part), np.inf, dtype=np.float32)
                high = low.copy()
                for at in range(first, self.count, _CENTERS):
                    new = slice(at, min(at + _CENTERS, self.count))
                    product = (-2 * self.centers[new]) @ block
                    square = self.center_squares[new, None]
                    product += (square * (1 - self.slack)).astype(np.float32)
                    np.minimum(low, product.min(axis=0), out=low)
                    product += (square * (2 * self.slack)).astype(np.float32)
                    np.minimum(high, product.min(axis=0), out=high)
                square = self.squares[part]
                self.lower[part] = np.minimum(self.lower[part], low + square * (1 - self.slack) - _TINY)
                self.upper[part] = np.minimum(self.upper[part], high + square * (1 + self.slack) + _TINY)
        self.seen[rows] = self.count

    def settle(self, positions):
        """Collapse the intervals of these active rows to the exact float64 distance."""
        rows = self.active[positions]
        for first in np.unique(self.settled[rows]):
            mine = self.settled[rows] == first
            self.measure(rows[mine], self.hi[positions[mine]], first)
        self.lo[positions] = self.hi[positions] = self.exact[rows]
        self.settled[rows] = self.count

    def measure(self, rows, upper, first):
        """Bring `exact` of `rows` up to date with the centres from `first` on."""
        exact = self.exact[rows]

        def look(i, j):  # at the pairs rows[i], centre j
            for at in range(0, len(i), 1024):
                a, b = i[at : at + 1024], j[at : at + 1024]
                gap = (self.features[rows[a]].astype(np.float64) - self.raw_centers(b)) * self.scale
                np.minimum.at(exact, a, (gap * gap).sum(axis=1))

        block, squares = -2 * self.points(rows), self.squares[rows, None] * (1 - self.slack) - _TINY
        for at in range(first, self.count, _COLUMNS):
            part = slice(at, min(at + _COLUMNS, self.count))
            lower = block @ self.centers[part].T + (squares + self.center_squares[part] * (1 - self.slack))
            # The likely nearest centre first, then those that may be nearer; none where the row coincides with one.
            look(np.arange(len(rows)), at + lower.argmin(axis=1))
            limit = np.where(exact > 0, np.minimum(exact, upper), -np.inf)
            i, j = np.nonzero(lower <= limit[:, None])
            look(i, at + j)
        self.exact[rows] = exact

    def raw_centers(self, j):
        """The centres as they came, in float64."""
        m = len(self.labelled)
        ours = j >= m
        out = np.empty((len(j), self.features.shape[1]))
        out[ours], out[~ours] = self.features[self.picks[j[ours] - m]], self.labelled[j[~ours]]
        return out


def _squares(points):
    return np.einsum("nd,nd->n", points, points, dtype=np.float64)


def _tiles(array):
    return (array[at : at + _ROWS] for at in range(0, len(array), _ROWS))


class CoreSet(Sided):
    """k-center greedy on the task learner's features, starting from all of ``D_L``.

    In the cloud, uploads all of ``D_S``, every cycle.
    """

    requires = ("features",)
    requires_labelled = ("features",)

    def pick(self, query: Query) -> Indices:
        picked = k_center_greedy(query.answers["features"], query.labelled_answers["features"], query.budget)
        return query.safe[picked]

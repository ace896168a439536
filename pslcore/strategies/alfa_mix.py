"""ALFA-Mix: images whose prediction flips when their features are mixed a little with those of labelled classes.

A. Parvaneh, E. Abbasnejad, D. Teney, G. R. Haffari, A. van den Hengel and J. Q. Shi, "Active Learning by Feature
Mixing", CVPR 2022. The closed form, with its zero coordinates, follows the authors' code,
github.com/AminParvaneh/alpha_mix_active_learning, there `calculate_optimum_alpha` and `find_candidate_set`.
"""

import math
import warnings
from numbers import Real

import numpy as np

from pslcore.data import Indices
from pslcore.strategies.base import Query
from pslcore.strategies.checks import as_array, as_budget, as_matrix
from pslcore.strategies.sided import Sided

_ROWS = 256  # rows handled in one go, so that they stay in cache
_BLOCK = 8192  # rows that are held in float64
_SAMPLE = 1 << 28  # bytes of normalised features that k-means is fitted to


def alfa_mix(
    features, labelled_features, labelled_labels, weight, bias, budget: int, seed, cap_step: float = 0.03125
) -> np.ndarray:
    """Pick among the images whose prediction flips, spread out by k-means.

    The cap on the mixing starts at `cap_step` and grows by it until there are more than `budget` candidates or it
    reaches 1. Candidates, their features normalised, are clustered into `budget` groups; the one nearest to each
    centre is picked (ties: the lower index). Where that leaves places, rows not yet picked fill them at random
    without replacement; with no more candidates than `budget`, all are picked first, in ascending order.

    *Decision*: of candidates whose features take more than 256 MiB, k-means is fitted to a random sample of that size;
    all of them are assigned to its centres.

    Parameters
    ----------
    features : array or CPU tensor [N, D]
        Penultimate features of the candidates, the inputs of the last layer.
    labelled_features : array or CPU tensor [M, D]
        The same of the labelled images.
    labelled_labels : array or CPU tensor of int [M]
        Their labels, 0 to C-1. A class without any labelled image has no anchor and is skipped (the authors' code
        takes the mean of all labelled images there).
    weight, bias : array or CPU tensor [C, D], [C]
        The last layer.
    budget : int
        How many to pick, 0 to N.
    seed : int or numpy.random.Generator
        The source of randomness, for k-means and for filling up.
    cap_step : float
        First cap and its growth.

    Returns
    -------
    int64 [budget]
        Row indices, distinct.

    Raises
    ------
    ValueError
        Wrong shapes, values that are not finite, labels outside 0 to C-1, a step below 1e-6, or a budget outside
        0 to N.
    """
    features = as_matrix(features, "features")
    budget = as_budget(budget, len(features))
    labelled = as_matrix(labelled_features, "labelled_features", columns=features.shape[1])
    weight = as_matrix(weight, "weight", columns=features.shape[1])
    anchors = class_anchors(labelled, labelled_labels, len(weight))
    chosen = np.flatnonzero(candidates(flip_caps(features, anchors, weight, bias), budget, cap_step))
    rng = np.random.default_rng(seed)
    if budget == 0:
        return np.empty(0, dtype=np.int64)
    if len(chosen) > budget:
        chosen = _representatives(features, chosen, budget, rng)
    rest = np.setdiff1d(np.arange(len(features)), chosen)
    return np.concatenate([chosen, rng.choice(rest, budget - len(chosen), replace=False)])


def class_anchors(labelled_features, labelled_labels, num_classes: int) -> np.ndarray:
    """The mean labelled feature of each class that has any: float64 [A, D], A <= `num_classes`, by class."""
    features = as_matrix(labelled_features, "labelled_features")
    labels = as_array(labelled_labels)
    if labels.shape != (len(features),):
        raise ValueError(f"labelled_labels has shape {labels.shape} for {len(features)} images: pass one label each.")
    span = f" from {labels.min()} to {labels.max()}" if labels.size and labels.dtype.kind in "iufb" else ""
    if labels.size and not (labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() < num_classes):
        mend = f"pass whole numbers from 0 to {num_classes - 1}, one per row of weight."
        raise ValueError(f"labelled_labels are {labels.dtype}{span}: {mend}")
    means = [features[labels == label].mean(axis=0, dtype=np.float64) for label in np.unique(labels)]
    return np.array(means).reshape(len(means), features.shape[1])


def flip_caps(features, anchors, weight, bias) -> np.ndarray:
    """The cap above which each prediction flips: the whole sweep over caps and anchors in one number a row.

    The mixed feature is ``e + eps |a - e| g / |g|`` on the coordinates where ``a != e`` (mixing cannot move the
    others), with ``eps = cap / sqrt(D)`` and `g` the gradient, at ``e``, of the cross-entropy between the logits
    and the predicted class. Logits are linear in ``eps``, so class k overtakes the predicted one at
    ``eps = margin_k / slope_k``, and once flipped a prediction stays flipped.

    Parameters
    ----------
    features : array or CPU tensor [N, D]
    anchors : array or CPU tensor [A, D]
    weight, bias : array or CPU tensor [C, D], [C]

    Returns
    -------
    float64 [N]
        The prediction flips, for at least one anchor, exactly at the caps greater than this; infinity where none
        flips it.

    Raises
    ------
    ValueError
        Wrong shapes or values that are not finite.
    """
    features = as_matrix(features, "features")
    n, dim = features.shape
    anchors = as_matrix(anchors, "anchors", columns=dim).astype(np.float64)
    weight = as_matrix(weight, "weight", columns=dim).astype(np.float64)
    bias = as_array(bias)
    if bias.shape != (len(weight),):
        raise ValueError(f"bias must have {len(weight)} values, one per row of weight, but has shape {bias.shape}.")
    bias = as_matrix(bias[:, None], "bias")[:, 0].astype(np.float64)
    caps = np.full(n, np.inf)
    if len(anchors) == 0 or len(weight) < 2:
        return caps
    # Where feature and anchor can be equal: where the anchor is 0, as a ReLU leaves it, and, rarely, where it is
    # another number that the features' type can hold (a mean in float64 seldom is).
    zeros = [np.flatnonzero(anchor == 0) for anchor in anchors]
    others = [np.flatnonzero((anchor != 0) & (anchor.astype(features.dtype) == anchor)) for anchor in anchors]
    for start in range(0, n, _ROWS):
        tile = slice(start, start + _ROWS)
        caps[tile] = _flip_tile(features[tile], anchors, zeros, others, weight, bias)
    return caps * math.sqrt(dim)


def candidates(caps, budget: int, cap_step: float = 0.03125) -> np.ndarray:
    """bool [N]: the rows that flip at the first cap (`cap_step`, then more by `cap_step`) with more than `budget`
    of them, or else at the first cap of at least 1."""
    if not isinstance(cap_step, Real) or not 1e-6 <= cap_step < math.inf:
        raise ValueError(f"cap_step is {cap_step!r}: pass a positive number, at least a millionth.")
    cap = 0.0
    while True:
        cap += cap_step
        flipped = np.asarray(caps) < cap
        if np.count_nonzero(flipped) > budget or cap >= 1:
            return flipped


def _flip_tile(features, anchors, zeros, others, weight, bias):
    """The least flipping eps of a tile of rows."""
    e, every = features.astype(np.float64), np.arange(len(features))
    logits = e @ weight.T + bias
    top = logits.argmax(axis=1)
    # Below the rounding of the logits a margin is a tie, which no rounding of a slope of 0 may break.
    rounding = 1e-13 * np.abs(logits).max(axis=1, keepdims=True) + 1e-300
    per_margin = 1 / np.maximum(logits[every, top, None] - logits, rounding)
    per_margin[every, top] = 0.0
    # g is proportional to sum_k p_k (w_k - w_top): from the others alone it survives a saturated softmax.
    logits[every, top] = -np.inf
    pull = np.exp(logits - logits.max(axis=1, keepdims=True))
    pull[every, top] = -pull.sum(axis=1)
    g = pull @ weight
    norm = np.sqrt((g * g).sum(axis=1, keepdims=True))
    g /= np.where(norm > 0, norm, 1.0)
    slopes = g @ weight.T
    slopes -= slopes[every, top, None]

    # Rates are in 1 / length: the prediction flips once eps |a - e| rate > 1.
    rates = np.repeat((slopes * per_margin).max(axis=1, keepdims=True), len(anchors), axis=1)
    columns, turned, e_turned = (np.ascontiguousarray(matrix.T) for matrix in (weight, g, e))
    at_zero = turned * (e_turned == 0)
    for k, (zero, other) in enumerate(zip(zeros, others, strict=True)):
        # Coordinates where anchor and feature are equal stand still: their part of the slope is taken back.
        same = e_turned[other] == anchors[k, other, None]
        elsewhere = same.any()
        if len(zero) or elsewhere:
            still = at_zero[zero].T @ columns[zero]
            if elsewhere:
                rows = np.flatnonzero(same.any(axis=0))
                still[rows] += (turned[np.ix_(other, rows)] * same[:, rows]).T @ columns[other]
            still -= still[every, top, None]
            np.subtract(slopes, still, out=still)
            still *= per_margin
            rates[:, k] = still.max(axis=1)
    rates *= _distances(e, anchors)
    fastest = rates.max(axis=1)
    return np.divide(1, fastest, out=np.full(len(fastest), np.inf), where=fastest > 0)


def _distances(e, anchors):
    sums = (e * e).sum(axis=1, keepdims=True) + (anchors * anchors).sum(axis=1)
    squares = sums - 2 * e @ anchors.T
    i, j = np.nonzero(squares < 1e-6 * sums)  # nearly all cancelled: from the difference instead
    squares[i, j] = ((e[i] - anchors[j]) ** 2).sum(axis=1)
    return np.sqrt(squares)


def _representatives(features, chosen, clusters, rng):
    """Of the rows `chosen` those nearest to the k-means centres of the normalised features, one a cluster."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    def unit(rows):
        part = features[rows]
        norms = np.sqrt(np.einsum("nd,nd->n", part, part, dtype=np.float64))
        return part / np.maximum(norms, 1e-12)[:, None].astype(part.dtype)

    cuts = range(_BLOCK, len(chosen), _BLOCK)
    parts = np.split(chosen, cuts)
    kmeans = KMeans(clusters, n_init=1, random_state=int(rng.integers(2**31)), copy_x=False)
    most = max(clusters, _SAMPLE // features[:1].nbytes)
    sample = parts if len(chosen) <= most else [np.sort(rng.choice(chosen, most, replace=False))]
    # One thread: several add up in whatever order they finish, and equal seeds could give different picks.
    warnings.filterwarnings("ignore", "Number of distinct clusters")  # the rest is filled up
    with threadpool_limits(1):
        labels = kmeans.fit(np.concatenate([unit(rows) for rows in sample])).labels_
        if sample is not parts:
            labels = np.concatenate([kmeans.predict(unit(rows)) for rows in parts])
    # The centres anew in float64: both rows of a pair are equally near, and rounding must not choose between them.
    pairs, centers = list(zip(parts, np.split(labels, cuts), strict=True)), np.zeros((clusters, features.shape[1]))
    for rows, own in pairs:
        for row, label in zip(unit(rows), own, strict=True):
            centers[label] += row
    centers /= np.maximum(np.bincount(labels, minlength=clusters), 1)[:, None]
    distances = np.concatenate([((unit(rows) - centers[own]) ** 2).sum(axis=1) for rows, own in pairs])
    order = np.lexsort((distances, labels))  # ties stay in the order of the rows
    return chosen[order[np.unique(labels[order], return_index=True)[1]]]


class ALFAMix(Sided):
    """Feature mixing with the task learner's features and last layer.

    In the cloud, uploads all of ``D_S``, every cycle.
    """

    requires = ("features",)
    requires_labelled = ("features",)
    requires_head = True
    pixels = False

    def pick(self, query: Query) -> Indices:
        features, labelled = query.answers["features"], query.labelled_answers["features"]
        assert query.head is not None
        return query.safe[alfa_mix(features, labelled, query.labels, *query.head, query.budget, query.stream)]

"""How many more answers until the task learner is right on nine pictures of ten: a learning curve, carried on.

From the answers there are, parts of several sizes are learned from, by ridge regression on the features, and tested on
the others that stand for the album. A power law with a floor, ``error = floor + a size^-b`` (Cortes et al. 1994), is
carried on from these; again for resampled answers, which gives the interval.
"""

import numpy as np

TARGET = 0.9
_SIZES, _PARTS, _RESAMPLED, _FEWEST = 6, 12, 200, 20
_POWERS = np.linspace(0.2, 1.6, 8)
_FURTHEST = 20
"""A curve is carried on to so many times the answers there are; what lies beyond counts as never."""


def forecast(
    vectors: np.ndarray, labels: np.ndarray, fair: np.ndarray, target: float = TARGET
) -> tuple[float, float, float] | None:
    """How many more answers, about: the middle, and the ends of a 95 % interval; infinite for never.

    Parameters
    ----------
    vectors : float array, [N, D]
        Of the answered pictures, each of mean 0 and deviation 1.
    labels : int array, [N]
    fair : bool array, [N]
        Which of them were drawn at random, and so stand for the album.
    target : float
        Part of the pictures that shall be answered right.

    Returns
    -------
    (float, float, float), or None where too few answers are there to tell
    """
    n = len(labels)
    if fair.sum() < _FEWEST or len(np.unique(labels)) < 2:
        return None
    rng = np.random.default_rng(0)
    kernel, truth = vectors @ vectors.T / vectors.shape[1], np.eye(labels.max() + 1)[labels]
    sizes = np.unique(np.geomspace(max(8, n / 8), 0.9 * n, _SIZES).astype(int))
    parts = min(_PARTS, max(2, 3000 // n))
    wrong, tested = np.zeros((2, len(sizes), parts, n))
    for row, size in enumerate(sizes):
        for column in range(parts):
            order = rng.permutation(n)
            part, rest = order[:size], order[size:][fair[order[size:]]]
            inner = kernel[np.ix_(part, part)] + 0.1 * np.eye(size)
            given = (kernel[np.ix_(rest, part)] @ np.linalg.solve(inner, truth[part])).argmax(1)
            wrong[row, column, rest] = given != labels[rest]
            tested[row, column, rest] = 1
    found = []
    for _ in range(_RESAMPLED):  # both the answers that test and the parts that are learned from
        answers = rng.multinomial(fair.sum(), fair / fair.sum())
        some = rng.multinomial(parts, np.full(parts, 1 / parts), len(sizes))
        errors, counts = ((some * (each @ answers)).sum(1) for each in (wrong, tested))
        found.append(_reached(sizes, errors / np.maximum(counts, 1), 1 - target, n))
    found.sort()
    middle, low, high = (found[int(part * (_RESAMPLED - 1))] for part in (0.5, 0.025, 0.975))
    return middle, low, high


def _reached(sizes: np.ndarray, errors: np.ndarray, wanted: float, n: int) -> float:
    """How many more than ``n`` answers bring the error down to what is wanted."""
    best, fit = np.inf, (0.0, 0.0, 1.0)
    for power in _POWERS:
        falling = sizes**-power
        slope = max(0.0, np.cov(falling, errors)[0, 1] / falling.var(ddof=1))
        floor = errors.mean() - slope * falling.mean()
        if floor < 0:
            floor, slope = 0.0, (falling @ errors) / (falling @ falling)
        off = ((floor + slope * falling - errors) ** 2).sum()
        if off < best:
            best, fit = off, (floor, slope, power)
    floor, slope, power = fit
    if floor + slope * n**-power <= wanted:
        return 0.0
    size = (slope / (wanted - floor)) ** (1 / power) if floor < wanted else np.inf
    return float(size - n) if size <= _FURTHEST * n else np.inf

"""The tests behind a verdict, for one claim or, vectorised, for thousands of simulated ones.

A comparison is a mean over paired seeds and the region that the claim wants it in. Where a scale has interim analyses
(``looks``), the error probability of 0.05 is split evenly (union bound): each tests at 0.05 over their number,
so that the chance that *any* of them finds what is not there is at most 0.05, however they depend on each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from psllab.analysis import statistics

SUPPORTED, CONTRADICTED, NEGLIGIBLE, INCONCLUSIVE, NOT_APPLICABLE, NOT_RUN = VERDICTS = (
    "supported", "contradicted", "no relevant difference", "inconclusive", "not applicable", "not run",
)  # fmt: skip
"""The words, here alone."""
MATTERS = 0.5
"""Smallest difference of interest, in percentage points of area (or of the metric at a cycle)."""
LEARNED = 5.0
"""Points above one class's share that the best curve of an experiment must end at, or nothing was learned."""


@dataclass(frozen=True)
class Region:
    """Where a claim wants the mean of every comparison.

    Attributes
    ----------
    low, high : float
        Its ends; ``high`` is infinite for a direction ("above").
    matters : float
        A mean within so much of 0 is no relevant difference; 0 for claims that have no such verdict. Where ``high`` is
        finite that is said only of what is neither inside nor outside.
    interim : int
        Interim analyses that share the error probability.
    """

    low: float = 0.0
    high: float = np.inf
    matters: float = 0.0
    interim: int = 1


def summary(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and number of seeds along the last axis; NaN where there is nothing to judge by.

    That is: fewer than two seeds, a value that is no number, or the same value in all seeds.
    """
    n = np.full(values.shape[:-1], values.shape[-1])
    if values.shape[-1] < 2:
        return np.full(n.shape, np.nan), np.full(n.shape, np.nan), n
    with np.errstate(invalid="ignore"):
        mean, sd = values.mean(-1), values.std(-1, ddof=1)
        told = np.isfinite(mean) & np.isfinite(sd) & (np.ptp(values, axis=-1) >= 1e-9)
    return np.where(told, mean, np.nan), np.where(told, sd, np.nan), n


def chances(
    mean: ArrayLike, sd: ArrayLike, n: ArrayLike, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """One-sided p of the mean being inside the region, and outside; 1 where a mean is no number. Shapes broadcast."""
    mean, sd, n = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (mean, sd, n)))

    def above(bound: float) -> np.ndarray:
        if np.isinf(bound):
            return np.full(mean.shape, float(bound > 0))
        return stdtr(n - 1, (bound - mean) / (sd / np.sqrt(n)))  # Student's t

    inside, outside = np.maximum(above(low), 1 - above(high)), np.minimum(1 - above(low), above(high))
    nothing = np.isnan(mean) | np.isnan(sd)
    return np.where(nothing, 1.0, inside), np.where(nothing, 1.0, outside)


def decide(
    mean: ArrayLike, sd: ArrayLike, n: ArrayLike, region: Region
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Which comparisons lie inside the region, wholly outside, and within what matters.

    Parameters
    ----------
    mean, sd, n : [..., C]
        Of the C comparisons of a claim, which are corrected for their number: by Holm inside and outside, by Bonferroni
        within what matters (so that a shift up of all values never turns a verdict down).
    region : Region

    Returns
    -------
    three bool arrays, [..., C]
    """
    level = (1 - statistics.CONFIDENCE) / 2 / region.interim
    inside, outside = chances(mean, sd, n, region.low, region.high)
    within, beyond = (statistics.holm(p) < level for p in (inside, outside))
    if not region.matters:
        return within, beyond, np.zeros(inside.shape, dtype=bool)
    negligible = chances(mean, sd, n, -region.matters, region.matters)[0] * inside.shape[-1] < level
    return within, beyond, negligible if np.isinf(region.high) else negligible & ~within & ~beyond


def verdict(inside: np.ndarray, outside: np.ndarray, negligible: np.ndarray, whole: bool = True) -> np.ndarray:
    """The verdict on each claim, [...], from what ``decide`` found; not ``whole`` where a comparison is missing.

    One comparison that lies outside by more than nothing contradicts. A claim is supported if all lie inside. Where
    each lies inside or makes no relevant difference, and one at least makes none, there is no relevant difference.
    """
    refuted = (outside & ~negligible).any(-1)
    settled = (inside | negligible).all(-1) & whole
    return np.select(
        [refuted, settled & negligible.any(-1), settled], [CONTRADICTED, NEGLIGIBLE, SUPPORTED], INCONCLUSIVE
    )

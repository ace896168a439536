"""Statistics of comparisons: areas, intervals, paired tests, wins, overlaps. From tables and sets alone.

A ``table`` has one row a cycle: ``method``, ``seed``, ``labelled``, ``metric``; the seeds of all methods are paired
(same pools, same first weights). Lüth et al. 2023, Munjal et al. 2022 and Ji et al. 2023 say why each of these.
"""

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from pslcore.runs import Record

CONFIDENCE = 0.95


def area(metrics: ArrayLike, labelled: ArrayLike) -> float:
    """Area under a budget curve by trapezoids, over the width of the budget axis: 0 to 1.

    It is the mean height of the curve, so it is read like the metric itself; the first and the last budget count half.
    ``labelled`` rises; of a single budget it is the metric there.
    """
    heights, places = np.asarray(metrics, dtype=float), np.asarray(labelled)
    width = places[-1] - places[0]
    return float(np.trapezoid(heights, places) / width if width else heights[0])


def area_of(record: Record) -> float:
    """The ``area`` under the budget curve of one run."""
    return area(*([entry[name] for entry in record["cycles"]] for name in ("metric", "labelled")))


def areas(table: pd.DataFrame) -> pd.Series:
    """The ``area`` under the budget curve of each (method, seed)."""
    curves = table.groupby(["method", "seed"], sort=False).ngroup().to_numpy()
    order = np.lexsort((table["labelled"], curves))
    metric, labelled = (table[name].to_numpy() for name in ("metric", "labelled"))
    each = np.split(order, np.flatnonzero(np.diff(curves[order])) + 1)
    under = [area(metric[rows], labelled[rows]) for rows in each if len(rows)]
    return pd.Series(under, pd.MultiIndex.from_frame(table[["method", "seed"]].drop_duplicates()), dtype=float)


def interval(values: ArrayLike, interim: int = 1) -> float:
    """Half the width of the 95 % interval of a mean (Student's t); NaN for fewer than two, or if one is no number.

    Of one of several ``interim`` analyses, which share the 5 %, it is wider: of three 98.3 %.
    """
    sample = np.asarray(values, dtype=float)
    if len(sample) < 2 or not np.isfinite(sample).all():
        return float("nan")
    quantile = stdtrit(len(sample) - 1, 1 - (1 - CONFIDENCE) / 2 / interim)
    return float(quantile * sample.std(ddof=1) / np.sqrt(len(sample)))


def paired_p(differences: ArrayLike) -> float:
    """Two-sided p of the paired t-test on differences: 1 where all are 0, NaN for fewer than two."""
    sample = np.asarray(differences, dtype=float)
    if len(sample) < 2:
        return float("nan")
    if np.ptp(sample) == 0:
        return 1.0 if sample[0] == 0 else 0.0
    n, mean = len(sample), sample.mean()
    variance = np.mean((sample - mean) ** 2) * (n / (n - 1))
    with np.errstate(divide="ignore"):  # nearly the same: that is no news
        return float(2 * stdtr(n - 1, -abs(mean / np.sqrt(variance / n))))  # as scipy.stats, a second to import


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values corrected for their number (Holm 1979): each is compared as if it were the only one. NaN stays NaN.

    Families stand along the last axis, [..., C].
    """
    given = np.asarray(p_values, dtype=float)
    order = np.argsort(given, axis=-1, kind="stable")  # NaN last
    factors = (~np.isnan(given)).sum(-1, keepdims=True) - np.arange(given.shape[-1])
    rising = np.minimum(1, np.maximum.accumulate(factors * np.take_along_axis(given, order, -1), axis=-1))
    corrected = np.empty_like(given)
    np.put_along_axis(corrected, order, rising, -1)
    return corrected


def jackknife(statistic: Callable[[np.ndarray], float], rows: np.ndarray) -> np.ndarray:
    """Tukey's pseudo-values, one a seed (row), of a statistic that no single seed has; NaN where it has no value."""
    n = len(rows)
    with np.errstate(all="ignore"):
        rest = [statistic(np.delete(rows, number, axis=0)) if n > 1 else np.nan for number in range(n)]
        return n * statistic(rows) - (n - 1) * np.array(rest)


def against(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """One method against each other one, by the areas under the curve of the seeds that both have.

    Returns
    -------
    DataFrame
        ``other``, ``difference`` (mean of ``method`` minus ``other``), ``half`` (of its 95 % interval), ``seeds``,
        ``p`` (paired t-test), ``p_holm`` (corrected for the number of rows).
    """
    area = areas(table).unstack("method")
    rows = []
    for other in area.columns.drop(method):
        differences = (area[method] - area[other]).dropna()
        rows.append((other, differences.mean(), interval(differences), len(differences), paired_p(differences)))
    result = pd.DataFrame(rows, columns=["other", "difference", "half", "seeds", "p"])
    return result.assign(p_holm=holm(result["p"]))


def leads(table: pd.DataFrame, method: str) -> dict[str, pd.DataFrame]:
    """Each other method minus this one at every budget, in points, over the seeds that both have.

    Returns
    -------
    dict of DataFrame
        By method, indexed by ``labelled``: ``mean``, ``half`` (of its 95 % interval, for itself; NaN for one seed),
        ``seeds``. A method that shares no seed is not there.
    """
    found = {}
    scores = table.pivot(index=["labelled", "seed"], columns="method", values="metric")
    for other in dict.fromkeys(table["method"]):
        ahead = (100 * (scores[other] - scores[method])).dropna()
        if other != method and len(ahead):
            budgets = ahead.groupby("labelled")
            found[other] = pd.DataFrame(
                {"mean": budgets.mean(), "half": budgets.agg(interval), "seeds": budgets.size()}
            )
    return found


def wins(table: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """The pairwise win matrix: **the row beats the column** in so many parts (0 to 1) of the budgets.

    A win is a mean difference above 0 whose paired t-test over the seeds, at that budget, has p < ``level``
    (uncorrected, as in Ash et al. 2020). The first budget, which all share, does not count. The diagonal is NaN.
    """
    budgets = sorted(table["labelled"].unique())[1:]
    methods = list(dict.fromkeys(table["method"]))
    matrix = pd.DataFrame(0.0, index=methods, columns=methods)
    for budget in budgets:
        scores = table[table["labelled"] == budget].pivot(index="seed", columns="method", values="metric")
        scores = scores.reindex(columns=methods)  # a method that has no run there cannot win
        for one, other in combinations(methods, 2):
            differences = (scores[one] - scores[other]).dropna()
            if paired_p(differences) < level:
                winner, loser = (one, other) if differences.mean() > 0 else (other, one)
                matrix.loc[winner, loser] += 1 / len(budgets)
    return matrix.mask(np.eye(len(methods), dtype=bool))


def overlap(labelled: Mapping[str, Mapping[int, set[int]]]) -> pd.DataFrame:
    """Shared part of the final labels of every two methods, mean over the seeds both have; symmetric, 1 with itself.

    ``labelled`` maps a method to its final set of labelled images for each seed.
    """
    methods = list(labelled)
    matrix = pd.DataFrame(np.eye(len(methods)), index=methods, columns=methods)
    for one, other in combinations(methods, 2):
        seeds = set(labelled[one]) & set(labelled[other])
        parts = [len(labelled[one][s] & labelled[other][s]) / len(labelled[one][s]) for s in seeds]
        matrix.loc[one, other] = matrix.loc[other, one] = np.mean(parts) if parts else np.nan
    return matrix


def overlap_by_chance(initial: int, picked: int, pool: int) -> float:
    """Expected shared part of the final labels of two random methods that start from the same ``initial`` images.

    Each picks ``picked`` out of the same ``pool``: they share ``picked² / pool`` of their picks on average. With the
    protected setting of CIFAR (500, 2,500 of 4,500) that is 63 %.
    """
    return (initial + picked**2 / pool) / (initial + picked)

"""What a comparison rests on: areas, intervals, tests, wins, overlaps."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from psllab.analysis.statistics import (
    against,
    areas,
    holm,
    interval,
    jackknife,
    overlap,
    overlap_by_chance,
    paired_p,
    wins,
)

numbers = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))


def table(curves, budgets=None):
    """Of ``{method: metrics [seeds, budgets]}``."""
    rows = []
    for method, seeds in curves.items():
        for seed, metrics in enumerate(np.atleast_2d(seeds)):
            at = budgets or [10 * (number + 1) for number in range(len(metrics))]
            rows += [(method, seed, labelled, metric) for labelled, metric in zip(at, metrics, strict=True)]
    return pd.DataFrame(rows, columns=["method", "seed", "labelled", "metric"])


# Areas and intervals


def test_areas_by_hand():
    made = areas(table({"A": [[0.2, 0.4, 0.6], [0.2, 0.2, 0.8]], "B": [[0, 1, 0], [1, 0, 1]]}, [100, 200, 400]))
    # (100 * 0.3 + 200 * 0.5) / 300; (100 * 0.2 + 200 * 0.5) / 300; halves of the width each
    assert made.to_dict() == pytest.approx({("A", 0): 13 / 30, ("A", 1): 0.4, ("B", 0): 0.5, ("B", 1): 0.5})
    assert list(made.index.get_level_values("method").unique()) == ["A", "B"]


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(1, 10_000), numbers), min_size=1, max_size=8, unique_by=lambda point: point[0]),
    st.randoms(use_true_random=False),
)
def test_areas_are_read_like_the_metric(points, random):
    random.shuffle(points)
    budgets, metrics = (list(column) for column in zip(*points, strict=True))

    def area(metrics):
        return areas(table({"A": [metrics]}, budgets))["A", 0]

    assert min(metrics) - 1e-9 <= area(metrics) <= max(metrics) + 1e-9
    assert area([7.0] * len(points)) == pytest.approx(7)
    assert area(budgets) == pytest.approx((min(budgets) + max(budgets)) / 2)  # a straight line
    assert area([3 * metric + 1 for metric in metrics]) == pytest.approx(3 * area(metrics) + 1, abs=1e-6)
    order = np.argsort(budgets)
    in_order = areas(table({"A": [np.array(metrics)[order]]}, sorted(budgets)))["A", 0]
    assert area(metrics) == pytest.approx(in_order)


@given(st.lists(numbers, min_size=2, max_size=9))
def test_interval_is_that_of_scipy(values):
    error = stats.sem(values)
    reference = stats.t.interval(0.95, len(values) - 1, 0, error)[1] if error > 0 else 0
    assert interval(values) == pytest.approx(reference, abs=1e-12)


def test_interval_needs_two():
    assert np.isnan(interval([]))
    assert np.isnan(interval([1.0]))
    assert interval(pd.Series([1.0, 3.0])) == pytest.approx(12.706, abs=1e-3)


# Tests


def test_paired_p_at_its_edges():
    assert paired_p([0.0, 0.0, 0.0]) == 1
    assert paired_p([0.5, 0.5]) == 0
    assert np.isnan(paired_p([0.5]))
    assert np.isnan(paired_p([]))
    one, other = np.random.default_rng(0).normal(size=(2, 6))
    assert paired_p(one - other) == pytest.approx(stats.ttest_rel(one, other).pvalue)


@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=8), st.floats(0.001, 0.999))
def test_holm_is_the_step_down_procedure(p_values, level):
    corrected = holm(p_values)
    assert len(corrected) == len(p_values)
    known = [number for number, p in enumerate(p_values) if p == p]
    assert np.isnan(corrected).tolist() == [p != p for p in p_values]
    rejected = set()  # Holm 1979, as it stands: from the smallest on, until one is not small enough
    for step, number in enumerate(sorted(known, key=lambda number: p_values[number])):
        if (len(known) - step) * p_values[number] > level:
            break
        rejected.add(number)
    assert {number for number in known if corrected[number] <= level} == rejected
    assert all(p_values[number] <= corrected[number] <= 1 for number in known)
    order = sorted(known, key=lambda number: p_values[number])
    assert corrected[order].tolist() == sorted(corrected[order])


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, np.nan, 0.03, 0.6]), [0.04, 0.09, np.nan, 0.09, 0.6])
    assert holm([0.7, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []


def test_the_jackknife_of_a_mean_is_the_sample():
    values = np.array([[1.0], [4.0], [2.5]])
    np.testing.assert_allclose(jackknife(lambda rows: rows.mean(), values), values[:, 0])
    assert np.isnan(jackknife(lambda rows: rows.mean(), values[:1])).all()


def noisy(n_seeds=5, gain=0.0, seed=0, shared=0.1, own=0.003):
    """Two methods whose seeds share far more noise than the methods differ by."""
    rng = np.random.default_rng(seed)
    curve = np.array([0.3, 0.5, 0.6, 0.65]) + rng.normal(0, shared, (n_seeds, 1))
    return {
        "A": curve + gain * np.array([0, 1, 1, 1]) + rng.normal(0, own, curve.shape),
        "B": curve + rng.normal(0, own, curve.shape),
    }


def test_against_finds_a_difference_that_only_pairing_shows():
    curves = noisy(gain=0.02)
    row = against(table(curves), "A").iloc[0]
    one, other = (areas(table(curves))[method] for method in "AB")
    assert row["other"] == "B"
    assert row["seeds"] == 5
    assert row["difference"] == pytest.approx((one - other).mean())
    assert row["half"] == pytest.approx(interval(one - other))
    assert row["p"] == row["p_holm"] == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert row["difference"] - row["half"] > 0
    assert row["p"] < 0.01
    assert stats.ttest_ind(one, other).pvalue > 0.5  # the same numbers, unpaired


@pytest.mark.slow
def test_against_finds_nothing_where_there_is_nothing():
    p = [against(table(noisy(seed=seed)), "A")["p"][0] for seed in range(200)]
    assert 2 <= sum(value < 0.05 for value in p) <= 20  # 10 expected
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_against_is_antisymmetric_and_corrects_for_the_number_of_rows():
    rng = np.random.default_rng(3)
    curves = {name: rng.normal(0.5 + 0.02 * number, 0.03, (6, 4)) for number, name in enumerate("ABCD")}
    rows = {name: against(table(curves), name).set_index("other") for name in curves}
    assert list(rows["B"].index) == ["A", "C", "D"]
    for one in curves:
        np.testing.assert_allclose(rows[one]["p_holm"], holm(rows[one]["p"]))
        for other in rows[one].index:
            assert rows[one].loc[other, "difference"] == pytest.approx(-rows[other].loc[one, "difference"])
            assert rows[one].loc[other, "p"] == pytest.approx(rows[other].loc[one, "p"])


def test_against_compares_the_seeds_that_both_have():
    made = table({"A": np.full((3, 2), 0.5), "B": np.full((3, 2), 0.4), "C": np.full((1, 2), 0.9)})
    made = made[(made["method"] != "B") | (made["seed"] != 1)]
    rows = against(made, "A").set_index("other")
    assert rows["seeds"].to_dict() == {"B": 2, "C": 1}
    assert rows["difference"].to_dict() == pytest.approx({"B": 0.1, "C": -0.4})
    assert np.isnan(rows.loc["C", ["half", "p", "p_holm"]].astype(float)).all()
    assert rows.loc["B", "p_holm"] == rows.loc["B", "p"]  # what cannot be tested is not counted


def test_against_with_a_single_method():
    assert against(table({"A": [[0.1, 0.2]]}), "A").empty


# Wins


def test_the_row_beats_the_column():
    rng = np.random.default_rng(0)
    low = rng.normal(0.4, 0.01, (5, 4))
    matrix = wins(table({"loser": low, "winner": low + 0.1 + rng.normal(0, 0.001, low.shape)}))
    assert matrix.loc["winner", "loser"] == pytest.approx(1)
    assert matrix.loc["loser", "winner"] == 0
    assert np.isnan(np.diag(matrix)).all()
    assert list(matrix.index) == list(matrix.columns) == ["loser", "winner"]


def test_each_budget_but_the_first_counts_alone():
    """A is ahead at the first and third budget, B at the fourth; at the others nobody, or not by enough."""
    noise = np.random.default_rng(1).normal(0, 0.001, (6, 5))
    ahead = np.array([0.1, 0, 0.1, -0.1, 0.0001])
    base = np.random.default_rng(2).normal(0.5, 0.05, (6, 1)) + np.zeros(5)
    noise[:, 1] = 0  # exactly equal
    matrix = wins(table({"A": base + ahead + noise, "B": base}))
    assert matrix.loc["A", "B"] == matrix.loc["B", "A"] == pytest.approx(1 / 4)


def test_wins_where_nothing_can_be_told():
    assert wins(table({"A": [[0.1, 0.9]], "B": [[0.1, 0.2]]})).loc["A", "B"] == 0  # one seed
    assert wins(table({"A": [[0.9], [0.8]], "B": [[0.1], [0.2]]})).loc["A", "B"] == 0  # the start alone
    steady = table({"A": np.full((2, 2), 0.5), "B": np.full((2, 2), 0.25)})
    assert wins(steady).loc["A", "B"] == 1  # no variance at all
    random = {name: np.random.default_rng(ord(name)).normal(0.5, 0.1, (5, 100)) for name in "AB"}
    assert 0 < wins(table(random)).sum().sum() < 0.15
    assert wins(table(random), level=0.5).sum().sum() == pytest.approx(0.5, abs=0.15)


# Overlaps


def test_overlap_by_hand():
    matrix = overlap({
        "A": {0: {1, 2, 3, 4}, 1: {1, 2, 3, 4}},
        "B": {0: {1, 2, 5, 6}, 1: {1, 2, 3, 5}, 2: {7, 8, 9, 10}},
        "C": {3: {1, 2, 3, 4}},
    })  # fmt: skip
    assert matrix.loc["A", "B"] == matrix.loc["B", "A"] == pytest.approx((0.5 + 0.75) / 2)
    assert np.diag(matrix).tolist() == [1, 1, 1]
    assert matrix.loc[["A", "B"], "C"].isna().all()
    assert matrix.loc["C", ["A", "B"]].isna().all()


def test_overlap_by_chance():
    assert overlap_by_chance(500, 2500, 4500) == pytest.approx(0.63, abs=0.0005)
    assert overlap_by_chance(500, 4500, 4500) == 1  # all of it
    rng = np.random.default_rng(0)
    initial, picked, pool = 5, 20, 45

    def final():
        return {
            seed: set(range(initial)) | {initial + image for image in rng.permutation(pool)[:picked].tolist()}
            for seed in range(2000)
        }

    simulated = overlap({"one": final(), "other": final()}).loc["one", "other"]
    assert simulated == pytest.approx(overlap_by_chance(initial, picked, pool), abs=0.005)


def test_p_values_and_intervals_are_those_of_scipy():
    draws = np.random.default_rng(0)
    for n in (2, 3, 10, 200):
        sample = draws.normal(0.2, 1, n)
        assert paired_p(sample) == stats.ttest_1samp(sample, 0.0).pvalue
        half = stats.t.interval(0.95, n - 1)[1] * stats.sem(sample)
        assert interval(sample) == pytest.approx(half, rel=1e-12)

"""What all pictures share."""

import html

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psllab.analysis import statistics, style

BUDGETS = [10, 14, 18]


def table(curves):
    return pd.DataFrame(
        {"method": method, "seed": seed, "labelled": budget, "metric": metric}
        for method, runs in curves.items() for seed, run in enumerate(runs)
        for budget, metric in zip(BUDGETS, run, strict=True)
    )  # fmt: skip


@given(st.text())
def test_a_name_is_text_for_plotly(name):
    shown = style.text(name)
    assert "<" not in shown
    assert "%{" not in shown
    read = html.unescape(shown)
    assert len(read) <= style.LONGEST
    assert read == name or read == f"{name[: style.LONGEST - 1]}…"


def test_bars_stand_apart_and_know_their_place():
    points = {name: pd.DataFrame({"mean": [1.0, 2.0], "half": [0.5, np.nan]}, index=[10, 14]) for name in "abc"}
    figure = style.lines(points, "%{y}")
    assert [list(trace.customdata) for trace in figure.data] == [[10, 14]] * 3
    places = np.array([trace.x for trace in figure.data])
    assert len(np.unique(places[:, 0])) == 3
    np.testing.assert_allclose(places.mean(0), [10, 14])
    assert np.abs(places - [10, 14]).max() <= 4 * style.APART * 2
    assert list(figure.data[0].error_y.array) == [0.5, 0]
    assert list(figure.layout.xaxis.tickvals) == [10, 14]


def test_eight_lines_never_cross_into_the_next_budget():
    points = {str(n): pd.DataFrame({"mean": [1.0, 2.0], "half": [0.5, 0.5]}, index=[10, 14]) for n in range(8)}
    places = np.array([trace.x for trace in style.lines(points, "").data])
    assert places[:, 0].max() < 12 < places[:, 1].min()


def test_differences_are_paired_seed_by_seed():
    # both methods rise and fall together from seed to seed; what is between them hardly does
    curves = {"PSL": [[0.3, 0.5, 0.7], [0.5, 0.71, 0.9]], "Random": [[0.3, 0.4, 0.5], [0.5, 0.6, 0.7]]}
    figure = style.differences(table(curves), "Random", "fig0", "accuracy")
    psl, random = figure.data
    np.testing.assert_allclose(psl.y, [0, 10.5, 20])
    half = statistics.interval([10.0, 11.0])
    np.testing.assert_allclose(psl.error_y.array, [0, half, 0], atol=1e-9)
    assert list(random.y) == [0, 0, 0]
    assert "difference to Random, paired" in figure.layout.title.text
    assert "2 seeds" in figure.layout.title.text
    assert "PSL from +0.0 to +20.0" in figure.layout.meta["alt"]


def test_only_shared_seeds_make_a_difference():
    curves = {"PSL": [[0.3, 0.5, 0.7], [0.9, 0.9, 0.9]], "Random": [[0.3, 0.4, 0.5]], "Entropy": [[0.3, 0.4, 0.6]]}
    leads = statistics.leads(table(curves), "Random")
    assert list(leads) == ["PSL", "Entropy"]
    assert leads["PSL"]["seeds"].tolist() == [1, 1, 1]
    assert leads["PSL"]["mean"].tolist() == pytest.approx([0, 10, 20])
    assert leads["PSL"]["half"].isna().all()


def test_where_there_is_one_method_or_another_name():
    assert style.differences(table({"PSL": [[0.3, 0.5, 0.7]]}), "Random", "", "accuracy") is None
    figure = style.differences(
        table({"2 peers": [[0.3, 0.5, 0.7]], "3 peers": [[0.3, 0.5, 0.8]]}), "Random", "", "accuracy"
    )
    assert "difference to 2 peers" in figure.layout.title.text

"""Fig. 6: what wrong labels take away at the last budget."""

import pandas as pd
import plotly.graph_objects as go

from psllab.analysis import figures, style
from psllab.grid import Results


def curves(all_results: list[Results]) -> go.Figure:
    """Fig. 6 at one glance: the metric at the last budget against the part of wrong labels that was asked for.

    Mean and standard deviation, of the methods that every rate was run with.
    """
    points, first = _ends(all_results), all_results[0].runs[0][1]
    title = figures.heading(all_results[0]).replace(all_results[0].experiment, "noise", 1)
    title += f": {first['metric']} at {points['labelled'].iloc[0]:,} labels, mean ± standard deviation"
    shown = figures.means(points, "noise")
    return style.lines(shown, "%{y:.1f} % with %{customdata} % noise").update_layout(
        title_text=title,
        xaxis={"title": "labels that are wrong (%)"},
        yaxis={"title": f"{first['metric']} on the test set (%)"},
        meta={"alt": f"{title}; from the least noise to the most: {style.format_ends(shown, ' %')}."},
    )


def table(all_results: list[Results]) -> pd.DataFrame:
    """The same with 95 % intervals: a row a method, a column a rate."""
    metric = 100 * _ends(all_results).reset_index().set_index(["method", "noise"])["metric"]
    told = metric.groupby(level=[0, 1], sort=False).agg(figures.format_mean)
    return told.unstack().rename(columns="{:.0f} % wrong".format).rename_axis(None, axis=1).reset_index()


def _ends(all_results: list[Results]) -> pd.DataFrame:
    """The last cycle of every run with its rate of ``noise`` (%), of the methods that every rate was run with."""
    last_cycles = (figures.frame(results).groupby(["method", "seed"], sort=False).last() for results in all_results)
    rates = [100 * results.runs[0][0].config.noise for results in all_results]
    points = pd.concat(rows.assign(noise=rate) for rows, rate in zip(last_cycles, rates, strict=True))
    return points[points.groupby("method")["noise"].transform("nunique") == points["noise"].nunique()]

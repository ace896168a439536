"""Two reference lines of a comparison: all safe images labelled, and the headroom that leaves to any choice."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from psllab.analysis import exhibit, figures, statistics
from psllab.grid import CEILING, Results

BASELINE = "Random"


def ceiling(results: Results) -> pd.Series:
    """The metric (0 to 1) by seed of the runs on all safe images; empty where there is none."""
    found = {cell.config.seed: record["cycles"][-1]["metric"] for cell, record in results.runs if cell.label == CEILING}
    return pd.Series(found, dtype=float)


def headroom(results: Results) -> pd.DataFrame:
    """What there is to gain by choice at the last budget, and each method's share of it; empty without a ceiling.

    Headroom is the ceiling minus Random, seed by seed: what all of the pool is worth, though a well chosen part may
    come out as good or a little better. A share is the mean lead over Random as a part of the mean headroom, over the
    seeds that all three have; below 0 is below Random. It is given at the last budget alone: at the others, and in
    area, a ceiling of 5,000 labels for 500 would be no bound that anything could come near to. Where the paper reports
    a lead over Random that is larger than the headroom here, the row of the headroom says so.
    """
    top, table = ceiling(results), figures.frame(results)
    last = table[table["labelled"] == table["labelled"].max()]
    metric = last.pivot(index="seed", columns="method", values="metric").reindex(columns=table["method"].unique())
    if top.empty or BASELINE not in metric:
        return pd.DataFrame()
    name, rows = results.runs[0][1]["metric"], []
    budget, lead = f"{name} at {table['labelled'].max():,} labels (%)", f"lead over {BASELINE} (points, 95 % interval)"

    def row(label: str, level: pd.Series, note: str = "") -> None:
        three = pd.concat([level, metric[BASELINE], top], axis=1, join="inner").dropna().to_numpy() * 100
        ahead, room = three[:, 0] - three[:, 1], three[:, 2] - three[:, 1]
        share = 100 * ahead.mean() / room.mean() if len(three) and room.mean() > 0 else np.nan
        gain = figures.format_interval(ahead.mean(), statistics.interval(ahead), "+") if len(three) else "–"
        shown = figures.format_number(three[:, 0].mean()) if len(three) else "–"
        rows.append((label, len(three), shown, gain, figures.format_number(share, 0), note))

    row(CEILING, top, "the whole pool, of which any choice is a part")
    rooms = 100 * (top - metric[BASELINE]).dropna()
    paper = exhibit.paper_lead(results.experiment)
    note = f"{CEILING} minus {BASELINE}"
    if paper is not None and len(rooms) and rooms.mean() < paper:
        note += f"; smaller than the lead of {paper} points that the paper reports"
    room = figures.format_interval(rooms.mean(), statistics.interval(rooms), "+") if len(rooms) else "–"
    rows.append(("headroom", len(rooms), "–", room, "100" if len(rooms) else "–", note))
    for method in metric.columns:
        row(method, metric[method], "not in the paper" if extra(method) else "")
    return pd.DataFrame(rows, columns=["method", "seeds", budget, lead, "share of the headroom (%)", "note"])


def extra(label: str) -> bool:
    """Whether a curve beside those of the paper's figure is ours: a rival from a library, a variant of a method."""
    return label.endswith(("(rival)", ", detached"))


def draw(figure: go.Figure, results: Results) -> go.Figure:
    """Put the ceiling into a picture of budget curves, as a line across; the figure itself where there is none."""
    top = 100 * ceiling(results)
    if len(top):
        axis = sorted(figures.frame(results)["labelled"].unique())
        figure.layout.meta["alt"] += f" {CEILING}, the whole pool: {top.mean():.1f} %."
        figure.add_scatter(
            x=[int(axis[0]), int(axis[-1])], y=[top.mean()] * 2, name=CEILING, mode="lines",
            line={"color": "#555555", "width": 1.5, "dash": "dash"},
            hovertemplate=f"{CEILING}: %{{y:.1f}} %<extra></extra>",
        )  # fmt: skip
    return figure

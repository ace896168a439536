"""What all pictures share: colours and signs, lines whose bars do not hide each other, texts that stay texts."""

import html
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from psllab.analysis import statistics

# Okabe & Ito (2008): told apart by colour-blind readers too; four dark ones more, for the twelve curves of `private`.
# PSL comes first in every experiment, and Random second.
COLOURS = (
    "#D55E00", "#000000", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#6A3D9A", "#7A5230",
    "#A50F15", "#5B7F00",
)  # fmt: skip
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
DASHES = ("solid", "dash", "dot")  # one a round through the colours
LONGEST = 40  # characters of a name in a picture; tables tell it whole
APART = 0.03  # of the step between two budgets: how far the bars of two neighbours stand apart

LAYOUT = {
    "template": "plotly_white",
    "font": {"family": "system-ui, sans-serif", "size": 14},
    "title": {"font": {"size": 15}},
    "margin": {"l": 70, "r": 20, "t": 70, "b": 60},
    "legend": {"orientation": "h", "y": -0.22, "x": 0},
}


def text(name: object) -> str:
    """A name for plotly, which reads tags and ``%{...}``: as text, whatever signs are in it, and not too long."""
    said = str(name)
    said = said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"
    return html.escape(said, quote=False).replace("%{", "&#37;{")


def lines(points: Mapping[str, pd.DataFrame], hover: str) -> go.Figure:
    """A line a name, with error bars; the first is the boldest.

    Parameters
    ----------
    points : mapping of DataFrame
        Indexed by where along the axis; ``mean`` and ``half`` (of the bar; NaN: no bar). Each line stands a little
        beside its place, so that no bar hides another; ``customdata`` is the place itself.
    hover : str
        A hover template that follows the name.
    """
    figure = go.Figure(layout=LAYOUT)
    places = sorted({float(place) for rows in points.values() for place in rows.index})
    step = APART * (min(np.diff(places)) if len(places) > 1 else 0.0)
    for number, (name, rows) in enumerate(points.items()):
        aside = step * (number - (len(points) - 1) / 2)
        figure.add_scatter(
            x=[float(place) + aside for place in rows.index],
            y=rows["mean"].tolist(),
            customdata=rows.index.tolist(),
            error_y={"type": "data", "array": rows["half"].fillna(0).tolist(), "thickness": 1.2, "width": 3},
            name=text(name),
            mode="lines+markers",
            line={"color": COLOURS[number % len(COLOURS)], "dash": DASHES[number // len(COLOURS) % len(DASHES)],
                  "width": 3 if number == 0 else 2},
            marker={"symbol": SYMBOLS[(number + number // len(COLOURS)) % len(SYMBOLS)], "size": 8},
            hovertemplate=f"{text(name)}: {hover}<extra></extra>",
        )  # fmt: skip
    ticks = {"tickvals": places} if len(places) <= 10 else {}
    return figure.update_layout(xaxis=ticks)


def format_ends(points: Mapping[str, pd.DataFrame], unit: str, sign: str = "") -> str:
    """Lines in words: where each begins and ends."""
    return "; ".join(
        f"{name} from {rows['mean'].iloc[0]:{sign}z.1f} to {rows['mean'].iloc[-1]:{sign}z.1f}{unit}"
        for name, rows in points.items() if len(rows)
    )  # fmt: skip


def differences(table: pd.DataFrame, against: str, heading: str, metric: str) -> go.Figure | None:
    """Each method minus one of them at every budget, seed by seed, with 95 % intervals; None where no seed is shared.

    It shows what overlapping curves hide: the spread that all methods share within a seed is not in it. ``table`` is
    that of ``figures.frame``; the first method stands in where ``against`` is not there.
    """
    methods = list(dict.fromkeys(table["method"]))
    base = against if against in methods else methods[0]
    points = statistics.leads(table, base)
    if not points:
        return None
    pairs = sorted({int(n) for rows in points.values() for n in rows["seeds"]})
    seeds = " to ".join(dict.fromkeys(map(str, (pairs[0], pairs[-1])))) + " seed" + "s" * (pairs[-1] > 1)
    title = f"{heading}: difference to {text(base)}, paired, mean and 95 % interval of {seeds}"
    places = sorted({place for rows in points.values() for place in rows.index})
    nothing = pd.DataFrame({"mean": 0.0, "half": np.nan, "seeds": 0}, index=places)
    figure = lines(
        {name: points.get(name, nothing) for name in methods if name in {base, *points}},
        f"%{{y:+.2f}} points to {text(base)} at %{{customdata}} labels",
    )
    return figure.update_layout(
        title_text=title, yaxis={"title": f"{metric}: difference to {text(base)} (points)"},
        meta={"alt": f"{title}, in points: {format_ends(points, '', '+')}."},
    )  # fmt: skip


def plain(figure: go.Figure) -> dict:
    """A figure as the JSON of its data and layout, for a place inside another figure's ``layout.meta``."""
    shown = figure.to_plotly_json()
    shown["layout"].pop("template", None)  # the page gives it that of the figure it belongs to
    return {"data": shown["data"], "layout": shown["layout"]}

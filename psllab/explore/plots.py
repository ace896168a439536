"""Plots of a pool for ``discrepancy``: two scatters with a lasso, the answers to one image, thumbnails; no widget knows
another here."""

from collections.abc import Callable, Iterator

import numpy as np
import plotly.graph_objects as go
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from pslcore.data import Bytes, Floats
from pslcore.losses import VOID
from psllab.explore.pool import Opened
from psllab.explore.selection import Chosen
from psllab.widgets.gallery import png

PEERS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
TEACHER = "#7a7a7a"
COLOURINGS = ("discrepancy", "class", "picked")
_RINGS, _CROWD = 500, 10_000
"""Of more images only the first in the grid are ringed; of more the dots are smaller."""
_ROUNDS = 6
MOST = 5000
"""Images that t-SNE takes within reason on two cores."""


def pca(features: Floats) -> Floats:
    """The two directions in which the features vary most, [N, 2]."""
    if min(features.shape) < 2:
        return np.zeros((len(features), 2))
    return PCA(2, random_state=0).fit_transform(features)


def tsne(features: Floats) -> Iterator[tuple[float, Floats]]:
    """t-SNE in rounds of 250 steps: the part that is done and the map so far, [N, 2]; NaN beyond ``MOST`` images.

    scikit-learn's own has no place to look in or to stop; so each round begins where the one before ended, the first
    one with its usual early exaggeration.
    """
    some = features[:MOST]
    place = pca(some)
    place = 1e-4 * place / max(float(place[:, 0].std()), 1e-12)
    whole = np.full((len(features), 2), np.nan)
    for number in range(_ROUNDS):
        rounds = TSNE(
            2, init=place.astype(np.float32), perplexity=min(30.0, (len(some) - 1) / 3), max_iter=250,
            early_exaggeration=1.0 if number else 12.0, random_state=0,
        )  # fmt: skip
        place = rounds.fit_transform(some)
        whole[: len(some)] = place
        yield (number + 1) / _ROUNDS, whole.copy()


def thumbs(opened: Opened, heat: Callable[[], bool]) -> Callable[[list[int]], list[bytes]]:
    """For a ``Gallery``: rows of the pool to PNGs; with ``heat`` under the discrepancy of each pixel."""

    def made(rows: list[int]) -> list[bytes]:
        images = ((row, opened.picture(opened.predictions.index[row])) for row in rows)
        return [png(heated(image, opened.predictions.heat[row]) if heat() else image) for row, image in images]

    return made


def heated(image: Bytes, heat: Floats) -> Bytes:
    """The image [C, H, W] in grey under its discrepancy [h, w] in orange; the top of the scale is the image's own."""
    grey = image.mean(0) * 0.8
    high, wide = grey.shape
    rows, columns = (np.arange(n) * m // n for n, m in ((high, heat.shape[0]), (wide, heat.shape[1])))
    strength = heat.astype(np.float32)[np.ix_(rows, columns)]
    strength = (strength / max(float(strength.max()), 1e-9)) ** 0.5
    colour = np.array([255, 120, 0])[:, None, None]
    return (grey * (1 - strength) + colour * strength).clip(0, 255).astype(np.uint8)


def layout(title: str, x: str, y: str) -> dict:
    """Of a plot that is seen on a light and on a dark page."""
    axis = {"gridcolor": "rgba(128,128,128,0.25)", "zerolinecolor": "rgba(128,128,128,0.35)"}
    return {
        "title": {"text": title, "font": {"size": 14}}, "height": 380, "autosize": True,
        "margin": {"l": 52, "r": 12, "t": 44, "b": 70}, "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)", "font": {"color": "#808790", "size": 12}, "dragmode": "lasso",
        "xaxis": {"title": {"text": x}, **axis}, "yaxis": {"title": {"text": y}, **axis},
        "legend": {"orientation": "h", "y": 0, "yref": "container", "yanchor": "bottom", "font": {"size": 11}},
        "hovermode": "closest", "uirevision": "kept",
        "modebar": {"bgcolor": "rgba(0,0,0,0)"},
    }  # fmt: skip


def responsive(figure: go.FigureWidget) -> go.FigureWidget:
    """The figure, as wide as the page."""
    figure._config = figure._config | {"responsive": True, "displaylogo": False}
    return figure


def scatter(title: str, x: str, y: str) -> go.FigureWidget:
    """An empty scatter with a lasso: all images, those in the grid ringed, marked ones on top."""
    figure = go.FigureWidget(layout=layout(title, x, y))
    responsive(figure)
    figure.add_scattergl(mode="markers", marker={"size": 5}, showlegend=False, name="all")
    ring = {"size": 9, "symbol": "circle-open", "color": "#808790", "line": {"width": 1}}
    figure.add_scattergl(mode="markers", marker=ring, name="first in the grid", hoverinfo="skip")
    star = {"size": 14, "symbol": "star", "color": "#E69F00", "line": {"width": 1.5, "color": "#000"}}
    figure.add_scatter(mode="markers", marker=star, name="marked", hoverinfo="skip")
    return figure


def paint(figure: go.FigureWidget, opened: Opened, places: Floats, by: str) -> None:
    """All images at ``places`` [N, 2], coloured by one of ``COLOURINGS``."""
    pool = opened.predictions
    joint = pool.joint.argmax(1) if pool.pixels else opened.truth
    classes = opened.dataset.classes
    if by == "class":
        shades = {"colorscale": "Turbo", "cmin": 0, "cmax": max(1, len(classes) - 1)}
        marker = shades | {"color": joint, "showscale": False}
    elif by == "picked":
        marker = {"color": np.where(opened.picked, PEERS[0], "rgba(128,128,128,0.45)")}
    else:
        marker = {"color": np.log10(pool.score + 1e-4), "colorscale": "Viridis", "showscale": False}
    words = [f"{classes[label]}: d = {d:.3g}" for label, d in zip(joint, pool.score, strict=True)]
    with figure.batch_update():
        dots = figure.data[0]
        dots.x, dots.y = places[:, 0], places[:, 1]
        size = 5 if len(pool) <= _CROWD else 3
        dots.marker = marker | {"size": np.where(opened.picked, 8, size) if by == "picked" else size}
        dots.text, dots.hovertemplate, dots.selectedpoints = words, "%{text}<extra></extra>", None


def ring(figure: go.FigureWidget, rows: np.ndarray, marked: np.ndarray) -> None:
    """Ring the images in the grid, put a star on the marked ones."""
    x, y = (np.asarray(values if values is not None else ()) for values in (figure.data[0].x, figure.data[0].y))
    if not x.size:
        return
    with figure.batch_update():
        for trace, some in ((figure.data[1], rows[:_RINGS]), (figure.data[2], marked)):
            trace.x, trace.y = x[some], y[some]


def answers(chosen: Chosen, row: int) -> go.Figure:
    """The distributions of all students side by side with the teacher's, for one image."""
    opened = chosen.opened
    pool, classes = opened.predictions, list(opened.dataset.classes)
    shown = np.arange(len(classes))
    if len(classes) > 20:  # the most wanted of each and the truth
        total = np.maximum(pool.peers[:, row].max(0), pool.teacher[row])
        shown = np.sort(np.argsort(-total)[:15])
    names = [classes[label] for label in shown]
    figure = go.Figure(layout=layout(_heading(chosen, row), "", "probability"))
    for number, peer in enumerate(pool.peers[:, row]):
        figure.add_bar(x=names, y=peer[shown], name=f"student {number + 1}", marker_color=PEERS[number % len(PEERS)])
    figure.add_bar(x=names, y=pool.teacher[row][shown], name="teacher (local copy)", marker_color=TEACHER)
    figure.update_xaxes(type="category", tickangle=0 if max(map(len, names)) < 4 else -45)
    figure.update_yaxes(range=[0, 1.02])
    return figure.update_layout(barmode="group", dragmode=False, bargap=0.25, margin={"t": 58, "b": 60})


def _heading(chosen: Chosen, row: int) -> str:
    opened = chosen.opened
    pool = opened.predictions
    truth = "" if pool.pixels else f"truth {opened.dataset.classes[opened.truth[row]]}, "
    place = "protected, never picked" if pool.protected[row] else f"place {chosen.place[row]:,} in PSL's order"
    return f"Image {pool.index[row]:,}: {truth}d = {pool.score[row]:.3g}<br>{place}"


def panels(opened: Opened, row: int) -> dict[str, Bytes]:
    """Of pixel labels: the image, its truth, each answer and the discrepancy, by name, as uint8 [C, H, W]."""
    pool, image = opened.predictions, opened.picture(opened.predictions.index[row])
    step = -(-max(image.shape[1:]) // 128)
    colours = palette(len(opened.dataset.classes))
    maps = {"truth": opened.truth[row][::step, ::step]}
    maps |= {f"student {number + 1}": answer for number, answer in enumerate(pool.answers[:, row])}
    maps["teacher (local copy)"] = pool.answer[row]
    found = {"image": image[:, ::step, ::step]}
    for name, labels in maps.items():
        found[name] = colours[np.where(labels == VOID, len(colours) - 1, labels)].transpose(2, 0, 1)
    return found | {"discrepancy": heated(found["image"], pool.heat[row])}


def palette(n: int) -> np.ndarray:
    """Colours of n classes and, last, of void, uint8 [n + 1, 3]."""
    hue = np.linspace(0, 1, n, endpoint=False)[:, None] * 6 + np.array([0, 4, 2])
    colours = np.clip(np.abs(hue % 6 - 3) - 1, 0, 1)
    shade = np.where(np.arange(n) % 2, 0.65, 0.95)[:, None]
    return np.concatenate([255 * colours * shade, [[128, 128, 128]]]).astype(np.uint8)

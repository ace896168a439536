"""Fig. 7: test images in groups of equal size by ascending discrepancy, and what consensus is worth in each."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from psllab.analysis import figures
from psllab.analysis.style import LAYOUT
from psllab.grid import Results

GROUPS = 5
OUTCOMES = {  # (consensus, correct): what a bar is called, and its colour
    (True, True): ("consensus, correct", "#1f4e9c"),
    (True, False): ("consensus, incorrect", "#a8c4ef"),
    (False, True): ("no consensus, correct", "#1d7a3e"),
    (False, False): ("no consensus, incorrect", "#a6dbb7"),
}


def table(results: Results) -> pd.DataFrame:
    """Test images of each run in five equal groups by ascending discrepancy; counts per group and outcome.

    Columns ``seed``, ``group`` (1 = least discrepancy), ``consensus``, ``correct`` (of the peers' joint answer, the
    argmax of their mean probability, which is the shared answer where they agree), ``images``.
    """
    rows = []
    for cell, record in figures.finished(results):
        peers = {name: np.asarray(record["peers"][name]) for name in ("discrepancy", "consensus", "correct")}
        order = np.argsort(peers["discrepancy"], kind="stable")  # a tie: the lower index first
        for group, places in enumerate(np.array_split(order, GROUPS), start=1):
            agree, right = peers["consensus"][places], peers["correct"][places]
            rows += [
                (cell.config.seed, group, *outcome, int(((agree == outcome[0]) & (right == outcome[1])).sum()))
                for outcome in OUTCOMES
            ]
    return pd.DataFrame(rows, columns=["seed", "group", "consensus", "correct", "images"])


def accuracy(images: pd.DataFrame) -> pd.DataFrame:
    """Accuracy (%) with and without consensus in each group, over all seeds, and how many images that rests on.

    ``images`` is what ``table`` gives.
    """
    shown = pd.DataFrame({"group (1 = least discrepancy)": range(1, GROUPS + 1)})
    for consensus, word in ((True, "with"), (False, "without")):
        kind = images[images["consensus"] == consensus]
        outcomes = kind.groupby(["group", "correct"])["images"].sum().unstack("correct")
        total = outcomes.sum(axis=1)
        accuracy = 100 * outcomes[True] / total.where(total > 0)
        shown[f"accuracy {word} consensus (%)"] = accuracy.map(figures.format_number).to_numpy()
        shown[f"images {word} consensus"] = total.to_numpy()
    return shown


def bars(results: Results) -> go.Figure:
    """The bars of Fig. 7: blue with consensus, green without; darker correct, lighter not; mean over the seeds."""
    images = table(results)
    mean = images.groupby(["consensus", "correct", "group"])["images"].mean()
    figure, said = go.Figure(layout=LAYOUT), []
    for outcome, (name, colour) in OUTCOMES.items():
        values = mean.loc[outcome]
        said.append(f"{name} {', '.join(f'{value:.0f}' for value in values)}")
        figure.add_bar(x=values.index.tolist(), y=values.tolist(), name=name, marker_color=colour)
    title = f"{figures.heading(results)}: mean of {figures.of_seeds(images['seed'].nunique())}"
    return figure.update_layout(
        barmode="stack",
        title_text=title,
        meta={"alt": f"{title}. Images in the groups from least to most discrepancy: {'; '.join(said)}."},
        xaxis={"title": "group of test images, from least to most discrepancy", "dtick": 1},
        yaxis={"title": "test images"},
    )

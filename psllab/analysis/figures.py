"""Tables and pictures, made from finished runs and from nothing else; nothing here trains.

``frame`` lays the runs of an experiment out as a table; the other functions take that table or the runs.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from pslcore import models
from pslcore.losses import VOID
from pslcore.models.heads import Head
from pslcore.runs import Config, Record
from pslcore.sides import Pools, protected_setting
from psllab.analysis import statistics, style
from psllab.analysis.style import COLOURS, LAYOUT, SYMBOLS
from psllab.grid import CEILING, Cell, Results, is_brief, picks, seconds_of


def frame(results: Results) -> pd.DataFrame:
    """One row a cycle: ``method``, ``seed``, ``labelled``, ``metric`` (0 to 1), ``unlabelled_seen``.

    Raises
    ------
    ValueError
        If no run is finished.
    """
    told = ["labelled", "metric", "unlabelled_seen"]
    return pd.DataFrame(
        {"method": cell.label, "seed": cell.config.seed} | {name: entry[name] for name in told}
        for cell, record in finished(results)
        for entry in record["cycles"]
    )


def finished(results: Results) -> list[tuple[Cell, Record]]:
    """The finished runs of all curves, the ceiling left out; ``ValueError`` if there is none."""
    runs = [(cell, record) for cell, record in results.runs if cell.label != CEILING]
    if not runs:
        raise ValueError(f"no run of {results.experiment} at {results.scale} is finished: run the experiment first.")
    return runs


def budget_curves(results: Results, against: str = "Random") -> go.Figure:
    """Metric against labelled images, as in Fig. 3 to 6: mean over the seeds, error bars of one standard deviation.

    ``layout.meta`` holds what the page shows of it: ``alt``, the figure in words, and ``difference``, the same curves
    as paired differences to one of them (``against``, or the first where that one is not there).
    """
    table, name = frame(results), results.runs[0][1]["metric"]
    n_seeds = table.groupby("method")["seed"].nunique()
    seeds = of_seeds(n_seeds.min()) if n_seeds.nunique() == 1 else f"{n_seeds.min()} to {of_seeds(n_seeds.max())}"
    points = means(table, "labelled")
    common = {
        "xaxis": {"title": f"labelled images (of {results.runs[0][1]['data']['train']:,} training images)"},
        "hovermode": "closest",
    }
    title = f"{heading(results)}: mean ± standard deviation of {seeds}"
    ends = f"{table['labelled'].min():,} to {table['labelled'].max():,} labelled images"
    meta: dict = {"alt": f"{title}. {name} from {ends}: {style.format_ends(points, ' %')}."}
    other = style.differences(table, against, heading(results), name)
    if other is not None:
        meta["difference"] = style.plain(other.update_layout(common))
    figure = style.lines(points, "%{y:.1f} % at %{customdata} labels")
    return figure.update_layout(common, title_text=title, yaxis={"title": f"{name} on the test set (%)"}, meta=meta)


def means(table: pd.DataFrame, along: str) -> dict[str, pd.DataFrame]:
    """Of each method along that column: mean of the metric in per cent, and one standard deviation."""
    return {
        str(method): (100 * rows.groupby(along)["metric"].agg(["mean", "std"])).set_axis(["mean", "half"], axis=1)
        for method, rows in table.groupby("method", sort=False)
    }


def of_seeds(n: int) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{n} seed" if n == 1 else f"{n} seeds"


def is_frozen(data: str) -> bool:
    """Whether a data set is features of a frozen network: ``DATASET+BACKBONE@PIXELS``."""
    return re.search(r".\+.+@\d+$", data) is not None


def heading(results: Results) -> str:
    """What a picture must say of itself when it is seen alone: experiment, data, scale."""
    data = results.runs[0][1]["data"]["name"]
    frozen = " (frozen features)" if is_frozen(data) else ""
    return f"{results.experiment} on {style.text(data)}{frozen}, scale {results.scale}"


def summary(results: Results) -> pd.DataFrame:
    """One row a method: seeds, metric at the first and last budget, area under the curve, what the cloud saw; of all
    that is measured the mean with its 95 % interval."""
    table = frame(results)
    metric = results.runs[0][1]["metric"]
    area = statistics.areas(table)
    rows = []
    for method, runs in table.groupby("method", sort=False):
        metrics = 100 * runs.set_index("labelled")["metric"]
        under = 100 * area[method]
        ends = (metrics.index.min(), metrics.index.max())
        rows.append(
            {"method": method, "seeds": runs["seed"].nunique(),
             **{f"{metric} at {end:,} labels (%)": format_mean(metrics.loc[[end]]) for end in ends},
             "area under the curve (%, 95 % interval)": format_mean(under),
             "unlabelled images seen by the cloud": f"{runs.groupby('seed')['unlabelled_seen'].max().mean():,.0f}"}
        )  # fmt: skip
    return pd.DataFrame(rows)


def paired_tests(results: Results, method: str | None = None) -> pd.DataFrame:
    """``statistics.against`` in percentage points, for people; of the experiment's reference if no method is named."""
    method = method or reference(results)
    rows = statistics.against(frame(results), method)
    halves = zip(100 * rows["difference"], 100 * rows["half"], strict=True)
    points = [format_interval(difference, half, "+") for difference, half in halves]
    tests = {
        name: ["< 0.001" if p < 0.0005 else format_number(p, 3) for p in rows[column]]
        for name, column in _TESTS.items()
    }
    shown = {f"{method} against": rows["other"], "difference in area (points, 95 % interval)": points}
    return pd.DataFrame(shown | {"seeds": rows["seeds"]} | tests)


_PLAIN = {"fig5b": ("2 peers",), "fig5c": ("ResNet-8", "mlp32")}
"""The curve of an ablation that is PSL as it is, where it has another name."""


def reference(results: Results) -> str:
    """The curve that the others are held against: PSL as it is; where it is not finished, the first."""
    there = [cell.label for cell, _ in finished(results)]
    return next((name for name in _PLAIN.get(results.experiment, ("PSL",)) if name in there), there[0])


_TESTS = {"p (paired t-test)": "p", "p (Holm)": "p_holm"}


def format_mean(values: pd.Series) -> str:
    """A mean with its 95 % interval."""
    return format_interval(values.mean(), statistics.interval(values))


def format_interval(mean: float, half: float, sign: str = "") -> str:
    """A mean and half of its interval, which one seed has not; a dash if it is no number."""
    return (f"{mean:{sign}z.1f}" + ("" if np.isnan(half) else f" ± {half:.1f}")) if np.isfinite(mean) else "–"


def privacy(results: Results, against: str = "") -> go.Figure:
    """The area under each curve, with its 95 % interval, best above; a mark for each number of images that was seen.

    With ``against`` it is the paired difference to the area of that curve.
    """
    table = frame(results)
    area, metric = 100 * statistics.areas(table), results.runs[0][1]["metric"]
    if against:
        area = area - area.xs(against, level="method").reindex(area.index, level="seed")
    seen = table.groupby(["method", "seed"])["unlabelled_seen"].max().groupby("method").mean().round().astype(int)
    of = area.groupby("method")
    rows = pd.DataFrame({"seen": seen, "mean": of.mean(), "half": of.apply(statistics.interval)}).sort_values("mean")
    unit = f" points to {against}" if against else " %"
    figure = go.Figure(layout=LAYOUT)
    for number, (images, group) in enumerate(rows.groupby("seen")):
        colour, symbol = COLOURS[(2 + 3 * number) % len(COLOURS)], SYMBOLS[number % len(SYMBOLS)]
        figure.add_scatter(
            x=group["mean"], y=[style.text(method) for method in group.index],
            name=f"{images:,} unlabelled images seen", mode="markers",
            error_x={"type": "data", "array": group["half"].fillna(0), "thickness": 1.2, "width": 4},
            marker={"color": colour, "symbol": symbol, "size": 11},
            hovertemplate=f"%{{y}}: %{{x:.1f}}{unit}, {images:,} unlabelled images seen<extra></extra>",
        )  # fmt: skip
    shown = f"area under the {metric} curve" + (f", difference to {against} (points)" if against else " (%)")
    title = f"{heading(results)}: what the cloud saw, and what came of it (mean, 95 % interval)"
    said = "; ".join(f"{row.Index} {row.mean:.1f}{unit} with {row.seen:,} images seen" for row in rows.itertuples())
    return figure.update_layout(
        title_text=title,
        meta={"alt": f"{title}. Area under the {metric} curve: {said}."},
        xaxis={"title": shown},
        yaxis={"categoryarray": [style.text(method) for method in rows.index], "automargin": True},
    )


def win_matrix(results: Results) -> go.Figure:
    """``statistics.wins``: the row beats the column in so many per cent of the budgets."""
    matrix = 100 * statistics.wins(frame(results))
    title = f"{heading(results)}: the row beats the column (% of budgets, p < 0.05)"
    return _matrix(matrix, title, "beaten", "winner")


def final_labels(results: Results) -> dict[str, dict[int, set[int]]]:
    """The final labelled set of each method and seed: its initial pool and its picks, where its record keeps them."""
    labelled: dict[str, dict[int, set[int]]] = {}
    for cell, record in finished(results):
        if is_brief(record):
            continue
        initial = set(initial_pools(cell, record).labelled.tolist())
        picked = {image for images in picks(record) for image in images}
        labelled.setdefault(cell.label, {})[cell.config.seed] = initial | picked
    return labelled


def initial_pools(cell: Cell, record: Record) -> Pools:
    """The pools that a run began with, drawn again from its config and held against the record's fingerprint."""
    n, initial = record["data"]["train"], record["cycles"][0]["labelled"]
    fraction = cell.config.protected_fraction if cell.config.setting == "protected" else 0.0
    pools = protected_setting(n, initial, fraction, cell.config.seed)
    if pools.fingerprint() != record["pools"]:
        raise ValueError(f"record {record['key']} began with other pools than its config gives today: run it again.")
    return pools


def overlap_matrix(results: Results) -> go.Figure:
    """``statistics.overlap`` in per cent, with what two random methods would share."""
    cell, record = finished(results)[0]
    first, last = (record["cycles"][number]["labelled"] for number in (0, -1))
    chance = statistics.overlap_by_chance(first, last - first, initial_pools(cell, record).safe.size)
    labelled = final_labels(results)
    seeds = {seed for own in labelled.values() for seed in own}
    kept = f"; {of_seeds(len(seeds))} whose picks are kept" * (
        len(seeds) < len({cell.config.seed for cell, _ in results.runs})
    )
    title = f"{heading(results)}: final labels that two methods share (%; by chance {100 * chance:.0f} %{kept})"
    return _matrix(100 * statistics.overlap(labelled), title)


def _matrix(values: pd.DataFrame, title: str, x: str = "", y: str = "") -> go.Figure:
    """A heat map with its numbers in it; the first row on top."""
    text = values.map(lambda value: "" if np.isnan(value) else f"{value:.0f}")
    figure = go.Figure(
        go.Heatmap(
            z=values.where(values.notna(), None).values.tolist(), text=text.values.tolist(), texttemplate="%{text}",
            x=[style.text(name) for name in values.columns], y=[style.text(name) for name in values.index],
            colorscale="Oranges", zmin=0, zmax=100, showscale=False,
            hovertemplate="%{y} / %{x}: %{z:.0f} %<extra></extra>",
        ), LAYOUT,
    )  # fmt: skip
    y_axis = {"title": y, "autorange": "reversed"}
    rows = (f"{name}: {', '.join(f'{x} {n}' for x, n in row.items() if n)}" for name, row in text.iterrows())
    meta = {"alt": f"{title}. {'; '.join(rows)}."}
    return figure.update_layout(title_text=title, xaxis={"title": x}, yaxis=y_axis, meta=meta)


def format_number(value: float, digits: int = 1) -> str:
    """A number for people; a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def price(results: Results) -> pd.DataFrame:
    """What each curve's students cost on the client: parameters, training, scoring, peak memory; mean over the runs.

    Parameters are those of all peers: for 10 classes and colour images, as in Table 1, or, of heads, for the vectors
    and classes of the runs. Training is the whole cycle's, task learner included, over the cycles that end in a pick,
    on whatever cores other runs left; memory is the peak of the whole process.
    """
    rows = []
    for method in dict.fromkeys(cell.label for cell, _ in finished(results)):
        records = [record for cell, record in results.runs if cell.label == method]
        config = Config.of(records[0]["config"])
        cycles = [entry for record in records for entry in record["cycles"][:-1] or record["cycles"]]
        size = sum(_parameters(name, records[0]) for name in config.strategy.students)
        train, forward = (np.mean([entry["seconds"].get(name, 0) for entry in cycles]) for name in ("train", "forward"))
        memory = np.mean([max(entry.get("memory", np.nan) for entry in record["cycles"]) for record in records])
        rows.append((method, f"{size:,}", f"{train:.1f}", f"{forward:.2f}", format_number(memory / 2**20, 0)))
    names = ["peers' parameters", "training (s a cycle)", "scoring pass (s a pick)", "peak memory (MiB)"]
    return pd.DataFrame(rows, columns=["students", *names])


def _parameters(name: str, record: Record) -> int:
    network = models.build(name, 10)
    if isinstance(network, Head):  # a vector has a byte a feature
        sent = record["cycles"][0]["crossed"]["up: labelled images"]
        network = models.build(name, record["data"]["classes"], sent["bytes"] // sent["items"])
    return models.count_parameters(network)


def scene(
    image: np.ndarray, truth: np.ndarray, answers: dict[str, np.ndarray], discrepancy: np.ndarray,
    classes: Sequence[str],
) -> go.Figure:  # fmt: skip
    """One image with pixel labels: itself, its truth, the answer of each network, the discrepancy of every pixel.

    Parameters
    ----------
    image : uint8 array, [C, H, W]
    truth : int array, [H, W]
        Void pixels are left white.
    answers : dict of int arrays, [H, W]
    discrepancy : float array, [H, W]
    classes : sequence of str
    """
    maps = {"truth": truth, **answers}
    titles = ["image", *maps, "discrepancy"]
    figure = make_subplots(
        rows=-(-len(titles) // 3), cols=3, subplot_titles=titles, horizontal_spacing=0.02, vertical_spacing=0.08
    )
    colours = pixel_colours(len(classes))
    scale = [[edge / len(classes), colour] for n, colour in enumerate(colours) for edge in (n, n + 1)]
    panels = [go.Image(z=np.repeat(image, 4 - len(image), axis=0)[:3].transpose(1, 2, 0))]
    for number, labels in enumerate(maps.values()):
        ticks = {"tickvals": np.arange(len(classes)) + 0.5, "ticktext": list(classes), "len": 0.9}
        shown = np.where(labels == VOID, np.nan, labels + 0.5)
        panels.append(
            go.Heatmap(z=shown, zmin=0, zmax=len(classes), colorscale=scale, showscale=number == 0, colorbar=ticks)
        )
    panels.append(go.Heatmap(z=discrepancy, colorscale="Greys", showscale=False))
    for number, panel in enumerate(panels):
        figure.add_trace(panel, row=1 + number // 3, col=1 + number % 3)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x", constrain="domain")
    return figure.update_layout(LAYOUT | {"margin": {"l": 10, "r": 10, "t": 50, "b": 10}})


def pixel_colours(n: int) -> list[str]:
    """As many distinguishable colours."""
    return sample_colorscale("Turbo", np.linspace(0.03, 0.97, n)) if n > 1 else ["#0072B2"]


def about(*shown: Results) -> str:
    """What the numbers are of: scale, data, seeds, what is missing or stale. The setting is that of the first."""
    count = sum(len(finished(results)) for results in shown)
    return " ".join([f"{_setting(shown[0])}; {count} runs.", *_remarks(shown)])


def made(*shown: Results) -> str:
    """Where the numbers were made: hardware, versions."""
    records = [record for results in shown for _, record in finished(results)]
    machines = sorted({f"{r['hardware']['processor']} ({r['hardware']['device']})" for r in records})
    return f"{len(records)} runs on {'; '.join(machines)}; torch {records[0]['versions']['torch']}."


def provenance(*shown: Results) -> str:
    """The sentence under a figure that stands alone: ``about`` and ``made``."""
    return " ".join([f"{_setting(shown[0])}; {made(*shown)}", *_remarks(shown)])


def _setting(results: Results) -> str:
    first = finished(results)[0][1]
    seeds = {cell.config.seed for cell, _ in results.runs}
    config, data = first["config"], first["data"]
    frozen = ", on frozen features" if is_frozen(data["name"]) else ""
    epochs = f"{config['recipe']['epochs']} epochs a " + (
        f"round, {config['rounds']} rounds, {config['clients']} clients" if "clients" in config else "cycle"
    )
    return (
        f"Scale {results.scale}{frozen}: {data['name']} ({data['train']:,} training, {data['test']:,} "
        f"test images), task learner {config['teacher']}, {epochs}; {of_seeds(len(seeds))}"
    )


_EXPLAINED = {
    ", detached": "Detached: the loss module sends no gradient into the task learner.",
    "(rival)": "Rival: a method of a library, not in the paper.",
}


def _remarks(shown: Sequence[Results]) -> list[str]:
    runs = [run for results in shown for run in results.runs]
    missing = 0
    for results in shown:
        begun = {cell.config.seed for cell, _ in results.runs}  # seeds that nobody has lack nowhere
        missing += sum(cell.config.seed in begun for cell in results.unfinished)
    parts = [finished(shown[0])[0][1]["data"]["note"]]
    parts += [said for end, said in _EXPLAINED.items() if any(cell.label.endswith(end) for cell, _ in runs)]
    narrow = {cell.config.options["width"] for cell, _ in runs if "width" in cell.config.options}
    parts += [f"VAAL's autoencoder: `width` {each} (its authors: 128)." for each in sorted(narrow)]
    if missing:
        parts.append(f"Missing here, not finished: {missing} of {missing + len(runs)} runs.")
    if later := sum(len(results.later) for results in shown):
        parts.append(f"{later} finished {'run waits' if later == 1 else 'runs wait'} for the next interim analysis.")
    curves = {cell.label for cell, _ in runs}  # others wait for their interim analysis
    if stale := sum(cell.label in curves for results in shown for cell in results.stale):
        parts.append(f"{stale} {'run was' if stale == 1 else 'runs were'} made by other code than today's.")
    return [part for part in parts if part]


def cost(results: Results) -> float:
    """Processor time of the runs, in minutes: all their clocked phases, one process each."""
    return sum(seconds_of(record) for _, record in results.runs) / 60

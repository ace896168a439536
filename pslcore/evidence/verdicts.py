"""The verdict on every claim of the paper: what ``claims.yaml`` states, held against the records of one scale.

The rules, which no result of ours had a part in:

* **The unit is the seed.** Methods share pools and first weights within a seed, so a comparison is the difference seed
  by seed, over the seeds that both have, in percentage points; its 95 % interval is Student's t.
* **A claim is a region and one or more comparisons.** "Above": more than 0. "About k points ahead": k ± margin.
  "Similar": 0 ± margin. It *holds* if the interval of every comparison lies inside the region, it *does not hold* if
  that of any one lies wholly outside (for "above": a true reversal), and else the runs are *too small to tell*: no
  difference found is never taken for no difference.
* **Many comparisons** are corrected for their number (Holm) within the claim, in each direction. Alone, a comparison
  has its plain interval. For "holds", where all must be inside, this is stricter than it need be.
* **No verdict without spread.** Fewer than two shared seeds, a metric that is no number, or differences that are equal
  in all seeds (on a small test set they may coincide) leave a comparison undecided.
* **Missing runs.** A curve with an unfinished seed counts as missing, so that nobody stops where the numbers please.
  With nothing to compare a claim is *not run*; with a part missing the rest can refute it, but it cannot hold.
* **Levels** ("78.06 %", "0.001 s") belong to the paper's protocol: they are judged at scale ``paper`` alone, on the
  paper's data. All other verdicts are of the scale, data and hardware that their row names.
* **Counts are exact**: one counterexample refutes; a printed figure is met if ours, rounded or truncated, prints as it.
* **Seconds** of two methods are told apart if they differ by more than 10 %.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from pslcore import models
from pslcore.campaign import grid
from pslcore.evidence import figures, report, statistics, tables
from pslcore.runs import records

HOLDS, FAILS, UNSURE, NOT_RUN = VERDICTS = ("holds", "does not hold", "too small to tell", "not run")
EXPERIMENTS = (
    "table1", "table2", "fig3a", "fig3b", "fig3c", "fig3d", "fig3e", "fig3f", "fig4a", "fig4b", "fig5a", "fig5b",
    "fig5c", "choices", "fig6a", "fig6b", "fig6c", "fig7", "fig8",
)  # fmt: skip
FILE = Path(__file__).with_name("claims.yaml")
PAPER = "paper"  # the scale of the paper's own protocol
SLACK = 1.1  # two times within this ratio are the same
KINDS: dict[str, Callable[..., "Finding"]] = {}
"""Name of a check to its function ``(evidence, claim, *, arguments of the data file) -> Finding``."""


@dataclass(frozen=True)
class Claim:
    """One entry of ``claims.yaml``; ``source`` is its place in the paper or "ours", ``paper`` the printed value."""

    id: str
    experiments: list[str]
    claim: str
    source: str
    paper: str
    check: dict
    note: str = ""


@dataclass
class Finding:
    """Verdict, our value as text, the seeds it rests on, and why."""

    verdict: str
    ours: str = "–"
    seeds: int = 0
    reason: str = ""


class Missing(Exception):
    """Says which runs a comparison lacks."""


def load(path: str | Path = FILE) -> list[Claim]:
    """The claims; ``ValueError`` with one sentence at the first entry that is not what it should be."""
    entries = yaml.safe_load(Path(path).read_text())
    ids = [entry.get("id") for entry in entries]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise ValueError(f"claim {twice[0]!r} stands twice in {path}: give each its own id.")
    return [_claim(entry) for entry in entries]


def _claim(entry: dict) -> Claim:
    place = f"claim {entry.get('id')!r}"
    try:
        claim, check = Claim(**entry), dict(entry["check"])
        inspect.signature(KINDS[check.pop("kind")]).bind(None, None, **check)
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"{place} has a setting or kind that is missing or unknown ({error}): the kinds are {', '.join(KINDS)}."
        ) from error
    if not all(isinstance(text, str) for text in (claim.claim, claim.source, claim.paper, claim.note)):
        raise ValueError(f"{place}: claim, source, paper and note must be text: quote what is not.")
    if not claim.experiments or not set(claim.experiments) <= set(EXPERIMENTS):
        raise ValueError(f"{place}: unknown experiment in {claim.experiments}: choose from {', '.join(EXPERIMENTS)}.")
    if not all(check.get(name) in (None, "area") or isinstance(check[name], int) for name in ("at", "than")):
        raise ValueError(f"{place}: `at` and `than` must be a cycle (0, 1, ..., -1) or `area`.")
    if "points" in check and not 0 < check.get("margin", 0) <= (check["points"] or np.inf):  # a lead is above 0
        raise ValueError(f"{place}: the margin must be above 0 and at most the lead itself, {check['points']}.")
    return claim


@dataclass
class Evidence:
    """The records of one scale, each experiment read once; ``used`` is what was asked for since it was last cleared."""

    scale: str
    params: str | Path = "params.yaml"
    out: str | Path = "outputs"
    used: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self):
        known = grid.scales(self.params)
        if self.scale not in known:
            raise ValueError(f"unknown scale {self.scale!r}: choose one of {', '.join(known)}.")
        self.results = cache(lambda name: grid.collect(name, self.scale, self.params, self.out))
        self.table = cache(lambda name: figures.frame(self.results(name)))
        self.areas = cache(lambda name: statistics.areas(self.table(name)))
        self.labels = {  # of all curves, finished or not
            name: list(dict.fromkeys(cell.label for cell in grid.cells(name, self.scale, self.params)))
            for name in EXPERIMENTS if name in known[self.scale]
        }  # fmt: skip
        self.seconds_file = Path(self.out) / self.scale / "figures" / "table2.json"

    def found(self, experiment: str, wanted: Callable[[grid.Cell], bool], name: str = "runs") -> tuple[list, list[str]]:
        """The finished (cell, record) of the wanted cells, and what is missing of them: nothing, or one phrase."""
        if experiment not in self.labels:
            return [], [f"{experiment} (not at this scale)"]
        results = self.results(experiment)
        runs = [(cell, record) for cell, record in results.runs if wanted(cell)]
        left = sum(wanted(cell) for cell in results.unfinished)
        self.used |= {(experiment, cell.label) for cell, _ in runs}
        why = f"{left} unfinished" if left else "" if runs else "not at this scale"
        return runs, [f"{name} of {experiment} ({why})"] if why else []

    def curve(self, experiment: str, label: str, at: int | str) -> pd.Series:
        """Metric in per cent by seed, at a cycle or as area; ``Missing`` unless every seed is run to its end."""
        _, missing = self.found(experiment, lambda cell: cell.label == label, label)
        if missing:
            raise Missing(missing[0])
        if at == "area":
            return 100 * self.areas(experiment)[label]
        rows = self.table(experiment).query("method == @label").pivot(index="seed", columns="labelled", values="metric")
        if not -rows.shape[1] <= at < rows.shape[1]:
            raise Missing(f"{label} of {experiment} (no cycle {at})")
        return 100 * rows.iloc[:, at]

    def lead(self, one: tuple[str, str], other: tuple[str, str], at: int | str) -> pd.Series:
        """Difference by seed of two curves, each (experiment, label), over the seeds that both have."""
        first, second = self.curve(*one, at), self.curve(*other, at)
        seeds = first.index.intersection(second.index)
        return first[seeds] - second[seeds]

    def seconds(self) -> dict[str, float]:
        """Table 2: seconds to pick per method, forward pass, scoring and selection together; empty if not run."""
        if not self.seconds_file.exists():
            return {}
        self.used.add(("table2", ""))
        table, parts = report.read(self.seconds_file).tables[0], ("forward", "scoring", "selection")
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        return {row["method"]: sum(float(row[part]) for part in parts if row[part] != "–") for row in rows}

    def provenance(self) -> tuple[str, str, int]:
        """Data, hardware and the number of records made by other code, of all that was used."""
        places, stale = set(), 0
        for experiment, label in self.used:
            if experiment == "table2":  # no records: its note says where
                note = report.read(self.seconds_file).note
                named = re.search(r"Scale \w+: (\S+?)[,;].* on (.+)\.$", note)
                places.add(named.groups() if named else ("–", note))
                continue
            results = self.results(experiment)
            for _, record in (run for run in results.runs if run[0].label == label):
                machine = record["hardware"]
                places.add((record["data"]["name"], f"{machine['processor']} ({machine['device']})"))
            stale += sum(cell.label == label for cell in results.stale)
        data, machines = ("; ".join(sorted({place[part] for place in places})) or "–" for part in (0, 1))
        return data, machines, stale


# Claims on seeds

Comparisons = Iterable[tuple[str, Callable[[], Iterable[float]]]]
"""Each a name, and a function that gives one value a seed or raises ``Missing``."""


def settle(comparisons: Comparisons, low: float, high: float = np.inf, sign: str = "+") -> Finding:
    """Whether the mean of every comparison lies between ``low`` and ``high``, by the rules above."""
    known, missing = {}, {}
    for name, values in comparisons:
        try:
            known[name] = np.asarray(values(), dtype=float)
        except Missing as error:
            missing[str(error)] = None
    if not known:
        return Finding(NOT_RUN, reason=_reason([], missing))
    chances = np.array([_chances(values, low, high) for values in known.values()])
    inside, outside = (statistics.holm(column) < (1 - statistics.CONFIDENCE) / 2 for column in chances.T)
    wrong, undecided = (", ".join(np.array(list(known))[which]) for which in (outside, ~inside & ~outside))
    wanted = f"above {low:g}" if np.isinf(high) else f"between {low:g} and {high:g}"
    verdict = FAILS if wrong else UNSURE if undecided or missing else HOLDS
    why = {FAILS: f"not {wanted}: {wrong}", HOLDS: f"{wanted} in {len(known)} of {len(known)}"}
    said = why.get(verdict, f"undecided whether {wanted}: {undecided}" if undecided else "")
    return Finding(verdict, _shown(known, sign), min(map(len, known.values())), _reason([said], missing))


def _reason(said: Iterable[str], missing: Iterable[str] = ()) -> str:
    """One line; curves that are missing for the same reason stand together."""
    groups: dict[str, list[str]] = {}
    for phrase in dict.fromkeys(missing):
        name, _, why = phrase.rpartition(" of ")
        groups.setdefault(why, []).append(name)
    gaps = (f"{', '.join(names)} of {why}" if any(names) else why for why, names in groups.items())
    return "; ".join(part for part in (*said, groups and f"missing: {', '.join(gaps)}") if part)


def _chances(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """One-sided p of the mean being inside the region, and outside; 1 where there is nothing to judge by."""
    if len(values) < 2 or not np.isfinite(values).all() or np.ptp(values) < 1e-9:
        return 1.0, 1.0

    def above(bound: float) -> float:
        half = statistics.paired_p(values - bound) / 2 if np.isfinite(bound) else 0.0
        return half if values.mean() > bound else 1 - half

    return max(above(low), 1 - above(high)), min(1 - above(low), above(high))


def _shown(known: dict[str, np.ndarray], sign: str) -> str:
    """``name +1.2 ± 0.3`` of each; of more than eight the range of the means alone."""
    means = {name: values.mean() if len(values) else np.nan for name, values in known.items()}
    if len(known) > 8:
        low, high = (f"{edge(list(means.values())):{sign}.1f}" for edge in (np.nanmin, np.nanmax))
        return f"{len(known)} comparisons, means from {low} to {high}"
    half = {
        n: f" ± {statistics.interval(v):.1f}" if len(v) > 1 and np.isfinite(means[n]) else "" for n, v in known.items()
    }
    texts = (
        f"{name} {mean:{sign}.1f}{half[name]}" if np.isfinite(mean) else f"{name} –" for name, mean in means.items()
    )
    return "; ".join(texts)


def _jackknife(statistic: Callable[[np.ndarray], float], rows: np.ndarray) -> np.ndarray:
    """Tukey's pseudo-values, one a seed (row), of a statistic that no single seed has; NaN where it has no value."""
    n = len(rows)
    with np.errstate(all="ignore"):
        rest = [statistic(np.delete(rows, number, axis=0)) if n > 1 else np.nan for number in range(n)]
        return n * statistic(rows) - (n - 1) * np.array(rest)


def kind(check: Callable[..., Finding]) -> Callable[..., Finding]:
    """Register a check under its name."""
    KINDS[check.__name__] = check
    return check


def _pairs(evidence: Evidence, claim: Claim, better: list, worse: list | str, values: Callable) -> Comparisons:
    """Every better curve with every worse one, in every experiment; ``others``: all curves that are not better ones."""
    for experiment in claim.experiments:
        rivals = worse
        if worse == "others":
            rivals = [label for label in evidence.labels.get(experiment, ()) if label not in better] or ["others"]
        for one, other in product(better, rivals):
            name = f"{experiment}: " * (len(claim.experiments) > 1) + f"{one} – {other}"
            yield name, lambda one=(experiment, one), other=(experiment, other): values(one, other)


@kind
def lead(evidence, claim, *, better, worse, at, than=None, points=None, margin=None) -> Finding:
    """Every better curve lies above every worse one, or ahead by ``points`` give or take ``margin`` (0: "similar").

    With ``than`` it is the growth of the lead from that cycle to ``at``.
    """

    def values(one, other):
        ahead = evidence.lead(one, other, at)
        return ahead if than is None else ahead - evidence.lead(one, other, than)

    region = (0, np.inf) if points is None else (points - margin, points + margin)
    return settle(_pairs(evidence, claim, better, worse, values), *region)


@kind
def across(evidence, claim, *, curves, at) -> Finding:
    """Each curve lies higher in the first experiment than in the second; ``both``: all curves that both have."""
    first, second = claim.experiments
    if curves == "both":
        one, other = (evidence.labels.get(experiment, []) for experiment in (first, second))
        curves = [label for label in one if label in other] or one or ["curves"]
    return settle(((c, lambda c=c: evidence.lead((first, c), (second, c), at)) for c in curves), 0)


@kind
def level(evidence, claim, *, curves, value, margin, data, at) -> Finding:
    """Every curve is at so many per cent, give or take the margin."""
    values = ((curve, lambda curve=curve: evidence.curve(claim.experiments[0], curve, at)) for curve in curves)
    finding = settle(values, value - margin, value + margin, sign="")
    if finding.verdict != NOT_RUN and (evidence.scale != PAPER or evidence.provenance()[0] != data):
        finding.verdict, finding.reason = UNSURE, f"absolute numbers belong to the paper's protocol, on {data}"
    return finding


@kind
def steadier(evidence, claim, *, better, worse, at) -> Finding:
    """Less deviation over the seeds: the logarithm of the other's over its own is above 0 (jackknife, Miller 1968)."""

    def values(one, other):
        both = pd.concat([evidence.curve(*one, at), evidence.curve(*other, at)], axis=1, join="inner").to_numpy()
        return _jackknife(lambda rows: np.log(rows[:, 1].std() / rows[:, 0].std()), both)

    return settle(_pairs(evidence, claim, better, worse, values), 0)


def _groups(evidence: Evidence) -> np.ndarray:
    """Fig. 7: images [seeds, groups, consensus or not, correct or not]."""
    _, missing = evidence.found("fig7", lambda cell: True)
    if missing:
        raise Missing(missing[0])
    table = figures.bucket_table(evidence.results("fig7"))
    images = table.groupby(["seed", "group", "consensus", "correct"])["images"].sum()
    return images.to_numpy(dtype=float).reshape(-1, figures.BUCKETS, 2, 2)[:, :, ::-1, ::-1]


@kind
def buckets(evidence, claim) -> Finding:
    """In each group of Fig. 7 accuracy with consensus is above that without, over all seeds' images; by jackknife.

    Seeds share the test images and many have few of one kind in a group, so that neither the images (as in an exact
    test of the pooled counts) nor each seed's own two accuracies would do: images are pooled, seeds left out in turn.
    A group where that leaves a kind without images is undecided.
    """

    def difference(images):
        accuracy = 100 * images.sum(0)[:, 0] / images.sum(0).sum(1)
        return accuracy[0] - accuracy[1]

    groups = range(figures.BUCKETS)
    return settle(((f"group {g + 1}", lambda g=g: _jackknife(difference, _groups(evidence)[:, g])) for g in groups), 0)


@kind
def mistaken(evidence, claim) -> Finding:
    """Of the group with the largest discrepancy more than half, in per cent, are answered wrongly."""

    def share():
        images = _groups(evidence)[:, -1].sum(1)
        return 100 * images[:, 1] / images.sum(1)

    return settle([("wrong", share)], 50, sign="")


# Exact claims


def _exact(wrong: list[str], ours: str, missing: Iterable[str] = (), seeds: int = 0) -> Finding:
    """One counterexample refutes; without anything to look at (``ours`` empty) it is not run."""
    if not ours:
        return Finding(NOT_RUN, reason=_reason([], missing))
    said = f"not so: {', '.join(wrong[:3])}" + f" and {len(wrong) - 3} more" * (len(wrong) > 3) if wrong else ""
    return Finding(FAILS if wrong else UNSURE if [*missing] else HOLDS, ours, seeds, _reason([said], missing))


def _every(evidence: Evidence, claim: Claim, look: Callable, methods: Iterable[str] = ("",)) -> Finding:
    """Whether ``look(experiment, cell, record)`` says yes to every run of the methods (the empty name: of all)."""
    wrong, missing, seeds, n = [], [], set(), 0
    for experiment, method in product(claim.experiments, methods):
        runs, gaps = evidence.found(experiment, lambda cell, m=method: m in ("", cell.config.method), method or "runs")
        missing += gaps
        for cell, record in runs:
            n, seeds = n + 1, seeds | {cell.config.seed}
            try:
                if not look(experiment, cell, record):
                    wrong.append(f"{cell.label}, seed {cell.config.seed} of {experiment}")
            except ValueError as error:  # its pools are not those of today's code
                missing.append(str(error).rstrip("."))
    return _exact(wrong, f"in {n - len(wrong)} of {n} runs" if n else "", missing, len(seeds))


@kind
def seen(evidence, claim, *, methods, images) -> Finding:
    """In every run of the methods the cloud sees no unlabelled image at any cycle (``none``), or does (``some``)."""

    def look(experiment, cell, record):
        return any(entry["unlabelled_seen"] for entry in record["cycles"]) == (images == "some")

    return _every(evidence, claim, look, methods)


@kind
def unpicked(evidence, claim) -> Finding:
    """No protected image is picked in any run; which are protected is drawn again from its config."""

    def look(experiment, cell, record):
        protected = figures.initial_pools(cell, record).protected
        return not any(np.isin(entry["picked"], protected).any() for entry in record["cycles"])

    return _every(evidence, claim, look)


@kind
def same_pools(evidence, claim) -> Finding:
    """All runs of a seed and experiment began with one and the same pools, by their fingerprint."""
    pools = {}
    return _every(
        evidence,
        claim,
        lambda e, cell, record: pools.setdefault((e, cell.config.seed), record["pools"]) == record["pools"],
    )


@cache
def parameters() -> dict[str, int]:
    """Counted: of what each method samples with (``PSL``, ``PSL for pixels``), and of each network by its name."""
    found = {name: models.count_parameters(models.build(name, 10)) for name in ("resnet8", "resnet14", "resnet18")}
    for row in tables.model_sizes().to_dict("records"):
        name = row["model"].partition(" (")[0]
        sizes = {name: row["image labels"], f"{name} for pixels": row["pixel labels"]}
        found |= {label: int(count.replace(",", "")) for label, count in sizes.items() if count != "–"}
    return found


@kind
def size(evidence, claim, *, of, to=None) -> Finding:
    """Each has the printed millions of parameters; or the printed multiple of the parameters of ``to``."""
    printed, unit = claim.paper.split()[0], parameters()[to] if to else 10**6
    digit = Decimal(1).scaleb(-len(printed.partition(".")[2]))
    sizes = {name: Decimal(parameters()[name]) / unit for name in of}
    prints = {name: {str(s.quantize(digit, way)) for way in (ROUND_HALF_UP, ROUND_DOWN)} for name, s in sizes.items()}
    wrong = [name for name in of if printed not in prints[name]]
    ours = dict.fromkeys(f"{sizes[name]:.2f}" if to else f"{parameters()[name]:,}" for name in of)
    return _exact(wrong, ", ".join(ours))


@kind
def smallest(evidence, claim, *, of, below) -> Finding:
    """One has fewer parameters than each of the others."""
    own, others = parameters()[of], {name: parameters()[name] for name in below}
    wrong = [name for name, count in others.items() if own >= count]
    return _exact(wrong, f"{own:,} against {min(others.values()):,} and more")


@kind
def faster(evidence, claim, *, order) -> Finding:
    """Every method of a rank picks in less time than every one of the next rank."""
    seconds = evidence.seconds()
    missing = [f"{name} of table2" for rank in order for name in rank if name not in seconds]
    pairs = [pair for ranks in pairwise(order) for pair in product(*ranks) if set(pair) <= set(seconds)]
    wrong = [f"{a} – {b}" for a, b in pairs if seconds[a] > SLACK * seconds[b]]
    close = [f"a clear difference {a} – {b}" for a, b in pairs if 1 / SLACK <= seconds[a] / seconds[b] <= SLACK]
    ours = ", ".join(f"{name} {tables.seconds(seconds[name])} s" for name in sorted(seconds, key=seconds.get))
    return _exact(wrong, ours if pairs else "", missing + close)


@kind
def seconds(evidence, claim, *, of, most) -> Finding:
    """A method picks within so many seconds."""
    taken = evidence.seconds().get(of)
    if taken is None:
        return Finding(NOT_RUN, reason=f"missing: {of} of table2")
    if evidence.scale != PAPER:
        return Finding(UNSURE, f"{tables.seconds(taken)} s", 0, "absolute numbers belong to the paper's protocol")
    return _exact([of] if taken > SLACK * most else [], f"{tables.seconds(taken)} s")


# What people read


def judge(
    scale: str, params: str | Path = "params.yaml", out: str | Path = "outputs", experiment: str | None = None
) -> list[dict]:
    """Every claim, or those that rest on one experiment, with its verdict at a scale; runs nothing.

    Reads the finished records and ``table2.json``.

    Returns
    -------
    list of dict
        ``id``, ``experiment``, ``claim``, ``source``, ``paper``, ``ours`` (text, with 95 % intervals), ``seeds``,
        ``scale``, ``data``, ``hardware``, ``verdict``, ``reason``, ``stale`` (records made by other code); in the order
        of ``claims.yaml``.

    Raises
    ------
    ValueError, FileNotFoundError
        If the scale is unknown, or a file is missing or not what it should be.
    """
    evidence, rows = Evidence(scale, params, out), []
    for claim in (claim for claim in load() if experiment is None or experiment in claim.experiments):
        evidence.used.clear()
        finding = KINDS[claim.check["kind"]](
            evidence, claim, **{name: value for name, value in claim.check.items() if name != "kind"}
        )
        ran = finding.verdict != NOT_RUN
        data, hardware, stale = evidence.provenance() if ran else ("–", "–", 0)
        said = [finding.reason, claim.note]
        if data != "–" and scale != PAPER:
            said.insert(1, f"at scale {scale} on {data}, not by the paper's protocol")
        rows.append(
            {"id": claim.id, "experiment": ", ".join(claim.experiments), "claim": claim.claim, "source": claim.source,
             "paper": claim.paper, "ours": finding.ours, "seeds": finding.seeds, "scale": scale, "data": data,
             "hardware": hardware, "verdict": finding.verdict, "reason": _reason(said), "stale": stale}
        )  # fmt: skip
    return rows


def counts(rows: list[dict]) -> dict[str, int]:
    """How many claims have each verdict; all four are there."""
    return {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}


def table(rows: list[dict]) -> pd.DataFrame:
    """For people: a row a claim."""
    return pd.DataFrame(
        {
            "experiment": row["experiment"],
            "claim": row["claim"],
            "paper": row["paper"],
            "ours": row["ours"],
            "seeds": row["seeds"] or "–",
            "scale, data, hardware": f"{row['scale']}; {row['data']}; {row['hardware']}",
            "verdict": row["verdict"],
            "why": row["reason"] + f" ({row['stale']} records made by other code)" * bool(row["stale"]),
        }
        for row in rows
    )


def markdown(rows: list[dict]) -> str:
    """What the README shows of ``table``, as a GitHub table."""
    shown = table(rows)[["claim", "paper", "ours", "seeds", "verdict"]] if rows else table(rows)
    lines = [list(shown.columns), ["---"] * shown.shape[1], *shown.astype(str).to_numpy().tolist()]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def write(rows: list[dict], scale: str, out: str | Path = "outputs") -> Path:
    """Write ``<out>/<scale>/claims.json``, whole or not at all; the same rows give the same bytes."""
    path = Path(out) / scale / "claims.json"
    records.write_bytes(path, (json.dumps(rows, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
    return path

"""How a claim is judged: one rule for each kind of check, by the rules of ``verdicts``."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache, partial
from itertools import pairwise, product
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import AfterValidator, ValidationInfo

from pslcore import models
from pslcore.runs import Record
from psllab import grid
from psllab.analysis import consensus as fig7
from psllab.analysis import decision as rule
from psllab.analysis import figures, statistics, tables
from psllab.analysis.decision import CONTRADICTED, INCONCLUSIVE, NEGLIGIBLE, NOT_APPLICABLE, NOT_RUN, SUPPORTED, Region
from psllab.claims.evidence import PAPER, At, Claim, Curve, Early, Evidence, Missing, Unlearned
from psllab.claims.finding import Finding, Part, format_reasons, kind
from psllab.grid import Cell

SLACK = 1.1  # two times within this ratio are the same
SAME_ROLE = {"ResNet-8": "mlp16", "ResNet-14": "mlp32", "ResNet-18": "mlp128"}
"""Of Fig. 5c on frozen features: the smallest, the middle, the largest student."""


# Claims on seeds

Labels = list[str]
Rivals = Labels | Literal["others"]
Comparisons = Iterable[tuple[Any, ...]]
"""Each a name, a function that gives one value a seed or raises ``Missing``, and the curves that it is of."""


def settle(
    comparisons: Comparisons, low: float, high: float = np.inf, sign: str = "+", interim: int = 1, matters: float = 0.0
) -> Finding:  # fmt: skip
    """Whether the mean of every comparison lies between ``low`` and ``high``, by the rules of ``verdicts``."""
    region, parts, missing, unlearned = Region(low, high, matters, max(interim, 1)), [], [], False
    for name, values, *curves in comparisons:
        parts.append(part := Part(name, tuple(curves)))
        try:
            part.values, part.verdict = np.asarray(values(), dtype=float), INCONCLUSIVE
        except Early as error:
            missing.append(str(error))
            if isinstance(error.values, pd.Series):
                part.values = np.asarray(error.values, dtype=float)
        except Missing as error:
            unlearned |= isinstance(error, Unlearned)
            missing.append(str(error))
    known = {part.name: part.values for part in parts if part.judged}
    if not known:
        verdict, reason = NOT_APPLICABLE if unlearned else NOT_RUN, format_reasons([], missing)
        return Finding(verdict, reason=reason, parts=parts, region=region, closed=unlearned)
    mean, sd, n = map(np.array, zip(*map(rule.summary, known.values()), strict=True))
    inside, outside, negligible = rule.decide(mean, sd, n, region)
    verdict = str(rule.verdict(inside, outside, negligible, whole=not missing))
    single = rule.verdict(inside[:, None], outside[:, None], negligible[:, None])
    for part, own in zip((part for part in parts if part.judged), single, strict=True):
        part.verdict = str(own)

    def named(which: np.ndarray) -> str:
        return ", ".join(np.array(list(known))[which])

    wanted = f"above {low:g}" if np.isinf(high) else f"between {low:g} and {high:g}"
    wrong, undecided = named(outside & ~negligible), named(~inside & ~outside & ~negligible)
    said = f"undecided whether {wanted}: {undecided}" if undecided else ""
    if verdict in (SUPPORTED, NEGLIGIBLE):
        said = f"{wanted} in {(inside & ~negligible).sum()} of {len(known)}"
    elif wrong:
        said = f"not {wanted}: {wrong}"
    within = f"within ±{matters:g}: {named(negligible)}" if negligible.any() else ""
    seeds = min(map(len, known.values()))
    return Finding(
        verdict, _shown(known, sign, region.interim), seeds, format_reasons([said, within], missing), parts, region
    )


def _shown(known: dict[str, np.ndarray], sign: str, interim: int) -> str:
    """``name +1.2 ± 0.3`` of each; of more than eight the range of the means alone."""
    means = {name: values.mean() if len(values) else np.nan for name, values in known.items()}
    if len(known) > 8:
        some = [mean for mean in means.values() if not np.isnan(mean)] or [np.nan]
        low, high = (f"{edge(some):{sign}z.1f}" for edge in (min, max))
        return f"{len(known)} comparisons, means from {low} to {high}"
    half = {name: statistics.interval(values, interim) for name, values in known.items()}
    return "; ".join(f"{name} {figures.format_interval(mean, half[name], sign)}" for name, mean in means.items())


def _pairs(
    evidence: Evidence, claim: Claim, better: Labels, worse: Rivals,
    values: Callable[[Curve, Curve], ArrayLike],
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """Every better curve with every worse one, in every experiment; ``others``: all curves that are not better ones."""
    for experiment in claim.experiments:
        there = evidence.labels.get(experiment, [])
        rivals = [label for label in there if label not in better] or ["others"] if worse == "others" else worse
        for pair in product(better, rivals):
            one, other = (name if name in there else SAME_ROLE.get(name, name) for name in pair)
            name = f"{experiment}: " * (len(claim.experiments) > 1) + f"{one} – {other}"
            yield name, partial(values, (experiment, one), (experiment, other)), (experiment, one), (experiment, other)


def _fitting(margin: float, others: ValidationInfo) -> float:
    points = others.data.get("points")
    if points is not None and not 0 < margin <= (points or np.inf):  # a lead is above 0
        raise ValueError(f"= {margin} must be above 0 and at most the lead itself, {points}.")
    return margin


@kind
def lead(
    evidence: Evidence, claim: Claim, *, better: Labels, worse: Rivals, at: At,
    than: At | None = None, points: float | None = None,
    margin: Annotated[float, AfterValidator(_fitting)] = 0.0,
) -> Finding:  # fmt: skip
    """Every better curve lies above every worse one, or ahead by ``points`` give or take ``margin`` (0: "similar").

    With ``than`` it is the growth of the lead from that cycle to ``at``. Without ``points`` it is a direction, so that
    there may be no difference that matters; nor need there be one where the margin is the lead itself.
    """

    def values(one: Curve, other: Curve) -> pd.Series:
        ahead = evidence.lead(one, other, at)
        return ahead if than is None else ahead - evidence.lead(one, other, than)

    pairs, interim = _pairs(evidence, claim, better, worse, values), len(evidence.interim)
    if points is None:
        return settle(pairs, 0.0, interim=interim, matters=rule.MATTERS)
    region = points - margin, points + margin
    finding = settle(pairs, *region, interim=interim, matters=0.0 if region[0] else rule.MATTERS)
    return replace(finding, paper=float(points))


@kind
def across(evidence: Evidence, claim: Claim, *, curves: Labels | Literal["both"], at: At) -> Finding:
    """Each curve lies higher in the first experiment than in the second; ``both``: all curves that both have."""
    first, second = claim.experiments
    if curves == "both":
        one, other = (evidence.labels.get(experiment, []) for experiment in (first, second))
        curves = [label for label in one if label in other] or one or ["curves"]
    pairs = (
        (curve, partial(evidence.lead, (first, curve), (second, curve), at), (first, curve), (second, curve))
        for curve in curves
    )
    return settle(pairs, 0, interim=len(evidence.interim), matters=rule.MATTERS)


@kind
def level(
    evidence: Evidence, claim: Claim, *, curves: Labels, value: float, margin: float, data: str, at: At
) -> Finding:  # fmt: skip
    """Every curve is at so many per cent, give or take the margin."""
    experiment = claim.experiments[0]

    def values(curve: str) -> pd.Series:
        return evidence.counted(evidence.curve(experiment, curve, at), f"{curve} of {experiment}")

    looked = ((curve, partial(values, curve), (experiment, curve)) for curve in curves)
    finding = settle(looked, value - margin, value + margin, sign="", interim=len(evidence.interim))
    finding.unit, finding.paper = "%", float(value)
    if evidence.scale != PAPER or (finding.verdict != NOT_RUN and evidence.provenance()[0].split("@")[0] != data):
        reason = f"absolute numbers belong to the paper's protocol, on {data}"
        return replace(finding, verdict=NOT_APPLICABLE, reason=reason, closed=True)
    return finding


@kind
def steadier(evidence: Evidence, claim: Claim, *, better: Labels, worse: Rivals, at: At) -> Finding:
    """Less deviation over the seeds: the logarithm of the other's over its own is above 0 (jackknife, Miller 1968)."""

    def values(one: Curve, other: Curve) -> np.ndarray:
        both = evidence.pair(one, other, at).to_numpy()
        return statistics.jackknife(lambda rows: np.log(rows[:, 1].std() / rows[:, 0].std()), both)

    return replace(
        settle(_pairs(evidence, claim, better, worse, values), 0, interim=len(evidence.interim)), unit="ratio"
    )


def groups(evidence: Evidence) -> np.ndarray:
    """Fig. 7: images [seeds, groups, consensus or not, correct or not]."""
    evidence.runs("fig7")
    evidence.learned("fig7")
    images = fig7.table(evidence.results("fig7")).groupby(["seed", "group", "consensus", "correct"])["images"].sum()
    seeds = evidence.counted(images.index.unique("seed").to_series(), "runs of fig7")
    return images.loc[seeds.tolist()].to_numpy(dtype=float).reshape(-1, fig7.GROUPS, 2, 2)[:, :, ::-1, ::-1]


def _of_fig7(evidence: Evidence) -> list[Curve]:
    return [("fig7", label) for label in evidence.labels.get("fig7", ())]


@kind
def buckets(evidence: Evidence, claim: Claim) -> Finding:
    """In each group of Fig. 7 accuracy with consensus is above that without, over all seeds' images; by jackknife.

    Seeds share the test images and many have few of one kind in a group, so that neither the images (as in an exact
    test of the pooled counts) nor each seed's own two accuracies would do: images are pooled, seeds left out in turn.
    A group where that leaves a kind without images is undecided.
    """

    def difference(images: np.ndarray) -> float:
        accuracy = 100 * images.sum(0)[:, 0] / images.sum(0).sum(1)
        return accuracy[0] - accuracy[1]

    def values(group: int) -> np.ndarray:
        return statistics.jackknife(difference, groups(evidence)[:, group])

    curves = _of_fig7(evidence)
    looked = ((f"group {group + 1}", partial(values, group), *curves) for group in range(fig7.GROUPS))
    return settle(looked, 0, interim=len(evidence.interim))


@kind
def mistaken(evidence: Evidence, claim: Claim) -> Finding:
    """Of the group with the largest discrepancy more than half, in per cent, are answered wrongly."""

    def share() -> np.ndarray:
        images = groups(evidence)[:, -1].sum(1)
        return 100 * images[:, 1] / images.sum(1)

    return replace(
        settle([("wrong", share, *_of_fig7(evidence))], 50, sign="", interim=len(evidence.interim)), unit="%"
    )


# Exact claims


def _counted(name: str, value: float, region: Region) -> Part:
    verdict = SUPPORTED if region.low <= value <= region.high else CONTRADICTED
    return Part(name, values=np.array([value]), verdict=verdict)


def _exact(
    wrong: list[str], ours: str, missing: Iterable[str] = (), seeds: int = 0, close: Iterable[str] = ()
) -> Finding:  # fmt: skip
    """One counterexample refutes; without anything to look at (``ours`` empty) it is not run.

    What is missing is named and changes nothing; what is too ``close``, or must not be missing, leaves it undecided.
    """
    if not ours:
        return Finding(NOT_RUN, reason=format_reasons([], missing))
    said = f"not so: {', '.join(wrong[:3])}" + f" and {len(wrong) - 3} more" * (len(wrong) > 3) if wrong else ""
    return Finding(
        CONTRADICTED if wrong else INCONCLUSIVE if close else SUPPORTED,
        ours,
        seeds,
        format_reasons([said], [*missing, *close]),
    )


def _every(
    evidence: Evidence, claim: Claim, look: Callable[[str, Cell, Record], bool | None], methods: Iterable[str] = ("",)
) -> Finding:
    """Whether ``look(experiment, cell, record)`` says yes to every run of the methods (the empty name: of all).

    It is exact, so that the runs that exist decide, however few; one that ``look`` says nothing of (None) has no part.
    """
    missing: list[str] = []
    wrong: dict[str, str] = {}
    seeds: dict[str, int | None] = {}  # by the key of the run, which experiments may share
    for experiment, method in product(claim.experiments, methods):
        runs, gaps = evidence.found(experiment, method=method)
        missing += gaps
        for cell, record in runs:
            key = cell.config.key
            try:
                right = look(experiment, cell, record)
            except ValueError as error:  # its pools are not those of today's code
                missing.append(str(error).rstrip("."))
                continue
            seeds[key] = cell.config.seed if right is not None else None
            if right is False:
                wrong[key] = f"{cell.label}, seed {cell.config.seed} of {experiment}"
    judged = [seed for seed in seeds.values() if seed is not None]
    n, silent = len(judged), len(seeds) - len(judged)
    said = f"in {n - len(wrong):,} of {n:,} runs" + f" ({silent:,} more keep a hash of their picks)" * bool(silent)
    return _exact([*wrong.values()], said if n else "", missing, len(set(judged)))


@kind
def seen(evidence: Evidence, claim: Claim, *, methods: Labels, images: Literal["none", "some"]) -> Finding:
    """In every run of the methods the cloud sees no unlabelled image at any cycle (``none``), or does (``some``)."""

    def look(experiment: str, cell: Cell, record: Record) -> bool:
        return any(entry["unlabelled_seen"] for entry in record["cycles"]) == (images == "some")

    return _every(evidence, claim, look, methods)


@kind
def unpicked(evidence: Evidence, claim: Claim) -> Finding:
    """No protected image is picked in any run that kept its picks; which are protected is drawn from its config."""

    def look(experiment: str, cell: Cell, record: Record) -> bool | None:
        if grid.is_brief(record):
            return None
        protected = figures.initial_pools(cell, record).protected
        return not any(np.isin(picked, protected).any() for picked in grid.picks(record))

    return _every(evidence, claim, look)


@kind
def same_pools(evidence: Evidence, claim: Claim) -> Finding:
    """All runs of a seed and experiment began with one and the same pools, by their fingerprint."""
    pools: dict[tuple[str, int], str] = {}

    def look(experiment: str, cell: Cell, record: Record) -> bool:
        return pools.setdefault((experiment, cell.config.seed), record["pools"]) == record["pools"]

    return _every(evidence, claim, look)


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
def size(evidence: Evidence, claim: Claim, *, of: Labels, to: str | None = None) -> Finding:
    """Each has the printed millions of parameters; or the printed multiple of the parameters of ``to``."""
    printed, unit = claim.paper.split()[0], parameters()[to] if to else 10**6
    digit = Decimal(1).scaleb(-len(printed.partition(".")[2]))
    sizes = {name: Decimal(parameters()[name]) / unit for name in of}
    prints = {name: {str(s.quantize(digit, way)) for way in (ROUND_HALF_UP, ROUND_DOWN)} for name, s in sizes.items()}
    wrong = [name for name in of if printed not in prints[name]]
    ours = dict.fromkeys(f"{sizes[name]:.2f}" if to else f"{parameters()[name]:,}" for name in of)
    region = Region(float(Decimal(printed) - digit / 2), float(Decimal(printed) + digit))  # rounded, or truncated
    parts = [_counted(name, float(sizes[name]), region) for name in of]
    return replace(
        _exact(wrong, ", ".join(ours)), parts=parts, region=region, unit="times" if to else "M", paper=float(printed)
    )


@kind
def smallest(evidence: Evidence, claim: Claim, *, of: str, below: Labels) -> Finding:
    """One has fewer parameters than each of the others."""
    own, others = parameters()[of], {name: parameters()[name] for name in below}
    wrong = [name for name, count in others.items() if own >= count]
    return _exact(wrong, f"{own:,} against {min(others.values()):,} and more")


@kind
def faster(evidence: Evidence, claim: Claim, *, order: list[Labels]) -> Finding:
    """Every method of a rank picks in less time than every one of the next rank."""
    seconds = evidence.seconds()
    missing = [f"{name} of table2" for rank in order for name in rank if name not in seconds]
    pairs = [pair for ranks in pairwise(order) for pair in product(*ranks) if set(pair) <= set(seconds)]
    wrong = [f"{a} – {b}" for a, b in pairs if seconds[a] > SLACK * seconds[b]]
    close = [f"a clear difference {a} – {b}" for a, b in pairs if 1 / SLACK <= seconds[a] / seconds[b] <= SLACK]
    ours = ", ".join(f"{name} {tables.seconds(seconds[name])} s" for name in sorted(seconds, key=seconds.__getitem__))
    return _exact(wrong, ours if pairs else "", close=missing + close)


@kind
def seconds(evidence: Evidence, claim: Claim, *, of: str, most: float) -> Finding:
    """A method picks within so many seconds."""
    taken = evidence.seconds().get(of)
    if taken is None:
        return Finding(NOT_RUN, reason=f"missing: {of} of table2")
    finding = _exact([of] if taken > SLACK * most else [], f"{tables.seconds(taken)} s")
    if evidence.scale != PAPER:
        finding = Finding(
            NOT_APPLICABLE, finding.ours, 0, "absolute numbers belong to the paper's protocol", closed=True
        )
    region = Region(0, SLACK * most)
    return replace(finding, parts=[_counted(of, taken, region)], region=region, unit="s", paper=most)

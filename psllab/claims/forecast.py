"""What would decide an open claim: how many more seeds, which runs, how many core-minutes, by what is known so far.

It is a forecast and no verdict: mean and spread of each comparison are taken as they are now, and the very rule of the
verdicts is asked at which of the coming interim analyses they would decide. Seconds a run are those of finished runs.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from psllab.analysis import decision
from psllab.analysis.decision import INCONCLUSIVE, NOT_RUN
from psllab.claims.evidence import Claim, Curve, Evidence
from psllab.claims.finding import Finding, Part
from psllab.grid import Cell

_MOST = 100_000  # seeds; beyond that nobody runs anything


@dataclass
class Forecast:
    """What a claim is expected to need.

    Attributes
    ----------
    claim : Claim
    seeds : int or None
        More paired seeds, of the comparison that needs most; None where nobody knows.
    minutes : float or None
        Core-minutes of all runs for them.
    runs : list of (experiment, Cell)
        Those of them that ``params.yaml`` has and that are not finished, seed by seed.
    text : str
        For people.
    """

    claim: Claim
    seeds: int | None = None
    minutes: float | None = None
    runs: list[tuple[str, Cell]] = field(default_factory=list)
    text: str = ""


def expected(
    evidence: Evidence, claim: Claim, finding: Finding, avoid: frozenset[tuple[str, int]] = frozenset()
) -> Forecast | None:  # fmt: skip
    """The forecast for a claim, None if it is settled or no seed could settle it; ``avoid``: (experiment, seed)."""
    here = [part for part in finding.parts if part.curves and all(map(_known(evidence), part.curves))]
    if finding.verdict not in (INCONCLUSIVE, NOT_RUN) or finding.closed or not here:
        return None
    have = [len(_pairs(evidence, part)[0]) for part in here]
    planned = min(len(_seeds(evidence, part, avoid)) for part in here)
    whole = len(here) == len(finding.parts)
    mean, sd = (np.array(column) for column in zip(*(decision.summary(part.values)[:2] for part in here), strict=True))
    nothing = np.isnan(mean)
    if not nothing.all():  # two to four seeds say little of their spread: no less than is usual in this claim
        few = np.array([len(part.values) < 5 for part in here]) & ~nothing
        sd = np.where(few, np.maximum(sd, np.nanmedian(sd)), sd)

    def first(numbers: list[int]) -> int | None:
        """Of so many seeds the fewest that would settle it if all went on as it has."""
        n = np.maximum(np.array(numbers, dtype=int)[:, None], have)
        settled = decision.verdict(*decision.decide(mean, sd, n, finding.region), whole=whole) != INCONCLUSIVE
        return next((number for number, told in zip(numbers, settled, strict=True) if told), None)

    coming = [n for n in evidence.interim or (planned,) if min(have) < n <= planned]
    target = first(coming)
    unknown = target is None and bool(coming) and bool(nothing.any())
    target = coming[0] if unknown else target
    if target is None:
        return _beyond(evidence, claim, here, have, planned, first(_growing(planned)), whole)
    runs = {
        cell.config.key: (experiment, cell)
        for part in here for experiment, cell in _unfinished(evidence, part, target, avoid)
    }  # fmt: skip
    minutes = _minutes(evidence, list(runs.values()))
    seeds = max(target - own for own in have)
    about = "at least" if unknown else "about"
    begun = {(name, label) for name, _ in runs.values() for label, _ in evidence.clocked(name)}
    new = dict.fromkeys(cell.label for name, cell in runs.values() if (name, cell.label) not in begun)
    only = bool(begun) and all(cell.label in new for _, cell in runs.values())  # the others have their seeds
    noun = "seed" if seeds == 1 else "seeds"
    text = f"{about} {seeds} {f'{noun} of ' + ', '.join(new) if only else f'more paired {noun}'}{_cost(minutes)}"
    ordered = sorted(runs.values(), key=lambda run: run[1].config.seed)
    return Forecast(claim, seeds, minutes, ordered, text)


def _beyond(
    evidence: Evidence, claim: Claim, parts: list[Part], have: list[int], planned: int, n: int | None, whole: bool
) -> Forecast:
    """Of a claim that the seeds of ``params.yaml`` are not expected to settle."""
    if n is None:
        lacks = "" if whole else ": what is not at this scale would have to be run as well"
        return Forecast(claim, text=f"not by seeds alone{lacks}" if lacks else "nobody knows: too little has been run")
    curves = {curve: max(0, n - own) for part, own in zip(parts, have, strict=True) for curve in part.curves}
    seconds = [more * each for curve, more in curves.items() if (each := seconds_a_run(evidence, curve)) is not None]
    minutes = sum(seconds) / 60 if len(seconds) == len(curves) else None
    text = f"about {n} paired seeds in all{_cost(minutes)}, more than the {planned} of params.yaml"
    return Forecast(claim, n - min(have), minutes, [], text)


def _growing(planned: int) -> list[int]:
    """Numbers of seeds beyond the plan, a few per cent apart."""
    numbers = np.geomspace(max(planned, 2) + 1, _MOST, 300)
    return list(dict.fromkeys(int(number) for number in np.ceil(numbers)))


def _cost(minutes: float | None) -> str:
    return "" if minutes is None else f", {minutes:,.{int(minutes < 10)}f} core-minutes"


def _known(evidence: Evidence):
    return lambda curve: curve[1] in evidence.labels.get(curve[0], ())


def _pairs(evidence: Evidence, part: Part) -> tuple[set[int], set[int]]:
    """The seeds that all curves of a comparison have finished in one precision; those that are mixed."""
    done = evidence.precisions(part.curves)
    kinds = done.nunique(axis=1)
    return set(done.index[(kinds == 1) & done.notna().all(axis=1)]), set(done.index[kinds > 1])


def _seeds(evidence: Evidence, part: Part, avoid: frozenset[tuple[str, int]]) -> list[int]:
    """The seeds that a comparison has or could have, in order: not those whose finished runs are mixed."""
    paired, mixed = _pairs(evidence, part)
    possible = set.intersection(
        *({cell.config.seed for cell in evidence.cells[name] if cell.label == label} for name, label in part.curves)
    )
    avoided = {seed for name, seed in avoid if name in {curve[0] for curve in part.curves}}
    return sorted(paired | (possible - mixed - avoided))


def _unfinished(
    evidence: Evidence, part: Part, target: int, avoid: frozenset[tuple[str, int]]
) -> list[tuple[str, Cell]]:  # fmt: skip
    """The runs that a comparison lacks to so many paired seeds."""
    wanted, curves = set(_seeds(evidence, part, avoid)[:target]), set(part.curves)
    return [
        (name, cell) for name in dict.fromkeys(curve[0] for curve in part.curves)
        for cell in evidence.results(name).unfinished
        if (name, cell.label) in curves and cell.config.seed in wanted
    ]  # fmt: skip


def seconds_a_run(evidence: Evidence, curve: Curve) -> float | None:
    """Median of the clocked seconds of finished runs: of the curve, else of its namesakes in other experiments, else of
    its experiment, else of any at hand."""
    here = evidence.clocked(curve[0])
    own = [seconds for label, seconds in here if label == curve[1]]
    if not own:  # only then every experiment is read
        every = [run for name in evidence.labels for run in evidence.clocked(name)]
        own = [seconds for label, seconds in every if label == curve[1]]
        own = own or [seconds for _, seconds in here or every]
    return float(np.median(own)) if own else None


def _minutes(evidence: Evidence, runs: list[tuple[str, Cell]]) -> float | None:
    curves = Counter((name, cell.label) for name, cell in runs)
    seconds = [(n, each) for curve, n in curves.items() if (each := seconds_a_run(evidence, curve)) is not None]
    return sum(n * each for n, each in seconds) / 60 if len(seconds) == len(curves) else None


def format_forecasts(forecasts: list[Forecast]) -> str:
    """One line a claim, for the command line."""
    return "".join(f"{forecast.claim.id}: {forecast.text}\n" for forecast in forecasts)

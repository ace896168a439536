"""The verdict on every claim of the paper: what ``claims.yaml`` states, held against the records of one scale.

Claims, regions and margins stood before the first published record and are as they were, but for three claims that
came later and say so where they are written. *No relevant difference*, *not applicable*, the floor and the same runs
came when `digits`, `small` and part of `laptop` were known, and before `features`; that "about k" may be no relevant
difference, when twenty seeds of `features` were. None of it changed a verdict that was decided. The rules:

* **The unit is the seed.** Methods share pools and first weights within a seed, so a comparison is the difference
  seed by seed, over the seeds that both have, in percentage points; its 95 % interval is Student's t.
* **A claim is a region and one or more comparisons.** "Above": more than 0. "About k points ahead": k ± margin.
  "Similar": 0 ± margin. It is *supported* if the interval of every comparison lies inside the region, *contradicted*
  if that of any one lies wholly outside (for "above": a true reversal), and else *inconclusive*: no difference found
  is never taken for no difference.
* **No relevant difference.** 0.5 points of area is the smallest difference of interest. Where a claim is a direction
  ("above") in points of the metric, an interval wholly within ±0.5 is *no relevant difference*, whichever side of 0
  it may be on: neither a lead nor a reversal. A claim of several comparisons has this verdict if each is either above
  or makes no such difference, and one at least makes none. The same bound serves areas, single cycles and the growth
  of a lead, which are in the same points. Where "about k points" has the margin k, so that its region begins at 0, an
  interval that lies neither inside nor outside, but within ±0.5, is *no relevant difference* too: no more seeds would
  decide. The bound is not used where a claim names another margin ("about k", "similar", levels), and where the unit
  is another: steadiness (a ratio of spreads), the groups of test images of Fig. 7 (their accuracies differ by tens of
  points), counts and seconds.
* **The paper's number** may lie outside our interval although a claim's margin reaches it, and inside although the
  claim is inconclusive. So beside every printed number stands whether it is inside our interval.
* **What a verdict is on.** A claim about CIFAR-10, CIFAR-100, Tiny ImageNet, street scenes or ten clients is judged
  where those data ran, as the scale `paper` of `params.yaml` names them, at whatever size. Where pictures were turned
  into features first the verdict is *on frozen features*; Fig. 5c's students are then held against each other by
  size. On other data, or with another number of clients, what is judged is the *same comparison on* those: no
  evidence for or against the claim itself.
* **A floor.** An experiment whose best curve does not end, in the mean of its seeds, at least 5 points above one
  class's share (100 % over the number of classes, which a constant answer cannot pass where classes are balanced, and
  in mean IoU nowhere) has learned nothing: its comparisons are *not applicable*, and count as missing where a claim
  has others. It is asked from the first interim analysis on.
* **The same runs** under two figures (two data sets of the paper, one stand-in) are judged and shown once, under the
  first; a claim on the second alone is *not applicable*.
* **Interim analyses.** A scale may name them under `looks` (`laptop`: 5, 10, 20 paired seeds; `digits`: 20, 60, 200).
  They are fixed before the first run, and verdicts are passed at these numbers alone: a comparison is judged on its
  first so many seeds, in order, at the last analysis that is fully reached; seeds beyond it wait for the next. The
  error probability of 0.05 is split evenly over the analyses (union bound), so that stopping at any of them is valid;
  the intervals shown are those of one analysis (98.3 % with three). Before the first a claim is *not run*: there is
  nothing to compare yet, and what is shown "so far" is no verdict. A seed that is not finished yet is passed over:
  which seeds are finished has nothing to do with what they say.
* **One precision a pair.** A pair of runs counts only if both trained in the same precision; a seed whose runs are
  mixed is left out and named.
* **Many comparisons** are corrected for their number (Holm) within the claim, in each direction (within ±0.5 by
  Bonferroni). Alone, a comparison has its plain interval. For "supported", where all must be inside, this is stricter
  than it need be.
* **No verdict without spread.** Fewer than two shared seeds, a metric that is no number, or differences that are
  equal in all seeds (on a small test set they may coincide) leave a comparison undecided.
* **Missing runs.** At a scale without interim analyses a curve with an unfinished seed counts as missing, so that
  nobody stops where the numbers please. With nothing to compare a claim is *not run*; with a part missing the rest
  can contradict it, but not support it.
* **Levels** ("78.06 %", "0.001 s") belong to the paper's protocol: they are judged at scale ``paper`` alone, on the
  paper's data, and are *not applicable* elsewhere. All other verdicts are of the scale, data and hardware that their
  row names.
* **Counts are exact**: what crossed and what was picked needs no seeds. Such a claim is supported if it holds in all
  runs that exist, with what is missing named; one counterexample refutes. A printed figure is met if ours, rounded or
  truncated, prints as it.
* **Seconds** of two methods count as different if they differ by more than 10 %.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import yaml
from pydantic import ValidationError

from pslcore.runs import records
from pslcore.settings import sentence, short
from psllab.analysis import exhibit
from psllab.analysis.decision import NOT_APPLICABLE, NOT_RUN, VERDICTS
from psllab.claims import forecast, intervals, summary
from psllab.claims.checks import SAME_ROLE
from psllab.claims.evidence import PAPER, Claim, Evidence
from psllab.claims.finding import ARGUMENTS, KINDS, Finding, format_reasons

_SHOWN = ["claim", "paper", "ours", "paper's number inside our interval", "seeds", "verdict"]
FILE = Path(__file__).with_name("claims.yaml")


def load(path: str | Path = FILE) -> list[Claim]:
    """The claims; ``ValueError`` with one sentence at the first entry that is not what it should be."""
    entries = yaml.safe_load(Path(path).read_text("utf-8"))
    if not isinstance(entries, list):
        raise ValueError(f"{path}: {short(entries)} must be a list of claims.")
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries, start=1):
        place = f"{path}: claim {short(entry.get('id', number) if isinstance(entry, dict) else number)}"
        try:
            claim = Claim.of(entry)
            if claim.check.kind not in KINDS:
                raise ValueError(f"unknown kind {short(claim.check.kind)}: choose one of {', '.join(KINDS)}.")
            ARGUMENTS[claim.check.kind].model_validate(claim.check.arguments)
        except ValidationError as error:  # of the arguments
            raise ValueError(sentence(error, place)) from None
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        if claim.id in claims:
            raise ValueError(f"{place} stands twice: give each its own id.")
        claims[claim.id] = claim
    return list(claims.values())


def findings(evidence: Evidence, experiment: str | None = None) -> Iterator[tuple[Claim, Finding]]:
    """Every claim, or those that rest on one experiment, with what was found; ``evidence.used`` is what it rests on."""
    for claim in load():
        if experiment is None or experiment in claim.experiments:
            evidence.forget()
            twins = {evidence.twins.get(name, name): name for name in reversed(claim.experiments)}
            once = (
                claim.but(experiments=list(reversed(twins.values()))) if len(twins) < len(claim.experiments) else claim
            )
            finding = KINDS[claim.check.kind](evidence, once, **claim.check.arguments)
            if finding.verdict != NOT_RUN and len(twins) == 1 and (same := evidence.twins.get(claim.experiments[0])):
                finding = replace(finding, verdict=NOT_APPLICABLE, reason=f"the same runs as {same}", closed=True)
            yield claim, finding


def judge(
    scale: str, params: str | Path = "params.yaml", out: str | Path = "outputs", experiment: str | None = None
) -> list[dict]:
    """Every claim, or those that rest on one experiment, with its verdict at a scale; runs nothing.

    Reads the finished records and ``table2.json``.

    Returns
    -------
    list of dict
        ``id``, ``experiment``, ``claim``, ``source``, ``paper``, ``ours`` (text, with 95 % intervals), ``seeds``,
        ``scale``, ``data``, ``hardware``, ``verdict``, ``basis`` (see ``Evidence.basis``), ``reason``,
        ``stale`` (records made by other code), ``forecast``
        (text: what would settle it, empty where it is settled or seeds cannot), ``more_seeds`` and ``core_minutes``
        (the same as numbers, or None), ``kind`` (of its check), ``curves`` (pairs of experiment and label that it rests
        on) and the fields of ``intervals.of``; in the order of ``claims.yaml``.

    Raises
    ------
    ValueError, FileNotFoundError
        If the scale is unknown, or a file is missing or not what it should be.
    """
    evidence, rows = Evidence(scale, params, out), []
    for claim, finding in findings(evidence, experiment):
        ran = finding.verdict != NOT_RUN or any(len(part.values) for part in finding.parts)
        data, hardware, stale = evidence.provenance() if ran else ("–", "–", 0)
        mixed = "; ".join(f"seed {', '.join(map(str, seeds))} of {name}" for name, seeds in evidence.left_out.items())
        said = [finding.reason, f"left out for mixed precision: {mixed}" if mixed else "", claim.note]
        if {label for part in finding.parts for _, label in part.curves} & set(SAME_ROLE.values()):
            roles = ", ".join(f"{own} for {theirs}" for theirs, own in SAME_ROLE.items())
            said.append(f"larger student against smaller: {roles}")
        if data != "–" and scale != PAPER:
            said.insert(1, f"at scale {scale} on {data}, not by the paper's protocol")
        basis = evidence.basis(claim) if ran and finding.verdict != NOT_APPLICABLE else ""
        ahead = forecast.expected(evidence, claim, finding)
        rows.append(
            {"id": claim.id, "experiment": ", ".join(claim.experiments), "claim": claim.claim, "source": claim.source,
             "paper": claim.paper, "ours": finding.ours, "seeds": finding.seeds, "scale": scale, "data": data,
             "hardware": hardware, "verdict": finding.verdict, "basis": basis,
             "reason": format_reasons(said), "stale": stale,
             "forecast": ahead.text if ahead else "", "more_seeds": ahead and ahead.seeds,
             "core_minutes": round(ahead.minutes, 1) if ahead and ahead.minutes is not None else None,
             "kind": claim.check.kind, "curves": sorted(map(list, evidence.used)), **intervals.of(finding)}
        )  # fmt: skip
    return rows


def counts(rows: Sequence[dict]) -> dict[str, int]:
    """How many claims have each verdict; all six are there."""
    return {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}


def repeatable(rows: list[dict]) -> list[dict]:
    """The rows that the same kind of machine repeats bit for bit: those that rest on no seconds."""
    return [row for row in rows if "table2" not in row["experiment"].split(", ")]


def table(rows: list[dict]) -> pd.DataFrame:
    """For people: a row a claim."""
    return pd.DataFrame(
        {
            **{name: row[name] for name in ("experiment", "claim", "paper", "ours")},
            "paper's number inside our interval": summary.inside(row, row["comparisons"]) or "–",
            "seeds": row["seeds"] or "–",
            "scale, data, hardware": f"{row['scale']}; {row['data']}; {row['hardware']}",
            "verdict": summary.verdict(row),
            "why": format_reasons([row["reason"], f"to settle it: {row['forecast']}" if row["forecast"] else ""])
            + f" ({row['stale']} records made by other code)" * bool(row["stale"]),
        }
        for row in rows
    )


def markdown(rows: list[dict]) -> str:
    """What the README shows of ``table``, as a GitHub table."""
    return exhibit.markdown(table(rows)[_SHOWN] if rows else table(rows))


def write(rows: list[dict], scale: str, out: str | Path = "outputs") -> Path:
    """Write ``<out>/<scale>/claims.json``, whole or not at all; the same rows give the same bytes."""
    path = Path(out) / scale / "claims.json"
    records.write_bytes(path, (json.dumps(rows, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
    return path

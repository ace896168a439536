"""What was found, in words: sentences made by rule from the rows of ``verdicts.judge``, none written by hand."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from psllab.analysis.decision import FAILS, HOLDS, NEGLIGIBLE, NOT_RUN, UNSURE

SYMBOLS = {HOLDS: "✓", FAILS: "✕", NEGLIGIBLE: "=", UNSURE: "?", NOT_RUN: "–"}
"""Told apart without colour."""
THEMES = {
    "lead": "who is ahead", "across": "one setting against another", "level": "levels", "steadier": "steadiness",
    "buckets": "consensus", "mistaken": "consensus", "seen": "privacy", "unpicked": "protocol",
    "same_pools": "protocol", "size": "model sizes", "smallest": "model sizes", "faster": "time to pick",
    "seconds": "time to pick",
}  # fmt: skip
"""Kind of a check to what it is about."""
UNITS = {"points": " points", "%": " %", "ratio": " (log ratio)", "M": " M", "times": " ×", "s": " s"}
_PLURAL = {HOLDS: "hold", FAILS: "do not hold"}
_MANY = 3  # claims that a sentence names; the others are on the board


@dataclass
class Sentence:
    """One finding: its verdict, the words, and the claims that it names."""

    verdict: str
    words: str
    claims: list[dict] = field(default_factory=list)
    more: int = 0


def theme(row: dict) -> str:
    """What a claim is about."""
    return THEMES.get(row["kind"], row["kind"].replace("_", " "))


def place(row: dict) -> str:
    """The exhibit beside which a claim stands: what it rests on last; empty if it rests on more than two."""
    rests_on = list(dict.fromkeys(re.sub("(fig6)[abc]", r"\1", name) for name in row["experiment"].split(", ")))
    return rests_on[-1] if len(rests_on) < 3 else ""


def number(value: float, unit: str, sign: bool = True) -> str:
    """A number with a sign where it is a difference, without its unit."""
    digits = 1 if unit in ("points", "%") else 3 if abs(value) < 1 and unit != "ratio" else 2
    return f"{value:{'+' if sign and unit in ('points', 'ratio') else ''}z.{digits}f}".replace("-", "−")


def measured(comparison: dict, unit: str) -> str:
    """One comparison: ``+0.5 ± 1.2``, or how it stands."""
    if comparison["estimate"] is None:
        return "no number" if comparison["seeds"] else "not run"
    half = "" if comparison["low"] is None else f" ± {number(comparison['high'] - comparison['estimate'], unit, False)}"
    return number(comparison["estimate"], unit) + half


def region(row: dict) -> str:
    """Where a claim would hold."""
    low, high = row["region"]
    unit = UNITS.get(row["unit"], "")
    if high is None:
        return f"above {number(low, row['unit'], False)}{unit}"
    return f"between {number(low, row['unit'], False)} and {number(high, row['unit'], False)}{unit}"


def brief(row: dict) -> str:
    """Our value in a few words."""
    known = [comparison for comparison in row["comparisons"] if comparison["estimate"] is not None]
    unit = row["unit"]
    if not known:
        return row["ours"] if len(row["ours"]) < 60 else f"{row['ours'][:59]}…"
    early = "" if any(comparison["judged"] for comparison in known) else " so far"
    if len(known) == 1:
        return measured(known[0], unit) + UNITS.get(unit, "") + early
    low, high = (number(edge(one["estimate"] for one in known), unit) for edge in (min, max))
    span = low if low == high else f"{low} to {high}"
    return f"{span}{UNITS.get(unit, '')} in {len(known)}{early}"


def found(rows: Sequence[dict]) -> list[Sentence]:
    """The main findings: what holds, by theme; what does not, by name; leads with a number; what is open or not run.

    Too small to tell is reported as such, never as no difference.
    """
    by = {verdict: [row for row in rows if row["verdict"] == verdict] for verdict in SYMBOLS}
    said = []
    if by[HOLDS]:
        themes: dict[str, int] = {}
        for row in by[HOLDS]:
            themes[theme(row)] = themes.get(theme(row), 0) + 1
        told = ", ".join(f"{name} {count}" for name, count in sorted(themes.items(), key=lambda item: -item[1]))
        said.append(Sentence(HOLDS, f"{_claims(len(by[HOLDS]), HOLDS, _PLURAL[HOLDS])}: {told}."))
    if by[FAILS]:
        words = f"{_claims(len(by[FAILS]), FAILS, _PLURAL[FAILS])}:"
        said.append(Sentence(FAILS, words, by[FAILS][:_MANY], max(0, len(by[FAILS]) - _MANY)))
    if by[NEGLIGIBLE]:
        words = f"{_claims(len(by[NEGLIGIBLE]), 'makes', 'make')} no difference that matters (half a point or more):"
        said.append(Sentence(NEGLIGIBLE, words, by[NEGLIGIBLE][:_MANY], max(0, len(by[NEGLIGIBLE]) - _MANY)))
    for row in rows:
        if _lead(row) and row["verdict"] != NOT_RUN:
            one = row["comparisons"][0]
            seeds = f"{one['seeds']} seed{'s' * (one['seeds'] != 1)}"
            yet = "" if one["judged"] else ", before the first interim analysis"
            words = f"{one['name']}, {row['experiment']}: {measured(one, 'points')} points ({seeds}{yet}), "
            words += f"{row['paper']} in the paper."
            said.append(Sentence(row["verdict"], words, [row]))
    if by[UNSURE]:
        open_ = [row for row in by[UNSURE] if row["more_seeds"] and row["core_minutes"] is not None]
        words = (
            f"{_claims(len(by[UNSURE]), 'is', 'are')} too small to tell: the runs decide neither way, which is not to "
        )
        words += "say that there is no difference."
        if open_:
            most = max(row["core_minutes"] for row in open_)
            words += (
                f" Of {len(open_)} it is known what they wait for: seeds of at most {most:,.0f} core-minutes a claim."
            )
        said.append(Sentence(UNSURE, words))
    if by[NOT_RUN]:
        said.append(Sentence(NOT_RUN, f"{_claims(len(by[NOT_RUN]), 'has', 'have')} not been run at this scale."))
    return said


def beside(rows: Sequence[dict]) -> str:
    """Of the claims beside one figure: how many have which verdict."""
    counts = [(verdict, sum(row["verdict"] == verdict for row in rows)) for verdict in SYMBOLS]
    return ", ".join(f"{n} {verdict if n == 1 else _PLURAL.get(verdict, verdict)}" for verdict, n in counts if n)


def _lead(row: dict) -> bool:
    """Whether a claim gives a number for one lead over Random that we have a number for as well."""
    one = row["comparisons"]
    return (
        row["kind"] == "lead" and bool(row["paper_value"]) and len(one) == 1 and one[0]["name"].endswith("– Random")
        and one[0]["estimate"] is not None
    )  # fmt: skip


def _claims(n: int, one: str, many: str) -> str:
    return f"{n} claim {one}" if n == 1 else f"{n} claims {many}"

"""What was found, in words: sentences made by rule from the rows of ``verdicts.judge``, none written by hand."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from psllab.analysis.decision import CONTRADICTED, INCONCLUSIVE, NEGLIGIBLE, NOT_APPLICABLE, NOT_RUN, SUPPORTED

SYMBOLS = {SUPPORTED: "✓", CONTRADICTED: "✕", NEGLIGIBLE: "=", INCONCLUSIVE: "?", NOT_APPLICABLE: "∅", NOT_RUN: "–"}
"""Told apart without colour."""
THEMES = {
    "lead": "who is ahead", "across": "one setting against another", "level": "levels", "steadier": "steadiness",
    "buckets": "consensus", "mistaken": "consensus", "seen": "privacy", "unpicked": "protocol",
    "same_pools": "protocol", "size": "model sizes", "smallest": "model sizes", "faster": "time to pick",
    "seconds": "time to pick",
}  # fmt: skip
"""Kind of a check to what it is about."""
UNITS = {"points": " points", "%": " %", "ratio": " (log ratio)", "M": " M", "times": " ×", "s": " s"}
_MANY = 3  # claims that a sentence names; the others are on the board


@dataclass
class Sentence:
    """One finding: its verdict, the words, and the claims that it names."""

    verdict: str
    words: str
    claims: list[dict] = field(default_factory=list)
    more: int = 0


def verdict(row: dict) -> str:
    """The verdict, and what it is on where that is not what the paper ran."""
    return f"{row['verdict']} ({row['basis']})" if row["basis"] else row["verdict"]


def inside(row: dict, comparisons: Sequence[dict]) -> str:
    """Whether the number that the paper prints is inside our intervals: yes, no, or in how many; empty without one."""
    value = row["paper_value"] if row["paper"] != "–" else None
    known = [one["low"] <= value <= one["high"] for one in comparisons if value is not None and one["low"] is not None]
    return "" if not known else "yes" if all(known) else "no" if not any(known) else f"in {sum(known)} of {len(known)}"


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
    return f"{span}{UNITS.get(unit, '')} in {len(known)} comparisons{early}"


def found(rows: Sequence[dict]) -> list[Sentence]:
    """The main findings: what is supported, by theme; what is contradicted, by name; leads with a number; what is open.

    Inconclusive is reported as such, never as no difference.
    """
    by = {verdict: [row for row in rows if row["verdict"] == verdict] for verdict in SYMBOLS}
    said = []
    if by[SUPPORTED]:
        themes = ", ".join(f"{name} {count}" for name, count in Counter(map(theme, by[SUPPORTED])).most_common())
        said.append(Sentence(SUPPORTED, f"{_claims(by[SUPPORTED])} {SUPPORTED}{_bases(by[SUPPORTED])}: {themes}."))
    negligible = f"{NEGLIGIBLE} (within half a point)"
    for verdict, verbs, word in (
        (CONTRADICTED, ("is", "are"), CONTRADICTED), (NEGLIGIBLE, ("shows", "show"), negligible)
    ):  # fmt: skip
        if some := by[verdict]:
            words = f"{_claims(some, *verbs)} {word}{_bases(some)}:"
            said.append(Sentence(verdict, words, some[:_MANY], max(0, len(some) - _MANY)))
    for row in rows:
        if _lead(row) and row["verdict"] != NOT_APPLICABLE:
            one, held = row["comparisons"][0], inside(row, row["comparisons"])
            seeds = f"{one['seeds']} seed{'s' * (one['seeds'] != 1)}"
            seeds += "" if one["judged"] else ", before the first interim analysis"
            seeds += f"; the paper's number inside our interval: {held}" if held else ""
            words = (
                f"{one['name']}, {row['experiment']}{_bases([row], '')}: {measured(one, 'points')} points ({seeds}), "
            )
            said.append(Sentence(row["verdict"], f"{words}{row['paper']} in the paper.", [row]))
    if some := by[INCONCLUSIVE]:
        words = f"{_claims(some)} {INCONCLUSIVE}: the runs decide neither way, which is not to say that there is no "
        words += "difference."
        if open_ := [row["core_minutes"] for row in some if row["more_seeds"] and row["core_minutes"] is not None]:
            words += (
                f" Of {len(open_)} it is known what they wait for: seeds of at most {max(open_):,.0f} core-minutes "
            )
            words += "a claim."
        said.append(Sentence(INCONCLUSIVE, words))
    if some := by[NOT_APPLICABLE]:
        levels = sum(row["kind"] in ("level", "seconds") for row in some)
        which = f"{levels} of them levels" if levels < len(some) else "all levels" if levels > 1 else "a level"
        words = f"{_claims(some)} {NOT_APPLICABLE} here, {which} of the paper's own protocol."
        said.append(Sentence(NOT_APPLICABLE, words))
    if some := by[NOT_RUN]:
        where = "at this scale, or not up to its first interim analysis"
        said.append(Sentence(NOT_RUN, f"{_claims(some, 'has', 'have')} not been run {where}."))
    return said


def beside(rows: Sequence[dict]) -> str:
    """Of the claims beside one figure: how many have which verdict."""
    counts = Counter(row["verdict"] for row in rows)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in SYMBOLS if counts[verdict])


def _bases(rows: Sequence[dict], count: str = "{} of them ") -> str:
    """On what claims were judged where it is not what the paper ran."""
    bases = [row["basis"] for row in rows if row["basis"]]
    if not bases:
        return ""
    words = bases[0] if len(set(bases)) == 1 else "same comparison on other data"
    return f", {count.format(len(bases))}{'by the ' * words.startswith('same')}{words}"


def _lead(row: dict) -> bool:
    """Whether a claim gives a number for one lead over Random that we have a number for as well."""
    one = row["comparisons"]
    return (
        row["kind"] == "lead" and bool(row["paper_value"]) and len(one) == 1 and one[0]["name"].endswith("– Random")
        and one[0]["estimate"] is not None
    )  # fmt: skip


def _claims(rows: Sequence[dict], one: str = "is", many: str = "are") -> str:
    return f"{len(rows)} claim {one}" if len(rows) == 1 else f"{len(rows)} claims {many}"

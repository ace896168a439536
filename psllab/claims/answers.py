"""What a reader asks first, answered by comparisons that verdicts were passed on: here, and at the published scales."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from psllab.analysis.decision import CONTRADICTED, INCONCLUSIVE, MATTERS, NEGLIGIBLE, SUPPORTED
from psllab.claims import summary

PUBLISHED = {"digits": "digits", "features": "photographs", "features_few": "photographs, few labels"}
"""Scales whose verdicts are published, and what a reader calls them."""
STANDING = {SUPPORTED: "ahead", CONTRADICTED: "behind", NEGLIGIBLE: NEGLIGIBLE, INCONCLUSIVE: "cannot be told"}


class Question(NamedTuple):
    """Two curves, and what the paper says of their areas; the comparison by its claim and name.

    It may stand under two claims: the one on more seeds answers.
    """

    asked: str
    paper: str
    held: dict[str, str]


WORKS = Question(
    "PSL against Random", "ahead: 4.3 points at 3,000 labels",
    {"psl-superior": "fig3a: PSL – Random", "ours-peers-beat-all-at-home": "PSL – Random"},
)  # fmt: skip
COSTS = Question(
    "ALFA-Mix in the cloud against ALFA-Mix at home", "not asked",
    {"ours-price-alfa-mix": "ALFA-Mix – ALFA-Mix at home"},
)  # fmt: skip
QUESTIONS = (
    WORKS,
    *(Question(f"PSL against {rival}", "ahead", {"psl-superior": f"fig3a: PSL – {rival}"})
      for rival in ("Entropy", "BADGE", "ALFA-Mix")),
    Question("PSL against PSL without both studies", "ahead: 2.5 points",
             {"fig5a-each-helps": "PSL – without both"}),
    COSTS,
)  # fmt: skip


def answer(question: Question, rows: Iterable[dict]) -> dict | None:
    """Of the rows of ``verdicts.judge`` the comparison that answers, None where nothing was judged.

    Its ``verdict`` is that on *ahead*, by its interval alone; ``told`` is itself in words, or of two seeds, whose
    interval is as wide as the scale, that they are too few.
    """
    judged = [
        one for row in rows for one in row["comparisons"]
        if one["name"] == question.held.get(row["id"]) and one["judged"] and one["low"] is not None
    ]  # fmt: skip
    if not judged:
        return None
    one = max(judged, key=lambda each: each["seeds"])
    if one["low"] > -MATTERS and one["high"] < MATTERS:
        verdict = NEGLIGIBLE
    else:
        verdict = SUPPORTED if one["low"] > 0 else CONTRADICTED if one["high"] < 0 else INCONCLUSIVE
    told = f"{summary.measured(one, 'points')} ({one['seeds']} seeds)" if one["seeds"] > 2 else "too few seeds"
    return one | {"verdict": verdict, "told": told}


def published(scale: str, out: str | Path = "outputs") -> dict[str, list[dict]]:
    """The rows of the published scales but this one, by what a reader calls them, as ``verdicts.write`` left them."""
    files = {told: Path(out) / name / "claims.json" for name, told in PUBLISHED.items() if name != scale}
    return {told: json.loads(path.read_text("utf-8")) for told, path in files.items() if path.exists()}

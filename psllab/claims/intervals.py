"""The numbers behind a verdict, as data: each comparison with its interval, and the region that the claim wants."""

import numpy as np

from psllab.analysis import decision, statistics
from psllab.analysis.decision import NOT_RUN, UNSURE
from psllab.claims.checks import Finding

DIGITS = 4  # of what is written down
COUNTED = ("M", "times", "s")  # units of what has no seeds


def of(finding: Finding) -> dict:
    """What a picture of a finding needs; all of it can be JSON.

    Returns
    -------
    dict
        ``unit``: ``points`` (percentage points), ``%``, ``ratio`` (logarithm of two spreads), ``M`` (millions of
        parameters), ``times`` or ``s``; ``paper_value``, the printed number, or None; ``region``, two ends, None where
        one is infinite; ``comparisons``: list of dict with ``name``, ``seeds``, ``estimate`` (a mean), ``low`` and
        ``high`` (its interval at this interim analysis, not corrected for the number of comparisons; None where there
        is none), ``judged`` (False before the first) and ``verdict`` (corrected, as in the claim's own).
        Comparisons without a single value are there as well, as *not run*.
    """
    region, single = finding.region, verdicts(finding)
    known = any(len(part.values) for part in finding.parts)
    return {
        "unit": finding.unit, "paper_value": finding.paper, "region": [_plain(region.low), _plain(region.high)],
        "comparisons": [
            {"name": part.name, **_interval(part.values, region.looks), "judged": part.judged, "verdict": verdict}
            for part, verdict in zip(finding.parts, single, strict=True) if known
        ],
    }  # fmt: skip


def verdicts(finding: Finding) -> list[str]:
    """Of each comparison its own verdict, with the correction of all that are judged."""
    found = [UNSURE if len(part.values) else NOT_RUN for part in finding.parts]
    judged = [number for number, part in enumerate(finding.parts) if part.judged]
    if not judged:
        return found
    values, region = [finding.parts[number].values for number in judged], finding.region
    if finding.closed:
        single = [UNSURE] * len(judged)
    elif finding.unit in COUNTED:
        single = [decision.HOLDS if region.low <= own[0] <= region.high else decision.FAILS for own in values]
    else:
        mean, sd, n = map(np.array, zip(*map(decision.summary, values), strict=True))
        inside, outside, negligible = (which[:, None] for which in decision.decide(mean, sd, n, region))
        single = list(map(str, decision.verdict(inside, outside, negligible)))
    for number, verdict in zip(judged, single, strict=True):
        found[number] = verdict
    return found


def _interval(values: np.ndarray, looks: int) -> dict:
    known = len(values) and np.isfinite(values).all()
    mean = float(values.mean()) if known else None
    half = statistics.interval(values, looks) if known else float("nan")
    ends = (None, None) if mean is None or np.isnan(half) else (_plain(mean - half), _plain(mean + half))
    return {"seeds": len(values), "estimate": _plain(mean), "low": ends[0], "high": ends[1]}


def _plain(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), DIGITS)

"""The numbers behind a verdict, as data: each comparison with its interval, and the region that the claim wants."""

import numpy as np

from psllab.analysis import statistics
from psllab.analysis.decision import NOT_APPLICABLE
from psllab.claims.finding import Finding

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
    region, known = finding.region, any(len(part.values) for part in finding.parts)
    return {
        "unit": finding.unit, "paper_value": finding.paper, "region": [_plain(region.low), _plain(region.high)],
        "comparisons": [
            {"name": part.name, **_interval(part.values, region.interim), "judged": part.judged,
             "verdict": NOT_APPLICABLE if finding.closed and part.judged else part.verdict}
            for part in finding.parts if known
        ],
    }  # fmt: skip


def _interval(values: np.ndarray, interim: int) -> dict:
    known = len(values) and np.isfinite(values).all()
    mean = float(values.mean()) if known else None
    half = statistics.interval(values, interim) if known else float("nan")
    ends = (None, None) if mean is None or np.isnan(half) else (_plain(mean - half), _plain(mean + half))
    return {"seeds": len(values), "estimate": _plain(mean), "low": ends[0], "high": ends[1]}


def _plain(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), DIGITS)

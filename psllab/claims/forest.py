"""The forest plot as data: for every claim with a number the paper's, ours with its interval, and the region."""

from collections.abc import Sequence

from psllab.claims import summary
from psllab.claims.intervals import COUNTED

BLOCKS = {  # unit: heading, least axis
    "points": ("Differences, in percentage points", (-5.0, 5.0)),
    "%": ("Levels, in per cent", (0.0, 100.0)),
    "ratio": ("Spread over the seeds, logarithm of the other's over its own", (-2.0, 2.0)),
    "of": ("Sizes and times, ours over the paper's", (0.0, 2.0)),
}
WIDEST = 10.0  # points on either side; what lies beyond ends in an arrow


def blocks(rows: Sequence[dict]) -> list[dict]:
    """A block a unit, each with its axis and a row a claim, in the order of ``rows``.

    Returns
    -------
    list of dict
        ``title``, ``ticks`` (place in per cent of the axis, label), ``rows``: ``claim`` (the row), ``drawn`` (the
        comparison that is farthest from what the claim wants), ``comparisons`` (all of them, if they are several).
        A drawn comparison has ``place``, ``left``, ``width`` (None without an interval), ``cut`` (the ends that lie
        beyond the axis), ``paper``, ``region`` (left, width), and ``alt``, itself in words.
    """
    found = []
    for unit, (title, least) in BLOCKS.items():
        own = [row for row in rows if _unit(row) == unit and any(c["estimate"] is not None for c in row["comparisons"])]
        if own:
            axis = _axis(own, unit, least)
            found.append(
                {"title": title, "unit": unit, "ticks": _ticks(*axis), "rows": [_row(row, axis) for row in own]}
            )
    return found


def _unit(row: dict) -> str:
    return "of" if row["unit"] in COUNTED else row["unit"]


def _scaled(row: dict, value: float | None) -> float | None:
    """A value on the axis of its block."""
    if value is None or row["unit"] not in COUNTED:
        return value
    return value / row["paper_value"]


def _axis(rows: Sequence[dict], unit: str, least: tuple[float, float]) -> tuple[float, float]:
    """Wide enough for all estimates and printed values, and as wide as is usual; intervals may be cut."""
    if unit != "points":
        return least
    values = [c["estimate"] for row in rows for c in row["comparisons"] if c["estimate"] is not None]
    values += [row["paper_value"] for row in rows if row["paper_value"] is not None]
    half = min(WIDEST, max(least[1], *(abs(value) * 1.1 for value in values)))
    return -half, half


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    for step in (0.5, 1, 2, 5, 10, 25):
        if (high - low) / step <= 9:
            break
    first = -(-low // step) * step
    values = [first + step * n for n in range(int((high - first) / step) + 1)]
    return [(round(100 * (value - low) / (high - low), 2), f"{value:g}".replace("-", "−")) for value in values]


def _row(row: dict, axis: tuple[float, float]) -> dict:
    known = [c for c in row["comparisons"] if c["estimate"] is not None]
    several = row["comparisons"] if len(row["comparisons"]) > 1 else []
    return {
        "claim": row, "drawn": _drawn(row, min(known, key=lambda one: _inside(row, one)), axis),
        "comparisons": [_drawn(row, one, axis) for one in several],
    }  # fmt: skip


def _inside(row: dict, one: dict) -> float:
    """How far an estimate is inside the region, negative outside."""
    low, high = row["region"]
    ends = [one["estimate"] - low] if low is not None else []
    ends += [high - one["estimate"]] if high is not None else []
    return min(ends)


def _drawn(row: dict, one: dict, axis: tuple[float, float]) -> dict:
    low, high = axis

    def at(value: float | None, otherwise: float = low) -> float:
        value = otherwise if value is None else value
        return round(100 * (min(max(value, low), high) - low) / (high - low), 2)

    ends = [_scaled(row, one[name]) for name in ("low", "high")]
    mean = _scaled(row, one["estimate"])
    left, right = at(_scaled(row, row["region"][0])), at(_scaled(row, row["region"][1]), high)
    shown = [value for value in (*ends, mean) if value is not None]
    unit = summary.UNITS.get(row["unit"], "")
    held = f", inside our interval: {inside}" if (inside := summary.inside(row, [one])) else ""
    paper = (
        "" if row["paper_value"] is None else f"paper {summary.number(row['paper_value'], row['unit'])}{unit}{held}; "
    )
    ours = summary.measured(one, row["unit"]) + (unit if one["estimate"] is not None else "")
    yet = (
        "" if one["judged"] or one["estimate"] is None else f", {one['seeds']} seeds, before the first interim analysis"
    )
    return {
        "name": one["name"], "verdict": one["verdict"], "seeds": one["seeds"], "judged": one["judged"],
        "ours": summary.measured(one, row["unit"]), "place": None if mean is None else at(mean),
        "left": None if ends[0] is None else at(ends[0]),
        "width": None if ends[0] is None else round(at(ends[1]) - at(ends[0]), 2),
        "cut": {"low": any(value < low for value in shown), "high": any(value > high for value in shown)},
        "paper": None if row["paper_value"] is None else at(_scaled(row, row["paper_value"])),
        "region": (left, max(0.4, round(right - left, 2))),
        "alt": f"{one['name']}: {paper}ours {ours}{yet}; the claim wants {summary.region(row)}.",
    }  # fmt: skip

"""What a check finds, comparison by comparison, and the checks by name."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, create_model

from pslcore.settings import Settings
from psllab.analysis.decision import NOT_RUN, Region
from psllab.claims.evidence import Curve

KINDS: dict[str, Callable[..., "Finding"]] = {}
"""Name of a check to its rule ``(evidence, claim, *, arguments of the data file) -> Finding``."""
ARGUMENTS: dict[str, type[BaseModel]] = {}
"""Name of a check to what its arguments must be: the annotations of its rule."""


@dataclass
class Part:
    """One comparison of a claim: the curves it is of, and its values by seed, which may be too few for a verdict.

    Its own verdict is corrected for the number of comparisons, as the claim's is.
    """

    name: str
    curves: tuple[Curve, ...] = ()
    values: np.ndarray = field(default_factory=lambda: np.empty(0))
    verdict: str = NOT_RUN

    @property
    def judged(self) -> bool:
        """Whether it has been."""
        return self.verdict != NOT_RUN


@dataclass
class Finding:
    """Verdict, our value as text, the seeds it rests on, and why; the numbers behind it.

    ``paper`` is the printed value where there is one, in ``unit``; ``closed``: more seeds would change nothing.
    """

    verdict: str
    ours: str = "–"
    seeds: int = 0
    reason: str = ""
    parts: list[Part] = field(default_factory=list)
    region: Region = field(default_factory=Region)
    unit: str = "points"
    paper: float | None = None
    closed: bool = False


def kind(rule: Callable[..., Finding]) -> Callable[..., Finding]:
    """Register a rule under its name."""
    _, _, *asked = inspect.signature(rule).parameters.values()
    fields: dict[str, Any] = {p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in asked}
    ARGUMENTS[rule.__name__] = create_model(rule.__name__, __config__=Settings.model_config, **fields)
    KINDS[rule.__name__] = rule
    return rule


def format_reasons(said: Iterable[str], missing: Iterable[str] = ()) -> str:
    """What is said and what is missing in one line; what is missing for the same reason stands together."""
    groups: dict[str, list[str]] = {}
    for phrase in dict.fromkeys(missing):
        name, _, why = phrase.rpartition(" of ")
        groups.setdefault(why, []).append(name)
    gaps = (f"{', '.join(names)} of {why}" if any(names) else why for why, names in groups.items())
    return "; ".join(part for part in (*said, groups and f"missing: {', '.join(gaps)}") if part)

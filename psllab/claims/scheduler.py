"""Run what decides most: the open claims of a scale, their cheapest runs first, seed by seed, until the time is up.

A choice is one seed of all methods that one claim needs. It follows from the finished records alone, and is written
down (``<out>/<scale>/settle.json``) before its first run, so that a ``schedule`` that was killed goes on with that very
choice, and from there with those that it would have made anyhow. The runs are those of ``grid``.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pslcore.runs import records
from psllab import grid
from psllab.claims import forecast, verdicts
from psllab.claims.evidence import Evidence
from psllab.claims.forecast import Forecast


@dataclass(frozen=True)
class Choice:
    """One seed of the runs that a claim lacks; ``runs`` are (experiment, label)."""

    claim: str
    seed: int
    runs: tuple[tuple[str, str], ...]


def run(
    scale: str, minutes: float, params: str | Path = "params.yaml", root: str | Path = "data",
    out: str | Path = "outputs", jobs: int | None = None, device: str = "auto", say: Callable[[str], None] = print,
    cluster: str | None = None,
) -> list[Forecast]:  # fmt: skip
    """Run until the open claims are settled as far as they can be here, or the time is up.

    Parameters
    ----------
    scale, params, root, out, jobs, device, cluster
        As for ``grid.run``.
    minutes : float
        After so much time no further cycle is begun.
    say : callable
        Called with a sentence on each choice.

    Returns
    -------
    list of Forecast
        Of what is still open.

    Raises
    ------
    ValueError, OSError, GridError
        As ``grid.run``.
    """
    deadline = time.time() + 60 * minutes
    path = grid.runs_folder(out, scale).parent / "settle.json"
    avoid: frozenset[tuple[str, int]] = frozenset()
    choices = _read(path)
    while True:
        evidence = Evidence(scale, params, out)
        still = open_claims(evidence, avoid)
        left = _left(evidence, choices[-1], avoid) if choices else set()
        following = None if left else choose(evidence, still)
        if (following is None and not left) or time.time() >= deadline:
            return still
        if following is not None:
            choices.append(following)
            records.write_bytes(path, (json.dumps([asdict(each) for each in choices], indent=1) + "\n").encode())
        choice = choices[-1]
        names = ", ".join(dict.fromkeys(label for _, label in choice.runs))
        say(f"{choice.claim}: seed {choice.seed} of {names}")
        for experiment in dict.fromkeys(name for name, _ in choice.runs):
            only = {(label, choice.seed) for name, label in choice.runs if name == experiment}
            rest = max(0.0, (deadline - time.time()) / 60)
            grid.run(
                experiment, scale, params, root, out, jobs, rest, keep_stale=True, device=device, only=only,
                cluster=cluster,
            )  # fmt: skip
        if time.time() < deadline:  # what could not be run here waits for another machine
            after = Evidence(scale, params, out)
            avoid |= {(name, choice.seed) for name, _ in _left(after, choice, avoid)}


def open_claims(evidence: Evidence, avoid: frozenset[tuple[str, int]] = frozenset()) -> list[Forecast]:
    """The forecast for every claim that more seeds could settle."""
    found = (forecast.expected(evidence, *pair, avoid) for pair in verdicts.findings(evidence))
    return [each for each in found if each is not None]


def choose(evidence: Evidence, still: list[Forecast]) -> Choice | None:
    """The first seed of the runs that settle most claims for their time; None if no run of ``params.yaml`` does any.

    The runs of one claim settle every other whose runs are among them, so that each claim's runs are weighed by the
    number of claims that they settle over the seconds that they are expected to take. A tie goes to the first claim.
    """
    needs = [({cell.config.key for _, cell in each.runs}, each) for each in still if each.runs]
    if not needs:
        return None

    def worth(own: tuple[set[str], Forecast]) -> float:
        cost = own[1].minutes or float(len(own[0]))
        return sum(keys <= own[0] for keys, _ in needs) / cost

    best = max(needs, key=worth)[1]
    seed = best.runs[0][1].config.seed
    return Choice(
        best.claim.id, seed, tuple((name, cell.label) for name, cell in best.runs if cell.config.seed == seed)
    )


def _left(evidence: Evidence, choice: Choice, avoid: frozenset[tuple[str, int]]) -> set[tuple[str, str]]:
    """The runs of a choice that are not finished and that this machine may run."""
    return {
        (name, cell.label)
        for name in {name for name, _ in choice.runs} & set(evidence.labels)
        for cell in evidence.results(name).unfinished
        if cell.config.seed == choice.seed and (name, cell.label) in choice.runs and (name, choice.seed) not in avoid
    }


def _read(path: Path) -> list[Choice]:
    """The choices so far; none where they cannot be read: they follow from the records anyhow."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return [Choice(each["claim"], each["seed"], tuple((a, b) for a, b in each["runs"])) for each in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError):
        print(f"{path} cannot be read: the choices are made anew.")
        return []

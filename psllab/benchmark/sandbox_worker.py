"""A user's method in the subprocess that ``sandbox`` started for it: checked, timed, run.

Events go one by one through a pipe, so that the parent knows where a file hangs or ends its process.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pslcore import strategies
from pslcore.data import Indices
from pslcore.runs import Config, prepare_process, records, schema
from pslcore.strategies import Query, Strategy
from psllab import userfile
from psllab.extend import contract
from psllab.extend import method_file as own
from psllab.grid import params, precision
from psllab.grid.equivalence import current
from psllab.grid.workers import hold

SIZES = ((4_500, 500), (50_000, 2_500))
"""Pools that a pick is timed on: images to choose from (CIFAR's safe ones, or all), and how many are chosen."""

Tell = Callable[..., None]


def main() -> None:
    """Do what the first argument says (see ``look`` and ``run``)."""
    order = json.loads(sys.argv[1])
    hold(order["owner"])
    prepare_process("cpu")
    with Connection(order["door"], readable=False) as door:

        def tell(say: str, **more: Any) -> None:
            door.send_bytes(json.dumps({"say": say} | more).encode())

        tell("ready")
        try:
            {"look": look, "run": run}[order["task"]](order, tell)
        except (ValueError, OSError) as error:
            tell("refused", sentence=str(error))
        with suppress(AttributeError, ValueError, OSError):  # the file may have closed or replaced it
            sys.stdout.flush()  # whoever hears of the end ends this process at once
        tell("end")


def look(order: dict[str, Any], tell: Tell) -> None:
    """Load the file ``file``, hold its method to the contract, tell of it, time its pick.

    With ``shared``, the settings of an experiment, a method that trains networks of its own also makes two short runs.
    """
    name, cls, strategy = _loaded(order, tell)
    contract.check(strategy, lambda what: tell("begin", what=what))
    own = type(strategy).learner is not Strategy.learner or strategy.has_auxiliary
    if order.get("shared") and own:
        _twice(order, name, cls, tell)
    tell(
        "method", name=name, label=cls.__name__, about=(cls.__doc__ or "").strip().split("\n")[0],
        options=strategy.model_dump(), uploads=strategy.uploads, has_auxiliary=strategy.has_auxiliary,
    )  # fmt: skip
    for n, budget in SIZES:
        pool = contract.Pool(f"{n:,} images", safe=n, labelled=500, budget=budget, width=128)
        query = contract.made(strategy, pool)
        tell("begin", what=f"a pick of {budget:,} out of {n:,}", timed=n, budget=budget)
        records.reset_peak()
        before, start = records.peak_memory(), time.perf_counter()
        contract.ask(strategy, query, f"from {pool.name}")
        seconds = time.perf_counter() - start
        tell("timed", n=n, budget=budget, seconds=seconds, memory=max(0, records.peak_memory() - before))


def run(order: dict[str, Any], tell: Tell) -> None:
    """Run ``configs`` one after the other into ``folder``; what is there already, made by this code, stays.

    Each is reported as ``done``; the first failure as ``failed``, and ends it. ``precisions`` settles what a recipe of
    precision ``auto`` leaves open, config by config.
    """
    if order.get("file"):
        _, cls, _ = _loaded(order, tell)
        _guard(cls, tell)
    for number, (settings, wanted) in enumerate(zip(order["configs"], order["precisions"], strict=True)):
        config = params.config_of(settings)
        config = precision.settle(config, wanted) if wanted else config
        path = Path(order["folder"]) / f"{config.key}.json"
        tell("run", number=number, seed=config.seed)
        try:
            if not _there(path, config):
                params.run_one(config, order["root"], order["folder"], order["device"])
        except Exception as error:  # whatever it is: the runs before are kept
            sentence = " ".join(str(error).split()) or "no reason given"
            kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
            tell("failed", number=number, seed=config.seed, sentence=f"{kind}{sentence}")
            return
        tell("done", number=number, seed=config.seed, key=config.key)


def _loaded(order: dict[str, Any], tell: Tell) -> tuple[str, type[Strategy], Strategy]:
    tell("begin", what="loading the file")
    cls = own.of_file(order["file"])
    name = own.known_as(order["file"], cls)
    strategies.register(name, cls)
    strategy = strategies.get(name, order.get("options") or {})
    strategy.ready()
    tell("loaded")
    return name, cls, strategy


def _there(path: Path, config: Config) -> bool:
    """Whether a finished record is what today's code would make."""
    try:
        record = schema.read(path) if path.exists() else None
    except records.DamagedRecord:
        return False
    return record is not None and record["key"] == config.key and current(record["source"], params.source(config))


def _guard(cls: type[Strategy], tell: Tell) -> None:
    """Have every pick of a run checked against the contract, and reported before and after it."""
    pick = cls.pick

    def watched(self: Strategy, query: Query) -> Indices:
        at = f"at {len(query.labelled):,} labels"
        tell("begin", what=f"the pick {at}")
        picked = contract.ask(self, query, at, pick)
        tell("picked")
        return picked

    cls.pick = watched  # type: ignore[method-assign]


def _twice(order: dict[str, Any], name: str, cls: type[Strategy], tell: Tell) -> None:
    """Two runs of two cycles and one epoch, under other global random numbers, must be equal."""
    base = params.config_of(params.merge(order["shared"], {"method": name, "options": order.get("options") or {}}))
    recipe = base.recipe.but(epochs=1, precision="float32")
    short = base.but(recipe=recipe, seed=0, final=base.initial + base.budget)
    found = []
    for what, world in (("a short run", nullcontext), ("a short run again", contract.other_globals)):
        tell("begin", what=what)
        try:
            with world():
                found.append(records.content(params.run_one(short, order["root"], None, order["device"])))
        except contract.Broken:
            raise
        except Exception as error:
            told = userfile.describe_error(error, userfile.split(order["file"])[0])
            raise contract.Broken(f"{what} failed ({told}): mend the file.") from error
    if found[0] != found[1]:
        raise contract.Broken(
            f"{cls.__name__} gives two runs of one seed that differ: draw weights and batches from "
            "`pslcore.streams` by the names of seed, purpose and cycle."
        )

"""What ``pslcore benchmark`` and ``verify`` do, in words: the bodies of the commands."""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pslcore.runs import prepare_process
from psllab import userfile
from psllab.analysis import decision, machines
from psllab.benchmark import comparison, own_data, published, tryout, verify
from psllab.benchmark.comparison import Standing
from psllab.benchmark.tryout import Method

_SHOWN = 5  # lines of what a file prints


def attempt(options: argparse.Namespace) -> int:
    """``pslcore benchmark``: 0 when all comparisons are decided or the interim analyses asked for are done."""
    if options.dataset:
        experiment = own_data.plan(options.dataset, options.data)
    else:
        experiment = published.load(options.experiment, options.scale)
    if "clients" in experiment.shared:
        raise ValueError(f"{options.experiment} has several clients, for which `benchmark` has no form: name another.")
    if not options.limit > 0:
        raise ValueError(f"--limit {options.limit} is no length of time: give seconds above 0.")
    interim = experiment.interim or (len(experiment.seeds),)
    if not 1 <= options.looks <= len(interim):
        raise ValueError(f"--looks {options.looks} is no interim analysis: give 1 to {len(interim)}.")
    page = Path(options.page or f"{userfile.split(options.file)[0].stem}.html")
    tryout.may_write(page)
    prepare_process(options.device)
    tryout.processes(options.jobs, 1)
    labels = [label.strip() for label in (options.with_rivals or "").split(";") if label.strip()]
    tryout.check_rivals(experiment, labels)
    print(f"{options.file} is checked ... (the file runs with all your rights)", flush=True)
    method = tryout.look(options.file, _given(options.set), experiment.shared, options.data, options.limit)
    _show_method(method)
    where = options.out, options.data, options.jobs, options.device
    for number, n in enumerate(interim, start=1):
        if options.dataset:
            print(f"\n{n} seeds of each method that it is compared with, on {options.dataset} ...", flush=True)
            experiment = own_data.run(experiment, n, *where)
        seeds = experiment.seeds[:n]
        if number > 1 and len(seeds) < n:
            print(
                f"\nInterim analysis {number}, at {n} seeds, waits for published runs: there are {len(seeds)} so far."
            )
            break
        few = "" if len(seeds) == n else f" ({n} are wanted, {len(seeds)} are published so far)"
        minutes = tryout.minutes(experiment, len(seeds), options.jobs)
        print(
            f"\nInterim analysis {number} of {len(interim)}: {len(seeds)} seeds of {experiment.experiment} at "
            f"{experiment.scale}{few}. All of them take about {_time(minutes)}, going by those of Random.",
            flush=True,
        )
        own = tryout.run(method, experiment, seeds, *where, options.limit)
        if options.with_rivals is not None and (rivals := labels or tryout.unpaired(experiment, own)):
            tryout.run_rivals(experiment, rivals, seeds, *where)
        found = comparison.judge(own[0][0].label, experiment, own)
        tryout.write_page(found, method, page)
        _show(found)
        if found.settled or len(seeds) < n or not (options.until_settled or number < options.looks):
            break
    print(f"\nThe figure with its curve: {page}. Its records: {tryout.folder(method, experiment, options.out)}.")
    open_ones = sum(each.verdict == comparison.WORDS[decision.INCONCLUSIVE] for each in found.comparisons)
    if open_ones:
        more = any(len(own) < n <= len(experiment.seeds) for n in interim)
        print(
            f"{open_ones} of {len(found.comparisons)} comparisons are open"
            + (": --until-settled goes on." * more or ".")
        )
    return 0


def check(options: argparse.Namespace) -> int:
    """``pslcore verify``: 0 if the run stands, 1 if not."""
    if bool(options.record) == options.cheapest:
        raise ValueError("say which run is to be made again: either a key or a record's file, or --cheapest.")
    prepare_process(options.device)
    chosen = verify.cheapest(options.out) if options.cheapest else verify.choose(options.record, options.out)
    hardware = chosen.record["hardware"]
    processor, capability = hardware["processor"], str(hardware.get("capability"))
    if limits := machines.limits(machines.kind(chosen.record)):
        print(f"Held to {capability}, the instructions of the processor that made it.", flush=True)
        which = ["--cheapest"] if options.cheapest else [str(options.record)]
        places = ["--out", str(options.out), "--data", str(options.data), "--device", options.device]
        again = [sys.executable, "-m", "pslcore", "verify", *which, *places]
        return subprocess.run(again, env=os.environ | limits, check=False).returncode
    print(
        f"{chosen}: {chosen.where}. It took {_time(chosen.seconds / 60)} on one core of {processor}, and is run "
        "again now ...",
        flush=True,
    )
    outcome = verify.again(chosen, options.data, options.device)
    print(outcome.sentence)
    return 0 if outcome.stands else 1


def _show_method(method: Method) -> None:
    print(f"{method.label}: {method.about or 'no docstring says what it does'}")
    print("\n".join(f"  {line}" for line in method.lines()))
    if method.printed.strip():
        lines = method.printed.strip().splitlines()
        print("  It begins:\n" + "\n".join(f"  | {line[:100]}" for line in lines[:_SHOWN]))


def _show(found: Standing) -> None:
    own = {name: value for name, value in comparison.row(found).items() if name != "method"}
    width = max(map(len, own))
    print(f"\n{found.label}\n" + "\n".join(f"  {name:{width}}  {value}" for name, value in own.items()) + "\n")
    table = comparison.table(found)
    print(table.set_index(name := table.columns[0]).rename_axis(None).rename_axis(columns=name).to_string() + "\n")
    print("\n".join(f"* {sentence}" for sentence in comparison.notes(found)))


def _given(pairs: list[str]) -> dict[str, Any]:
    """``name=value`` as YAML reads the value."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--set {pair}: write it as name=value.")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"--set {pair}: {value!r} is no value of YAML.") from None
    return found


def _time(minutes: float) -> str:
    return f"{60 * minutes:.0f} seconds" if minutes < 2 else f"{minutes:.0f} minutes"

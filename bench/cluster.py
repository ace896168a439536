"""How much a cluster gets done, against processes of one machine, and what a task costs.

    python bench/cluster.py [--workers 2] [--rounds 5] [--runs 12] [--tasks 10000] [--quick]

Both have the same number of workers and make the same runs in turn, Random on digits; a tiny task is a run that does
nothing.
"""

import argparse
import os
import tempfile
import time
from contextlib import closing, redirect_stderr
from pathlib import Path
from statistics import median

import yaml
from distributed import LocalCluster

from pslcore.runs import Config
from psllab import grid
from psllab.grid import executors

RANDOM = {"method": "random"}
BASE = {"dataset": "digits", "teacher": "resnet8", "initial": 20, "budget": 10, "final": 60,
        "recipe": {"epochs": 30, "batch_size": 32, "lr": 0.1, "padding": 1, "flip": False}}  # fmt: skip


def nothing(number: int, *given: object) -> tuple[int, None, float]:
    """What a run that does nothing comes to."""
    return number, None, 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("workers", 2), ("rounds", 5), ("runs", 12), ("tasks", 10_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--quick", action="store_true", help="two runs and ten tasks, once")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.runs, options.tasks = 1, 2, 10
    section = {"fig": {"methods": {"Random": RANDOM}, "seeds": options.runs}}
    with (
        LocalCluster(
            n_workers=options.workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as started,
        tempfile.TemporaryDirectory() as name,
        open(os.devnull, "w") as sink,
    ):
        here, places = Path(name), {"loky": "", "cluster": started.scheduler_address}
        (here / "params.yaml").write_text(yaml.safe_dump({"scales": {"digits": {"base": BASE} | section}}))

        def runs(what: str, where: str, number: int) -> float:
            begun = time.perf_counter()
            with redirect_stderr(sink):
                grid.run(
                    "fig", "digits", here / "params.yaml", out=here / f"{what}{number}", jobs=options.workers,
                    device="cpu", cluster=where,
                )  # fmt: skip
            return time.perf_counter() - begun

        def tasks(where: str) -> float:
            configs = ((seed, Config.of(BASE | RANDOM | {"seed": seed})) for seed in range(options.tasks))
            with closing(executors.of(where, options.workers, "data", "cpu", ["digits"])) as executor:
                begun = time.perf_counter()
                assert len(list(executor.answers(nothing, configs, options.tasks, here, None))) == options.tasks
                return time.perf_counter() - begun

        for what, where in places.items():  # imports are paid once
            runs(what, where, 0)
        took = {what: list[float]() for what in places}
        for number in range(1, options.rounds + 1):
            for what, where in places.items():
                took[what].append(runs(what, where, number))
        each = {what: 1000 * tasks(where) / options.tasks for what, where in places.items()}
    print(f"| {options.workers} workers | s a run | ms a tiny task, {options.tasks:,} of them |\n|---|---|---|")
    for what in places:
        print(f"| {what} | {median(took[what]) / options.runs:.2f} | {each[what]:.1f} |")
    ratios = [one / other for one, other in zip(took["loky"], took["cluster"], strict=True)]
    print(f"\nThroughput of the cluster: {median(ratios):.2f} x that of loky ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()

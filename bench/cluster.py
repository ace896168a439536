"""How much a cluster gets done, against processes of one machine, and what a task costs.

    python bench/cluster.py [--workers 2] [--rounds 5] [--runs 12] [--tasks 10000] [--quick]

Both have the same number of workers and make the same runs in turn, Random on digits; a tiny task is a run that does
nothing. Seconds by the clock, and processor seconds of all processes: a busy machine hurts these less.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, redirect_stderr
from pathlib import Path

import numpy as np
import psutil
import yaml
from distributed import LocalCluster

from pslcore.runs import Config
from psllab import grid
from psllab.grid import executors

RANDOM = {"method": "random"}
BASE = {"dataset": "digits", "teacher": "resnet8", "initial": 20, "budget": 10, "final": 60,
        "recipe": {"epochs": 10, "batch_size": 32, "lr": 0.1, "padding": 1, "flip": False}}  # fmt: skip


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

        def runs(what: str, where: str, number: int) -> None:
            with redirect_stderr(sink):
                grid.run(
                    "fig", "digits", here / "params.yaml", out=here / f"{what}{number}", jobs=options.workers,
                    device="cpu", cluster=where,
                )  # fmt: skip

        def tasks(where: str) -> None:
            configs = ((seed, Config.of(BASE | RANDOM | {"seed": seed})) for seed in range(options.tasks))
            with closing(executors.of(where, options.workers, "data", "cpu", ["digits"])) as executor:
                assert len(list(executor.answers(nothing, configs, options.tasks, here, None))) == options.tasks

        for what, where in places.items():  # imports are paid once
            runs(what, where, 0)
        took = {what: list[np.ndarray]() for what in places}
        for number in range(1, options.rounds + 1):
            for what, where in places.items():
                took[what].append(seconds(runs, what, where, number) / options.runs)
        ratios = np.array(took["loky"]) / np.array(took["cluster"])
        low, middle, high = np.quantile(ratios, [0, 0.5, 1], axis=0)
        print(
            f"Throughput of the cluster, {options.workers} workers each: {middle[0]:.2f} x that of loky by the clock "
            f"({low[0]:.2f} to {high[0]:.2f}), {middle[1]:.2f} x by processor seconds ({low[1]:.2f} to {high[1]:.2f})\n"
            "\n| | s a run | processor s | ms a tiny task | processor ms |\n|---|---|---|---|---|",
            flush=True,
        )
        for what, where in places.items():
            run, task = np.median(took[what], axis=0), 1000 * seconds(tasks, where) / options.tasks
            print(f"| {what} | {run[0]:.2f} | {run[1]:.2f} | {task[0]:.1f} | {task[1]:.1f} |", flush=True)


def seconds(function: Callable[..., None], *given: object) -> np.ndarray:
    """By the clock, and of all processors: this process and those that it started."""

    def now() -> np.ndarray:
        here = psutil.Process()
        used = [sum(each.cpu_times()[:2]) for each in [here, *here.children(recursive=True)]]
        return np.array([time.perf_counter(), sum(used)])

    begun = now()
    function(*given)
    return now() - begun


if __name__ == "__main__":
    main()

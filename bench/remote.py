"""What the wire costs: runs in one process against the same runs through a server over TLS on the loopback.

    python bench/remote.py [--sizes digits cifar10 features] [--repetitions 3] [--quick]

Interleaved in one run, one thread a process. *CPU* are the processor seconds of a cycle, of client and server together;
*seconds* are those on the clock, where client and server work at the same time if there is a core for each. Pictures
and vectors are random: what they show makes no difference to the time.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from pslcore import runs

sys.path.append(str(Path(__file__).parents[1] / "tools"))
import wire

from psllab.remote import stub

SIZES = {
    "digits": {"dataset": "digits", "teacher": "resnet8", "initial": 20, "budget": 10, "final": 60,
               "recipe": {"epochs": 30, "batch_size": 32, "lr": 0.1, "padding": 1, "flip": False}},
    "cifar10": {"dataset": "pictures", "teacher": "resnet8", "initial": 500, "budget": 500, "final": 1000,
                "protected_fraction": 0.5, "recipe": {"epochs": 5, "batch_size": 64, "precision": "auto"}},
    "features": {"dataset": "vectors", "teacher": "mlp256", "initial": 500, "budget": 500, "final": 2000,
                 "protected_fraction": 0.5, "recipe": {"epochs": 30, "batch_size": 64, "lr": 0.02, "flip": False,
                                                       "padding": 0}},
}  # fmt: skip
MADE = {"pictures": (2000, (3, 32, 32)), "vectors": (10_000, (1280, 1, 1))}
PSL = {"cifar10": {}, "digits": {}, "features": {"student": "mlp32"}}


def made(root: Path, quick: bool) -> None:
    rng = np.random.default_rng(0)
    for name, (n, shape) in MADE.items():
        (root / name).mkdir(parents=True)
        for split, size in (("train", n // (8 if quick else 1)), ("test", 500)):
            images = rng.integers(0, 256, (size, *shape), dtype=np.uint8)
            np.savez(root / name / f"{split}.npz", images=images, labels=np.arange(size) % 10, names=list("abcdefghij"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a smoke test, too short to measure anything")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made(Path(folder) / "data", options.quick)
        server = wire.Process(Path(folder))
        try:
            server.begin().ready()
            print("| size | method | CPU, one process | two | ratio | seconds, one | two | ratio | MB up | MB down |")
            print("|---|---|---|---|---|---|---|---|---|---|")
            for size in options.sizes:
                for method, given in (("psl", PSL[size]), ("entropy", {})):
                    settings = SIZES[size] | {"method": method, "options": given}
                    if options.quick:
                        small = {"initial": 20, "budget": 10, "final": 30}
                        settings |= small | {"recipe": settings["recipe"] | {"epochs": 1}}
                    measured(size, runs.Config.of(settings), server, Path(folder) / "data", options)
        finally:
            server.end()


def measured(size: str, config: runs.Config, server: wire.Process, root: Path, options: argparse.Namespace) -> None:
    processes = psutil.Process(), psutil.Process(server.process.pid)

    def now() -> np.ndarray:
        return np.array([time.monotonic(), sum(sum(process.cpu_times()[:2]) for process in processes)])

    found, remote = {None: [], "remote": []}, stub.Remote(server.link())
    repetitions = 1 if options.quick else options.repetitions
    warmed = repetitions > 1
    for repetition in range(repetitions + warmed):  # the first warms up
        for way, cloud in ((None, None), ("remote", remote)):
            begun = now()
            record = runs.run(config, root, device="cpu", cloud=cloud)
            spent = now() - begun
            if repetition or not warmed:
                found[way].append((spent, record))
    assert wire.said(found[None][0][1]) == wire.said(found["remote"][0][1])
    rows, cycles = wire.crossed(record), len(record["cycles"])
    cells = []
    for kind, digits in ((1, 2), (0, 2)):
        one, two = ([spent[kind] / cycles for spent, _ in found[way]] for way in found)
        ratio = statistics.median(b / a for a, b in zip(one, two, strict=True))
        cells += [f"{statistics.median(one):.{digits}f}", f"{statistics.median(two):.{digits}f}", f"{ratio:.2f} x"]
    for way in ("up", "down"):
        size_of = sum(row["bytes"] for name, row in rows.items() if name.startswith(f"wire {way}")) / cycles
        cells.append(f"{size_of / 1e6:.2f}")
    print(f"| {size} | {config.method} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""What one pick of each rival from scikit-activeml costs: processor seconds and peak memory, by size of the pool.

    python bench/rivals.py [--quick] [--full] [NAME ...]

N = 4,500 safe images with 128 features and 10 classes, 500 of them to pick; with ``--full`` 50,000 as well. Each in a
process of its own, which may take 16 GiB of memory and ten minutes: what needs more says so.
"""

import argparse
import resource
import subprocess
import sys
import time

LIMIT, TIME = 16 << 30, 600
NAMES = {
    "margin": {"query": "UncertaintySampling", "arguments": {"method": "margin_sampling"}},
    "Falcun": {"query": "Falcun"}, "CLUE": {"query": "Clue"}, "DropQuery": {"query": "DropQuery"},
    "TypiClust": {"query": "TypiClust"}, "ProbCover": {"query": "ProbCover"}, "MaxHerding": {"query": "MaxHerding"},
}  # fmt: skip


def measure(name: str, n: int, labelled: int = 500, budget: int = 500, dim: int = 128, classes: int = 10) -> None:
    """Print seconds and MiB of one pick from a pool like a trained network's: a Gaussian a class."""
    import numpy as np

    from pslcore.runs import records
    from pslcore.strategies import Query, get

    stream = np.random.default_rng(0)
    centres = stream.normal(0, 1, (classes, dim))
    labels = stream.integers(classes, size=labelled + n)
    features = np.maximum(centres[labels] + stream.normal(0, 1, (labelled + n, dim)), 0).astype(np.float32)
    query = Query(
        np.arange(labelled, labelled + n), np.arange(labelled), budget, np.random.default_rng(0),
        {"features": features[labelled:]}, {"features": features[:labelled]},
        (centres.astype(np.float32), np.zeros(classes, np.float32)), labels[:labelled],
    )  # fmt: skip
    method = get("skactiveml", NAMES[name])
    method.ready()
    records.reset_peak()
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    before = time.process_time()
    picked = method.pick(query)
    assert len(set(picked)) == budget
    print(time.process_time() - before, records.peak_memory() / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="N = 600 alone, to see that it runs")
    parser.add_argument("--full", action="store_true", help="N = 50,000 too")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return measure(options.child[0], int(options.child[1]))
    print("| rival | N | CPU seconds | peak MiB |\n|---|---|---|---|")
    for n in (600,) if options.quick else (4500, 50_000) if options.full else (4500,):
        for name in options.names or NAMES:
            print(f"| {name} | {n:,} | {told(name, n)} |", flush=True)


def told(name: str, n: int) -> str:
    """The two cells of one measurement."""
    command = [sys.executable, __file__, "--child", name, str(n)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME)
    except subprocess.TimeoutExpired:
        return f"over {TIME} | –"
    if done.returncode:
        short = "MemoryError" in done.stderr or "Unable to allocate" in done.stderr or done.returncode < 0
        return f"– | over {LIMIT >> 20:,}" if short else f"– | failed: {done.stderr.strip().splitlines()[-1]}"
    seconds, peak = map(float, done.stdout.split())
    return f"{seconds:.2f} | {peak:,.0f}"


if __name__ == "__main__":
    main()

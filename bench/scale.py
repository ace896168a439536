"""Seconds an image and memory of one cycle as the pool grows, method by method; two versions of the code if wanted.

    nice python bench/scale.py [--quick] [--features] [--sizes 100000 1000000] [--methods entropy] [--against CHECKOUT]

Random bytes in .npy files, in a temporary folder: pictures of 32x32 for ResNet-8, or with ``--features`` vectors of
1,280 for a linear head and hidden layers of 32; nine in ten images are protected. Each cell is a process of its own on
one thread, those of two codes in turn. Seconds of the processor: loading and opening both sides, one epoch on 500
labels, what is asked of the networks (uploads included), the pick of 500. The bare pass is the same network over the
same images with nothing around it, before and after. Peak of the memory that is the process's own (RssAnon), as the
system has it every 5 ms; files that are mapped are not in it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

METHODS = ("random", "entropy", "psl", "core_set", "badge", "alfa_mix", "ll4al", "vaal")
LABELS = 500
"""Before the pick, and picked."""


def write(folder: Path, n: int, features: bool) -> None:
    """A set of ``n`` random images to train on."""
    folder.mkdir(parents=True)
    rng, shape = np.random.default_rng(0), (1280, 1, 1) if features else (3, 32, 32)
    for split, count in (("train", n), ("test", 100)):
        np.save(folder / f"{split}-labels.npy", np.arange(count) % 10)
        images = np.lib.format.open_memmap(folder / f"{split}-images.npy", "w+", np.uint8, (count, *shape))
        block = rng.integers(0, 256, (min(10_000, count), *shape), dtype=np.uint8)
        for turn, start in enumerate(range(0, count, len(block))):  # shifted by a byte a turn, so that no two are equal
            images[start : start + len(block)] = np.roll(block, turn)[: count - start]
        images.flush()


class Peak(threading.Thread):
    """The most anonymous memory that this process held, in bytes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self._done = 0, threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.005):
            self.most = max(self.most, self.now())

    @staticmethod
    def now() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))

    def close(self) -> int:
        self._done.set()
        self.join()
        return self.most


def measure(root: str, name: str, method: str) -> dict[str, float]:
    """One cycle in this process: seconds of its parts, the image's share, memory."""
    import torch

    from pslcore.data import chunks
    from pslcore.runs import Config, Session, resolve
    from pslcore.runs.device import prepare_process

    cpu, features = prepare_process("cpu"), name.startswith("features")
    options = {"vaal": {"width": 16}, "psl": {"student": "mlp32" if features else "resnet8"}}.get(method, {})
    settings = {
        "dataset": name, "method": method, "options": options, "teacher": "linear" if features else "resnet8",
        "initial": LABELS, "budget": LABELS, "final": 2 * LABELS,
        "recipe": {"epochs": 1, "batch_size": 64, "lr": 0.01},
    }  # fmt: skip
    peak, told, last = Peak(), {"nothing": Peak.now()}, time.process_time()
    peak.start()

    def lap(what: str) -> None:
        nonlocal last
        now = time.process_time()
        told[what], last = now - last, now

    config = Config.of(settings)
    protocol = resolve(config, root, cpu)
    protocol.head()
    lap("load")
    session = Session(protocol, cpu)
    learner = session.begin(0)
    lap("open")
    session.train(learner, 0)
    lap("train")
    query = session.query(learner, LABELS, 0)
    lap("ask")
    picked = config.strategy.pick(query)
    lap("pick")
    assert len(set(picked.tolist())) == LABELS
    told["memory"] = peak.close()
    told["safe"], network = len(query.safe), session.cloud._network.eval()
    last = time.process_time()
    with torch.no_grad():
        for part in np.array_split(query.safe, -(-len(query.safe) // 512)):
            for batch in chunks(protocol.dataset.train.images[part], cpu):
                network(batch)
    lap("bare")
    return told


def run(code: Path, *arguments: str) -> dict[str, float]:
    """``measure`` in a process of its own, by the code of a checkout."""
    alone = {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, __file__, "--one", *arguments]
    done = subprocess.run(command, env=os.environ | alone, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed with the code of {code}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10,000 vectors, one method: to see that it runs")
    parser.add_argument("--features", action="store_true", help="vectors in place of pictures")
    parser.add_argument("--sizes", type=int, nargs="+", help="training images; 100,000 and 1,000,000 if not given")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="all if not given")
    parser.add_argument("--against", metavar="CHECKOUT", help="another version of the code, measured in turn")
    parser.add_argument("--folder", help="where the set is written, and removed again; the system's if not given")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    kind = "features" if options.features or options.quick else "pictures"
    sizes = options.sizes or ([10_000] if options.quick else [100_000, 1_000_000])
    methods = options.methods or (("entropy",) if options.quick else METHODS)
    codes = {"after": Path(__file__).parents[1]}
    if options.against:
        codes = {"before": Path(options.against).absolute()} | codes
    parts = ("load", "open", "train", "ask", "pick")
    print(f"| {kind} | method | code | {' | '.join(parts)} | µs an image | of a bare pass | MB |\n|{'---|' * 11}")
    for n in sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as root:
            name = f"{kind}-{n}"
            write(Path(root, name), n, kind == "features")
            for method in methods:
                for code, checkout in codes.items():
                    told = run(checkout, root, name, method)
                    spent = told["ask"] + told["pick"]
                    row = [f"{n:,}", method, code, *(f"{told[part]:.2f}" for part in parts)]
                    row += [f"{spent / told['safe'] * 1e6:.1f}", f"{spent / told['bare']:.2f}"]
                    print("|", " | ".join([*row, f"{told['memory'] / 1e6:.0f}"]), "|", flush=True)


if __name__ == "__main__":
    main()

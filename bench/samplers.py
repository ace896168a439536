"""Selection algorithms against plain formulations of the same thing: CPU-seconds of one thread, and memory.

    python bench/samplers.py            the table (about half an hour)
    python bench/samplers.py --quick    tiny sizes, to see that it runs
    python bench/samplers.py --full     nothing extrapolated (an hour or more)

Both sides get the same arrays, in one process, by turns; a ratio is the median over repetitions. Before anything is
timed the selections are compared. A slow plain form is run for its first picks only and scaled up by the number of
picks (marked ~; each of its picks costs the same), and is compared on those. Memory is the growth of the peak in a
fresh process that has loaded its inputs. The plain forms are written here, in the style of public code.
"""

# ruff: noqa: E402

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy is imported

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.distance import cdist

from pslcore.losses import discrepancy
from pslcore.strategies.alfa_mix import alfa_mix, class_anchors, flip_caps
from pslcore.strategies.badge import badge
from pslcore.strategies.core_set import k_center_greedy

torch.set_num_threads(1)

LABELLED, DIM, CAP = 500, 512, 0.125


# ---------------------------------------------------------------------------------------------------- the inputs


def pool(n: int, dim: int, classes: int, kind: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Features like those of a network, non-negative and half of them exactly 0, one cloud a class, with a head.

    `kind`: "clouds" overlap, as they do where there is something to choose; "tight" ones are collapsed to a hundredth
    of their distance, as after long training.
    """
    rng = np.random.default_rng(seed)
    apart, spread = {"clouds": (0.3, 1.0), "tight": (1.0, 0.01)}[kind]
    centers = apart * rng.standard_normal((classes, dim))
    labels = rng.integers(0, classes, n + LABELLED)
    features = np.maximum(centers[labels] + spread * rng.standard_normal((n + LABELLED, dim)), 0).astype(np.float32)
    weight = (2 * centers / math.sqrt(dim) + 0.05 * rng.standard_normal((classes, dim))).astype(np.float32)
    bias = (0.1 * rng.standard_normal(classes)).astype(np.float32)
    logits = features @ weight.T + bias
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return {
        "features": features[LABELLED:],
        "probabilities": probabilities[LABELLED:],
        "labelled": features[:LABELLED],
        "labels": labels[:LABELLED],
        "weight": weight,
        "bias": bias,
    }


# ------------------------------------------------------------------------------------------------ the plain forms


def core_set_cdist(features, centers, budget):
    tiles = (features[at : at + 1000] for at in range(0, len(features), 1000))
    nearest = np.concatenate([cdist(tile, centers).min(axis=1) for tile in tiles])
    picks = []
    for _ in range(budget):
        pick = int(nearest.argmax())
        picks.append(pick)
        nearest = np.minimum(nearest, cdist(features, features[pick : pick + 1])[:, 0])
    return np.array(picks)


def core_set_norms(features, centers, budget):
    """The better plain form: float32, with cached norms."""
    squares = (features**2).sum(axis=1)
    nearest = np.full(len(features), np.inf, dtype=np.float32)

    def lower(point):
        np.minimum(nearest, squares + point @ point - 2 * (features @ point), out=nearest)

    for center in centers:
        lower(center)
    picks = []
    for _ in range(budget):
        picks.append(int(nearest.argmax()))
        lower(features[picks[-1]])
        nearest[picks[-1]] = -1
    return np.array(picks)


def seeding(distance, squares, budget, seed):
    """Plain k-means++ seeding; ``distance(pick)`` gives the squared distances of all rows."""
    rng = np.random.default_rng(seed)
    picks, nearest = [int(squares.argmax())], np.full(len(squares), np.inf)
    while len(picks) < budget:
        nearest = np.minimum(nearest, np.maximum(distance(picks[-1]), 0))
        nearest[picks] = 0
        cumulative = np.cumsum(nearest)
        picks.append(int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")))
    return np.array(picks)


def materialised(probabilities, features, dtype=np.float32):
    """The embeddings in full: ``squared distances of all rows to a pick``, and their squared norms."""
    u = probabilities.astype(dtype)
    u[np.arange(len(u)), u.argmax(axis=1)] -= 1
    g = (u[:, :, None] * features.astype(dtype, copy=False)[:, None, :]).reshape(len(u), -1)
    squares = np.einsum("nd,nd->n", g, g)
    return lambda i: squares + squares[i] - 2 * (g @ g[i]), squares


def factored(probabilities, features, dtype=np.float32):
    """The same from the factors of the embeddings."""
    u, h = probabilities.astype(dtype), features.astype(dtype, copy=False)
    u[np.arange(len(u)), u.argmax(axis=1)] -= 1
    squares = (u**2).sum(axis=1) * (h**2).sum(axis=1)
    return lambda i: squares + squares[i] - 2 * (u @ u[i]) * (h @ h[i]), squares


def alfa_cap_step(features, anchors, weight, bias, cap):
    """One step of the sweep: for each anchor mix all features, run the head, see which predictions flip."""
    e, w = torch.from_numpy(features), torch.from_numpy(weight)
    b = torch.from_numpy(bias)
    logits = e @ w.T + b
    top = logits.argmax(dim=1)
    g = (logits.softmax(dim=1) - torch.nn.functional.one_hot(top, len(w))) @ w
    eps, flipped = cap / math.sqrt(e.shape[1]), torch.zeros(len(e), dtype=torch.bool)
    for anchor in torch.from_numpy(anchors).float():
        z = anchor - e
        alpha = (eps * z.norm(dim=1) / g.norm(dim=1))[:, None] * g / torch.where(z == 0, 1.0, z)
        flipped |= (((1 - alpha) * e + alpha * anchor) @ w.T + b).argmax(dim=1) != top
    return flipped.numpy()


def discrepancy_pairs(peer_logits, divergence):
    """All ordered pairs, each from its two logits."""
    total = 0
    for one, other in permutations(peer_logits, 2):
        total = total + divergence(one, other)
    return total


def softmax_divergence(one, other):
    p, q = one.softmax(dim=1), other.softmax(dim=1)
    return (p * (p.log() - q.log())).sum(dim=1)


def categorical_divergence(one, other):
    p, q = (torch.distributions.Categorical(logits=logits, validate_args=False) for logits in (one, other))
    return torch.distributions.kl_divergence(p, q)


# ------------------------------------------------------------------------------------------------------ measuring


def cpu(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def by_turns(ours, plain, repetitions: int) -> tuple[float, float, float]:
    """Median seconds of ours and of the plain form, and the median of the ratios.

    Each is a function without arguments that returns the seconds it took.
    """
    times = []
    for k in range(repetitions):
        pair = [0.0, 0.0]
        for which in (0, 1) if k % 2 else (1, 0):
            pair[which] = (ours, plain)[which]()
        times.append(pair)
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return mine, theirs, statistics.median(b / a for a, b in times)


def scaled(plain, budget: int, first: int) -> float:
    """Seconds for `budget` picks from the time of the `first`: what comes before the second pick is not scaled up."""
    whole = cpu(lambda: plain(first))
    if first == budget:
        return whole
    start = cpu(lambda: plain(1))
    return start + (whole - start) * (budget - 1) / (first - 1)


class Table:
    def __init__(self):
        print(f"{'what':<16}{'against':<18}{'N':>7}{'b':>6}{'C':>5}{'D':>5} {'data':<7}"
              f"{'ours s':>9}{'plain s':>11}{'ratio':>9}{'target':>8}  selection")  # fmt: skip

    def row(self, what, against, n, b, c, d, kind, measured, target, checked, approximate=False):
        mine, plain, ratio = measured
        mark = "~" if approximate else " "
        met = f"{target:g}x" if target else ""
        print(f"{what:<16}{against:<18}{n:>7}{b:>6}{c:>5}{d:>5} {kind:<7}{mine:>9.4f}{mark:>2}{plain:>9.3f}"
              f"{ratio:>8.1f}x{met:>8}  {checked}", flush=True)  # fmt: skip


def prefix(picks, reference) -> str:
    same = int((picks[: len(reference)] == reference).sum())
    return f"{same}/{len(reference)} equal"


MEMORY = {
    "core-set": lambda p, b: k_center_greedy(p["features"], p["labelled"], b),
    "BADGE": lambda p, b: badge(p["probabilities"], p["features"], b, 0),
    "BADGE plain": lambda p, b: badge(p["probabilities"], p["features"], b, 0, rejection=False),
    "BADGE material.": lambda p, b: seeding(*materialised(p["probabilities"], p["features"]), b, 0),
    "ALFA-Mix caps": lambda p, b: flip_caps(p["features"], p["labelled"][:10], p["weight"], p["bias"]),
}


def memory_child(what: str, file: str, budget: int):
    with np.load(file) as stored:
        inputs = {name: stored[name] for name in stored.files}
    MEMORY[what](pool(100, 16, 3, "clouds"), 10)  # what is loaded once (BLAS buffers) is not the method's
    # Not getrusage: its peak is inherited from the parent, across exec.
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = peak()
    MEMORY[what](inputs, budget)
    print((peak() - before) / 1024)


def peak() -> int:
    """The most memory this process has had resident, in KiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def memory(n, b, c, dim, names):
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "pool.npz")
        inputs = pool(n, dim, c, "clouds")
        np.savez(file, **inputs)
        size = sum(array.nbytes for array in inputs.values()) / 2**20
        for what, budget in names:
            command = [sys.executable, __file__, "--memory-child", what, file, str(budget)]
            grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            where = f"N={n} b={budget} C={c} D={dim}"
            print(f"{what:<16} {where}: {grown:8.1f} MiB above inputs of {size:.0f} MiB", flush=True)


# ---------------------------------------------------------------------------------------------------------- the run


def bench_core_set(table, sizes, dim, full):
    for n, b in sizes:
        for d, kind in ((dim, "clouds"), (dim, "tight"), (2, "clouds")):
            data = pool(n, d, 10, kind)
            x, m = data["features"], data["labelled"]
            picks = k_center_greedy(x, m, b)
            first = b if full or n * b * d <= 2e9 else b // 20
            for name, form, goal in (("cdist loop", core_set_cdist, 10 if n < 10_000 else 15),
                                     ("cached norms f32", core_set_norms, 0)):  # fmt: skip
                plain = partial(form, x, m)
                checked = prefix(picks, plain(first))
                ours = partial(cpu, partial(k_center_greedy, x, m, b))
                again = by_turns(ours, partial(scaled, plain, b, first), 3)
                goal = goal if d == DIM and kind == "clouds" else 0
                table.row("core-set", name, n, b, "-", d, kind, again, goal, checked, first < b)


def bench_badge(table, sizes, classes, dim, full):
    for n, b in sizes:
        for c in classes:
            for d, kind in ((dim, "clouds"), (dim, "tight"), (2, "clouds")):
                data = pool(n, d, c, kind)
                p, x = data["probabilities"], data["features"]
                # Rejection uses another random stream; our plain form's picks must be those of a float64 plain form.
                few = min(b, max(2, int(1.5e9 / n / d)))
                reference = seeding(*factored(p, x, np.float64), few, 0)
                checked = prefix(badge(p, x, few, 0, rejection=False), reference)
                ours = partial(cpu, partial(badge, p, x, b, 0))
                for name, form, size in (("factored f32", factored, d), ("materialised f32", materialised, c * d)):
                    if n * size * 4 > 1.2e9 or (form is materialised and kind == "tight"):
                        continue  # too big for small machines; the same work as for "clouds"
                    first = b if full or n * b * size <= 2e9 else b // 20
                    goal = 8 if (n, c, d, kind, form) == (50_000, 10, DIM, "clouds", factored) else 0
                    # What comes before the picks is not counted: the plain forms' own arrays are made once.
                    plain = partial(scaled, partial(_seed, *form(p, x)), b, first)
                    again = by_turns(ours, plain, 3 if n * first * size < 2e10 else 1)
                    table.row("BADGE rejection", name, n, b, c, d, kind, again, goal, checked, first < b)


def _seed(distance, squares, budget):
    return seeding(distance, squares, budget, 0)


def bench_alfa(table, sizes, classes, dim):
    for n, b in sizes:
        for c in classes:
            for d in (dim, 2):
                data = pool(n, d, c, "clouds")
                x, w, bias = data["features"], data["weight"], data["bias"]
                anchors = class_anchors(data["labelled"], data["labels"], c)
                caps, plain = flip_caps(x, anchors, w, bias), alfa_cap_step(x, anchors, w, bias, CAP)
                # A float32 sweep rounds: rows on the edge of the cap may fall to either side.
                checked = f"{int(((caps < CAP) != plain).sum())} of {n} differ, {int(plain.sum())} flip"
                ours = partial(cpu, partial(flip_caps, x, anchors, w, bias))
                step = partial(cpu, partial(alfa_cap_step, x, anchors, w, bias, CAP))
                again = by_turns(ours, step, 3 if n * c < 1e6 else 1)
                table.row("ALFA-Mix caps", "one cap step", n, b, c, d, "clouds", again, 5 if d == DIM else 0, checked)
        data = pool(n, dim, 10, "clouds")
        rest = (data["features"], data["labelled"], data["labels"], data["weight"], data["bias"], min(b, 500), 0)
        whole = cpu(partial(alfa_mix, *rest))
        print(f"ALFA-Mix whole, with k-means: N={n} b={min(b, 500)} C=10 D={dim}: {whole:.2f} s", flush=True)


def bench_discrepancy(table, sizes, classes):
    forms = (("softmax pairs", softmax_divergence), ("Categorical pairs", categorical_divergence))
    for n, _ in sizes:
        for c in classes:
            for peers in (2, 4):
                logits = 3 * torch.randn(peers, n, c, generator=torch.Generator().manual_seed(0))
                ours, plain = discrepancy(logits), discrepancy_pairs(logits.double(), softmax_divergence)
                checked = f"relative error {float(((ours - plain).abs() / plain).max()):.1e}"
                ours = partial(cpu, partial(discrepancy, logits))
                goal = 6 if (n, c, peers) == (50_000, 100, 2) else 0
                for name, divergence in forms:
                    plain = partial(cpu, partial(discrepancy_pairs, logits, divergence))
                    again = by_turns(ours, plain, 9)
                    table.row(f"discrepancy P={peers}", name, n, "-", c, "-", "-", again, goal, checked)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=("core-set", "badge", "alfa", "discrepancy", "memory"))
    parser.add_argument("--memory-child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_child:
        what, file, budget = options.memory_child
        return memory_child(what, file, int(budget))
    sizes, classes, dim = [(4_500, 500), (50_000, 2_500)], (10, 100), DIM
    if options.quick:
        sizes, classes, dim = [(300, 30)], (3, 5), 16
    table = Table()
    wanted = lambda name: options.only in (None, name)  # noqa: E731
    if wanted("discrepancy"):
        bench_discrepancy(table, sizes, classes)
    if wanted("core-set"):
        bench_core_set(table, sizes, dim, options.full)
    if wanted("badge"):
        bench_badge(table, sizes, classes, dim, options.full)
    if wanted("alfa"):
        bench_alfa(table, sizes, classes, dim)
    if wanted("memory"):
        n, b = sizes[-1]
        # Neither grows with the number of picks in the forms marked 20.
        forms = [("core-set", b), ("BADGE", b), ("BADGE plain", 20), ("BADGE material.", 20), ("ALFA-Mix caps", b)]
        memory(n, b, classes[0], dim, forms[:1] if options.quick else forms)


if __name__ == "__main__":
    main()

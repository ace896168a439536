"""An album of real pictures, a simulated person answering: accuracy by number of answers, PSL beside Random.

    nice python bench/album.py [--seeds 5] [--rounds 4] [--budget 40] [--epochs 20]

1,000 JPEG files of five CIFAR-10 classes, half of them protected; tested on 1,000 other pictures of these classes.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pslcore import data
from pslcore.album import Album

CLASSES = ("airplane", "automobile", "bird", "cat", "deer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"seeds": 5, "rounds": 4, "budget": 40, "epochs": 20, "pictures": 1000}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    dataset = data.load("cifar10")
    rng = np.random.default_rng(0)
    kinds = [dataset.classes.index(name) for name in CLASSES]
    chosen = rng.permutation(np.flatnonzero(np.isin(dataset.train.labels, kinds)))[: options.pictures]
    test = np.flatnonzero(np.isin(dataset.test.labels, kinds))[:1000]
    truth, rows = {}, []
    with tempfile.TemporaryDirectory() as scratch:
        for place, number in enumerate(chosen):
            path = f"{'private' if place % 2 else 'shared'}/{place:04}.jpg"
            truth[path] = dataset.classes[dataset.train.labels[number]]
            (Path(scratch, "album") / path).parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(dataset.train.images[number].transpose(1, 2, 0))
            picture.save(Path(scratch, "album", path), quality=95)
        for seed in range(options.seeds):
            for method in ("psl", "random"):
                learning = {"method": method, "seed": seed, "recipe": {"epochs": options.epochs, "batch_size": 16,
                                                                       "lr": 0.05}}  # fmt: skip
                out = Path(scratch, f"{method}-{seed}")
                with Album(Path(scratch, "album"), CLASSES, {"folders": ["private"]}, out, learning) as album:
                    for turn in range(1, options.rounds + 1):
                        for picture in album.next(options.budget):
                            album.answer(picture, truth[picture.path], by="simulated")
                        report = album.train()
                        given = album.task_learner().probabilities(dataset.test.images[test]).argmax(1)
                        right = np.array(kinds)[given] == dataset.test.labels[test]
                        low, high = report.interval
                        rows.append((method, seed, turn * options.budget, right.mean(), low <= right.mean() <= high))
                        print(*rows[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows, columns=["method", "seed", "answers", "accuracy", "covered"])
    shown = table.pivot_table(index="answers", columns="method", values="accuracy", aggfunc=["mean", "std"]) * 100
    paired = table.pivot(index=["answers", "seed"], columns="method", values="accuracy")
    gap = 100 * (paired["psl"] - paired["random"]).groupby("answers").agg(["mean", "std"])
    print("| answers | PSL (%) | Random (%) | PSL - Random, paired by seed (points) |\n|---|---|---|---|")
    for answers, row in shown.iterrows():
        cells = [f"{row['mean', name]:.1f} ± {row['std', name]:.1f}" for name in ("psl", "random")]
        print(f"| {answers} | {' | '.join(cells)} | {gap['mean'][answers]:+.1f} ± {gap['std'][answers]:.1f} |")
    print(f"\nThe interval from held-out answers held the accuracy on the test pictures in {table.covered.mean():.0%}.")


if __name__ == "__main__":
    main()

"""An album of real pictures, a simulated person answering: accuracy by number of answers, PSL beside Random.

    nice python bench/album.py [--seeds 5] [--rounds 4] [--budget 40] [--epochs 20] [--data data]
    python bench/album.py --first-pick 10000     seconds to the first question, and what comes after it
    nice python bench/album.py --scores          why: one round, several scores of the same students
    … --features [efficientnet_lite0@128]        on features of a frozen network in place of pixels
    … --quick                                    tiny, to see that it runs

1,000 JPEG files of five CIFAR-10 classes, half of them protected; tested on 1,000 other pictures of these classes.
``--first-pick`` makes so many JPEG files of 1280x960 (4 GB for 10,000) in a temporary folder, and times the steps in
seconds of the clock and of the processor.
"""

import argparse
import io
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pslcore import data, losses
from pslcore.runs import Session, fingerprint, prepare_process
from pslcore.sides import Pools
from psllab.album import Album, Learning, TaskLearner, training
from psllab.album.pictures import decode
from psllab.album.training import HEADS
from psllab.features import backbones

CLASSES = ("airplane", "automobile", "bird", "cat", "deer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data", help="the folder of data sets")
    parser.add_argument("--first-pick", type=int, metavar="N", help="time an album of N large pictures instead")
    parser.add_argument("--scores", action="store_true", help="compare scores of the same students instead")
    parser.add_argument(
        "--features", nargs="?", default="", const="efficientnet_lite0@128", metavar="NAME",
        help="learn on features of a frozen network, efficientnet_lite0@128 if none is named",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    sizes = {"seeds": 5, "rounds": 4, "budget": 40, "epochs": 20, "pictures": 1000, "tests": 1000}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.rounds, options.budget = 1, 2, 12
        options.epochs, options.pictures, options.tests = 1, 60, 20
    if options.first_pick:
        return first_pick(options.first_pick)
    if options.scores:
        return scores(options, budget=8 if options.quick else 32)
    learn_by_answers(options)


def learning_of(options: argparse.Namespace, method: str, seed: int, given: dict | None = None) -> dict:
    """What is said to an album, from pixels or from features."""
    learning = {"method": method, "seed": seed, "options": given or {}}
    recipe = {"epochs": options.epochs, "batch_size": 16}
    if options.features:
        return learning | {"features": options.features, "teacher": HEADS["teacher"], "recipe": recipe | {"lr": 0.02}}
    return learning | {"size": 32, "recipe": recipe | {"lr": 0.05}}


def as_kept(images: np.ndarray, features: str) -> np.ndarray:
    """Pictures as an album keeps its own: the pixels, or features of each by itself."""
    if not features:
        return images
    backbone, _, size = features.rpartition("@")
    side, encode = int(size), backbones.backbone(backbone).encode
    squares = [np.frombuffer(decode(jpeg(image), side).pixels, np.uint8).reshape(1, side, side, 3) for image in images]
    return np.concatenate([encode(square.transpose(0, 3, 1, 2), side) for square in squares])[..., None, None]


def jpeg(image: np.ndarray) -> bytes:
    """A file of uint8 [3, H, W]."""
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=95)
    return file.getvalue()


def first_pick(count: int) -> None:
    """An album of ``count`` pictures of 1280x960, from nothing to the first question, and on."""
    rng, kinds = np.random.default_rng(0), []
    for number in range(min(40, count)):
        small = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        large = np.asarray(Image.fromarray(small).resize((1280, 960), Image.Resampling.BICUBIC)).astype(float)
        exif = Image.Exif()
        exif[0x0112] = (1, 6)[number % 2]
        exif.get_ifd(0x8769)[0x9003] = f"2024:01:{number % 28 + 1:02} 12:00:00"
        file = io.BytesIO()
        pixels = (large + rng.normal(0, 9, (960, 1280, 1))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file, "JPEG", quality=85, exif=exif)
        kinds.append(file.getvalue())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "pictures")
        for number in range(count):
            path = folder / f"{number // 500:03}" / f"{number:06}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                kinds[number % len(kinds)] + number.to_bytes(4, "big")
            )  # behind the end: no two are the same file
        print("| step | seconds | CPU-seconds |\n|---|---|---|")
        options = {"classes": CLASSES, "protect": {"patterns": ["*7.jpg"]}, "out": Path(scratch, "out")}
        with lap(f"open {count:,} new pictures"):
            album = Album(folder, **options)
        with lap("the first to label"):
            album.next(min(20, count // 2))
        names = album.preview().safe
        with lap("a page of 60 thumbnails, nothing read yet"):
            [album.thumbnail(name) for name in names[-60:]]
        with lap("read the rest (beside the labelling)"):
            album.read()
        with lap("a page of 60 thumbnails"):
            [album.thumbnail(name) for name in names[:60]]
        album.close()
        with lap("open it again"):
            Album(folder, **options).close()


@contextmanager
def lap(what: str):
    """Print what a step took."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    print(f"| {what} | {time.perf_counter() - wall:.1f} | {time.process_time() - processor:.1f} |", flush=True)


def pictures(root: str, count: int, tests: int):
    """Images and labels (0 to 4) of pictures of the five classes: so many to learn from, so many to test on."""
    dataset = data.load("cifar10", root)
    kinds = [dataset.classes.index(name) for name in CLASSES]
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(np.isin(dataset.train.labels, kinds)))[:count]
    test = np.flatnonzero(np.isin(dataset.test.labels, kinds))[:tests]
    return [
        (np.asarray(split.images[some]), np.array([kinds.index(label) for label in split.labels[some]]))
        for split, some in ((dataset.train, chosen), (dataset.test, test))
    ]


def scores(options: argparse.Namespace, budget: int = 32) -> None:
    """One acquisition: students learn from ``budget`` answers; the task learner alone from what each score adds."""
    (images, truth), (tests, answers) = pictures(options.data, options.pictures, options.tests)
    images, tests = (as_kept(some, options.features) for some in (images, tests))
    n, device = len(images), prepare_process("cpu")
    protected, safe = np.arange(1, n, 2), np.arange(0, n, 2)
    rows, picked, told = [], [], []

    def fit(method: str, given: dict, labelled: np.ndarray, seed: int, cycle: int):
        learning = Learning.of(learning_of(options, method, seed, given))
        config, labels = learning.config(), np.full(len(images), -1, np.int64)
        labels[labelled] = truth[labelled]
        dataset = data.Dataset("album", data.Split(images, labels), data.Split(images[:0], labels[:0]), CLASSES)
        pools = Pools(len(images), np.empty(0, np.int64), protected)
        recipe = config.recipe.on(device)
        protocol = training._Protocol(config, dataset, [len(labelled)], labels, fingerprint(config), recipe, pools)
        session = Session(protocol, device)
        session.client.annotate(session.cloud, labelled)
        learner = session.begin(cycle)
        session.train(learner, cycle)
        weights = {name.removeprefix("0."): tensor for name, tensor in session.cloud.weights().items()}
        return session, learner, TaskLearner(learning, len(CLASSES), weights)

    for seed in range(options.seeds):
        first = np.sort(np.random.default_rng(100 + seed).choice(safe, budget, replace=False))
        rest, found = np.setdiff1d(safe, first), {}
        for name, given in {"paper": {}, "ordered": {"ranking": "ordered"}, "none": {"out_of_class": False}}.items():
            session, learner, teacher = fit("psl", given, first, seed, 0)
            logits = learner.answers(session.client.store.plain(rest))
            mean = logits.softmax(2).mean(0)
            entropy = -(mean * mean.clamp_min(1e-12).log()).sum(1).numpy()
            found[f"discrepancy (PSL), out of class: {name}"] = losses.discrepancy(logits).numpy()
            if name == "paper":
                found["entropy of the same students' mean answer"] = entropy
                p = teacher.probabilities(images[rest])
                found["entropy of the task learner (uploads the pool)"] = -(p * np.log(p + 1e-12)).sum(1)
                right = mean.argmax(1).numpy() == truth[rest]
                score = losses.discrepancy(logits).numpy()
                told.append((score[right].mean(), score[~right].mean()))
        for draw in range(2):
            found[f"random, draw {draw + 1}"] = np.random.default_rng(1000 + 10 * seed + draw).random(len(rest))
        for name, score in found.items():
            more = rest[np.lexsort((rest, -score))[:budget]]
            *_, teacher = fit("random", {}, np.sort(np.concatenate([first, more])), seed, 1)
            rows.append((name, seed, 100 * (teacher.probabilities(tests).argmax(1) == answers).mean()))
            picked.append((name, *np.bincount(truth[more], minlength=5)))
            print(*rows[-1], file=sys.stderr, flush=True)
    accuracy = pd.DataFrame(rows, columns=["score", "seed", "accuracy"]).groupby("score", sort=False).accuracy
    kinds = pd.DataFrame(picked, columns=["score", *CLASSES]).groupby("score", sort=False).mean()
    print(f"| score | accuracy (%) | picked of {', '.join(CLASSES)} |\n|---|---|---|")
    for name, value in accuracy.mean().items():
        counts = ", ".join(f"{count:.1f}" for count in kinds.loc[name])
        print(f"| {name} | {value:.1f} ± {accuracy.std()[name]:.1f} | {counts} |")
    right, wrong = np.mean(told, axis=0)
    print(f"\nMean discrepancy where the students are right {right:.2f} nats, where they are wrong {wrong:.2f}.")


def learn_by_answers(options: argparse.Namespace) -> None:
    """Rounds of answers, PSL beside Random."""
    (images, labels), (tests, answers) = pictures(options.data, options.pictures, options.tests)
    tests, truth, rows = as_kept(tests, options.features), {}, []
    with tempfile.TemporaryDirectory() as scratch:
        for place, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = f"{'private' if place % 2 else 'shared'}/{place:04}.jpg"
            truth[path] = CLASSES[label]
            (Path(scratch, "album") / path).parent.mkdir(parents=True, exist_ok=True)
            Path(scratch, "album", path).write_bytes(jpeg(image))
        for seed in range(options.seeds):
            for method in ("psl", "random"):
                learning = learning_of(options, method, seed)
                out = Path(scratch, f"{method}-{seed}")
                with Album(Path(scratch, "album"), CLASSES, {"folders": ["private"]}, out, learning) as album:
                    for turn in range(1, options.rounds + 1):
                        for picture in album.next(options.budget):
                            album.answer(picture, truth[picture.path], by="simulated")
                        report = album.train()
                        right = album.task_learner().probabilities(tests).argmax(1) == answers
                        low, high = report.interval or (0, 1)
                        rows.append((method, seed, turn * options.budget, right.mean(), low <= right.mean() <= high))
                        print(*rows[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows, columns=["method", "seed", "answers", "accuracy", "covered"])
    shown = (
        table.pivot_table(index="answers", columns="method", values="accuracy", aggfunc=["mean", "std"], dropna=False)
        * 100
    )
    paired = table.pivot(index=["answers", "seed"], columns="method", values="accuracy")
    gap = 100 * (paired["psl"] - paired["random"]).groupby("answers").agg(["mean", "std"])
    print("| answers | PSL (%) | Random (%) | PSL - Random, paired by seed (points) |\n|---|---|---|---|")
    for answers, row in shown.iterrows():
        cells = [f"{row['mean', name]:.1f} ± {row['std', name]:.1f}" for name in ("psl", "random")]
        print(f"| {answers} | {' | '.join(cells)} | {gap['mean'][answers]:+.1f} ± {gap['std'][answers]:.1f} |")
    print(f"\nThe interval from held-out answers held the accuracy on the test pictures in {table.covered.mean():.0%}.")


if __name__ == "__main__":
    main()

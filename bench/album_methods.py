"""Albums on frozen features, a simulated person answering: accuracy by number of answers, for every method.

    nice python bench/album_methods.py FOLDER [--seeds 5] [--rounds 8] [--budget 20] [--methods psl,random] [--pixels 1]
    python bench/album_methods.py FOLDER --quick      one seed, two rounds of two methods on 40 pictures
    python bench/album_methods.py FOLDER --time 10000 a round of an album with so many pictures, features made up

FOLDER holds a folder of pictures for each class, such as Tiny ImageNet's train; five classes are drawn. 200 pictures of
each (``--pictures``) make an album, every second one protected; 300 others are tested on. ``cifar10`` in place of
FOLDER takes airplanes, automobiles, birds, cats and deer of ``data``, as bench/album.py does.
"""

import argparse
import io
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pslcore import data
from psllab.album import Album
from psllab.album.cache import Cache, _key
from psllab.album.pictures import decode

METHODS = ("psl", "random", "entropy", "badge", "alfa_mix")
KINDS = ("airplane", "automobile", "bird", "cat", "deer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    for name, value in {"seeds": 5, "rounds": 8, "budget": 20, "pixels": 0, "pictures": 200}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--start", default="random,typical")
    parser.add_argument("--csv", help="where to write every round")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--time", type=int, default=0, metavar="N", help="time an album of N made-up pictures instead")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.rounds, options.budget, options.pictures = 1, 2, 8, 8
        options.methods, options.start = "psl,random", "random"
    with tempfile.TemporaryDirectory() as scratch:
        if options.time:
            return rounds(options.time, Path(scratch))
        table = accuracies(options, Path(scratch))
    if options.csv:
        table.to_csv(options.csv, index=False)
    show(table)


def files(folder: str, count: int) -> tuple[list[str], list[tuple[bytes, int]], list[tuple[bytes, int]]]:
    """Classes, and files with their class: ``count`` of each for the album, 300 others of each to test on."""
    if folder == "cifar10":
        dataset, names, found = data.load("cifar10"), list(KINDS), []
        for name in names:
            rows = np.flatnonzero(np.asarray(dataset.train.labels) == dataset.classes.index(name))[: count + 300]
            found.append([_jpeg(np.asarray(dataset.train.images[row])) for row in rows])
    else:
        everything = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
        names = sorted(map(str, np.random.default_rng(0).choice(everything, 5, replace=False)))
        found = [
            [path.read_bytes() for path in sorted(Path(folder, name).rglob("*.JPEG"))[: count + 300]] for name in names
        ]
    album = [(payload, label) for label, each in enumerate(found) for payload in each[:count]]
    return names, album, [(payload, label) for label, each in enumerate(found) for payload in each[count:]]


def _jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=95)
    return file.getvalue()


def lay_out(album: list[tuple[bytes, int]], names: list[str], folder: Path) -> dict[str, str]:
    """Write the files in an order that tells nothing, every second one to ``private``; path to class."""
    truth = {}
    for place, number in enumerate(np.random.default_rng(1).permutation(len(album))):
        payload, label = album[number]
        path = f"{'private' if place % 2 else 'shared'}/{place:05}.jpg"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(payload)
        truth[path] = names[label]
    return truth


def rounds(count: int, scratch: Path) -> None:
    """Seconds of the rounds of a large album once its features are there: these are made up."""
    rng, small = np.random.default_rng(0), _jpeg(np.zeros((3, 8, 8), np.uint8))
    truth = lay_out([(small + n.to_bytes(4, "big"), n % 5) for n in range(count)], list(KINDS), scratch / "album")
    with Album(scratch / "album", KINDS, {"folders": ["private"]}, scratch / "out") as album:
        kinds = rng.integers(60, 120, (5, 1280))
        for picture in album._index.pictures:
            vector = kinds[KINDS.index(truth[picture.path])] + rng.integers(0, 60, 1280)
            album._cache._run(
                "update pictures set pixels = ?, thumbnail = ?, hash = ?, shown = 0 where name = ?",
                (vector.astype(np.uint8).tobytes(), small, rng.bytes(32), _key(picture.path)),
            )
        album._cache._commit()
        album.refresh()
        print(
            "| round | next: seconds, of the processor | train and report: seconds, of the processor |\n|---|---|---|"
        )
        for turn in range(1, 5):
            clocks = [(time.perf_counter(), time.process_time())]
            asked = album.next(40)
            clocks.append((time.perf_counter(), time.process_time()))
            for picture in asked:
                album.answer(picture, truth[picture.path])
            clocks.append((time.perf_counter(), time.process_time()))
            album.train()
            clocks.append((time.perf_counter(), time.process_time()))
            first, *_, last = (np.subtract(clocks[i + 1], clocks[i]) for i in range(3))
            print(f"| {turn} | {first[0]:.2f}, {first[1]:.2f} | {last[0]:.2f}, {last[1]:.2f} |", flush=True)


def accuracies(options: argparse.Namespace, scratch: Path) -> pd.DataFrame:
    """A row a round."""
    names, album_files, test_files = files(options.folder, options.pictures)
    truth = lay_out(album_files, names, scratch / "album")
    answers, rows, caches = np.array([names[label] for _, label in test_files]), [], {}
    plan = [(method, start, seed, True) for seed in range(options.seeds) for start in options.start.split(",")
            for method in options.methods.split(",")]  # fmt: skip
    plan += [(method, "random", seed, False) for seed in range(options.pixels) for method in ("psl", "random")]
    for method, start, seed, features in plan:
        learning = {"method": method, "seed": seed} | ({"start": start} if features else {"size": 32})
        out = scratch / f"{method}-{start}-{seed}-{features}"
        if features in caches:  # what an album computes once
            shutil.copytree(caches[features], out / "cache")
        before = time.perf_counter()
        with Album(scratch / "album", names, {"folders": ["private"]}, out, learning) as album:
            album.read()
            if features not in caches:
                print(f"# read in {time.perf_counter() - before:.0f} s", file=sys.stderr)
                caches[features] = shutil.copytree(out / "cache", scratch / f"cache-{features}")
                kept = Cache(out / "cache" / "pictures.db", album.learning.size, album.learning.features)
                side = kept._size
                tests = [decode(payload, side).pixels for payload, _ in test_files]
                if features:
                    encoded = b"".join(map(kept._encoded, tests))
                    caches["tests", features] = np.frombuffer(encoded, np.uint8).reshape(len(tests), -1, 1, 1)
                else:
                    square = np.frombuffer(b"".join(tests), np.uint8).reshape(-1, side, side, 3)
                    caches["tests", features] = square.transpose(0, 3, 1, 2)
                kept.close()
            for turn in range(1, options.rounds + 1):
                clocks = [time.perf_counter(), time.process_time()]
                asked = album.next(options.budget)
                picked = [time.perf_counter(), time.process_time()]
                for picture in asked:
                    album.answer(picture, truth[picture.path], by="simulated")
                learned = [time.perf_counter(), time.process_time()]
                report = album.train()
                done = [time.perf_counter(), time.process_time()]
                wall, processor = (done[i] - learned[i] + picked[i] - clocks[i] for i in (0, 1))
                given = np.array(names)[album.task_learner().probabilities(caches["tests", features]).argmax(1)]
                low, high = report.interval or (0, 1)
                right = (given == answers).mean()
                rows.append({
                    "learns from": "features" if features else "pixels", "method": method, "start": start, "seed": seed,
                    "answers": turn * options.budget, "accuracy": 100 * right, "covered": low <= right <= high,
                    "forecast": getattr(report, "forecast", None), "seconds": wall, "cpu": processor,
                })  # fmt: skip
                print(*rows[-1].values(), file=sys.stderr, flush=True)
        shutil.rmtree(out)
    return pd.DataFrame(rows)


def show(table: pd.DataFrame) -> None:
    """Tables of accuracies, of differences to Random paired by seed, and of seconds."""
    keys = ["learns from", "start", "method"]
    mean = table.groupby([*keys, "answers"]).accuracy.agg(["mean", "std"])
    cells = mean.apply(lambda row: f"{row['mean']:.1f} ± {row['std']:.1f}", axis=1)
    print(cells.unstack("answers").to_string(), "\n")
    wide = table.pivot_table(index=["learns from", "start", "seed", "answers"], columns="method", values="accuracy")
    if "random" in wide:
        gaps = wide.sub(wide["random"], axis=0).groupby(["learns from", "start", "answers"]).agg(["mean", "sem"])
        print("less Random, paired by seed: mean, standard error\n", gaps.round(2).to_string(), "\n")
    print(f"intervals that held the accuracy on the test pictures: {table.covered.mean():.0%}")
    print(table.groupby(keys)[["seconds", "cpu"]].median().round(2).to_string())


if __name__ == "__main__":
    main()

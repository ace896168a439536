"""Peak memory of loading each data set and of one cycle of PSL on it: label, train an epoch, score the safe pool.

    python bench/memory.py [--quick] [--data data] [NAME ...]

Each in a process of its own; MiB resident, the interpreter with torch included, and what that alone takes as the first
row. Files that are mapped into memory count while their pages are in it. A set that is not there is passed over; one
that is there and cannot be measured is an error.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

SETS = {  # name: initial pool, teacher, student, batch
    "digits": (20, "resnet8", "resnet8", 32),
    "numbers": (100, "resnet8", "resnet8", 32),
    "digit_scenes": (10, "lraspp_mobilenet_v3_small", "lraspp_mobilenet_v3_small", 4),
    "cifar10": (500, "resnet18", "resnet8", 128),
    "cifar100": (500, "resnet18", "resnet8", 128),
    "tiny_imagenet": (1000, "resnet18", "resnet8", 128),
    "camvid": (10, "drn_d_22", "lraspp_mobilenet_v3_small", 4),
    "cityscapes@512x1024": (30, "drn_d_22", "lraspp_mobilenet_v3_small", 8),
}
QUICK = ("digits", "digit_scenes")
PLACES = {
    "cifar10": ("cifar10", "cifar-10-batches-py"), "cifar100": ("cifar100", "cifar-100-python"),
    "tiny_imagenet": ("tiny_imagenet", "tiny-imagenet-200"), "camvid": ("camvid", "CamVid"),
    "cityscapes@512x1024": ("cityscapes",),
}  # fmt: skip
"""Where a set may lie; those that are not here come with the package."""


def measure(name: str, root: str) -> dict[str, int]:
    """Peaks of this process in bytes: ``nothing`` loaded, ``load``, ``cycle``; and the training images, ``train``."""
    from pslcore import data
    from pslcore.runs import Config, records
    from psllab import retrain

    peaks = {"nothing": records.peak_memory()}
    records.reset_peak()
    dataset = data.load(name, root)
    peaks |= {"load": records.peak_memory(), "train": len(dataset.train)}
    initial, teacher, student, batch = SETS[name]
    config = Config.of(
        {"dataset": name, "method": "psl", "teacher": teacher, "options": {"student": student}, "initial": initial}
        | {"budget": 1, "final": initial + 1, "recipe": {"epochs": 1, "batch_size": batch, "lr": 0.01}}
    )
    records.reset_peak()
    trained = retrain.first_cycle(config, root)
    trained.session.query(trained.learner, 1, 0)
    return peaks | {"cycle": records.peak_memory()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"from {', '.join(SETS)}; all if not given")
    parser.add_argument("--quick", action="store_true", help="the smallest sets only")
    parser.add_argument("--data", default="data", help="folder of the data sets")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.data)))
        return
    print(f"{'data set':22}{'training images':>16}{'nothing':>9}{'loading':>9}{'cycle':>9}   MiB")
    failed = 0
    for name in options.names or (QUICK if options.quick else SETS):
        places = PLACES.get(name)
        if places and not any(Path(options.data, place).is_dir() for place in places):
            print(f"{name:22}passed over: there is no folder {places[0]!r} in {options.data}")
            continue
        command = [sys.executable, __file__, "--one", name, "--data", options.data]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:22}failed: {(done.stderr.strip().splitlines() or [f'exit status {done.returncode}'])[-1]}")
            failed += 1
            continue
        peaks = json.loads(done.stdout.splitlines()[-1])
        numbers = "".join(f"{peaks[part] >> 20:>9}" for part in ("nothing", "load", "cycle"))
        print(f"{name:22}{peaks['train']:>16,}{numbers}", flush=True)
    if failed:
        sys.exit(f"{failed} of the sets could not be measured.")


if __name__ == "__main__":
    main()

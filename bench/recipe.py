"""Recipes for heads, held against each other with Random alone on a part of the training images; no test image is used.

    python bench/recipe.py cifar10+efficientnet_lite0@128 100,500,3000 mlp256 '{batch_size: 64, lr: 0.02}' ...

Prints for each network and recipe the accuracy (%) at each number of labels: mean over seeds 1000, 1001, 1002. The last
tenth of the training images is the test set.
"""

import sys
import time
from dataclasses import replace

import numpy as np
import yaml

from pslcore.data import Split, load
from pslcore.runs import Config, loop
from pslcore.runs.protocol import Protocol

SEEDS = (1000, 1001, 1002)
"""None that an experiment uses."""


def main(name: str, counts: str, *tried: str, root: str = "data") -> None:
    whole = load(name, root)
    images, labels = whole.train.images, np.asarray(whole.train.labels)
    cut = len(images) * 9 // 10
    halves = Split(images[:cut], labels[:cut]), Split(images[cut:], labels[cut:])
    dataset = replace(whole, train=halves[0], test=halves[1], contents=f"{whole.contents} without its last tenth")
    loop.resolve = lambda config, root, device: Protocol.of(config, dataset, device)
    for teacher, text in zip(tried[::2], tried[1::2], strict=True):
        recipe, found, start = yaml.safe_load(text), [], time.process_time()
        for count in map(int, counts.split(",")):
            settings = {"dataset": name, "method": "random", "teacher": teacher, "recipe": recipe}
            runs = [Config.of(settings | {"initial": count, "final": count, "seed": seed}) for seed in SEEDS]
            found.append(np.mean([100 * loop.run(run, device="cpu")["cycles"][0]["metric"] for run in runs]))
        seconds = (time.process_time() - start) / len(SEEDS)
        print(
            f"{teacher:8} {text:60} " + " ".join(f"{value:6.2f}" for value in found) + f"  {seconds:5.1f} s", flush=True
        )


if __name__ == "__main__":
    main(*sys.argv[1:])

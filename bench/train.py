"""One epoch of training: ours against a plain DataLoader + PIL loop, same images, same network, same optimiser.

    python bench/train.py [--quick] [--network resnet8]

Interleaved in one run on one thread; processor seconds, so that a busy machine counts less; medians and their ratio.
The images are random: what they show makes no difference to the time.
"""

import argparse
import statistics
import time
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pslcore import models
from pslcore.data import ImageStore, plans
from pslcore.losses import task_loss
from pslcore.recipe import Descent, Recipe, forward, fresh
from pslcore.streams import torch_stream
from pslcore.vision import torchvision

CPU = torch.device("cpu")


class PlainImages(Dataset):
    """An image at a time through PIL and torchvision's transforms, as in most public code."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = images.transpose(0, 2, 3, 1), labels
        transforms = torchvision.transforms
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.25,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def plain(network: str, images: np.ndarray, labels: np.ndarray, batch_size: int):
    """The usual loop: float32, the optimiser's defaults."""
    model = models.build(network, 10)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    loader = DataLoader(PlainImages(images, labels), batch_size=batch_size, shuffle=True)
    criterion = torch.nn.CrossEntropyLoss()

    def epoch():
        for x, y in loader:
            optimiser.zero_grad()
            criterion(model(x), y).backward()
            optimiser.step()

    return epoch


def ours(network: str, images: np.ndarray, labels: np.ndarray, batch_size: int, precision: str):
    """What ``Cloud.step`` does."""
    recipe = Recipe(batch_size=batch_size, precision=precision)
    model = fresh(partial(models.build, network, 10), 0, "bench", 0, CPU)
    descent = Descent(model.parameters(), recipe, steps=10**6)
    store, everything = ImageStore(len(images), recipe.padding, CPU), np.arange(len(images))
    store.add(everything, images)
    store.tell(everything, labels)
    loader = torch_stream(0, "bench")

    def epoch():
        for plan in plans(everything, batch_size, recipe.padding, recipe.flip, loader):
            descent.step(task_loss(forward(model, store.batch(plan), recipe), store.labels(plan)))

    return epoch


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet8", choices=models.names())
    parser.add_argument("--quick", action="store_true", help="a smoke test, too short to measure anything")
    options = parser.parse_args()
    torch.set_num_threads(1)
    n, repetitions = (64, 1) if options.quick else (3000, 7)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, 10, n)
    loops = {"DataLoader + PIL, float32": plain(options.network, images, labels, 128)} | {
        f"ours, {precision}": ours(options.network, images, labels, 128, precision)
        for precision in ("float32", "bfloat16")
    }
    seconds = {name: [] for name in loops}
    for repetition in range(repetitions + 1):  # the first warms up
        for name, epoch in loops.items():
            start = time.process_time()
            epoch()
            if repetition or options.quick:
                seconds[name].append(time.process_time() - start)
    base = seconds["DataLoader + PIL, float32"]
    print(f"{options.network}, {n} images of 32x32 an epoch, batch 128, one thread, {repetitions} repetitions")
    for name, values in seconds.items():
        ratio = statistics.median(b / v for b, v in zip(base, values, strict=True))
        print(f"{name:28s} {1e6 * statistics.median(values) / n:8.0f} us an image   {ratio:5.2f} x")


if __name__ == "__main__":
    main()

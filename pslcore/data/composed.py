"""Sets composed from the real handwritten digits: stand-ins that need no network, no disk and no GPU.

``numbers``: two digits side by side are one of 100 classes with 10 superclasses; for CIFAR-100 and Tiny ImageNet.
``digit_scenes``: digits on textured ground with a label per pixel; for Cityscapes.

Both are the same on every machine. Training images hold only digits that train in ``digits``, test images only digits
that test there, so no source digit is on both sides; within a side a digit appears in several images.
"""

from pathlib import Path

import numpy as np

from pslcore.data import digits
from pslcore.data.arrays import Array, Bytes, Indices, Parts
from pslcore.losses import VOID
from pslcore.streams import numpy_stream

_Digits = tuple[Bytes, Indices]
"""Images with their labels."""

_SEED = 0
"""Of the composition. It is part of the data sets, not of an experiment."""


def read_numbers(root: Path) -> Parts:
    """100 classes, 6,000 training and 2,000 test images of 8x16, grey, the same number of each class."""
    train, test = digits.splits()
    return {
        "train": _numbers(train, 6000, numpy_stream(_SEED, "numbers-train")),
        "test": _numbers(test, 2000, numpy_stream(_SEED, "numbers-test")),
        "classes": [f"{number:02d}" for number in range(100)],
        "coarse": np.arange(100) // 10,
        "note": "Numbers 00 to 99 composed from the 1,797 handwritten digits of scikit-learn; superclasses: the tens.",
    }


def _numbers(source: _Digits, n: int, rng: np.random.Generator) -> _Digits:
    images, labels = source
    numbers = rng.permutation(np.arange(n) % 100)
    tens, units = (images[_draw(labels, wanted, rng)] for wanted in (numbers // 10, numbers % 10))
    return np.concatenate([tens, units], axis=3), numbers


def _draw(labels: Indices, wanted: Indices, rng: np.random.Generator) -> Indices:
    """For each wanted label the index of an image that has it, drawn with replacement."""
    drawn = np.empty(wanted.shape, dtype=np.int64)
    for digit in np.unique(wanted):
        here = wanted == digit
        drawn[here] = rng.choice(np.flatnonzero(labels == digit), here.sum())
    return drawn


HEIGHT, WIDTH, DIGIT, HOOD = 32, 48, 24, 4
"""Of a scene, in pixels: its size, the side of a digit (large, for networks that decide on every eighth pixel), and
the void strip along the lower edge, as the bonnet of the car is in street scenes."""


def read_digit_scenes(root: Path) -> Parts:
    """11 classes (10 digits, then background), 400 training and 100 test images of 32x48, grey, labels per pixel.

    Each scene holds two different digits, each at a height of its own. A pixel has the label of a digit where it lies
    on its strokes or next to them.
    """
    train, test = digits.splits()
    return {
        "train": _scenes(train, 400, numpy_stream(_SEED, "digit-scenes-train")),
        "test": _scenes(test, 100, numpy_stream(_SEED, "digit-scenes-test")),
        "classes": [*digits.CLASSES, "background"],
        "note": "Scenes composed from the 1,797 handwritten digits of scikit-learn over made-up ground.",
    }


def _scenes(source: _Digits, n: int, rng: np.random.Generator) -> _Digits:
    images, labels = source
    pixels = _ground(n, rng)
    table = np.full((n, HEIGHT, WIDTH), 10, dtype=np.int64)
    kinds = rng.permuted(np.tile(np.arange(10), (n, 1)), axis=1)[:, : WIDTH // DIGIT]
    drawn = _draw(labels, kinds, rng)
    tops = rng.integers(HEIGHT - HOOD - DIGIT + 1, size=kinds.shape)
    for (scene, place), top in np.ndenumerate(tops):
        window = np.s_[scene, top : top + DIGIT, place * DIGIT : (place + 1) * DIGIT]
        strokes = _enlarged(images[drawn[scene, place], 0])
        pixels[window] = np.maximum(pixels[window], strokes)
        table[window][_thickened(strokes > 96)] = kinds[scene, place]
    pixels[:, -HOOD:] = rng.normal(40, 4, (n, HOOD, WIDTH))
    table[:, -HOOD:] = VOID
    return pixels.clip(0, 255).astype(np.uint8)[:, None], table


def _ground(n: int, rng: np.random.Generator) -> Array:
    """Coarse patches, blurred, under fine grain: [n, HEIGHT, WIDTH], darker than strokes."""
    patches = rng.uniform(0, 110, (n, HEIGHT // 4, WIDTH // 4)).repeat(4, axis=1).repeat(4, axis=2)
    for axis in (1, 2):
        patches = (patches + np.roll(patches, 1, axis) + np.roll(patches, 2, axis)) / 3
    return (patches + rng.normal(0, 8, patches.shape)).astype(np.float32)


def _enlarged(digit: Array) -> Array:
    """8x8 to DIGIT x DIGIT, bilinear."""
    at = ((np.arange(DIGIT) + 0.5) * 8 / DIGIT - 0.5).clip(0, 7)
    low = np.minimum(at.astype(int), 6)
    part = at - low
    rows = digit[low] * (1 - part)[:, None] + digit[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def _thickened(mask: Array) -> Array:
    """The mask and its neighbours above, below, left and right."""
    wide = np.pad(mask, 1)
    return mask | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]

"""``digits``: the 1,797 real handwritten digits (8x8, grey) that come with scikit-learn.

Split once, in the set's own order: the first 1,297 images train, the last 500 test. The digits are sorted by writer,
so that most test digits are by hands that no training digit is by; a shuffled split would be easier.

Source: Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from pslcore.data.arrays import Bytes, Indices, Parts

N_TEST = 500
CLASSES = [str(digit) for digit in range(10)]


def splits() -> tuple[tuple[Bytes, Indices], tuple[Bytes, Indices]]:
    """Images and labels to train and to test on."""
    # The file that `load_digits` reads; the import of scikit-learn takes longer than a run.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    rows = np.loadtxt(str(file), delimiter=",")
    images = np.round(rows[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = rows[:, -1].astype(np.int64)
    return (images[:-N_TEST], labels[:-N_TEST]), (images[-N_TEST:], labels[-N_TEST:])


def read(root: Path) -> Parts:
    """The set as ``load`` wants it; nothing is read from ``root``."""
    train, test = splits()
    note = "The 1,797 handwritten digits of scikit-learn; the first 1,297 train, the last 500 test."
    return {"train": train, "test": test, "classes": CLASSES, "note": note}


def read_vectors(root: Path) -> Parts:
    """``digit_vectors``: the same digits as vectors of 64 numbers, for heads."""
    parts = read(root)
    train, test = ((rows.reshape(len(rows), -1, 1, 1), labels) for rows, labels in (parts["train"], parts["test"]))
    return {**parts, "train": train, "test": test}

"""``digits``: the 1,797 real handwritten digits (8x8, grey) that come with scikit-learn.

Split once, in the set's own order: the first 1,297 images train, the last 500 test. The digits are sorted by writer,
so that most test digits are by hands that no training digit is by; a shuffled split would be easier.

Source: Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

N_TEST = 500


def read(root: Path) -> dict:
    """The set as ``load`` wants it; nothing is read from ``root``."""
    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    return {
        "train": (images[:-N_TEST], bunch.target[:-N_TEST]),
        "test": (images[-N_TEST:], bunch.target[-N_TEST:]),
        "classes": [str(name) for name in bunch.target_names],
        "note": "The 1,797 handwritten digits of scikit-learn; the first 1,297 train, the last 500 test.",
    }

"""Section 4.2: accuracy for image labels, mean IoU for pixel labels; both from a confusion matrix."""

from collections.abc import Callable

import numpy as np
from sklearn.metrics import accuracy_score, jaccard_score


def _accuracy(matrix: np.ndarray) -> float:
    """Part of the images that are given their true class."""
    true, given = np.indices(matrix.shape).reshape(2, -1)
    return float(accuracy_score(true, given, sample_weight=matrix.ravel()))


def _mean_iou(matrix: np.ndarray) -> float:
    """Mean over the classes of intersection over union; classes in neither truth nor answers are left out."""
    true, given = np.indices(matrix.shape).reshape(2, -1)
    there = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    return float(jaccard_score(true, given, labels=there, average="macro", sample_weight=matrix.ravel()))


METRICS: dict[str, Callable[[np.ndarray], float]] = {"accuracy": _accuracy, "mean IoU": _mean_iou}
"""Name to function of an int array [C, C], true classes down, given ones across; 0 to 1."""

"""Section 4.2: accuracy for image labels, mean IoU for pixel labels; both from a confusion matrix."""

from collections.abc import Callable

import numpy as np


def _accuracy(matrix: np.ndarray) -> float:
    """Part of the images that are given their true class."""
    return float(matrix.trace() / matrix.sum())


def _mean_iou(matrix: np.ndarray) -> float:
    """Mean over the classes of intersection over union; classes in neither truth nor answers are left out."""
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    return float(np.mean(matrix.diagonal()[union > 0] / union[union > 0]))


METRICS: dict[str, Callable[[np.ndarray], float]] = {"accuracy": _accuracy, "mean IoU": _mean_iou}
"""Name to function of an int array [C, C], true classes down, given ones across; 0 to 1."""

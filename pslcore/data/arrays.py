"""What arrays and data sets are called in annotations."""

from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
"""Images [N, C, H, W], or what stands on the disk."""
Indices = NDArray[np.int64]
"""Of images in the training set, or labels of classes."""
Floats = NDArray[np.floating[Any]]


class Labels:
    """Pixel labels that stay on the disk as uint8: whatever is taken out of them is int64 [..., H, W] in memory.

    Only what indexing needs of an array: ``labels[indices]``, ``len``, ``shape``, ``ndim``, ``dtype``. ``np.asarray``
    gives all of them, eight bytes a pixel. ``values`` are the numbers that occur.
    """

    dtype = np.dtype(np.int64)

    def __init__(self, stored: Bytes, values: Indices):
        self._stored, self.values = stored, values
        self.shape, self.ndim = stored.shape, stored.ndim

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, key: Any) -> Indices:
        return np.asarray(self._stored[key]).astype(np.int64)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self._stored).astype(dtype or np.int64)


SomeLabels = Indices | Labels
"""Labels of a split: in memory, or of pixels on the disk."""


class Parts(TypedDict):
    """What the reader of a data set hands to ``load``: of each split the images and labels, as they were on disk."""

    train: tuple[Array, Array | Labels]
    test: tuple[Array, Array | Labels]
    classes: list[str]
    coarse: NotRequired[Array]  # superclass of each class
    coarse_labels: NotRequired[Array | None]  # superclass of each training image, from which the former follows
    note: NotRequired[str]
    contents: NotRequired[str]

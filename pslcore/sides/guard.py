"""What every door asks of dataset indices: that they are some, and that none of them is protected."""

from collections.abc import Iterable

import numpy as np


class ProtectedDataError(ValueError):
    """A protected image was about to be labelled, asked about or uploaded."""


def as_indices(indices: Iterable[int], n: int, what: str = "indices") -> np.ndarray:
    """Dataset indices as an int64 array, in their order; refuses what is not distinct integers in ``[0, n)``."""
    array = np.asarray(list(indices) if not isinstance(indices, np.ndarray) else indices)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        told = f"{what} must be a flat list of whole numbers, got {array.dtype} of shape {array.shape}"
        raise ValueError(f"{told}: pass dataset indices, not a mask.")
    outside = array[(array < 0) | (array >= n)]
    if outside.size:
        raise ValueError(f"{what} holds {outside[0]}, but the training set has the indices 0 to {n - 1}.")
    if (array[1:] <= array[:-1]).any() and np.unique(array).size != array.size:  # in rising order none is twice
        raise ValueError(f"{what} names an image more than once: pass each index once.")
    return array.astype(np.int64)


def as_mask(indices: Iterable[int], n: int, what: str) -> np.ndarray:
    """Dataset indices as a bool array [n], true at them; refuses what ``as_indices`` refuses."""
    mask = np.zeros(n, dtype=bool)
    mask[as_indices(indices, n, what)] = True
    return mask


def refuse_protected(indices: np.ndarray, protected: np.ndarray, what: str) -> None:
    """Raise ``ProtectedDataError`` if any of the indices is protected; ``what`` says what was about to happen.

    Each costs one look into the mask, however large the training set is.

    Parameters
    ----------
    indices : int64 array
        As ``as_indices`` gives them.
    protected : bool array, [n]
        As ``as_mask`` gives it.
    """
    caught = np.unique(indices[protected[indices]])
    if caught.size:
        told = f"{caught.size} protected image(s) were about to be {what} (the first is {caught[0]})"
        raise ProtectedDataError(f"{told}: only images of the safe pool may leave the client.")

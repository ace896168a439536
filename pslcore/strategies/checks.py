"""What the selection functions ask of their inputs, in one place. NumPy only."""

import operator

import numpy as np

_OFF = 0.01
"""So far from 1 may probabilities sum: in bfloat16 each is off by up to a 256th of itself."""


def as_array(values) -> np.ndarray:
    """`values`, which may be a tensor, as an array; without a copy where it can be had."""
    if hasattr(values, "detach"):  # a tensor is known by its manners: torch itself is not needed here
        values = values.detach().cpu()
        values = values.float().numpy() if str(values.dtype) == "torch.bfloat16" else values.numpy()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"rows of different lengths make no array ({error}): pass one of numbers.") from None


def as_matrix(values, name: str, rows: int | None = None, columns: int | None = None) -> np.ndarray:
    """A finite 2-D float array. float32 stays float32, anything else becomes float64.

    `rows` and `columns`, where given, must match.
    """
    array = as_array(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be real numbers but are {array.dtype}: convert them.")
    if array.dtype != np.float32:
        array = array.astype(np.float64, copy=False)
    if array.ndim != 2:
        raise ValueError(f"{name} must be a matrix, one row per image, but has shape {array.shape}: reshape it.")
    if not array.shape[1]:
        raise ValueError(f"{name} have no columns, shape {array.shape}: pass at least one.")
    for axis, wanted in enumerate((rows, columns)):
        if wanted is not None and array.shape[axis] != wanted:
            what = ("rows", "columns")[axis]
            raise ValueError(f"{name} must have {wanted} {what} but has shape {array.shape}: pass arrays that match.")
    if not (np.isfinite(array.max(initial=0.0)) and np.isfinite(array.min(initial=0.0))):  # no mask of all values
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(f"{name} holds NaN or infinity, first in row {row}: remove or repair it.")
    return array


def as_probabilities(values, name: str) -> np.ndarray:
    """`as_matrix` of rows that are none below 0 and sum to 1, as far as halves of 16 bits can."""
    array = as_matrix(values, name)
    if array.size and array.min() < 0:
        raise ValueError(f"{name} go down to {array.min():.3g}: pass softmax outputs, not logits.")
    sums = array.sum(axis=1, dtype=np.float64)
    if (off := np.abs(sums - 1) > _OFF).any():
        row = int(off.argmax())
        raise ValueError(f"row {row} of {name} sums to {sums[row]:.3g}, not to 1: pass softmax outputs, not scores.")
    return array


def as_budget(budget, available: int) -> int:
    """`budget` as an int in [0, available]."""
    try:
        number = operator.index(budget)
    except TypeError:
        raise ValueError(f"budget must be a whole number but is {budget!r}: pass an int.") from None
    if not 0 <= number <= available:
        raise ValueError(f"budget is {number} but there are {available} rows to pick from: pass 0 to {available}.")
    return number


def unit_scale(largest: float) -> float:
    """The power of two that brings `largest` into [0.5, 1): exact to multiply with, and squares stay in range."""
    return float(2.0 ** -np.frexp(largest)[1]) if largest > 0 else 1.0

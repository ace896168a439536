"""Data sets that installed packages give: a function ``read(root)`` or ``read(root, size)`` of theirs."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pslcore.data import npz
from pslcore.data.arrays import Labels, Parts
from pslcore.data.splits import SPLITS
from pslcore.plugins import Given
from pslcore.settings import short

_FORM = 'a data set is a function of (root) that returns {"train": (images, labels), "test": (images, labels)}'


def read(given: Given, root: Path, size: tuple[int, int] | None) -> Parts:
    """What the package's function makes of the folder of all data sets, in the form that ``load`` wants.

    ``classes`` (names), ``note`` and ``coarse`` (superclass of each class) may stand beside the splits.

    Raises
    ------
    ValueError
        In one sentence, if it is no such function, it fails, or what it returns has another form.
    """
    reader, what = given.load(), f"the data set {given.name!r} of the package {given}"
    if not callable(reader):
        raise ValueError(f"{what} is {short(reader)}, which cannot be called; {_FORM}.")
    sized = "size" in inspect.signature(reader).parameters
    if size and not sized:
        raise ValueError(f"{what} comes in one size only: leave out @{size[0]}x{size[1]}.")
    try:
        parts = reader(root, size=size) if sized else reader(root)
    except Exception as error:  # it is somebody else's: whatever it raises
        message = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(".: ")
        raise ValueError(f"{what} cannot be read ({message}).") from error
    if not isinstance(parts, Mapping) or not {"train", "test"} <= set(parts):
        raise ValueError(f"{what} returned {short(parts)}; {_FORM}.")
    splits = {}
    for split in SPLITS:
        pair = parts[split]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"{what} returned no pair of images and labels to {split} with; {_FORM}.")
        if not isinstance(pair[0], np.ndarray) or not isinstance(pair[1], np.ndarray | Labels):
            raise ValueError(f"{what} returned no arrays to {split} with; {_FORM}.")
        if isinstance(pair[1], np.ndarray):
            npz.check_fit(f"{what}, {split}", *pair)
            pair = pair[0], npz.whole(pair[1], f"{what}, {split}")
        splits[split] = pair
    found: Parts = {
        "train": splits["train"], "test": splits["test"],
        "classes": [str(name) for name in parts.get("classes") or ()]
        or npz.numbered((labels for _, labels in splits.values()), what),
        "note": str(parts.get("note", "")),
    }  # fmt: skip
    if parts.get("coarse") is not None:
        found["coarse"] = np.asarray(parts["coarse"], dtype=np.int64)
    return found

"""The summary of a data set: classes, counts, sizes, duplicates of its splits, what was left out and why."""

from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np

from pslcore.data import Dataset, load
from pslcore.data.arrays import Bytes, SomeLabels
from pslcore.data.packed import Index, index_of, parse_size
from pslcore.losses import VOID
from psllab.extend import image_folder, image_folder_scan

_ROWS, _SHOWN = 1024, 5
_DARK = 64
"""Where no pixel reaches it, something was divided, or never multiplied."""


def duplicates(train: Bytes, test: Bytes) -> list[tuple[int, int]]:
    """Pictures of the two splits with the very same pixels: (row in train, row in test), by row in test.

    Parameters
    ----------
    train, test : uint8 array, [N, C, H, W]
        They may lie on the disk: 1,024 are compared at a time.
    """
    rows: dict[bytes, int] = {}
    for number, digest in _digests(train):
        rows.setdefault(digest, number)
    return [(rows[digest], number) for number, digest in _digests(test) if digest in rows]


def _digests(images: Bytes):
    for start in range(0, len(images), _ROWS):
        for number, image in enumerate(np.ascontiguousarray(images[start : start + _ROWS]), start):
            yield number, sha256(image.data).digest()[:16]


def counts(labels: SomeLabels, n_classes: int) -> np.ndarray:
    """Images of each class, int64 [C]; of pixel labels, pixels (void ones left out)."""
    total = np.zeros(n_classes, dtype=np.int64)
    for start in range(0, len(labels), _ROWS):
        values = np.asarray(labels[start : start + _ROWS]).ravel()
        total += np.bincount(values[values != VOID] if labels.ndim == 3 else values, minlength=n_classes)
    return total


def summarise(where: str | Path, root: str | Path = "data") -> list[str]:
    """What was understood of a data set, as lines for a person.

    Parameters
    ----------
    where : str
        Its name, or the path of its folder (``data/album``, ``data/album@64x64``), which goes before ``root``.
    root : path

    Raises
    ------
    ValueError, OSError
        As ``pslcore.data.load``.
    """
    place = Path(where)
    if len(place.parts) > 1:
        root = place.parent
    return summary(load(place.name, root), root)


def summary(dataset: Dataset, root: str | Path) -> list[str]:
    """Lines for a person.

    Parameters
    ----------
    dataset : Dataset
        As ``load`` gave it from ``root``.
    root : path
    """
    train, test = dataset.train, dataset.test
    channels, height, width = train.images.shape[1:]
    kind = "pixel labels" if dataset.pixel_labels else "one label an image"
    form = f"{height}x{width}, {'colour' if channels == 3 else 'grey'}"
    form = f"vectors of {channels:,} numbers" if dataset.vectors else form
    lines = [
        f"{dataset.name}: {len(train):,} images to train and {len(test):,} to test, {form}, "
        f"{len(dataset.classes)} classes, {kind}."
    ]
    if dataset.note:
        lines.append(dataset.note)
    base, size = parse_size(dataset.name.partition("+")[0])
    folder = image_folder.packed_folder(Path(root), base, size)
    index = index_of(folder) if folder.is_dir() else None
    if index is not None and index.sizes:
        lines += _sizes(index, (height, width))
    unit = "pixels" if dataset.pixel_labels else "images"
    columns = [counts(split.labels, len(dataset.classes)) for split in (train, test)]
    long = max(len("class"), *map(len, dataset.classes))
    lines += ["", f"{'class':<{long}}  {f'{unit} to train':>16}  {f'{unit} to test':>16}"]
    for name, *row in zip(dataset.classes, *columns, strict=True):
        lines.append(f"{name:<{long}}  {row[0]:>16,}  {row[1]:>16,}")
    for what, column in zip(("train", "test on"), columns, strict=True):
        if empty := [name for name, count in zip(dataset.classes, column, strict=True) if not count]:
            lines.append(f"No image to {what} of {', '.join(empty[:_SHOWN])}{_more(empty)}.")
    lines += ["", *_values(train.images, test.images)]
    if beside := image_folder_scan.unused(Path(root) / base):
        lines.append(f"Not looked at, beside the two splits: {', '.join(beside[:_SHOWN])}{_more(beside)}.")
    lines += ["", *_twins(duplicates(train.images, test.images), folder if index is not None else None)]
    if index is not None and index.left_out is not None:
        lines += ["", *_left_out(index.left_out)]
    return lines


def _values(*splits: Bytes) -> list[str]:
    """Which numbers the pixels hold."""
    seen = np.zeros(256, dtype=bool)
    for images in splits:
        for start in range(0, len(images), _ROWS):
            seen[np.unique(images[start : start + _ROWS])] = True
    held = np.flatnonzero(seen)
    lines = [f"Pixels hold {len(held)} different values, from {held[0]} to {held[-1]} of 0 to 255."]
    if held[-1] < _DARK:
        lines.append(f"All are nearly black: if {held[-1]} is white, multiply by {255 // max(1, held[-1])} before.")
    return lines


def _sizes(index: Index, size: tuple[int, int]) -> list[str]:
    assert index.sizes is not None
    common = Counter(index.sizes).most_common(_SHOWN)
    areas = {name: np.prod([int(side) for side in name.split("x")]) for name in index.sizes}
    shown = ", ".join(f"{name} ({count:,})" for name, count in common)
    text = f"Sizes (height x width): {shown}{_more(areas)}"
    if len(areas) > 1:
        text += f"; the smallest {min(areas, key=areas.__getitem__)}, the largest {max(areas, key=areas.__getitem__)}"
    rule = "theirs" if set(areas) == {f"{size[0]}x{size[1]}"} else f"all brought to {size[0]}x{size[1]}"
    return [f"{text}; {rule}."]


def _twins(pairs: list[tuple[int, int]], folder: Path | None) -> list[str]:
    if not pairs:
        return ["No image to test on has the pixels of one to train on."]
    lines = [f"{len(pairs):,} images to test on have the very pixels of one to train on:"]
    names = [_files(folder, split) for split in ("train", "test")]
    for train, test in pairs[:_SHOWN]:
        one, other = (
            listed[row] if listed else f"{split} {row}"
            for listed, split, row in zip(names, ("train", "test"), (train, test), strict=True)
        )
        lines.append(f"  {other} is {one}")
    return lines + ([f"  and {len(pairs) - _SHOWN:,} more"] if len(pairs) > _SHOWN else [])


def _files(folder: Path | None, split: str) -> list[str]:
    """The picture of each row of a packed tree, below its folder; nothing where that is not known."""
    path = None if folder is None else folder / f"{split}-files.txt"
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path is not None and path.is_file() else []


def _left_out(reasons: dict[str, str]) -> list[str]:
    if not reasons:
        return ["Nothing was left out."]
    lines = [f"{len(reasons):,} left out:"]
    for reason, count in Counter(reasons.values()).most_common():
        some = [path for path, why in reasons.items() if why == reason][:3]
        lines.append(f"  {count:,}: {reason}: {', '.join(some)}{', …' if count > len(some) else ''}")
    return lines


def _more(things) -> str:
    return f" and {len(things) - _SHOWN:,} more" if len(things) > _SHOWN else ""

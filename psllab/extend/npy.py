"""A folder with ``train-images.npy``, ``train-labels.npy``, ``test-images.npy``, ``test-labels.npy``: mapped, not read.

For sets that do not fit into memory: images (uint8) stay on the disk, and so do pixel labels of uint8 or bool. The
class names stand in ``names.txt``, one a line, where they are wanted. The fingerprint of a large set is kept beside the
arrays, in ``.fingerprint.json``, with the files' sizes and times.
"""

import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from pydantic import Field

from pslcore import data
from pslcore.data import npz, packed
from pslcore.data.arrays import Array, Labels, Parts
from pslcore.data.splits import SPLITS, chosen, split_of
from pslcore.settings import Settings

_ROWS = 1024
_LARGE = 1 << 28
"""Bytes from which on a fingerprint is kept: it takes a second for each one to two billion."""
_SETTLED = 2 * 10**9
"""Nanoseconds: a file that is younger may change again without another time."""


class Kept(Settings):
    """A fingerprint, and size and time of each file that it is of."""

    files: dict[str, list[int]]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def present(folder: Path) -> bool:
    """Whether somebody meant this folder to be a data set."""
    return any(split_of(name) in SPLITS for name in _named(folder))


def _named(folder: Path) -> list[str]:
    return [path.name.removesuffix("-images.npy") for path in folder.glob("*-images.npy")]


def read(folder: Path) -> Parts:
    """The set as ``load`` wants it.

    Raises
    ------
    FileNotFoundError, ValueError
        In one sentence, if a file is missing, damaged, or not what it should be.
    """
    splits, paths, named = {}, list[Path](), chosen(_named(folder), folder)
    for split in SPLITS:
        name = named.get(split, split)
        paths += [folder / f"{name}-{what}.npy" for what in ("images", "labels")]
        images, labels = map(_mapped, paths[-2:])
        npz.check_fit(f"{folder / name}-images.npy", images, labels)
        splits[split] = images, _labels(labels, paths[-1])
    names = folder / "names.txt"
    try:
        listed = names.read_text(encoding="utf-8-sig").rstrip().split("\n") if names.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{names} cannot be read as text ({error}): save it in UTF-8.") from error
    classes = None if listed is None else [name.strip() for name in listed]
    if classes and not all(classes):
        raise ValueError(f"{names}, line {classes.index('') + 1} is empty: name a class on each line, from label 0 on.")
    if classes is not None and len(set(classes)) < len(classes):
        raise ValueError(f"{names} holds a name twice: give each class a name of its own.")
    return {
        "train": splits["train"],
        "test": splits["test"],
        "classes": classes or npz.numbered((labels for _, labels in splits.values()), folder),
        "contents": _contents(folder / ".fingerprint.json", paths, splits),
    }


def _contents(kept: Path, paths: list[Path], splits: dict[str, tuple[Array, Array | Labels]]) -> str:
    """The fingerprint of a large set: the one kept, while the files are those that it is of; else computed, and kept if
    that can be. Empty for a small set."""

    def files() -> dict[str, list[int]]:
        return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in paths}

    there = files()
    if sum(size for size, _ in there.values()) < _LARGE:
        return ""
    with suppress(OSError, ValueError):  # there is none, or it is damaged
        known = Kept.model_validate_json(kept.read_bytes())
        if known.files == there:
            return known.sha256
    train, test = (data.as_split(*splits[split], f"{kept.parent.name} {split}") for split in SPLITS)
    digest = data.Dataset("", train, test, ()).fingerprint
    if max(written for _, written in there.values()) < time.time_ns() - _SETTLED and files() == there:
        with suppress(OSError):  # nobody has to be able to write there
            packed.write(kept, Kept(files=there, sha256=digest).model_dump_json(indent=1))
    return digest


def _mapped(path: Path) -> Array:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: a data set in .npy files has images and labels to train and test.")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises several kinds over a damaged file
        message = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is damaged or no .npy file ({message}): write or copy it again.") from error


def _labels(labels: Array, path: Path) -> Array | Labels:
    if labels.ndim < 3 or labels.dtype not in (np.uint8, np.bool_):
        return npz.whole(labels, path)
    labels = labels.view(np.uint8)
    seen = np.zeros(256, dtype=bool)
    for start in range(0, len(labels), _ROWS):
        seen[np.unique(labels[start : start + _ROWS])] = True
    return Labels(labels, np.flatnonzero(seen))

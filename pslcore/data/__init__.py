"""Data sets by name: ``load(name, root) -> Dataset``. Images are uint8, labels int64, whatever they were on disk."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pslcore import plugins
from pslcore.data import camvid, cifar, cityscapes, composed, digits, npz, packed, tiny_imagenet
from pslcore.data.arrays import Array, Bytes, Floats, Indices, Labels, Parts, SomeLabels
from pslcore.data.batches import Endless, ImageStore, Plan, chunks, normalise, plans
from pslcore.losses import VOID


@dataclass(frozen=True)
class Split:
    """One split: ``images`` uint8 [N, C, H, W]; ``labels`` int64, [N] for image labels or [N, H, W] for pixel labels.

    Vectors, such as features of images, are images of one pixel with as many channels, [N, D, 1, 1]. Of a large set
    both may stay on the disk (see ``packed``): index them, do not read them whole.
    """

    images: Bytes
    labels: SomeLabels

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """A training and a test split.

    Attributes
    ----------
    name : str
    train, test : Split
    classes : tuple of str
        Name of each label.
    coarse : int64 array, [C], or None
        Superclass of each class, where the data set has superclasses.
    note : str
        What anyone who quotes a number on this data must know.
    contents : str
        SHA-256 of shapes and contents where the reader knows it; else ``fingerprint`` computes it.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    coarse: Indices | None = None
    note: str = ""
    contents: str = ""

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def vectors(self) -> bool:
        """Whether its images are vectors."""
        return self.train.images.shape[2:] == (1, 1)

    @property
    def pixel_labels(self) -> bool:
        return self.train.labels.ndim == 3

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes and contents of both splits."""
        if self.contents:
            return self.contents
        digest = sha256()
        for split in (self.train, self.test):
            for array in (split.images, split.labels):
                digest.update(f"{array.dtype}{array.shape}".encode())
                for start in range(0, len(array), 4096):  # what lies on the disk need not fit into memory
                    digest.update(np.ascontiguousarray(array[start : start + 4096]).data)
        return digest.hexdigest()


_Readers = dict[str, Callable[..., Parts]]
_SIZED: _Readers = {"tiny_imagenet": tiny_imagenet.read, "cityscapes": cityscapes.read, "camvid": camvid.read}
"""Pictures on the disk, whose readers take a size: ``name@HxW``."""
_READERS: _Readers = {
    "digits": digits.read, "digit_vectors": digits.read_vectors,
    "numbers": composed.read_numbers, "digit_scenes": composed.read_digit_scenes,
    "cifar10": cifar.read_cifar10, "cifar100": cifar.read_cifar100,
    **_SIZED,
}  # fmt: skip
PACKAGES = "pslcore.datasets"
"""The group of entry points."""


def names() -> list[str]:
    """The data sets of this package; any folder under the root that ``load`` understands is one as well."""
    return list(_READERS)


def known(name: str) -> str:
    """The name as records have it, with the hash of every file in it; ``ValueError`` if it cannot be one."""
    return _features(name).known(name) if "+" in name else name


def _features(name: str) -> Any:
    """What makes data sets ``BASE+BACKBONE@SIZE`` by frozen networks, with this module's ``known`` and ``load``.
    Registered as ``features``."""
    found = plugins.resolver("features")
    if found is None:
        raise ValueError(f"unknown data set {name!r}: features need the package psllab.")
    return found


def load(name: str, root: str | Path = "data") -> Dataset:
    """Read a data set.

    ``root/<name>/train.npz`` and ``test.npz`` are taken where they exist, for a known name and for a user's own.
    Otherwise a known name is read from where its own format lies under the root, or downloaded; for all else there is
    what is registered as ``datasets``: arrays in .npy files, trees of pictures, data sets of installed packages. Its
    ``read(root, name, known)`` gives the parts, or None where there is no such set; ``known`` ones are ours as well.

    Parameters
    ----------
    name : str
        One of ``names()``, the name of a folder under ``root``, or one that a package gives. ``tiny_imagenet``,
        ``cityscapes``, ``camvid`` and trees of pictures are brought to another size by ``name@HEIGHTxWIDTH``, for
        example ``cityscapes@256x512``. What a frozen network makes of one of these, ``cifar10+efficientnet_lite0@128``,
        is a data set too, see docs/features.md.
    root : path
        The folder of all data sets.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the name is unknown, a file is damaged, or the contents do not make a data set: which, where, and the mend.
    FileNotFoundError
        If a file is missing.
    """
    if "+" in name:
        return _features(name).load(name, root)
    root = Path(root)
    folder = root / name
    base, size = packed.parse_size(name)
    if name and npz.present(folder):
        parts = npz.read(folder)
    elif (others := plugins.resolver("datasets")) and (given := others.read(root, name, base in _READERS)):
        parts = given
    elif base in _READERS and (size is None or base in _SIZED):
        parts = _READERS[base](root, size) if size else _READERS[base](root)
    else:
        told = f"unknown data set {name!r}: choose one of {', '.join([*names(), *plugins.names(PACKAGES)])},"
        raise ValueError(f"{told} or put pictures or arrays of your own into {folder} (see data/README.md).")
    train, test = as_split(*parts["train"], f"{name} train"), as_split(*parts["test"], f"{name} test")
    rest = parts.get("coarse"), parts.get("note", ""), parts.get("contents", "")
    dataset = Dataset(name, train, test, tuple(parts["classes"]), *rest)
    _check_together(dataset)
    if (coarse_labels := parts.get("coarse_labels")) is not None:
        coarse = npz.superclasses(train.labels, coarse_labels, len(dataset.classes), f"{folder / 'train.npz'}: ")
        dataset = replace(dataset, coarse=coarse)
    return dataset


def as_split(images: Array, labels: Array | Labels, what: str) -> Split:
    """The arrays as uint8 [N, C, H, W] and int64, or one sentence about what is wrong with them."""
    npz.check_fit(what, images, labels)
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[-1] in (1, 3) and images.shape[2:] != (1, 1):  # not vectors, [N, D, 1, 1]
        moved = images.transpose(0, 3, 1, 2)
        images = moved if isinstance(images, np.memmap) else np.ascontiguousarray(moved)
    return Split(images, labels if isinstance(labels, Labels) else labels.astype(np.int64, copy=False))


def _check_together(dataset: Dataset) -> None:
    """What only both splits and the class names together can show."""
    train, test, n_classes = dataset.train, dataset.test, len(dataset.classes)
    if n_classes > VOID:
        raise ValueError(f"{dataset.name} has {n_classes} classes; {VOID} is the most, since label {VOID} is void.")
    if train.images.shape[1:] != test.images.shape[1:] or train.labels.ndim != test.labels.ndim:
        told = f"{dataset.name}: training images have the shape {train.images.shape[1:]}, test images"
        labels = f"{train.labels.shape[1:]} and {test.labels.shape[1:]}"
        raise ValueError(f"{told} {test.images.shape[1:]}; labels {labels}: both splits must be alike.")
    for what, split in (("train", train), ("test", test)):
        values = split.labels.values if isinstance(split.labels, Labels) else np.unique(split.labels)
        outside = values[(values < 0) | (values >= n_classes)]
        if dataset.pixel_labels:
            outside = outside[outside != VOID]
        if outside.size:
            void = f", and {VOID} is void" if dataset.pixel_labels else ""
            mend = ": subtract 1 if they count from 1" if outside[0] == n_classes and values.min() == 1 else ""
            at = next((f", image {i}" for i in range(len(split)) if (split.labels[i] == outside[0]).any()), "")
            told = f"{dataset.name} {what}{at}: label {outside[0]} is outside the table of {n_classes} classes"
            raise ValueError(f"{told}; labels go from 0 to {n_classes - 1}{void}{mend}.")

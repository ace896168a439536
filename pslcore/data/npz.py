"""A folder with ``train.npz`` and ``test.npz``: anybody's own data set.

Each file holds ``images`` (uint8) and ``labels`` (whole numbers), ``train.npz`` also ``names`` (one a class) where the
classes have any; without them they go by their numbers.
``coarse_names`` with ``coarse`` (the superclass of each image) adds superclasses. ``approx`` (indices of images whose
pixels are not the original ones) only adds a note.
"""

import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pslcore.data.arrays import Array, Indices, Labels, Parts
from pslcore.data.splits import SPLITS, chosen, split_of
from pslcore.losses import VOID

_KNOWN = ("images", "labels", "names", "approx", "coarse", "coarse_names")


def present(folder: Path) -> bool:
    """Whether somebody meant this folder to be a data set."""
    return any(split_of(path.stem) in SPLITS for path in folder.glob("*.npz"))


def read(folder: Path) -> Parts:
    """The set as ``load`` wants it. All headers are looked at before any array is read."""
    named = chosen((path.stem for path in folder.glob("*.npz")), folder)
    paths = {split: folder / f"{named.get(split, split)}.npz" for split in SPLITS}
    headers = {split: _headers(path) for split, path in paths.items()}
    for split, path in paths.items():
        _check(path, headers[split])
    needed = sum(header.nbytes for found in headers.values() for header in found.values())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        told = f"{paths['train']} and test.npz hold {needed / 1e9:.1f} GB,"
        raise ValueError(f"{told} but this machine has {memory / 1e9:.1f} GB of memory: take fewer or smaller images.")
    train, test = (_arrays(path, headers[split]) for split, path in paths.items())
    for path, arrays in zip(paths.values(), (train, test), strict=True):
        _check_values(path, arrays)
        arrays["labels"] = whole(arrays["labels"], path)
    counts = [len(arrays.get("approx", ())) for arrays in (train, test)]
    note = f"{counts[0]} training and {counts[1]} test images are approximate copies of the originals."
    return {
        "train": (train["images"], train["labels"]),
        "test": (test["images"], test["labels"]),
        "classes": train["names"].tolist() if "names" in train else numbered((train["labels"], test["labels"]), folder),
        "coarse_labels": train.get("coarse"),
        "note": note if any(counts) else "",
    }


def check_fit(what: str, images: Array, labels: Array | Labels) -> None:
    """Refuse in one sentence what can be no images with their labels, by types and shapes alone."""
    if images.dtype != np.uint8:
        mend = "convert them first, all of both splits by one rule, such as (images * (255 / highest)).astype('uint8')."
        raise ValueError(f"{what}: images are {images.dtype}, but must be uint8 from 0 to 255; {mend}")
    shape = images.shape
    if len(shape) == 4 and shape[-1] in (1, 3):
        shape = (shape[0], shape[3], *shape[1:3])
    if len(shape) == 3:
        shape = (shape[0], 1, *shape[1:])
    if len(shape) != 4 or shape[1] not in (1, 3) or 0 in shape:
        mend = "they must be N x H x W, N x H x W x C or N x C x H x W with one or three channels."
        raise ValueError(f"{what}: images have the shape {images.shape}; {mend}")
    if labels.dtype.kind not in "iubf":
        raise ValueError(f"{what}: labels are {labels.dtype}, but must be whole numbers (the index of the class).")
    count = labels.shape[0] if labels.shape else 0
    if count != shape[0]:
        raise ValueError(f"{what}: {shape[0]} images but {count} labels; there must be one label an image.")
    wanted = shape[:1], shape[:1] + shape[2:]
    if labels.shape not in wanted:
        mend = f"for images of the shape {images.shape} they must be {wanted[0]} or, for pixel labels, {wanted[1]}."
        raise ValueError(f"{what}: labels have the shape {labels.shape}; {mend}")


def superclasses(labels: Array | Labels, coarse: Array, num_classes: int, what: str = "") -> Indices:
    """Superclass of each class, [C], from the two labels of each image; a class must lie in exactly one superclass."""
    pairs = np.unique(np.stack([np.asarray(labels), coarse.astype(np.int64)]), axis=1)
    if not np.array_equal(pairs[0], np.arange(num_classes)):
        raise ValueError(f"{what}the coarse labels put a class into two superclasses, or a class has no image.")
    return pairs[1].astype(np.int64)


def whole(labels: Array, what: object) -> Indices:
    """Labels of any type that holds whole numbers, true and false as 1 and 0, as int64."""
    with np.errstate(invalid="ignore"):
        numbers = labels.astype(np.int64)
    if wrong := labels[numbers != labels][:1].tolist():
        raise ValueError(f"{what}: label {wrong[0]} is no whole number (the index of the class): mend or drop it.")
    return numbers


def numbered(labels: Iterable[Array | Labels], what: object = "") -> list[str]:
    """Names of classes that have none: their numbers, from 0 to the largest that occurs (void is none).

    Raises
    ------
    ValueError
        If there is no 0: whoever counts from 1 would have a class without an image; or if one is as large as ``VOID``.
    """
    seen = []
    for each in labels:
        values = each.values if isinstance(each, Labels) else np.unique(each)
        seen += values[(values != VOID) | (each.ndim < 3)].tolist()
    if seen and min(seen) > 0:
        mend = f"subtract {min(seen)}, or give the classes names, one for 0 as well."
        raise ValueError(f"{what}: labels go from {min(seen)} to {max(seen)}, but the first class is 0: {mend}")
    if seen and max(seen) >= VOID:
        raise ValueError(f"{what}: label {max(seen)} is too large: {VOID} is void, so labels go from 0 to {VOID - 1}.")
    return [str(number) for number in range(max(seen, default=-1) + 1)]


# One file


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The file as the zip archive that it is; whatever is wrong with its bytes becomes one sentence."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: a data set needs train.npz and test.npz in one folder.")
    try:
        if not path.is_file():
            raise ValueError("it is no regular file")
        with zipfile.ZipFile(path) as archive:
            yield archive
    except MemoryError:
        raise
    except Exception as error:  # zipfile and NumPy raise a dozen kinds over damaged bytes, some of them undocumented
        told = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is damaged or no .npz file ({told}): write or copy it again.") from error


def _headers(path: Path) -> dict[str, Array]:
    """Arrays of the types and shapes that the known ones in a file have, in its order, which take no memory; each is as
    large as it says, and no larger."""
    headers = {}
    with _opened(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name not in _KNOWN or name == member.filename:
                continue
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                if version not in ((1, 0), (2, 0)):
                    raise ValueError(f"{name} is written in version {version} of the format")
                try:
                    shape, _, dtype = getattr(np.lib.format, f"read_array_header_{version[0]}_0")(stream)
                except (MemoryError, RecursionError):  # of the parser, over brackets in brackets
                    raise ValueError(f"the header of {name} is no header") from None
                headers[name] = header = np.broadcast_to(np.empty((), dtype), shape)
                held = member.file_size - stream.tell()  # if the directory lies as well, reading comes to an early end
                if not dtype.hasobject and header.nbytes != held:
                    raise ValueError(f"{name} of the shape {shape} takes {header.nbytes:,} bytes but has {held:,}")
    return headers


def _arrays(path: Path, headers: dict[str, Array]) -> dict[str, Array]:
    arrays = {}
    with _opened(path) as archive:
        for name in headers:
            with archive.open(f"{name}.npy") as stream:
                arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
                stream.read(1)  # at the end of the member its checksum is looked at
    return arrays


def _check(path: Path, headers: dict[str, Array]) -> None:
    """What the headers of one file must be."""
    for name in ("images", "labels"):
        if name not in headers:
            raise ValueError(f"{path} holds no array {name!r}; it has {', '.join(headers) or 'nothing'}.")
    check_fit(str(path), headers["images"], headers["labels"])
    count = headers["images"].shape[0]
    for name, kinds, wanted in (
        ("names", "U", "a list of texts, one a class"),
        ("coarse_names", "U", "a list of texts, one a superclass"),
        ("approx", "iu", "a list of whole numbers, the indices of images"),
        ("coarse", "iu", f"a list of {count} whole numbers, the superclass of each image"),
    ):
        if name not in headers:
            continue
        header = headers[name]
        right = len(header.shape) == 1 and (header.dtype.kind in kinds or header.shape == (0,))
        if not right or (name == "coarse" and header.shape != headers["labels"].shape):
            raise ValueError(f"{path}: {name} is {header.dtype} of the shape {header.shape}, but must be {wanted}.")


def _check_values(path: Path, arrays: dict[str, Array]) -> None:
    for name in {"names", "coarse_names"} & arrays.keys():
        values, counts = np.unique(arrays[name], return_counts=True)
        if not len(values) or "" in values or (counts > 1).any():
            wrong = f"{str(values[counts > 1][0])!r} twice" if (counts > 1).any() else "an empty name or none"
            raise ValueError(f"{path}: {name} holds {wrong}; give each class a name of its own.")
    limits = {"approx": len(arrays["images"]), "coarse": len(arrays.get("coarse_names", ())) or np.inf}
    for name in limits.keys() & {name for name, array in arrays.items() if array.size}:
        outside = arrays[name][(arrays[name] < 0) | (arrays[name] >= limits[name])]
        if outside.size:
            raise ValueError(f"{path}: {name} holds {outside[0]}, but must be from 0 to {limits[name] - 1:.0f}.")

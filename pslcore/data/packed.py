"""Folders of pictures, read once into packed arrays beside the source and memory-mapped from then on.

A hundred thousand JPEGs, or street scenes that together hold 20 GB, neither load in a moment nor fit into memory. So
the first ``read`` decodes every picture once, in order, and writes plain ``.npy`` files and an index::

    data/<name>/packed/            as large as the pictures are
    data/<name>/packed@256x512/    at a reduced size (height x width): the name after ``@`` in ``load``
        train-images.npy           uint8 [N, 3, H, W]
        train-labels.npy           int64 [N], or uint8 [N, H, W] for pixel labels
        test-images.npy, test-labels.npy
        index.json                 shapes, sizes and SHA-256 of these files; class names; a signature of the source

The folder gets its name only when all of it is on the disk, so what has the name is whole; what an interrupted run
leaves behind is removed by the next. Processes that come at the same time wait for the one that packs. The source is
packed again when its list of files, their sizes, or the table of labels changed (contents of equal size are not
looked at; delete the folder to force it), and may be deleted once it is packed.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pslcore.losses import VOID

UNKNOWN = 254
"""In a table of labels: this number must not appear in a picture."""

_FORMAT = 1
"""Part of the signature: a change of the files' layout packs every source again."""


@dataclass(frozen=True)
class Source:
    """What a reader found in a folder of pictures.

    Attributes
    ----------
    base : path
        The folder that everything lies in.
    train, test : lists of (path, int) or (path, path)
        Each picture with its class, or with the grey picture of its pixels' labels.
    classes : list of str
    note : str
    table : uint8 array, [256], optional
        For pixel labels: from the number in the picture to the class, ``VOID`` or ``UNKNOWN``.
    """

    base: Path
    train: list[tuple[Path, int | Path]]
    test: list[tuple[Path, int | Path]]
    classes: list[str]
    note: str = ""
    table: np.ndarray | None = None


class Labels:
    """Pixel labels that stay on the disk as uint8: whatever is taken out of them is int64 [..., H, W] in memory.

    Only what indexing needs of an array: ``labels[indices]``, ``len``, ``shape``, ``ndim``, ``dtype``. ``np.asarray``
    gives all of them, eight bytes a pixel. ``values`` are the numbers that occur.
    """

    dtype = np.dtype(np.int64)

    def __init__(self, stored: np.ndarray, values: np.ndarray):
        self._stored = stored
        self.values = values
        self.shape = stored.shape
        self.ndim = stored.ndim

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, key) -> np.ndarray:
        return np.asarray(self._stored[key]).astype(np.int64)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self._stored).astype(dtype or np.int64)


def parse_size(name: str) -> tuple[str, tuple[int, int] | None]:
    """``"camvid@120x160"`` to ``("camvid", (120, 160))``, height first; without ``@`` the size is None.

    Raises
    ------
    ValueError
        If what follows the ``@`` is no size.
    """
    base, at, text = name.partition("@")
    if not at:
        return base, None
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise ValueError(f"{name!r} names no size: write height x width after the @, for example {base}@120x160.")
    return base, (int(match[1]), int(match[2]))


def read(
    root: Path,
    name: str,
    places: list[str],
    look_for: str,
    find: Callable[[Path], Source],
    get: str,
    size: tuple[int, int] | None = None,
) -> dict:
    """A data set from its packed arrays, which are made first where there are none or the source has changed.

    Parameters
    ----------
    root : path
        The folder of all data sets.
    name : str
        The folder under the root that the packed folder goes to.
    places : list of str
        Where under the root the source may lie.
    look_for : str
        The folder that tells the source.
    find : callable
        From the source's folder to a ``Source``; it names whatever is missing.
    get : str
        Where to get the data set: half a sentence, for who has neither source nor packed arrays.
    size : (int, int), optional
        Height and width that the pictures are brought to: images bilinear, labels by their nearest pixel.

    Returns
    -------
    dict
        As ``load`` wants it, with ``contents``, a SHA-256 over all of it that is read from the index. Images, and
        pixel labels as ``Labels``, stay on the disk.

    Raises
    ------
    FileNotFoundError
        If there is neither source nor packed arrays, or a file is missing.
    ValueError
        If a file is damaged or cut short, or differs in size from the others, or holds labels outside the table.
    OSError
        If the disk is too small.
    """
    folder = root / name / ("packed" if size is None else f"packed@{size[0]}x{size[1]}")
    base = next((root / place for place in places if (root / place / look_for).is_dir()), None)
    if base is None and not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {look_for!r} in {root / places[0]}: {get}")
    if base is not None:
        source = find(base)
        signature = _signature(source)
        if not folder.is_dir() or _index(folder)["source"] != signature:
            with _alone(folder):
                if not folder.is_dir() or _index(folder)["source"] != signature:  # nobody was faster
                    _pack(source, signature, folder, size)
    return _open(folder)


def pictures(folder: Path) -> list[str]:
    """Names of the pictures in a folder; shorter names first, so that number 2 comes before number 10."""
    endings = (".jpeg", ".jpg", ".png")
    return sorted((name for name in os.listdir(folder) if name.lower().endswith(endings)), key=lambda n: (len(n), n))


def counts_note(found: dict[str, int], official: dict[str, int]) -> str:
    """A sentence where the numbers of pictures are not the official ones."""
    if found == official:
        return ""
    told = [" and ".join(f"{n:,} {what}" for what, n in numbers.items()) for numbers in (found, official)]
    return f" It holds {told[0]} pictures where the official set holds {told[1]}."


# Packing


def _signature(source: Source) -> str:
    """SHA-256 over what decides the packed arrays, the files' contents represented by their sizes."""
    digest = sha256(json.dumps([_FORMAT, source.classes, source.note]).encode())
    if source.table is not None:
        digest.update(source.table)
    base = os.path.join(source.base, "")
    for split in (source.train, source.test):
        digest.update(b"%d;" % len(split))
        for picture, label in split:
            for part in (picture, label):
                what = part if isinstance(part, int) else f"{str(part).removeprefix(base)}:{os.stat(part).st_size}"
                digest.update(f"{what};".encode())
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the system lets go of the lock of a process that dies."""
    import fcntl  # where there is none (Windows), nothing else here needs it

    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _pack(source: Source, signature: str, folder: Path, size: tuple[int, int] | None) -> None:
    part, old = (folder.with_name(f".{folder.name}.{what}") for what in ("part", "old"))
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    full = _decode(source.train[0][0], "RGB").shape[1::-1]  # PIL's order: width, height
    height, width = size or full[::-1]
    per_picture = height * width * (3 if source.table is None else 4)
    needed, free = per_picture * (len(source.train) + len(source.test)), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise OSError(
            f"packing into {folder} needs {needed / 1e9:.1f} GB but only {free / 1e9:.1f} GB are free there: "
            f"make room, or take a smaller size, for example {folder.parent.name}@{height // 4}x{width // 4}."
        )
    part.mkdir()
    arrays = {}
    for split in ("train", "test"):
        examples = getattr(source, split)
        shape = (len(examples), height, width)
        kind = (np.int64, shape[:1]) if source.table is None else (np.uint8, shape)
        images = _Writer(part / f"{split}-images.npy", np.uint8, (shape[0], 3, *shape[1:]))
        labels = _Writer(part / f"{split}-labels.npy", *kind)
        seen = np.zeros(256, dtype=bool)
        with images, labels:
            title = f"packing {folder.parent.name} {split}"
            for picture, label in tqdm(examples, title, unit="picture", mininterval=1):
                images.append(_image(picture, full, size).transpose(2, 0, 1))
                if source.table is None:
                    labels.append(np.int64(label))
                else:
                    classes = _pixel_labels(label, full, size, source.table)
                    seen[classes] = True
                    labels.append(classes)
        arrays |= {f"{split}-images": images.entry, f"{split}-labels": labels.entry}
        if source.table is not None:
            arrays[f"{split}-labels"]["values"] = np.flatnonzero(seen).tolist()
    note = source.note + (f" Pictures brought from {full[1]}x{full[0]} to {height}x{width}." if size else "")
    index = {"source": signature, "classes": source.classes, "note": note, "arrays": arrays}
    with open(part / "index.json", "w") as file:
        json.dump(index, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    if folder.is_dir():
        folder.rename(old)
    part.rename(folder)
    parent = os.open(folder.parent, os.O_RDONLY)
    os.fsync(parent)  # the new name, too, survives a power cut
    os.close(parent)
    shutil.rmtree(old, ignore_errors=True)


class _Writer:
    """An ``.npy`` file of known shape, written from the first element to the last.

    Not a writable memory map: that counts as the process's memory while it grows, and a full disk kills the process.
    """

    def __init__(self, path: Path, dtype: type, shape: tuple[int, ...]):
        self._path, self._dtype, self._shape = path, np.dtype(dtype), shape
        self._digest = sha256()

    def __enter__(self) -> "_Writer":
        self._file = open(self._path, "wb")
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self

    def append(self, item: np.ndarray) -> None:
        content = np.ascontiguousarray(item, dtype=self._dtype).tobytes()
        self._file.write(content)
        self._digest.update(content)

    def __exit__(self, *_) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self.entry = {"shape": self._shape, "bytes": self._file.tell(), "sha256": self._digest.hexdigest()}
        self._file.close()


def _decode(path: Path, mode: str | None = None) -> np.ndarray:
    """The pixels of a picture, [H, W, 3] in mode RGB; without a mode it must be grey and gives [H, W]."""
    try:
        with Image.open(path) as picture:
            colours = mode is None and picture.mode not in ("L", "P")
            pixels = np.asarray(picture.convert(mode) if mode else picture)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: copy or download it again.") from None
    except Exception as error:  # PIL raises half a dozen kinds of error for files that are damaged
        raise ValueError(f"{path} is damaged or cut short ({error}): copy or download it again.") from error
    if colours:
        raise ValueError(f"{path} is no grey picture of 8 bits: pictures of labels must hold one number a pixel.")
    return pixels


def _image(path: Path, full: tuple[int, int], size: tuple[int, int] | None) -> np.ndarray:
    return _fitted(path, _decode(path, "RGB"), full, size, Image.Resampling.BILINEAR)


def _pixel_labels(path: Path, full: tuple[int, int], size: tuple[int, int] | None, table: np.ndarray) -> np.ndarray:
    numbers = _decode(path)
    classes = table[numbers]
    if (classes == UNKNOWN).any():
        known = np.flatnonzero(table != UNKNOWN)
        raise ValueError(
            f"{path} holds the label {numbers[classes == UNKNOWN][0]}, which is outside the table of labels "
            f"({known[0]} to {known[-1]}): take the label pictures of the original data set."
        )
    return _fitted(path, classes, full, size, Image.Resampling.NEAREST)


def _fitted(path: Path, pixels: np.ndarray, full: tuple[int, int], size, resampling) -> np.ndarray:
    """The pixels at the wanted size, where the picture has the size of all others."""
    if pixels.shape[1::-1] != full:
        raise ValueError(
            f"{path} has {pixels.shape[1]}x{pixels.shape[0]} pixels where the first picture has {full[0]}x{full[1]}: "
            "all pictures, and those of their labels, must have the same size."
        )
    return pixels if size is None else np.asarray(Image.fromarray(pixels).resize(size[::-1], resampling))


# Opening


def _index(folder: Path) -> dict:
    path = folder / "index.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is missing or damaged ({error}): {_mend(folder)}") from error


def _mend(folder: Path) -> str:
    return f"delete the folder {folder}; it is made again from the source."


def _open(folder: Path) -> dict:
    index = _index(folder)
    arrays = {name: _mapped(folder, name, entry) for name, entry in index["arrays"].items()}
    splits = {}
    for split in ("train", "test"):
        labels = arrays[f"{split}-labels"]
        values = index["arrays"][f"{split}-labels"].get("values")
        splits[split] = (
            arrays[f"{split}-images"],
            np.array(labels) if values is None else Labels(labels, np.array(values, dtype=np.int64)),
        )
    contents = json.dumps({name: [entry["shape"], entry["sha256"]] for name, entry in sorted(index["arrays"].items())})
    return {
        **splits,
        "classes": index["classes"],
        "note": index["note"],
        "contents": sha256(contents.encode()).hexdigest(),
    }


def _mapped(folder: Path, name: str, entry: dict) -> np.ndarray:
    path = folder / f"{name}.npy"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {_mend(folder)}")
    held = path.stat().st_size
    if held != entry["bytes"]:
        raise ValueError(f"{path} is cut short or damaged ({held} of {entry['bytes']} bytes): {_mend(folder)}")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): {_mend(folder)}") from error
    if list(array.shape) != entry["shape"]:
        raise ValueError(f"{path} is damaged ({array.shape} in place of {tuple(entry['shape'])}): {_mend(folder)}")
    return array


def table_of(classes: dict[int, int], known: int) -> np.ndarray:
    """A table of labels: ``classes`` maps a number to its class, the other numbers below ``known`` are void."""
    table = np.full(256, UNKNOWN, dtype=np.uint8)
    table[:known] = VOID
    table[list(classes)] = list(classes.values())
    return table

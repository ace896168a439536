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
leaves behind is removed by the next, or gone on with by a filler that can. Processes that come at the same time wait
for the one that packs. The source is packed again when its list of files, their sizes, or the table of labels changed
(contents of equal size are not looked at; delete the folder to force it), and may be deleted once it is packed.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator
from tqdm import tqdm

from pslcore.data import pictures
from pslcore.data.arrays import Array, Indices, Labels, Parts
from pslcore.data.pictures import Size, Source
from pslcore.data.splits import SPLITS
from pslcore.settings import Settings, sentence, short

_FORMAT = 1
"""Part of the signature: a change of the files' layout packs every source again."""


class Entry(Settings):
    """One packed array, as the index has it; ``values`` are the numbers that occur in pixel labels."""

    shape: list[Annotated[int, Field(ge=0)]]
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    values: list[Annotated[int, Field(ge=0, le=255)]] | None = None


class Index(Settings):
    """What ``index.json`` says of the arrays beside it; of a tree also the files that were left out, with the reason,
    how many pictures had which size (height x width) before they were brought to one, and the range of those of more
    than 8 bits."""

    source: str
    classes: list[str]
    note: str
    arrays: dict[str, Entry]
    left_out: dict[str, str] | None = None
    sizes: dict[str, int] | None = None
    deep: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if set(self.arrays) != {f"{split}-{what}" for split in SPLITS for what in ("images", "labels")}:
            raise ValueError(f"it lists {short(list(self.arrays))}, not images and labels to train and to test.")
        return self

    def write(self, part: Path) -> None:
        """Into the folder of the arrays."""
        write(part / "index.json", self.model_dump_json(indent=1, exclude_none=True))


def parse_size(name: str) -> tuple[str, Size | None]:
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
    root: Path, name: str, places: list[str], look_for: str, find: Callable[[Path], Source], get: str,
    size: Size | None = None,
) -> Parts:  # fmt: skip
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
    Parts
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
        bring_up_to_date(folder, _signature(source), lambda signature: _pack(source, signature, folder, size))
    return opened(folder)


def bring_up_to_date(folder: Path, signature: str, pack: Callable[[str], None]) -> None:
    """Have it packed, by one process at a time, unless that is what the folder holds."""
    if not folder.is_dir() or index_of(folder).source != signature:
        with alone(folder):
            if not folder.is_dir() or index_of(folder).source != signature:  # nobody was faster
                pack(signature)


# Packing


def _signature(source: Source) -> str:
    """SHA-256 over what decides the packed arrays, the files' contents represented by their sizes."""
    digest = sha256(json.dumps([_FORMAT, source.classes, source.note]).encode())
    if source.table is not None:
        digest.update(source.table.data)
    base = os.path.join(source.base, "")
    for split in (source.train, source.test):
        digest.update(b"%d;" % len(split))
        for pair in split:
            for part in pair:
                what = part if isinstance(part, int) else f"{str(part).removeprefix(base)}:{os.stat(part).st_size}"
                digest.update(f"{what};".encode())
    return digest.hexdigest()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time; the system lets go of the lock of a process that dies."""
    import fcntl  # where there is none (Windows), nothing else here needs it

    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _pack(source: Source, signature: str, folder: Path, size: Size | None) -> None:
    full = pictures.size(source.train[0][0])
    height, width = size or full
    needed = height * width * (3 if source.table is None else 4) * (len(source.train) + len(source.test))
    install(folder, lambda part: _fill(part, source, signature, full, size), needed, (height, width))


def install(
    folder: Path, fill: Callable[[Path], None], needed: int, size: Size, resumable: bool = False, advice: str = ""
) -> None:
    """Have a folder filled beside it, and give it its name when all of it is on the disk.

    Parameters
    ----------
    folder : path
    fill : callable
        Told the folder to write to; if it is ``resumable``, what an interrupted call left is still in it.
    needed : int
        Bytes.
    size : (int, int)
        Height and width of the pictures.
    advice : str, optional
        What helps a full disk beside making room; a smaller size, if nothing else is said.

    Raises
    ------
    OSError
        If the disk is too small.
    """
    part, old = (folder.with_name(f".{folder.name}.{what}") for what in ("part", "old"))
    for leftover in (old,) if resumable else (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    there = sum(file.stat().st_size for file in part.iterdir()) if part.is_dir() else 0
    free = shutil.disk_usage(folder.parent).free + there
    smaller = f"{folder.parent.name}@{size[0] // 4 or 1}x{size[1] // 4 or 1}"
    less = advice or f"or take a smaller size, for example {smaller}."
    if needed > free:
        told = f"packing into {folder} needs {needed / 1e9:.1f} GB but only {free / 1e9:.1f} GB are free there"
        raise OSError(f"{told}: make room, {less}")
    try:
        part.mkdir(exist_ok=True)
        fill(part)
        if folder.is_dir():
            folder.rename(old)
        part.rename(folder)
    except BaseException as error:
        if not resumable:
            shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(f"the disk was full before all was packed into {folder}: make room, {less}") from error
        raise
    parent = os.open(folder.parent, os.O_RDONLY)
    os.fsync(parent)  # the new name, too, survives a power cut
    os.close(parent)
    shutil.rmtree(old, ignore_errors=True)


def _fill(part: Path, source: Source, signature: str, full: Size, size: Size | None) -> None:
    """Write all arrays and then the index; ``full`` and ``size`` are heights and widths."""
    height, width = size or full
    arrays: dict[str, Entry] = {}
    for split, examples in (("train", source.train), ("test", source.test)):
        shape = (len(examples), height, width)
        kind = (np.int64, shape[:1]) if source.table is None else (np.uint8, shape)
        images = Writer(part / f"{split}-images.npy", np.uint8, (shape[0], 3, *shape[1:]))
        labels = Writer(part / f"{split}-labels.npy", *kind)
        seen = np.zeros(256, dtype=bool)
        with images, labels:
            title = f"packing {part.parent.name} {split}"
            for picture, label in tqdm(examples, title, unit="picture", mininterval=1):
                images.append(pictures.image(picture, full, size).transpose(2, 0, 1))
                if isinstance(label, int):
                    labels.append(np.array(label))
                else:
                    assert source.table is not None
                    classes = pictures.pixel_labels(label, full, size, source.table)
                    seen[classes] = True
                    labels.append(classes)
        values = None if source.table is None else np.flatnonzero(seen).tolist()
        arrays |= {f"{split}-images": images.entry(), f"{split}-labels": labels.entry(values)}
    note = source.note + (f" Pictures brought from {full[0]}x{full[1]} to {height}x{width}." if size else "")
    Index(source=signature, classes=source.classes, note=note, arrays=arrays).write(part)


def write(path: Path, text: str) -> None:
    """A small file, whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


class Writer:
    """An ``.npy`` file of known shape, written from the first element to the last.

    Not a writable memory map: that counts as the process's memory while it grows, and a full disk kills the process.
    """

    def __init__(self, path: Path, dtype: type, shape: tuple[int, ...]):
        self._path, self._dtype, self._shape, self.rows = path, np.dtype(dtype), shape, 0
        self._digest = sha256()

    def __enter__(self) -> Self:
        self._file = open(self._path, "w+b")
        self._head()
        return self

    def _head(self) -> None:
        """NumPy leaves room in it for any number of rows."""
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, item: Array) -> None:
        content = np.ascontiguousarray(item, dtype=self._dtype).tobytes()
        self._file.write(content)
        self._digest.update(content)
        self.rows += 1

    def flush(self) -> None:
        """All of it so far is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def __exit__(self, *_: object) -> None:
        with self._file:  # closed, even if the disk is full
            self.flush()
            self._bytes = self._file.tell()

    def entry(self, values: list[int] | None = None) -> Entry:
        """What the index says of the file, once it is closed."""
        return Entry(shape=list(self._shape), bytes=self._bytes, sha256=self._digest.hexdigest(), values=values)


# Opening


def index_of(folder: Path) -> Index:
    """What its ``index.json`` says; ``ValueError`` if that is missing or damaged."""
    path = folder / "index.json"
    try:
        return Index.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        why = error if isinstance(error, OSError) else sentence(error).rstrip(".")
        raise ValueError(f"{path} is missing or damaged ({why}): {_mend(folder)}") from error


def _mend(folder: Path) -> str:
    return f"delete the folder {folder}; it is made again from the source."


def opened(folder: Path) -> Parts:
    """What a packed folder holds, as ``load`` wants it."""
    index = index_of(folder)

    def split(name: str) -> tuple[Array, Indices | Labels]:
        images, labels = f"{name}-images", f"{name}-labels"
        values = index.arrays[labels].values
        stored = _mapped(folder, labels, index.arrays[labels], np.int64 if values is None else np.uint8)
        told = np.array(stored) if values is None else Labels(stored, np.array(values, dtype=np.int64))
        return _mapped(folder, images, index.arrays[images], np.uint8), told

    held = json.dumps({name: [entry.shape, entry.sha256] for name, entry in sorted(index.arrays.items())})
    contents = sha256(held.encode()).hexdigest()
    train, test = map(split, SPLITS)
    return {"train": train, "test": test, "classes": index.classes, "note": index.note, "contents": contents}


def _mapped(folder: Path, name: str, entry: Entry, dtype: type) -> Array:
    path = folder / f"{name}.npy"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {_mend(folder)}")
    held = path.stat().st_size
    if held != entry.bytes:
        raise ValueError(f"{path} is cut short or damaged ({held} of {entry.bytes} bytes): {_mend(folder)}")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises several kinds over a damaged header
        raise ValueError(f"{path} is damaged ({' '.join(str(error).split())}): {_mend(folder)}") from error
    found, told = (array.dtype, list(array.shape)), (np.dtype(dtype), entry.shape)
    if found != told:
        raise ValueError(f"{path} is damaged ({found[0]} {found[1]} in place of {told[0]} {told[1]}): {_mend(folder)}")
    return array

"""Packed folders whose making may be killed and gone on with: how far it came stands in ``progress.json`` beside."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any, Self

import numpy as np
from tqdm import tqdm

from pslcore.data import packed
from pslcore.data.arrays import Array
from pslcore.runs import records

KEPT_EVERY = 5.0
"""Seconds of work that a killed process may lose."""
Rows = Iterable[tuple[Array, Any]]


class Writer(packed.Writer):
    """One that goes on after the ``rows`` that the file has already, whose ``digest`` may be known; it may end before
    the rows announced."""

    def __init__(self, path: Path, dtype: type, shape: tuple[int, ...], rows: int = 0, digest: str = ""):
        super().__init__(path, dtype, shape)
        self.rows, self._wanted = rows, digest

    def __enter__(self) -> Self:
        self._file = open(self._path, "r+b" if self.rows else "w+b")
        self._head()
        left = self.rows * self._dtype.itemsize * math.prod(self._shape[1:])
        while left:
            block = self._file.read(min(left, 1 << 22))
            if not block:
                raise ValueError(f"{self._path} is cut short: delete the folder {self._path.parent}.")
            self._digest.update(block)
            left -= len(block)
        if self.rows and self._wanted not in ("", self.digest):
            raise ValueError(f"{self._path} is damaged: delete the folder {self._path.parent}.")
        self._file.truncate(self._file.tell())
        return self

    @property
    def digest(self) -> str:
        """Of the rows so far."""
        return self._digest.hexdigest()

    def cut(self) -> None:
        """It has no more rows than were appended."""
        self._shape = (self.rows, *self._shape[1:])
        end = self._file.tell()
        self._file.seek(0)
        self._head()
        self._file.seek(end)


def progress(part: Path, this: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """How far an interrupted call came, if it was of ``this``; else ``this`` with what a new one begins with."""
    path = part / "progress.json"
    try:
        kept = records.opened(json.loads(path.read_bytes()), str(path))
    except (OSError, ValueError, AttributeError):
        kept = {}
    return kept if {what: kept.get(what) for what in this} == this else this | fresh


def keep(part: Path, kept: dict[str, Any]) -> None:
    """So far it came."""
    packed.write(part / "progress.json", json.dumps(records.sealed(kept)))


def fill(
    part: Path, kept: dict[str, Any], split: str, images: range, shape: tuple[int, ...],
    blocks: Iterable[tuple[int, Rows]], title: str, state: Callable[[], dict[str, Any]] = dict,
) -> int:  # fmt: skip
    """Write images and labels of a split after those that an interrupted call wrote; the number of rows it has now.

    Parameters
    ----------
    part : path
        The folder.
    kept : dict
        As ``progress`` gave it, with ``arrays`` and ``done``; how far this call comes is added to it.
    split : str
    images : range
        Numbers of the images that are still to be read.
    shape : tuple of int
        Of one image.
    blocks : iterable
        How many images were read, and the rows (image, label) that they gave; it may be fewer.
    title : str
        Of the progress bar.
    state : callable, optional
        What else belongs into ``kept``.
    """
    done, rows, held = images.start, kept["rows"] if images.start else 0, kept.get("held", ("", ""))
    files = [part / f"{split}-{what}.npy" for what in ("images", "labels")]
    with (
        Writer(files[0], np.uint8, (images.stop, *shape), rows, held[0]) as pixels,
        Writer(files[1], np.int64, (images.stop,), rows, held[1]) as labels,
        tqdm(total=images.stop, initial=done, desc=title, unit="image", mininterval=1) as bar,
    ):
        last = monotonic()
        for count, some in blocks:
            for image, label in some:
                pixels.append(image)
                labels.append(np.array(label))
            done += count
            bar.update(count)
            if monotonic() - last > KEPT_EVERY or done == images.stop:
                pixels.flush()
                labels.flush()
                kept |= {"rows": pixels.rows, "done": kept["done"] | {split: done}} | state()
                kept["held"] = [pixels.digest, labels.digest]
                keep(part, kept)
                last = monotonic()
        pixels.cut()
        labels.cut()
    written = {path.stem: writer.entry().model_dump() for path, writer in zip(files, (pixels, labels), strict=True)}
    kept["arrays"] |= written
    keep(part, kept)
    return pixels.rows


def finish(part: Path, index: packed.Index) -> None:
    """All arrays are written."""
    index.write(part)
    (part / "progress.json").unlink()

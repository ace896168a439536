"""Packed folders whose making may be killed and gone on with: how far it came stands in ``progress.json`` beside."""

import json
import math
from pathlib import Path
from typing import Any, Self

from pslcore.data import packed


class Writer(packed.Writer):
    """One that goes on after the ``rows`` that the file has already, and may end before the rows announced."""

    def __init__(self, path: Path, dtype: type, shape: tuple[int, ...], rows: int = 0):
        super().__init__(path, dtype, shape)
        self.rows = rows

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
        self._file.truncate(self._file.tell())
        return self

    def cut(self) -> None:
        """It has no more rows than were appended."""
        self._shape = (self.rows, *self._shape[1:])
        end = self._file.tell()
        self._file.seek(0)
        self._head()
        self._file.seek(end)


def progress(part: Path, this: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """How far an interrupted call came, if it was of ``this``; else ``this`` with what a new one begins with."""
    try:
        kept = json.loads((part / "progress.json").read_bytes())
    except (OSError, ValueError):
        kept = {}
    return kept if {what: kept.get(what) for what in this} == this else this | fresh


def keep(part: Path, kept: dict[str, Any]) -> None:
    """So far it came."""
    packed.write(part / "progress.json", json.dumps(kept))


def finish(part: Path, index: packed.Index) -> None:
    """All arrays are written."""
    index.write(part)
    (part / "progress.json").unlink()

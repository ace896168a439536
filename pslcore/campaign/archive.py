"""Finished records of a scale in one file, ``<out>/<scale>/runs.jsonl.xz``.

A scale of a few hundred seeds has thousands of records that differ in little: one by one they take kilobytes each,
together some hundred bytes. Each line is the JSON text of one sealed record, in the order of the keys. A record that
stands as a file of its own goes before the one in the archive: it is the newer.
"""

import json
import lzma
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pslcore.runs import records, schema

NAME = "runs.jsonl.xz"


def beside(folder: Path) -> Path:
    """The archive that goes with a folder of records."""
    return folder.parent / NAME


def sealed(path: Path) -> MappingProxyType[str, dict[str, Any]]:
    """The records of an archive by key, as they were sealed, not checked so far; none where there is no archive.

    Raises
    ------
    DamagedRecord
        If it is not what ``write`` left.
    """
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return MappingProxyType({})
    return _sealed(path, state.st_mtime_ns, state.st_size, state.st_ino)


@cache
def _sealed(path: Path, _mtime: int, _size: int, _inode: int) -> MappingProxyType[str, dict[str, Any]]:
    try:
        found = [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]
        return MappingProxyType({str(record["key"]): record for record in found})
    except (OSError, EOFError, lzma.LZMAError, ValueError, TypeError, KeyError) as error:
        raise records.DamagedRecord(
            f"{path} is damaged ({error}): bring it back from git, or remove it to run what it held again."
        ) from None


def get(path: Path, key: str) -> dict[str, Any] | None:
    """A record of an archive, checked like a file; None if it is not there.

    Raises
    ------
    DamagedRecord
        If the archive is damaged, or this record's seal or form is.
    """
    record = sealed(path).get(key)
    return None if record is None else schema.checked(records.opened(dict(record), f"{path}: {key}"), f"{path}: {key}")


def write(path: Path, content: dict[str, dict[str, Any]]) -> None:
    """Write an archive, whole or not at all; the same records give the same bytes. ``content`` is sealed, by key."""
    lines = "".join(f"{records.canonical(content[key])}\n" for key in sorted(content))
    records.write_bytes(path, lzma.compress(lines.encode(), preset=9 | lzma.PRESET_EXTREME))

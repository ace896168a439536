"""Finished records of a scale in four files, ``<out>/<scale>/runs.0-3.jsonl.xz`` to ``runs.c-f.jsonl.xz``.

A scale of a few hundred seeds has thousands of records that differ in little: one by one they take kilobytes each,
together some hundred bytes. Each line is the JSON text of one sealed record, in the order of the keys; the first digit
of its key says which of the four parts it is in, whatever else is there, so that none ever moves from part to part. A
record that stands as a file of its own goes before the one in the archive: it is the newer.

Thousands of picks a run do not compress. A scale of many such runs keeps those of its first seeds; the other records
are ``brief``.
"""

import json
import lzma
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pslcore.runs import records, schema

ANY = "runs.*jsonl.xz"  # the whole of an archive in one file too, as it was written before 2026-11-27
_DIGITS = ("0-3", "4-7", "8-b", "c-f")


def digest(record: dict[str, Any]) -> str:
    """A hash of what the record says, timings, machine and versions apart: 16 hexadecimal digits."""
    return record.get("content") or records.digest(records.content(record))[:16]


def brief(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its picks; ``content`` is the ``digest`` of all that it said."""
    return record | {"cycles": [entry | {"picked": []} for entry in record["cycles"]], "content": digest(record)}


def is_brief(record: dict[str, Any]) -> bool:
    """Whether a record was packed without its picks."""
    return "content" in record


def picks(record: dict[str, Any]) -> list[list[int]]:
    """What each cycle picked.

    Raises
    ------
    ValueError
        If the record is brief.
    """
    if is_brief(record):
        raise ValueError(f"the record {record['key']} keeps a hash of its picks only: choose one of the first seeds.")
    return [entry["picked"] for entry in record["cycles"]]


def part(folder: Path, key: str) -> Path:
    """Where the record of a key is in the archive that goes with a folder of records, there or not."""
    return folder.parent / f"runs.{_DIGITS[int(key[0], 16) // 4]}.jsonl.xz"


def parts(folder: Path) -> Iterator[Path]:
    """All parts of that archive, there or not."""
    return (part(folder, digits[0]) for digits in _DIGITS)


def sealed(path: Path) -> MappingProxyType[str, dict[str, Any]]:
    """The records of a part by key, as they were sealed, not checked so far; none where there is no such file.

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
    """A record of a part, checked like a file; None if it is not there.

    Raises
    ------
    DamagedRecord
        If the part is damaged, or this record's seal or form is.
    """
    record = sealed(path).get(key)
    return None if record is None else schema.checked(records.opened(dict(record), f"{path}: {key}"), f"{path}: {key}")


def write(path: Path, content: dict[str, dict[str, Any]]) -> None:
    """Write a part, whole or not at all; the same records give the same bytes. ``content`` is sealed, by key."""
    lines = "".join(f"{records.canonical(content[key])}\n" for key in sorted(content))
    records.write_bytes(path, lzma.compress(lines.encode(), preset=9 | lzma.PRESET_EXTREME))


def sweep(folder: Path, finished: set[str]) -> None:
    """Remove what a run keeps until it is finished, where it was killed before it did that itself."""
    for path in folder.glob("*.[pcs]*"):
        if path.name.partition(".")[0] in finished:
            path.unlink(missing_ok=True)

"""What a server received and gave of one album: an append-only log, each line sealed and chained to the one before.

Beside the log the ``payloads`` lie, one file a message, named by its SHA-256. A line that was changed, taken out
or put in is named and nothing is trusted from there on; lines cut off at the end show by the seal of the last line
that the client was told (``pslcore audit LOG --head SEAL``).
"""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from pslcore.runs import records
from psllab.remote import messages
from psllab.remote.messages import Arrays, Message

Line = dict[str, Any]
_FIRST = "0" * 64
_SPARE = 64 << 20


class DamagedLog(ValueError):
    """A log, or a payload beside it, that is not what the server wrote."""


class Log:
    """The log of one album.

    Parameters
    ----------
    folder : path
        Of the album.

    Raises
    ------
    DamagedLog
        If a line is not what was written; which.
    """

    def __init__(self, folder: Path):
        self.folder, self._file = folder, folder / "log.jsonl"
        self.lines: list[Line] = []
        self._received: set[str] = set()
        self._one_at_a_time = Lock()
        for line in self._read():
            self._take(line)

    def _take(self, line: Line) -> None:
        self.lines.append(line)
        if line["kind"] in messages.RECEIVED:
            self._received.add(line["id"])

    @property
    def head(self) -> str:
        """The seal of the last line."""
        return self.lines[-1]["seal"] if self.lines else _FIRST

    def _read(self) -> Iterator[Line]:
        content = self._file.read_bytes() if self._file.exists() else b""
        whole, _, torn = content.rpartition(b"\n")
        if torn:  # the power went while it was written: nobody was told that it was received
            os.truncate(self._file, len(content) - len(torn))
        before = _FIRST
        for number, text in enumerate(whole.split(b"\n") if whole else ()):
            try:
                line = json.loads(text)
                seal = line.pop("seal")
                sound = (line["n"], line["prev"], seal) == (number, before, records.digest(line))
                sound = sound and _text(line | {"seal": seal}) == text + b"\n"
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                sound = False
            if not sound:
                told = f"{self._file}, line {number + 1}: its seal does not fit what it says"
                raise DamagedLog(f"{told}: the log was changed there, and nothing from there on is trusted.")
            before = seal
            yield line | {"seal": seal}

    def append(self, kind: str, **said: Any) -> Line:
        """One more line, on the disk when this returns."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._one_at_a_time, self._file.open("ab") as file:
            line = {"n": len(self.lines), "at": at, "kind": kind, "prev": self.head} | said
            line["seal"] = records.digest(line)
            before = file.tell()
            try:
                file.write(_text(line))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._file, before)
                raise
            self._take(line)
        return line

    def of(self, *kinds: str) -> list[Line]:
        return [line for line in self.lines if line["kind"] in kinds]

    # Payloads

    def path(self, name: str) -> Path:
        return self.folder / "payloads" / f"{name}.safetensors"

    def holds(self, name: str) -> bool:
        """Whether that message was received and is still there."""
        return name in self._received and self.path(name).exists()

    def held(self) -> list[str]:
        return sorted(filter(self.holds, tuple(self._received)))

    def receive(self, name: str, body: bytes, message: Message, items: int) -> None:
        """Keep a message: first itself, then the line that says so. ``OSError`` if the disk is full."""
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < len(body) + _SPARE:
            raise OSError(f"the disk of the server is full ({free >> 20} MiB left): free some space there, then go on.")
        records.write_bytes(self.path(name), body)
        self.append(message.kind, id=name, bytes=len(body), items=items)

    def message(self, name: str, kind: str = "") -> tuple[Message, Arrays]:
        """A message that was received, of that kind.

        Raises
        ------
        DamagedLog
            If it is not what was received, or not there any more.
        """
        try:
            body = self.path(name).read_bytes()
        except FileNotFoundError:
            told = f"the payload {name} is not there (any more)"
            raise DamagedLog(f"{told}: what rests on it cannot be trained.") from None
        if messages.name_of(body) != name:
            raise DamagedLog(
                f"the payload {self.path(name)} is not what was received: it was changed, and is not trusted."
            )
        message, arrays = messages.unpack(body)
        if kind and message.kind != kind:
            raise messages.Refused(f"the message {name[:12]}... is of kind {message.kind}, not {kind}: name another.")
        return message, arrays

    def drop(self, names: list[str]) -> None:
        """Remove payloads; the lines that say that they were received stay."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def forget(self) -> int:
        """Remove all payloads, keep the chain; how many."""
        held = self.held()
        self.drop(held)
        self.append("forgotten", items=len(held))
        return len(held)


def _text(line: Line) -> bytes:
    return records.canonical(line).encode() + b"\n"

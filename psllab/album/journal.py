"""What people said, on disk before anybody goes on: one line an event, only ever added to. And the lock beside it."""

import fcntl
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Journal:
    """A file of events, each on a line of JSON with a digest.

    A last line that was cut short (the process was killed, the power failed) is no event and is removed; so are the
    lines before it that ``add_all`` was writing with it.

    Raises
    ------
    ValueError
        If another line is damaged.
    OSError
        If the file cannot be opened.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.events, size = read(path)
        os.ftruncate(self._file, size)

    def add(self, what: str, **fields: Any) -> Event:
        """Write an event to the disk; it is there, whole, when this returns.

        Raises
        ------
        OSError
            In one sentence, if the disk is full; then nothing of it is there.
        """
        return self.add_all([{"what": what, **fields}])[0]

    def add_all(self, new: list[dict[str, Any]]) -> list[Event]:
        """The same for several events, each with its ``what``: all of them are there, or none, whatever happens."""
        now, first = datetime.now(UTC).isoformat(timespec="seconds"), len(self.events)
        events: list[Event] = [{"n": n, "when": now, **event} for n, event in enumerate(new, first)]
        if len(events) > 1:  # the number of the last: without that line the others do not count
            events = [event | {"until": events[-1]["n"]} for event in events]
        lines = [json.dumps(e | {"digest": _digest(e)}, ensure_ascii=False, allow_nan=False) + "\n" for e in events]
        start = os.fstat(self._file).st_size
        rest = memoryview("".join(lines).encode())
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, start)
            why = f"{self.path} could not be written ({error.strerror or error})"
            raise OSError(f"{why}: nothing was taken in; free some space.") from error
        self.events += events
        return events

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> tuple[list[Event], int]:
    """The events of a journal, and the bytes that they take; raises what ``Journal`` does."""
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    events: list[Event] = []
    lines = whole.splitlines()
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
            digest = event.pop("digest")
        except (ValueError, KeyError, AttributeError, TypeError):
            digest = None
        if digest is None or digest != _digest(event) or event["n"] != number - 1:
            raise ValueError(f"{path}: line {number} is damaged: bring the file back from a copy of before.")
        events.append(event)
    if events and events[-1].get("until", 0) > events[-1]["n"]:  # the last of what ``add_all`` was writing is missing
        until = events[-1]["until"]
        events = [event for event in events if event.get("until") != until]
    return events, sum(len(line) + 1 for line in lines[: len(events)])


def _digest(event: Event) -> str:
    text = json.dumps(event, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Lock:
    """Holds a folder for one process. The system itself lets go of it when the process ends, however it ends.

    Raises
    ------
    ValueError
        If another process holds it: which one.
    """

    def __init__(self, folder: Path, what: str):
        self._file = open(folder / "lock", "a+")  # noqa: SIM115 it is held
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read(20).strip()
            self._file.close()
            told = f"{what} is open in process {holder or '?'}"
            raise ValueError(f"{told}: close it there first (a notebook: shut down its kernel).") from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        self._file.close()

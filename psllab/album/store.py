"""A database of ours that several threads may use, with one sentence where it cannot be written."""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import RLock


class Store:
    """A file of SQLite that nobody but its owner can read.

    Parameters
    ----------
    path : path

    Raises
    ------
    OSError
        From each use, in one sentence, if the file cannot be written.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._one = path, RLock()
        self._base = sqlite3.connect(path, check_same_thread=False)
        path.chmod(0o600)

    def close(self) -> None:
        with self._one:
            self._base.close()

    def _run(self, command: str, values: Iterable[object] = ()) -> list[tuple]:
        with self._one:
            try:
                return self._base.execute(command, tuple(values)).fetchall()
            except sqlite3.Error as error:
                raise self._unwritten(error) from error

    def _commit(self) -> None:
        with self._one:
            try:
                self._base.commit()
            except sqlite3.Error as error:
                raise self._unwritten(error) from error

    def _unwritten(self, error: sqlite3.Error) -> OSError:
        with suppress(sqlite3.Error):
            self._base.rollback()
        if isinstance(error, sqlite3.OperationalError):
            return OSError(f"{self._path} could not be written ({error}): free some space.")
        return OSError(f"{self._path} is damaged ({error}): move it away, and it is made anew.")

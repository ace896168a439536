"""Small copies of an album's pictures in one file of ours; never in the folder of pictures."""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path
from threading import RLock

import numpy as np
from joblib import Parallel, delayed

from pslcore.album.pictures import Picture, Seen, decode, find, glance

Progress = Callable[[int, int], object]

_TABLE = """create table if not exists pictures (
    name text primary key, size integer, mtime integer, ctime integer, digest text, pixels blob, thumbnail blob,
    dates text, lat real, lon real, reason text)"""
_AT_ONCE = 64


class Cache:
    """What is known of each picture, and small copies; looked at or decoded again only when its file has changed.

    Names are kept as hashes. It stays on this machine: it holds the protected pictures too. Several threads may use it.

    Parameters
    ----------
    path : path
        The database.
    size : int
        Pixels of a side of the squared training pictures.
    """

    def __init__(self, path: Path, size: int):
        self._size, self._one = size, RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._base = sqlite3.connect(path.with_name(f"{path.stem}-{size}{path.suffix}"), check_same_thread=False)
        os.chmod(path.with_name(f"{path.stem}-{size}{path.suffix}"), 0o600)
        self._run(_TABLE)
        self._run("create index if not exists unread on pictures (name) where pixels is null")

    def close(self) -> None:
        with self._one:
            self._base.close()

    def look(self, folder: Path, progress: Progress | None = None) -> tuple[list[Seen], dict[str, str]]:
        """The pictures of a folder as they are now; new ones are hashed and their EXIF is read, no more.

        Parameters
        ----------
        folder : path
        progress : callable, optional
            Told how many of how many new files were looked at.

        Returns
        -------
        (list of Seen, dict)
            In the order of their paths; path to the reason why the others are left out.

        Raises
        ------
        OSError
            If the cache cannot be written, in one sentence.
        """
        found, left_out = find(folder)
        keys = {name: _key(name) for name in found}
        known = {row[0]: row[1:] for row in self._run("select name, size, mtime, ctime from pictures")}
        stale = []
        for name in found:
            with suppress(OSError):  # gone by now: told below
                held = (folder / name).stat()
                if known.get(keys[name]) != (held.st_size, held.st_mtime_ns, held.st_ctime_ns):
                    stale.append(name)
        for name, row in self._each(stale, lambda name: _glanced(folder / name), progress):
            if row is not None:
                self._run("insert or replace into pictures values (?,?,?,?,?,null,null,?,?,?,?)", (keys[name], *row))
        for key in known.keys() - set(keys.values()):
            self._run("delete from pictures where name = ?", (key,))
        self._commit()
        rows = {row[0]: row[1:] for row in self._run("select name, digest, dates, lat, lon, reason from pictures")}
        seen = []
        for name, real in found.items():
            digest, dates, lat, lon, reason = rows.get(
                keys[name], ("", "", None, None, "it went away while it was read")
            )
            if reason:
                left_out[name] = reason
                continue
            taken = tuple(date.fromisoformat(day) for day in dates.split())
            place = None if lat is None else (lat, lon)
            seen.append(Seen(Picture(name, digest), real, taken, place))
        return seen, dict(sorted(left_out.items()))

    def unread(self, pictures: Iterable[Picture]) -> list[Picture]:
        """Those that were not decoded yet."""
        missing = {key for (key,) in self._run("select name from pictures where pixels is null")}
        return [picture for picture in pictures if _key(picture.path) in missing]

    def read(self, folder: Path, pictures: Iterable[Picture], progress: Progress | None = None) -> dict[str, str]:
        """Decode those that were not decoded yet; gives the path and the reason of each that cannot be.

        What was decoded is kept when ``progress`` raises.

        Raises
        ------
        OSError
            If the cache cannot be written, in one sentence.
        """
        by_path = {picture.path: picture for picture in self.unread(pictures)}
        lost = {}
        rows = self._each(list(by_path), lambda path: _decoded(folder, by_path[path], self._size), progress)
        for path, (pixels, thumbnail, reason) in rows:
            self._run(
                "update pictures set pixels = ?, thumbnail = ?, reason = ? where name = ? and digest = ?",
                (pixels, thumbnail, reason, _key(path), by_path[path].digest),
            )
            if reason:
                lost[path] = reason
        return lost

    def pixels(self, pictures: Iterable[Picture]) -> np.ndarray:
        """Of pictures that were decoded, uint8 [N, 3, size, size]; ``KeyError`` if one was not."""
        keys = [_key(picture.path) for picture in pictures]
        every = len(keys) > 1000
        rows = self._run("select name, pixels from pictures") if every else [
            row for key in keys for row in self._run("select name, pixels from pictures where name = ?", (key,))
        ]  # fmt: skip
        held = {name: blob for name, blob in rows if blob}
        flat = b"".join(held[key] for key in keys)
        images = np.frombuffer(flat, np.uint8).reshape(len(keys), self._size, self._size, 3)
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    def thumbnail(self, folder: Path, picture: Picture) -> bytes:
        """A JPEG of at most ``THUMBNAIL`` pixels a side, without any metadata; ``ValueError`` if there is none."""
        find, lost = "select thumbnail from pictures where name = ?", {}
        rows = self._run(find, (_key(picture.path),))
        if rows and rows[0][0] is None:
            lost = self.read(folder, [picture])
            rows = self._run(find, (_key(picture.path),))
        if not rows or not rows[0][0]:
            raise ValueError(f"{picture.path} cannot be shown: {lost.get(picture.path, 'it is left out')}.")
        return rows[0][0]

    def _each(self, names: list[str], work: Callable[[str], tuple | None], progress: Progress | None):
        """(name, what ``work`` gave) one by one, in several threads; Pillow decodes beside Python."""
        jobs = Parallel(n_jobs=min(8, os.cpu_count() or 1), prefer="threads", return_as="generator")
        done = 0
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            yield from zip(part, jobs(delayed(work)(name) for name in part), strict=True)
            self._commit()
            done += len(part)
            if progress is not None:
                progress(done, len(names))

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
        return OSError(f"the cache of thumbnails could not be written ({error}): free some space or remove it.")


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _glanced(path: Path) -> tuple | None:
    try:
        held = path.stat()
        stamp = (held.st_size, held.st_mtime_ns, held.st_ctime_ns)
        payload = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return (*stamp, "", "", None, None, f"it cannot be read ({error.strerror})")
    got = glance(payload)
    days = " ".join(day.isoformat() for day in got.dates)
    return (*stamp, got.digest, days, *(got.place or (None, None)), got.reason)


def _decoded(folder: Path, picture: Picture, size: int) -> tuple[bytes, bytes, str]:
    try:
        payload = (folder / picture.path).read_bytes()
    except OSError as error:
        return b"", b"", f"it cannot be read ({error.strerror})"
    if hashlib.sha256(payload).hexdigest() != picture.digest:
        return b"", b"", "it changed while it was read"
    got = decode(payload, size)
    return got.pixels, got.thumbnail, got.reason

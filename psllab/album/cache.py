"""Small copies of an album's pictures in one file of ours; never in the folder of pictures."""

import hashlib
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from psllab.album.pictures import Picture, Seen, decode, glance, opened
from psllab.album.store import Store
from psllab.album.taken import Taken
from psllab.album.walk import File

Progress = Callable[[int, int], object]

_VERSION = 3
_TABLE = """create table if not exists pictures (
    name text primary key, stamp text, digest text, pixels blob, thumbnail blob, hash blob,
    dates text, lat real, lon real, date_doubt text, place_doubt text, reason text, bits integer, shown integer)"""
_TOLD = "digest, dates, lat, lon, date_doubt, place_doubt, reason, bits"
_AT_ONCE = 64
_SIDECAR = 1 << 20
"""Bytes that are read of a file beside a picture."""


class Cache(Store):
    """What is known of each picture, and small copies; read or decoded again only when its file has changed.

    Names are kept as hashes. It stays on this machine: it holds the protected pictures too. Several threads may use it.

    Parameters
    ----------
    path : path
        The database.
    size : int
        Pixels of a side of the squared training pictures.
    """

    def __init__(self, path: Path, size: int):
        self._size = size
        super().__init__(path.with_name(f"{path.stem}-{size}{path.suffix}"))
        if self._run("pragma user_version") != [(_VERSION,)]:
            self._run("drop table if exists pictures")
            self._run(f"pragma user_version = {_VERSION}")
        self._run(_TABLE)
        self._run("create index if not exists unread on pictures (name) where pixels is null")

    def look(
        self, folder: Path, files: Iterable[File], beside: Mapping[str, list[File]], progress: Progress | None = None
    ) -> tuple[list[Seen], dict[str, str]]:
        """Pictures as they are now; new ones are hashed and what tells when and where is read, no more.

        Parameters
        ----------
        folder : path
        files : list of File
        beside : mapping
            Path to the sidecar files of a picture.
        progress : callable, optional
            Called with how many new files were read, and how many there are.

        Returns
        -------
        (list of Seen, dict)
            In the order given; path to the reason why the others are left out.

        Raises
        ------
        OSError
            If the cache cannot be written, in one sentence.
        """
        known = {row[0]: row[1:] for row in self._run(f"select name, stamp, {_TOLD} from pictures")}
        named = {file.path: _key(file.path) for file in files}
        stamps = {file.path: _stamp(file, beside.get(file.path, ())) for file in files}
        stale = [path for path, key in named.items() if known.get(key, ("",))[0] != stamps[path]]

        def work(path: str) -> tuple | None:
            return _glanced(folder, path, [one.path for one in beside.get(path, ())])

        for path, row in self._each(stale, work, progress):
            known.pop(named[path], None)
            if row is not None:
                self._run(
                    f"insert or replace into pictures (name, stamp, {_TOLD}) values (?,?,?,?,?,?,?,?,?,?)",
                    (named[path], stamps[path], *row),
                )
                known[named[path]] = (stamps[path], *row)
        for key in known.keys() - set(named.values()):
            self._run("delete from pictures where name = ?", (key,))
        # Of more than 8 bits, brought to 8 by those of the folder, which may be others by now.
        self._run("update pictures set pixels = null, thumbnail = null where bits and shown != ?", (self._bits(),))
        self._commit()
        seen, left_out = [], {}
        for file in files:
            if named[file.path] not in known:
                left_out[file.path] = "it went away while it was read"
                continue
            _, digest, dates, lat, lon, date_doubt, place_doubt, reason, _ = known[named[file.path]]
            if reason:
                left_out[file.path] = reason
                continue
            days = tuple(date.fromisoformat(day) for day in dates.split())
            when = Taken(days, None if lat is None else (lat, lon), date_doubt, place_doubt)
            seen.append(Seen(Picture(file.path, digest), file.routes, when, file.hidden))
        return seen, left_out

    def view(self, folder: Path, picture: Picture, side: int) -> Image.Image:
        """A picture of at most ``side`` pixels a side; ``ValueError`` if it is gone, changed or damaged."""
        try:
            payload = (folder / picture.path).read_bytes()
            if hashlib.sha256(payload).hexdigest() != picture.digest:
                raise ValueError(f"{picture.path} has changed: look at the folder again.")
            shown = opened(payload, side, self._bits())
        except ValueError:
            raise
        except Exception as error:  # Pillow's readers raise whatever they meet in damaged bytes
            raise ValueError(f"{picture.path} cannot be shown ({error}): look at the folder again.") from None
        shown.thumbnail((side, side), Image.Resampling.LANCZOS)
        return shown

    def _bits(self) -> int:
        """The most that a picture of the folder needs; 0 where none has more than 8."""
        ((bits,),) = self._run("select max(bits) from pictures")
        return bits or 0

    def unread(self, pictures: Iterable[Picture]) -> list[Picture]:
        """Those that were not decoded yet."""
        missing = {key for (key,) in self._run("select name from pictures where pixels is null")}
        return [picture for picture in pictures if _key(picture.path) in missing] if missing else []

    def read(self, folder: Path, pictures: Iterable[Picture], progress: Progress | None = None) -> dict[str, str]:
        """Decode those that were not decoded yet; gives the path and the reason of each that cannot be.

        What was decoded is kept when ``progress`` raises.

        Raises
        ------
        OSError
            If the cache cannot be written, in one sentence.
        """
        by_path = {picture.path: picture for picture in self.unread(pictures)}
        lost, bits = {}, self._bits()
        rows = self._each(list(by_path), lambda path: _decoded(folder, by_path[path], self._size, bits), progress)
        for path, (pixels, thumbnail, fingerprint, reason) in rows:
            self._run(
                "update pictures set pixels = ?, thumbnail = ?, hash = ?, reason = ?, shown = ? "
                "where name = ? and digest = ?",
                (pixels, thumbnail, fingerprint, reason, bits, _key(path), by_path[path].digest),
            )
            if reason:
                lost[path] = reason
        return lost

    def hashes(self) -> dict[str, bytes]:
        """Digest to perceptual hash of all pictures that were decoded."""
        return dict(self._run("select digest, hash from pictures where hash is not null and hash != x''"))

    def thumbnails(self, digests: Container[str]) -> Iterator[tuple[str, bytes]]:
        """(Digest, thumbnail) of those that were decoded."""
        rows = self._run("select name, digest from pictures where thumbnail is not null and thumbnail != x''")
        for name, digest in rows:
            if digest in digests:
                ((thumbnail,),) = self._run("select thumbnail from pictures where name = ?", (name,))
                yield digest, thumbnail

    def pixels(self, pictures: Iterable[Picture]) -> np.ndarray:
        """Of pictures that were decoded, uint8 [N, 3, size, size]; ``KeyError`` if one was not."""
        keys = [_key(picture.path) for picture in pictures]
        every = len(keys) > 1000
        find = "select name, pixels from pictures"
        rows = (
            self._run(find) if every else [row for key in keys for row in self._run(f"{find} where name = ?", (key,))]
        )
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


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _stamp(file: File, beside: Iterable[File]) -> str:
    return " ".join(str(part) for one in (file, *beside) for part in one.stamp)


def _glanced(folder: Path, path: str, beside: list[str]) -> tuple | None:
    try:
        payload = (folder / path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return ("", "", None, None, "", "", f"it cannot be read ({error.strerror})", 0)
    sidecars = {}
    for name in beside:
        with suppress(OSError):
            sidecars[os.path.basename(name)] = (folder / name).read_bytes()[:_SIDECAR]
    got = glance(payload, sidecars)
    days = " ".join(day.isoformat() for day in got.taken.dates)
    place = got.taken.place or (None, None)
    return (got.digest, days, *place, got.taken.date_doubt, got.taken.place_doubt, got.reason, got.bits)


def _decoded(folder: Path, picture: Picture, size: int, bits: int) -> tuple[bytes, bytes, bytes, str]:
    try:
        payload = (folder / picture.path).read_bytes()
    except OSError as error:
        return b"", b"", b"", f"it cannot be read ({error.strerror})"
    if hashlib.sha256(payload).hexdigest() != picture.digest:
        return b"", b"", b"", "it changed while it was read"
    got = decode(payload, size, bits)
    return got.pixels, got.thumbnail, got.hash, got.reason

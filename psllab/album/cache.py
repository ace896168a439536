"""Small copies of an album's pictures in one file of ours; never in the folder of pictures."""

import hashlib
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from PIL import Image

from psllab.album.pictures import Picture, Seen, decode, glance, opened
from psllab.album.store import Store
from psllab.album.taken import SIDECAR, Taken
from psllab.album.walk import File
from psllab.features import backbones

Progress = Callable[[int, int], object]

_VERSION = 4
_TABLE = """create table if not exists pictures (
    name text primary key, stamp text, digest text, pixels blob, thumbnail blob, hash blob,
    dates text, lat real, lon real, date_doubt text, place_doubt text, reason text, bits integer, shown integer)"""
_TOLD = "digest, dates, lat, lon, date_doubt, place_doubt, reason, bits"
_AT_ONCE = 64


class Cache(Store):
    """What is known of each picture, and small copies; read or decoded again only when its file has changed.

    Names are kept as hashes. It stays on this machine: it holds the protected pictures too. Several threads may use it.

    Parameters
    ----------
    path : path
        The database.
    size : int
        Pixels of a side of the squared training pictures.
    features : str
        As in ``Learning``: features of the pictures are kept in place of their pixels.
    """

    def __init__(self, path: Path, size: int, features: str = ""):
        self._backbone, _, side = features.rpartition("@")
        self._size = int(side or size)
        self._real: dict[str, str] = {}  # a name that is not UTF-8 leads nowhere
        kind = hashlib.sha256(features.encode()).hexdigest()[:12] if features else size
        super().__init__(path.with_name(f"{path.stem}-{kind}{path.suffix}"))
        if self._run("pragma user_version") != [(_VERSION,)]:
            self._run("drop table if exists pictures")
            self._run(f"pragma user_version = {_VERSION}")
        self._run(_TABLE)
        self._run("create index if not exists unread on pictures (name) where pixels is null")

    def look(
        self, files: Iterable[File], beside: Mapping[str, list[File]], progress: Progress | None = None
    ) -> tuple[list[Seen], dict[str, str]]:
        """Files as they are now; new ones are hashed and what tells when and where is read, no more.

        Parameters
        ----------
        files : list of File
        beside : mapping
            Path to the sidecar files of a picture.
        progress : callable, optional
            Called with how many new files were read, and how many there are.

        Returns
        -------
        (list of Seen, dict)
            In the order given, all of known content, ``hidden`` those that are left out; path to the reason why.

        Raises
        ------
        OSError
            If the cache cannot be written, in one sentence.
        """
        self._real = {file.path: file.real for file in files}
        known = {row[0]: row[1:] for row in self._run(f"select name, stamp, {_TOLD} from pictures")}
        named = {file.path: _key(file.path) for file in files}
        stamps = {file.path: _stamp(file, beside.get(file.path, ())) for file in files}
        stale = {file.path: file for file in files if known.get(named[file.path], ("",))[0] != stamps[file.path]}

        def work(path: str) -> tuple | None:
            return _glanced(stale[path], beside.get(path, ()))

        for path, row in self._each(list(stale), work, progress):
            known.pop(named[path], None)
            if row is not None:
                known[named[path]] = (stamps[path], *row)
                if row[0]:  # else it could not be read, and perhaps can be the next time
                    self._run(
                        f"insert or replace into pictures (name, stamp, {_TOLD}) values (?,?,?,?,?,?,?,?,?,?)",
                        (named[path], *known[named[path]]),
                    )
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
            if digest:
                days = tuple(date.fromisoformat(day) for day in dates.split())
                when = Taken(days, None if lat is None else (lat, lon), date_doubt, place_doubt)
                out = file.hidden or bool(file.reason or reason)
                seen.append(Seen(Picture(file.path, digest), file.routes, when, out))
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

    def read(
        self, folder: Path, pictures: Iterable[Picture], progress: Progress | None = None,
        outside: Container[Picture] = (),
    ) -> dict[str, str]:  # fmt: skip
        """Decode those that were not decoded yet; gives the path and the reason of each that cannot be.

        What was decoded is kept when ``progress`` raises. No features are computed of pictures ``outside`` the album.

        Raises
        ------
        OSError
            If the cache cannot be written, in one sentence.
        """
        by_path = {picture.path: picture for picture in self.unread(pictures)}
        lost, bits = {}, self._bits()
        if by_path and self._backbone:
            backbones.backbone(self._backbone)  # once, before several threads ask for it

        def work(path: str) -> tuple:
            real = self._real.get(path, folder / path)
            pixels, *rest = _decoded(real, by_path[path].digest, self._size, bits)
            return (b"" if pixels and by_path[path] in outside else self._encoded(pixels), *rest)

        for path, (pixels, thumbnail, fingerprint, reason) in self._each(list(by_path), work, progress):
            if reason:
                lost[path] = reason
            if pixels is None:
                continue
            self._run(
                "update pictures set pixels = ?, thumbnail = ?, hash = ?, reason = ?, shown = ? "
                "where name = ? and digest = ?",
                (pixels, thumbnail, fingerprint, reason, bits, _key(path), by_path[path].digest),
            )
        return lost

    def _encoded(self, pixels: bytes | None) -> bytes | None:
        """Features in place of pixels, each picture by itself: none has a say in those of another."""
        if not self._backbone or not pixels:
            return pixels
        torch.set_num_threads(1)  # of each thread
        square = np.frombuffer(pixels, np.uint8).reshape(1, self._size, self._size, 3).transpose(0, 3, 1, 2)
        return backbones.backbone(self._backbone).encode(square, self._size).tobytes()

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
        """Of decoded pictures: uint8 [N, 3, size, size], or features [N, D, 1, 1]; ``KeyError`` if one is not."""
        keys = [_key(picture.path) for picture in pictures]
        every = len(keys) > 1000
        find = "select name, pixels from pictures"
        rows = (
            self._run(find) if every else [row for key in keys for row in self._run(f"{find} where name = ?", (key,))]
        )
        held = {name: blob for name, blob in rows if blob}
        flat = b"".join(held[key] for key in keys)
        if self._backbone:
            return np.frombuffer(flat, np.uint8).reshape(len(keys), -1, 1, 1)
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


def _glanced(file: File, beside: Iterable[File]) -> tuple | None:
    try:
        payload = Path(file.real).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return ("", "", None, None, "", "", f"it cannot be read ({error.strerror})", 0)
    sidecars = {}
    for one in beside:
        with suppress(OSError), open(one.real, "rb") as other:
            sidecars[one.path] = other.read(SIDECAR)
    got = glance(payload, sidecars)
    days = " ".join(day.isoformat() for day in got.taken.dates)
    place = got.taken.place or (None, None)
    return (got.digest, days, *place, got.taken.date_doubt, got.taken.place_doubt, got.reason, got.bits)


def _decoded(path: str | Path, digest: str, size: int, bits: int) -> tuple[bytes | None, bytes, bytes, str]:
    """Pixels, thumbnail, hash, what is wrong; no pixels where that may be another the next time."""
    try:
        payload = Path(path).read_bytes()
    except OSError as error:
        return None, b"", b"", f"it cannot be read ({error.strerror})"
    if hashlib.sha256(payload).hexdigest() != digest:
        return None, b"", b"", "it changed while it was read"
    got = decode(payload, size, bits)
    return got.pixels, got.thumbnail, got.hash, got.reason

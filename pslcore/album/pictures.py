"""A folder of pictures as arrays: found, decoded once into a cache of ours, never written to.

HEIC is read where ``pillow-heif`` is installed.
"""

import hashlib
import io
import os
import sqlite3
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import ExifTags, Image, ImageOps

try:
    from pillow_heif import register_heif_opener  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    HEIC = False
else:
    register_heif_opener()
    HEIC = True

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif")
THUMBNAIL = 160
"""Pixels of a thumbnail's longer side."""

_TABLE = """create table if not exists pictures (
    name text primary key, size integer, mtime integer, ctime integer, digest text, pixels blob, thumbnail blob,
    dates text, lat real, lon real, reason text)"""
_AT_ONCE = 256


@dataclass(frozen=True)
class Picture:
    """A picture as it was when it was read.

    Attributes
    ----------
    path : str
        Below the album's folder, with ``/``.
    digest : str
        SHA-256 of the file.
    """

    path: str
    digest: str


@dataclass(frozen=True)
class Seen:
    """A picture, and what rules look at: the days its EXIF says it was taken on, and (latitude, longitude) in degrees.

    ``real`` is where a symbolic link leads to, or the path itself.
    """

    picture: Picture
    real: str
    dates: tuple[date, ...]
    place: tuple[float, float] | None


@dataclass(frozen=True)
class _Decoded:
    digest: str
    pixels: bytes
    thumbnail: bytes
    dates: tuple[date, ...] = ()
    place: tuple[float, float] | None = None
    reason: str = ""


def find(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """All files that could be pictures, and the others.

    Parameters
    ----------
    folder : path

    Returns
    -------
    (dict, dict)
        Path below ``folder`` to where it really lies; path to the reason why it is left out. Both sorted. A folder
        that can be reached in several ways (by links, in circles) is looked at once, by its own name if it has one.
    """
    found: dict[str, str] = {}
    left_out: dict[str, str] = {}
    visited: set[str] = set()
    todo: list[Path] = [folder]
    links: list[Path] = []
    while todo or links:
        here = todo.pop() if todo else links.pop()  # real folders first: rules go by a folder's own name
        real = os.path.realpath(here)
        if real in visited:
            continue
        visited.add(real)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            left_out[_name(here, folder)] = f"the folder cannot be opened ({error.strerror})"
            continue
        for entry in entries:
            path, name = Path(entry.path), _name(entry.path, folder)
            try:
                if entry.is_dir():
                    (links if entry.is_symlink() else todo).append(path)
                    continue
                regular = stat.S_ISREG(entry.stat().st_mode)
            except OSError as error:
                left_out[name] = f"it cannot be opened ({error.strerror})"
                continue
            reason = _strange(entry.name, regular)
            if reason:
                left_out[name] = reason
            else:
                found[name] = os.path.realpath(path)
    return dict(sorted(found.items())), dict(sorted(left_out.items()))


def _name(path: str | Path, folder: Path) -> str:
    return Path(path).relative_to(folder).as_posix().encode(errors="surrogateescape").decode(errors="replace")


def _strange(name: str, regular: bool) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if not regular:
        return "it is no regular file"
    suffix = os.path.splitext(name)[1].lower()
    if name.startswith(".") or suffix not in SUFFIXES:
        return "it is no JPEG, PNG, WebP or HEIC picture"
    if suffix in (".heic", ".heif") and not HEIC:
        return "HEIC needs the package pillow-heif"
    return ""


class Cache:
    """Small copies of all pictures in one file of ours, each read again only when its file has changed.

    Names are kept as hashes. It stays on this machine: it holds the protected pictures too.

    Parameters
    ----------
    path : path
        The database.
    size : int
        Pixels of a side of the squared training pictures.
    """

    def __init__(self, path: Path, size: int):
        self._size = size
        path.parent.mkdir(parents=True, exist_ok=True)
        self._base = sqlite3.connect(path.with_name(f"{path.stem}-{size}{path.suffix}"), check_same_thread=False)
        os.chmod(path.with_name(f"{path.stem}-{size}{path.suffix}"), 0o600)
        self._run(_TABLE)

    def close(self) -> None:
        self._base.close()

    def read(
        self, folder: Path, progress: Callable[[int, int], object] | None = None
    ) -> tuple[list[Seen], np.ndarray, dict[str, str]]:
        """The pictures of a folder as they are now.

        Parameters
        ----------
        folder : path
        progress : callable, optional
            Told how many of how many new files are read.

        Returns
        -------
        (list of Seen, uint8 array [N, 3, size, size], dict)
            The readable ones in the order of their paths, their pixels, and why the others are left out.

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
        self._add(folder, stale, keys, progress)
        for key in known.keys() - set(keys.values()):
            self._run("delete from pictures where name = ?", (key,))
        self._commit()
        rows = {
            row[0]: row[1:] for row in self._run("select name, digest, pixels, dates, lat, lon, reason from pictures")
        }
        seen, pixels = [], []
        for name, real in found.items():
            digest, square, dates, lat, lon, reason = rows.get(
                keys[name], ("", b"", "", None, None, "it went away while it was read")
            )
            if reason:
                left_out[name] = reason
                continue
            taken = tuple(date.fromisoformat(day) for day in dates.split())
            place = None if lat is None else (lat, lon)
            seen.append(Seen(Picture(name, digest), real, taken, place))
            pixels.append(np.frombuffer(square, np.uint8).reshape(self._size, self._size, 3))
        images = np.stack(pixels) if pixels else np.empty((0, self._size, self._size, 3), np.uint8)
        return seen, np.ascontiguousarray(images.transpose(0, 3, 1, 2)), dict(sorted(left_out.items()))

    def thumbnail(self, picture: Picture) -> bytes:
        """A JPEG of at most ``THUMBNAIL`` pixels a side, without any metadata; ``KeyError`` if it is not there."""
        rows = self._run("select thumbnail from pictures where name = ?", (_key(picture.path),)).fetchall()
        if not rows:
            raise KeyError(picture.path)
        return rows[0][0]

    def _add(self, folder: Path, names: list[str], keys: dict[str, str], progress) -> None:
        jobs = Parallel(n_jobs=min(8, os.cpu_count() or 1), prefer="threads", return_as="generator")
        done = 0
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            for name, row in zip(part, jobs(delayed(_row)(folder / name, self._size) for name in part), strict=True):
                if row is not None:
                    self._run("insert or replace into pictures values (?,?,?,?,?,?,?,?,?,?,?)", (keys[name], *row))
            self._commit()
            done += len(part)
            if progress is not None:
                progress(done, len(names))

    def _run(self, command: str, values: Iterable[object] = ()) -> sqlite3.Cursor:
        try:
            return self._base.execute(command, tuple(values))
        except sqlite3.Error as error:
            self._base.rollback()
            raise _unwritten(error) from error

    def _commit(self) -> None:
        try:
            self._base.commit()
        except sqlite3.Error as error:
            self._base.rollback()
            raise _unwritten(error) from error


def _unwritten(error: sqlite3.Error) -> OSError:
    return OSError(f"the cache of thumbnails could not be written ({error}): free some space or remove it.")


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file; ``OSError`` if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _row(path: Path, size: int) -> tuple | None:
    try:
        held = path.stat()
        payload = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return (*(held.st_size, held.st_mtime_ns, held.st_ctime_ns), "", b"", b"", "", None, None,
                f"it cannot be read ({error.strerror})")  # fmt: skip
    got = _decode(payload, size)
    lat, lon = got.place or (None, None)
    dates = " ".join(day.isoformat() for day in got.dates)
    return (held.st_size, held.st_mtime_ns, held.st_ctime_ns, got.digest, got.pixels, got.thumbnail, dates, lat, lon,
            got.reason)  # fmt: skip


def _decode(payload: bytes, size: int) -> _Decoded:
    """Pixels, thumbnail and what its EXIF says; of a file that is no whole picture only the reason."""
    digest = hashlib.sha256(payload).hexdigest()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(payload)) as file:
                dates, place = _taken(file)
                file.draft("RGB", (max(THUMBNAIL, size),) * 2)
                picture = _upright(_eight_bits(file))
    except Exception as error:  # Pillow's readers raise whatever they meet in damaged bytes
        return _Decoded(digest, b"", b"", reason=f"it is damaged or too large ({type(error).__name__})")
    view = picture.copy()
    view.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    large = view if min(view.size) >= 2 * size else picture
    square = ImageOps.fit(large, (size, size), Image.Resampling.BICUBIC)
    small = io.BytesIO()
    Image.fromarray(np.asarray(view)).save(small, "JPEG", quality=80)  # a new picture: no metadata comes along
    return _Decoded(digest, square.tobytes(), small.getvalue(), dates, place)


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # strange EXIF: as it lies
        return picture


def _eight_bits(file: Image.Image) -> Image.Image:
    """RGB of any mode; 16 bits are brought to 8, what shines through lies on white. Keeps the EXIF."""
    exif = file.info.get("exif")
    if file.mode.startswith("I") or file.mode == "F":
        values = np.nan_to_num(np.asarray(file).astype(np.float64))
        most = 255 if values.max(initial=0) <= 255 else max(65535, values.max())
        picture = Image.fromarray(np.clip(values * 255 / most, 0, 255).astype(np.uint8)).convert("RGB")
    elif file.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in file.info:
        above = file.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
    else:
        picture = file.convert("RGB")
    if exif is not None:
        picture.info["exif"] = exif
    return picture


def _taken(file: Image.Image) -> tuple[tuple[date, ...], tuple[float, float] | None]:
    """When and where a picture was taken, as far as its EXIF says it in a way that can be read."""
    try:
        exif = file.getexif()
        return tuple(_days(exif.get_ifd(ExifTags.IFD.Exif))), _place(exif.get_ifd(ExifTags.IFD.GPSInfo))
    except Exception:  # unreadable: nothing is known, which protects where a rule asks for it
        return (), None


def _days(tags: dict) -> Iterator[date]:
    # Not the plain DateTime: that is when somebody last changed the file.
    for tag in (ExifTags.Base.DateTimeOriginal, ExifTags.Base.DateTimeDigitized):
        with suppress(KeyError, ValueError, TypeError):
            yield datetime.strptime(str(tags[tag])[:10], "%Y:%m:%d").date()


def _place(tags: dict) -> tuple[float, float] | None:
    try:
        values = []
        for reference, angle, most in ((1, 2, 90), (3, 4, 180)):
            degrees, minutes, seconds = (float(part) for part in tags[angle])
            side = str(tags[reference]).strip("\0 ").upper()
            value = degrees + minutes / 60 + seconds / 3600
            if side not in ("N", "S", "E", "W") or not 0 <= value <= most:
                return None
            values.append(-value if side in "SW" else value)
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        return None
    return None if values == [0.0, 0.0] else (values[0], values[1])  # 0, 0 is what a camera writes that does not know

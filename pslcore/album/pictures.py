"""Files that are pictures: found in a folder, glanced at (content, EXIF), decoded. HEIC where ``pillow-heif`` is."""

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from pslcore.data import as_rgb

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

    ``real`` is where a symbolic link leads to, or the path itself: below the album's folder, or absolute where it leads
    out of that.
    """

    picture: Picture
    real: str
    dates: tuple[date, ...]
    place: tuple[float, float] | None


@dataclass(frozen=True)
class Glance:
    """What a file tells without being decoded; ``reason`` is why it is left out, if it is."""

    digest: str
    dates: tuple[date, ...] = ()
    place: tuple[float, float] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Decoded:
    """A picture squared to [size, size, 3] bytes, and a small JPEG without metadata; or why there is none."""

    pixels: bytes = b""
    thumbnail: bytes = b""
    reason: str = ""


def find(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """All files that could be pictures, and the others.

    Parameters
    ----------
    folder : path

    Returns
    -------
    (dict, dict)
        Path below ``folder`` to where it really lies (below ``folder``, or absolute if a link leads out of it); path
        to the reason why it is left out. Both sorted. A folder that can be reached in several ways (by links, in
        circles) is looked at once, by its own name if it has one.
    """
    found: dict[str, str] = {}
    left_out: dict[str, str] = {}
    visited: set[str] = set()
    root = os.path.realpath(folder)
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
                there = os.path.realpath(path)
                found[name] = _name(there, Path(root)) if Path(there).is_relative_to(root) else there
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


def digest_of(path: Path) -> str:
    """SHA-256 of a file; ``OSError`` if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def glance(payload: bytes) -> Glance:
    """Digest and EXIF of a file's bytes."""
    digest = hashlib.sha256(payload).hexdigest()
    try:
        with _opened(payload) as file:
            dates, place = _taken(file)
    except Exception as error:  # Pillow's readers raise whatever they meet in damaged bytes
        return Glance(digest, reason=_damaged(error))
    return Glance(digest, dates, place)


def decode(payload: bytes, size: int) -> Decoded:
    """The same file's pixels, for networks and for the screen."""
    try:
        with _opened(payload) as file:
            file.draft("RGB", (max(THUMBNAIL, size),) * 2)
            picture = as_rgb(file)
    except Exception as error:
        return Decoded(reason=_damaged(error))
    view = picture.copy()
    view.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    large = view if min(view.size) >= 2 * size else picture
    square = ImageOps.fit(large, (size, size), Image.Resampling.BICUBIC)
    small = io.BytesIO()
    Image.fromarray(np.asarray(view)).save(small, "JPEG", quality=80)  # a new picture: no metadata comes along
    return Decoded(square.tobytes(), small.getvalue())


@contextmanager
def _opened(payload: bytes) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(payload)) as file:
            yield file


def _damaged(error: Exception) -> str:
    return f"it is damaged or too large ({type(error).__name__})"


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

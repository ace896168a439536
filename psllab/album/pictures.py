"""Files that are pictures: glanced at (content, EXIF), decoded. HEIC where ``pillow-heif`` is."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from psllab.album.copies import perceptual
from psllab.album.taken import Taken, taken
from psllab.extend.depth import Range
from psllab.extend.pictures import as_rgb, formats, range_of, silence_pillow

try:
    from pillow_heif import register_heif_opener  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    HEIC = False
else:
    register_heif_opener()
    HEIC = True

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif")
_JPEG, _END = b"\xff\xd8", b"\xff\xd9"
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
    """A picture, and what rules look at: the routes that lead to it (see ``walk.File``), when and where it was taken.

    ``hidden`` is one that is left out, with its folder or by itself: rules may name it, and then copies of it are
    protected; nothing else is done with it.
    """

    picture: Picture
    routes: tuple[str, ...]
    taken: Taken = field(default_factory=Taken)
    hidden: bool = False


@dataclass(frozen=True)
class Glance:
    """What a file tells without being shown; ``reason`` is why it is left out, if it is. ``bits`` are those that its
    values need, of one with more than 8 bits a value; else 0."""

    digest: str
    bits: int = 0
    taken: Taken = field(default_factory=Taken)
    reason: str = ""


@dataclass(frozen=True)
class Decoded:
    """A picture squared to [size, size, 3] bytes, a small JPEG without metadata, its perceptual hash; or why not.

    Of a JPEG that ends too early there are the last two as well, so that whole copies of it are recognised.
    """

    pixels: bytes = b""
    thumbnail: bytes = b""
    hash: bytes = b""
    reason: str = ""


def strange(name: str) -> str:
    """Why a file of this name is left out; nothing, if it may be a picture."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in SUFFIXES:
        return "it is no JPEG, PNG, WebP or HEIC picture"
    if suffix in (".heic", ".heif") and not HEIC:
        return "HEIC needs the package pillow-heif"
    return ""


def digest_of(path: Path) -> str:
    """SHA-256 of a file; ``OSError`` if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def glance(payload: bytes, beside: dict[str, bytes] | None = None) -> Glance:
    """Digest of a file's bytes, when and where it was taken; ``beside``: name and content of its sidecar files."""
    digest = hashlib.sha256(payload).hexdigest()
    try:
        with _opened(payload) as file:
            deep = range_of(file)  # before its EXIF is read, which may load it
            return Glance(digest, deep.bits if deep else 0, taken(file, beside))
    except Exception as error:  # Pillow's readers raise whatever they meet in damaged bytes
        return Glance(digest, reason=_damaged(error))


def opened(payload: bytes, side: int, bits: int = 0) -> Image.Image:
    """A file's picture, upright, RGB, without metadata, not much larger than ``side`` where that saves time.

    ``bits`` are the most that a picture of the folder needs: all of more than 8 bits are brought to 8 by them. Nothing
    else of a picture, protected or not, has a say in how another one is shown.
    """

    def among(own: Range) -> Range:
        whole = bits and own.whole and own.low >= 0
        return Range(pictures=1, low=0.0, high=float((1 << bits) - 1), whole=True) if whole else own

    with _opened(payload) as file:
        file.draft("RGB", (side, side))
        return Image.fromarray(np.asarray(as_rgb(file, among)))  # a new picture: no metadata comes along


def decode(payload: bytes, size: int, bits: int = 0) -> Decoded:
    """The same file's pixels, for networks and for the screen; ``bits`` as for ``opened``."""
    try:
        picture = opened(payload, max(THUMBNAIL, size), bits)
    except Exception as error:
        whole = Decoded()
        if payload.startswith(_JPEG) and not payload.endswith(_END):
            whole = decode(payload + _END, size, bits)
        return Decoded(thumbnail=whole.thumbnail, hash=whole.hash, reason=_damaged(error))
    view = picture.copy()
    view.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    large = view if min(view.size) >= 2 * size else picture
    square = ImageOps.fit(large, (size, size), Image.Resampling.BICUBIC)
    small = io.BytesIO()
    view.save(small, "JPEG", quality=80)
    return Decoded(square.tobytes(), small.getvalue(), perceptual(view))


@contextmanager
def _opened(payload: bytes) -> Iterator[Image.Image]:
    silence_pillow()
    with Image.open(io.BytesIO(payload), formats=formats()) as file:
        yield file


def _damaged(error: Exception) -> str:
    return f"it is damaged or too large ({type(error).__name__})"

"""Near copies of protected pictures: resized, re-encoded, cropped a little, turned or mirrored.

A picture is known by a perceptual hash: which of its 256 lowest frequencies are above their median (Zauner 2010; the
same bits as ``phash`` of the library ImageHash gives). A protected one is hashed in several views, so that a copy that
lacks a twentieth at any side is found as well.
"""

import io
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn

from psllab.album.store import Store

BITS = 256
NEAR = 48
"""Bits that may differ. Of 4,000 real strangers the closest differs in 74; see docs/album.md."""

_CUT, _SIDE = 0.05, 64
_ROWS = 512


def perceptual(picture: Image.Image) -> bytes:
    """The hash of a picture, 32 bytes."""
    return _hashes(np.asarray(picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))[None])


def views(thumbnail: bytes) -> bytes:
    """Hashes of a protected picture, one after the other: whole, mirrored and turned, cut at each side."""
    with Image.open(io.BytesIO(thumbnail)) as file:
        grey = file.convert("L")
    width, height = grey.size
    ends = [(start, start + 1 - _CUT) for start in (0.0, _CUT / 2, _CUT)]
    boxes = [(0.0, 0.0, 1.0, 1.0), *((left, top, right, low) for left, right in ends for top, low in ends)]
    small = [
        np.asarray(
            grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS, (x * width, y * height, r * width, b * height))
        )
        for x, y, r, b in boxes
    ]
    turned = [turn for quarter in range(4) for turn in (np.rot90(small[0], quarter), np.rot90(small[0].T, quarter))]
    return _hashes(np.stack([*turned, *small[1:]]))


def _hashes(small: np.ndarray) -> bytes:
    low = dctn(small.astype(np.float64), axes=(1, 2))[:, :16, :16].reshape(len(small), BITS)
    return np.packbits(low > np.median(low, 1, keepdims=True)).tobytes()


class Copies(Store):
    """Views of everything that was ever protected, and which pictures are near to one; kept in a file of ours.

    Parameters
    ----------
    path : path
        The database.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        # autoincrement: no serial is given twice, so what was compared up to one stays true when rows go
        serial = "serial integer primary key autoincrement"
        self._run(f"create table if not exists protected ({serial}, digest text unique, views blob)")
        self._run("create table if not exists compared (digest text primary key, near text, serial integer)")

    def known(self) -> set[str]:
        """Digests of the pictures whose views are kept."""
        return {digest for (digest,) in self._run("select digest from protected")}

    def add(self, thumbnails: Iterable[tuple[str, bytes]]) -> None:
        """Keep the views of protected pictures, by digest."""
        for digest, thumbnail in thumbnails:
            self._run("insert or ignore into protected (digest, views) values (?,?)", (digest, views(thumbnail)))
        self._commit()

    def take(self, path: Path) -> None:
        """Keep what another album's file of views holds as well; one that cannot be read adds nothing."""
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as other:
            for row in other.execute("select digest, views from protected"):
                self._run("insert or ignore into protected (digest, views) values (?,?)", row)
        self._commit()

    def forget(self, digests: Iterable[str]) -> None:
        """Of pictures that were released: what resembles them is compared anew."""
        for digest in digests:
            self._run("delete from protected where digest = ?", (digest,))
            self._run("delete from compared where near = ?", (digest,))
        self._commit()

    def near(self, hashes: Mapping[str, bytes]) -> dict[str, str]:
        """Of pictures by digest and hash: digest of each near copy to that of the protected picture it is near to.

        Each pair is compared once: what was found is kept.
        """
        rows = self._run("select serial, digest, views from protected order by serial")
        done = {
            digest: (near, serial) for digest, near, serial in self._run("select digest, near, serial from compared")
        }
        last = rows[-1][0] if rows else 0
        found = {digest: near for digest in hashes if (near := done.get(digest, ("", 0))[0])}
        todo = [digest for digest in hashes if digest not in found and done.get(digest, ("", 0))[1] < last]
        if not todo:
            return found
        start = min(done.get(digest, ("", 0))[1] for digest in todo)
        rows = [row for row in rows if row[0] > start]
        owner = np.repeat(np.arange(len(rows)), [len(row[2]) // (BITS // 8) for row in rows])
        kept = _words(b"".join(row[2] for row in rows))
        for at in range(0, len(todo), _ROWS):
            part = todo[at : at + _ROWS]
            for digest, view in zip(part, _nearest(_words(b"".join(hashes[one] for one in part)), kept), strict=True):
                if view >= 0:
                    found[digest] = rows[owner[view]][1]
                self._run("insert or replace into compared values (?,?,?)", (digest, found.get(digest, ""), last))
        self._commit()
        return found


def _words(hashes: bytes) -> np.ndarray:
    return np.frombuffer(hashes, np.uint64).reshape(-1, BITS // 64).T.copy()


def _nearest(asked: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Of words [4, N] and [4, M]: for each of the N the first of the M within ``NEAR`` bits that is closest, or -1."""
    found, best = np.full(asked.shape[1], -1), np.full(asked.shape[1], NEAR + 1)
    for at in range(0, kept.shape[1], 1 << 14):
        part = kept[:, at : at + (1 << 14)]
        apart = np.zeros((asked.shape[1], part.shape[1]), np.uint16)
        for one, other in zip(asked, part, strict=True):
            apart += np.bitwise_count(one[:, None] ^ other[None, :])
        closest = apart.argmin(1)
        distance = apart[np.arange(len(closest)), closest]
        better = distance < best
        found[better], best[better] = closest[better] + at, distance[better]
    return found

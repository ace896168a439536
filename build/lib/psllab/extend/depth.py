"""Pictures of more than 8 bits, brought to 8 by one rule for all of a set: it goes by the range of all their values.

Microscopes, X-ray machines and thermal cameras write 10, 12 or 14 bits into 16, signed numbers, or floats. Brought to
8 bits picture by picture, a dark picture and a bright one come out alike.
"""

import io
import sys
from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
from PIL import Image

from pslcore.data.arrays import Array, Bytes
from pslcore.settings import Settings

_BITS = (8, 10, 12, 14, 16, 24, 32)
"""What devices have."""
_OTHER = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}
"""How Pillow reads the upper byte of 16 bits, and how it then reads the lower one."""


class Range(Settings):
    """Of the values of pictures of more than 8 bits: the lowest, the highest, and whether all are whole numbers."""

    pictures: int
    low: float
    high: float
    whole: bool

    @classmethod
    def of_values(cls, values: Array) -> "Range":
        """Of one picture; what is no finite number does not count."""
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        finite = finite if finite.size else np.zeros(1)
        whole = finite.dtype.kind != "f" or bool((finite == np.floor(finite)).all())
        return cls(pictures=1, low=float(finite.min()), high=float(finite.max()), whole=whole)

    @staticmethod
    def together(ranges: Iterable["Range"]) -> "Range | None":
        """Of all; None of nothing."""

        def both(one: Range, other: Range) -> Range:
            return Range(
                pictures=one.pictures + other.pictures, low=min(one.low, other.low), high=max(one.high, other.high),
                whole=one.whole and other.whole,
            )  # fmt: skip

        return reduce(both, held) if (held := list(ranges)) else None

    @property
    def bits(self) -> int:
        """How many the values are taken to have: the fewest of 8, 10, 12, 14, 16, 24 and 32 that hold them; 0 of
        others than whole numbers from 0, and where 0 and 1 are all."""
        fits = self.whole and self.low >= 0 and self.high > 1
        return next((bits for bits in _BITS if self.high < 1 << bits), 0) if fits else 0

    @property
    def ends(self) -> tuple[float, float]:
        """What becomes 0 and what becomes 255."""
        if self.bits:
            return 0.0, float((1 << self.bits) - 1)
        if 0 <= self.low <= self.high <= 1:
            return 0.0, 1.0
        return self.low, self.high if self.high > self.low else self.low + max(1.0, abs(self.low))

    def brought(self, values: Array) -> Bytes:
        """The values as 8 bits; what is no number is black."""
        black, white = self.ends
        values = np.nan_to_num(values.astype(np.float64), nan=black, posinf=white, neginf=black)
        return np.clip((values - black) * 255 / (white - black), 0, 255).astype(np.uint8)

    def __str__(self) -> str:
        taken = f"taken as {self.bits} bits, so " if self.bits else ""
        black, white = self.ends
        return (
            f"{self.pictures:,} pictures of more than 8 bits hold values from {self.low:,g} to {self.high:,g}: {taken}"
            f"{black:,g} became 0 and {white:,g} became 255 in all of them."
        )


def deep(file: Image.Image) -> bool:
    """Whether a picture that was opened, and not loaded yet, has more than 8 bits a value."""
    return file.mode.startswith(("I", "F")) or bool(_swapped(file))


def colours(mode: str, values: Array) -> Array:
    """Without the transparency, where the mode of the picture has one."""
    return values[..., :-1] if mode[-1] in "Aa" else values


def values(file: Image.Image) -> Array:
    """Of a ``deep`` picture that is not loaded yet, [H, W] or [H, W, bands]."""
    swapped, tags = _swapped(file), getattr(file, "tag_v2", {})
    if not swapped:
        held = np.asarray(file)
        if file.mode == "I" and tags.get(258) == (32,) and tags.get(339, (1,)) == (1,):
            held = held.view(np.uint32)  # Pillow has signed ones alone
        return held
    stream = file.fp  # type: ignore[attr-defined]
    stream.seek(0)
    payload = stream.read()
    upper, lower = (_read(payload, file.format, tiles) for tiles in (file.tile, swapped))  # type: ignore[attr-defined]
    if lower.shape[-1] == 4 and _raw(swapped[0]) == "RGBA":
        lower = lower[..., [1, 1, 1, 3]]
    return upper << 8 | lower


def white_is_low(file: Image.Image) -> bool:
    """Whether a ``deep`` picture has its values the other way round, as X-rays in TIFF have; Pillow leaves them so."""
    return not file.mode.startswith(("RGB", "CMYK")) and getattr(file, "tag_v2", {}).get(262) == 0


def _read(payload: bytes, kind: str | None, tiles: list) -> Array:
    with Image.open(io.BytesIO(payload), formats=[kind or ""]) as file:
        file.tile = tiles  # type: ignore[attr-defined]
        return np.asarray(file).astype(np.uint16)


def _raw(tile: Any) -> str:
    """How Pillow is to read the bytes of a tile."""
    return str(tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0])


def _swapped(file: Image.Image) -> list:
    """Tiles that give the lower bytes of a picture whose colours have 16 bits, of which Pillow gives the upper ones.

    Nothing of any other picture. Grey with transparency comes with both bytes of both.
    """
    tiles = []
    for tile in () if file.mode.startswith("I") else getattr(file, "tile", ()):
        raw = _raw(tile)
        if tile.codec_name not in ("zip", "raw", "libtiff") or raw[-4:] not in _OTHER:
            return []
        raw = "RGBA" if raw == "LA;16B" else raw[:-4] + _OTHER[raw[-4:]]
        tiles.append(tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:])))
    return tiles

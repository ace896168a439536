"""Folders of pictures: finding them, and reading one of them or one sentence about it; shared by those data sets."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pslcore.data.arrays import Array, Bytes
from pslcore.losses import VOID

Size = tuple[int, int]
"""Height and width."""
UNKNOWN = 254
"""In a table of labels: this number must not appear in a picture."""


@dataclass(frozen=True)
class Source:
    """What a reader found in a folder of pictures.

    Attributes
    ----------
    base : path
        The folder that everything lies in.
    train, test : lists of (path, int) or (path, path)
        Each picture with its class, or with the grey picture of its pixels' labels.
    classes : list of str
    note : str
    table : uint8 array, [256], optional
        For pixel labels: from the number in the picture to the class, ``VOID`` or ``UNKNOWN``.
    """

    base: Path
    train: Sequence[tuple[Path, int | Path]]
    test: Sequence[tuple[Path, int | Path]]
    classes: list[str]
    note: str = ""
    table: Bytes | None = None


def table_of(classes: dict[int, int], known: int) -> Bytes:
    """A table of labels: ``classes`` maps a number to its class, the other numbers below ``known`` are void."""
    table = np.full(256, UNKNOWN, dtype=np.uint8)
    table[:known] = VOID
    table[list(classes)] = list(classes.values())
    return table


# Finding


def names(folder: Path, again: str) -> list[str]:
    """Names of the pictures in a folder; shorter names first, so that number 2 comes before number 10."""
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} is missing: {again}")
    endings = (".jpeg", ".jpg", ".png")
    return sorted((name for name in os.listdir(folder) if name.lower().endswith(endings)), key=lambda n: (len(n), n))


def counts_note(train: Sequence, test: Sequence, official: tuple[int, int]) -> str:
    """A sentence where the numbers of pictures are not the official ones."""
    if (len(train), len(test)) == official:
        return ""
    told = [f"{ours:,} training and {theirs:,} test" for ours, theirs in ((len(train), len(test)), official)]
    return f" It holds {told[0]} pictures where the official set holds {told[1]}."


def lines(path: Path, again: str) -> list[str]:
    """The lines of a list that comes with the pictures, but for empty ones."""
    expect(path, again)
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged, it cannot be read as text ({error}): {again}") from error


def expect(path: Path, again: str, why: str = "", there: bool | None = None) -> Path:
    """The file or folder, if it is there (which ``there`` may know already); else a sentence."""
    if not (path.exists() if there is None else there):
        raise FileNotFoundError(f"{path} is missing{why}: {again}")
    return path


# Reading


def _decode(path: Path, mode: str | None = None) -> Array:
    """The pixels of a picture, [H, W, 3] in mode RGB; without a mode it must be grey and gives [H, W]."""
    try:
        with Image.open(path) as picture:
            colours = mode is None and picture.mode not in ("L", "P")
            pixels = np.asarray(picture.convert(mode) if mode else picture)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: copy or download it again.") from None
    except Exception as error:  # PIL raises half a dozen kinds of error for files that are damaged
        raise ValueError(f"{path} is damaged or cut short ({error}): copy or download it again.") from error
    if colours:
        raise ValueError(f"{path} is no grey picture of 8 bits: pictures of labels must hold one number a pixel.")
    return pixels


def size(path: Path) -> Size:
    """Height and width of a picture."""
    height, width, _ = _decode(path, "RGB").shape
    return height, width


def image(path: Path, full: Size, size: Size | None) -> Bytes:
    """A colour picture of height and width ``full``, uint8 [H, W, 3], brought to ``size``, bilinear."""
    return _fitted(path, _decode(path, "RGB"), full, size, Image.Resampling.BILINEAR)


def pixel_labels(path: Path, full: Size, size: Size | None, table: Bytes) -> Bytes:
    """Classes of the pixels, uint8 [H, W], by a ``table`` of what numbers a grey picture may hold."""
    numbers = _decode(path)
    classes = table[numbers]
    if (classes == UNKNOWN).any():
        known = np.flatnonzero(table != UNKNOWN)
        told = f"{path} holds the label {numbers[classes == UNKNOWN][0]}, which is outside the table of labels"
        raise ValueError(f"{told} ({known[0]} to {known[-1]}): take the label pictures of the original data set.")
    return _fitted(path, classes, full, size, Image.Resampling.NEAREST)


def _fitted(path: Path, pixels: Bytes, full: Size, size: Size | None, resampling: Image.Resampling) -> Bytes:
    """The pixels at the wanted size, where the picture has the size of all others."""
    if pixels.shape[:2] != full:
        told = f"{path} has {pixels.shape[1]}x{pixels.shape[0]} pixels where the first picture has {full[1]}x{full[0]}"
        raise ValueError(f"{told}: all pictures, and those of their labels, must have the same size.")
    return pixels if size is None else np.asarray(Image.fromarray(pixels).resize(size[::-1], resampling))

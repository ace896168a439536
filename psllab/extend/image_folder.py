"""A folder of images: ``train/<class>/…`` and ``test/<class>/…``, or ``images/`` with a table in CSV.

Without ``test`` the folder ``val`` is the test split. Pictures may lie in folders below that of their class. The table
has the columns ``file`` (below ``images/``), ``label`` and ``split`` (train or test). Whatever Pillow reads is read:
of an animation the first frame, upright as its EXIF has it, 16 bits brought to 8, grey and see-through ones as RGB (on
white). What cannot be read is left out, and listed with the reason.

All are brought to one size. Without a size after an ``@`` it is theirs, if nine in ten of 1,000 of them that lie evenly
over the list have one and the same, of at most 256 pixels a side; else 64x64. A picture of another size fills the
frame, and what stands over at two sides is cut off.

``packed`` tells where the arrays go; here a run that was killed is gone on with, and ``train-files.txt`` and
``test-files.txt`` beside the arrays name the picture of each row.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from pslcore.data import packed
from pslcore.data.arrays import Bytes, Parts
from pslcore.data.packed import Entry, Index
from pslcore.data.splits import SPLITS
from psllab.extend import pictures, resumable
from psllab.extend.depth import Range
from psllab.extend.image_folder_scan import Tree, find, form
from psllab.extend.resumable import Rows

ONE_SIZE = 0.9
"""So many of the pictures looked at must have the size that all are given."""
LARGEST = 256
"""Pixels a side; larger ones are reduced unless somebody asks for them."""
USUAL = (64, 64)
"""Height and width where the pictures have no size in common."""

_LOOKED_AT, _AT_ONCE = 1000, 256


def present(base: Path) -> bool:
    """Whether somebody meant this folder to be a tree of pictures."""
    return bool(form(base))


def packed_folder(root: Path, name: str, size: tuple[int, int] | None) -> Path:
    """Where its arrays lie once they are packed."""
    return root / name / ("packed" if size is None else f"packed@{size[0]}x{size[1]}")


def read(root: Path, name: str, size: tuple[int, int] | None = None) -> Parts:
    """The set as ``load`` wants it, from its packed arrays, which are made first where the tree is new or has changed.

    Raises
    ------
    ValueError, FileNotFoundError
        In one sentence, if a split has no picture at all, or the table is not what it should be.
    OSError
        If the disk is too small.
    """
    folder = packed_folder(root, name, size)
    if present(root / name):
        tree = find(root / name)
        packed.bring_up_to_date(folder, tree.signature, lambda _: _pack(tree, folder, size))
    return packed.opened(folder)


# Reading one picture


def _size(path: Path) -> tuple[int, int] | None:
    """Height and width as the picture lies, or None."""
    try:
        with Image.open(path, formats=pictures.formats()) as file:
            return pictures.upright_size(file)
    except Exception:  # whatever it is, it is reported when the picture is read
        return None


def decode(
    path: Path, size: tuple[int, int], among: Callable[[Range], Range] | None = None
) -> tuple[Bytes, tuple[int, int]] | str:
    """The picture as uint8 [3, H, W] and the height and width that it had, or why it cannot be had; ``among`` as of
    ``pictures.as_rgb``."""
    try:
        with Image.open(path, formats=pictures.formats()) as file:
            lying = file.size
            file.draft("RGB", (2 * max(size),) * 2)
            reduced = file.size != lying
            picture = pictures.as_rgb(file, among)
            full = pictures.upright_size(file, lying) if reduced else picture.size[::-1]
    except FileNotFoundError:
        return "it went away while it was read"
    except Image.DecompressionBombError:
        return "it is too large (a decompression bomb?)"
    except (Exception, MemoryError) as error:  # Pillow's readers raise whatever they meet in damaged bytes
        return f"it is damaged ({type(error).__name__})"
    if picture.size != size[::-1]:
        picture = ImageOps.fit(picture, size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(picture).transpose(2, 0, 1), full


class _Depth:
    """The range of all pictures of a tree that have more than 8 bits, looked for when the first of them is met."""

    def __init__(self, tree: Tree, name: str, known: Range | None):
        self._tree, self._name, self._lock, self.known = tree, name, Lock(), known

    def __call__(self, own: Range) -> Range:
        with self._lock:
            if self.known is None:
                paths = [self._tree.base / path for split in SPLITS for path, _ in self._tree.files[split]]
                with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
                    title = f"looking for the range of {self._name}"
                    found = tqdm(pool.map(_range, paths), title, len(paths), unit="picture", mininterval=1)
                    self.known = Range.together(one for one in found if one)
            return self.known or own


def _range(path: Path) -> Range | None:
    try:
        with Image.open(path, formats=pictures.formats()) as file:
            return pictures.range_of(file)
    except (Exception, MemoryError):  # it is reported when the picture is read
        return None


def common_size(tree: Tree) -> tuple[int, int]:
    """Height and width by the rule above."""
    paths = [path for split in SPLITS for path, _ in tree.files[split]]
    looked_at = paths[:: -(-len(paths) // _LOOKED_AT)]
    sizes = Counter(size for path in looked_at if (size := _size(tree.base / path)))
    size, count = min(sizes.items(), key=lambda row: (-row[1], row[0]), default=(USUAL, 0))
    alike = count >= ONE_SIZE * sizes.total() > 0 and max(size) <= LARGEST
    return size if alike else USUAL


# Packing


def _pack(tree: Tree, folder: Path, size: tuple[int, int] | None) -> None:
    pictures.silence_pillow()
    height, width = size or common_size(tree)
    needed = height * width * 3 * sum(map(len, tree.files.values()))
    packed.install(
        folder, lambda part: _fill(part, tree, (height, width), folder.parent.name), needed, (height, width), True
    )


def _fill(part: Path, tree: Tree, size: tuple[int, int], name: str) -> None:
    """Write all arrays and then the index, from where an interrupted call stopped."""

    def read_one(one: tuple[str, int]) -> tuple[Bytes, tuple[int, int]] | str:
        return decode(tree.base / one[0], size, depth)

    fresh = {"arrays": {}, "left_out": dict(tree.left_out), "sizes": {}, "done": {}, "rows": 0}
    kept = resumable.progress(part, {"source": tree.signature, "size": list(size)}, fresh)
    depth = _Depth(tree, name, Range.of(kept["depth"]) if kept.get("depth") else None)
    left_out, sizes = kept["left_out"], Counter(kept["sizes"])

    def blocks(files: list[tuple[str, int]]) -> Iterator[tuple[int, Rows]]:
        todo = iter(files)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            while some := list(islice(todo, _AT_ONCE)):
                rows = []
                for (path, label), found in zip(some, pool.map(read_one, some), strict=True):
                    if isinstance(found, str):
                        left_out[path] = found
                        continue
                    rows.append((found[0], label))
                    sizes["{}x{}".format(*found[1])] += 1
                yield len(some), rows

    def state() -> dict[str, Any]:
        return {"sizes": dict(sizes), "depth": depth.known and depth.known.model_dump()}

    for split in SPLITS:
        files, done = tree.files[split], kept["done"].get(split, 0)
        if f"{split}-labels" in kept["arrays"]:
            continue
        todo = range(done, len(files))
        title = f"packing {name} {split}"
        if not resumable.fill(part, kept, split, todo, (3, *size), blocks(files[done:]), title, state):
            path = next(iter(left_out))
            raise ValueError(
                f"none of {len(files):,} pictures of {tree.base / split} can be read ({path}: {left_out[path]})."
            )
    for split in SPLITS:
        names = [f"{path}\n" for path, _ in tree.files[split] if path not in left_out]
        packed.write(part / f"{split}-files.txt", "".join(names))
    index = Index(
        source=tree.signature, classes=tree.classes, note=_note(sizes, size, len(left_out), depth.known),
        left_out=left_out, sizes=dict(sizes), deep=kept.get("depth"),
        arrays={what: Entry.of(entry) for what, entry in kept["arrays"].items()},
    )  # fmt: skip
    resumable.finish(part, index)


def _note(sizes: Counter, size: tuple[int, int], left_out: int, deep: Range | None) -> str:
    height, width = size
    alike = set(sizes) == {f"{height}x{width}"}
    sentences = [] if alike else [f"Pictures of {len(sizes):,} sizes brought to {height}x{width}."]
    if left_out:
        sentences.append(f"{left_out:,} files left out.")
    return " ".join([*sentences, f"{deep}"] if deep else sentences)

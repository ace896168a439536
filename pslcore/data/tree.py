"""Anybody's folder of pictures: ``train/<class>/…`` and ``test/<class>/…``, or ``images/`` with a table in CSV.

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

import csv
import json
import os
import stat
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from time import monotonic

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from pslcore.data import packed, pictures
from pslcore.data.arrays import Bytes, Parts
from pslcore.data.packed import Entry, Index, Writer
from pslcore.losses import VOID

SPLITS = ("train", "test")
ONE_SIZE = 0.9
"""So many of the pictures looked at must have the size that all are given."""
LARGEST = 256
"""Pixels a side; larger ones are reduced unless somebody asks for them."""
USUAL = (64, 64)
"""Height and width where the pictures have no size in common."""

_FORMAT = 1
_LOOKED_AT, _AT_ONCE = 1000, 256
_KEPT_EVERY = 20.0
"""Seconds after which a killed run loses nothing that came before."""


@dataclass(frozen=True)
class Tree:
    """What lies in a folder.

    Attributes
    ----------
    base : path
    files : dict
        Of each split (path below ``base``, class) in the order of the rows.
    classes : list of str
    left_out : dict
        Path below ``base`` to the reason.
    signature : str
        SHA-256 over names, sizes and times of all files, and over the classes.
    """

    base: Path
    files: dict[str, list[tuple[str, int]]]
    classes: list[str]
    left_out: dict[str, str]
    signature: str


def present(base: Path) -> bool:
    """Whether somebody meant this folder to be a tree of pictures."""
    return (base / "train").is_dir() or (base / "images").is_dir()


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


# Finding


def find(base: Path) -> Tree:
    """All pictures of a tree; nothing is opened but the table.

    Raises
    ------
    ValueError, FileNotFoundError
        As ``read``.
    """
    left_out: dict[str, str] = {}
    held: dict[str, tuple[int, int]] = {}
    table = not (base / "train").is_dir()
    files, classes = (_listed if table else _sorted)(base, held, left_out)
    for split in SPLITS:
        if not files[split]:
            why = f" ({len(left_out):,} files are left out; of {min(left_out)}: {left_out[min(left_out)]})"
            raise ValueError(
                f"{base} holds no picture to {split} on{why if left_out else ''}: put them into {split}/<class>/, or "
                "name them in a table (see data/README.md)."
            )
    if len(classes) > VOID:
        raise ValueError(f"{base} holds {len(classes):,} classes; {VOID} is the most: leave some out.")
    digest = sha256(json.dumps([_FORMAT, classes, left_out]).encode())
    for split in SPLITS:
        digest.update(f"{split}:{len(files[split])}\n".encode())
        for path, label in files[split]:
            size, time = held[path]
            digest.update(f"{path}\0{label}\0{size}\0{time}\n".encode())
    return Tree(base, files, classes, dict(sorted(left_out.items())), digest.hexdigest())


Files = dict[str, list[tuple[str, int]]]


def _sorted(base: Path, held: dict[str, tuple[int, int]], left_out: dict[str, str]) -> tuple[Files, list[str]]:
    """Of class folders."""
    test = "test" if (base / "test").is_dir() or not (base / "val").is_dir() else "val"
    folders = {"train": _folders(base / "train", base, left_out), "test": {}}
    if (base / test).is_dir():
        folders["test"] = _folders(base / test, base, left_out)
    classes = sorted(folders["train"])
    files: Files = {split: [] for split in SPLITS}
    for split in SPLITS:
        for name, places in sorted(folders[split].items()):
            if name not in folders["train"]:
                left_out.update({_below(place, base): "train has no such class" for place in places})
                continue
            label = classes.index(name)
            for place in places:
                files[split] += [(path, label) for path in _pictures(place, base, held, left_out)]
    return files, classes


def _folders(split: Path, base: Path, left_out: dict[str, str]) -> dict[str, list[str]]:
    """The folders of each class; names that only differ in how accents are written are one class."""
    found: dict[str, list[str]] = {}
    for entry in sorted(os.scandir(split), key=lambda entry: entry.name):
        name = unicodedata.normalize("NFC", entry.name)
        if entry.name.startswith("."):
            continue
        reason = _unnamed(entry.name) or ("" if entry.is_dir() else "it lies in no folder of a class")
        if reason:
            left_out[_below(entry.path, base)] = reason
        else:
            found.setdefault(name, []).append(entry.path)
    return found


def _pictures(
    start: str, base: Path, held: dict[str, tuple[int, int]], left_out: dict[str, str]
) -> list[str]:  # fmt: skip
    """Pictures in a folder and those below it, sorted; a folder that links lead to again is looked at once, and one
    that lies above never: its pictures are of other classes."""
    found: list[str] = []
    above = {os.path.realpath(start)}
    above |= {str(folder) for folder in Path(os.path.realpath(start)).parents}
    visited = {os.path.realpath(start)}
    todo = [start]
    while todo:
        here = todo.pop()
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            left_out[_below(here, base)] = f"the folder cannot be opened ({error.strerror})"
            continue
        for entry in entries:
            path = _below(entry.path, base)
            try:
                if entry.is_dir():
                    real = os.path.realpath(entry.path)
                    if real in above:
                        left_out[path] = "the link leads back to a folder above"
                    elif real not in visited and not entry.name.startswith("."):
                        visited.add(real)
                        todo.append(entry.path)
                    continue
                status = entry.stat()
            except OSError as error:
                left_out[path] = f"it cannot be opened ({error.strerror})"
                continue
            reason = _strange(entry.name, status)
            if reason:
                left_out[path] = reason
            else:
                held[path] = status.st_size, status.st_mtime_ns
                found.append(path)
    return sorted(found)


def _below(path: str | Path, base: Path) -> str:
    """The path below ``base``; what is not UTF-8 in it is marked."""
    text = str(path).removeprefix(f"{base}{os.sep}").encode(errors="surrogateescape")
    return text.decode(errors="replace").replace(os.sep, "/")


@cache
def endings() -> frozenset[str]:
    """Of the files that Pillow can open; PostScript is a program, which would be run."""
    Image.init()
    return frozenset(end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind != "EPS")


def _unnamed(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return ""


def _strange(name: str, status: os.stat_result) -> str:
    if unnamed := _unnamed(name):
        return unnamed
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if name.startswith(".") or os.path.splitext(name)[1].lower() not in endings():
        return "it is no picture by its ending"
    return "" if status.st_size else "it is empty"


# The table


def _listed(base: Path, held: dict[str, tuple[int, int]], left_out: dict[str, str]) -> tuple[Files, list[str]]:
    """Of ``images/`` and a table."""
    tables = sorted(path for path in base.iterdir() if path.suffix.lower() == ".csv")
    if len(tables) != 1:
        held_there = ", ".join(path.name for path in tables) or "none"
        raise ValueError(
            f"{base} must hold one table (.csv) with the columns file, label, split beside images/; there is "
            f"{held_there}."
        )
    found = _pictures(str(base / "images"), base, held, left_out)
    there = {unicodedata.normalize("NFC", path.removeprefix("images/")): path for path in found}
    rows: dict[str, tuple[str, str]] = {}
    for number, (file, label, split) in _rows(tables[0]):
        path = there.get(unicodedata.normalize("NFC", file.removeprefix("images/")))
        wrong = (
            f"its split {split!r} is neither train nor test" if split not in SPLITS
            else "it has no label" if not label
            else left_out.get(f"images/{file}") or "it is not there" if path is None
            else "it has a row before" if path in rows
            else ""
        )  # fmt: skip
        if wrong or path is None:
            left_out[f"{tables[0].name}:{number}: {file}"] = wrong
        else:
            rows[path] = label, split
    left_out.update({path: f"{tables[0].name} has no row for it" for path in there.values() if path not in rows})
    numbers = all(label.isdecimal() for label, _ in rows.values())
    classes = sorted({label for label, _ in rows.values()}, key=lambda label: (int(label) if numbers else 0, label))
    index = {label: number for number, label in enumerate(classes)}
    files: Files = {split: [] for split in SPLITS}
    for path in sorted(rows):
        label, split = rows[path]
        files[split].append((path, index[label]))
    return files, classes


def _rows(path: Path) -> Iterator[tuple[int, tuple[str, str, str]]]:
    columns = ("file", "label", "split")
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(
                    f"{path} has no column {missing[0]!r} in its first line: it must name file, label and split."
                )
            for row in reader:
                yield reader.line_num, tuple((row[name] or "").strip() for name in columns)  # type: ignore[misc]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}): save it as CSV in UTF-8.") from error


# Reading one picture


@cache
def _formats() -> list[str]:
    """In the order that Pillow tries them in: the usual ones first takes half the time of small pictures."""
    Image.init()
    usual = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
    return sorted((kind for kind in Image.OPEN if kind != "EPS"), key=lambda kind: (kind not in usual, kind))


def _size(path: Path) -> tuple[int, int] | None:
    """Height and width as the picture lies, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_formats()) as file:
                turned = file.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                return file.size if turned else file.size[::-1]
    except Exception:  # whatever it is, it is told when the picture is read
        return None


def decode(path: Path, size: tuple[int, int]) -> tuple[Bytes, tuple[int, int]] | str:
    """The picture as uint8 [3, H, W] and the height and width that it had, or why it cannot be had."""
    try:
        with Image.open(path, formats=_formats()) as file:
            full = file.size
            file.draft("RGB", (2 * max(size),) * 2)
            picture = pictures.upright(pictures.eight_bits(file))
    except FileNotFoundError:
        return "it went away while it was read"
    except Image.DecompressionBombError:
        return "it is too large (a decompression bomb?)"
    except (Exception, MemoryError) as error:  # Pillow's readers raise whatever they meet in damaged bytes
        return f"it is damaged ({type(error).__name__})"
    turned = (picture.width > picture.height) != (full[0] > full[1]) and picture.width != picture.height
    if picture.size != size[::-1]:
        picture = ImageOps.fit(picture, size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(picture).transpose(2, 0, 1), full if turned else full[::-1]


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
    height, width = size or common_size(tree)
    needed = height * width * 3 * sum(map(len, tree.files.values()))
    packed.install(
        folder, lambda part: _fill(part, tree, (height, width), folder.parent.name), needed, (height, width), True
    )


def _fill(part: Path, tree: Tree, size: tuple[int, int], name: str) -> None:
    """Write all arrays and then the index, from where an interrupted call stopped."""

    def read_one(one: tuple[str, int]) -> tuple[Bytes, tuple[int, int]] | str:
        return decode(tree.base / one[0], size)

    kept = _kept(part, tree, size)
    left_out, sizes = kept["left_out"], Counter(kept["sizes"])
    for split in SPLITS:
        files, done = tree.files[split], kept["done"].get(split, 0)
        if f"{split}-labels" in kept["arrays"]:
            continue
        rows = kept["rows"] if done else 0
        shape = (len(files), 3, *size)
        with ExitStack() as stack:
            images = stack.enter_context(Writer(part / f"{split}-images.npy", np.uint8, shape, rows))
            labels = stack.enter_context(Writer(part / f"{split}-labels.npy", np.int64, shape[:1], rows))
            listed = stack.enter_context(open(part / f"{split}-files.txt", "r+b" if done else "wb"))
            listed.seek(kept["listed"] if done else 0)
            listed.truncate()
            pool = stack.enter_context(ThreadPoolExecutor(min(8, os.cpu_count() or 1)))
            title = f"packing {name} {split}"
            bar = stack.enter_context(tqdm(total=len(files), initial=done, desc=title, unit="picture", mininterval=1))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # Pillow's, over odd files: those that cannot be read are told below
            last, todo = monotonic(), iter(files[done:])
            while some := list(islice(todo, _AT_ONCE)):
                for (path, label), got in zip(some, pool.map(read_one, some), strict=True):
                    if isinstance(got, str):
                        left_out[path] = got
                        continue
                    images.append(got[0])
                    labels.append(np.array(label))
                    listed.write(f"{path}\n".encode())
                    sizes["{}x{}".format(*got[1])] += 1
                done += len(some)
                bar.update(len(some))
                if monotonic() - last > _KEPT_EVERY or done == len(files):
                    images.flush()
                    labels.flush()
                    listed.flush()
                    os.fsync(listed.fileno())
                    kept |= {"rows": images.rows, "listed": listed.tell(), "sizes": dict(sizes)}
                    kept["done"][split] = done
                    packed.write(part / "progress.json", json.dumps(kept))
                    last = monotonic()
            if not images.rows:
                path = next(iter(left_out))
                raise ValueError(
                    f"none of {len(files):,} pictures of {tree.base / split} can be read ({path}: {left_out[path]})."
                )
            images.cut()
            labels.cut()
        for what, writer in (("images", images), ("labels", labels)):
            kept["arrays"][f"{split}-{what}"] = writer.entry().model_dump()
        packed.write(part / "progress.json", json.dumps(kept))
    index = Index(
        source=tree.signature, classes=tree.classes, note=_note(sizes, size, len(left_out)), left_out=left_out,
        sizes=dict(sizes), arrays={what: Entry.of(entry) for what, entry in kept["arrays"].items()},
    )  # fmt: skip
    packed.write(part / "index.json", index.model_dump_json(indent=1, exclude_none=True))
    (part / "progress.json").unlink()


def _kept(part: Path, tree: Tree, size: tuple[int, int]) -> dict:
    """How far an interrupted call of the same tree came."""
    this = {"source": tree.signature, "size": list(size)}
    try:
        kept = json.loads((part / "progress.json").read_bytes())
    except (OSError, ValueError):
        kept = {}
    if {what: kept.get(what) for what in this} == this:
        return kept
    return this | {"arrays": {}, "left_out": dict(tree.left_out), "sizes": {}, "done": {}, "rows": 0, "listed": 0}


def _note(sizes: Counter, size: tuple[int, int], left_out: int) -> str:
    height, width = size
    alike = set(sizes) == {f"{height}x{width}"}
    told = [] if alike else [f"Pictures of {len(sizes):,} sizes brought to {height}x{width}."]
    if left_out:
        told.append(f"{left_out:,} files left out.")
    return " ".join(told)

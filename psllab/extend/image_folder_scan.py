"""The pictures of an image folder (see ``image_folder``) by its folders or its table; only the table is opened."""

import csv
import json
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from hashlib import sha256
from pathlib import Path

from PIL import Image

from pslcore.data.splits import SPLITS, WORDS, chosen, split_of
from pslcore.losses import VOID
from psllab.extend.leftovers import leftover
from psllab.extend.pictures import formats

_FORMAT = 2
"""Part of the signature: where pictures are read in another way, all are packed again."""


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


def find(base: Path) -> Tree:
    """All pictures of a tree; nothing is opened but the table.

    Raises
    ------
    ValueError, FileNotFoundError
        As ``read``.
    """
    left_out: dict[str, str] = {}
    held: dict[str, tuple[int, int]] = {}
    table = form(base) != "pictures in class folders"
    files, classes = (_listed if table else _sorted)(base, held, left_out)
    for split in SPLITS:
        if not files[split]:
            first = min(left_out, default="")
            why = f" ({len(left_out):,} files are left out; of {first}: {left_out[first]})" if left_out else ""
            raise ValueError(
                f"{base} holds no picture to {split} on{why}: put them into {split}/<class>/, or name them in a table "
                f"(see data/README.md). Splits are called {WORDS}."
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


def _inside(base: Path) -> list[str]:
    """Folders, but for those that systems leave, and those of packed arrays and of features."""
    found = os.scandir(base) if base.is_dir() else ()
    ours = ("packed", "features")
    return sorted(e.name for e in found if e.is_dir() and not leftover(e.name) and not e.name.startswith(ours))


def form(base: Path) -> str:
    """In which form pictures lie in a folder, in words; empty if in none."""
    inside = _inside(base)
    if "train" in map(split_of, inside):
        return "pictures in class folders"
    return "pictures with a table" if "images" in inside else ""


def unused(base: Path) -> list[str]:
    """Folders beside those of the splits: nothing in them is read."""
    named = chosen(_inside(base), base).values()
    return [name for name in _inside(base) if name not in named] if form(base).endswith("class folders") else []


def _sorted(base: Path, held: dict[str, tuple[int, int]], left_out: dict[str, str]) -> tuple[Files, list[str]]:
    """Of class folders."""
    named = chosen(_inside(base), base)
    folders = {split: _folders(base / named[split], base, left_out) if split in named else {} for split in SPLITS}
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
        reason = _unnamed(entry.name) or leftover(entry.name)
        reason = reason or ("" if entry.is_dir() else "it lies in no folder of a class")
        if reason:
            left_out[_below(entry.path, base)] = reason
        else:
            found.setdefault(name, []).append(entry.path)
    return found


def _pictures(
    start: str, base: Path, held: dict[str, tuple[int, int]], left_out: dict[str, str]
) -> list[str]:  # fmt: skip
    """Pictures in a folder and those below it, sorted; a folder that links lead to again is listed once, and one
    that lies above never: its pictures are of other classes."""
    found: list[str] = []
    real = os.path.realpath(start)
    above, visited = {real, *map(str, Path(real).parents)}, {real}

    def unopened(error: OSError) -> None:
        left_out[_below(error.filename, base)] = f"the folder cannot be opened ({error.strerror})"

    for here, folders, files in os.walk(start, onerror=unopened, followlinks=True):
        for name in sorted(folders):
            path, real = _below(f"{here}{os.sep}{name}", base), os.path.realpath(os.path.join(here, name))
            if real in above:
                left_out[path] = "the link leads back to a folder above"
            elif reason := leftover(name):
                left_out[path] = reason
            elif real not in visited:
                visited.add(real)
                continue
            folders.remove(name)
        for name in files:
            path = _below(f"{here}{os.sep}{name}", base)
            try:
                status = os.stat(os.path.join(here, name))
            except OSError as error:
                left_out[path] = f"it cannot be opened ({error.strerror})"
                continue
            if reason := _strange(name, status):
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
    """Of the files that Pillow can open."""
    return frozenset(end for end, kind in Image.registered_extensions().items() if kind in formats())


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
    if reason := leftover(name):
        return reason
    if os.path.splitext(name)[1].lower() not in endings():
        return "it is no picture by its ending"
    return "" if status.st_size else "it is empty"


# The table


def _listed(base: Path, held: dict[str, tuple[int, int]], left_out: dict[str, str]) -> tuple[Files, list[str]]:
    """Of ``images/`` and a table."""
    tables = sorted(path for path in base.iterdir() if path.suffix.lower() == ".csv" and not leftover(path.name))
    if len(tables) != 1:
        held_there = ", ".join(path.name for path in tables) or "none"
        raise ValueError(
            f"{base} must hold one table (.csv) with the columns file, label, split beside images/; there is "
            f"{held_there}."
        )
    found = _pictures(str(base / "images"), base, held, left_out)
    there = {unicodedata.normalize("NFC", path.removeprefix("images/")): path for path in found}
    listed = list(_rows(tables[0]))
    meant = {split_of(split) for _, (_, _, split) in listed}
    last = "val" if "val" in meant and "test" not in meant else "test"
    rows: dict[str, tuple[str, str]] = {}
    for number, (file, label, split) in listed:
        path = there.get(unicodedata.normalize("NFC", file.removeprefix("images/")))
        wrong = (
            f"its split {split!r} is neither train nor {last}" if split_of(split) not in ("train", last)
            else "it has no label" if not label
            else left_out.get(f"images/{file}") or "it is not there" if path is None
            else "it has a row before" if path in rows
            else ""
        )  # fmt: skip
        if wrong or path is None:
            left_out[f"{tables[0].name}:{number}: {file}"] = wrong
        else:
            rows[path] = label, "train" if split_of(split) == "train" else "test"
    left_out.update({path: f"{tables[0].name} has no row for it" for path in there.values() if path not in rows})
    named = _classes({label for label, _ in rows.values()})
    index = {name: number for number, name in enumerate(dict.fromkeys(named.values()))}
    files: Files = {split: [] for split in SPLITS}
    for path in sorted(rows):
        label, split = rows[path]
        files[split].append((path, index[named[label]]))
    return files, list(index)


def _classes(labels: Collection[str]) -> dict[str, str]:
    """From each label to the name of its class, in the order of the classes. Where all are whole numbers, that is by
    number, and two spellings of one, such as 3 and 3.0, are one class."""
    numbers = {label: _number(label) for label in labels}
    if any(number is None for number in numbers.values()):
        return {label: label for label in sorted(labels)}
    ordered = sorted(labels, key=lambda label: (numbers[label], label))
    spelled = Counter(numbers.values())
    return {label: label if spelled[numbers[label]] == 1 else f"{numbers[label]:.0f}" for label in ordered}


def _number(label: str) -> Decimal | None:
    try:
        number = Decimal(label)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number == number.to_integral_value() else None


def _rows(path: Path) -> Iterator[tuple[int, tuple[str, str, str]]]:
    columns = ("file", "label", "split")
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(
                    f"{path} has no column {missing[0]!r} in its first line: it must name file, label and split."
                )
            for row in reader:
                yield reader.line_num, tuple((row[name] or "").strip() for name in columns)  # type: ignore[misc]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}): save it as CSV in UTF-8.") from error

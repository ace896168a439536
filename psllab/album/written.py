"""Every file that shows pictures of an album, wherever it was written, and what must go from it by now."""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pslcore.runs import records
from psllab.album import sheets
from psllab.album.pictures import Picture, Seen

if TYPE_CHECKING:
    from psllab.album.labelling import Labelling
    from psllab.album.opening import OpenAlbum

MARK = ".made-by-pslcore-album"
"""In a tree of pictures: what it holds, as JSON; path below the tree to digest."""

Kind = Literal["table", "page", "tasks", "copies", "tree"]
Shows = Callable[[str, str], bool]

_ALWAYS: dict[str, Kind] = {
    "ask.csv": "table", "ask.html": "page", "labels.csv": "table", "suggestions.csv": "table", "sorted": "tree",
}  # fmt: skip
_COPY = re.compile(r"([0-9a-f]{64})\.jpg")
_FIGURE = re.compile(r'<figure\b.*?data-file="([^"]*)" data-content="([0-9a-f]*)".*?</figure>\n?', re.DOTALL)


def outside(album: "OpenAlbum", path: str | Path) -> Path:
    """A path, resolved; ``ValueError`` if it lies in the folder of pictures."""
    path = Path(path).resolve()
    if path.is_relative_to(album.folder):
        raise ValueError(f"{path} lies in the folder of pictures, which stays as it is: choose another.")
    return path


def note(album: "OpenAlbum", path: str | Path, kind: Kind) -> Path:
    """Keep in the journal that a file or folder is about to be written; gives its path, see ``outside``."""
    album._alive()
    path = outside(album, path)
    name = str(path.relative_to(album.home)) if path.is_relative_to(album.home) else str(path)
    if _known(album).get(name) != kind:  # what was ever written stays known, were it moved away and back
        album._journal.add("wrote", path=name, kind=kind)
    return path


def check(album: "Labelling", pictures: Iterable[Picture]) -> None:
    """Raise what ``check_answer`` does of a picture that nobody may be asked about, before any of them is shown."""
    for picture in pictures:
        album.check_answer(picture)


def shows(album: "OpenAlbum") -> Shows:
    """Whether a picture of this path and digest may be shown or named in a file of ours.

    Not if its content or its name is protected; nor if it is gone, and was protected or a rule protects it, were it
    only in doubt.
    """
    index, kept = album._index, album._protection
    protected = [index.pictures[number] for number in index.protected]
    paths, digests = {picture.path for picture in protected}, {picture.digest for picture in protected}
    there = {picture.digest for picture in index.pictures}
    names = {picture.path for picture in index.pictures}

    def may(path: str, digest: str) -> bool:
        if path in paths or digest in digests or digest in kept.contents:
            return False
        if digest in there or (not digest and path in names) or not (path or digest):
            return True
        return not (kept.by_name([path]) or album.protect.reason(Seen(Picture(path, digest), (path,))))

    return may


def refresh_written(album: "OpenAlbum") -> list[str]:
    """Take from all that was written what may not be shown by now; files of which nothing is left are removed.

    What people typed into a table stays, line by line. Copies that somebody else made are not known.

    Returns
    -------
    list of str
        A sentence for each file that was changed, or that should be and could not.
    """
    album._alive()
    may, notices, known = shows(album), [], _known(album)
    _sweep(album, known)
    for name, kind in known.items():
        path = album.home / name
        if not path.exists():
            continue
        try:
            out, left = _CLEAN[kind](album, path, may)
            if out and not left and path.is_file():
                path.unlink()
            elif out and not left:
                with suppress(OSError):  # somebody else's files are in it
                    path.rmdir()
        except OSError as error:
            why = f"{path} could not be written anew ({error.strerror or error})"
            notices.append(f"{why}: remove it, it may show pictures that are protected by now.")
        except (ValueError, TypeError, KeyError, AttributeError):
            if album._index.protected:
                why = f"{path} is not as it was written"
                notices.append(f"{why}, and may name pictures that are protected by now: remove it.")
        else:
            count = f"{out} picture{'s' * (out != 1)}"
            if out and kind == "copies":
                notices.append(
                    f"{count} left {path}: delete the tasks in Label Studio too, which names them in its base."
                )
            elif out:
                notices.append(
                    f"{count} may not be shown by now: {path} {'was written without' if left else 'is gone'}."
                )
    return notices


def building(folder: Path) -> Path:
    """Where a tree is made, before it takes its place."""
    return folder.with_name(f".{folder.name}.new")


def _sweep(album: "OpenAlbum", known: dict[str, Kind]) -> None:
    """Remove what a killed process left beside files and trees of ours; the album's home is swept as it is opened."""
    for name in (name for name, kind in known.items() if kind == "tree"):
        shutil.rmtree(building(album.home / name), ignore_errors=True)
    for folder in {(album.home / name).parent for name in known} - {album.home}:
        if folder.is_dir():
            with suppress(OSError):
                records.prepare(folder)


def _known(album: "OpenAlbum") -> dict[str, Kind]:
    return _ALWAYS | {event["path"]: event["kind"] for event in album._journal.events if event["what"] == "wrote"}


# Each gives how many pictures were taken out and how many are left


def _table(album: "OpenAlbum", path: Path, may: Shows) -> tuple[int, int]:
    sheet = sheets.read(path, sheets.text_of(path))
    if not {"file", "content"} & set(sheet.head):
        raise ValueError("nothing tells which pictures it names")
    allowed = [may(named.get("file", ""), named.get("content", "").strip()) for _, named in sheet.named()]
    kept = [row for (_, row), fine in zip(sheet.rows, allowed, strict=True) if fine]
    out = len(sheet.rows) - len(kept)
    if out and kept:
        sheets.write(path, sheet.head, kept, sheet.delimiter)
    return out, len(kept)


def _page(album: "OpenAlbum", path: Path, may: Shows) -> tuple[int, int]:
    text = path.read_bytes().decode()
    found = list(_FIGURE.finditer(text))
    gone = [each[0] for each in found if not may(unescape(each[1]), each[2])]
    left = len(found) - len(gone)
    if gone and left:
        for figure in gone:
            text = text.replace(figure, "")
        text = re.sub(r"<b>\d+ pictures", f"<b>{left} pictures", text, count=1)
        records.write_bytes(path, text.encode())
    return len(gone), left


def _tasks(album: "OpenAlbum", path: Path, may: Shows) -> tuple[int, int]:
    tasks = json.loads(path.read_bytes())
    kept = [task for task in tasks if may(task["data"].get("file", ""), task["data"].get("content", ""))]
    if len(kept) < len(tasks) and kept:
        records.write_bytes(path, tasks_text(kept))
    return len(tasks) - len(kept), len(kept)


def tasks_text(tasks: list[dict]) -> bytes:
    """A file of tasks for Label Studio."""
    return (json.dumps(tasks, indent=1, ensure_ascii=False) + "\n").encode()


def copies(folder: Path) -> dict[str, Path]:
    """Digest of the picture to its copy, in a folder for Label Studio."""
    return {found[1]: path for path in folder.iterdir() if (found := _COPY.fullmatch(path.name))}


def _copies(album: "OpenAlbum", folder: Path, may: Shows) -> tuple[int, int]:
    names: dict[str, list[str]] = {}
    for key in album._state.asked:
        names.setdefault(key.digest, []).append(key.path)
    held = copies(folder)
    gone = [path for digest, path in held.items() if not all(may(name, digest) for name in names.get(digest, [""]))]
    for path in gone:
        path.unlink()
    return len(gone), len(list(folder.iterdir()))


def _tree(album: "OpenAlbum", folder: Path, may: Shows) -> tuple[int, int]:
    held = json.loads((folder / MARK).read_bytes() or b"{}")
    gone = [name for name, digest in held.items() if not may(name.partition("/")[2], digest)]
    for name in gone:
        (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # not empty: something of it is left
            for parent in (folder / name).parents:
                if parent == folder:
                    break
                parent.rmdir()
    left = {name: digest for name, digest in held.items() if name not in gone}
    if left and gone:
        records.write_bytes(folder / MARK, json.dumps(left, indent=1).encode())
    elif gone:
        (folder / MARK).unlink()
    return len(gone), len(left)


_CLEAN: dict[Kind, Callable[..., tuple[int, int]]] = {
    "table": _table, "page": _page, "tasks": _tasks, "copies": _copies, "tree": _tree,
}  # fmt: skip

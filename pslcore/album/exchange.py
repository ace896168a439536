"""In and out of an album: CSV, a page of thumbnails, tasks and exports of Label Studio, a tree of folders.

No file that is written here names or shows a protected picture.
"""

import base64
import csv
import io
import json
import os
import shutil
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pslcore.album.album import Album
from pslcore.album.pictures import Picture
from pslcore.runs import records

SKIP, NOT_SURE = "-", "?"
"""In place of a label: set aside; cannot be told."""

_MARK = ".made-by-pslcore-album"


@dataclass(frozen=True)
class Taken:
    """How many answers, skips and not-sures were taken in, and how many pictures of the file have no label yet."""

    answers: int
    skipped: int
    unsure: int
    empty: int


@dataclass(frozen=True)
class _Line:
    where: str
    picture: str
    digest: str
    label: str
    by: str


def ask_csv(album: Album, pictures: list[Picture], path: str | Path) -> None:
    """What to label: ``file``, ``label`` (to fill in), ``content`` (digest of the picture that is meant)."""
    _write_csv(path, ["file", "label", "content"], [[p.path, "", p.digest] for p in pictures])


def labels_csv(album: Album, path: str | Path) -> None:
    """All answers, ``by`` a person, and the task learner's suggestions for the rest that is not protected, ``by``
    ``task learner``, with its confidence."""
    rows = [[name, label, album.words(name)[-1].by, ""] for name, label in sorted(album.labels().items())]
    rows += [[s.picture.path, s.label, "task learner", f"{s.confidence:.4f}"] for s in album.suggestions()]
    _write_csv(path, ["file", "label", "by", "confidence"], rows)


def ask_page(album: Album, pictures: list[Picture], path: str | Path) -> None:
    """One HTML page with thumbnails, in need of nothing else: choose labels and save them as CSV."""
    options = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in album.classes)
    options = f'<option value=""></option>{options}<option value="{NOT_SURE}">not sure</option>'
    options += f'<option value="{SKIP}">skip</option>'
    cards = "".join(
        f'<figure><img alt="" src="{_inline(album, p)}"><figcaption>{escape(p.path)}</figcaption>'
        f'<select data-file="{escape(p.path)}" data-content="{p.digest}" aria-label="{escape(p.path)}">{options}'
        "</select></figure>\n"
        for p in pictures
    )
    records.write_bytes(Path(path), _PAGE.replace("@cards", cards).replace("@count", str(len(pictures))).encode())


def studio_tasks(album: Album, pictures: list[Picture], path: str | Path) -> None:
    """Tasks of Label Studio: the picture as a local file (its storage must point to the album's folder)."""
    tasks = [
        {"data": {"image": f"/data/local-files/?d={quote(p.path)}", "file": p.path, "content": p.digest}}
        for p in pictures
    ]
    records.write_bytes(Path(path), (json.dumps(tasks, indent=1, ensure_ascii=False) + "\n").encode())


def label_config(album: Album) -> str:
    """Label Studio's labelling interface for the album's classes."""
    choices = "".join(f'<Choice value="{escape(name)}"/>' for name in album.classes)
    return f'<View><Image name="image" value="$image"/><Choices name="label" toName="image">{choices}</Choices></View>'


def take_in(album: Album, path: str | Path, by: str = "") -> Taken:
    """Take in a CSV file with ``file`` and ``label``, or what Label Studio exports (JSON or JSON-MIN).

    All of it is checked before anything is taken in. ``-`` for a label skips, ``?`` is not sure, none is no answer.

    Parameters
    ----------
    album : Album
    path : path
    by : str
        Who says so, where the file does not (column ``by``; Label Studio's annotator).

    Raises
    ------
    ValueError, OSError
        In one sentence, with the line: a file that is unknown, protected or was not asked about, an unknown class.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text: save it as CSV (UTF-8) or JSON.") from None
    lines = _from_studio(path, text, by) if text.lstrip()[:1] in ("[", "{") else _from_csv(path, text, by)
    meant: dict[tuple[str, str], _Line] = {}
    for line in lines:
        picture = Picture(line.picture, line.digest) if line.digest else line.picture
        try:
            album.check_answer(picture, line.label if line.label not in ("", SKIP, NOT_SURE) else None)
        except ValueError as error:
            raise ValueError(f"{line.where}: {error} Nothing of the file was taken in.") from None
        if (line.picture, line.by) in meant and meant[line.picture, line.by].label != line.label:
            raise ValueError(
                f"{line.where}: {line.picture} has two labels: keep one. Nothing of the file was taken in."
            )
        meant[line.picture, line.by] = line
    counts = {"answer": 0, "skip": 0, "not sure": 0, "": 0}
    for line in meant.values():
        kind = {"": "", SKIP: "skip", NOT_SURE: "not sure"}.get(line.label, "answer")
        last = next((word for word in reversed(album.words(line.picture)) if word.by == line.by), None)
        counts[kind] += 1
        if kind == "" or (last is not None and (last.what, last.label or line.label) == (kind, line.label)):
            continue  # the same file a second time says nothing new
        if kind == "answer":
            album.answer(line.picture, line.label, by=line.by)
        else:
            (album.skip if kind == "skip" else album.not_sure)(line.picture, by=line.by)
    return Taken(counts["answer"], counts["skip"], counts["not sure"], counts[""])


def tree(album: Album, folder: str | Path, how: Literal["copy", "link"] = "copy") -> int:
    """The answered pictures in folders by class, sub-folders kept; gives how many.

    The files are whole, their EXIF included: the tree is for this machine. A tree that was made before is replaced.

    Raises
    ------
    ValueError
        If the folder holds something else, or lies in the folder of pictures.
    """
    if how not in ("copy", "link"):
        raise ValueError(f"how = {how!r} is unknown: choose copy or link.")
    folder = Path(folder).resolve()
    if folder.is_relative_to(album.folder):
        raise ValueError(f"{folder} lies in the folder of pictures, which stays as it is: choose another.")
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / _MARK).exists())):
        raise ValueError(f"{folder} holds something else: choose an empty folder.")
    labels = album.labels()
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        (new / _MARK).write_text("")
        for name, label in labels.items():
            target = new / label / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if how == "link":
                target.symlink_to(album.folder / name)
            else:
                shutil.copyfile(album.folder / name, target)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(new, folder)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise OSError(f"{folder} could not be written ({error.strerror}): free some space.") from error
    return len(labels)


def _inline(album: Album, picture: Picture) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(album.thumbnail(picture)).decode()


def _write_csv(path: str | Path, head: list[str], rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([head, *rows])
    records.write_bytes(Path(path), text.getvalue().encode())


def _from_csv(path: Path, text: str, by: str) -> list[_Line]:
    first = text.partition("\n")[0]
    found = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        rows = list(found)
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV file ({error}).") from None
    missing = {"file", "label"} - set(found.fieldnames or ())
    if missing:
        raise ValueError(f"{path} has no column `{min(missing)}`: it needs `file` and `label` in its first line.")
    return [
        _Line(f"{path}, line {number}", row["file"] or "", row.get("content") or "", (row["label"] or "").strip(),
              (row.get("by") or "").strip() or by or "somebody")
        for number, row in enumerate(rows, 2) if row["file"]
    ]  # fmt: skip


def _from_studio(path: Path, text: str, by: str) -> list[_Line]:
    try:
        tasks = json.loads(text)
        lines = [line for number, task in enumerate(tasks, 1) for line in _task(f"{path}, task {number}", task, by)]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): export it again.") from None
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ValueError(
            f"{path} is no export of Label Studio that fits: it needs tasks with `file` and choices."
        ) from None
    return lines


def _task(where: str, task: dict[str, Any], by: str) -> list[_Line]:
    if "annotations" not in task:  # JSON-MIN
        label = next((task[name] for name in ("label", "choice") if name in task), "")
        return [
            _Line(where, task["file"], task.get("content", ""), _one(label, where), by or _who(task.get("annotator")))
        ]
    data, lines = task["data"], []
    for note in task["annotations"]:
        who = by or _who(note.get("completed_by"))
        values = [part["value"]["choices"] for part in note.get("result", ()) if part.get("type") == "choices"]
        label = SKIP if note.get("was_cancelled") else _one(values[0] if values else "", where)
        lines.append(_Line(where, data["file"], data.get("content", ""), label, who))
    return lines


def _one(label: str | list[str] | dict[str, list[str]], where: str) -> str:
    given = label.get("choices", []) if isinstance(label, dict) else [label] if isinstance(label, str) else label
    if len(given) > 1:
        raise ValueError(f"{where}: {len(given)} classes are chosen, one is needed.")
    return given[0] if given else ""


def _who(person: Any) -> str:
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    return "somebody" if person is None else f"annotator {person}" if isinstance(person, int) else str(person)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Label these</title>
<style>
:root { color-scheme: light dark; font: 15px system-ui, sans-serif } body { margin: 1rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: 1rem }
figure { margin: 0; display: flex; flex-direction: column; gap: .3rem } figcaption { overflow-wrap: anywhere }
img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #8883 } header { margin-bottom: 1rem }
</style>
<header><b>@count pictures to label.</b> Choose, then <button>save labels.csv</button></header>
<main>
@cards</main>
<script>
document.querySelector("button").onclick = () => {
  const cell = text => '"' + text.replaceAll('"', '""') + '"'
  const rows = [...document.querySelectorAll("select")].map(
    s => [s.dataset.file, s.value, s.dataset.content].map(cell).join(","))
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([["file,label,content", ...rows, ""].join("\\n")], {type: "text/csv"}))
  link.download = "labels.csv"
  link.click()
}
</script>
</html>
"""

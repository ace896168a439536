"""To Label Studio and back: a folder of copies that its storage may see, tasks, and all its exports of choices."""

import io
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pslcore.runs import records
from psllab.album import written
from psllab.album.album import Album
from psllab.album.pictures import Picture
from psllab.album.sheets import SKIP, Line, Sheet

SIDE = 1600
"""Pixels of a copy's longer side, at most."""

_META = {
    "id", "inner_id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time", "agreement", "image",
    "file", "content", "predictions", "drafts", "meta", "project", "total_annotations", "cancelled_annotations",
    "total_predictions", "comment_count", "unresolved_comment_count", "last_comment_updated_at", "updated_by",
    "comment_authors",
}  # fmt: skip
"""Of a flat export, what is no control."""


def studio_tasks(album: Album, pictures: list[Picture], path: str | Path | None = None) -> Path:
    """What Label Studio needs to ask about pictures.

    Parameters
    ----------
    album : Album
    pictures : list of Picture
    path : path, optional
        A folder for all of it, ``label-studio`` among the album's own files; or a file ``….json`` for the tasks alone.

    Returns
    -------
    path
        Label Studio's document root. In it: ``pictures``, the storage, with upright JPEG copies without metadata, named
        by content, of pictures that were asked about and nothing else; ``tasks.json``; ``interface.xml``.

    Raises
    ------
    ValueError, OSError
        In one sentence: a picture may not be asked about, ``pictures`` holds something else, a picture has changed,
        the disk is full.
    """
    written.check(album, pictures)
    alone = path is not None and Path(path).suffix.lower() == ".json"
    root = written.outside(album, album.home / "label-studio" if path is None or alone else path)
    tasks = Path(path) if alone and path is not None else root / "tasks.json"
    folder = root / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    held = written.copies(folder)
    if len(list(folder.iterdir())) > len(held) or not set(held) <= {key.digest for key in album._state.asked}:
        raise ValueError(f"{folder} holds something else, which Label Studio would see: choose another folder.")
    tasks = written.note(album, tasks, "tasks")
    written.note(album, folder, "copies")
    for picture in pictures:
        if picture.digest not in held:
            records.write_bytes(folder / f"{picture.digest}.jpg", _copy(album, picture))
    listed = [
        {"data": {"image": f"/data/local-files/?d=pictures/{p.digest}.jpg", "file": p.path, "content": p.digest}}
        for p in pictures
    ]
    records.write_bytes(tasks, written.tasks_text(listed))
    records.write_bytes(root / "interface.xml", f"{label_config(album)}\n".encode())
    return root


def label_config(album: Album) -> str:
    """Label Studio's labelling interface for the album's classes."""
    choices = "".join(f'<Choice value="{escape(name)}"/>' for name in album.classes)
    return f'<View><Image name="image" value="$image"/><Choices name="label" toName="image">{choices}</Choices></View>'


def _copy(album: Album, picture: Picture) -> bytes:
    copy = io.BytesIO()
    album.view(picture, SIDE).save(copy, "JPEG", quality=90)
    return copy.getvalue()


# Back


def is_flat(head: Iterable[str]) -> bool:
    """Whether a table is an export of Label Studio."""
    return {"annotation_id", "annotator"} <= set(head)


def of_json(path: Path, text: str, by: str, classes: tuple[str, ...]) -> list[Line]:
    """Lines of an export as JSON or JSON-MIN; drafts and predictions are no answers.

    Raises
    ------
    ValueError
        In one sentence: damaged, something else, nothing but other annotations than choices.
    """
    try:
        tasks = json.loads(text)
        if not isinstance(tasks, list):
            raise TypeError
        flat = [(f"{path}, task {task.get('id', number)}", task) for number, task in enumerate(tasks, 1)]
        if any("annotations" in task for _, task in flat):
            return _annotated(path, flat, by, classes)
        return _of_rows(path, flat, by, classes)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): export it again.") from None
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ValueError(
            f"{path} is no export of Label Studio that fits: it needs tasks with a picture and choices."
        ) from None


def of_table(path: Path, sheet: Sheet, by: str, classes: tuple[str, ...]) -> list[Line]:
    """Lines of an export as CSV or TSV; raises what ``of_json`` does."""
    return _of_rows(path, [(f"{path}, line {line}", row) for line, row in sheet.named()], by, classes)


def _annotated(path: Path, tasks: list[tuple[str, dict[str, Any]]], by: str, classes: tuple[str, ...]) -> list[Line]:
    found, others = [], set()
    for where, task in tasks:
        for note in task["annotations"]:
            given: dict[str, list[str]] = {}
            for part in note.get("result") or ():
                if part.get("type") == "choices":
                    given.setdefault(part["from_name"], []).extend(part["value"]["choices"])
                else:
                    others.add(str(part.get("type")))
            line = Line(where, *_picture(where, task["data"]), "", _who(note.get("completed_by"), by), _at(note, "id"))
            found.append((line, given, bool(note.get("was_cancelled"))))
    controls = _controls([given for _, given, skipped in found if not skipped], classes)
    if not controls and others:
        raise ValueError(
            f"{path} holds no choices, but {', '.join(sorted(others))}: label with a control of the kind Choices."
        )
    return [replace(line, label=SKIP if skipped else _label(words, controls)) for line, words, skipped in found]


def _of_rows(path: Path, rows: list[tuple[str, dict[str, Any]]], by: str, classes: tuple[str, ...]) -> list[Line]:
    made = [(where, row) for where, row in rows if row.get("annotation_id") or "annotation_id" not in row]
    given = [{name: _chosen(value) for name, value in row.items() if name not in _META} for _, row in made]
    controls = _controls(given, classes)
    seen = sorted({name for row in given for name, words in row.items() if words})
    if seen and not controls:
        raise ValueError(f"{path} has no column of choices that holds classes, only {', '.join(seen)}: export JSON.")
    return [
        Line(where, *_picture(where, row), _label(words, controls), _who(row.get("annotator"), by),
             _at(row, "annotation_id"))
        for (where, row), words in zip(made, given, strict=True)
    ]  # fmt: skip


def _controls(given: list[dict[str, list[str]]], classes: tuple[str, ...]) -> list[str]:
    """The controls that hold classes; the only one, if none does."""
    words: dict[str, set[str]] = {}
    for each in given:
        for name, chosen in each.items():
            words.setdefault(name, set()).update(chosen)
    found = [name for name, chosen in words.items() if chosen & set(classes)]
    return found or ([name for name, chosen in words.items() if chosen] if len(words) == 1 else [])


def _chosen(value: Any) -> list[str]:
    """What a cell of a flat export says: one word, several, or ``{"choices": [...]}``."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]
    if isinstance(value, dict):
        value = value.get("choices", [])
    return [value] if isinstance(value, str) and value else [w for w in value if isinstance(w, str)] if value else []


def _label(given: dict[str, list[str]], controls: list[str]) -> str:
    """What the controls say; several words, a line each, are none of the classes."""
    return "\n".join(dict.fromkeys(word for name in controls for word in given.get(name, ())))


def _picture(where: str, data: dict[str, Any]) -> tuple[str, str]:
    """Path and digest; of a task that Label Studio made itself, by the address of its picture."""
    file, content = data.get("file") or "", data.get("content") or ""
    if not file and not content:
        for value in data.values():
            if isinstance(value, str) and "?d=" in value:
                file = parse_qs(urlsplit(value).query)["d"][0]
                found = re.fullmatch(r"(?:.*/)?([0-9a-f]{64})\.jpg", file)
                return ("", found[1]) if found else (file, "")
        raise ValueError(f"{where} names no picture of this album: it has no `file`, `content` or address with `?d=`.")
    return file, content


def _who(person: Any, by: str) -> str:
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    if person is None or person == "":
        return by or "somebody"
    return f"annotator {person}" if str(person).isdecimal() else str(person)


def _at(note: dict[str, Any], number: str) -> tuple[float, float]:
    try:
        when = datetime.fromisoformat(note.get("updated_at") or note["created_at"])
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp(), float(note.get(number) or 0)
    except (KeyError, ValueError, TypeError, OverflowError):
        return 0.0, 0.0

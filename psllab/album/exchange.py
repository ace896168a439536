"""In and out of an album: CSV, a page of thumbnails, a tree of folders; with ``studio``, Label Studio.

No file that is written here names or shows a protected picture.
"""

import base64
import json
import os
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Literal

from pslcore.runs import records
from pslcore.settings import short
from psllab.album import sheets, studio, written
from psllab.album.album import Album
from psllab.album.pictures import Picture, digest_of
from psllab.album.report import sentences
from psllab.album.sheets import LEARNER, NOT_SURE, SKIP, Line
from psllab.album.state import RESPONSES
from psllab.album.written import MARK, check

_PAGE = Path(__file__).with_name("ask.html")


@dataclass(frozen=True)
class Imported:
    """How many answers, skips and not-sures were taken in, and how many lines have no label yet.

    Left out are lines on pictures that are ``gone`` (or have changed) or ``protected`` since they were asked about, and
    ``guesses``: lines by the task learner.
    """

    answers: int
    skipped: int
    unsure: int
    empty: int
    gone: int = 0
    protected: int = 0
    guesses: int = 0

    def __str__(self) -> str:
        notes = sentences(
            (self.empty, "{has|have} no label yet."),
            (self.gone, "on {a picture|pictures} gone or changed since: left out."),
            (self.protected, "on {a picture|pictures} protected since: left out."),
            (self.guesses, f"by the {LEARNER}, no {{answer|answers}}: left out."),
        )
        first = f"Taken in: {self.answers} answers, {self.skipped} skipped, {self.unsure} not sure."
        return " ".join([first, *notes])


def ask_csv(album: Album, pictures: list[Picture], path: str | Path) -> None:
    """What to label: ``file``, ``label`` (to fill in), ``content`` (digest of the picture that is meant).

    Labels of these pictures that somebody typed into such a file before stay. Raises what ``Album.check_answer`` does.
    """
    check(album, pictures)
    path = written.note(album, path, "table")
    rows = sheets.read(path, sheets.text_of(path)).named() if path.is_file() else []
    typed = {row.get("content", ""): row.get("label", "") for _, row in rows}
    sheets.write(path, ["file", "label", "content"], [[p.path, typed.get(p.digest, ""), p.digest] for p in pictures])


def labels_csv(album: Album, path: str | Path) -> None:
    """All answers, ``by`` whom; ``content`` is the picture's digest."""
    labelled = sorted(album._labelled().items(), key=lambda item: item[0].path)
    rows = [[p.path, label, album.annotations(p)[-1].by, p.digest] for p, label in labelled]
    sheets.write(written.note(album, path, "table"), ["file", "label", "by", "content"], rows)


def suggestions_csv(album: Album, path: str | Path) -> None:
    """What the task learner would say of the rest that is not protected: no answers, and never taken for some."""
    rows = [[s.picture.path, s.label, f"{s.confidence:.4f}", s.picture.digest] for s in album.suggestions()]
    sheets.write(written.note(album, path, "table"), ["file", "suggestion", "confidence", "content"], rows)


def ask_page(album: Album, pictures: list[Picture], path: str | Path) -> None:
    """One HTML page with thumbnails, in need of nothing else: choose labels and save them as CSV. Raises the same."""
    check(album, pictures)
    options = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in album.classes)
    options = f'<option value=""></option>{options}<option value="{NOT_SURE}">not sure</option>'
    options += f'<option value="{SKIP}">skip</option>'
    cards = "".join(
        f'<figure><img alt="" src="{_inline(album, p)}"><figcaption>{escape(p.path)}</figcaption>'
        f'<select data-file="{_attribute(p.path)}" data-content="{p.digest}" aria-label="{escape(p.path)}">{options}'
        "</select></figure>\n"
        for p in pictures
    )
    page = _PAGE.read_text("utf-8").replace("@count", str(len(pictures))).replace("@cards", cards)
    records.write_bytes(written.note(album, path, "page"), page.encode())


def import_labels(album: Album, path: str | Path, by: str = "") -> Imported:
    """Take in a table with ``file`` and ``label``, or what Label Studio exports: JSON, JSON-MIN, CSV.

    ``-`` for a label skips, ``?`` is not sure, none is no answer. An answer goes to the content that was meant,
    wherever its file lies by now. All of it is checked before anything is taken in, and taken in as one.

    Parameters
    ----------
    album : Album
    path : path
    by : str
        Who says so, where the file does not (column ``by``; Label Studio's annotator).

    Raises
    ------
    ValueError, OSError
        In one sentence, with the line: a picture that is unknown or was not asked about, an unknown class, two labels.
    """
    album._alive()
    path = Path(path)
    text = sheets.text_of(path)
    sheets.check_person(by)
    if text.lstrip()[:1] in ("[", "{"):
        lines = studio.of_json(path, text, by.strip(), album.classes)
    else:
        sheet = sheets.read(path, text)
        if studio.is_flat(sheet.head):
            lines = studio.of_table(path, sheet, by.strip(), album.classes)
        else:
            lines = sheets.lines(path, sheet, by.strip())
    answers = [line for line in lines if line.by.casefold() != LEARNER]
    try:
        taken, news = _checked(album, answers)
    except ValueError:
        album.refresh()  # perhaps files were moved or changed since the album was opened
        taken, news = _checked(album, answers)
    for event in album._journal.add_all(news):
        album._state.add(event)
    return replace(taken, guesses=len(lines) - len(answers))


def _checked(album: Album, lines: list[Line]) -> tuple[Imported, list[dict[str, str]]]:
    """What the lines come to, and the events to write, once all of them were found right."""
    counts, news = Counter[str](), []
    for (key, who), line in _meant(album, lines).items():
        kind = {"": "empty", SKIP: "skip", NOT_SURE: "not sure"}.get(line.label, "answer")
        label = {"label": line.label} if kind == "answer" else {}
        if not album._index.usable(key):
            kind = "protected" if key in album._index.at else "gone"
        counts[kind] += 1
        before = [(word.what, word.label) for word in album._state.annotations.get(key, ()) if word.by == who]
        if kind in RESPONSES and before[-1:] != [(kind, label.get("label"))]:  # else the same file a second time
            try:
                if "\n" in line.label:
                    raise ValueError(f"{len(line.label.splitlines())} classes are chosen, one is needed.")
                album.check_answer(key, label.get("label"))
            except ValueError as error:
                raise _refused(line, error) from None
            news.append({"what": kind, "file": key.path, "content": key.digest, "by": who, **label})
    kinds = ("answer", "skip", "not sure", "empty", "gone", "protected")
    return Imported(*(counts[kind] for kind in kinds)), news


def _meant(album: Album, lines: list[Line]) -> dict[tuple[Picture, str], Line]:
    """What each person says of each picture that was asked about. By ``content``, else by path if that is one picture.

    Of several annotations by one person, the latest counts; a table has no times, so it may not say two things.
    """
    by_digest: defaultdict[str, set[Picture]] = defaultdict(set)
    by_path: defaultdict[str, set[Picture]] = defaultdict(set)
    for key in album._state.asked:
        by_digest[key.digest].add(key)
        by_path[key.path].add(key)
    meant: dict[tuple[Picture, str], Line] = {}
    for line in lines:
        try:
            key = _by_content(album, line, by_digest) if line.content else _by_path(album, line.file, by_path)
        except ValueError as error:
            raise _refused(line, error) from None
        before = meant.get((key, line.by))
        if before is None or (line.label and not before.label and line.at is None):
            meant[key, line.by] = line
        elif line.at is not None and before.at is not None:
            meant[key, line.by] = max(before, line, key=lambda each: each.at or (0.0, 0.0))
        elif line.label and line.label != before.label:
            raise _refused(line, ValueError(f"{line.file or key.path} has two labels: keep one."))
    return dict(sorted(meant.items(), key=lambda item: item[1].at or (0.0, 0.0)))


def _by_content(album: Album, line: Line, known: dict[str, set[Picture]]) -> Picture:
    if line.content not in known:
        raise ValueError(
            f"{line.file or 'the picture'} has changed since it was asked about, or never was: "
            f"no question has the content {short(line.content, 16)}."
        )
    return max(known[line.content], key=lambda key: (key in album._index.at, key.path == line.file, key.path))


def _by_path(album: Album, file: str, known: dict[str, set[Picture]]) -> Picture:
    """Whatever was asked about under this name, and what bears it now, must be one picture."""
    inner = file.removeprefix(f"{album.folder.name}/")  # an address may begin above the folder
    file = inner if inner in known and file not in known else file
    found = set(known.get(file, ()))
    try:
        found.add(album._index.asked_as(album._index.find(file)))
    except ValueError:
        if not found:
            raise
    if len(found) > 1:
        raise ValueError(
            f"{file} has changed or was renamed since it was asked about, and its name alone does not tell which "
            "picture is meant: keep the column `content` of ask.csv, or ask again."
        )
    key = found.pop()
    if key not in album._state.asked:
        album.check_answer(file)  # says why not
    return key


def _refused(line: Line, error: ValueError) -> ValueError:
    return ValueError(f"{line.where}: {error} Nothing of the file was taken in.")


def tree(album: Album, folder: str | Path, how: Literal["copy", "link"] = "copy") -> int:
    """The answered pictures in folders by class, sub-folders kept; gives how many.

    The files are whole, their EXIF included: the tree is for this machine. A tree that was made before is replaced.

    Raises
    ------
    ValueError
        If the folder holds something else, or lies in the folder of pictures; if a picture has changed.
    """
    if how not in ("copy", "link"):
        raise ValueError(f"how = {how!r} is unknown: choose copy or link.")
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).exists())):
        raise ValueError(f"{folder} holds something else: choose an empty folder.")
    written.note(album, folder, "tree")
    labelled = album._labelled()
    new = written.building(folder)
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        held = {f"{label}/{picture.path}": picture.digest for picture, label in labelled.items()}
        (new / MARK).write_text(json.dumps(held, indent=1), encoding="utf-8")
        put = os.symlink if how == "link" else shutil.copyfile
        for picture, label in labelled.items():
            target = new / label / picture.path
            target.parent.mkdir(parents=True, exist_ok=True)
            put(album.folder / picture.path, target)
            if digest_of(target) != picture.digest:
                raise ValueError(f"{picture.path} has changed: look at the folder again (refresh).")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(new, folder)
    except OSError as error:
        raise OSError(f"{folder} could not be written ({error.strerror}): free some space.") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return len(labelled)


def _inline(album: Album, picture: Picture) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(album.thumbnail(picture)).decode()


def _attribute(text: str) -> str:
    """As ``escape``; line ends stay what they are."""
    return escape(text).replace("\r", "&#13;").replace("\n", "&#10;")

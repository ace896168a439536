"""What the desk of an album shows, without widgets: a large picture, words about pictures, a small example album."""

import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from functools import cache
from html import escape
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import torch
from PIL import Image, ImageOps

from pslcore.data import load
from psllab.album import Album, Picture, Protect, Report
from psllab.widgets import paragraph

LARGE = 1000
"""Pixels of the longer side of a picture that is asked about."""

SKIP, NOT_SURE, UNDO = "s", "?", "u"
UNNAMED = ("class 1", "class 2")
"""Classes of an album until somebody names some."""
_LISTS = ("dates", "places", "folders", "patterns")
_KEYS = "1234567890abcdefghijklmnopqrtvwxyz"


@cache
def warm_up() -> None:
    """Import in the background, once, what torch's first optimiser imports: a second or two of the first training."""
    Thread(target=torch.optim.SGD, args=([torch.zeros(1)], 0.1), daemon=True).start()


def opened(
    folder: Path, classes: Iterable[str] | None, protect: Protect | None, more: bool = False, **options: Any
) -> tuple[Album, Exception | None]:
    """The album, or what speaks against opening it like that and the album as it was kept.

    With ``more``, the rules that were kept hold as well.

    Raises
    ------
    ValueError, OSError
        As ``Album``, if it cannot be opened as it was kept either.
    """
    names = None if classes is None else tuple(classes)
    if more and protect is not None:
        with suppress(ValueError, OSError), Album(folder, **options) as kept:
            protect = both(kept.protect, protect)
    try:
        return Album(folder, names, protect, **options), None
    except (ValueError, OSError) as error:
        if names is None and "needs classes the first time" in str(error):
            return Album(folder, UNNAMED, protect, **options), None
        complaint = error
    try:
        return Album(folder, **options), complaint
    except (ValueError, OSError):
        raise complaint from None


def both(one: Protect, other: Protect) -> Protect:
    """What any of the two protects."""
    kept, more = one.kept(), other.kept()
    lists = {name: [*kept[name], *(rule for rule in more[name] if rule not in kept[name])] for name in _LISTS}
    return Protect.of(lists | {"everything": one.everything or other.everything, "by_hand": list(other.by_hand)})


def nothing(ids: list[int]) -> list[bytes]:
    """No pictures."""
    return [b""] * len(ids)


def keys(classes: Sequence[str]) -> dict[str, str]:
    """Key to class, in their order: its own name if that is a key, else digits, then letters, then a button alone."""
    own = [name.lower() for name in classes if name.lower() in _KEYS and len(name) == 1]
    free = iter([*(key for key in _KEYS if key not in own), *(f"class {number}" for number in range(len(classes)))])
    return {name.lower() if name.lower() in own else next(free): name for name in classes}


def buttons(classes: Sequence[str]) -> list[dict[str, str]]:
    """Of the gallery: a class each, then skip, not sure, undo."""
    named = [{"key": key, "label": name, "tone": "plain"} for key, name in keys(classes).items()]
    more = ((SKIP, "skip"), (NOT_SURE, "not sure"), (UNDO, "undo"))
    return named + [{"key": key, "label": name, "tone": "quiet"} for key, name in more]


def respond(album: Album, picture: Picture, key: str, by: str) -> str:
    """Take in what the key of a class, of skip or of not sure says of a picture; gives it in words."""
    label = keys(album.classes).get(key)
    if label is not None:
        album.answer(picture, label, by=by)
    else:
        (album.skip if key == SKIP else album.not_sure)(picture, by=by)
    return f"{Path(picture.path).name}: {label or {SKIP: 'skipped', NOT_SURE: 'not sure'}[key]}"


def large(album: Album, picture: Picture) -> bytes:
    """A picture for the screen, without metadata; the thumbnail if the file is not as it was."""
    try:
        shown = album.view(picture, LARGE)
    except ValueError:
        return thumbnail(album, picture)
    buffer = io.BytesIO()
    shown.save(buffer, *(("PNG",) if max(shown.size) <= 96 else ("JPEG",)), quality=88)
    return buffer.getvalue()


def thumbnail(album: Album, picture: Picture | str) -> bytes:
    """A small JPEG; nothing if there is no such picture by now."""
    try:
        return album.thumbnail(picture)
    except (ValueError, KeyError, OSError):
        return b""


def pair(album: Album, name: str, other: str) -> bytes:
    """Side by side: a picture that is held back, and the protected one that it resembles, if it is here."""
    files = [io.BytesIO(small) for path in (name, other) if path and (small := thumbnail(album, path))]
    shown = [Image.open(file) for file in files]
    side = max((max(one.size) for one in shown), default=1)
    both = Image.new("RGB", (side * max(1, len(shown)) + 8 * (len(shown) > 1), side), "white")
    for number, one in enumerate(shown):
        both.paste(one, (number * (side + 8), (side - one.height) // 2))
    buffer = io.BytesIO()
    both.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def page(report: Report) -> str:
    """A report as HTML, without any name of a picture."""
    first = f'<h3 class="psl-heading psl-estimate">{escape(report.estimate)}</h3>'
    return first + _course(report) + "".join(map(paragraph, report.lines))


def _course(report: Report) -> str:
    if len(report.course) < 2:
        return ""
    rows = [
        (step.rounds, step.learned_from, f"{step.accuracy:.0%}", "{:.0%} to {:.0%}".format(*step.interval),
         f"{step.right} of {step.held_out}") for step in report.course
    ]  # fmt: skip
    return _table(rows, ["round", "learned from", "accuracy", "95 % interval", "right"], "psl-course")


def _table(rows: list[tuple[Any, ...]], head: list[str], name: str) -> str:
    cells = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    table = pd.DataFrame(cells, columns=head)
    return f'<div class="psl-scroll">{table.to_html(index=False, border=0, classes=f"psl-table {name}")}</div>'


def ledger(report: Report) -> str:
    """What crossed, as HTML: one sentence, and each crossing folded away below it."""
    uploads, crossed = report.ledger.get("uploads", ()), report.ledger.get("crossed", {})
    if not uploads:
        return paragraph("Nothing was uploaded.")
    rows = [
        (one["when"].replace("T", " ").replace("+00:00", " UTC"), "up: labelled pictures",
         one["pictures"], one["bytes"], one["protected"]) for one in uploads
    ]  # fmt: skip
    rows += [("in all", what, row["items"], row["bytes"], "") for what, row in crossed.items()]
    table = _table(rows, ["when", "what crossed", "items", "bytes", "protected"], "psl-ledger")
    pictures, size, shielded = (sum(one[name] for one in uploads) for name in ("pictures", "bytes", "protected"))
    told = f"Uploaded: {pictures:,} labelled pictures, {size:,} bytes; {shielded:,} of them were protected."
    return f"<details><summary>{told}</summary>{table}</details>"


def example(folder: str | Path, count: int = 300) -> Path:
    """The folder ``pictures`` in it, of digits as JPEG files, one a day, every third in ``private``; made once."""
    folder, digits = Path(folder) / "pictures", load("digits").train
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / ".gitignore").write_text("*\n")
    for number in range(count):
        path = folder / ("private" if number % 3 == 2 else "shared") / f"{number:04}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = (date(2024, 1, 1) + timedelta(number)).strftime("%Y:%m:%d 12:00:00")
        picture = Image.fromarray(255 - digits.images[number][0]).resize((184, 184), Image.Resampling.BICUBIC)
        ImageOps.expand(picture.convert("RGB"), 8, "white").save(path, quality=90, exif=exif)
    return folder

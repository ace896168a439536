"""Tables as CSV that spreadsheets neither run nor harm, and the lines of answers that are read from them."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from pslcore.runs import records

SKIP, NOT_SURE = "-", "?"
"""In place of a label: set aside; cannot be told."""

LEARNER = "task learner"
"""Who suggests; no person may be called so."""

_RUN = re.compile(r"'*[=+\-@\t\r\n]")  # a spreadsheet takes such a cell for a formula; with ' before it, for text
_HIDDEN = re.compile(r"'+[=+\-@\t\r\n]")


@dataclass(frozen=True)
class Line:
    """What one person said of one picture; ``file`` or ``content`` may be empty. ``at``: the later one counts."""

    where: str
    file: str
    content: str
    label: str
    by: str
    at: tuple[float, float] | None = None


@dataclass(frozen=True)
class Sheet:
    """A table: each row with the number of its first line in the file."""

    delimiter: str
    head: list[str]
    rows: list[tuple[int, list[str]]]

    def named(self) -> list[tuple[int, dict[str, str]]]:
        """Cells by column; a missing one is empty."""
        blank = dict.fromkeys(self.head, "")
        return [(line, blank | dict(zip(self.head, row, strict=False))) for line, row in self.rows]


def check_person(by: str) -> None:
    """Raise ``ValueError`` for a name whose answers would be read back as guesses."""
    if by.strip().casefold() == LEARNER:
        raise ValueError(f"nobody is called {by!r} but the {LEARNER} itself: say who answers.")


def text_of(path: Path) -> str:
    """A file's text, line ends as they are; ``ValueError`` if it is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text: save it as CSV (UTF-8) or JSON.") from None


def read(path: Path, text: str) -> Sheet:
    """A table with a head; commas, semicolons or tabs between cells. ``ValueError`` if it is none."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows, before = [], 0
    try:
        for row in reader:
            if row:
                rows.append((before + 1, [cell[1:] if _HIDDEN.match(cell) else cell for cell in row]))
            before = reader.line_num
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV file (line {reader.line_num}: {error}).") from None
    return Sheet(delimiter, rows[0][1] if rows else [], rows[1:])


def write(path: str | Path, head: list[str], rows: list[list[str]], delimiter: str = ",") -> None:
    """Write a table whole or not at all."""
    text = io.StringIO(newline="")
    cells = ([f"'{cell}" if _RUN.match(cell) else cell for cell in row] for row in [head, *rows])
    csv.writer(text, delimiter=delimiter).writerows(cells)
    records.write_bytes(Path(path), text.getvalue().encode())


def lines(path: Path, sheet: Sheet, by: str) -> list[Line]:
    """The lines of a table with ``file`` and ``label``, perhaps ``content`` and ``by``; ``ValueError`` without."""
    missing = {"file", "label"} - set(sheet.head)
    if missing and "suggestion" in sheet.head:
        raise ValueError(f"{path} holds suggestions of the {LEARNER}, not answers: take in what people said.")
    if missing:
        raise ValueError(f"{path} has no column `{min(missing)}`: it needs `file` and `label` in its first line.")
    for name in ("file", "label", "content", "by"):
        if sheet.head.count(name) > 1:
            raise ValueError(f"{path} has two columns `{name}`: keep the one that is meant.")
    return [
        Line(f"{path}, line {number}", row["file"], row.get("content", "").strip(), row["label"].strip(),
             row.get("by", "").strip() or by or "somebody")
        for number, row in sheet.named() if row["file"] or row.get("content")
    ]  # fmt: skip

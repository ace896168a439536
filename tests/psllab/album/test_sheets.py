"""Tables: whatever a cell holds comes back as it was, and no spreadsheet runs it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psllab.album import sheets

CELLS = st.text(st.sampled_from("=+-@'\t\r\n,;\"ab é"), max_size=6) | st.text(max_size=6).filter(
    lambda text: "\0" not in text and text.isprintable()
)


@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5), delimiter=st.sampled_from(",;\t"))
def test_cells_come_back_and_are_not_run(rows, delimiter, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    head = ["file", "label", "content"]
    sheets.write(path, head, [list(row) for row in rows], delimiter)
    sheet = sheets.read(path, sheets.text_of(path))
    assert sheet.delimiter == delimiter
    assert [tuple(row) for _, row in sheet.rows] == rows
    for row in csv.reader(io.StringIO(path.read_bytes().decode(), newline=""), delimiter=delimiter):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


@pytest.mark.parametrize(
    ("payload", "told"),
    [("a\xe9".encode("latin-1"), "not UTF-8"), ("a".encode("utf-16"), "not UTF-8"), (b'a,"b\n', None),
     (b"a,b\n" + b"x" * 200_000, "no CSV file")],
)  # fmt: skip
def test_what_is_no_table_is_told(tmp_path, payload, told):
    path = tmp_path / "x.csv"
    path.write_bytes(payload)
    if told is None:
        assert sheets.read(path, sheets.text_of(path)).rows == []
        return
    with pytest.raises(ValueError, match=told):
        sheets.read(path, sheets.text_of(path))

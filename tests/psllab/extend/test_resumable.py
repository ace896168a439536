"""Going on where a killed packing stopped: the very bytes of one that nobody killed, and never with another's rest."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psllab.extend import resumable

ROWS = np.random.default_rng(0).integers(0, 256, (12, 3, 2), dtype=np.uint8)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.integers(0, 9), more=st.integers(0, 2), end=st.integers(9, 12))
def test_a_file_gone_on_with_is_that_of_one_call(tmp_path, kept, more, end):
    """``more`` rows were written after the last that counts."""
    path = tmp_path / "rows.npy"
    with resumable.Writer(path, np.uint8, ROWS.shape) as first:
        for row in ROWS[: kept + more]:
            first.append(row)
    with resumable.Writer(path, np.uint8, ROWS.shape, kept) as second:
        for row in ROWS[kept:end]:
            second.append(row)
        second.cut()
    np.testing.assert_array_equal(np.load(path), ROWS[:end])
    whole = tmp_path / "whole.npy"
    with resumable.Writer(whole, np.uint8, (end, 3, 2)) as writer:
        for row in ROWS[:end]:
            writer.append(row)
    assert path.read_bytes() == whole.read_bytes()
    assert second.entry() == writer.entry()


def test_a_file_that_holds_fewer_rows_than_were_kept_is_refused(tmp_path):
    path = tmp_path / "rows.npy"
    with resumable.Writer(path, np.uint8, ROWS.shape) as writer:
        writer.append(ROWS[0])
    with pytest.raises(ValueError, match="is cut short: delete the folder"):
        resumable.Writer(path, np.uint8, ROWS.shape, 5).__enter__()


@pytest.mark.parametrize("text", [None, "", "{", json.dumps({"source": "another", "rows": 4})])
def test_progress_of_another_source_or_none_begins_anew(tmp_path, text):
    if text is not None:
        (tmp_path / "progress.json").write_text(text)
    assert resumable.progress(tmp_path, {"source": "this"}, {"rows": 0}) == {"source": "this", "rows": 0}
    resumable.keep(tmp_path, {"source": "this", "rows": 7})
    assert resumable.progress(tmp_path, {"source": "this"}, {"rows": 0})["rows"] == 7


@pytest.mark.parametrize("end", [1, 20, 99])
def test_a_state_that_is_not_what_was_kept_is_not_gone_on_with(tmp_path, end):
    resumable.keep(tmp_path, {"source": "this", "rows": 7})
    path = tmp_path / "progress.json"
    whole = path.read_bytes()
    for spoiled in (whole[: len(whole) * end // 100], whole.replace(b"7", b"8"), b"[7]"):
        path.write_bytes(spoiled)
        assert resumable.progress(tmp_path, {"source": "this"}, {"rows": 0}) == {"source": "this", "rows": 0}


def test_rows_of_which_a_bit_has_flipped_are_not_gone_on_with(tmp_path):
    rows, kept = [(image, 1) for image in ROWS], {"rows": 0, "arrays": {}, "done": {}}
    resumable.fill(tmp_path, kept, "train", range(len(ROWS)), ROWS.shape[1:], [(len(ROWS), rows)], "")
    content = bytearray((tmp_path / "train-images.npy").read_bytes())
    content[-3] ^= 4
    (tmp_path / "train-images.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"train-images\.npy is damaged: delete"):
        resumable.fill(tmp_path, kept, "train", range(len(ROWS), len(ROWS) + 1), ROWS.shape[1:], [], "")
